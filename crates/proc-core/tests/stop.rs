//! A stop ends everything, says by which means, and the proof is independent of it: every process of a tree holds the
//! writing end of one pipe, so end-of-file on that pipe says that nobody is left.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use proc_core::{
    Attributes, Cgroup, Child, Mechanism, Next, Scope, Signal, Spawn, Stdio, StopDriver,
    StopOptions, StopReport, StopSequence, StopTarget, run_stop, stop_tree,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PATIENCE: Duration = Duration::from_secs(30);

/// Every member of a tree writes a byte to this pipe when it is ready and then holds it open.
struct Witness(File);

impl Witness {
    fn ready(&mut self, members: usize) {
        let mut bytes = vec![0; members];
        self.0
            .read_exact(&mut bytes)
            .expect("every member says that it is ready");
    }

    /// Says whether everybody who held the pipe is gone, waiting for that at most a while.
    fn nobody_left(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).expect("a short time");
            let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return false,
                Ok(_) => {
                    if self.0.read(&mut [0; 4096]).expect("a pipe") == 0 {
                        return true;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Witness {
    /// Nothing outlives a test, also when it fails.
    fn drop(&mut self) {
        if !self.nobody_left(Duration::ZERO) {
            end_orphans(&self.0);
        }
    }
}

fn tree(program: &str, script: &str) -> (Child, Witness) {
    tree_in(program, script, None)
}

fn tree_in(program: &str, script: &str, cgroup: Option<&Cgroup>) -> (Child, Witness) {
    let flag = if program == "perl" { "-e" } else { "-c" };
    let mut spawn = Spawn::new(program)
        .args([flag, script])
        .stdin(Stdio::Null)
        .stdout(Stdio::Pipe)
        .stderr(Stdio::Null);
    if let Some(cgroup) = cgroup {
        spawn = spawn.attributes(
            Attributes::default()
                .resolve(Some(cgroup))
                .expect("nothing but a cgroup"),
        );
    }
    let mut child = spawn.spawn().expect("the tree starts");
    let witness = Witness(child.take_stdout().map(File::from).expect("a pipe"));
    (child, witness)
}

fn graceful(milliseconds: u64) -> StopSequence {
    StopSequence::graceful(Signal::TERM, Some(Duration::from_millis(milliseconds)))
}

/// Misbehaving trees: name, program, script, members that report, whether KILL is needed.
fn corpus() -> Vec<(&'static str, &'static str, String, usize, bool)> {
    let perl_hold = "syswrite STDOUT, \"x\"; sleep 1000 while 1;";
    vec![
        (
            "obedient",
            "perl",
            format!("for (1..5) {{ last unless fork }} {perl_hold}"),
            6,
            false,
        ),
        (
            "ignores TERM",
            "perl",
            format!("$SIG{{TERM}}='IGNORE'; fork; {perl_hold}"),
            2,
            true,
        ),
        (
            "double fork and setsid, ignores TERM",
            "perl",
            format!(
                "use POSIX; $SIG{{TERM}}='IGNORE'; if (!fork) {{ setsid; exit if fork; }} {perl_hold}"
            ),
            2,
            true,
        ),
        (
            "leader ends on TERM, group members do not",
            "perl",
            format!("if (!fork) {{ $SIG{{TERM}}='IGNORE'; }} {perl_hold}"),
            2,
            true,
        ),
        (
            "leader has exited, children stay",
            "perl",
            format!("if (fork) {{ exit 3 }} $SIG{{TERM}}='IGNORE'; fork; {perl_hold}"),
            2,
            true,
        ),
        (
            "stopped child ends on TERM",
            "perl",
            format!(
                "$SIG{{TERM}}=sub {{exit 0}}; if (!fork) {{ syswrite STDOUT, \"x\"; kill 'STOP', $$; }} {perl_hold}"
            ),
            2,
            false,
        ),
        (
            "changes its name, its group and its session",
            "perl",
            format!(
                "use POSIX; $SIG{{TERM}}='IGNORE'; if (!fork) {{ $0='other'; setpgid(0,0); if (!fork) {{ setsid; }} }} {perl_hold}"
            ),
            3,
            true,
        ),
    ]
}

const MOVERS: &str = "use POSIX; $SIG{TERM}='IGNORE'; for (1..8) { last if !fork } syswrite STDOUT, 'x'; \
                      if (getpgrp == $$) { sleep 1000 while 1 } while (1) { exit if fork; setsid; }";

/// Runs an ignored test of this file in a process of its own, in which it may be the subreaper.
fn alone(test: &str, user: Option<&str>) {
    // As a descriptor, because the binary may lie where the user may not look.
    let this = File::open(std::env::current_exe().expect("a test binary")).expect("it can be read");
    let attributes = Attributes {
        user: user.map(str::to_owned),
        ..Attributes::default()
    };
    let mut child = Spawn::new("/proc/self/fd/9")
        .args([
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .fds(vec![(this.into(), 9)])
        .cwd("/")
        .stdin(Stdio::Null)
        .stdout(Stdio::Pipe)
        .attributes(attributes.resolve(None).expect("a user"))
        .spawn()
        .expect("the test binary starts");
    let mut text = String::new();
    child
        .take_stdout()
        .map(File::from)
        .expect("a pipe")
        .read_to_string(&mut text)
        .expect("text");
    assert!(child.wait().expect("our child").success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn check(
    name: &str,
    report: &StopReport,
    mechanism: Mechanism,
    escalated: bool,
    witness: &mut Witness,
) {
    assert_eq!(report.mechanism, mechanism, "{name}");
    assert!(report.survivors.is_empty(), "{name}: {report:?}");
    assert!(
        witness.nobody_left(Duration::ZERO),
        "{name}: somebody survived {report:?}"
    );
    assert_eq!(report.escalated, escalated, "{name}: {report:?}");
    assert!(report.signalled > 0, "{name}: {report:?}");
}

#[test]
fn the_subreaper_leaves_nobody() {
    alone("as_subreaper", None);
}

#[test]
fn the_subreaper_leaves_nobody_without_privileges() {
    if !rustix::process::geteuid().is_root() {
        eprintln!(
            "SKIP the_subreaper_leaves_nobody_without_privileges: the other test already is that"
        );
        return;
    }
    alone("as_subreaper", Some("nobody"));
}

#[test]
fn a_thousand_processes_end_in_the_grace() {
    alone("thousand_as_subreaper", None);
}

#[test]
#[ignore = "run by a_thousand_processes_end_in_the_grace in a process of its own"]
fn thousand_as_subreaper() {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    // Ten groups of their own beside the leader's, in two generations.
    let script = "use POSIX; for (1..10) { next if fork; setpgid(0,0); for (1..99) { last unless fork } last } \
                  syswrite STDOUT, 'x'; sleep 1000 while 1;";
    for force in [Mechanism::Subreaper, Mechanism::GroupWalk] {
        let (child, mut witness) = tree("perl", script);
        witness.ready(1001);
        let target = StopTarget::new(child.handle().try_clone().unwrap())
            .subreaper()
            .force(force);
        let report = run_stop(
            StopDriver::new(graceful(60_000), target, Instant::now()),
            &mut |_, _| {},
        );
        assert_eq!(
            (report.signalled, report.mechanism),
            (1001, force),
            "{report:?}"
        );
        assert!(
            report.survivors.is_empty() && !report.escalated,
            "{report:?}"
        );
        assert!(witness.nobody_left(Duration::ZERO), "{report:?}");
        while rustix::process::wait(rustix::process::WaitOptions::NOHANG)
            .is_ok_and(|one| one.is_some())
        {}
    }
}

#[test]
fn a_stopped_member_of_a_crowd_is_continued() {
    alone("crowd_as_subreaper", None);
}

#[test]
#[ignore = "run by a_stopped_member_of_a_crowd_is_continued in a process of its own"]
fn crowd_as_subreaper() {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    // More than are looked at before the signal; the last of them is stopped. One leader ends at once, the other waits
    // for everybody and reaps them itself.
    for leader in ["", "$SIG{TERM} = sub { 1 while wait > 0; exit 0 };"] {
        let script = format!(
            "for (1..200) {{ next if fork; syswrite STDOUT, 'x'; kill 'STOP', $$ if $_ == 200; sleep 1000 while 1 }} \
             {leader} syswrite STDOUT, 'x'; sleep 1000 while 1;"
        );
        let (child, mut witness) = tree("perl", &script);
        witness.ready(201);
        let target = StopTarget::new(child.handle().try_clone().unwrap()).subreaper();
        let driver = StopDriver::new(graceful(60_000), target, Instant::now());
        let report = run_stop(driver, &mut |_, _| {});
        assert!(
            report.survivors.is_empty() && !report.escalated,
            "{report:?}"
        );
        assert!(!leader.is_empty() || report.signalled == 201, "{report:?}");
        assert!(witness.nobody_left(Duration::ZERO), "{report:?}");
    }
}

#[test]
#[ignore = "run by the_subreaper_leaves_nobody in a process of its own"]
fn as_subreaper() {
    rustix::process::set_child_subreaper(rustix::process::Pid::from_raw(1)).unwrap();
    for (name, program, script, members, escalated) in corpus() {
        let (child, mut witness) = tree(program, &script);
        witness.ready(members);
        let grace = if escalated { 300 } else { 30_000 };
        let target = StopTarget::new(child.handle().try_clone().unwrap()).subreaper();
        let mut reaped = Vec::new();
        let report = run_stop(
            StopDriver::new(graceful(grace), target, Instant::now()),
            &mut |pid, end| reaped.push((pid, end)),
        );
        check(name, &report, Mechanism::Subreaper, escalated, &mut witness);
        assert!(
            reaped.iter().any(|(pid, _)| *pid == child.pid()),
            "{name}: the leader's end was not reported"
        );
    }
    for _ in 0..5 {
        let (child, mut witness) = tree("perl", MOVERS);
        witness.ready(9);
        let target = StopTarget::new(child.handle().try_clone().unwrap()).subreaper();
        let report = run_stop(
            StopDriver::new(graceful(50), target, Instant::now()),
            &mut |_, _| {},
        );
        check("movers", &report, Mechanism::Subreaper, true, &mut witness);
    }
    // The leader ends by itself between two looks: nothing is left, and that is proven too.
    let (child, mut witness) = tree("true", "");
    assert!(child.handle().wait(Some(PATIENCE)).unwrap());
    let target = StopTarget::new(child.handle().try_clone().unwrap()).subreaper();
    let report = run_stop(
        StopDriver::new(graceful(50), target, Instant::now()),
        &mut |_, _| {},
    );
    assert!(
        report.survivors.is_empty() && report.signalled == 0,
        "{report:?}"
    );
    assert!(witness.nobody_left(Duration::ZERO));
}

#[test]
fn a_cgroup_leaves_nobody() {
    for (at, (name, program, script, members, escalated)) in corpus().into_iter().enumerate() {
        let Some(cgroup) = own_cgroup(&format!("corpus-{at}")) else {
            return;
        };
        let (child, mut witness) = tree_in(program, &script, Some(&cgroup));
        witness.ready(members);
        let options = StopOptions {
            cgroup: Some(cgroup.clone()),
            ..StopOptions::default()
        };
        let grace = if escalated { 300 } else { 30_000 };
        let report = stop_tree(child.handle(), &graceful(grace), options).unwrap();
        check(name, &report, Mechanism::Cgroup, escalated, &mut witness);
        child.wait().unwrap();
        cgroup.remove().unwrap();
    }
    for _ in 0..5 {
        let Some(cgroup) = own_cgroup("movers") else {
            return;
        };
        let (child, mut witness) = tree_in("perl", MOVERS, Some(&cgroup));
        witness.ready(9);
        let options = StopOptions {
            cgroup: Some(cgroup.clone()),
            ..StopOptions::default()
        };
        let report = stop_tree(child.handle(), &graceful(50), options).unwrap();
        check("movers", &report, Mechanism::Cgroup, true, &mut witness);
        child.wait().unwrap();
        cgroup.remove().unwrap();
    }
}

#[expect(clippy::print_stderr, reason = "a skip is said aloud")]
fn own_cgroup(name: &str) -> Option<Cgroup> {
    match Cgroup::create(&format!("proc-core-test-{}-{name}", std::process::id())) {
        Ok(cgroup) => Some(cgroup),
        Err(error) => {
            eprintln!("SKIP cgroup tests: no writable cgroup2 ({error})");
            None
        }
    }
}

#[test]
fn the_best_effort_ends_what_it_can_know() {
    for (name, program, script, members, escalated) in corpus() {
        let (child, mut witness) = tree(program, &script);
        witness.ready(members);
        let grace = if escalated { 300 } else { 30_000 };
        let report = stop_tree(child.handle(), &graceful(grace), StopOptions::default()).unwrap();
        assert_eq!(report.mechanism, Mechanism::GroupWalk);
        if name.starts_with("double fork") {
            // What left group, session and parent before the stop began cannot be found, which is why this means
            // promises nothing. It is a child of the test's reaper now and has to be ended by its own pipe.
            if !witness.nobody_left(Duration::ZERO) {
                end_orphans(&witness.0);
            }
        } else {
            check(name, &report, Mechanism::GroupWalk, escalated, &mut witness);
        }
        child.wait().unwrap();
    }
}

/// Ends the processes that hold the other end of a pipe of ours, each through a verified handle.
fn end_orphans(pipe: &File) {
    let inode = rustix::fs::fstat(pipe).expect("open").st_ino;
    let wanted = format!("pipe:[{inode}]");
    for info in proc_core::list::find("perl", proc_core::list::Match::Exact).expect("procfs") {
        let Ok(handle) = proc_core::ProcessHandle::of(info.pid) else {
            continue;
        };
        let stdout = std::fs::read_link(format!("/proc/{}/fd/1", info.pid)).unwrap_or_default();
        if stdout.to_string_lossy() == wanted {
            let _gone = handle.signal(Signal::KILL);
        }
    }
}

#[test]
fn a_group_stop_lets_other_groups_live() {
    let script =
        "use POSIX; if (!fork) { setpgid(0,0); } syswrite STDOUT, \"x\"; sleep 1000 while 1;";
    let (child, mut witness) = tree("perl", script);
    witness.ready(2);
    let options = StopOptions {
        scope: Scope::Group,
        ..StopOptions::default()
    };
    let report = stop_tree(child.handle(), &graceful(30_000), options).unwrap();
    assert!(
        report.survivors.is_empty() && report.signalled == 1,
        "{report:?}"
    );
    assert!(
        !witness.nobody_left(Duration::from_millis(50)),
        "the background child was ended too"
    );
    child.wait().unwrap();
    end_orphans(&witness.0);
    assert!(witness.nobody_left(PATIENCE));
}

#[test]
fn other_signals_never_escalate_and_a_sequence_without_kill_reports_who_is_left() {
    let (child, mut witness) = tree(
        "perl",
        "$SIG{HUP}='IGNORE'; syswrite STDOUT, \"x\"; sleep 1000 while 1;",
    );
    witness.ready(1);
    let report = stop_tree(
        child.handle(),
        &"HUP/100ms".parse().unwrap(),
        StopOptions::default(),
    )
    .unwrap();
    assert!(!report.escalated);
    let [survivor] = report.survivors.as_slice() else {
        panic!("{report:?}")
    };
    assert_eq!(
        (survivor.pid, survivor.comm.as_str()),
        (child.pid(), "perl")
    );
    assert!(survivor.reason.contains("no KILL"), "{survivor}");
    let report = stop_tree(
        child.handle(),
        &"HUP/50ms, INT".parse().unwrap(),
        StopOptions::default(),
    )
    .unwrap();
    assert!(
        report.escalated && report.survivors.is_empty(),
        "{report:?}"
    );
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::INT));
}

#[test]
fn a_driver_never_blocks_and_can_be_hurried() {
    let (child, mut witness) = tree(
        "perl",
        "$SIG{TERM}='IGNORE'; syswrite STDOUT, \"x\"; sleep 1000 while 1;",
    );
    witness.ready(1);
    let target = StopTarget::new(child.handle().try_clone().unwrap());
    let start = Instant::now();
    let mut driver = StopDriver::new("TERM/1h, INT/1h, KILL".parse().unwrap(), target, start);
    assert!(matches!(
        driver.poll(start, &mut |_, _| {}),
        Next::Wait { .. }
    ));
    assert_eq!(driver.current_signal(), Some(Signal::TERM));
    driver.kill_now();
    let report = run_stop(driver, &mut |_, _| {});
    assert!(
        report.survivors.is_empty() && report.escalated,
        "{report:?}"
    );
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL));
    assert!(witness.nobody_left(PATIENCE));
}

#[test]
fn time_decides_when_the_next_step_comes_and_nothing_else() {
    let (child, mut witness) = tree(
        "perl",
        "$SIG{TERM}='IGNORE'; $SIG{INT}='IGNORE'; syswrite STDOUT, \"x\"; sleep 1000 while 1;",
    );
    witness.ready(1);
    let target = StopTarget::new(child.handle().try_clone().unwrap());
    let start = Instant::now();
    let mut driver = StopDriver::new("TERM/1h, INT/1h, KILL".parse().unwrap(), target, start);
    let hour = Duration::from_secs(3600);
    for (after, signal) in [
        (Duration::ZERO, Signal::TERM),
        (hour - Duration::from_millis(1), Signal::TERM),
        (hour, Signal::INT),
        (hour + hour - Duration::from_millis(1), Signal::INT),
        (hour + hour, Signal::KILL),
    ] {
        let next = driver.poll(start + after, &mut |_, _| {});
        assert_eq!(driver.current_signal(), Some(signal), "{after:?} {next:?}");
    }
    let report = run_stop(driver, &mut |_, _| {});
    assert!(report.survivors.is_empty(), "{report:?}");
    child.wait().unwrap();
}

#[test]
fn a_kill_does_not_wait_for_a_full_stdin() {
    use std::io::Write as _;
    let mut child = Spawn::new("sleep")
        .arg("1000")
        .stdin(Stdio::Pipe)
        .spawn()
        .unwrap();
    let mut stdin = child.take_stdin().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(&vec![0; 1 << 20]));
    let begun = Instant::now();
    child.signal(Signal::KILL).unwrap();
    child.wait().unwrap();
    assert!(begun.elapsed() < PATIENCE);
    assert_eq!(
        writer.join().unwrap().unwrap_err().kind(),
        std::io::ErrorKind::BrokenPipe
    );
}

//! Shims are killed with -9: the service lives on, and nothing of what it says is lost or torn.

use std::path::PathBuf;

use proc_core::Identity;
use proc_tests::{Events, Project, Random, full};
use serde_json::Value;

use crate::killer::{Killer, kill, leader, pause, shim};

/// Services that flood their pipes until there is enough.
struct Flood {
    project: Project,
    names: Vec<String>,
    books: PathBuf,
}

impl Flood {
    fn start(count: usize) -> Self {
        let project = Project::new();
        let books = project.dir().join("books");
        std::fs::create_dir(&books).expect("the scratch directory is writable");
        let names: Vec<String> = (0..count).map(|n| format!("f{n}")).collect();
        let worker = env!("CARGO_BIN_EXE_chaos-worker");
        let mut config = String::from(
            "[defaults]\nstart_seconds = 0\nlog = { max_size = \"1MiB\", keep = \"none\" }\n\
             restart = { mode = \"always\", initial_delay = \"20ms\", max_delay = \"100ms\", max = \"none\", startup_max = \"none\", \
             crash_loop = \"none\" }\n",
        );
        for name in &names {
            let argv = format!(
                "[\"{worker}\", \"{}\", \"{name}\", \"flood\"]",
                books.display()
            );
            config.push_str(&format!(
                "[service.{name}]\nargv = {argv}\nready = {{ log = \"line 0 \" }}\n"
            ));
        }
        project.write("proc.toml", config);
        project.ok(&["up", "-d"]);
        Self {
            project,
            names,
            books,
        }
    }

    /// Returns the processes of the services, which must be what `status` says.
    fn leaders(&self) -> Vec<Identity> {
        let leader_of = |name: &String| {
            let leader = leader(&self.project, name).expect("it runs");
            assert_eq!(self.project.pid(name), leader.pid.cast_signed(), "{name}");
            leader
        };
        self.names.iter().map(leader_of).collect()
    }

    /// Kills the shim of a service and waits until another one keeps the service.
    fn kill_shim(&self, name: &str) {
        let since = self.project.last_seq();
        let old = shim(&self.project, name).expect("it has one");
        assert!(kill(&old), "the shim of {name} lives");
        let told = |event: &Value| event["instance"] == *name && event["from"] == "unattended";
        let back = Events::after(&self.project, since).find(told);
        assert!(
            back.is_some(),
            "the event stream ended before {name} was taken over"
        );
        assert_ne!(shim(&self.project, name), Some(old), "{name}");
    }

    /// Says that it is enough, and returns how many lines each has written.
    fn end(&self) -> Vec<u64> {
        std::fs::write(self.books.join("enough"), "").expect("the scratch directory is writable");
        self.names.iter().map(|name| self.last_line(name)).collect()
    }

    fn last_line(&self, name: &str) -> u64 {
        use std::io::BufRead as _;
        let mut logs = self.project.command(&["logs", "-f", "--raw", name]);
        let mut logs = logs
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("proc can be started");
        let out = logs.stdout.take().expect("stdout is a pipe");
        let wanted = format!("{name} quiet ");
        let lines = std::io::BufReader::new(out).lines();
        let found = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(&wanted)?.parse().ok());
        logs.kill().expect("our own child");
        logs.wait().expect("our own child");
        found.expect("the log ends with a number")
    }

    fn assert_whole(&self, name: &str, count: u64) {
        let log = self.project.ok(&["logs", name, "--raw"]);
        let mut lines = log.lines();
        for number in 0..count {
            let line = lines.next().unwrap_or_default();
            let head = format!("{name} line {number} x");
            assert!(
                line.starts_with(&head) && line.len() == head.len() + 179,
                "the log of {name} breaks at line {number}: {line:?}"
            );
        }
        assert_eq!(lines.next(), Some(format!("{name} quiet {count}").as_str()));
        assert_eq!(
            lines.next(),
            None,
            "the log of {name} has more than was written"
        );
    }

    fn assert_one_copy(&self) {
        let duplicates = std::fs::read_to_string(self.books.join("duplicates")).unwrap_or_default();
        assert_eq!(duplicates, "", "a second copy was alive");
    }
}

#[test]
fn the_service_lives_on_and_no_line_is_lost_or_torn() {
    let (mut random, _) = Random::announced("chaos");
    let rounds = if full() { 100 } else { 12 };
    let flood = Flood::start(4);
    let project = &flood.project;
    let before = flood.leaders();
    let mut killer = Killer::new(project);
    let mut kills = [0_u32; 4];
    for round in 0..rounds {
        if round == rounds / 2 {
            // A supervisor that did not start the services is as able to have their shims replaced.
            killer.kill_supervisor();
        }
        pause(random.below(100));
        let victim = usize::try_from(random.below(4)).expect("small");
        flood.kill_shim(&flood.names[victim]);
        kills[victim] += 1;
    }
    let lines = flood.end();
    assert_eq!(flood.leaders(), before, "not one service was touched");
    for ((name, count), kills) in flood.names.iter().zip(lines).zip(kills) {
        flood.assert_whole(name, count);
        let instance = project.instance(name);
        assert_eq!(
            (&instance["restarts"], &instance["state"]),
            (&0.into(), &"running".into())
        );
        let why = project.ok(&["why", name]);
        assert_eq!(
            kills > 0,
            why.contains("shim"),
            "{name} lost {kills}: {why}"
        );
    }
    flood.assert_one_copy();
    project.ok(&["down"]);
}

#[test]
fn with_both_killed_there_is_one_copy_and_status_tells_the_truth() {
    let (mut random, _) = Random::announced("chaos");
    let rounds = if full() { 50 } else { 6 };
    let flood = Flood::start(2);
    let project = &flood.project;
    let mut killer = Killer::new(project);
    for round in 0..rounds {
        let name = &flood.names[round % 2];
        let since = project.last_seq();
        let keeper = shim(project, name).expect("it has one");
        let other = leader(project, &flood.names[(round + 1) % 2]).expect("it runs");
        pause(random.below(100));
        if random.below(2) == 0 {
            kill(&keeper);
            killer.kill_supervisor();
        } else {
            // The new supervisor comes while the shim goes.
            killer.kill_supervisor();
            kill(&keeper);
        }
        // Each step towards rest is an event; the last one leaves another shim with a live service.
        let at_rest = || {
            let alive = |identity: &Identity| identity.liveness().is_alive();
            let new = shim(project, name).filter(|new| *new != keeper && alive(new));
            let leader = leader(project, name).filter(alive);
            let pid = project.instance(name)["pid"].as_u64();
            new.is_some() && leader.is_some_and(|leader| pid == Some(leader.pid.into()))
        };
        let mut events = Events::after(project, since);
        assert!(
            at_rest() || events.any(|_| at_rest()),
            "{name} never came to rest"
        );
        assert!(other.liveness().is_alive(), "nothing else suffers");
    }
    flood.assert_one_copy();
    project.ok(&["down"]);
}

/// Makes the record of a run one of another pid namespace, so that its process cannot be told from here.
fn disguise(record: &std::path::Path, leader: &Identity) -> Vec<u8> {
    let told = std::fs::read(record).expect("it is there");
    let Identity {
        pid,
        start_ticks,
        boot_id,
        ..
    } = leader;
    let text = format!(
        "format=1\nrun=1\nboot_id={boot_id}\npid_ns=1\npid={pid}\nstart_ticks={start_ticks}\npgid={pid}\n\
         started_at_ms=1\ndetached=0\nfailed=0\n"
    );
    std::fs::write(record, text).expect("it is ours");
    told
}

#[test]
fn what_cannot_be_told_is_failed_with_the_remedy_and_goes_on_once_it_can() {
    let project = Project::with(
        "[service.web]\nargv = [\"sleep\", \"infinity\"]\nstart_seconds = 0\n\
         [service.other]\nargv = [\"sleep\", \"infinity\"]\nstart_seconds = 0\n",
    );
    project.ok(&["up", "-d"]);
    let (web, other) = (leader(&project, "web"), leader(&project, "other"));
    let (web, other) = (web.expect("it runs"), other.expect("it runs"));
    let shim = shim(&project, "web").expect("it has one");
    for process in [keeper(&project), supervisor(&project), shim] {
        let process = process.open().expect("it lives");
        process.signal(proc_core::Signal::KILL).expect("it is ours");
        process.wait(None).expect("a pidfd can be waited for");
    }
    let record = project.state().join("instances/web/run");
    let told = disguise(&record, &web);

    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, 1, "{up:?}");
    for part in [
        "cannot tell",
        &web.pid.to_string(),
        &record.display().to_string(),
    ] {
        assert!(
            up.stderr.contains(part) || up.stdout.contains(part),
            "{part}: {up:?}"
        );
    }
    let instance = project.instance("web");
    assert_eq!(
        (&instance["state"], &instance["pid"]),
        (&"failed".into(), &Value::Null)
    );
    assert!(project.ok(&["why", "web"]).contains("cannot tell"));
    assert!(project.ok(&["doctor"]).contains("cannot tell"));
    assert_ne!(project.run(&["start", "web"]).code, 0);
    assert_eq!(
        project.pid("other"),
        other.pid.cast_signed(),
        "the rest goes on"
    );
    assert!(web.liveness().is_alive());

    let since = project.last_seq();
    std::fs::write(&record, told).expect("it is ours");
    let running = |event: &Value| event["instance"] == "web" && event["to"] == "running";
    assert!(Events::after(&project, since).any(|event| running(&event)));
    assert_eq!(
        project.pid("web"),
        web.pid.cast_signed(),
        "the same process"
    );
    assert_eq!(project.status()["degraded"], serde_json::json!([]));
    project.ok(&["down"]);
    assert!(!web.liveness().is_alive());
}

fn keeper(project: &Project) -> Identity {
    let record = proc_shim::ShimRecord::read(&project.state().join("supervisor"));
    record
        .expect("it is readable")
        .expect("it has a keeper")
        .identity
}

fn supervisor(project: &Project) -> Identity {
    let pid = project.status()["supervisor"]["pid"].as_u64();
    let pid = u32::try_from(pid.expect("a supervisor runs")).expect("a pid fits");
    Identity::of(pid).expect("it lives")
}

//! The native backend with real shims and real services.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_backends::{
    AdoptError, Adopted, Backend, BackendEvent, BackendEventKind, BackendEvents, Exit,
    InstanceSpec, Keeper, NativeBackend, NativeOptions, RunState, SignalTarget, StartError,
    Started, StdinMode,
};
use proc_core::{Attributes, Identity, ProcessEnd, Signal, StopSequence};
use proc_output::LogOptions;
use proc_shim::{HIDDEN_VERB, RunRecord, ShimProgram};
use tempfile::TempDir;

/// Far longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

struct Bed {
    home: TempDir,
    backend: NativeBackend,
    events: BackendEvents,
}

fn options(home: &Path) -> NativeOptions {
    // Examples are built with the tests, into the directory beside the tests' own.
    let target = std::env::current_exe().unwrap();
    let target = target.parent().unwrap().parent().unwrap();
    let shim = target.join("examples").join("shim");
    assert!(
        shim.exists(),
        "`cargo test -p proc-backends` builds `{}`",
        shim.display()
    );
    NativeOptions {
        state_dir: home.to_owned(),
        runtime_dir: home.join("run"),
        log_dir: home.join("log"),
        console: None,
        shim: ShimProgram {
            program: shim,
            args: vec![HIDDEN_VERB.into()],
        },
    }
}

impl Bed {
    fn new() -> Self {
        Self::on(tempfile::tempdir().unwrap())
    }

    fn on(home: TempDir) -> Self {
        let backend = NativeBackend::new(options(home.path())).unwrap();
        let events = backend.events().unwrap();
        Self {
            home,
            backend,
            events,
        }
    }

    /// The supervisor dies and another one comes.
    async fn next_supervisor(self) -> Self {
        let Self {
            home,
            backend,
            events,
        } = self;
        drop((backend, events));
        // The tasks of the old one let go of their connections when they run next.
        tokio::task::yield_now().await;
        Self::on(home)
    }

    fn spec(&self, script: &str) -> InstanceSpec {
        InstanceSpec {
            project: "test".into(),
            service: "web".into(),
            instance: "web".into(),
            index: 1,
            argv: vec!["/bin/sh".into(), "-c".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: self.home.path().to_owned(),
            attributes: Attributes::default(),
            stdin: StdinMode::Null,
            log: LogOptions::default(),
            listen: Vec::new(),
            notify_fd: None,
            detached: false,
            die_with_supervisor: false,
            stop: StopSequence::default(),
            last_run: 0,
            foreign: Vec::new(),
        }
    }

    async fn start(&self, script: &str) -> Started {
        self.backend.start(self.spec(script)).await.unwrap()
    }

    async fn event(&mut self) -> BackendEvent {
        tokio::time::timeout(LONG, self.events.next())
            .await
            .unwrap()
            .unwrap()
    }

    async fn exit(&mut self) -> Exit {
        loop {
            if let BackendEventKind::Exited(exit) = self.event().await.kind {
                return exit;
            }
        }
    }

    async fn tree_empty(&mut self) {
        while self.event().await.kind != BackendEventKind::TreeEmpty {}
    }

    async fn adopt(&self) -> Adopted {
        self.backend.adopt("web").await.unwrap().unwrap()
    }

    async fn shim_pid(&self) -> u32 {
        match self.backend.status("web").await.unwrap().keeper {
            Keeper::Shim { pid, .. } => pid,
            other => panic!("{other:?}"),
        }
    }

    /// Ends everything of this test.
    async fn clear(self) {
        let _ended = self.backend.stop("web", StopSequence::kill()).await;
        let _forgotten = self.backend.forget("web").await;
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        path
    }

    fn log(&self) -> Vec<u8> {
        std::fs::read(self.home.path().join("log/web.stdout.log")).unwrap_or_default()
    }
}

/// Waits for the text that a service writes into a FIFO.
async fn read(path: PathBuf) -> String {
    let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path).unwrap());
    tokio::time::timeout(LONG, read).await.unwrap().unwrap()
}

async fn wait_gone(identity: &Identity) {
    if let Ok(handle) = identity.open() {
        tokio::time::timeout(LONG, handle.exited())
            .await
            .unwrap()
            .unwrap();
    }
}

fn kill(pid: u32) -> proc_core::ProcessHandle {
    let handle = proc_core::ProcessHandle::of(pid).unwrap();
    handle.signal(Signal::KILL).unwrap();
    handle
}

#[tokio::test]
async fn a_run_begins_and_ends() {
    let mut bed = Bed::new();
    let started = bed.start("exit 3").await;
    assert_eq!(started.run, 1);
    let exit = bed.exit().await;
    assert_eq!((exit.run, exit.end), (1, Some(ProcessEnd::Exited(3))));
    bed.tree_empty().await;
    assert_eq!(bed.start("exit 0").await.run, 2);
    bed.exit().await;
    bed.clear().await;
}

#[tokio::test]
async fn failed_starts_say_what_failed() {
    let bed = Bed::new();
    let mut spec = bed.spec("");
    spec.argv = vec!["no-such-program".into()];
    let error = bed.backend.start(spec).await.unwrap_err();
    assert!(matches!(&error, StartError::NotFound { program } if program == "no-such-program"));
    assert_eq!(error.exit_code(), 127);

    let mut spec = bed.spec("");
    spec.attributes.user = Some("no-such-user".into());
    let error = bed.backend.start(spec).await.unwrap_err();
    assert_eq!(error.exit_code(), 125);
    assert!(error.to_string().contains("user `no-such-user`"), "{error}");

    let mut spec = bed.spec("");
    spec.foreign = vec![("unit".into(), "x.service".into())];
    let error = bed.backend.start(spec).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unit is not possible with the native backend"
    );
    bed.clear().await;
}

#[tokio::test]
async fn a_stop_ends_the_whole_tree() {
    let mut bed = Bed::new();
    let ready = bed.fifo("ready");
    let script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 1000' & sleep 1000 & echo up > ready; wait; wait; sleep 1000";
    bed.start(script).await;
    read(ready).await;
    let report = bed
        .backend
        .stop("web", "TERM/100ms, KILL".parse().unwrap())
        .await
        .unwrap();
    assert!(
        report.survivors.is_empty() && report.escalated,
        "{report:?}"
    );
    assert_eq!(
        bed.exit().await.end.and_then(ProcessEnd::signal),
        Some(Signal::KILL)
    );
    bed.tree_empty().await;
    bed.clear().await;
}

#[tokio::test]
async fn the_next_supervisor_learns_everything_once() {
    let bed = Bed::new();
    let go = bed.fifo("go");
    let started = bed
        .start("echo before; read x < go; echo after; exit 42")
        .await;
    let mut bed = bed.next_supervisor().await;
    assert_eq!(bed.backend.recorded(), ["web"]);
    let adopted = bed.adopt().await;
    assert_eq!(adopted.status.state, RunState::Running(started.clone()));
    assert!(matches!(
        adopted.status.keeper,
        Keeper::Shim {
            replacement: false,
            ..
        }
    ));
    std::fs::write(&go, "x\n").unwrap();
    let exit = bed.exit().await;
    assert_eq!((exit.run, exit.end), (1, Some(ProcessEnd::Exited(42))));
    assert_eq!(exit.log.stdout, "before\nafter\n".len() as u64);
    bed.tree_empty().await;

    // Not acknowledged: the one after learns it too, by its run number, and not as an event.
    let mut bed = bed.next_supervisor().await;
    match bed.adopt().await.status.state {
        RunState::Exited(exit) => {
            assert_eq!((exit.run, exit.end), (1, Some(ProcessEnd::Exited(42))))
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.events.try_next(), None);
    assert_eq!(bed.log(), b"before\nafter\n");
    bed.clear().await;
}

#[tokio::test]
async fn exits_that_were_not_acknowledged_are_told_with_or_without_a_shim() {
    let mut bed = Bed::new();
    for code in 1..=3 {
        bed.start(&format!("exit {code}")).await;
        bed.exit().await;
        bed.tree_empty().await;
    }
    let live = bed.start("exec sleep 1000").await;
    let missed = |adopted: &Adopted| {
        let exits = adopted.missed.exits.iter();
        let exits = exits.map(|exit| (exit.run, exit.end.and_then(ProcessEnd::code)));
        exits.collect::<Vec<_>>()
    };
    let all = [(1, Some(1)), (2, Some(2)), (3, Some(3))];
    let bed = bed.next_supervisor().await;
    let adopted = bed.adopt().await;
    assert_eq!(missed(&adopted), all);
    assert!(matches!(adopted.status.state, RunState::Running(_)));

    // Both are lost: the records tell the same.
    let shim = bed.shim_pid().await;
    let Bed {
        home,
        backend,
        events,
    } = bed;
    drop((backend, events));
    kill(shim);
    let mut bed = Bed::on(home);
    let adopted = bed.adopt().await;
    assert_eq!(missed(&adopted), all);
    assert!(matches!(adopted.status.state, RunState::Running(_)));
    bed.backend.acknowledge("web", 2).await.unwrap();
    bed.backend.stop("web", StopSequence::kill()).await.unwrap();
    wait_gone(&live.identity).await;
    bed.tree_empty().await;

    // The next shim is told what is on record, though its own records do not say so.
    bed.start("exec sleep 1000").await;
    let bed = bed.next_supervisor().await;
    let adopted = bed.adopt().await;
    assert_eq!(missed(&adopted), all[2..]);
    bed.clear().await;
}

#[tokio::test]
async fn a_lost_shim_is_replaced_and_no_byte_is_lost() {
    let mut bed = Bed::new();
    let go = bed.fifo("go");
    let script = "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; read x < go; echo end; exit 7";
    let started = bed.start(script).await;
    let first = bed.shim_pid().await;
    kill(first);
    let lost = bed.event().await;
    assert!(
        matches!(&lost.kind, BackendEventKind::Lost { cause } if cause.contains("KILL")),
        "{lost:?}"
    );
    assert_eq!(
        bed.event().await.kind,
        BackendEventKind::Recovered {
            started: started.clone()
        }
    );
    let second = bed.shim_pid().await;
    assert_ne!(first, second);

    // And again, after a restart of the supervisor.
    let mut bed = bed.next_supervisor().await;
    let adopted = bed.adopt().await;
    assert_eq!(adopted.status.state, RunState::Running(started.clone()));
    assert_eq!(
        adopted.status.keeper,
        Keeper::Shim {
            pid: second,
            replacement: true
        }
    );
    kill(second);
    assert!(matches!(
        bed.event().await.kind,
        BackendEventKind::Lost { .. }
    ));
    assert!(matches!(
        bed.event().await.kind,
        BackendEventKind::Recovered { .. }
    ));

    std::fs::write(&go, "x\n").unwrap();
    let exit = bed.exit().await;
    assert_eq!(exit.run, 1);
    assert!(
        exit.end == Some(ProcessEnd::Exited(7)) || (exit.end.is_none() && exit.unknown.is_some()),
        "{exit:?}"
    );
    let mut expected: Vec<u8> = (0..20000)
        .flat_map(|i| format!("line {i}\n").into_bytes())
        .collect();
    expected.extend_from_slice(b"end\n");
    assert!(bed.log() == expected, "the log is byte-exact");
    bed.clear().await;
}

/// Stops a shim as `kill -STOP` does, and waits until it is.
fn halt(pid: u32) {
    let shim = proc_core::ProcessHandle::of(pid).unwrap();
    shim.signal(Signal::STOP).unwrap();
    while proc_core::list::get(pid).unwrap().state != proc_core::list::State::Stopped {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_shim_that_was_stopped_is_continued_by_the_next_request() {
    let mut bed = Bed::new();
    let go = bed.fifo("go");
    let started = bed.start("read x < go; exit 7").await;
    let shim = bed.shim_pid().await;
    halt(shim);
    assert_eq!(bed.shim_pid().await, shim, "the same one answers");
    let noticed = bed.event().await;
    assert!(
        matches!(&noticed.kind, BackendEventKind::Lost { cause } if cause.contains("was stopped")),
        "{noticed:?}"
    );
    let recovered = BackendEventKind::Recovered {
        started: started.clone(),
    };
    assert_eq!(bed.event().await.kind, recovered);

    // The next supervisor finds one that is stopped, too.
    halt(shim);
    let mut bed = bed.next_supervisor().await;
    let adopted = bed.adopt().await;
    assert_eq!(adopted.status.state, RunState::Running(started));
    std::fs::write(&go, "x\n").unwrap();
    assert_eq!(bed.exit().await.end, Some(ProcessEnd::Exited(7)));
    bed.clear().await;
}

#[tokio::test]
async fn a_replacement_stops_what_it_took_over() {
    let mut bed = Bed::new();
    let ready = bed.fifo("ready");
    bed.start("sleep 1000 & echo up > ready; sleep 1000").await;
    read(ready).await;
    kill(bed.shim_pid().await);
    assert!(matches!(
        bed.event().await.kind,
        BackendEventKind::Lost { .. }
    ));
    assert!(matches!(
        bed.event().await.kind,
        BackendEventKind::Recovered { .. }
    ));
    let report = bed
        .backend
        .stop("web", "TERM/5s, KILL".parse().unwrap())
        .await
        .unwrap();
    assert!(report.survivors.is_empty(), "{report:?}");
    bed.exit().await;
    assert!(matches!(
        bed.backend.status("web").await.unwrap().state,
        RunState::Exited(_)
    ));
    assert_eq!(bed.start("exit 0").await.run, 2);
    bed.clear().await;
}

#[tokio::test]
async fn shim_and_supervisor_lost_together_leave_one_copy() {
    let bed = Bed::new();
    let started = bed.start("exec sleep 1000").await;
    let shim = bed.shim_pid().await;
    let Bed {
        home,
        backend,
        events,
    } = bed;
    drop((backend, events));
    let shim = kill(shim);
    tokio::time::timeout(LONG, shim.exited())
        .await
        .unwrap()
        .unwrap();
    let mut bed = Bed::on(home);
    let adopted = bed.adopt().await;
    assert_eq!(adopted.status.state, RunState::Running(started.clone()));
    assert_eq!(adopted.status.keeper, Keeper::Nobody);
    let refused = bed.backend.start(bed.spec("exit 0")).await.unwrap_err();
    assert!(matches!(refused, StartError::StillRunning { pid, .. } if pid == started.pid));
    bed.backend
        .signal("web", Signal::USR1, SignalTarget::Leader)
        .await
        .unwrap();
    assert_eq!(bed.exit().await.run, 1);
    let report = bed
        .backend
        .stop("web", "TERM/5s, KILL".parse().unwrap())
        .await
        .unwrap();
    assert!(report.survivors.is_empty(), "{report:?}");
    wait_gone(&started.identity).await;
    assert_eq!(bed.start("exit 0").await.run, 2);
    bed.clear().await;
}

/// Makes the record of a run one of another pid namespace, so that its process cannot be told from here; returns the record.
fn disguise(home: &Path) -> PathBuf {
    let dir = home.join("instances/web");
    let running = RunRecord::read(&dir).unwrap().unwrap().running;
    let Identity {
        pid,
        start_ticks,
        boot_id,
        ..
    } = running.identity;
    let text = format!(
        "format=1\nrun={}\nboot_id={boot_id}\npid_ns=1\npid={pid}\nstart_ticks={start_ticks}\npgid={pid}\n\
         started_at_ms={}\ndetached=0\nfailed=0\n",
        running.run, running.started_at
    );
    let record = dir.join("run");
    std::fs::rename(&record, dir.join("told")).unwrap();
    std::fs::write(&record, text).unwrap();
    record
}

#[tokio::test]
async fn what_cannot_be_told_is_not_taken_for_ended() {
    let bed = Bed::new();
    let started = bed.start("exec sleep 1000").await;
    let shim = bed.shim_pid().await;
    let Bed {
        home,
        backend,
        events,
    } = bed;
    drop((backend, events));
    kill(shim).exited().await.unwrap();
    let record = disguise(home.path());
    let mut bed = Bed::on(home);
    let alive = || started.identity.liveness().is_alive();

    let doubt = bed.backend.adopt("web").await.unwrap_err();
    let words = doubt.to_string();
    assert!(
        matches!(doubt, AdoptError::Doubt { run: Some(1), .. }),
        "{words}"
    );
    for part in ["cannot tell", "namespace", &record.display().to_string()] {
        assert!(words.contains(part), "{part}: {words}");
    }
    let refused = bed.backend.start(bed.spec("exit 0")).await.unwrap_err();
    assert!(matches!(refused, StartError::Doubt { .. }), "{refused}");
    let stopped = bed.backend.stop("web", StopSequence::kill()).await.unwrap();
    assert_eq!(stopped.survivors[0].pid, started.pid);
    assert!(bed.backend.forget("web").await.is_err(), "its records stay");
    assert!(alive() && record.exists());

    // Once it can be told it is what it always was.
    std::fs::rename(record.with_file_name("told"), &record).unwrap();
    let adopted = bed.adopt().await;
    assert_eq!(adopted.status.state, RunState::Running(started.clone()));
    let refused = bed.backend.start(bed.spec("exit 0")).await.unwrap_err();
    assert!(
        matches!(refused, StartError::StillRunning { .. }),
        "{refused}"
    );
    bed.backend.stop("web", StopSequence::kill()).await.unwrap();
    assert_eq!(bed.exit().await.run, 1);
    bed.tree_empty().await;
    assert_eq!(bed.start("exit 0").await.run, 2);
    bed.clear().await;
}

#[tokio::test]
async fn what_could_not_be_told_and_has_ended_stands_in_nobodys_way() {
    let bed = Bed::new();
    let started = bed.start("exec sleep 1000").await;
    let shim = bed.shim_pid().await;
    let Bed {
        home,
        backend,
        events,
    } = bed;
    drop((backend, events));
    kill(shim).exited().await.unwrap();
    let record = disguise(home.path());
    let bed = Bed::on(home);
    bed.backend.adopt("web").await.unwrap_err();
    started.identity.signal(Signal::KILL).unwrap();
    wait_gone(&started.identity).await;
    std::fs::remove_file(&record).unwrap();
    assert_eq!(bed.backend.adopt("web").await.unwrap(), None);
    bed.start("exit 0").await;
    bed.clear().await;
}

#[tokio::test]
async fn stdin_is_a_pipe() {
    let mut bed = Bed::new();
    let spec = InstanceSpec {
        stdin: StdinMode::Pipe,
        ..bed.spec("cat; exit 9")
    };
    bed.backend.start(spec).await.unwrap();
    let large = vec![b'x'; 300_000];
    bed.backend.stdin_write("web", large.clone()).await.unwrap();
    bed.backend
        .stdin_write("web", b"tail".to_vec())
        .await
        .unwrap();
    bed.backend.stdin_close("web").await.unwrap();
    assert_eq!(bed.exit().await.end, Some(ProcessEnd::Exited(9)));
    assert_eq!(bed.log(), [large, b"tail".to_vec()].concat());
    assert!(bed.backend.stdin_write("web", b"x".to_vec()).await.is_err());
    bed.clear().await;
}

#[tokio::test]
async fn a_service_dies_with_its_supervisor_where_it_shall() {
    let bed = Bed::new();
    let spec = InstanceSpec {
        die_with_supervisor: true,
        ..bed.spec("sleep 1000 & sleep 1000")
    };
    let started = bed.backend.start(spec).await.unwrap();
    let shim = proc_core::Identity::of(bed.shim_pid().await).unwrap();
    let bed = bed.next_supervisor().await;
    wait_gone(&started.identity).await;
    wait_gone(&shim).await;
    bed.clear().await;
}

#[tokio::test]
async fn an_unreadable_record_is_set_aside() {
    let bed = Bed::new();
    let dir = bed.home.path().join("instances/web");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("run"), b"\xff\xfe garbage").unwrap();
    let error = bed.backend.adopt("web").await.unwrap_err();
    assert!(error.to_string().contains("run.unreadable-1"), "{error}");
    assert!(dir.join("run.unreadable-1").exists());
    assert_eq!(bed.start("exit 0").await.run, 1);
    bed.clear().await;
}

//! Which process is the service: one that was named goes on for the one that was started, files
//! that change restart it, and nothing is started that runs already.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proc_backends::{Backend, NativeBackend, NativeOptions};
use proc_core::Signal;
use proc_policy::{Jitter, Mode};
use proc_probe::{Detector, Probe, ProbeKind, Role};
use proc_shim::{HIDDEN_VERB, ShimProgram};
use proc_spec::{Command, Project, ServiceSpec, WatchSpec};
use proc_supervisor::{
    Begin, Event, Handle, InstanceStatus, Options, State, StopOptions, Supervisor, WaitFor, Who,
};

/// Far longer than anything takes.
const LONG: Duration = Duration::from_secs(30);

async fn start(home: &Path, begin: Begin, services: Vec<ServiceSpec>) -> Handle {
    let test = std::env::current_exe().unwrap();
    // Examples are built with the tests, into the directory beside the tests' own.
    let program = test.ancestors().nth(2).unwrap().join("examples/supervised");
    let state = home.join("state");
    let mut native = NativeOptions::new(&state, &state.join("run")).unwrap();
    native.shim = ShimProgram {
        program,
        args: vec![HIDDEN_VERB.into()],
    };
    let backend: Arc<dyn Backend> = Arc::new(NativeBackend::new(native).unwrap());
    let mut project = Project::plain("shop", home);
    project.services = services;
    let options = Options {
        begin,
        env: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        ..Options::new(project, state, vec![backend])
    };
    Supervisor::start(options).await.unwrap()
}

async fn up(home: &Path, service: ServiceSpec) -> Handle {
    start(home, Begin::ByHand(vec![]), vec![service]).await
}

/// A service that runs a shell script in `home`, with quick defaults.
fn sh(home: &Path, script: &str) -> ServiceSpec {
    let mut spec = ServiceSpec::plain("web", Some(Command::Shell(script.to_owned())), home);
    spec.restart.jitter = Jitter::None;
    spec.restart.initial_delay = Duration::from_millis(20);
    spec.start_seconds = Duration::from_millis(50);
    spec
}

fn me() -> Who {
    Who {
        verb: "test".to_owned(),
        uid: None,
        pid: None,
    }
}

async fn web(handle: &Handle) -> InstanceStatus {
    let status = handle.status().await.unwrap();
    status.services[0].instances[0].clone()
}

async fn settled(handle: &Handle) {
    let report = handle
        .wait(vec![], WaitFor::Settled, Some(LONG))
        .await
        .unwrap();
    assert!(report.ok(), "{report:?}");
}

async fn down(handle: &Handle) {
    let report = handle.down(StopOptions::default(), me()).await.unwrap();
    assert!(report.ok(), "{report:?}");
}

/// Waits for an event that fits.
async fn event(handle: &Handle, fits: impl Fn(&Event) -> bool) -> Event {
    let mut events = handle.events(Some(0)).await.unwrap();
    let found = async {
        loop {
            let event = events.next().await.unwrap();
            if fits(&event) {
                return event;
            }
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap()
}

fn main_is(event: &Event) -> bool {
    event.cause.kind == "main"
}

async fn signal(handle: &Handle, signal: Signal) {
    handle
        .signal(vec!["web".to_owned()], signal, me())
        .await
        .unwrap();
}

/// A daemon as they were written for thirty years: forks itself away, a moment later writes its
/// pid, and logs what it is told.
const DAEMON: &str = "(setsid sh -c 'trap \"exit 9\" USR1; echo $$ >d.tmp; mv d.tmp d.pid; \
                      while :; do sleep 0.05; done' &) ; exit 0";

#[tokio::test]
async fn a_daemon_that_forks_itself_away_is_followed_by_its_pid_file() {
    let home = tempfile::tempdir().unwrap();
    // A file that an earlier life left behind names nobody of this one.
    std::fs::write(home.path().join("d.pid"), "1\n").unwrap();
    let mut spec = sh(home.path(), DAEMON);
    spec.pid_file = Some(home.path().join("d.pid"));
    spec.detached = true;
    spec.restart.mode = Mode::Never;
    let handle = up(home.path(), spec.clone()).await;
    let told = event(&handle, main_is).await;
    let detail = told.cause.detail.unwrap();
    assert!(
        detail.contains("d.pid") && detail.contains("(exited with code 0)") || detail.contains("0"),
        "{detail}"
    );
    let pid: u32 = std::fs::read_to_string(home.path().join("d.pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    settled(&handle).await;
    let status = web(&handle).await;
    assert_eq!(
        (status.state, status.pid),
        (State::Running, Some(pid)),
        "{status:?}"
    );
    assert!(
        status.last_exit.is_none(),
        "the run has not ended: {status:?}"
    );

    // The next supervisor finds it where the last one left it.
    handle.leave().await.unwrap();
    drop(handle);
    let handle = start(home.path(), Begin::Resume, vec![spec]).await;
    let status = web(&handle).await;
    assert_eq!(
        (status.state, status.pid),
        (State::Running, Some(pid)),
        "{status:?}"
    );

    // Its end is the end of the service, with its own code.
    signal(&handle, Signal::USR1).await;
    let ended = event(&handle, |event| event.exit.is_some()).await;
    let exit = ended.exit.unwrap();
    assert_eq!((ended.to, exit.code), (Some(State::Exited), Some(9)));
    down(&handle).await;
}

#[tokio::test]
async fn a_daemon_without_a_pid_file_is_the_one_process_that_its_detector_means() {
    let home = tempfile::tempdir().unwrap();
    // The detector sees nobody before the start.
    let mut spec = sh(
        home.path(),
        "(setsid sh -c 'echo >alive; exec sleep 1000' &); until [ -e alive ]; do sleep 0.02; done",
    );
    spec.detectors = vec![Detector::Command {
        command: "test -e alive".to_owned(),
    }];
    let handle = up(home.path(), spec).await;
    event(&handle, main_is).await;
    settled(&handle).await;
    std::fs::remove_file(home.path().join("alive")).unwrap();
    down(&handle).await;
}

#[tokio::test]
async fn a_leader_that_leaves_nobody_behind_has_simply_ended() {
    let home = tempfile::tempdir().unwrap();
    let mut spec = sh(home.path(), "exit 0");
    spec.pid_file = Some(home.path().join("d.pid"));
    spec.start_timeout = None;
    let handle = up(home.path(), spec).await;
    let ended = event(&handle, |event| event.exit.is_some()).await;
    assert_eq!(ended.to, Some(State::Exited));
    down(&handle).await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_pid_file_that_never_comes() {
    let home = tempfile::tempdir().unwrap();
    let mut spec = sh(home.path(), "sleep 1000 & echo >gone; exit 0");
    spec.pid_file = Some(home.path().join("never.pid"));
    spec.start_timeout = None;
    let handle = up(home.path(), spec).await;
    event(&handle, |event| event.to == Some(State::Running)).await;
    down(&handle).await;
}

#[tokio::test]
async fn what_somebody_else_has_started_is_not_started_twice() {
    let home = tempfile::tempdir().unwrap();
    let pid = std::process::id();
    std::fs::write(home.path().join("d.pid"), format!("{pid}\n")).unwrap();
    let mut spec = sh(home.path(), "exec sleep 1000");
    spec.restart.mode = Mode::Never;
    spec.detectors = vec![Detector::PidFile {
        path: "d.pid".into(),
    }];
    let handle = up(home.path(), spec).await;
    let failed = event(&handle, |event| event.to == Some(State::Failed)).await;
    let why = failed.cause.detail.unwrap();
    assert!(
        why.contains("runs already") && why.contains("d.pid"),
        "{why}"
    );

    std::fs::remove_file(home.path().join("d.pid")).unwrap();
    let who = me();
    let started = handle
        .start(vec!["web".to_owned()], Default::default(), who)
        .await
        .unwrap();
    assert!(started.ok(), "{started:?}");
    down(&handle).await;
}

/// Says something to NOTIFY_SOCKET as the process that it is, and stays until it was heard
/// (`BARRIER=1`, sd_notify(3)): who has ended cannot be looked up any more.
const SAY: &str = "python3 -c 'import os,socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
                   a=os.environ[\"NOTIFY_SOCKET\"]; s.connect(a.replace(\"@\",\"\\0\",1) if a[0]==\"@\" else a); \
                   s.send(sys.argv[1].encode()); r,w=os.pipe(); \
                   socket.send_fds(s,[b\"BARRIER=1\"],[w]); os.close(w); os.read(r,1)'";

#[tokio::test]
async fn the_process_that_mainpid_names_is_the_service() {
    let home = tempfile::tempdir().unwrap();
    // The wrapper lives on when what it wraps has ended; the service has ended all the same.
    let script = format!("sleep 1000 & {SAY} \"MAINPID=$!\nREADY=1\"; wait; exec sleep 1000");
    let mut spec = sh(home.path(), &script);
    spec.ready = Some(Probe::new(Role::Ready, ProbeKind::Notify));
    spec.restart.mode = Mode::Never;
    let handle = up(home.path(), spec).await;
    let told = event(&handle, main_is).await;
    assert!(told.cause.detail.unwrap().contains("MAINPID="));
    event(&handle, |event| event.ready).await;
    signal(&handle, Signal::KILL).await;
    let ended = event(&handle, |event| event.exit.is_some()).await;
    assert_eq!(ended.to, Some(State::Exited), "{ended:?}");
    down(&handle).await;
}

#[tokio::test]
async fn a_leader_that_names_its_heir_and_ends_at_once_is_not_missed() {
    for _ in 0..3 {
        let home = tempfile::tempdir().unwrap();
        // The leader itself speaks, and is gone before anybody can have heard it.
        let script = "exec python3 -c 'import os,socket,subprocess; \
                      s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
                      a=os.environ[\"NOTIFY_SOCKET\"]; \
                      s.connect(a.replace(\"@\",\"\\0\",1) if a[0]==\"@\" else a); \
                      p=subprocess.Popen([\"sleep\",\"1000\"],start_new_session=True).pid; \
                      s.send(b\"MAINPID=%d\\nREADY=1\" % p); os._exit(0)'";
        let mut spec = sh(home.path(), script);
        spec.ready = Some(Probe::new(Role::Ready, ProbeKind::Notify));
        let handle = up(home.path(), spec).await;
        settled(&handle).await;
        let status = web(&handle).await;
        assert_eq!(
            (status.state, status.restarts),
            (State::Running, 0),
            "{status:?}"
        );
        assert!(status.last_exit.is_none(), "{status:?}");
        down(&handle).await;
    }
}

/// The moment at which a change ends the present run.
fn restarts(event: &Event) -> bool {
    event.cause.kind == "watch" && event.to == Some(State::Stopping)
}

fn watch(paths: &[&str]) -> Option<WatchSpec> {
    Some(WatchSpec {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        ignore: vec!["**/*.swp".to_owned()],
        debounce: Duration::from_millis(50),
    })
}

#[tokio::test]
async fn files_that_change_restart_a_service_once_per_burst() {
    let home = tempfile::tempdir().unwrap();
    let src = home.path().join("src");
    std::fs::create_dir(&src).unwrap();
    let mut spec = sh(home.path(), "exec sleep 1000");
    spec.watch = watch(&["src/**/*.py"]);
    let handle = up(home.path(), spec).await;
    settled(&handle).await;
    let first = web(&handle).await.pid;

    // Neither what is ignored, nor what is not meant, nor what is logged.
    std::fs::write(src.join("a.swp"), "x").unwrap();
    std::fs::write(home.path().join("b.py"), "x").unwrap();
    // A directory that is new, with a file in it, is as good as one that was there.
    for name in ["x", "y"] {
        std::fs::create_dir(src.join(name)).unwrap();
        std::fs::write(src.join(name).join("a.py"), "1").unwrap();
    }
    let told = event(&handle, restarts).await;
    let why = told.cause.detail.unwrap();
    assert!(why.contains("a.py") && why.contains("changed"), "{why}");
    settled(&handle).await;
    let second = web(&handle).await;
    assert_ne!(second.pid, first);
    assert_eq!(second.restarts, 1, "{second:?}");

    std::fs::write(src.join("x/a.py"), "2").unwrap();
    event(&handle, |event| restarts(event) && event.seq > told.seq).await;
    settled(&handle).await;
    assert_eq!(web(&handle).await.restarts, 2);
    down(&handle).await;
}

#[tokio::test]
async fn a_change_gives_a_failed_service_another_chance() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("app.sh"), "exit 3").unwrap();
    let mut spec = sh(home.path(), "exec sh app.sh");
    spec.watch = watch(&["app.sh"]);
    spec.restart.startup_max = Some(0);
    let handle = up(home.path(), spec).await;
    event(&handle, |event| event.to == Some(State::Failed)).await;
    let new = home.path().join("new");
    std::fs::write(&new, "exec sleep 1000").unwrap();
    // As editors do it.
    std::fs::rename(&new, home.path().join("app.sh")).unwrap();
    event(&handle, |event| event.to == Some(State::Running)).await;
    down(&handle).await;
}

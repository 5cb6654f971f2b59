//! Real processes under real shims.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proc_backends::{Backend, NativeBackend, NativeOptions};
use proc_core::Signal;
use proc_hooks::Hook;
use proc_policy::Jitter;
use proc_probe::{Probe, ProbeKind, Role};
use proc_shim::{HIDDEN_VERB, ShimProgram};
use proc_spec::{Command, Need, Project, ServiceSpec, Stdin};
use proc_supervisor::{
    Begin, Handle, InstanceStatus, Options, Report, StartOptions, State, StopOptions, Supervisor,
    WaitFor, Who, offline,
};

/// Far longer than anything takes.
const LONG: Duration = Duration::from_secs(60);

fn options(home: &Path, begin: Begin, services: Vec<ServiceSpec>) -> Options {
    let target = std::env::current_exe().unwrap();
    // Examples are built with the tests, into the directory beside the tests' own.
    let shim = target
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .join("examples")
        .join("supervised");
    let mut native = NativeOptions::new(home, &home.join("run")).unwrap();
    native.shim = ShimProgram {
        program: shim,
        args: vec![HIDDEN_VERB.into()],
    };
    let backend: Arc<dyn Backend> = Arc::new(NativeBackend::new(native).unwrap());
    let mut project = Project::plain("shop", Path::new("/"));
    project.services = services;
    Options {
        begin,
        env: BTreeMap::from([
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("NOTIFY_SOCKET".to_owned(), "/outer".to_owned()),
            ("LISTEN_FDS".to_owned(), "3".to_owned()),
        ]),
        ..Options::new(project, home.to_owned(), vec![backend])
    }
}

async fn up(home: &Path, services: Vec<ServiceSpec>) -> Handle {
    Supervisor::start(options(home, Begin::ByHand(vec![]), services))
        .await
        .unwrap()
}

/// A service that runs a shell script, with quick defaults.
fn sh(name: &str, script: &str) -> ServiceSpec {
    let mut spec = ServiceSpec::plain(
        name,
        Some(Command::Shell(script.to_owned())),
        Path::new("/tmp"),
    );
    spec.restart.jitter = Jitter::None;
    spec.restart.initial_delay = Duration::from_millis(20);
    spec.start_seconds = Duration::from_millis(50);
    spec
}

fn ready_by(spec: &mut ServiceSpec, kind: ProbeKind) {
    spec.ready = Some(Probe::new(Role::Ready, kind));
}

fn me() -> Who {
    Who {
        verb: "test".to_owned(),
        uid: None,
        pid: Some(std::process::id()),
    }
}

async fn settled(handle: &Handle) -> Report {
    handle
        .wait(vec![], WaitFor::Settled, Some(LONG))
        .await
        .unwrap()
}

async fn instance(handle: &Handle, name: &str) -> InstanceStatus {
    let status = handle.status().await.unwrap();
    let mut all = status
        .services
        .into_iter()
        .flat_map(|service| service.instances);
    all.find(|instance| instance.name == name).unwrap()
}

async fn down(handle: &Handle) {
    let report = handle.down(StopOptions::default(), me()).await.unwrap();
    assert!(report.ok(), "{report:?}");
    assert_eq!(handle.finished().await.code, 0);
}

async fn until(handle: &Handle, to: State) {
    let mut events = handle.events(Some(0)).await.unwrap();
    let found = async { while events.next().await.unwrap().to != Some(to) {} };
    tokio::time::timeout(LONG, found).await.unwrap();
}

fn log(home: &Path, file: &str) -> String {
    std::fs::read_to_string(home.join("log").join(file)).unwrap()
}

#[tokio::test]
async fn a_service_starts_is_ready_by_a_line_and_stops() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", "echo one; env >&2; echo serving; exec sleep 1000");
    ready_by(&mut web, ProbeKind::Log("^serving$".parse().unwrap()));
    web.start_seconds = LONG;
    let handle = up(home.path(), vec![web]).await;
    let report = settled(&handle).await;
    assert!(report.ok(), "{report:?}");
    let web = instance(&handle, "web").await;
    assert!(web.ready && web.state == State::Running);
    let identity = web.identity.unwrap();
    assert!(identity.liveness().is_alive());
    assert_eq!(Some(identity.pid), web.pid);
    assert_eq!(web.log_dropped_bytes, Some(0));
    down(&handle).await;
    assert!(!identity.liveness().is_alive());
    assert_eq!(log(home.path(), "web.stdout.log"), "one\nserving\n");
    let env = log(home.path(), "web.stderr.log");
    assert!(
        env.contains("PROC_INSTANCE=1\n") && env.contains("PROC_PROJECT=shop\n"),
        "{env}"
    );
    assert!(
        !env.contains("NOTIFY_SOCKET") && !env.contains("LISTEN_FDS"),
        "{env}"
    );
    let offline = offline::status(home.path()).unwrap();
    assert_eq!(offline.services[0].state, State::Stopped);
}

#[tokio::test]
async fn a_line_of_an_earlier_run_does_not_make_the_next_one_ready() {
    let home = tempfile::tempdir().unwrap();
    let second = home.path().join("second");
    let script = format!(
        "if [ -e {0} ]; then exec sleep 1000; fi; touch {0}; echo serving; exec sleep 1000",
        second.display()
    );
    let mut web = sh("web", &script);
    ready_by(&mut web, ProbeKind::Log("serving".parse().unwrap()));
    web.restart.initial_delay = Duration::ZERO;
    let handle = up(home.path(), vec![web]).await;
    assert!(settled(&handle).await.ok());
    let first = instance(&handle, "web").await;
    first
        .identity
        .unwrap()
        .open()
        .unwrap()
        .signal(Signal::KILL)
        .unwrap();
    until(&handle, State::Backoff).await;
    let wait = handle.wait(vec![], WaitFor::Running, Some(LONG));
    assert!(wait.await.unwrap().ok());
    let second = instance(&handle, "web").await;
    assert!(!second.ready, "{second:?}");
    assert!(second.reason.contains("no line"), "{}", second.reason);
    down(&handle).await;
}

#[tokio::test]
async fn a_killed_service_comes_back_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    let handle = up(home.path(), vec![sh("web", "exec sleep 1000")]).await;
    assert!(settled(&handle).await.ok());
    let before = instance(&handle, "web").await.identity.unwrap();
    before.open().unwrap().signal(Signal::KILL).unwrap();
    until(&handle, State::Backoff).await;
    assert!(settled(&handle).await.ok());
    let web = instance(&handle, "web").await;
    assert_eq!((web.restarts, web.attempt), (1, 1));
    let exit = web.last_exit.unwrap();
    assert_eq!(
        (exit.code, exit.signal, exit.signal_name.as_deref()),
        (None, Some(9), Some("KILL"))
    );
    assert!(!web.identity.unwrap().same_process(&before));
    down(&handle).await;
}

#[tokio::test]
async fn a_program_that_always_fails_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", "echo no luck; exit 3");
    // On a busy machine even this takes its time.
    web.start_seconds = LONG;
    let handle = up(home.path(), vec![web]).await;
    let report = settled(&handle).await;
    assert!(
        !report.ok() && report.outcomes[0].message.contains("exit code 3"),
        "{report:?}"
    );
    let web = instance(&handle, "web").await;
    assert_eq!((web.state, web.restarts), (State::Failed, 3));
    down(&handle).await;
    assert_eq!(log(home.path(), "web.stdout.log"), "no luck\n".repeat(4));
    let events = offline::events(home.path(), 0).unwrap();
    assert_eq!(
        events.iter().filter(|event| event.exit.is_some()).count(),
        4
    );
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", ":");
    web.command = Some(Command::Argv(vec!["/nowhere/web".to_owned()]));
    let handle = up(home.path(), vec![web]).await;
    let report = settled(&handle).await;
    assert!(
        report.outcomes[0]
            .message
            .contains("`/nowhere/web` not found"),
        "{report:?}"
    );
    assert_eq!(instance(&handle, "web").await.state, State::Failed);
    down(&handle).await;
}

#[tokio::test]
async fn what_a_leader_leaves_behind_ends_before_its_restart() {
    let home = tempfile::tempdir().unwrap();
    let children = home.path().join("children");
    let script = format!(
        "setsid sleep 1000 & echo $! >> {}; exit 1",
        children.display()
    );
    let handle = up(home.path(), vec![sh("web", &script)]).await;
    assert!(!settled(&handle).await.ok());
    let pids = std::fs::read_to_string(&children).unwrap();
    assert_eq!(pids.lines().count(), 4);
    for pid in pids.lines() {
        let alive = proc_core::Identity::of(pid.parse().unwrap());
        assert!(alive.is_err_and(|_| true), "{pid} lives");
    }
    down(&handle).await;
}

#[tokio::test]
async fn needs_come_first_and_go_last() {
    let home = tempfile::tempdir().unwrap();
    let order = home.path().join("order");
    let script = |name: &str| {
        let order = order.display();
        format!(
            "trap 'echo -{name} >> {order}; exit 0' TERM; echo +{name} >> {order}; \
             while :; do sleep 0.02; done"
        )
    };
    let mut web = sh("web", &script("web"));
    web.needs.insert("db".to_owned(), Need::Ready);
    let mut migrate = sh("migrate", &format!("echo migrate >> {}", order.display()));
    migrate.oneshot = true;
    migrate.needs.insert("db".to_owned(), Need::Ready);
    web.needs.insert("migrate".to_owned(), Need::Completed);
    let handle = up(home.path(), vec![web, migrate, sh("db", &script("db"))]).await;
    let report = settled(&handle).await;
    assert!(report.ok(), "{report:?}");
    down(&handle).await;
    let order = std::fs::read_to_string(&order).unwrap();
    assert_eq!(order, "+db\nmigrate\n+web\n-web\n-db\n");
}

#[tokio::test]
async fn one_that_ignores_term_is_killed_after_its_grace() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", "trap '' TERM; echo up; while :; do sleep 0.05; done");
    ready_by(&mut web, ProbeKind::Log("up".parse().unwrap()));
    let handle = up(home.path(), vec![web]).await;
    assert!(settled(&handle).await.ok());
    let options = StopOptions {
        grace: Some(proc_supervisor::Grace::Ms(200)),
        ..StopOptions::default()
    };
    let begin = Instant::now();
    let report = handle.stop(vec![], options, me()).await.unwrap();
    assert!(report.ok(), "{report:?}");
    assert!(begin.elapsed() >= Duration::from_millis(200));
    let exit = instance(&handle, "web").await.last_exit.unwrap();
    assert_eq!(exit.signal, Some(9));
    down(&handle).await;
}

#[tokio::test]
async fn a_long_hook_delays_neither_status_nor_stop() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", "exec sleep 1000");
    web.hooks.pre_start.push(Hook::new("slow", "exec sleep 29"));
    let handle = up(home.path(), vec![web]).await;
    until(&handle, State::Starting).await;
    let begin = Instant::now();
    assert_eq!(instance(&handle, "web").await.state, State::Starting);
    assert!(
        handle
            .stop(vec![], StopOptions::default(), me())
            .await
            .unwrap()
            .ok()
    );
    assert_eq!(instance(&handle, "web").await.state, State::Stopped);
    assert!(begin.elapsed() < Duration::from_secs(20));
    down(&handle).await;
}

#[tokio::test]
async fn a_hook_that_fails_aborts_the_start() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", "echo ran");
    web.hooks.pre_start.push(Hook::new("migrate", "exit 4"));
    let handle = up(home.path(), vec![web]).await;
    let report = settled(&handle).await;
    assert!(
        report.outcomes[0].message.contains("`migrate`"),
        "{report:?}"
    );
    assert_eq!(instance(&handle, "web").await.state, State::Failed);
    assert!(!home.path().join("log/web.stdout.log").exists());
    down(&handle).await;
}

#[tokio::test]
async fn a_newline_on_a_descriptor_is_readiness() {
    let home = tempfile::tempdir().unwrap();
    let mut web = sh("web", "echo >&3; exec sleep 1000");
    ready_by(&mut web, ProbeKind::NotifyFd(3));
    web.start_seconds = LONG;
    let handle = up(home.path(), vec![web]).await;
    let report = settled(&handle).await;
    assert!(report.ok(), "{report:?}");
    down(&handle).await;
}

#[tokio::test]
async fn standard_input_can_be_written_and_closed() {
    let home = tempfile::tempdir().unwrap();
    let mut cat = sh("cat", "cat");
    cat.stdin = Stdin::Pipe;
    let handle = up(home.path(), vec![cat]).await;
    assert!(settled(&handle).await.ok());
    handle
        .send_stdin("cat".to_owned(), b"hello\n".to_vec(), true)
        .await
        .unwrap();
    let wait = handle.wait(vec![], WaitFor::Exited, Some(LONG));
    assert!(wait.await.unwrap().ok());
    assert_eq!(log(home.path(), "cat.stdout.log"), "hello\n");
    down(&handle).await;
}

/// Runs a supervisor on a runtime of its own, and then tears that down under it, as `kill -9` does.
fn crash_after<T: Send + 'static>(
    start: impl FnOnce() -> Options + Send + 'static,
    then: impl AsyncFnOnce(Handle) -> T + Send + 'static,
) -> T {
    let crashed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let result = runtime.block_on(async {
            let handle = Supervisor::start(start()).await.unwrap();
            then(handle).await
        });
        runtime.shutdown_timeout(LONG);
        result
    });
    crashed.join().unwrap()
}

#[test]
fn a_crashed_supervisor_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().to_owned();
    let web = || {
        vec![
            sh(
                "web",
                "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.01; done",
            ),
            sh("job", "sleep 0.4; exit 7"),
            sh("idle", "exec sleep 1000"),
        ]
    };
    let start = dir.clone();
    let before = crash_after(
        move || options(&start, Begin::ByHand(vec![]), web()),
        async |handle| {
            let names = vec!["web".to_owned(), "idle".to_owned()];
            handle
                .wait(names, WaitFor::Ready, Some(LONG))
                .await
                .unwrap();
            let idle = vec!["idle".to_owned()];
            handle
                .stop(idle, StopOptions::default(), me())
                .await
                .unwrap();
            instance(&handle, "web").await.identity.unwrap()
        },
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let begin = Instant::now();
        // The lock goes with the old supervisor's last task.
        let handle = loop {
            match Supervisor::start(options(&dir, Begin::Resume, web())).await {
                Ok(handle) => break handle,
                Err(error) if begin.elapsed() > LONG => panic!("{error}"),
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let failed = handle
            .wait(vec!["job".to_owned()], WaitFor::Exited, Some(LONG))
            .await;
        assert!(failed.unwrap().ok());
        let web = instance(&handle, "web").await;
        assert!(
            web.identity.unwrap().same_process(&before),
            "the same process"
        );
        assert_eq!((web.state, web.restarts), (State::Running, 0));
        assert_eq!(instance(&handle, "idle").await.state, State::Stopped);
        let job = instance(&handle, "job").await;
        assert_eq!(job.last_exit.and_then(|exit| exit.code), Some(7));
        assert_eq!(job.state, State::Failed);
        let started = handle.start(vec!["idle".to_owned()], StartOptions::default(), me());
        assert!(started.await.unwrap().ok());
        down(&handle).await;
    });
    let events = offline::events(&dir, 0).unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let job = events
        .iter()
        .filter(|event| event.service.as_deref() == Some("job"));
    let job: Vec<_> = job.collect();
    let job_lines: Vec<String> = job
        .iter()
        .map(|e| {
            format!(
                "{} {:?}->{:?} {} {:?} {:?}",
                e.seq,
                e.from,
                e.to,
                e.cause.kind,
                e.cause.detail,
                e.exit.as_ref().map(|x| (x.run, x.code))
            )
        })
        .collect();
    let runs: Vec<_> = job
        .iter()
        .filter_map(|event| event.exit.as_ref()?.run)
        .collect();
    assert_eq!(runs, [1, 2, 3, 4], "each exit once: {job_lines:#?}");
    for (number, line) in log(&dir, "web.stdout.log").lines().enumerate() {
        assert_eq!(line, format!("line {}", number + 1));
    }
}

#[tokio::test]
async fn a_service_above_its_memory_ceiling_is_replaced() {
    let home = tempfile::tempdir().unwrap();
    let mut hungry = sh("hungry", "exec sleep 1000");
    hungry.max_memory = Some(1);
    let mut modest = sh("modest", "exec sleep 1000");
    modest.max_memory = Some(1 << 40);
    let handle = up(home.path(), vec![hungry, modest]).await;
    assert!(settled(&handle).await.ok());
    let first = instance(&handle, "hungry").await.pid;
    let mut events = handle.events(Some(0)).await.unwrap();
    let found = async {
        loop {
            let event = events.next().await.unwrap();
            if event.cause.kind == "max_memory" {
                return event;
            }
        }
    };
    let event = tokio::time::timeout(LONG, found).await.unwrap();
    assert_eq!(event.service.as_deref(), Some("hungry"));
    assert!(event.cause.detail.unwrap().contains("bytes of memory"));
    let settled = settled(&handle).await;
    assert!(settled.ok(), "{settled:?}");
    assert_ne!(instance(&handle, "hungry").await.pid, first);
    assert_eq!(instance(&handle, "modest").await.restarts, 0);
    down(&handle).await;
}

#[tokio::test]
async fn a_rolling_restart_shares_the_socket_and_waits_for_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("web.sock");
    let mut web = sh(
        "web",
        "test -S /proc/self/fd/3 && echo serving; exec sleep 1000",
    );
    web.listen = vec![format!("unix:{}", socket.display()).parse().unwrap()];
    ready_by(&mut web, ProbeKind::Log("^serving$".parse().unwrap()));
    web.start_seconds = LONG;
    let handle = up(home.path(), vec![web]).await;
    assert!(settled(&handle).await.ok());
    let first = instance(&handle, "web").await;
    for _ in 0..2 {
        let before = Instant::now();
        let options = proc_supervisor::RestartOptions {
            rolling: true,
            no_wait: false,
        };
        let report = handle.restart(vec!["web".to_owned()], options, me()).await;
        assert!(report.unwrap().ok());
        assert!(before.elapsed() < LONG / 2, "{:?}", before.elapsed());
        std::os::unix::net::UnixStream::connect(&socket).unwrap();
    }
    let last = instance(&handle, "web").await;
    assert!(last.ready && last.pid != first.pid && last.name == "web");
    assert!(!first.identity.unwrap().liveness().is_alive());
    assert_eq!(log(home.path(), "web~b.stdout.log"), "serving\n");
    down(&handle).await;
    assert!(!last.identity.unwrap().liveness().is_alive());
}

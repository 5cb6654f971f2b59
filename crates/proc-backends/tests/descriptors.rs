//! A supervisor that has no descriptor left takes nothing for ended. Alone in its program, whose limit it lowers.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use proc_backends::{
    AdoptError, Backend, InstanceSpec, NativeBackend, NativeOptions, RunState, StdinMode,
};
use proc_core::{Attributes, StopSequence};
use proc_output::LogOptions;
use proc_shim::{HIDDEN_VERB, ShimProgram, ShimRecord};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[tokio::test]
async fn without_descriptors_nothing_is_taken_for_ended() {
    let home = tempfile::tempdir().unwrap();
    let target = std::env::current_exe().unwrap();
    let target = target.parent().unwrap().parent().unwrap();
    let options = NativeOptions {
        state_dir: home.path().to_owned(),
        runtime_dir: home.path().join("run"),
        log_dir: home.path().join("log"),
        console: None,
        shim: ShimProgram {
            program: target.join("examples/shim"),
            args: vec![HIDDEN_VERB.into()],
        },
    };
    let spec = InstanceSpec {
        project: "test".into(),
        service: "web".into(),
        instance: "web".into(),
        index: 1,
        argv: vec!["sleep".into(), "1000".into()],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: home.path().to_owned(),
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
    };
    let first = NativeBackend::new(options.clone()).unwrap();
    let started = first.start(spec).await.unwrap();
    drop(first);
    tokio::task::yield_now().await;
    let shim = ShimRecord::read(&home.path().join("instances/web"));
    let shim = shim.unwrap().unwrap().identity.open().unwrap();

    for shim_lives in [true, false] {
        let backend = NativeBackend::new(options.clone()).unwrap();
        if !shim_lives {
            shim.signal(proc_core::Signal::KILL).unwrap();
            shim.exited().await.unwrap();
        }
        let usual = getrlimit(Resource::Nofile);
        let none = Rlimit {
            current: Some(3),
            maximum: usual.maximum,
        };
        setrlimit(Resource::Nofile, none).unwrap();
        let doubt = backend.adopt("web").await;
        setrlimit(Resource::Nofile, usual).unwrap();
        let doubt = doubt.unwrap_err();
        assert!(matches!(doubt, AdoptError::Doubt { .. }), "{doubt}");
        assert!(doubt.to_string().contains("more open files"), "{doubt}");
        assert!(!shim.has_exited() || !shim_lives, "it was let live");
        let adopted = backend.adopt("web").await.unwrap().unwrap();
        assert_eq!(adopted.status.state, RunState::Running(started.clone()));
        if !shim_lives {
            backend.stop("web", StopSequence::kill()).await.unwrap();
            backend.forget("web").await.unwrap();
        }
        drop(backend);
        tokio::task::yield_now().await;
    }
    assert!(
        started.identity.open().is_err(),
        "nothing outlives the test"
    );
}

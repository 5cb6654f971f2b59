//! Attributes are applied before the program runs, all of them or it does not run.

use std::fs::File;
use std::io::Read;

use proc_core::{
    AttributeError, Attributes, Cgroup, IoClass, IoPriority, Limit, ProcessEnd, Resource,
    SessionMode, Signal, Spawn, SpawnError, Stdio,
};

/// Runs a shell command with attributes and returns what it printed.
fn run(attributes: &Attributes, script: &str) -> Result<String, SpawnError> {
    let resolved = attributes.resolve(None)?;
    let mut child = Spawn::new("sh")
        .args(["-c", script])
        .stdin(Stdio::Null)
        .stdout(Stdio::Pipe)
        .attributes(resolved)
        .spawn()?;
    let mut text = String::new();
    let mut stdout = File::from(child.take_stdout().expect("stdout is a pipe"));
    stdout
        .read_to_string(&mut text)
        .expect("the pipe can be read");
    assert_eq!(
        child.wait().expect("our child"),
        ProcessEnd::Exited(0),
        "{script}: {text}"
    );
    Ok(text.trim().to_owned())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn each_attribute_is_seen_by_the_program() {
    let cases: [(Attributes, &str, &str); 7] = [
        (
            Attributes {
                umask: Some(0o27),
                ..Attributes::default()
            },
            "umask",
            "0027",
        ),
        (
            Attributes {
                nice: Some(7),
                ..Attributes::default()
            },
            "cut -d' ' -f19 /proc/self/stat",
            "7",
        ),
        (
            Attributes {
                oom_score_adj: Some(321),
                ..Attributes::default()
            },
            "cat /proc/self/oom_score_adj",
            "321",
        ),
        (
            Attributes {
                limits: vec![Limit::both(Resource::Nofile, Some(77))],
                ..Attributes::default()
            },
            "ulimit -n; ulimit -Hn",
            "77\n77",
        ),
        (
            Attributes {
                limits: vec![Limit {
                    resource: Resource::Core,
                    soft: Some(0),
                    hard: None,
                }],
                ..Attributes::default()
            },
            "ulimit -c",
            "0",
        ),
        (
            Attributes {
                no_new_privs: true,
                ..Attributes::default()
            },
            "grep NoNewPrivs /proc/self/status | tr -d '\\t'",
            "NoNewPrivs:1",
        ),
        (
            Attributes {
                cpu_affinity: vec![0],
                ..Attributes::default()
            },
            "grep Cpus_allowed_list /proc/self/status | tr -d '\\t'",
            "Cpus_allowed_list:0",
        ),
    ];
    for (attributes, script, expected) in cases {
        assert_eq!(run(&attributes, script).unwrap(), expected, "{script}");
    }
}

#[test]
fn session_group_and_neither_differ_as_said() {
    let ids = "set -- $(cut -d' ' -f1,5,6 /proc/$$/stat); [ $1 = $2 ] && echo -n leads; [ $1 = $3 ] && echo -n session; true";
    for (session, expected) in [
        (SessionMode::Group, "leads"),
        (SessionMode::Session, "leadssession"),
        (SessionMode::Inherit, ""),
    ] {
        let attributes = Attributes {
            session,
            ..Attributes::default()
        };
        assert_eq!(run(&attributes, ids).unwrap(), expected, "{session:?}");
    }
}

#[test]
fn a_user_comes_with_its_groups_and_its_environment() {
    if !is_root() {
        eprintln!("SKIP a_user_comes_with_its_groups_and_its_environment: needs root");
        return;
    }
    let attributes = Attributes {
        user: Some("nobody".into()),
        ..Attributes::default()
    };
    let resolved = attributes.resolve(None).unwrap();
    assert!(
        resolved
            .user_environment()
            .contains(&("USER", "nobody".to_owned()))
    );
    assert_eq!(
        run(&attributes, "id -un; id -Gn").unwrap(),
        "nobody\nnogroup"
    );
    let attributes = Attributes {
        user: Some("12345".into()),
        group: Some("daemon".into()),
        groups: vec!["4".into()],
        ..Attributes::default()
    };
    assert_eq!(
        run(&attributes, "id -u; id -g; id -G").unwrap(),
        "12345\n1\n1 4"
    );
    // An effective user is not enough: nothing may be left to go back to.
    let attributes = Attributes {
        user: Some("nobody".into()),
        ..Attributes::default()
    };
    assert_eq!(
        run(
            &attributes,
            "grep -E '^(Uid|Gid)' /proc/self/status | tr '\\t' ' '"
        )
        .unwrap(),
        "Uid: 65534 65534 65534 65534\nGid: 65534 65534 65534 65534"
    );
}

#[test]
fn a_failure_names_attribute_value_and_cause_and_nothing_runs() {
    let marker = tempfile::tempdir().unwrap();
    let marker = marker.path().join("ran");
    let fails = |attributes: &Attributes| -> AttributeError {
        let error = run(attributes, &format!("touch {}", marker.display())).unwrap_err();
        assert_eq!(error.exit_code(), 125);
        assert!(!marker.exists(), "a half-configured process ran");
        match error {
            SpawnError::Attribute(error) => error,
            other => panic!("{other}"),
        }
    };
    let unknown = fails(&Attributes {
        user: Some("nobody-of-that-name".into()),
        ..Attributes::default()
    });
    assert_eq!(
        unknown.to_string(),
        "NotFound: user `nobody-of-that-name`: no such user"
    );
    // To setresgid(2) this number means "as it is".
    let unchanged = fails(&Attributes {
        group: Some("4294967295".into()),
        ..Attributes::default()
    });
    assert!(
        unchanged
            .to_string()
            .starts_with("InvalidInput: group `4294967295`: "),
        "{unchanged}"
    );
    let nice = fails(&Attributes {
        nice: Some(40),
        ..Attributes::default()
    });
    assert!(
        nice.to_string().starts_with("InvalidInput: nice `40`: "),
        "{nice}"
    );
    let limit = Limit {
        resource: Resource::Nofile,
        soft: Some(10),
        hard: Some(5),
    };
    let limit = fails(&Attributes {
        limits: vec![limit],
        ..Attributes::default()
    });
    assert_eq!(
        (
            limit.attribute.as_str(),
            limit.value.as_str(),
            limit.errno()
        ),
        ("limits.nofile", "10:5", Some(libc::EINVAL))
    );
    let cpu = fails(&Attributes {
        cpu_affinity: vec![1023],
        ..Attributes::default()
    });
    assert!(cpu.to_string().contains("cpu_affinity `1023`"), "{cpu}");
}

#[test]
fn a_cgroup_that_is_gone_is_named() {
    let cgroup = match Cgroup::create(&format!("proc-core-gone-{}", std::process::id())) {
        Ok(cgroup) => cgroup,
        Err(error) => {
            eprintln!("SKIP a_cgroup_that_is_gone_is_named: no writable cgroup2 ({error})");
            return;
        }
    };
    let resolved = Attributes::default().resolve(Some(&cgroup)).unwrap();
    cgroup.remove().unwrap();
    let error = Spawn::new("true").attributes(resolved).spawn().unwrap_err();
    assert_eq!(error.exit_code(), 125);
    let SpawnError::Attribute(error) = error else {
        panic!("{error}");
    };
    assert_eq!(
        (error.attribute, error.value, error.error.raw_os_error()),
        (
            "cgroup".to_owned(),
            cgroup.path().display().to_string(),
            Some(libc::ENODEV)
        )
    );
}

#[test]
fn an_unprivileged_caller_is_refused_with_the_users_name() {
    if !is_root() {
        eprintln!(
            "SKIP an_unprivileged_caller_is_refused_with_the_users_name: needs root to become nobody"
        );
        return;
    }
    // Runs `as_nobody` of this very test binary as that user.
    let resolved = Attributes {
        user: Some("nobody".into()),
        ..Attributes::default()
    }
    .resolve(None)
    .unwrap();
    let exe = std::env::current_exe().unwrap();
    // The binary may lie where nobody may not look, so it goes in as a descriptor.
    let file = File::open(exe).unwrap();
    let mut child = Spawn::new("/proc/self/fd/9")
        .args(["--exact", "as_nobody", "--ignored", "--nocapture"])
        .fds(vec![(file.into(), 9)])
        .cwd("/")
        .stdout(Stdio::Pipe)
        .stderr(Stdio::Null)
        .attributes(resolved)
        .spawn()
        .unwrap();
    let mut text = String::new();
    File::from(child.take_stdout().unwrap())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(child.wait().unwrap(), ProcessEnd::Exited(0), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by an_unprivileged_caller_is_refused_with_the_users_name as another user"]
fn as_nobody() {
    if is_root() {
        eprintln!("SKIP as_nobody: runs only as another user");
        return;
    }
    let attributes = Attributes {
        user: Some("daemon".into()),
        ..Attributes::default()
    };
    let error = run(&attributes, "true").unwrap_err();
    assert_eq!(
        error.to_string(),
        "PermissionDenied: user `daemon`: Operation not permitted (os error 1)"
    );
    // Asking for what one already is works without privileges.
    let attributes = Attributes {
        user: Some("nobody".into()),
        ..Attributes::default()
    };
    assert_eq!(run(&attributes, "id -un").unwrap(), "nobody");
    let error = run(
        &Attributes {
            nice: Some(-5),
            ..Attributes::default()
        },
        "true",
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("PermissionDenied: nice `-5`: "),
        "{error}"
    );
    let error = run(
        &Attributes {
            oom_score_adj: Some(-5),
            ..Attributes::default()
        },
        "true",
    )
    .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("PermissionDenied: oom_score_adj `-5`: "),
        "{error}"
    );
    // Root's memory and signals: pid 1 is alive, and may not be signalled.
    let init = proc_core::Identity::of(1).unwrap();
    assert!(init.liveness().is_alive());
    assert!(matches!(
        init.signal(Signal::TERM),
        Err(proc_core::SignalError::PermissionDenied { .. })
    ));
}

#[test]
fn what_the_kernel_keeps_with_the_memory_needs_a_copy() {
    let needs = |attributes: Attributes, cgroup: Option<&Cgroup>| {
        attributes.resolve(cgroup).unwrap().needs_own_memory()
    };
    assert!(!needs(
        Attributes {
            nice: Some(3),
            umask: Some(0o22),
            no_new_privs: true,
            limits: vec![Limit::both(Resource::Nofile, Some(77))],
            ..Attributes::default()
        },
        None
    ));
    for attributes in [
        Attributes {
            oom_score_adj: Some(0),
            ..Attributes::default()
        },
        Attributes {
            user: Some("root".into()),
            ..Attributes::default()
        },
        Attributes {
            group: Some("0".into()),
            ..Attributes::default()
        },
    ] {
        assert!(needs(attributes, None));
    }
    // Out of memory there, the kernel would end a child and all who share its memory: the parent.
    match Cgroup::create(&format!("proc-core-memory-{}", std::process::id())) {
        Ok(cgroup) => {
            assert!(needs(Attributes::default(), Some(&cgroup)));
            cgroup.remove().unwrap();
        }
        Err(error) => eprintln!("SKIP a cgroup needs a copy: no writable cgroup2 ({error})"),
    }
}

/// The kernel keeps with the memory, which the child borrows, that it belonged to a change of user: without care the
/// caller would leave no core dump any more, and could not be looked into.
#[cfg(target_os = "linux")]
#[test]
fn a_child_of_another_user_leaves_its_parent_dumpable() {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    if !is_root() {
        eprintln!("SKIP a_child_of_another_user_leaves_its_parent_dumpable: needs root");
        return;
    }
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
    let attributes = Attributes {
        user: Some("nobody".into()),
        ..Attributes::default()
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(run(&attributes, "id -un").unwrap(), "nobody");
                }
            });
        }
    });
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::Dumpable);
}

#[test]
fn io_priority_is_set() {
    let priority = Some(IoPriority {
        class: IoClass::BestEffort,
        level: 6,
    });
    let attributes = Attributes {
        io_priority: priority,
        ..Attributes::default()
    };
    match run(
        &attributes,
        "command -v ionice >/dev/null && ionice || echo missing",
    )
    .unwrap()
    .as_str()
    {
        "missing" => eprintln!("SKIP io_priority_is_set: no ionice here"),
        text => assert_eq!(text, "best-effort: prio 6"),
    }
}

#[test]
fn leaked_descriptors_are_closed_and_passed_ones_arrive() {
    let passed = File::open("/dev/null").unwrap();
    let leaked = File::open("/dev/zero").unwrap();
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).unwrap();
    let attributes = Attributes {
        close_fds: true,
        ..Attributes::default()
    }
    .resolve(None)
    .unwrap();
    let mut child = Spawn::new("ls")
        .args(["-l", "/proc/self/fd"])
        .fds(vec![(passed.into(), 5)])
        .stdout(Stdio::Pipe)
        .attributes(attributes)
        .spawn()
        .unwrap();
    let mut text = String::new();
    File::from(child.take_stdout().unwrap())
        .read_to_string(&mut text)
        .unwrap();
    child.wait().unwrap();
    assert!(text.contains("5 -> /dev/null"), "{text}");
    assert!(!text.contains("/dev/zero"), "{text}");
}

#[test]
fn not_found_and_not_executable_are_told_apart_on_both_paths() {
    let attributes = || Attributes::default().resolve(None).unwrap();
    for program in ["/nonexistent/x", "no-such-program-here"] {
        assert_eq!(Spawn::new(program).spawn().unwrap_err().exit_code(), 127);
        assert_eq!(
            Spawn::new(program)
                .attributes(attributes())
                .spawn()
                .unwrap_err()
                .exit_code(),
            127
        );
    }
    for program in ["/etc/passwd", "/"] {
        assert_eq!(Spawn::new(program).spawn().unwrap_err().exit_code(), 126);
        assert_eq!(
            Spawn::new(program)
                .attributes(attributes())
                .spawn()
                .unwrap_err()
                .exit_code(),
            126
        );
    }
    let error = Spawn::new("true").cwd("/nonexistent").spawn().unwrap_err();
    assert_eq!(
        error.to_string(),
        "working directory `/nonexistent` cannot be entered"
    );
    let error = Spawn::new("true")
        .cwd("/nonexistent")
        .attributes(attributes())
        .spawn()
        .unwrap_err();
    assert_eq!(error.exit_code(), 125);
}

//! What a shim does for its service: attributes, logs, stdin, sockets, stops, and its own habits.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proc_core::{Identity, Limit, ProcessEnd, Resource, Signal};
use proc_shim::{Client, FailureKind, Notice, Output, Reply, Request, Respawn, StartSpec, Stdin};
use support::{LONG, Shim, command, sh};

#[test]
fn a_failed_start_names_the_attribute_and_leaves_nothing() {
    let mut shim = Shim::new();
    let with = |change: &dyn Fn(&mut StartSpec)| {
        let mut spec = sh("exit 0");
        change(&mut spec);
        spec
    };
    let cases: Vec<(StartSpec, FailureKind, &str, &str)> = vec![
        (
            command(&["no-such-program"]),
            FailureKind::NotFound,
            "program",
            "no-such-program",
        ),
        (
            command(&["/etc/passwd"]),
            FailureKind::NotExecutable,
            "program",
            "/etc/passwd",
        ),
        (
            with(&|s| s.cwd = "/no/such".into()),
            FailureKind::Attribute,
            "cwd",
            "/no/such",
        ),
        (
            with(&|s| s.attributes.user = Some("nobody-here".into())),
            FailureKind::Attribute,
            "user",
            "nobody-here",
        ),
        (
            with(&|s| s.attributes.group = Some("no-group".into())),
            FailureKind::Attribute,
            "group",
            "no-group",
        ),
        (
            with(&|s| s.attributes.nice = Some(99)),
            FailureKind::Attribute,
            "nice",
            "99",
        ),
        (
            with(&|s| s.attributes.cpu_affinity = vec![1000]),
            FailureKind::Attribute,
            "cpu_affinity",
            "1000",
        ),
        (
            with(&|s| {
                s.attributes.limits = vec![Limit::both(Resource::Nofile, Some(u64::MAX - 1))]
            }),
            FailureKind::Attribute,
            "limits.nofile",
            "18446744073709551614",
        ),
        (
            with(&|s| {
                let limit = Limit::both(Resource::Nofile, Some(5));
                s.attributes.limits = vec![Limit {
                    soft: Some(10),
                    ..limit
                }];
            }),
            FailureKind::Attribute,
            "limits.nofile",
            "10:5",
        ),
        (
            with(&|s| s.attributes.groups = vec!["no-group".into()]),
            FailureKind::Attribute,
            "groups",
            "no-group",
        ),
        (
            with(&|s| s.attributes.umask = Some(0o1777)),
            FailureKind::Attribute,
            "umask",
            "1777",
        ),
        (
            with(&|s| s.attributes.oom_score_adj = Some(1001)),
            FailureKind::Attribute,
            "oom_score_adj",
            "1001",
        ),
    ];
    for (spec, kind, what, value) in cases {
        let failure = shim.start_fails(spec);
        assert_eq!(
            (failure.kind, failure.what.as_str()),
            (kind, what),
            "{failure:?}"
        );
        assert_eq!(failure.value, value);
    }
    let snapshot = shim.status();
    assert!(snapshot.tree_empty && snapshot.running.is_none() && snapshot.exited.is_none());
    shim.start(sh("exit 4"));
    assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(4)));
}

#[test]
fn attributes_are_in_force_before_the_program() {
    let mut shim = Shim::new();
    let mut spec = sh(
        "umask; ulimit -n; nice; ps -o pid=,pgid=,sid= -p $$ 2>/dev/null | wc -w; kill -l >/dev/null; grep Sig[BI] /proc/self/status",
    );
    spec.attributes.umask = Some(0o27);
    spec.attributes.nice = Some(3);
    spec.attributes.limits = vec![Limit::both(Resource::Nofile, Some(77))];
    shim.start(spec);
    shim.exited();
    let text = String::from_utf8(shim.log("web.stdout.log")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(&lines[..3], ["0027", "77", "3"], "{text}");
    // Nothing blocked, nothing ignored.
    for line in lines.iter().filter(|line| line.starts_with("Sig")) {
        assert_eq!(
            line.split_whitespace().nth(1),
            Some("0000000000000000"),
            "{text}"
        );
    }
}

/// Each of them alone, so that one that shares the shim's memory and one that has a copy both are seen.
#[test]
fn every_attribute_is_in_force_through_the_shim() {
    let mut shim = Shim::new();
    let mut cases: Vec<(&str, &str, &str, &str)> = vec![
        ("session", "session", "cut -d' ' -f6 /proc/$$/stat", "$$"),
        ("session", "group", "cut -d' ' -f5 /proc/$$/stat", "$$"),
        ("umask", "027", "umask", "0027"),
        ("nice", "3", "cut -d' ' -f19 /proc/$$/stat", "3"),
        (
            "cpu_affinity",
            "0",
            "grep -w Cpus_allowed_list /proc/$$/status | cut -f2",
            "0",
        ),
        ("oom_score_adj", "321", "cat /proc/$$/oom_score_adj", "321"),
        (
            "limits.nofile",
            "70:77",
            "echo $(ulimit -n; ulimit -Hn)",
            "70 77",
        ),
        ("limits.core", "0", "ulimit -c", "0"),
        (
            "no_new_privs",
            "true",
            "grep -w NoNewPrivs /proc/$$/status | cut -f2",
            "1",
        ),
    ];
    if std::path::Path::new("/usr/bin/ionice").exists() {
        cases.push((
            "io_priority",
            "best-effort:6",
            "ionice -p $$",
            "best-effort: prio 6",
        ));
    }
    if rustix::process::geteuid().is_root() {
        cases.push(("user", "nobody", "id -u; id -ru", "65534\n65534"));
        cases.push(("group", "daemon", "id -g; id -rg", "1\n1"));
        cases.push(("groups", "4", "id -G | grep -cw 4", "1"));
    }
    for (key, value, script, expected) in cases {
        let before = shim.log("web.stdout.log").len();
        let mut spec = sh(&format!("{script}; echo =; echo \"{expected}\""));
        spec.attributes.set(key, value).unwrap();
        shim.start(spec);
        assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(0)), "{key}");
        shim.tree_empty();
        let text = String::from_utf8(shim.log("web.stdout.log").split_off(before)).unwrap();
        let (seen, wanted) = text.split_once("=\n").unwrap();
        assert_eq!(seen, wanted, "{key} `{value}`");
    }
}

/// The child between fork and exec may share the shim's memory: nothing of what it does there stays.
#[test]
fn starts_leave_nothing_in_the_shim() {
    let mut shim = Shim::new();
    let about = |shim: &Shim| {
        let proc = PathBuf::from(format!("/proc/{}", shim.child.pid()));
        let mut fds: Vec<_> = std::fs::read_dir(proc.join("fd"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        fds.sort();
        let read = |file: &str| std::fs::read_to_string(proc.join(file)).unwrap();
        let status = read("status");
        let of_status = |name: &str| {
            let mut lines = status.lines();
            lines
                .find(|line| line.starts_with(name))
                .unwrap()
                .to_owned()
        };
        let kept = [
            "Umask",
            "Uid",
            "Gid",
            "Groups",
            "SigBlk",
            "SigIgn",
            "SigCgt",
            "NoNewPrivs",
            "Cpus_allowed:",
        ];
        let data = of_status("VmData");
        let data = data
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap();
        (
            (
                fds,
                kept.map(of_status),
                read("oom_score_adj"),
                read("limits"),
            ),
            data,
        )
    };
    let rounds = |shim: &mut Shim, count: u32| {
        for round in 0..count {
            let mut spec = sh("exit 7");
            for (key, value) in [
                ("session", "session"),
                ("nice", "3"),
                ("limits.nofile", "70"),
                ("umask", "077"),
            ] {
                spec.attributes.set(key, value).unwrap();
            }
            spec.attributes.no_new_privs = true;
            spec.attributes.close_fds = true;
            spec.attributes.cpu_affinity = vec![0];
            // Every other one has a copy of the memory.
            spec.attributes.oom_score_adj = (round % 2 == 0).then_some(500);
            match round % 4 {
                0 | 1 => {
                    shim.start(spec);
                    assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(7)));
                    shim.tree_empty();
                }
                // Fails at the gate, and behind it.
                2 => {
                    spec.attributes.limits = vec![Limit {
                        soft: Some(10),
                        ..Limit::both(Resource::Nofile, Some(5))
                    }];
                    shim.start_fails(spec);
                }
                _ => {
                    spec.argv = vec!["/etc/passwd".into()];
                    shim.start_fails(spec);
                }
            }
        }
    };
    rounds(&mut shim, 40);
    let (before, data) = about(&shim);
    rounds(&mut shim, 200);
    let (after, more) = about(&shim);
    assert_eq!(after, before);
    // A stack of 64 KiB that stays behind would be 12,800 KiB by now.
    assert!(more < data + 2048, "{data} KiB, then {more} KiB");
}

#[test]
fn descriptors_of_the_shim_do_not_leak() {
    let mut shim = Shim::new();
    shim.start(sh("ls /proc/self/fd"));
    shim.exited();
    // 3 is the directory that `ls` itself reads.
    assert_eq!(
        String::from_utf8(shim.log("web.stdout.log")).unwrap(),
        "0\n1\n2\n3\n"
    );
}

#[test]
fn logs_are_byte_exact_up_to_the_last_unterminated_line() {
    let mut shim = Shim::new();
    let script =
        r"head -c 3000000 /dev/zero | tr '\0' '\377'; printf 'a\0b\r\n\303('; printf err >&2";
    shim.start(sh(script));
    let exited = shim.exited();
    let mut expected = vec![0xff_u8; 3_000_000];
    expected.extend_from_slice(b"a\0b\r\n\xc3(");
    assert!(shim.log("web.stdout.log") == expected);
    assert_eq!(shim.log("web.stderr.log"), b"err");
    assert_eq!(
        (exited.stdout_offset, exited.stderr_offset),
        (expected.len() as u64, 3)
    );
}

#[test]
fn a_grandchild_that_holds_the_pipe_delays_nothing_and_its_output_is_kept() {
    let mut shim = Shim::new();
    let go = shim.home.path().join("go");
    support::make_fifo(&go);
    let spec = StartSpec {
        detached: true,
        ..sh("(read x < \"$GO\"; echo late) & echo now; exit 5")
    };
    let spec = StartSpec {
        env: vec![
            ("GO".into(), go.clone().into()),
            ("PATH".into(), "/bin:/usr/bin".into()),
        ],
        ..spec
    };
    shim.start(spec);
    let exited = shim.exited();
    assert_eq!(exited.end, Some(ProcessEnd::Exited(5)));
    assert_eq!(exited.stdout_offset, 4);
    assert!(!shim.status().tree_empty);
    std::fs::write(&go, "x\n").unwrap();
    assert_eq!(shim.tree_empty(), 1);
    // The pipe's end is seen at the latest with the next answer.
    while shim.log("web.stdout.log") != b"now\nlate\n" {
        shim.status();
    }
}

#[test]
fn stdin_can_be_written_and_closed() {
    let mut shim = Shim::new();
    shim.start(StartSpec {
        stdin: Stdin::Pipe,
        ..sh("cat")
    });
    let large = vec![b'x'; 500_000];
    assert_eq!(shim.ask(&Request::StdinWrite(large.clone())), Reply::Done);
    assert_eq!(shim.ask(&Request::StdinClose), Reply::Done);
    assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(0)));
    assert!(shim.log("web.stdout.log") == large);
}

#[test]
fn a_write_that_nobody_reads_holds_up_no_stop() {
    let mut shim = Shim::new();
    shim.start(StartSpec {
        stdin: Stdin::Pipe,
        ..sh("exec sleep 1000")
    });
    shim.client()
        .send(&Request::StdinWrite(vec![0; 500_000]), Vec::new())
        .unwrap();
    let report = shim.stop("TERM/30s, KILL");
    assert!(
        !report.escalated && report.survivors.is_empty(),
        "{report:?}"
    );
}

#[test]
fn a_terminal_is_a_terminal() {
    let mut shim = Shim::new();
    shim.start(StartSpec {
        stdin: Stdin::Pty,
        ..sh("tty >/dev/null && stty size; test -t 2 && echo yes; read x; echo got $x")
    });
    assert_eq!(
        shim.ask(&Request::Resize {
            rows: 40,
            columns: 100
        }),
        Reply::Done
    );
    assert_eq!(
        shim.ask(&Request::StdinWrite(b"word\n".to_vec())),
        Reply::Done
    );
    assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(0)));
    let text = String::from_utf8(shim.log("web.stdout.log")).unwrap();
    assert!(text.contains("yes") && text.contains("got word"), "{text}");
}

#[test]
fn sockets_are_passed_with_their_names_and_the_right_pid() {
    let mut shim = Shim::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let spec = StartSpec {
        listen: vec!["web".into()],
        extra_fd: Some(9),
        ..sh(
            "test $LISTEN_PID = $$ && echo $LISTEN_FDS $LISTEN_FDNAMES; test -S /dev/fd/3 && echo socket; echo ready >&9",
        )
    };
    let (mut read, write) = std::io::pipe().unwrap();
    shim.start_fds(spec, vec![OwnedFd::from(listener), OwnedFd::from(write)]);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "ready\n");
    shim.exited();
    assert_eq!(shim.log("web.stdout.log"), b"1 web\nsocket\n");
}

#[test]
fn a_service_can_have_its_callers_own_streams() {
    let mut shim = Shim::new();
    let (mut read, write) = std::io::pipe().unwrap();
    let spec = StartSpec {
        stdout: Output::Passed,
        stderr: Output::Null,
        ..sh("echo out; echo err >&2")
    };
    shim.start_fds(spec, vec![OwnedFd::from(write)]);
    let mut text = String::new();
    read.read_to_string(&mut text).unwrap();
    assert_eq!(text, "out\n");
    shim.exited();
}

#[test]
fn a_stop_leaves_nothing_of_a_tree_that_hides() {
    let mut shim = Shim::new();
    let ready = shim.home.path().join("ready");
    support::make_fifo(&ready);
    let script = "trap '' TERM HUP; \
        (setsid sh -c '(trap \"\" TERM; sleep 1000 & sleep 1000) & exec sleep 1000' &) ; \
        sleep 1000 & echo up > \"$READY\"; while :; do sleep 1000; done";
    let spec = StartSpec {
        env: vec![
            ("READY".into(), ready.clone().into()),
            ("PATH".into(), "/bin:/usr/bin".into()),
        ],
        ..sh(script)
    };
    shim.start(spec);
    assert_eq!(support::read_fifo(&ready), "up\n");
    let report = shim.stop("TERM/50ms, KILL");
    assert!(
        report.survivors.is_empty() && report.escalated,
        "{report:?}"
    );
    assert_eq!(report.mechanism, proc_core::Mechanism::Subreaper);
    assert_eq!(shim.exited().end.unwrap().signal(), Some(Signal::KILL));
    assert_eq!(shim.tree_empty(), 1);
    let children = format!(
        "/proc/{}/task/{}/children",
        shim.child.pid(),
        shim.child.pid()
    );
    assert_eq!(std::fs::read_to_string(children).unwrap(), "");
}

#[test]
fn a_second_stop_is_faster_never_slower() {
    let mut shim = Shim::new();
    let ready = shim.home.path().join("ready");
    support::make_fifo(&ready);
    let spec = StartSpec {
        env: vec![
            ("READY".into(), ready.clone().into()),
            ("PATH".into(), "/bin:/usr/bin".into()),
        ],
        ..sh("trap '' TERM; echo up > \"$READY\"; while :; do sleep 1000; done")
    };
    shim.start(spec);
    support::read_fifo(&ready);
    let slow = Request::Stop {
        sequence: "TERM/1h, KILL".parse().unwrap(),
        tier: None,
        group: false,
    };
    shim.client().send(&slow, Vec::new()).unwrap();
    let report = shim.stop("KILL");
    assert!(
        report.survivors.is_empty() && report.elapsed < Duration::from_secs(60),
        "{report:?}"
    );
}

#[test]
fn a_long_socket_path_works() {
    let below = PathBuf::from("a-directory-with-a-long-name".repeat(7));
    let mut shim = Shim::named("web", &below);
    assert!(shim.options.socket.as_os_str().len() > 200);
    shim.start(sh("exec sleep 1000"));
    shim.disconnect();
    assert!(shim.reconnect().running.is_some());
}

#[test]
fn the_tree_dies_with_the_supervisor_where_it_shall() {
    let mut shim = Shim::new();
    let spec = StartSpec {
        die_with_supervisor: true,
        stop: "TERM/5s, KILL".parse().unwrap(),
        ..sh("sleep 1000 & sleep 1000")
    };
    let running = shim.start(spec);
    shim.disconnect();
    support::wait_gone(&running.identity);
    assert_eq!(shim.child.wait().unwrap(), ProcessEnd::Exited(0));
}

#[test]
fn a_shim_without_service_and_supervisor_ends() {
    let mut shim = Shim::new();
    shim.disconnect();
    assert_eq!(shim.child.wait().unwrap(), ProcessEnd::Exited(0));
    assert!(!shim.options.socket.exists());
}

#[test]
fn the_command_is_respawned_until_it_is_final() {
    let mut shim = Shim::new();
    let counter = shim.home.path().join("runs");
    let script = "echo x >> \"$RUNS\"; test $(wc -l < \"$RUNS\") -ge 4 && exit 0; kill -9 $$";
    let spec = StartSpec {
        env: vec![
            ("RUNS".into(), counter.clone().into()),
            ("PATH".into(), "/bin:/usr/bin".into()),
        ],
        respawn: Some(Respawn {
            initial: Duration::from_millis(1),
            ..Respawn::default()
        }),
        ..sh(script)
    };
    shim.start(spec);
    let mut runs = vec![shim.exited().run];
    while runs.len() < 4 {
        if let Notice::Exited(exited) = shim.client().notice(LONG).unwrap() {
            runs.push(exited.run);
        }
    }
    assert_eq!(runs, [1, 2, 3, 4]);
    // Code 0 is final: the shim ends too.
    assert_eq!(shim.child.wait().unwrap(), ProcessEnd::Exited(0));
    assert_eq!(std::fs::read_to_string(counter).unwrap(), "x\nx\nx\nx\n");
}

#[test]
fn what_is_missing_for_a_while_is_respawned_when_it_is_back() {
    let mut shim = Shim::new();
    let directory = shim.home.path().join("wd");
    std::fs::create_dir(&directory).unwrap();
    let program = shim.home.path().join("program");
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    let spec = StartSpec {
        argv: vec![
            program.clone().into(),
            "-c".into(),
            "pwd; kill -9 $$".into(),
        ],
        cwd: directory.clone(),
        respawn: Some(Respawn {
            initial: Duration::from_millis(1),
            ..Respawn::default()
        }),
        ..sh("")
    };
    std::fs::remove_file(&program).unwrap();
    assert_eq!(shim.start_fails(spec.clone()).kind, FailureKind::NotFound);
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    shim.start(spec);
    shim.exited();
    std::fs::remove_file(&program).unwrap();
    std::fs::remove_dir(&directory).unwrap();
    let last = shim.status().last_run;
    // Tried in vain at least once.
    while shim.status().last_run < last + 2 {}
    std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
    // Its directory is gone as well.
    let elsewhere = |shim: &Shim| {
        let log = String::from_utf8(shim.log("web.stdout.log")).unwrap();
        log.lines().any(|line| line == "/")
    };
    while !elsewhere(&shim) {
        shim.exited();
    }
    shim.stop("KILL");
}

#[test]
fn a_respawned_supervisor_does_not_take_its_services_along() {
    let mut shim = Shim::new();
    let ready = shim.home.path().join("ready");
    support::make_fifo(&ready);
    let spec = StartSpec {
        env: vec![
            ("READY".into(), ready.clone().into()),
            ("PATH".into(), "/bin:/usr/bin".into()),
        ],
        respawn: Some(Respawn::default()),
        ..sh("setsid sh -c 'echo $$ > \"$READY\"; exec sleep 1000' & wait")
    };
    shim.start(spec);
    let service = Identity::of(support::read_fifo(&ready).trim().parse().unwrap()).unwrap();
    let report = shim.stop("TERM/5s, KILL");
    assert!(report.survivors.is_empty(), "{report:?}");
    assert_eq!(shim.child.wait().unwrap(), ProcessEnd::Exited(0));
    let handle = service.open().unwrap();
    assert!(
        !handle.has_exited(),
        "the service of the supervisor lives on"
    );
    handle.signal(Signal::KILL).unwrap();
}

#[test]
fn an_idle_shim_holds_little_memory_and_sleeps_until_it_is_asked() {
    let mut shim = Shim::new();
    let running = shim.start(sh("trap 'exit 7' TERM; sleep 1000 & wait"));
    let pid = shim.child.pid();
    let read = |file: &str, line: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let value = text.lines().find_map(|text| text.strip_prefix(line));
        value
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let busy = read("smaps_rollup", "Rss:");
    // Nothing tells of it: it happens a moment after the last event.
    let begun = Instant::now();
    while read("smaps_rollup", "Rss:") > busy / 2 {
        assert!(begun.elapsed() < LONG.unwrap(), "{busy} KiB stay");
        std::thread::yield_now();
    }
    let (slept, rested) = (
        || read("status", "voluntary_ctxt_switches:"),
        Instant::now(),
    );
    let before = slept();
    while rested.elapsed() < Duration::from_secs(1) {
        assert!(slept() <= before + 3, "it wakes up without a reason");
        std::thread::park_timeout(Duration::from_millis(100));
    }
    // What it gave back comes back by itself.
    assert_eq!(shim.status().running.unwrap().identity, running.identity);
    assert!(shim.stop("TERM/60s, KILL").survivors.is_empty());
    assert_eq!(shim.exited().end, Some(ProcessEnd::Exited(7)));
}

#[test]
fn nonsense_ends_its_connection_and_nothing_else() {
    let mut shim = Shim::new();
    shim.start(sh("exec sleep 1000"));
    let mut bad = Client::connect(&shim.options.socket).unwrap();
    let frame = rustix::io::write(&bad, &[0xff; 64]).unwrap();
    assert_eq!(frame, 64);
    assert!(bad.call(&Request::Status, Vec::new(), LONG).is_err());
    assert!(shim.status().running.is_some());
}

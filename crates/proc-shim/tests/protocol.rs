//! The protocol: what is said arrives as it was said, and nothing that arrives does harm.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use proc_core::{
    Attributes, Identity, Limit, ProcessEnd, Resource, Signal, StopReport, StopSequence, Survivor,
};
use proc_output::{LogOptions, OnFull};
use proc_shim::{
    AdoptSpec, Exited, Failure, FailureKind, FdSet, Frame, Framer, Incoming, MAX_FRAME, Notice,
    Output, Reply, Request, Respawn, Role, Running, Snapshot, StartSpec, Stdin, Target, Terms,
    Unstored, decode_incoming, decode_request, encode_notice, encode_reply, encode_request,
};
use proptest::prelude::*;

fn sequence() -> StopSequence {
    "TERM/5s, INT/100ms, KILL".parse().unwrap()
}

fn identity() -> Identity {
    Identity {
        pid: 71,
        start_ticks: 8812,
        boot_id: "b".into(),
        pid_ns: 4,
        pidfs_ino: Some(9),
        handle: Some("fe00".into()),
    }
}

fn log() -> LogOptions {
    LogOptions {
        dir: Some("/var/log/ü".into()),
        max_size: Some(1),
        keep: Some(0),
        total_max: Some(u64::MAX),
        max_age: Some(Duration::from_millis(1500)),
        compress: false,
        merge: true,
        on_full: OnFull::Drop,
        direct: true,
        timestamps: false,
    }
}

fn terms() -> Terms {
    Terms {
        log: log(),
        detached: true,
        die_with_supervisor: true,
        stop: sequence(),
    }
}

fn running() -> Running {
    let downgrades = vec!["limits.pids: none".into()];
    Running {
        run: 3,
        identity: identity(),
        pgid: 71,
        started_at: 1234,
        downgrades,
    }
}

fn exited(end: Option<ProcessEnd>) -> Exited {
    Exited {
        run: 3,
        end,
        unknown: end.is_none().then(|| "why".into()),
        at: 5,
        runtime_ms: 6,
        oom: Some(true),
        stdout_offset: 7,
        stderr_offset: 8,
    }
}

fn requests() -> Vec<Request> {
    let attributes = Attributes {
        user: Some("www".into()),
        umask: Some(0o27),
        limits: vec![Limit::both(Resource::Nofile, None)],
        ..Attributes::default()
    };
    let start = StartSpec {
        argv: vec!["a".into(), "".into(), "b c".into()],
        env: vec![("A".into(), "=x\n".into())],
        cwd: "/tmp".into(),
        attributes,
        stdin: Stdin::Pipe,
        stdout: Output::Passed,
        stderr: Output::Null,
        log: log(),
        listen: vec!["web".into(), "".into()],
        extra_fd: Some(5),
        detached: true,
        die_with_supervisor: true,
        stop: sequence(),
        respawn: Some(Respawn {
            final_codes: vec![0, 3],
            ..Respawn::default()
        }),
        last_run: 41,
    };
    let adopt = AdoptSpec {
        run: 3,
        identity: identity(),
        pgid: 71,
        started_at: 9,
        stdout: true,
        stderr: false,
        stdin: true,
        pty: true,
        cgroup: Some("/sys/fs/cgroup/x".into()),
        terms: terms(),
    };
    vec![
        Request::Hello {
            role: Role::Controller,
        },
        Request::Hello {
            role: Role::Observer,
        },
        Request::Start(Box::new(start)),
        Request::Start(Box::new(StartSpec {
            argv: vec!["x".into()],
            ..StartSpec::default()
        })),
        Request::Signal {
            signal: Signal::USR1,
            target: Target::Tree,
        },
        Request::Stop {
            sequence: sequence(),
            tier: Some(proc_core::Mechanism::GroupWalk),
            group: true,
        },
        Request::Stop {
            sequence: "HUP".parse().unwrap(),
            tier: None,
            group: false,
        },
        Request::StdinWrite(vec![0, 255, 10]),
        Request::StdinClose,
        Request::RotateLog,
        Request::Status,
        Request::HandFds,
        Request::Adopt(Box::new(adopt)),
        Request::SetOptions {
            die_with_supervisor: true,
        },
        Request::Acknowledge { run: u64::MAX },
        Request::Follow {
            run: 3,
            pid: 4_194_304,
        },
        Request::Resize {
            rows: 24,
            columns: 80,
        },
        Request::Exit,
    ]
}

fn replies() -> Vec<Reply> {
    let survivor = Survivor {
        pid: 1,
        comm: "x".into(),
        reason: "D".into(),
    };
    let report = StopReport {
        mechanism: proc_core::Mechanism::Subreaper,
        signalled: 4,
        escalated: true,
        survivors: vec![survivor],
        elapsed: Duration::from_millis(77),
    };
    let failure = Failure {
        kind: FailureKind::Attribute,
        what: "user".into(),
        value: "www".into(),
        errno: 1,
    };
    let fds = FdSet {
        pidfd: true,
        stdout: true,
        stderr: false,
        stdin: true,
        pty: false,
    };
    let snapshot = Snapshot {
        shim: Some(identity()),
        instance: "web-1".into(),
        last_run: 3,
        running: Some(running()),
        exited: Some(exited(None)),
        acknowledged: true,
        tree_empty: true,
        replacement: true,
        cgroup: Some("/c".into()),
        dropped_bytes: 12,
        troubles: vec!["log: ENOSPC".into()],
        respawns: 2,
        terms: Some(terms()),
        unstored: Unstored {
            exits: vec![exited(None), exited(Some(ProcessEnd::Exited(3)))],
            dropped: 9,
            dropped_through: 10,
        },
    };
    vec![
        Reply::Done,
        Reply::Failed(failure),
        Reply::Started {
            running: running(),
            fds,
        },
        Reply::Snapshot(Box::new(snapshot)),
        Reply::Snapshot(Box::default()),
        Reply::Stopped(report),
        Reply::Fds(fds),
    ]
}

fn notices() -> Vec<Notice> {
    let killed = ProcessEnd::Signaled {
        signal: Signal::KILL,
        core_dumped: true,
    };
    vec![
        Notice::Exited(exited(Some(ProcessEnd::Exited(3)))),
        Notice::Exited(exited(Some(killed))),
        Notice::Exited(exited(None)),
        Notice::TreeEmpty { run: 3 },
        Notice::StopProgress {
            signal: Signal::TERM,
            wait: Some(Duration::from_secs(5)),
        },
        Notice::StopProgress {
            signal: Signal::TERM,
            wait: None,
        },
        Notice::Trouble {
            what: "log".into(),
            error: "ENOSPC".into(),
        },
        Notice::Healed { what: "log".into() },
        Notice::Respawned(running()),
    ]
}

/// Sends a frame through the bytes, in pieces.
fn travel(frame: &Frame, piece: usize) -> Frame {
    let bytes = frame.encode().unwrap();
    let mut framer = Framer::new();
    let mut arrived = None;
    for part in bytes.chunks(piece) {
        assert_eq!(arrived, None, "a frame came before its end");
        framer.push(part);
        arrived = framer.take().unwrap();
    }
    assert_eq!(framer.pending(), 0);
    arrived.unwrap()
}

#[test]
fn every_message_arrives_as_it_was_said() {
    for piece in [1, 7, 100_000] {
        for request in requests() {
            let frame = travel(&encode_request(9, &request), piece);
            assert_eq!((frame.id, decode_request(&frame).unwrap()), (9, request));
        }
        for reply in replies() {
            let frame = travel(&encode_reply(9, &reply), piece);
            assert_eq!(decode_incoming(&frame).unwrap(), Incoming::Reply(9, reply));
        }
        for notice in notices() {
            let frame = travel(&encode_notice(&notice), piece);
            assert_eq!(decode_incoming(&frame).unwrap(), Incoming::Notice(notice));
        }
    }
}

#[test]
fn what_is_too_long_is_refused_by_both_sides() {
    let frame = encode_request(1, &Request::StdinWrite(vec![0; MAX_FRAME]));
    assert!(frame.encode().is_err());
    let mut framer = Framer::new();
    framer.push(&(MAX_FRAME as u32 + 1).to_le_bytes());
    assert!(framer.take().is_err());
}

#[test]
fn strings_that_the_kernel_would_cut_are_refused() {
    for (argv, env) in [
        (vec!["a\0b".into()], vec![]),
        (vec!["a".into()], vec![("A=B".into(), "".into())]),
    ] {
        let request = Request::Start(Box::new(StartSpec {
            argv,
            env,
            ..StartSpec::default()
        }));
        assert!(decode_request(&encode_request(1, &request)).is_err());
    }
}

#[test]
fn fields_of_a_newer_peer_are_skipped() {
    for request in requests() {
        let mut frame = encode_request(1, &request);
        frame.body.extend_from_slice(&[250, 2, 0, 0, 0, 1, 2]);
        let decoded = decode_request(&frame);
        // A size is positional by tag; everything else has room for the unknown.
        if !matches!(request, Request::Resize { .. }) {
            assert_eq!(decoded.unwrap(), request);
        }
    }
}

fn frames() -> Vec<Frame> {
    let mut frames: Vec<Frame> = requests()
        .iter()
        .map(|request| encode_request(1, request))
        .collect();
    frames.extend(replies().iter().map(|reply| encode_reply(1, reply)));
    frames.extend(notices().iter().map(encode_notice));
    frames
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_make_a_decoder_panic(kind: u8, body in prop::collection::vec(any::<u8>(), 0..400)) {
        let frame = Frame { version: 1, kind, id: 1, body };
        let _any = decode_request(&frame);
        let _any = decode_incoming(&frame);
    }

    #[test]
    fn no_change_to_a_real_message_makes_a_decoder_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut frame = frames()[which.index(frames().len())].clone();
        for (at, byte) in changes {
            if !frame.body.is_empty() {
                let at = at.index(frame.body.len());
                frame.body[at] = byte;
            }
        }
        frame.body.truncate(cut.index(frame.body.len() + 1));
        let _any = decode_request(&frame);
        let _any = decode_incoming(&frame);
    }

    #[test]
    fn a_framer_holds_no_more_than_it_was_given(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..20)) {
        let mut framer = Framer::new();
        let mut given = 0;
        for part in parts {
            given += part.len();
            framer.push(&part);
            loop {
                match framer.take() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            prop_assert!(framer.pending() <= given);
        }
    }
}

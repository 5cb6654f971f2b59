//! PID files: one winner, nothing stolen, nothing lost, every known format read.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::{self, Helper};
use proc_core::{Identity, Liveness};
use proc_store::{Contents, PidFile, PidFileError, PidRecord, ReadPid};
use proptest::prelude::*;
use serde_json::json;

#[test]
#[ignore = "a helper process of the tests below"]
fn helper_tries_to_be_the_one() {
    let Some(path) = support::path() else { return };
    match PidFile::acquire(&path) {
        Ok(_guard) => {
            support::say("won");
            support::stay();
        }
        Err(PidFileError::Running { pid, .. }) => support::say(format!("{pid:?}")),
        Err(error) => support::say(format!("{error:?}")),
    }
}

/// K10, over a stale file.
#[test]
fn a_hundred_racers_have_one_winner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nested/run/demo.pid");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, format!("{}\n", dead_pid())).unwrap();
    let mut racers: Vec<Helper> = (0..100)
        .map(|_| {
            Helper::run(
                concat!(module_path!(), "::helper_tries_to_be_the_one"),
                &path,
            )
        })
        .collect();
    let heard: Vec<Option<String>> = racers.iter_mut().map(Helper::hear).collect();
    let winner = heard
        .iter()
        .position(|said| said.as_deref() == Some("won"))
        .expect("a winner");
    let pid = racers[winner].pid();
    for (at, said) in heard.iter().enumerate().filter(|(at, _)| *at != winner) {
        assert_eq!(
            said.as_deref(),
            Some(format!("Some({pid})").as_str()),
            "racer {at}"
        );
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{pid}\n"));
    racers[winner].kill();
    let guard = PidFile::acquire(&path).expect("a killed owner frees it");
    drop(guard);
    assert_eq!(
        fs::read_dir(path.parent().unwrap()).unwrap().count(),
        0,
        "nothing stays"
    );
}

fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

/// K11: pid 1 is alive, whoever asks and whether or not they may signal it.
#[test]
fn a_live_process_of_root_keeps_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.pid");
    for text in ["1", "1\n", "1\r\n", "1\n{\"name\":\"init\"}\n"] {
        fs::write(&path, text).unwrap();
        match PidFile::acquire(&path) {
            Err(PidFileError::Running { pid: Some(1), .. }) => {}
            other => panic!("{text:?}: {other:?}"),
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "untouched");
        assert!(
            !dir.path().join("demo.pid.lock").exists(),
            "and no lock stays"
        );
    }
}

#[test]
fn what_is_stale_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.pid");
    let me = std::process::id();
    let mut zombie = Command::new("true").stdout(Stdio::piped()).spawn().unwrap();
    let mut end = String::new();
    std::io::Read::read_to_string(&mut zombie.stdout.take().unwrap(), &mut end).unwrap();
    // Its pipe closes a moment before it is a zombie.
    let zombie_identity = Identity::of(zombie.id()).unwrap();
    zombie_identity.open().unwrap().wait(None).unwrap();
    let reused = "1\n{}\n{\"start_unix\":1}\n".to_owned();
    for text in [
        format!("{}\n", dead_pid()),
        format!("{me}\n"),
        format!("{}\n", zombie.id()),
        reused,
    ] {
        fs::write(&path, &text).unwrap();
        let guard = PidFile::acquire(&path).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{me}\n"));
        assert_eq!(guard.set_aside(), None);
    }
    zombie.wait().unwrap();
}

#[test]
fn garbage_is_set_aside_and_not_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.pid");
    for (n, text) in [
        "",
        "hello\n",
        "-1\n",
        "0\n",
        "4194305\n",
        "99999999999999999999",
    ]
    .iter()
    .enumerate()
    {
        fs::write(&path, text).unwrap();
        let guard = PidFile::acquire(&path).unwrap();
        let aside = &guard.set_aside().expect("reported").aside;
        assert_eq!(
            *aside,
            dir.path().join(format!("demo.pid.unreadable-{}", n + 1))
        );
        assert_eq!(fs::read_to_string(aside).unwrap(), *text);
    }
}

#[test]
fn what_cannot_be_read_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.pid");
    fs::create_dir(&path).unwrap();
    assert!(
        matches!(PidFile::acquire(&path), Err(PidFileError::Io { .. })),
        "a directory"
    );
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
    assert!(
        matches!(PidFile::acquire(&path), Err(PidFileError::Io { .. })),
        "a link"
    );
}

#[test]
fn only_ones_own_file_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.pid");
    let guard = PidFile::acquire(&path).unwrap();
    fs::write(&path, "1\n").unwrap();
    drop(guard);
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "1\n",
        "somebody else's now"
    );
    fs::remove_file(&path).unwrap();
    let guard = PidFile::acquire(&path).unwrap();
    fs::remove_file(&path).unwrap();
    drop(guard); // one that is missing is as good as released
}

#[test]
fn the_formats_of_others_are_read() {
    let spec = json!({"name": "web", "env": ["A=1"]});
    let record = |pid, spec, start_unix| PidRecord {
        pid,
        spec,
        start_unix,
        identity: None,
    };
    let table = [
        ("123", record(123, None, None)),
        ("  123  \n", record(123, None, None)),
        (
            "123\n{\"name\":\"web\",\"env\":[\"A=1\"]}\n",
            record(123, Some(spec.clone()), None),
        ),
        (
            "123\r\n{\"name\":\"web\",\"env\":[\"A=1\"]}\r\n{\"start_unix\":1700000000}\r\n",
            record(123, Some(spec.clone()), Some(1_700_000_000)),
        ),
        (
            "123\nnot json\n{\"start_unix\":-5}\n",
            record(123, None, None),
        ),
        ("123\n{}\nnot json\n", record(123, Some(json!({})), None)),
        // PostgreSQL's postmaster.pid.
        (
            "123\n/var/lib/postgresql\n1700000000\n5432\n/tmp\n",
            record(123, None, None),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(
            PidRecord::parse(text.as_bytes()),
            Some(expected),
            "{text:?}"
        );
    }
}

#[test]
fn three_lines_are_written_and_know_their_process() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo.pid");
    let contents = Contents::ThreeLines(json!({"name": "web"}));
    let _guard = PidFile::acquire_with(&path, &contents).unwrap();
    let ReadPid::Record(record) = PidFile::read(&path).unwrap() else {
        panic!("a record")
    };
    assert_eq!(record.spec, Some(json!({"name": "web"})));
    assert!(record.start_unix.is_some_and(|at| at > 1_600_000_000));
    assert!(
        record
            .identity
            .as_ref()
            .unwrap()
            .same_process(&Identity::current().unwrap())
    );
    let legacy = PidRecord {
        identity: None,
        ..record.clone()
    };
    assert!(
        matches!(legacy.liveness(), Liveness::Alive { .. }),
        "by its start time alone"
    );
    let reused = PidRecord {
        start_unix: Some(1),
        ..legacy
    };
    assert!(matches!(reused.liveness(), Liveness::Dead { .. }));
    assert!(matches!(record.liveness(), Liveness::Alive { .. }));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(record) = PidRecord::parse(&bytes) {
            prop_assert!(record.pid > 0);
        }
    }
}

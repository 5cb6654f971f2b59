//! A reader sees the old content or the new, whatever happens in between.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use crate::support::{self, Helper};
use proc_store::atomic::{self, write_on};
use proc_store::{Disk, Fault, FaultPlan, Op, Read, Record, record};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

fn names(dir: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| {
        entry
            .expect("an entry")
            .file_name()
            .to_string_lossy()
            .into_owned()
    };
    let mut names: Vec<String> = fs::read_dir(dir).expect("a directory").map(name).collect();
    names.sort();
    names
}

#[test]
fn replaces_content_and_mode_and_leaves_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    for (bytes, mode) in [("one", 0o600), ("three", 0o644), ("", 0o666)] {
        atomic::write(&path, bytes.as_bytes(), mode).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), bytes);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, mode);
    }
    assert_eq!(names(dir.path()), ["a"]);
}

#[test]
fn a_symbolic_link_is_replaced_and_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (path, target) = (dir.path().join("a"), dir.path().join("target"));
    fs::write(&target, "untouched").unwrap();
    symlink(&target, &path).unwrap();
    atomic::write(&path, b"new", 0o600).unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
}

#[test]
fn a_name_of_255_bytes_works() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("é".repeat(127));
    atomic::write(&path, b"new", 0o600).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
}

/// Each error number at each step: an error, the old content, no litter, and the next try works.
/// EINTR alone is retried; a failure after the rename says that the new content is in place.
#[test]
fn every_fault_at_every_step_leaves_old_or_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let faults = [
        Errno::NOSPC,
        Errno::IO,
        Errno::ROFS,
        Errno::MFILE,
        Errno::INTR,
    ];
    let counting = FaultPlan::none();
    write_on(&Disk::faulty(counting.clone()), &path, b"old", 0o600).unwrap();
    let steps = counting.seen();
    assert_eq!(
        steps,
        [Op::Create, Op::Write, Op::Sync, Op::Rename, Op::Sync]
    );
    for errno in faults {
        for (at, step) in steps.iter().enumerate() {
            atomic::write(&path, b"old", 0o600).unwrap();
            let plan = FaultPlan::at(at, Fault::Errno(errno.raw_os_error()));
            let result = write_on(&Disk::faulty(plan), &path, b"newer", 0o600);
            let found = fs::read(&path).unwrap();
            let case = format!("{errno:?} at {step:?} {at}: {result:?}");
            if errno == Errno::INTR {
                result.expect(&case);
                assert_eq!(found, b"newer", "{case}");
            } else {
                let error = result.expect_err(&case);
                assert_eq!(
                    error.io().raw_os_error(),
                    Some(errno.raw_os_error()),
                    "{case}"
                );
                assert_eq!(
                    found,
                    if at == 4 { b"newer".as_slice() } else { b"old" },
                    "{case}"
                );
            }
            assert_eq!(names(dir.path()), ["a"], "{case}");
        }
    }
}

#[test]
fn a_crash_at_every_step_leaves_old_or_new_and_litter_that_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    for at in 0..5 {
        atomic::write(&path, b"old", 0o600).unwrap();
        let disk = Disk::faulty(FaultPlan::at(at, Fault::Crash));
        write_on(&disk, &path, b"newer", 0o600).expect_err("it crashed");
        let found = fs::read(&path).unwrap();
        assert_eq!(found, if at == 4 { b"newer".as_slice() } else { b"old" });
        let litter = names(dir.path()).len() - 1;
        assert_eq!(atomic::sweep(dir.path()).unwrap(), litter);
        assert_eq!(names(dir.path()), ["a"]);
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Big {
    round: u64,
    text: String,
    again: u64,
}

impl Record for Big {
    const FORMAT: u32 = 1;
}

#[test]
#[ignore = "a helper process of the test below"]
fn helper_writes_for_ever() {
    let Some(path) = support::path() else { return };
    for round in 0.. {
        let text = "x".repeat(10_000 + usize::try_from(round % 7).unwrap() * 1_000);
        record::write_json(
            &Disk::real(),
            &path,
            &Big {
                round,
                text,
                again: round,
            },
        )
        .unwrap();
        if round == 0 {
            support::say("ready");
        }
    }
}

/// K9: a writer killed with -9 in the middle of writing; the record always parses.
#[test]
fn killed_writers_never_leave_half_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("record.json");
    let (mut read, mut first, mut last) = (0, None, 0);
    for round in 0..100 {
        let mut helper = Helper::run(concat!(module_path!(), "::helper_writes_for_ever"), &path);
        assert_eq!(helper.hear().as_deref(), Some("ready"));
        // Reading goes on meanwhile: five looks a round, at whatever moments they come.
        for _ in 0..5 {
            match record::read_json::<Big>(&Disk::real(), &path).unwrap() {
                Read::Value(value) => {
                    assert_eq!(
                        (value.round, value.text.bytes().all(|b| b == b'x')),
                        (value.again, true)
                    );
                    (read, last) = (read + 1, value.round);
                    first.get_or_insert(value.round);
                }
                Read::Absent => panic!("round {round}: gone"),
                Read::SetAside(aside) => panic!("{aside}"),
            }
        }
        helper.kill();
    }
    assert!(read > 400, "{read} reads, from {first:?} to {last}");
}

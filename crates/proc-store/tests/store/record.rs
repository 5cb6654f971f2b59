//! Old and new readers of old and new data, and what nobody can read.

use std::fs;
use std::path::Path;

use proc_store::record::{self, parse};
use proc_store::{Disk, Fault, FaultPlan, Op, Read, Record, StateDir};
use proptest::prelude::*;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// Yesterday's program.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Old {
    pid: u32,
}

impl Record for Old {
    const FORMAT: u32 = 1;
}

/// Today's: a field more, which yesterday's may ignore.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct New {
    pid: u32,
    wanted: String,
}

impl Record for New {
    const FORMAT: u32 = 2;
    const MIN_READER: u32 = 1;

    fn migrate(format: u32, mut object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        match format {
            // The form before there were formats.
            0 if !object.contains_key("pid") => Err("no `pid`".to_owned()),
            _ => {
                object.entry("wanted").or_insert(json!("up"));
                Ok(object)
            }
        }
    }
}

/// Tomorrow's: the pid is elsewhere, so nobody older can read it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Newer {
    process: Old,
}

impl Record for Newer {
    const FORMAT: u32 = 3;

    fn migrate(_: u32, object: Map<String, Value>) -> Result<Map<String, Value>, String> {
        Ok(Map::from_iter([(
            "process".to_owned(),
            json!({"pid": object.get("pid")}),
        )]))
    }
}

fn round<W: Record, R: Record>(path: &Path, value: &W) -> Read<R> {
    record::write_json(&Disk::real(), path, value).unwrap();
    record::read_json(&Disk::real(), path).unwrap()
}

#[test]
fn the_four_way_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.json");
    let new = || New {
        pid: 7,
        wanted: "down".to_owned(),
    };
    // old reader, old data; new reader, new data
    assert_eq!(
        round::<_, Old>(&path, &Old { pid: 7 }),
        Read::Value(Old { pid: 7 })
    );
    assert_eq!(round::<_, New>(&path, &new()), Read::Value(new()));
    // new reader, old data
    let migrated = New {
        pid: 7,
        wanted: "up".to_owned(),
    };
    assert_eq!(
        round::<_, New>(&path, &Old { pid: 7 }),
        Read::Value(migrated)
    );
    let moved = Newer {
        process: Old { pid: 7 },
    };
    assert_eq!(round::<_, Newer>(&path, &new()), Read::Value(moved));
    // old reader, new data
    assert_eq!(round::<_, Old>(&path, &new()), Read::Value(Old { pid: 7 }));
    match round::<_, Old>(
        &path,
        &Newer {
            process: Old { pid: 7 },
        },
    ) {
        Read::SetAside(aside) => {
            assert_eq!(aside.reason, "format 3 is newer than format 1");
            let kept: Newer = parse(&fs::read(&aside.aside).unwrap()).expect("nothing is lost");
            assert_eq!(kept.process.pid, 7);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_form_before_there_were_formats() {
    assert_eq!(
        parse::<New>(br#"{"pid":7}"#),
        Ok(New {
            pid: 7,
            wanted: "up".to_owned()
        })
    );
    assert_eq!(parse::<New>(br#"{"pod":7}"#), Err("no `pid`".to_owned()));
    assert_eq!(
        parse::<Old>(br#"{"pid":7}"#),
        Err("no `format` field".to_owned())
    );
}

#[test]
fn what_cannot_be_read_is_set_aside_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path().join("shop")).unwrap();
    for name in ["a", "m", "z"] {
        state.write_service(name, &Old { pid: 7 }).unwrap();
    }
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let broken: &[(&str, &[u8])] = &[
        ("b", b""),
        ("c", b"{\"format\":1,\"pi"),
        ("d", b"\xff\xfe\x00"),
        ("e", b"[1,2]"),
        ("f", b"{\"format\":\"one\",\"pid\":7}"),
        ("g", b"{\"format\":1,\"pid\":\"seven\"}"),
        ("h", nested.as_bytes()),
        ("i", b"{\"format\":99999999999,\"pid\":7}"),
    ];
    for (name, bytes) in broken {
        fs::write(state.services().join(format!("{name}.json")), bytes).unwrap();
    }
    fs::create_dir(state.services().join("j.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", state.services().join("k.json")).unwrap();
    fs::write(
        state.services().join("l.json.unreadable-1"),
        "older trouble",
    )
    .unwrap();
    fs::write(state.services().join("l.json"), "trouble").unwrap();
    fs::write(state.services().join("notes.txt"), "not ours").unwrap();

    let found = state.read_services::<Old>().unwrap();
    let names: Vec<&str> = found
        .records
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    assert_eq!(names, ["a", "m", "z"]);
    assert_eq!(found.set_aside.len(), broken.len() + 3);
    for (aside, (name, bytes)) in found.set_aside.iter().zip(broken) {
        assert_eq!(
            aside.aside,
            state.services().join(format!("{name}.json.unreadable-1"))
        );
        assert_eq!(fs::read(&aside.aside).unwrap(), *bytes, "kept as it was");
    }
    assert!(
        state.services().join("l.json.unreadable-2").exists(),
        "nothing older is replaced"
    );
    assert!(state.services().join("notes.txt").exists());
    let again = state.read_services::<Old>().unwrap();
    assert_eq!((again.records.len(), again.set_aside.len()), (3, 0));
}

#[test]
fn a_failing_disk_never_sets_a_good_record_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path().join("shop")).unwrap();
    state.write("project", &Old { pid: 7 }).unwrap();
    for errno in [Errno::IO, Errno::MFILE, Errno::ACCESS, Errno::NOMEM] {
        for op in [Op::Open, Op::Read] {
            let plan = FaultPlan::every(Some(op), Fault::Errno(errno.raw_os_error()));
            let state = StateDir::open_on(Disk::faulty(plan.clone()), state.root()).unwrap();
            let error = state.read::<Old>("project").expect_err("the disk fails");
            assert_eq!(error.raw_os_error(), Some(errno.raw_os_error()));
            state.write_service("web", &Old { pid: 8 }).unwrap();
            let found = state.read_services::<Old>().unwrap();
            assert_eq!((found.records.len(), found.failed.len()), (0, 1));
            plan.heal();
            assert_eq!(
                state.read::<Old>("project").unwrap(),
                Read::Value(Old { pid: 7 })
            );
        }
    }
    assert_eq!(state.read::<Old>("nobody").unwrap(), Read::Absent);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = parse::<Old>(&bytes);
        let _ = parse::<New>(&bytes);
    }
}

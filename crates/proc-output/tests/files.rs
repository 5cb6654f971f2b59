//! What is written comes back: over rotations, compression, restarts and torn ends.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use proc_output::read::{LogReader, Query};
use proc_output::{LogOptions, LogWriter, Stream};
use proptest::prelude::*;

const BOTH: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

fn options() -> LogOptions {
    LogOptions {
        compress: false,
        keep: None,
        ..LogOptions::default()
    }
}

fn writer(dir: &Path, options: &LogOptions) -> LogWriter {
    LogWriter::new(dir, "web", Stream::Stdout, options).unwrap()
}

fn reader(dir: &Path) -> LogReader {
    let mut reader = LogReader::new();
    reader.add(dir, "web").unwrap();
    reader
}

fn raw(dir: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader(dir).copy_raw(Stream::Stdout, &mut bytes).unwrap();
    bytes
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Compresses every closed file, as the background thread would.
fn compress_all(dir: &Path) {
    for name in names(dir) {
        let number = name.rsplit('.').next().unwrap();
        if number.bytes().all(|b| b.is_ascii_digit()) {
            proc_output::compress_closed(&dir.join(name)).unwrap();
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<u8>),
    Rotate,
    Reopen,
    TearSidecar(u64),
    Compress,
}

fn step() -> impl Strategy<Value = Step> {
    let byte = prop_oneof![3 => Just(b'a'), 1 => Just(b'\n'), 1 => any::<u8>()];
    prop_oneof![
        8 => prop::collection::vec(byte, 0..300).prop_map(Step::Write),
        1 => Just(Step::Rotate),
        1 => Just(Step::Reopen),
        1 => (1u64..12).prop_map(Step::TearSidecar),
        1 => Just(Step::Compress),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
    #[test]
    fn every_byte_comes_back(steps in prop::collection::vec(step(), 1..30), max_size in 1u64..200) {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { max_size: Some(max_size), ..options() };
        let mut log = Some(writer(dir.path(), &options));
        let mut all = Vec::new();
        let mut now = 1_000_000;
        for step in steps {
            now += 7;
            match step {
                Step::Write(bytes) => {
                    let written = log.as_mut().unwrap().write_at(&bytes, now);
                    prop_assert_eq!((written.kept, written.dropped), (bytes.len(), 0));
                    all.extend(bytes);
                }
                Step::Rotate => log.as_mut().unwrap().rotate_now().unwrap(),
                Step::Reopen => {
                    drop(log.take());
                    log = Some(writer(dir.path(), &options));
                }
                Step::TearSidecar(cut) => {
                    drop(log.take());
                    let path = dir.path().join("web.stdout.log.times");
                    let length = fs::metadata(&path).unwrap().len();
                    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length.saturating_sub(cut)).unwrap();
                    log = Some(writer(dir.path(), &options));
                }
                Step::Compress => compress_all(dir.path()),
            }
            prop_assert_eq!(log.as_ref().unwrap().offset(), all.len() as u64);
        }
        for name in names(dir.path()) {
            if !name.ends_with("times") && !name.ends_with("gz") {
                prop_assert!(fs::metadata(dir.path().join(&name)).unwrap().len() <= max_size, "{} exceeds {}", name, max_size);
            }
        }
        prop_assert_eq!(raw(dir.path()), all.clone());
        // The lines of the same files, and the last of them found from the end.
        let lines: Vec<_> = reader(dir.path()).entries(&Query::default()).unwrap().map(Result::unwrap).collect();
        let want: Vec<_> = all.split_inclusive(|b| *b == b'\n').collect();
        prop_assert_eq!(lines.iter().map(|e| e.bytes.as_slice()).collect::<Vec<_>>(), want.clone());
        let mut offset = 0;
        for line in &lines {
            prop_assert_eq!(line.offset, offset);
            offset += line.bytes.len() as u64;
        }
        for n in [0, 1, 2, 5, 1000] {
            let query = Query { tail: Some(n), ..Query::default() };
            let last: Vec<_> = reader(dir.path()).entries(&query).unwrap().map(|e| e.unwrap().bytes).collect();
            prop_assert_eq!(last, want[want.len().saturating_sub(n)..].to_vec(), "the last {}", n);
        }
        let verified = reader(dir.path()).verify().unwrap();
        prop_assert_eq!(verified.len(), 1);
        prop_assert!(verified[0].complete(), "{:?}", verified[0]);
        prop_assert_eq!((verified[0].first_offset, verified[0].end_offset), (0, all.len() as u64));
    }
}

#[test]
fn keep_and_total_bound_the_files_and_offsets_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: Some(100),
        keep: Some(2),
        ..options()
    };
    let mut log = writer(dir.path(), &options);
    for _ in 0..10 {
        log.write(&[b'x'; 100]);
    }
    assert_eq!(log.stats().rotations, 9);
    assert_eq!(
        names(dir.path()),
        [
            "web.stdout.log",
            "web.stdout.log.8",
            "web.stdout.log.8.times",
            "web.stdout.log.9",
            "web.stdout.log.9.times",
            "web.stdout.log.times"
        ]
    );
    let verified = &reader(dir.path()).verify().unwrap()[0];
    assert!(verified.complete(), "{verified:?}");
    assert_eq!(
        (
            verified.first_offset,
            verified.end_offset,
            verified.kept_bytes
        ),
        (700, 1000, 300)
    );
    drop(log);

    // A total of 500, 250 for each stream, leaves files of 100 and one closed beside the live one.
    let options = LogOptions {
        total_max: Some(500),
        keep: None,
        ..options
    };
    let mut log = writer(dir.path(), &options);
    assert_eq!(log.offset(), 1000);
    for _ in 0..30 {
        log.write(&[b'y'; 10]);
        let sum: u64 = names(dir.path())
            .iter()
            .filter(|n| !n.ends_with("times"))
            .map(|n| fs::metadata(dir.path().join(n)).unwrap().len())
            .sum();
        assert!(sum <= 250 || log.stats().rotations == 0, "{sum}");
    }
    assert_eq!(log.offset(), 1300);
}

#[test]
fn age_closes_and_removes() {
    let dir = tempfile::tempdir().unwrap();
    let day = 24 * 3600 * 1000;
    let options = LogOptions {
        max_age: Some(std::time::Duration::from_secs(24 * 3600)),
        ..options()
    };
    let mut log = writer(dir.path(), &options);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    log.write_at(b"one\n", now);
    log.write_at(b"two\n", now + day - 1);
    assert_eq!(log.stats().rotations, 0);
    log.write_at(b"three\n", now + day);
    assert_eq!(log.stats().rotations, 1);
    assert_eq!(raw(dir.path()), b"one\ntwo\nthree\n");
    log.rotate_now().unwrap();
    let first = fs::File::options()
        .append(true)
        .open(dir.path().join("web.stdout.log.1"))
        .unwrap();
    let second = fs::metadata(dir.path().join("web.stdout.log.2"))
        .unwrap()
        .modified()
        .unwrap();
    first
        .set_modified(second - std::time::Duration::from_secs(25 * 3600))
        .unwrap();
    let next = log.housekeep().expect("something will be too old some day");
    assert_eq!(raw(dir.path()), b"three\n");
    assert!(
        next.as_secs() > 23 * 3600 && next.as_secs() <= 24 * 3600,
        "{next:?}"
    );
}

#[test]
fn the_background_compresses_closed_files() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: Some(1000),
        compress: true,
        ..options()
    };
    let mut log = writer(dir.path(), &options);
    for n in 0..400 {
        log.write(format!("line {n}\n").as_bytes());
    }
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !names(dir.path()).iter().any(|n| n.ends_with(".log.1.gz")) {
        assert!(
            std::time::Instant::now() < end,
            "not compressed: {:?}",
            names(dir.path())
        );
        log.housekeep();
        std::thread::yield_now();
    }
    let want: Vec<u8> = (0..400)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    assert_eq!(raw(dir.path()), want);
}

#[test]
fn files_are_private_and_links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("logs");
    let mut log = writer(&logs, &options());
    log.write(b"x");
    log.rotate_now().unwrap();
    assert_eq!(
        fs::metadata(&logs).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for name in names(&logs) {
        assert_eq!(
            fs::metadata(logs.join(&name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
    drop(log);
    let victim = dir.path().join("victim");
    for name in ["web.stdout.log", "web.stdout.log.times"] {
        fs::write(&victim, "precious").unwrap();
        fs::remove_file(logs.join(name)).unwrap();
        std::os::unix::fs::symlink(&victim, logs.join(name)).unwrap();
        assert!(
            LogWriter::new(&logs, "web", Stream::Stdout, &options()).is_err(),
            "{name}"
        );
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        fs::remove_file(logs.join(name)).unwrap();
    }
    for name in ["", ".", "..", "a/b", "../x", ".hidden", "a b", "a\nb"] {
        assert!(
            LogWriter::new(&logs, name, Stream::Stdout, &options()).is_err(),
            "{name:?}"
        );
    }
}

#[test]
fn a_log_that_is_opened_for_later_is_made_when_there_is_something_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let open = || LogWriter::new_each(dir.path(), "web", &BOTH, &options()).unwrap();
    let [mut out, mut err] = <[LogWriter; 2]>::try_from(open()).unwrap();
    assert_eq!(names(dir.path()), Vec::<String>::new());
    assert_eq!(reader(dir.path()).verify().unwrap(), []);
    out.mark("run 1").unwrap();
    err.write(b"bytes\n");
    let made = [
        "web.stderr.log",
        "web.stderr.log.times",
        "web.stdout.log",
        "web.stdout.log.times",
    ];
    assert_eq!(names(dir.path()), made);
    drop((out, err));
    // What is there is continued, each stream at its own offset.
    let offsets: Vec<u64> = open().iter().map(LogWriter::offset).collect();
    assert_eq!(offsets, [0, 6]);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut later =
        LogWriter::new_each(elsewhere.path(), "web", &[Stream::Merged], &options()).unwrap();
    later[0].housekeep();
    assert_eq!(names(elsewhere.path()), ["web.log", "web.log.times"]);
}

#[test]
fn a_directory_in_which_no_log_can_be_made_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("logs");
    fs::write(&file, "no directory").unwrap();
    let open = |dir: &Path| LogWriter::new_each(dir, "web", &BOTH, &options());
    assert!(open(&file).is_err());
    // Nobody, root included, makes a file here.
    assert!(open(Path::new("/proc/self")).is_err());
    let victim = dir.path().join("web.stderr.log");
    std::os::unix::fs::symlink(&file, victim).unwrap();
    let error = open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("web.stderr.log"), "{error}");
}

#[test]
fn nobody_cleans_up_after_another() {
    let dir = tempfile::tempdir().unwrap();
    let others = [
        "foo.bar",
        "foo-1",
        "foo.stdout",
        "foo.log",
        "foo.log.1",
        "fo",
        "foo.stderr",
    ];
    let strict = LogOptions {
        max_size: Some(10),
        keep: Some(0),
        ..options()
    };
    let loose = LogOptions {
        max_size: Some(10),
        ..options()
    };
    for (other, stream) in others.iter().flat_map(|o| Stream::all().map(|s| (o, s))) {
        let mut log = LogWriter::new(dir.path(), other, stream, &loose).unwrap();
        log.write(format!("{other} {stream} wrote these lines\n").as_bytes());
    }
    let before = names(dir.path());
    for stream in Stream::all() {
        let mut foo = LogWriter::new(dir.path(), "foo", stream, &strict).unwrap();
        foo.write(&[b'x'; 1000]);
        foo.rotate_now().unwrap();
        foo.housekeep();
        drop(LogWriter::new(dir.path(), "foo", stream, &strict).unwrap());
    }
    let mine = [
        "foo.log",
        "foo.log.times",
        "foo.stderr.log",
        "foo.stderr.log.times",
        "foo.stdout.log",
        "foo.stdout.log.times",
    ];
    let after: Vec<_> = names(dir.path())
        .into_iter()
        .filter(|n| !mine.contains(&n.as_str()))
        .collect();
    assert_eq!(after, before);
    for (other, stream) in others.iter().flat_map(|o| Stream::all().map(|s| (o, s))) {
        let mut reader = LogReader::new();
        reader.add(dir.path(), other).unwrap();
        let mut bytes = Vec::new();
        reader.copy_raw(stream, &mut bytes).unwrap();
        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            format!("{other} {stream} wrote these lines\n")
        );
    }
    let mut instances: Vec<_> = others
        .iter()
        .map(|o| (*o).to_owned())
        .chain(["foo".to_owned()])
        .collect();
    instances.sort();
    assert_eq!(LogReader::instances(dir.path()).unwrap(), instances);
}

#[test]
fn a_rotation_ended_at_any_point_is_continued() {
    // The states between the steps of a rotation, by hand.
    for step in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(format!("web.stdout.log{name}"));
        writer(dir.path(), &options()).write(b"before\n");
        if step >= 1 {
            fs::rename(at(""), at(".1")).unwrap();
        }
        if step >= 2 {
            fs::rename(at(".times"), at(".1.times")).unwrap();
        }
        if step >= 3 {
            fs::write(
                at(".times"),
                "proc-log-times 1 seq=2 base=7 dropped=0 at=0\n",
            )
            .unwrap();
        }
        let mut log = writer(dir.path(), &options());
        assert_eq!(log.offset(), 7, "step {step}");
        log.write(b"after\n");
        assert_eq!(raw(dir.path()), b"before\nafter\n", "step {step}");
        let verified = &reader(dir.path()).verify().unwrap()[0];
        assert!(verified.complete(), "step {step}: {verified:?}");
    }
}

#[test]
fn a_lost_sidecar_costs_times_but_no_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: Some(8),
        ..options()
    };
    writer(dir.path(), &options).write(b"0123456789abcdefghij");
    fs::write(dir.path().join("web.stdout.log.times"), "garbage").unwrap();
    let mut log = writer(dir.path(), &options);
    assert_eq!(log.offset(), 20);
    log.write(b"klmnop");
    assert_eq!(raw(dir.path()), b"0123456789abcdefghijklmnop");
    assert!(reader(dir.path()).verify().unwrap()[0].complete());
}

#[test]
fn verify_sees_what_is_missing() {
    let written = || {
        let dir = tempfile::tempdir().unwrap();
        writer(
            dir.path(),
            &LogOptions {
                max_size: Some(10),
                ..options()
            },
        )
        .write(&[b'z'; 45]);
        dir
    };
    let problems = |dir: &Path| reader(dir).verify().unwrap().remove(0).problems;
    assert_eq!(problems(written().path()), Vec::<String>::new());

    let dir = written();
    fs::remove_file(dir.path().join("web.stdout.log.3")).unwrap();
    assert!(
        problems(dir.path())[0].contains("missing"),
        "{:?}",
        problems(dir.path())
    );

    let dir = written();
    fs::write(dir.path().join("web.stdout.log.2"), "zzz").unwrap();
    assert!(
        problems(dir.path())[0].contains("ends at 13, but was closed at 20"),
        "{:?}",
        problems(dir.path())
    );

    let dir = written();
    fs::write(dir.path().join("web.stdout.log"), "").unwrap();
    assert_eq!(
        problems(dir.path()),
        Vec::<String>::new(),
        "an empty live file is as good as one whose bytes never came"
    );

    let dir = written();
    compress_all(dir.path());
    let gz = dir.path().join("web.stdout.log.2.gz");
    let bytes = fs::read(&gz).unwrap();
    fs::write(&gz, &bytes[..bytes.len() - 9]).unwrap();
    assert!(
        problems(dir.path())[0].contains("cannot be read"),
        "{:?}",
        problems(dir.path())
    );
}

#[test]
fn times_and_marks_stand_beside_the_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), &options());
    log.mark("start pid=71").unwrap();
    for n in 0..10 {
        log.write_at(format!("{n}\n").as_bytes(), 1_000_000 + n * 1000);
    }
    log.mark("stop exit=0").unwrap();
    assert_eq!(raw(dir.path()), b"0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n");
    let marks: Vec<_> = reader(dir.path())
        .marks()
        .unwrap()
        .into_iter()
        .map(|(_, m)| (m.offset, m.text))
        .collect();
    assert_eq!(
        marks,
        [
            (0, "start pid=71".to_owned()),
            (20, "stop exit=0".to_owned())
        ]
    );
    let text = |query: Query| -> Vec<u8> {
        reader(dir.path())
            .entries(&query)
            .unwrap()
            .flat_map(|e| e.unwrap().bytes)
            .collect()
    };
    assert_eq!(
        text(Query {
            since: Some(1_007_000),
            ..Query::default()
        }),
        b"7\n8\n9\n"
    );
    assert_eq!(
        text(Query {
            until: Some(1_001_999),
            ..Query::default()
        }),
        b"0\n1\n"
    );
    assert_eq!(
        text(Query {
            since: Some(1_003_000),
            until: Some(1_004_000),
            ..Query::default()
        }),
        b"3\n4\n"
    );
    assert_eq!(
        text(Query {
            until: Some(1_005_000),
            tail: Some(2),
            ..Query::default()
        }),
        b"4\n5\n"
    );
    let first = reader(dir.path())
        .entries(&Query::default())
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(first.at, Some(1_000_000));
}

#[test]
fn instances_and_streams_merge_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = LogWriter::new(dir.path(), "a", Stream::Stdout, &options()).unwrap();
    let mut b = LogWriter::new(dir.path(), "b", Stream::Stderr, &options()).unwrap();
    let mut c = LogWriter::new(dir.path(), "a", Stream::Stderr, &options()).unwrap();
    for n in 0..30 {
        let log = [&mut a, &mut b, &mut c].into_iter().nth(n % 3).unwrap();
        log.write_at(format!("{n}\n").as_bytes(), 1_000_000 + 20 * n as i64);
    }
    let mut reader = LogReader::new();
    reader.add(dir.path(), "a").unwrap();
    reader.add(dir.path(), "b").unwrap();
    let all: Vec<u8> = reader
        .entries(&Query::default())
        .unwrap()
        .flat_map(|e| e.unwrap().bytes)
        .collect();
    let want: Vec<u8> = (0..30)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    assert_eq!(
        String::from_utf8(all).unwrap(),
        String::from_utf8(want).unwrap()
    );
    let last: Vec<u8> = reader
        .entries(&Query {
            tail: Some(2),
            ..Query::default()
        })
        .unwrap()
        .flat_map(|e| e.unwrap().bytes)
        .collect();
    assert_eq!(String::from_utf8(last).unwrap(), "25\n27\n28\n29\n");
    let err: Vec<_> = reader
        .entries(&Query {
            stream: Some(Stream::Stderr),
            ..Query::default()
        })
        .unwrap()
        .map(|e| e.unwrap().stream)
        .collect();
    assert_eq!(err, vec![Stream::Stderr; 20]);
}

#[test]
fn a_log_truncated_or_removed_by_hand_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("web.stdout.log");
    let mut log = writer(dir.path(), &options());
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    log.write_at(b"gone\n", now);
    fs::write(&path, "").unwrap();
    log.write_at(b"kept\n", now + 1000);
    assert_eq!(
        fs::read(&path).unwrap(),
        b"kept\n",
        "no hole where the removed bytes were"
    );
    assert_eq!(log.offset(), 10);
    fs::remove_file(&path).unwrap();
    log.write_at(b"new\n", now + 2000);
    assert_eq!(fs::read(&path).unwrap(), b"new\n");
    assert_eq!(log.offset(), 14);
    drop(log);
    assert_eq!(writer(dir.path(), &options()).offset(), 14);
}

#[test]
fn a_reader_beside_a_writer_sees_everything_up_to_some_moment() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: Some(200),
        compress: true,
        ..options()
    };
    let mut log = writer(dir.path(), &options);
    let writing = std::thread::spawn(move || {
        for n in 0..3000 {
            log.write(format!("line {n}\n").as_bytes());
        }
    });
    let want: Vec<u8> = (0..3000)
        .flat_map(|n| format!("line {n}\n").into_bytes())
        .collect();
    let mut over = false;
    let mut before = 0;
    while !over {
        over = writing.is_finished();
        let bytes = raw(dir.path());
        assert!(
            want.starts_with(&bytes),
            "{} bytes are not the first",
            bytes.len()
        );
        assert!(bytes.len() >= before);
        before = bytes.len();
        let verified = reader(dir.path()).verify().unwrap().remove(0);
        assert_eq!(verified.problems, Vec::<String>::new());
    }
    writing.join().unwrap();
    assert_eq!(before, want.len());
}

#[test]
fn a_log_that_left_its_name_before_its_sidecar_is_read_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), &options());
    log.write(b"one\n");
    drop(log);
    // Between the two renames of a rotation.
    let file = |name: &str| dir.path().join(name);
    fs::rename(file("web.stdout.log"), file("web.stdout.log.1")).unwrap();
    let verified = reader(dir.path()).verify().unwrap().remove(0);
    assert_eq!(verified.problems, Vec::<String>::new());
    assert_eq!((verified.files, verified.end_offset), (1, 4));
    assert_eq!(raw(dir.path()), b"one\n");
}

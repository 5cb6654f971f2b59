//! Following goes on over rotations, restarts and removals, and waits for nothing but events.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use proc_output::read::{Entry, Follow, LogReader, Query};
use proc_output::{LogOptions, LogWriter, Stream};

const PATIENT: Option<Duration> = Some(Duration::from_secs(60));

fn writer(dir: &Path, instance: &str, max_size: u64) -> LogWriter {
    let options = LogOptions {
        max_size: Some(max_size),
        keep: None,
        compress: false,
        ..LogOptions::default()
    };
    LogWriter::new(dir, instance, Stream::Stdout, &options).unwrap()
}

fn follow(dir: &Path, query: &Query) -> Follow {
    let mut reader = LogReader::new();
    reader.add(dir, "web").unwrap();
    reader.follow(query).unwrap()
}

fn next(follow: &mut Follow) -> Entry {
    follow
        .next_within(PATIENT)
        .unwrap()
        .expect("an entry within a minute")
}

fn text(follow: &mut Follow) -> String {
    String::from_utf8(line(follow).bytes).unwrap()
}

/// A whole line, also where its writer paused so long that it came in pieces.
fn line(follow: &mut Follow) -> Entry {
    let mut whole = next(follow);
    while whole.cut {
        let more = next(follow);
        assert!(more.continued && more.offset == whole.offset + whole.bytes.len() as u64);
        whole.bytes.extend(more.bytes);
        whole.cut = more.cut;
    }
    whole
}

#[test]
fn every_line_over_many_rotations_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    writer(dir.path(), "web", 100).write(b"old 1\nold 2\nold 3\n");
    let mut follow = follow(
        dir.path(),
        &Query {
            tail: Some(2),
            ..Query::default()
        },
    );
    let path = dir.path().to_owned();
    let writing = std::thread::spawn(move || {
        for run in 0..10 {
            // A file for every few lines, and a new writer for every run.
            let mut log = writer(&path, "web", 100);
            for line in 0..200 {
                log.write(format!("run {run} line {line}\n").as_bytes());
            }
        }
    });
    assert_eq!(text(&mut follow), "old 2\n");
    assert_eq!(text(&mut follow), "old 3\n");
    let mut offset = 18;
    for run in 0..10 {
        for number in 0..200 {
            let entry = line(&mut follow);
            assert_eq!(
                String::from_utf8(entry.bytes.clone()).unwrap(),
                format!("run {run} line {number}\n")
            );
            assert_eq!(entry.offset, offset);
            offset += entry.bytes.len() as u64;
        }
    }
    writing.join().unwrap();
    assert_eq!(follow.try_next().unwrap(), None);
    assert_eq!(follow.lost(), 0);
}

#[test]
fn a_log_that_does_not_exist_yet() {
    let dir = tempfile::tempdir().unwrap();
    let mut follow = follow(dir.path(), &Query::default());
    assert_eq!(follow.try_next().unwrap(), None);
    let mut log = writer(dir.path(), "web", 1000);
    log.write(b"first\n");
    assert_eq!(text(&mut follow), "first\n");
    // Somebody else's files are not ours.
    writer(dir.path(), "web.stdout", 1000).write(b"stranger\n");
    writer(dir.path(), "web-1", 1000).write(b"stranger\n");
    log.write(b"second\n");
    assert_eq!(text(&mut follow), "second\n");
    follow.add(dir.path(), "web-1").unwrap();
    assert_eq!(text(&mut follow), "stranger\n");
}

#[test]
fn an_unfinished_line_comes_in_pieces_that_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), "web", 1000);
    let mut follow = follow(dir.path(), &Query::default());
    log.write(b"password: ");
    let entry = next(&mut follow);
    assert_eq!(
        (entry.text(), entry.continued, entry.cut),
        (&b"password: "[..], false, true)
    );
    log.write(b"accepted\n");
    let entry = next(&mut follow);
    assert_eq!(
        (entry.text(), entry.continued, entry.cut),
        (&b"accepted"[..], true, false)
    );
}

#[test]
fn what_rotation_removed_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), "web", 10);
    log.write(b"line 0000\n");
    let mut follow = follow(dir.path(), &Query::default());
    assert_eq!(text(&mut follow), "line 0000\n");
    for n in 1..10 {
        log.write(format!("line {n:04}\n").as_bytes());
    }
    for n in 1..5 {
        fs::remove_file(dir.path().join(format!("web.stdout.log.{n}"))).unwrap();
    }
    assert_eq!(text(&mut follow), "line 0004\n");
    assert_eq!(follow.lost(), 30);
}

#[test]
fn a_log_begun_anew_is_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), "web", 10);
    log.write(b"0123456789abcdefghi\n");
    let mut follow = follow(dir.path(), &Query::default());
    assert_eq!(text(&mut follow), "0123456789abcdefghi\n");
    drop(log);
    for entry in fs::read_dir(dir.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    writer(dir.path(), "web", 10).write(b"new\n");
    assert_eq!(text(&mut follow), "new\n");
}

#[cfg(feature = "async")]
#[test]
fn the_async_twin_wakes_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), "web", 10);
    let mut follow = follow(dir.path(), &Query::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let reading = tokio::spawn(async move {
            let first = follow.next_entry().await.unwrap();
            sender.send(first.bytes).unwrap();
            let second = follow.next_entry().await.unwrap();
            (second.bytes, follow.next_entry().await.unwrap().cut)
        });
        log.write(b"one two three\n");
        assert_eq!(receiver.await.unwrap(), b"one two three\n");
        log.write(b"four\nfive");
        assert_eq!(reading.await.unwrap(), (b"four\n".to_vec(), true));
    });
}

#[cfg(feature = "async")]
#[test]
fn the_stream_wakes_too_and_hands_out_what_stays_unfinished() {
    use std::pin::pin;

    use futures_core::Stream as _;

    let dir = tempfile::tempdir().unwrap();
    let mut log = writer(dir.path(), "web", 10);
    let follow = follow(dir.path(), &Query::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let reading = tokio::spawn(async move {
            let mut stream = pin!(follow.into_stream().unwrap());
            let mut next = async || {
                let next = std::future::poll_fn(|context| stream.as_mut().poll_next(context));
                next.await.unwrap().unwrap()
            };
            sender.send(next().await.bytes).unwrap();
            (next().await.bytes, next().await.cut)
        });
        log.write(b"one two three\n");
        assert_eq!(receiver.await.unwrap(), b"one two three\n");
        log.write(b"four\nfive");
        assert_eq!(reading.await.unwrap(), (b"four\n".to_vec(), true));
    });
}

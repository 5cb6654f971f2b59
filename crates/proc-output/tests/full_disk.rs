//! A full disk drops bytes, counts each of them, hurts nobody, and is over when it is over.
//!
//! The tests run themselves again in a private mount namespace with a tmpfs of 256 KiB, which takes
//! root or unprivileged user namespaces; without either they say that they were skipped.

#![expect(clippy::print_stderr, reason = "a skip is said aloud")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_output::read::LogReader;
use proc_output::{LogOptions, LogWriter, Stream};

const MARK: &str = "PROC_OUTPUT_TEST_TMPFS";

/// Returns the small file system, inside; outside runs the named test inside, and returns nothing.
fn tmpfs(test: &str) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(MARK) {
        return Some(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let unshare: &[&str] = if rustix::process::getuid().is_root() {
        &["-m"]
    } else {
        &["-r", "-m"]
    };
    let mount = r#"mount -t tmpfs -o size=256k,mode=700 none "$1" || exit 77; shift; exec "$@""#;
    let output = Command::new("unshare")
        .args(unshare)
        .args(["sh", "-c", mount, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, dir.path())
        .output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output)
            if output.status.code() != Some(77) && !output.stderr.starts_with(b"unshare:") =>
        {
            panic!("{}", String::from_utf8_lossy(&output.stderr));
        }
        refused => {
            assert!(
                std::env::var_os("CI").is_none(),
                "no private tmpfs here: {refused:?}"
            );
            eprintln!("SKIPPED {test}: no private tmpfs here: {refused:?}");
        }
    }
    None
}

fn fill(dir: &Path, leave: usize) {
    let mut file = fs::File::create(dir.join("filler")).unwrap();
    while file.write(&[0; 4096]).is_ok_and(|n| n > 0) {}
    let length = file.metadata().unwrap().len();
    file.set_len(length - leave as u64).unwrap();
}

fn raw(dir: &Path) -> Vec<u8> {
    let mut reader = LogReader::new();
    reader.add(dir, "web").unwrap();
    let mut bytes = Vec::new();
    reader.copy_raw(Stream::Stdout, &mut bytes).unwrap();
    bytes
}

fn dropped(dir: &Path) -> u64 {
    let mut reader = LogReader::new();
    reader.add(dir, "web").unwrap();
    let verified = reader.verify().unwrap().remove(0);
    assert_eq!(verified.problems, Vec::<String>::new());
    assert!(!verified.complete());
    verified.dropped_bytes
}

fn open(dir: &Path, max_size: u64) -> LogWriter {
    let options = LogOptions {
        max_size: Some(max_size),
        compress: false,
        keep: None,
        ..LogOptions::default()
    };
    LogWriter::new(dir, "web", Stream::Stdout, &options).unwrap()
}

#[test]
fn written_bytes_are_kept_or_counted() {
    let Some(dir) = tmpfs("written_bytes_are_kept_or_counted") else {
        return;
    };
    let mut log = open(&dir, 1 << 20);
    log.write(b"first\n");
    fill(&dir, 8192);
    let mut sent = 6;
    for n in 0..2000 {
        let line = format!("line {n}\n");
        let written = log.write(line.as_bytes());
        assert_eq!(written.kept + written.dropped, line.len());
        sent += line.len() as u64;
    }
    let stats = log.stats();
    assert!(stats.dropped_bytes > 0 && stats.errors > 0);
    assert_eq!(stats.failing, Some(rustix::io::Errno::NOSPC.raw_os_error()));
    assert_eq!(stats.bytes + stats.dropped_bytes, sent);
    assert_eq!(raw(&dir).len() as u64, stats.bytes);

    fs::remove_file(dir.join("filler")).unwrap();
    assert_eq!(log.write(b"again\n").kept, 6);
    assert_eq!(log.stats().failing, None);
    assert!(raw(&dir).ends_with(b"again\n"));
    // The count is in the sidecar, for readers and for the next writer.
    assert_eq!(dropped(&dir), stats.dropped_bytes);
    drop(log);
    assert_eq!(
        open(&dir, 1 << 20).stats().dropped_bytes,
        stats.dropped_bytes
    );
}

#[test]
fn a_pipe_is_drained_all_the_same() {
    let Some(dir) = tmpfs("a_pipe_is_drained_all_the_same") else {
        return;
    };
    // Small files, so that the disk refuses rotations as well.
    let mut log = open(&dir, 20_000);
    fill(&dir, 60_000);
    let (from, mut to) = std::io::pipe().unwrap();
    let writing = std::thread::spawn(move || {
        // Ten times the disk: a writer that nobody drains would hang here.
        (0..100).for_each(|_| to.write_all(&[b'x'; 25_000]).unwrap());
    });
    let mut taken = 0;
    loop {
        let fd = std::os::fd::AsFd::as_fd(&from);
        rustix::event::poll(
            &mut [rustix::event::PollFd::new(
                &fd,
                rustix::event::PollFlags::IN,
            )],
            None,
        )
        .unwrap();
        match log.splice_from(&from, 1 << 20).unwrap() {
            0 => break,
            n => taken += n as u64,
        }
    }
    writing.join().unwrap();
    let stats = log.stats();
    assert_eq!(
        (taken, stats.bytes + stats.dropped_bytes),
        (2_500_000, 2_500_000)
    );
    assert!(
        stats.bytes >= 20_000 && stats.dropped_bytes >= 2_000_000,
        "{stats:?}"
    );
    assert!(raw(&dir) == vec![b'x'; stats.bytes as usize]);
    fs::remove_file(dir.join("filler")).unwrap();
    log.write(b"again");
    assert!(raw(&dir).ends_with(b"xagain"));
    assert_eq!(dropped(&dir), stats.dropped_bytes);
}

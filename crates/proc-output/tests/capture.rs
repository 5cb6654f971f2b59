//! Real processes: every byte of both streams, in bounded time and memory.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proc_output::read::LogReader;
use proc_output::{LogOptions, LogWriter, ReadEnd, Stream, Streams, pending};

fn sh(script: &str) -> Child {
    let mut command = Command::new("sh");
    command
        .args(["-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn pidfd(child: &Child) -> OwnedFd {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap()
}

fn read(child: &mut Child) -> Vec<(Stream, Vec<u8>)> {
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut lines = Vec::new();
    let (end, status) = Streams::new()
        .stdout(&stdout)
        .stderr(&stderr)
        .read_and_wait(
            |stream, line| {
                lines.push((stream, line.bytes.to_vec()));
                ControlFlow::Continue(())
            },
            || child.wait(),
        )
        .unwrap();
    assert_eq!(end, ReadEnd::Eof);
    assert!(status.success());
    lines
}

fn of(lines: &[(Stream, Vec<u8>)], stream: Stream) -> Vec<u8> {
    lines
        .iter()
        .filter(|(s, _)| *s == stream)
        .flat_map(|(_, bytes)| bytes.clone())
        .collect()
}

/// Captures a stream as a shim does: poll, splice, until the end.
fn capture(log: &mut LogWriter, pipe: &impl AsFd) -> u64 {
    let mut taken = 0;
    loop {
        match log.splice_from(pipe, 1 << 20) {
            Ok(0) => return taken,
            Ok(n) => taken += n as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let fd = pipe.as_fd();
                let mut polled = [rustix::event::PollFd::new(
                    &fd,
                    rustix::event::PollFlags::IN,
                )];
                rustix::event::poll(&mut polled, None).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn raw(dir: &Path) -> Vec<u8> {
    let mut reader = LogReader::new();
    reader.add(dir, "web").unwrap();
    let mut bytes = Vec::new();
    reader.copy_raw(Stream::Stdout, &mut bytes).unwrap();
    bytes
}

/// K6: whoever reads stdout to its end first never sees this end.
#[test]
fn a_megabyte_on_stderr_before_stdout() {
    let mut child = sh("head -c 1000000 /dev/zero >&2; echo out; head -c 1000000 /dev/zero >&2");
    let lines = read(&mut child);
    assert_eq!(of(&lines, Stream::Stdout), b"out\n");
    assert_eq!(of(&lines, Stream::Stderr), vec![0; 2_000_000]);
}

#[test]
fn the_iterator_reads_both_streams_together_and_says_how_it_ended() {
    let mut child = sh("head -c 200000 /dev/zero >&2; echo out; printf 'no end'; echo late >&2");
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let streams = Streams::new().stdout(&stdout).stderr(&stderr);
    let mut lines = streams.lines();
    let all: Vec<_> = lines
        .by_ref()
        .map(|line| line.map(|(stream, line)| (stream, line.bytes)).unwrap())
        .collect();
    assert_eq!(of(&all, Stream::Stdout), b"out\nno end");
    assert_eq!(of(&all, Stream::Stderr).len(), 200_005);
    assert_eq!(lines.end(), Some(ReadEnd::Eof));
    child.wait().unwrap();

    let nothing = Streams::new();
    let mut lines = nothing.lines();
    assert!(lines.next().unwrap().is_err());
    assert!(lines.next().is_none());
}

/// A line is one callback, complete, up to the bound of 1 MiB; a longer one comes in pieces that say so.
#[test]
fn long_line() {
    for length in [10_000, 1_000_000] {
        let script = format!("head -c {length} /dev/zero | tr '\\0' x; echo; echo next");
        let lines = read(&mut sh(&script));
        let lengths: Vec<usize> = lines.iter().map(|(_, line)| line.len()).collect();
        assert_eq!(lengths, [length + 1, 5]);
    }
    let lines = read(&mut sh(
        "head -c 10000000 /dev/zero | tr '\\0' x; echo; echo next",
    ));
    let (next, long) = lines.split_last().unwrap();
    assert_eq!(next.1, b"next\n");
    assert_eq!(
        long.iter().map(|(_, line)| line.len()).sum::<usize>(),
        10_000_001
    );
}

/// K5 through the line reader.
#[test]
fn ten_megabytes_of_one_line_with_strange_bytes() {
    let mut child = sh(r"head -c 10000000 /dev/zero | tr '\0' 'x'; printf '\377\376\000\nno end'");
    let lines = read(&mut child);
    let bytes = of(&lines, Stream::Stdout);
    assert_eq!(bytes.len(), 10_000_010);
    assert!(bytes[..10_000_000].iter().all(|byte| *byte == b'x'));
    assert_eq!(&bytes[10_000_000..], b"\xff\xfe\0\nno end");
    assert!(lines.iter().all(|(_, line)| line.len() <= 1024 * 1024 + 1));
}

#[test]
fn a_thousand_lines_are_a_thousand_lines() {
    let lines = read(&mut sh(
        "i=0; while [ $i -lt 1000 ]; do echo line $i; i=$((i+1)); done",
    ));
    assert_eq!(lines.len(), 1000);
}

/// K7: a grandchild that keeps the pipe does not keep the reader.
#[test]
fn a_grandchild_that_holds_the_pipe_delays_nothing() {
    let mut child = sh("sleep 1000 & echo $!; echo partial | tr -d '\n'");
    let (stdout, exit) = (child.stdout.take().unwrap(), pidfd(&child));
    let start = Instant::now();
    let mut output = Vec::new();
    let end = Streams::new()
        .stdout(&stdout)
        .until_exit(&exit)
        .read_lines(|_, line| {
            output.push(String::from_utf8(line.text().to_vec()).unwrap());
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(child.wait().unwrap().success());
    // Not the 1000 s of the grandchild; by how little is the benchmark's question.
    assert!(start.elapsed() < Duration::from_secs(100));
    assert_eq!(end, ReadEnd::Held);
    assert_eq!(output[1], "partial");
    let grandchild = rustix::process::Pid::from_raw(output[0].parse().unwrap()).unwrap();
    rustix::process::kill_process(grandchild, rustix::process::Signal::KILL).unwrap();
}

/// K8: what is written right before the exit is there, every time.
#[test]
fn the_last_64_kib_are_complete() {
    let block: Vec<u8> = (0..65_000u32).map(|n| b'a' + (n % 26) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), &block).unwrap();
    for _ in 0..200 {
        let mut child = Command::new("cat")
            .arg(file.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, exit) = (child.stdout.take().unwrap(), pidfd(&child));
        let all = Streams::new()
            .stdout(&stdout)
            .until_exit(&exit)
            .read_combined(1 << 20)
            .unwrap();
        child.wait().unwrap();
        assert_eq!((all.total, all.end), (65_000, ReadEnd::Eof));
        assert!(all.bytes == block);
    }
}

#[test]
fn cancelling_and_timing_out_keep_what_was_read() {
    let mut child = sh("echo hello; exec sleep 1000");
    let stdout = child.stdout.take().unwrap();
    let (read_end, write_end) = std::io::pipe().unwrap();
    let mut write_end = Some(write_end);
    let mut lines = 0;
    let end = Streams::new()
        .stdout(&stdout)
        .cancelled_by(&read_end)
        .read_lines(|_, line| {
            assert_eq!(line.text(), b"hello");
            lines += 1;
            drop(write_end.take()); // closing it cancels
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((lines, end), (1, ReadEnd::Cancelled));
    let end = Streams::new()
        .stdout(&stdout)
        .timeout(Duration::from_millis(10))
        .read_combined(10)
        .unwrap()
        .end;
    assert_eq!(end, ReadEnd::TimedOut);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        Streams::new().read_combined(1).unwrap_err().kind(),
        io::ErrorKind::InvalidInput
    );
}

/// K5 and K8 through the files: spliced, rotated, byte for byte.
#[test]
fn files_hold_every_byte_of_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        max_size: Some(1_000_000),
        keep: None,
        compress: false,
        ..LogOptions::default()
    };
    let mut log = LogWriter::new(dir.path(), "web", Stream::Stdout, &options).unwrap();
    let script = r"head -c 10000000 /dev/zero | tr '\0' 'x'; printf '\377\376\000\n'; seq 1 200000; printf 'no end'";
    let mut child = sh(script);
    let taken = capture(&mut log, &child.stdout.take().unwrap());
    child.wait().unwrap();
    let mut want = vec![b'x'; 10_000_000];
    want.extend(b"\xff\xfe\0\n");
    (1..=200_000).for_each(|n| writeln!(want, "{n}").unwrap());
    want.extend(b"no end");
    assert_eq!(
        (taken, log.offset()),
        (want.len() as u64, want.len() as u64)
    );
    assert!(raw(dir.path()) == want);
    assert_eq!(log.stats().rotations, want.len() as u64 / 1_000_000);
    for entry in fs::read_dir(dir.path()).unwrap() {
        assert!(entry.unwrap().metadata().unwrap().len() <= 1_000_000);
    }
}

/// A descriptor without splice (a socket, a terminal) is captured all the same.
#[test]
fn a_socket_is_captured_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut log =
        LogWriter::new(dir.path(), "web", Stream::Stdout, &LogOptions::default()).unwrap();
    let (mut to, from) = std::os::unix::net::UnixStream::pair().unwrap();
    to.write_all(b"through a socket\n").unwrap();
    assert_eq!(pending(&from).unwrap(), 17);
    drop(to);
    assert_eq!(capture(&mut log, &from), 17);
    assert_eq!(raw(dir.path()), b"through a socket\n");
}

#[test]
fn direct_files_are_appended_to_and_continue() {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions {
        direct: true,
        compress: false,
        max_size: Some(10),
        ..LogOptions::default()
    };
    for run in 0..3 {
        let mut log = LogWriter::new(dir.path(), "web", Stream::Stdout, &options).unwrap();
        assert_eq!(log.offset(), 14 * run);
        let file = log.direct().unwrap();
        let mut child = Command::new("echo")
            .arg("direct output")
            .stdout(file)
            .spawn()
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(raw(dir.path()), b"direct output\n".repeat(3));
    let mut reader = LogReader::new();
    reader.add(dir.path(), "web").unwrap();
    let verified = &reader.verify().unwrap()[0];
    assert!(verified.complete() && verified.files == 3, "{verified:?}");
}

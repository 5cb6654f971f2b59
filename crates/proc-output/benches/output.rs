//! What capture costs, as ratios to the rawest loop that does the same, measured in the same run.
//!
//! `cargo bench -p proc-output --bench output`, or `cargo xtask bench output`. Every pair runs in
//! turns and the best of each counts; every byte is counted and summed on the way back.
//!
//! `PROC_BENCH_DIR` names the directory for the files, `PROC_BENCH_MIB` the bytes of a bulk run.

#![expect(clippy::unwrap_used, reason = "a step that fails ends the benchmark")]
#![expect(clippy::print_stdout, reason = "the table is the point")]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use proc_output::read::LogReader;
use proc_output::{ByteRing, LineSplitter, LogOptions, LogWriter, Stream, Streams};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::SpliceFlags;

type Part = fn(&mut Report);

const LINE: usize = 100;
const ROTATE: u64 = 10 * 1024 * 1024;

fn main() {
    let mut report = Report::default();
    // Names as arguments choose; what cargo adds (`--bench`) does not.
    let chosen: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let parts: [(&str, Part); 5] = [
        ("rings", rings),
        ("splitter", splitter),
        ("bulk", bulk),
        ("lines", lines),
        ("drained", drained),
    ];
    for (name, part) in parts {
        if chosen.is_empty() || chosen.iter().any(|arg| arg == name) {
            part(&mut report);
        }
    }
    report.finish();
}

#[derive(Default)]
struct Report {
    missed: usize,
}

impl Report {
    fn ratio(&mut self, what: &str, ratio: f64, bound: f64, at_least: bool) {
        let met = if at_least {
            ratio >= bound
        } else {
            ratio <= bound
        };
        self.missed += usize::from(!met);
        let (sign, verdict) = (
            if at_least { ">=" } else { "<=" },
            if met { "ok" } else { "MISSED" },
        );
        println!("  {what:<58} {ratio:>6.2}  ({sign} {bound:.2})  {verdict}");
    }

    fn note(&self, what: &str, value: &str) {
        println!("  {what:<58} {value}");
    }

    fn finish(self) {
        println!(
            "{}",
            if self.missed == 0 {
                "all bounds met"
            } else {
                "bounds missed"
            }
        );
        assert!(
            self.missed == 0 || std::env::var_os("PROC_BENCH_STRICT").is_none(),
            "{} bounds missed",
            self.missed
        );
    }
}

/// A deterministic text of lines of 100 bytes.
fn text(length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| {
            if at % LINE == LINE - 1 {
                b'\n'
            } else {
                b' ' + ((at * 7 + at / LINE) % 90) as u8
            }
        })
        .collect()
}

fn sum(seed: u64, bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(seed, |sum, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        (sum.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(0x517c_c1b7_2722_0a95)
    })
}

fn best(rounds: usize, mut a: impl FnMut() -> Cost, mut b: impl FnMut() -> Cost) -> (Cost, Cost) {
    let mut costs = (Cost::MAX, Cost::MAX);
    for _ in 0..rounds {
        costs.0 = costs.0.min(a());
        costs.1 = costs.1.min(b());
    }
    costs
}

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

impl Cost {
    const MAX: Self = Self {
        wall: Duration::MAX,
        cpu: Duration::MAX,
    };

    fn min(self, other: Self) -> Self {
        Self {
            wall: self.wall.min(other.wall),
            cpu: self.cpu.min(other.cpu),
        }
    }

    fn of(work: impl FnOnce()) -> Self {
        let (wall, cpu) = (Instant::now(), thread_cpu());
        work();
        Self {
            wall: wall.elapsed(),
            cpu: thread_cpu() - cpu,
        }
    }
}

fn thread_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

fn rings(report: &mut Report) {
    println!("ring append against memcpy (64 KiB ring, 256 MiB)");
    for size in [100, 4096, 64 * 1024] {
        let input = text(size);
        let rounds = (256 << 20) / size;
        let mut ring = ByteRing::new(64 * 1024);
        let mut flat = vec![0; 64 * 1024];
        let (raw, ours) = best(
            5,
            || {
                let mut at = 0;
                Cost::of(|| {
                    for _ in 0..rounds {
                        if at + size > flat.len() {
                            at = 0;
                        }
                        flat[at..at + size].copy_from_slice(black_box(&input));
                        at += size;
                    }
                    black_box(&flat);
                })
            },
            || {
                Cost::of(|| {
                    for _ in 0..rounds {
                        ring.push(black_box(&input));
                    }
                    black_box(&ring);
                })
            },
        );
        assert_eq!(ring.len(), 64 * 1024);
        report.ratio(
            &format!("pushes of {size} bytes: time, ring / memcpy"),
            ratio(ours.wall, raw.wall),
            1.5,
            false,
        );
    }
}

fn splitter(report: &mut Report) {
    println!("splitter against memchr (100-byte lines in 64 KiB reads, 256 MiB)");
    let input = text(256 << 20);
    let mut found = (0, 0);
    let (raw, ours) = best(
        5,
        || {
            let mut sum = 0;
            let cost = Cost::of(|| {
                for chunk in input.chunks(64 * 1024) {
                    let mut start = 0;
                    for at in memchr::memchr_iter(b'\n', chunk) {
                        sum += black_box(&chunk[start..=at]).len();
                        start = at + 1;
                    }
                    sum += chunk.len() - start;
                }
            });
            found.0 = sum;
            cost
        },
        || {
            let mut sum = 0;
            let mut splitter = LineSplitter::new(64 * 1024);
            let cost = Cost::of(|| {
                for chunk in input.chunks(64 * 1024) {
                    splitter.push(chunk, |line| sum += black_box(line.bytes).len());
                }
                splitter.finish(|line| sum += line.bytes.len());
            });
            found.1 = sum;
            cost
        },
    );
    assert_eq!(found, (input.len(), input.len()), "every byte");
    report.ratio(
        "time, splitter / memchr",
        ratio(ours.wall, raw.wall),
        1.2,
        false,
    );
    let rate = input.len() as f64 / 1e9 / ours.wall.as_secs_f64();
    report.note("splitter", &format!("{rate:.1} GB/s"));
}

/// A process-like producer: a thread that writes the same text in writes of `size` bytes.
fn produce(total: usize, size: usize) -> (PipeReader, std::thread::JoinHandle<()>, u64) {
    let (from, mut to) = std::io::pipe().unwrap();
    let block = text(LINE * size);
    let mut checksum = 0;
    for chunk in (0..total).step_by(block.len()) {
        checksum = sum(checksum, &block[..block.len().min(total - chunk)]);
    }
    let thread = std::thread::spawn(move || {
        let mut left = total;
        while left > 0 {
            for write in block.chunks(size) {
                let write = &write[..write.len().min(left)];
                to.write_all(write).unwrap();
                left -= write.len();
            }
        }
    });
    (from, thread, checksum)
}

fn readable(fd: impl AsFd) {
    let fd = fd.as_fd();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
}

struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let base =
            std::env::var_os("PROC_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = base.join(format!("proc-bench-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn raw_splice(dir: &Path, total: usize, size: usize) -> Cost {
    let (from, thread, want) = produce(total, size);
    let path = dir.join("raw");
    let to = File::create(&path).unwrap();
    let cost = Cost::of(|| {
        loop {
            readable(&from);
            if rustix::pipe::splice(&from, None, &to, None, 1 << 20, SpliceFlags::MOVE).unwrap()
                == 0
            {
                break;
            }
        }
    });
    thread.join().unwrap();
    check_file(&path, total, size, want);
    fs::remove_file(path).unwrap();
    cost
}

fn raw_copy(dir: &Path, total: usize, size: usize) -> Cost {
    let (from, thread, want) = produce(total, size);
    let path = dir.join("raw");
    let mut to = File::create(&path).unwrap();
    let mut buffer = vec![0; 64 * 1024];
    let cost = Cost::of(|| {
        loop {
            readable(&from);
            let n = rustix::io::read(&from, &mut buffer).unwrap();
            if n == 0 {
                break;
            }
            to.write_all(&buffer[..n]).unwrap();
        }
    });
    thread.join().unwrap();
    check_file(&path, total, size, want);
    fs::remove_file(path).unwrap();
    cost
}

fn check_file(path: &Path, total: usize, size: usize, want: u64) {
    check(&fs::read(path).unwrap(), total, size, want);
}

fn check(bytes: &[u8], total: usize, size: usize, want: u64) {
    assert_eq!(bytes.len(), total, "every byte");
    assert_eq!(
        bytes.chunks(LINE * size).fold(0, sum),
        want,
        "the very same bytes"
    );
}

fn ours(dir: &Path, total: usize, size: usize, keep: Option<u32>) -> Cost {
    let (from, thread, want) = produce(total, size);
    let dir = dir.join("ours");
    let options = LogOptions {
        max_size: Some(ROTATE),
        keep,
        compress: false,
        ..LogOptions::default()
    };
    let mut log = LogWriter::new(&dir, "bench", Stream::Stdout, &options).unwrap();
    let cost = Cost::of(|| {
        loop {
            readable(&from);
            if log.splice_from(&from, 1 << 20).unwrap() == 0 {
                break;
            }
        }
    });
    thread.join().unwrap();
    assert_eq!((log.offset(), log.stats().dropped_bytes), (total as u64, 0));
    let mut reader = LogReader::new();
    reader.add(&dir, "bench").unwrap();
    assert!(reader.verify().unwrap()[0].complete());
    if keep.is_none() {
        let mut bytes = Vec::new();
        reader.copy_raw(Stream::Stdout, &mut bytes).unwrap();
        check(&bytes, total, size, want);
    }
    fs::remove_dir_all(dir).unwrap();
    cost
}

fn bulk(report: &mut Report) {
    let mib = std::env::var("PROC_BENCH_MIB")
        .ok()
        .and_then(|mib| mib.parse().ok())
        .unwrap_or(256);
    let total = mib << 20;
    println!(
        "100-byte lines in 64 KiB writes to files rotated at 10 MiB, against splice to one file ({mib} MiB)"
    );
    let scratch = Scratch::new();
    let size = 64 * 1024;
    let (raw, mine) = best(
        5,
        || raw_splice(&scratch.0, total, size),
        || ours(&scratch.0, total, size, None),
    );
    report.ratio(
        "throughput, ours / raw splice",
        ratio(raw.wall, mine.wall),
        0.8,
        true,
    );
    report.ratio(
        "CPU seconds, ours / raw splice",
        ratio(mine.cpu, raw.cpu),
        1.3,
        false,
    );
    let (raw5, mine5) = best(
        3,
        || raw_splice(&scratch.0, total, size),
        || ours(&scratch.0, total, size, Some(5)),
    );
    report.note(
        "keeping 5 files: throughput, ours / raw splice",
        &format!("{:>6.2}", ratio(raw5.wall, mine5.wall)),
    );
    let rate = |cost: Cost| {
        format!(
            "{:.2} GB/s, {:.2} CPU s/GiB",
            total as f64 / 1e9 / cost.wall.as_secs_f64(),
            cost.cpu.as_secs_f64() * 1024.0 / mib as f64
        )
    };
    report.note("raw splice", &rate(raw));
    report.note("ours", &rate(mine));
    match (0..2).filter_map(|_| pm2(&scratch.0, total, size)).min() {
        Some(wall) => report.ratio("throughput, ours / pm2", ratio(wall, mine.wall), 2.0, true),
        None => println!("  SKIPPED pm2: not installed (`npm install -g pm2`, or PROC_BENCH_PM2)"),
    }
    for (program, args) in [
        ("s6-log", vec!["n1000", "s10485760"]),
        ("svlogd", vec!["-b", "65536"]),
    ] {
        let Some(wall) = (0..2)
            .filter_map(|_| rival(&scratch.0, program, &args, total, size))
            .min()
        else {
            println!("  SKIPPED {program}: not installed");
            continue;
        };
        report.ratio(
            &format!("throughput, ours / {program}"),
            ratio(wall, mine.wall),
            2.0,
            true,
        );
    }
}

fn rival(dir: &Path, program: &str, args: &[&str], total: usize, size: usize) -> Option<Duration> {
    let logs = dir.join(program);
    fs::create_dir_all(&logs).unwrap();
    if program == "svlogd" {
        fs::write(logs.join("config"), "s10485760\nn1000\n").unwrap();
    }
    let (from, thread, _) = produce(total, size);
    let start = Instant::now();
    let mut command = Command::new(program);
    command
        .args(args)
        .arg(&logs)
        .stdin(Stdio::from(OwnedFd::from(from)))
        .stderr(Stdio::null());
    let child = command.spawn();
    drop(command); // holds a copy of the pipe's reading end
    let wall = child.ok().map(|mut child| {
        child.wait().unwrap();
        start.elapsed()
    });
    if wall.is_some() {
        thread.join().unwrap();
    } // else the producer met a closed pipe
    fs::remove_dir_all(logs).unwrap();
    wall
}

/// The time in which pm2 takes the same bytes of a service, from its first to its last write.
///
/// It has no rotation of its own, which is in its favour. What it logs it writes with a delay; that
/// tail is not counted, again in its favour, but every byte must be there.
fn pm2(dir: &Path, total: usize, size: usize) -> Option<Duration> {
    let program = std::env::var_os("PROC_BENCH_PM2").unwrap_or_else(|| "pm2".into());
    let home = dir.join("pm2");
    fs::create_dir_all(&home).unwrap();
    let pm2 = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.env("PM2_HOME", &home).current_dir(&home).args(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().ok().filter(|status| status.success())
    };
    // Says when it began and ended beside its output, in nanoseconds of one clock.
    let block = text(LINE * size);
    fs::write(home.join("block"), &block).unwrap();
    let script = format!(
        "#!/bin/sh\ndate +%s%N > began\nn={}; while [ $n -gt 0 ]; do cat block; n=$((n-1)); done | head -c {total} \
         | dd bs={size} iflag=fullblock 2>/dev/null\ndate +%s%N > ended\nmv ended done\nexec sleep 1000\n",
        total.div_ceil(block.len()),
    );
    fs::write(home.join("service.sh"), script).unwrap();
    pm2(&[
        "start",
        "service.sh",
        "--interpreter",
        "sh",
        "-o",
        "out.log",
        "-e",
        "err.log",
    ])?;
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(home.join(name))
            .ok()?
            .trim()
            .parse()
            .ok()
    };
    let out = home.join("out.log");
    let complete =
        || home.join("done").exists() && fs::metadata(&out).is_ok_and(|m| m.len() >= total as u64);
    let give_up = Instant::now() + Duration::from_secs(120);
    while !complete() && Instant::now() < give_up {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    let all = complete();
    pm2(&["kill"]);
    let wall = number("done")?.checked_sub(number("began")?)?;
    fs::remove_dir_all(home).unwrap();
    assert!(all, "every byte");
    Some(Duration::from_nanos(wall))
}

fn lines(report: &mut Report) {
    println!("one write per 100-byte line, against read 64 KiB and write (64 MiB)");
    let scratch = Scratch::new();
    let total = 64 << 20;
    let (raw, mine) = best(
        5,
        || raw_copy(&scratch.0, total, LINE),
        || ours(&scratch.0, total, LINE, None),
    );
    report.ratio(
        "throughput, ours / read and write",
        ratio(raw.wall, mine.wall),
        0.9,
        true,
    );
    report.note(
        "CPU seconds, ours / read and write",
        &format!("{:>6.2}", ratio(mine.cpu, raw.cpu)),
    );
    report.note(
        "ours",
        &format!(
            "{:.2} M lines/s",
            total as f64 / LINE as f64 / 1e6 / mine.wall.as_secs_f64()
        ),
    );
}

/// From "the exit is known" to "the output is drained", with a grandchild that holds the pipe.
fn drained(report: &mut Report) {
    println!("exit known to output drained, a grandchild holding the pipe (200 runs)");
    let mut times = Vec::new();
    for _ in 0..200 {
        let script = "sleep 1000 & echo $!; exec head -c 60000 /dev/zero";
        let mut child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let exit = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
        let watched = exit.try_clone().unwrap();
        let known = std::thread::spawn(move || {
            readable(&watched);
            Instant::now()
        });
        let all = Streams::new()
            .stdout(&stdout)
            .until_exit(&exit)
            .read_combined(1 << 20)
            .unwrap();
        let end = Instant::now();
        times.push(end.saturating_duration_since(known.join().unwrap()));
        child.wait().unwrap();
        let pid_line = all.bytes.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(
            all.total as usize,
            60_000 + pid_line.len() + 1,
            "every byte"
        );
        let pid = std::str::from_utf8(pid_line).unwrap().parse().unwrap();
        let grandchild = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(grandchild, rustix::process::Signal::KILL).unwrap();
    }
    times.sort();
    let ms = |at: usize| times[at * (times.len() - 1) / 100].as_secs_f64() * 1e3;
    report.ratio("milliseconds, 95 of 100 runs within", ms(95), 5.0, false);
    report.note(
        "milliseconds, median and worst",
        &format!("{:>6.3} {:.3}", ms(50), ms(100)),
    );
}

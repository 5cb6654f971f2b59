//! A service for the chaos suite: logs numbered lines at full speed, keeps its own books, ends with a known code.
//!
//! `chaos-worker DIR NAME RUNS SEED`: the books are `DIR/NAME.truth`, one line `run code first-line next-line` a run. A second
//! copy that runs at the same time is noted in `DIR/duplicates`. After RUNS runs it stays up until it gets TERM.
//!
//! `chaos-worker DIR NAME flood`: writes numbered lines of 200 bytes in bursts until there is a file `DIR/enough`, says
//! `quiet LINES`, and stays up. Its books are a line with the first line's number a run.

#![expect(clippy::print_stdout, reason = "printing is its job")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

fn main() -> std::io::Result<std::process::ExitCode> {
    let args: Vec<String> = std::env::args().collect();
    let (dir, name, runs, seed) = match args.as_slice() {
        [_, dir, name, flood] if flood == "flood" => return pour(Path::new(dir), name),
        [_, dir, name, runs, seed] => (dir, name, runs, seed),
        _ => panic!("usage: chaos-worker DIR NAME (RUNS SEED | flood)"),
    };
    let dir = Path::new(dir);
    let _alone = lock(dir, name)?;
    let truth = std::fs::read_to_string(dir.join(format!("{name}.truth"))).unwrap_or_default();
    let run = truth.lines().count() as u64;
    let first = truth.lines().last().map_or(0, |line| {
        let next = line.split(' ').nth(3).and_then(|n| n.parse().ok());
        next.expect("the truth holds four numbers a line")
    });
    if run >= runs.parse().expect("RUNS is a number") {
        println!("{name} quiet {run}");
        loop {
            std::thread::park();
        }
    }
    let mut random = proc_tests::Random::new(
        seed.parse::<u64>().expect("SEED is a number") ^ (run << 32) ^ hash(name),
    );
    let next = first + 1 + random.below(500);
    log_lines(name, first, next)?;
    let code = 1 + random.below(99);
    // The books are closed before the exit, and not one byte is written after: what they say is what must be found.
    let mut books = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(format!("{name}.truth")))?;
    books.write_all(format!("{run} {code} {first} {next}\n").as_bytes())?;
    Ok(std::process::ExitCode::from(
        u8::try_from(code).expect("below 100"),
    ))
}

/// Floods standard output until there has been enough.
fn pour(dir: &Path, name: &str) -> std::io::Result<std::process::ExitCode> {
    let _alone = lock(dir, name)?;
    let mut books = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(format!("{name}.truth")))?;
    books.write_all(b"a run\n")?;
    let (enough, padding) = (dir.join("enough"), "x".repeat(180));
    let mut line: u64 = 0;
    while !enough.exists() {
        let mut burst = String::new();
        for _ in 0..256 {
            burst.push_str(&format!("{name} line {line} {padding}\n"));
            line += 1;
        }
        std::io::stdout().write_all(burst.as_bytes())?;
        // The rate of the flood, so that it fills the pipe again and again but not the disk.
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    }
    println!("{name} quiet {line}");
    loop {
        std::thread::park();
    }
}

/// Writes lines `first..next`, the last one without waiting for anything after it.
fn log_lines(name: &str, first: u64, next: u64) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::with_capacity(4096, std::io::stdout().lock());
    for line in first..next {
        writeln!(out, "{name} line {line}")?;
    }
    out.flush()
}

/// Takes the lock of this name for life; a copy that finds it held notes itself as a duplicate.
fn lock(dir: &Path, name: &str) -> std::io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(format!("{name}.lock")))?;
    if file.try_lock().is_err() {
        let mut duplicates = OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("duplicates"))?;
        duplicates.write_all(format!("{name}\n").as_bytes())?;
        file.lock()?;
    }
    Ok(file)
}

fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

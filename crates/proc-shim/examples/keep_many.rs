//! `keep_many SHIM COUNT`: keeps so many sleeping services, prints the pids of their shims, ends at end-of-file.
//!
//! `keep_many SHIM COUNT LINES`: of services that each write so many lines of 100 bytes, 50 a second, and sleep on;
//! at the end it checks that every byte is in the logs.
#![expect(clippy::print_stdout, reason = "an example")]

use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use proc_core::StopSequence;
use proc_output::read::LogReader;
use proc_shim::{Client, LaunchOptions, Reply, Request, Role, ShimProcess, ShimProgram, StartSpec};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).peekable();
    if args.next_if(|first| first == "write").is_some() {
        return write_lines(args.next().ok_or("LINES is missing")?.parse()?);
    }
    let shim = ShimProgram::at(args.next().ok_or("SHIM is missing")?);
    let count: usize = args.next().ok_or("COUNT is missing")?.parse()?;
    let lines: Option<u64> = args.next().map(|lines| lines.parse()).transpose()?;
    let home = std::env::temp_dir().join(format!("proc-keep-many-{}", std::process::id()));
    std::fs::create_dir_all(&home)?;
    let mut shims = Vec::new();
    let started =
        (0..count).try_for_each(|at| start(&shim, &home, at, lines).map(|one| shims.push(one)));
    println!(
        "{}",
        shims
            .iter()
            .map(|(shim, _)| shim.pid().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    );
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    for (shim, mut client) in shims {
        let kill = Request::Stop {
            sequence: StopSequence::kill(),
            tier: None,
            group: false,
        };
        client.call(&kill, Vec::new(), None)?;
        client.call(&Request::Exit, Vec::new(), None)?;
        shim.wait()?;
    }
    let complete = lines.map_or(Ok(()), |lines| check(&home.join("log"), count, lines));
    std::fs::remove_dir_all(home)?;
    started.and(complete)
}

/// Writes a line every 20 ms, each at its own time, however long a write takes.
fn write_lines(lines: u64) -> Result<(), Box<dyn Error>> {
    let (line, begun) = ([&[b'x'; 99][..], b"\n"].concat(), Instant::now());
    for n in 0..lines {
        let due = Duration::from_millis(20 * n);
        std::thread::park_timeout(due.saturating_sub(begun.elapsed()));
        std::io::stdout().write_all(&line)?;
    }
    loop {
        std::thread::park();
    }
}

fn check(dir: &Path, count: usize, lines: u64) -> Result<(), Box<dyn Error>> {
    let mut reader = LogReader::new();
    (0..count).try_for_each(|at| reader.add(dir, &format!("sleeper-{at}")))?;
    let all = reader.verify()?;
    let sum: u64 = all.iter().map(|one| one.kept_bytes).sum();
    let want = count as u64 * lines * 100;
    if sum != want || !all.iter().all(proc_output::read::Verified::complete) {
        return Err(format!("{sum} of {want} bytes are in the logs").into());
    }
    Ok(())
}

type Kept = (proc_core::Child, Client);

fn start(
    shim: &ShimProgram,
    home: &Path,
    at: usize,
    lines: Option<u64>,
) -> Result<Kept, Box<dyn Error>> {
    let instance = format!("sleeper-{at}");
    let options = LaunchOptions {
        dir: home.join(&instance),
        socket: home.join(format!("{instance}.sock")),
        log_dir: home.join("log"),
        instance,
        keep_session: false,
        scratch: None,
    };
    let process = ShimProcess::launch(shim, &options)?;
    let mut client = Client::new(process.socket);
    client.call(
        &Request::Hello {
            role: Role::Controller,
        },
        Vec::new(),
        None,
    )?;
    let argv = match lines {
        None => vec!["sleep".into(), "1000".into()],
        Some(lines) => vec![
            std::env::current_exe()?.into(),
            "write".into(),
            lines.to_string().into(),
        ],
    };
    let spec = StartSpec {
        argv,
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        ..StartSpec::default()
    };
    match client
        .call(&Request::Start(Box::new(spec)), Vec::new(), None)?
        .0
    {
        Reply::Started { .. } => Ok((process.child, client)),
        other => Err(format!("{other:?}").into()),
    }
}

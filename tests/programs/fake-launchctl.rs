//! A launchctl(1) for Linux: the books of a small launchd in `FAKE_LAUNCHD` (a directory), and real processes.
//!
//! `FAKE_LAUNCHD_LINGER_MS` and `FAKE_LAUNCHD_THROTTLE_MS` make its pauses shorter. The model itself is
//! the one that the backend's own tests play thousands of histories on.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it stands in for a program that prints"
)]

#[path = "../../crates/proc-backends/src/launchctl/fake.rs"]
mod fake;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

use fake::{Job, Launchd, World};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(dir) = std::env::var_os("FAKE_LAUNCHD").map(PathBuf::from) else {
        eprintln!("FAKE_LAUNCHD is not set");
        return ExitCode::from(64);
    };
    let done = match args.first().map(String::as_str) {
        Some("__run") => run(&dir, &args[1]).map(|()| 0),
        _ => call(&dir, &args),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("fake launchctl: {error}");
            ExitCode::from(255)
        }
    }
}

fn call(dir: &Path, args: &[String]) -> io::Result<u8> {
    std::fs::create_dir_all(dir.join("ended"))?;
    let lock = File::create(dir.join("lock"))?;
    lock.lock()?;
    let path = dir.join("books.json");
    let mut launchd = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)?,
        Err(_) => new(),
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let said = launchd.call(
        args,
        now,
        &mut Real {
            dir: dir.to_owned(),
        },
    );
    let new = dir.join("books.new");
    std::fs::write(&new, serde_json::to_vec(&launchd)?)?;
    std::fs::rename(new, path)?;
    io::stdout().write_all(said.out.as_bytes())?;
    io::stderr().write_all(said.err.as_bytes())?;
    Ok(u8::try_from(said.code).unwrap_or(255))
}

fn new() -> Launchd {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    let mut launchd = Launchd::new(rustix::process::getuid().as_raw());
    launchd.linger_ms = number("FAKE_LAUNCHD_LINGER_MS").unwrap_or(launchd.linger_ms);
    launchd.throttle_ms = number("FAKE_LAUNCHD_THROTTLE_MS").unwrap_or(launchd.throttle_ms);
    launchd
}

/// Real processes, each under a runner that writes down how it ended.
struct Real {
    dir: PathBuf,
}

impl World for Real {
    fn spawn(&mut self, job: &Job) -> Result<u32, i32> {
        let failed = |error: io::Error| error.raw_os_error().unwrap_or(5);
        let job = serde_json::to_string(job).map_err(|_| 5)?;
        let mut runner = Command::new(std::env::current_exe().map_err(failed)?)
            .arg("__run")
            .arg(job)
            .env("FAKE_LAUNCHD", &self.dir)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(failed)?;
        let mut said = String::new();
        let out = runner.stdout.take().ok_or(5)?;
        out.take(64).read_to_string(&mut said).map_err(failed)?;
        match said.trim().parse::<i64>() {
            Ok(pid) if pid > 0 => Ok(u32::try_from(pid).map_err(|_| 5)?),
            Ok(errno) => Err(i32::try_from(-errno).unwrap_or(5)),
            Err(_) => Err(5),
        }
    }

    fn signal(&mut self, pid: u32, signal: i32) {
        // Its runner is its parent and the only one to reap it; afterwards the number may be another's.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(1));
        let runner =
            parent.and_then(|parent| std::fs::read_link(format!("/proc/{parent}/exe")).ok());
        let raw = rustix::process::Pid::from_raw(pid.cast_signed());
        if let (Some(raw), Some(_), true) = (raw, &runner, runner == std::env::current_exe().ok())
            && let Some(signal) = rustix::process::Signal::from_named_raw(signal)
        {
            let _gone_already = rustix::process::kill_process(raw, signal);
        }
    }

    fn ended(&mut self, pid: u32) -> Option<i32> {
        let path = self.dir.join("ended").join(pid.to_string());
        std::fs::read_to_string(path).ok()?.parse().ok()
    }
}

/// The runner: starts the program, says its pid, waits for it.
fn run(dir: &Path, job: &str) -> io::Result<()> {
    let job: Job = serde_json::from_str(job)?;
    let file = |path: &Option<String>| match path {
        Some(path) => OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map(Stdio::from),
        None => Ok(Stdio::null()),
    };
    let mut command = Command::new(&job.program);
    command
        .arg0(job.argv.first().unwrap_or(&job.program))
        .args(job.argv.iter().skip(1))
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .envs(&job.env)
        .current_dir(job.cwd.as_deref().unwrap_or("/"))
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(file(&job.stdout)?)
        .stderr(file(&job.stderr)?);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            print!("-{}", error.raw_os_error().unwrap_or(5));
            return Ok(());
        }
    };
    print!("{}", child.id());
    io::stdout().flush()?;
    // Whoever waits for the pid reads to the end.
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    let status = child.wait()?;
    let path = dir.join("ended").join(child.id().to_string());
    let new = path.with_extension("new");
    std::fs::write(&new, status.into_raw().to_string())?;
    std::fs::rename(new, path)
}

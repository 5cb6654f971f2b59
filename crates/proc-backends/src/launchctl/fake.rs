//! A launchd made of plain data, for tests: a small one that keeps its books, not canned answers.
//!
//! It reproduces the contract table: removal takes as long as the process does, loading fails in that
//! window, starts are throttled, `print` tells of the previous run beside a live process, a signal
//! replaces the exit code, `list` prints raw wait statuses, overrides outlive the job file.
//! Time is what the caller says, and processes are the caller's [`World`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What the operating system does for it.
pub(crate) trait World {
    /// Makes a process; the error is an errno.
    fn spawn(&mut self, job: &Job) -> Result<u32, i32>;
    /// Sends a signal.
    fn signal(&mut self, pid: u32, signal: i32);
    /// Returns the raw wait status, once it has ended.
    fn ended(&mut self, pid: u32) -> Option<i32>;
}

/// The books.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Launchd {
    /// The user whose domain there is, beside `system`.
    pub(crate) uid: u32,
    /// How long the removal of a job takes at least, when it had a process, in ms.
    pub(crate) linger_ms: u64,
    /// What `ThrottleInterval` is where a job names none, in ms.
    pub(crate) throttle_ms: u64,
    /// The code for loading a disabled label: sources disagree between 5 and 119.
    pub(crate) disabled_code: i32,
    jobs: BTreeMap<String, Job>,
    overrides: BTreeMap<String, bool>,
}

/// A loaded job.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) domain: String,
    pub(crate) label: String,
    pub(crate) path: String,
    pub(crate) program: String,
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) cwd: Option<String>,
    pub(crate) stdout: Option<String>,
    pub(crate) stderr: Option<String>,
    keep_alive: bool,
    on_failure_only: bool,
    throttle_ms: u64,
    exit_ms: u64,
    runs: u64,
    pid: Option<u32>,
    last: Option<i32>,
    spawn_failed: bool,
    started_at: Option<u64>,
    scheduled: Option<u64>,
    /// When its removal began; whether its process was killed for it.
    leaving: Option<(u64, bool)>,
}

/// What the program answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

fn said(code: i32, err: impl Into<String>) -> Said {
    Said {
        code,
        err: err.into(),
        out: String::new(),
    }
}

impl Launchd {
    pub(crate) fn new(uid: u32) -> Self {
        Self {
            uid,
            linger_ms: 1_500,
            throttle_ms: 10_000,
            disabled_code: 5,
            jobs: BTreeMap::new(),
            overrides: BTreeMap::new(),
        }
    }

    /// Lets time pass: processes that ended are reaped, due starts and removals happen.
    pub(crate) fn tick(&mut self, now: u64, world: &mut dyn World) {
        let linger = self.linger_ms;
        self.jobs.retain(|_, job| !job.tick(now, linger, world));
    }

    /// Answers one command line.
    pub(crate) fn call(&mut self, args: &[String], now: u64, world: &mut dyn World) -> Said {
        self.tick(now, world);
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        match words[..] {
            ["print", service] => self.with(service, 113, |_, job| Said {
                out: job.print(),
                ..Said::default()
            }),
            ["list"] => self.list_all(),
            ["list", label] => self.list(label),
            ["print-disabled", domain] => self.print_disabled(domain),
            ["enable" | "disable", service] => self.set_override(service, words[0] == "disable"),
            ["bootstrap", domain, path] => self.bootstrap(domain, path, now, world),
            ["bootout", service] => self.bootout(service, now, world),
            ["kickstart", ref flags @ .., service] => self.kickstart(service, flags, now, world),
            ["kill", signal, service] => self.kill(service, signal, world),
            _ => said(64, "Usage: launchctl <subcommand> ...\n"),
        }
    }

    fn split<'s>(&self, service: &'s str) -> Result<(String, &'s str), Said> {
        let (domain, label) = service.rsplit_once('/').unwrap_or((service, ""));
        self.domain(domain)?;
        Ok((domain.to_owned(), label))
    }

    fn domain(&self, domain: &str) -> Result<(), Said> {
        let ours = format!("gui/{}", self.uid);
        match domain.split_once('/') {
            _ if domain == ours || domain == "system" => Ok(()),
            Some(("gui", uid)) => Err(said(
                112,
                format!("Could not find domain for user gui: {uid}\n"),
            )),
            _ => Err(said(125, "Domain does not support specified action\n")),
        }
    }

    fn not_found(&self, domain: &str, label: &str, code: i32) -> Said {
        let place = match domain {
            "system" => "system".to_owned(),
            _ => format!("user gui: {}", self.uid),
        };
        let head = if code == 113 { "Bad request.\n" } else { "" };
        said(
            code,
            format!("{head}Could not find service \"{label}\" in domain for {place}\n"),
        )
    }

    fn with(
        &mut self,
        service: &str,
        missing: i32,
        then: impl FnOnce(u64, &mut Job) -> Said,
    ) -> Said {
        let (domain, label) = match self.split(service) {
            Ok(parts) => parts,
            Err(said) => return said,
        };
        match self.jobs.get_mut(service) {
            Some(job) => then(self.throttle_ms, job),
            None => self.not_found(&domain, label, missing),
        }
    }

    fn list_all(&self) -> Said {
        let mut out = String::from("PID\tStatus\tLabel\n");
        for job in self.jobs.values() {
            let pid = job
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let raw = job.last.unwrap_or(0);
            let status = if raw & 0x7f == 0 {
                raw >> 8
            } else {
                -(raw & 0x7f)
            };
            let _infallible = writeln!(out, "{pid}\t{status}\t{}", job.label);
        }
        Said {
            out,
            ..Said::default()
        }
    }

    fn list(&self, label: &str) -> Said {
        let Some(job) = self.jobs.values().find(|job| job.label == label) else {
            return said(
                113,
                format!("Could not find service \"{label}\" in domain for port\n"),
            );
        };
        let pid = job
            .pid
            .map(|pid| format!("\t\"PID\" = {pid};\n"))
            .unwrap_or_default();
        let out = format!(
            "{{\n\t\"LimitLoadToSessionType\" = \"Aqua\";\n\t\"Label\" = \"{label}\";\n\t\"OnDemand\" = true;\n\t\"LastExitStatus\" = {};\n{pid}\t\"Program\" = \"{}\";\n}};\n",
            job.last.unwrap_or(0),
            job.program
        );
        Said {
            out,
            ..Said::default()
        }
    }

    fn print_disabled(&self, domain: &str) -> Said {
        if let Err(said) = self.domain(domain) {
            return said;
        }
        let mut out = String::from("\n\tdisabled services = {\n");
        let here = format!("{domain}/");
        for (service, disabled) in &self.overrides {
            if let Some(label) = service.strip_prefix(&here) {
                let word = if *disabled { "disabled" } else { "enabled" };
                let _infallible = writeln!(out, "\t\t\"{label}\" => {word}");
            }
        }
        out.push_str("\t}\n\n\tlogin item associations = {\n\t}\n");
        Said {
            out,
            ..Said::default()
        }
    }

    /// Overrides need no job and no file.
    fn set_override(&mut self, service: &str, disabled: bool) -> Said {
        match self.split(service) {
            Err(said) => said,
            Ok(_) => {
                self.overrides.insert(service.to_owned(), disabled);
                Said::default()
            }
        }
    }

    fn bootstrap(&mut self, domain: &str, path: &str, now: u64, world: &mut dyn World) -> Said {
        if let Err(said) = self.domain(domain) {
            return said;
        }
        let io = "Bootstrap failed: 5: Input/output error\nTry re-running the command as root for richer errors.\n";
        let Some(mut job) = Job::read(path, self.throttle_ms) else {
            return said(5, io);
        };
        job.domain = domain.to_owned();
        let service = format!("{domain}/{}", job.label);
        if self.overrides.get(&service) == Some(&true) {
            return match self.disabled_code {
                5 => said(5, io),
                code => said(
                    code,
                    format!("Bootstrap failed: {code}: Service is disabled\n"),
                ),
            };
        }
        match self.jobs.get(&service) {
            Some(old) if old.leaving.is_some() => {
                return said(37, "Bootstrap failed: 37: Operation already in progress\n");
            }
            Some(_) => return said(5, io),
            None => {}
        }
        if job.keep_alive || job.scheduled.is_some() {
            job.spawn(now, world);
        }
        self.jobs.insert(service, job);
        Said::default()
    }

    fn bootout(&mut self, service: &str, now: u64, world: &mut dyn World) -> Said {
        if let Err(said) = self.split(service) {
            return said;
        }
        let Some(job) = self.jobs.get_mut(service) else {
            return said(3, "Boot-out failed: 3: No such process\n");
        };
        if job.leaving.is_some() {
            return said(36, "Boot-out failed: 36: Operation now in progress\n");
        }
        (job.leaving, job.scheduled) = (Some((now, false)), None);
        match job.pid {
            Some(pid) => world.signal(pid, 15),
            None => drop(self.jobs.remove(service)),
        }
        Said::default()
    }

    fn kickstart(
        &mut self,
        service: &str,
        flags: &[&str],
        now: u64,
        world: &mut dyn World,
    ) -> Said {
        let kill = flags.iter().any(|flag| flag.contains('k'));
        let print = flags.iter().any(|flag| flag.contains('p'));
        self.with(service, 113, |_, job| {
            if job.leaving.is_some() {
                return said(
                    37,
                    "Could not kickstart service: 37: Operation already in progress\n",
                );
            }
            if let (Some(pid), true) = (job.pid, kill) {
                world.signal(pid, 9);
                job.reap(now, world);
                job.scheduled = None;
            }
            if job.pid.is_none() {
                let due = job
                    .started_at
                    .filter(|_| !kill)
                    .map_or(0, |at| at + job.throttle_ms);
                if due > now {
                    job.scheduled = Some(due);
                } else {
                    job.spawn(now, world);
                }
            }
            let out = match (job.pid, print) {
                (Some(pid), true) => format!("{pid}\n"),
                _ => String::new(),
            };
            Said {
                out,
                ..Said::default()
            }
        })
    }

    fn kill(&mut self, service: &str, signal: &str, world: &mut dyn World) -> Said {
        let number = match signal.trim_start_matches("SIG") {
            "HUP" => 1,
            "INT" => 2,
            "QUIT" => 3,
            "KILL" => 9,
            "USR1" => 10,
            "USR2" => 12,
            "TERM" => 15,
            other => match other.parse() {
                Ok(number) => number,
                Err(_) => return said(64, format!("Unknown signal: {signal}\n")),
            },
        };
        self.with(service, 113, |_, job| match job.pid {
            Some(pid) => {
                world.signal(pid, number);
                Said::default()
            }
            None => said(3, "Could not signal service: 3: No such process\n"),
        })
    }
}

impl Job {
    /// Reads a job file; launchd refuses one that others can write to.
    fn read(path: &str, throttle_ms: u64) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let meta = std::fs::metadata(path).ok()?;
        if meta.permissions().mode() & 0o022 != 0 {
            return None;
        }
        let value = plist::Value::from_file(path).ok()?;
        let dict = value.as_dictionary()?;
        let text = |key: &str| Some(dict.get(key)?.as_string()?.to_owned());
        let seconds = |key: &str| dict.get(key)?.as_unsigned_integer().map(|s| s * 1000);
        let argv: Vec<String> = dict
            .get("ProgramArguments")
            .and_then(|value| value.as_array())
            .map(|words| {
                words
                    .iter()
                    .filter_map(|w| Some(w.as_string()?.to_owned()))
                    .collect()
            })
            .unwrap_or_default();
        let env = dict
            .get("EnvironmentVariables")
            .and_then(|value| value.as_dictionary());
        let env = env.map(|env| {
            let pair = |(key, value): (&String, &plist::Value)| {
                Some((key.clone(), value.as_string()?.to_owned()))
            };
            env.iter().filter_map(pair).collect()
        });
        let keep = dict.get("KeepAlive");
        let on_failure_only = keep.is_some_and(|keep| keep.as_dictionary().is_some());
        let at_load = dict.get("RunAtLoad").and_then(|v| v.as_boolean()) == Some(true);
        Some(Self {
            label: text("Label")?,
            program: text("Program").or_else(|| argv.first().cloned())?,
            path: path.to_owned(),
            argv,
            env: env.unwrap_or_default(),
            cwd: text("WorkingDirectory"),
            stdout: text("StandardOutPath"),
            stderr: text("StandardErrorPath"),
            keep_alive: on_failure_only || keep.and_then(|keep| keep.as_boolean()) == Some(true),
            on_failure_only,
            throttle_ms: seconds("ThrottleInterval").unwrap_or(throttle_ms),
            exit_ms: seconds("ExitTimeOut").unwrap_or(5_000),
            scheduled: at_load.then_some(0),
            ..Self::default()
        })
    }

    fn spawn(&mut self, now: u64, world: &mut dyn World) {
        self.scheduled = None;
        self.started_at = Some(now);
        self.runs += 1;
        match world.spawn(self) {
            Ok(pid) => {
                self.pid = Some(pid);
                self.spawn_failed = false;
            }
            Err(_) => {
                self.last = Some(78 << 8);
                self.spawn_failed = true;
            }
        }
    }

    fn reap(&mut self, now: u64, world: &mut dyn World) {
        let Some(raw) = self.pid.and_then(|pid| world.ended(pid)) else {
            return;
        };
        (self.pid, self.last) = (None, Some(raw));
        let again = self.keep_alive && (!self.on_failure_only || raw != 0);
        if again && self.leaving.is_none() {
            self.scheduled = Some(now.max(self.started_at.unwrap_or(0) + self.throttle_ms));
        }
    }

    /// Returns whether it is gone.
    fn tick(&mut self, now: u64, linger_ms: u64, world: &mut dyn World) -> bool {
        self.reap(now, world);
        if let (None, Some(due)) = (self.leaving, self.scheduled)
            && due <= now
        {
            self.spawn(now, world);
            self.reap(now, world);
        }
        let Some((since, killed)) = self.leaving else {
            return false;
        };
        if let (Some(pid), false) = (self.pid, killed)
            && now >= since + self.exit_ms
        {
            world.signal(pid, 9);
            self.leaving = Some((since, true));
            self.reap(now, world);
        }
        self.pid.is_none() && now >= since + linger_ms
    }

    fn state(&self) -> &'static str {
        match (self.leaving, self.pid, self.scheduled) {
            (Some((_, true)), ..) => "SIGKILLed",
            (Some(_), ..) => "SIGTERMed",
            (None, Some(_), _) => "running",
            (None, None, Some(_)) => "spawn scheduled",
            (None, None, None) => "not running",
        }
    }

    fn print(&self) -> String {
        let mut out = format!("{}/{} = {{\n", self.domain, self.label);
        let mut line = |key: &str, value: &str| {
            let _infallible = writeln!(out, "\t{key} = {value}");
        };
        line("active count", if self.pid.is_some() { "1" } else { "0" });
        line("path", &self.path);
        line("type", "LaunchAgent");
        line("state", self.state());
        line("program", &self.program);
        line(
            "arguments",
            &format!(
                "{{\n\t\t{}\n\t}}",
                self.argv.join("\n\t\t").replace('\n', "\n\t\t")
            ),
        );
        for (key, path) in [("stdout path", &self.stdout), ("stderr path", &self.stderr)] {
            if let Some(path) = path {
                line(key, path);
            }
        }
        line(
            "default environment",
            "{\n\t\tPATH => /usr/bin:/bin:/usr/sbin:/sbin\n\t}",
        );
        line("domain", &format!("{} [100020]", self.domain));
        line("minimum runtime", &(self.throttle_ms / 1000).to_string());
        line("exit timeout", &(self.exit_ms / 1000).to_string());
        line("runs", &self.runs.to_string());
        if let Some(pid) = self.pid {
            line("pid", &pid.to_string());
        }
        match self.last {
            None => line("last exit code", "(never exited)"),
            Some(raw) if raw & 0x7f != 0 => {
                let signal = raw & 0x7f;
                line(
                    "last terminating signal",
                    &format!("{}: {signal}", name(signal)),
                );
            }
            Some(raw) if self.spawn_failed || raw >> 8 == 78 => {
                line("last exit code", "78: EX_CONFIG")
            }
            Some(raw) => line("last exit code", &(raw >> 8).to_string()),
        }
        // Nested blocks repeat the words of the top.
        line(
            "endpoints",
            "{\n\t\t\"x\" = {\n\t\t\tstate = active\n\t\t\tpid = 1\n\t\t}\n\t}",
        );
        line("spawn type", "daemon (3)");
        line(
            "job state",
            if self.spawn_failed {
                "spawn failed"
            } else if self.pid.is_some() {
                "running"
            } else {
                "exited"
            },
        );
        line(
            "properties",
            if self.keep_alive {
                "keepalive | runatload"
            } else {
                "runatload"
            },
        );
        out.push_str("}\n");
        out
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        1 => "Hangup",
        2 => "Interrupt",
        9 => "Killed",
        15 => "Terminated",
        _ => "Unknown signal",
    }
}

//! Replays the contract table of launchctl(1): on a Mac against the real one, elsewhere against our own launchd.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::shell::{cargo, root, run as sh, say};

/// How long a state may take to come about: removals take seconds, throttled starts ten.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Contract {
    jobs: BTreeMap<String, Job>,
    row: Vec<Row>,
}

#[derive(Deserialize)]
struct Job {
    argv: Vec<String>,
    #[serde(default)]
    keep_alive: bool,
    exit_timeout: Option<u32>,
    mode: Option<u32>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(default)]
    setup: Vec<String>,
    command: String,
    code: Vec<i32>,
    stdout: Option<String>,
    stderr: Option<String>,
    after: Option<String>,
    source: String,
    basis: String,
}

/// The launchctl that is asked, and its directory for scratch files.
struct Bench {
    program: PathBuf,
    env: Vec<(&'static str, PathBuf)>,
    dir: PathBuf,
    domain: String,
}

/// Replays every row and prints what differs.
///
/// # Errors
/// No launchctl here, or a row that differs.
pub(crate) fn run(fake: bool) -> Result<()> {
    let text = std::fs::read_to_string(root().join("tests/launchctl/contract.toml"))?;
    let contract: Contract = toml::from_str(&text).context("the contract table is broken")?;
    let uid = Command::new("id").arg("-u").output()?.stdout;
    let uid = String::from_utf8_lossy(&uid).trim().to_owned();
    let dir = std::env::temp_dir().join(format!("proc-contract-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let mut bench = Bench {
        program: "/bin/launchctl".into(),
        env: Vec::new(),
        domain: format!("gui/{uid}"),
        dir: dir.clone(),
    };
    if fake {
        sh(&mut cargo([
            "build",
            "--locked",
            "-p",
            "proc-tests",
            "--bin",
            "fake-launchctl",
        ]))?;
        bench.program = root().join("target/debug/fake-launchctl");
        // Its removals need not take the seconds that they were measured to take.
        bench.env = vec![
            ("FAKE_LAUNCHD", dir.join("launchd")),
            ("FAKE_LAUNCHD_LINGER_MS", "200".into()),
        ];
    }
    if !bench.program.exists() {
        bail!(
            "no `{}` here: run this on a Mac, or with --fake",
            bench.program.display()
        );
    }
    let mut different = 0;
    for (number, row) in contract.row.iter().enumerate() {
        let label = format!("proc.contract.{}.{number}", std::process::id());
        let result = bench.row(&contract, row, &label);
        bench.clean(&label);
        match result {
            Ok(()) => say(&format!("ok    {}", row.name)),
            Err(error) => {
                different += 1;
                say(&format!(
                    "DIFF  {} ({}, {}): {error:#}",
                    row.name, row.basis, row.source
                ));
            }
        }
    }
    std::fs::remove_dir_all(&dir)?;
    if different > 0 {
        bail!("{different} of {} rows differ", contract.row.len());
    }
    say(&format!("all {} rows hold", contract.row.len()));
    Ok(())
}

impl Bench {
    fn row(&self, contract: &Contract, row: &Row, label: &str) -> Result<()> {
        for step in &row.setup {
            match step.split_once(' ') {
                Some(("job", name)) => {
                    let job = contract
                        .jobs
                        .get(name)
                        .with_context(|| format!("no job `{name}`"))?;
                    self.write(job, label)?;
                }
                Some(("wait", state)) => self.wait(label, state)?,
                _ => drop(self.launchctl(step, label)?),
            }
        }
        let output = self.launchctl(&row.command, label)?;
        let code = output.status.code().unwrap_or(-1);
        if !row.code.contains(&code) {
            bail!(
                "code {code}, expected {:?}; it said {}",
                row.code,
                said(&output)
            );
        }
        for (expected, got) in [(&row.stdout, &output.stdout), (&row.stderr, &output.stderr)] {
            let Some(expected) = expected else { continue };
            let expected = self.fill(expected, label);
            if !String::from_utf8_lossy(got).contains(&expected) {
                bail!("no {expected:?} in what it said: {}", said(&output));
            }
        }
        match row
            .after
            .as_deref()
            .and_then(|after| after.strip_prefix("wait "))
        {
            Some(state) => self.wait(label, state),
            None => Ok(()),
        }
    }

    fn fill(&self, text: &str, label: &str) -> String {
        let plist = self.plist(label).display().to_string();
        text.replace("{service}", &format!("{}/{label}", self.domain))
            .replace("{domain}", &self.domain)
            .replace("{label}", label)
            .replace("{plist}", &plist)
    }

    fn plist(&self, label: &str) -> PathBuf {
        self.dir.join(format!("{label}.plist"))
    }

    fn launchctl(&self, line: &str, label: &str) -> Result<Output> {
        let words = line.split(' ').map(|word| self.fill(word, label));
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .envs(self.env.iter().map(|(key, value)| (key, value)));
        command
            .output()
            .with_context(|| format!("cannot run `{}`", self.program.display()))
    }

    /// Asks until the state has come about.
    fn wait(&self, label: &str, state: &str) -> Result<()> {
        let begun = Instant::now();
        loop {
            let output = self.launchctl("print {service}", label)?;
            let text = String::from_utf8_lossy(&output.stdout);
            let has = |line: &str| text.lines().any(|l| l == format!("\t{line}"));
            let there = match state {
                "gone" => output.status.code() == Some(113),
                "ended" => has("state = not running") && !has("last exit code = (never exited)"),
                state => has(&format!("state = {state}")),
            };
            if there {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("never `{state}`; at last {}", said(&output));
            }
        }
    }

    fn write(&self, job: &Job, label: &str) -> Result<()> {
        let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;");
        let argv: String = job
            .argv
            .iter()
            .map(|word| format!("<string>{}</string>", escape(word)))
            .collect();
        let keep = if job.keep_alive {
            "<key>KeepAlive</key><true/>"
        } else {
            ""
        };
        let exit = job
            .exit_timeout
            .map(|s| format!("<key>ExitTimeOut</key><integer>{s}</integer>"))
            .unwrap_or_default();
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict><key>Label</key><string>{label}</string><key>ProgramArguments</key><array>{argv}</array>{keep}{exit}</dict></plist>\n"
        );
        let path = self.plist(label);
        std::fs::write(&path, text)?;
        set_mode(&path, job.mode.unwrap_or(0o644))
    }

    /// Leaves nothing behind, whatever came of the row.
    fn clean(&self, label: &str) {
        let _not_loaded = self.launchctl("bootout {service}", label);
        let _still_going = self.wait(label, "gone");
        let _never_disabled = self.launchctl("enable {service}", label);
        let _never_written = std::fs::remove_file(self.plist(label));
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::set_permissions(
        path,
        std::fs::Permissions::from_mode(mode),
    )?)
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes)
            .chars()
            .take(400)
            .collect::<String>()
    };
    format!("{:?} {:?}", text(&output.stdout), text(&output.stderr))
}

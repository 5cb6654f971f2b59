//! The backend on a launchd of plain data and a virtual clock: thousands of random histories, and
//! not one claim that is not true. `PROC_TEST_FULL=1` plays 10,000; `PROC_TEST_SEED=N
//! PROC_TEST_HISTORIES=1` plays one again.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proc_core::{Attributes, ProcessEnd, Signal, StopSequence};
use proc_output::LogOptions;
use tokio::time::Instant;

use super::fake::{Job, Launchd, World};
use super::tool::Exec;
use super::{LaunchctlBackend, LaunchctlOptions};
use crate::backend::{Backend as _, BoxFuture, SignalTarget};
use crate::call::{Answer, Call};
use crate::error::StartError;
use crate::event::{BackendEventKind, BackendEvents};
use crate::manager::ManagerError;
use crate::spec::{InstanceSpec, StdinMode};
use crate::status::{InstanceStatus, RunState};

const UID: u32 = 501;
/// Above what any kernel gives, so that no real process is ever meant.
const FIRST_PID: u32 = 1 << 23;
const OWN: &str = "proc.shop.own";
const THEIRS: &str = "com.example.theirs";

#[derive(Debug, Clone)]
struct Process {
    label: String,
    deaf: bool,
    ends: Option<(u64, i32)>,
}

#[derive(Debug, Default)]
struct Processes {
    now: u64,
    all: BTreeMap<u32, Process>,
}

impl Processes {
    fn end(&self, pid: u32) -> Option<i32> {
        let (at, raw) = self.all.get(&pid)?.ends?;
        (at <= self.now).then_some(raw)
    }

    fn live(&self, label: &str) -> Vec<u32> {
        let of_label = self.all.iter().filter(|(_, p)| p.label == label);
        of_label
            .map(|(pid, _)| *pid)
            .filter(|pid| self.end(*pid).is_none())
            .collect()
    }
}

impl World for Processes {
    /// The program's first argument says what it will do: `7@1500` ends with code 7 after 1.5 s,
    /// `!` ignores TERM, `missing` cannot be run.
    fn spawn(&mut self, job: &Job) -> Result<u32, i32> {
        let plan = job.argv.get(1).map_or("", String::as_str);
        if plan == "missing" {
            return Err(2);
        }
        let pid = FIRST_PID + u32::try_from(self.all.len()).unwrap();
        let ends = plan
            .trim_start_matches('!')
            .split_once('@')
            .map(|(code, after)| {
                (
                    self.now + after.parse::<u64>().unwrap(),
                    code.parse::<i32>().unwrap() << 8,
                )
            });
        self.all.insert(
            pid,
            Process {
                label: job.label.clone(),
                deaf: plan.starts_with('!'),
                ends,
            },
        );
        Ok(pid)
    }

    fn signal(&mut self, pid: u32, signal: i32) {
        if self.end(pid).is_some() {
            return;
        }
        let now = self.now;
        if let Some(process) = self.all.get_mut(&pid)
            && (signal == 9 || !process.deaf)
        {
            process.ends = Some((now, signal));
        }
    }

    fn ended(&mut self, pid: u32) -> Option<i32> {
        self.end(pid)
    }
}

/// What goes wrong with the next call.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Garbage,
    Empty,
    Hangs,
    Refuses,
}

#[derive(Debug)]
struct Mac {
    launchd: Launchd,
    processes: Processes,
    faults: VecDeque<Fault>,
    begun: Instant,
}

impl Mac {
    fn call(&mut self, args: &[&str]) -> super::fake::Said {
        self.processes.now = u64::try_from(self.begun.elapsed().as_millis()).unwrap();
        let args: Vec<String> = args.iter().map(|word| (*word).to_owned()).collect();
        self.launchd
            .call(&args, self.processes.now, &mut self.processes)
    }

    /// Lets launchd catch up with the clock.
    fn tick(&mut self) {
        self.call(&["list"]);
    }
}

#[derive(Debug, Clone)]
struct Shared(Arc<Mutex<Mac>>);

impl Exec for Shared {
    fn run(&self, call: Call) -> BoxFuture<'_, Result<Answer, ManagerError>> {
        Box::pin(async move {
            let mut mac = self.0.lock().unwrap();
            let answer = |code, stdout: &str, stderr: &str| {
                Ok(Answer {
                    code,
                    stdout: stdout.into(),
                    stderr: stderr.into(),
                })
            };
            match mac.faults.pop_front() {
                Some(Fault::Garbage) => {
                    return answer(0, "\u{0}banana = {\n\tstate = floating\n", "");
                }
                Some(Fault::Empty) => return answer(0, "", ""),
                Some(Fault::Refuses) => return answer(1, "", "Operation not permitted\n"),
                Some(Fault::Hangs) => {
                    return Err(ManagerError::TimedOut {
                        command: call.name(),
                        after: call.timeout,
                    });
                }
                None => {}
            }
            if call.program.ends_with("log") {
                return answer(0, "", "");
            }
            let args: Vec<&str> = call.args.iter().map(String::as_str).collect();
            let said = mac.call(&args);
            answer(said.code, &said.out, &said.err)
        })
    }
}

/// A small generator: the seed is all that is needed to see a history again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// One history: a Mac, a backend on it, and what is known to be true.
struct History {
    seed: u64,
    dice: Dice,
    mac: Arc<Mutex<Mac>>,
    dir: PathBuf,
    backend: LaunchctlBackend,
    events: BackendEvents,
    /// The process of each run, as far as it was told.
    pids: HashMap<(String, u64), u32>,
    told: HashSet<(String, u64)>,
    known: u32,
    unknown: u32,
    log: Vec<String>,
}

fn backend(mac: &Arc<Mutex<Mac>>, dir: &Path) -> (LaunchctlBackend, BackendEvents) {
    let options = LaunchctlOptions {
        launchctl: "launchctl".to_owned(),
        job_dirs: vec![dir.join("jobs")],
        ..LaunchctlOptions::new(dir.join("state"), BTreeMap::new())
    };
    let backend = LaunchctlBackend::with(options, Box::new(Shared(Arc::clone(mac))), UID);
    let events = backend.events().unwrap();
    (backend, events)
}

fn spec(instance: &str, argv: &[&str], foreign: &[(&str, &str)]) -> InstanceSpec {
    InstanceSpec {
        project: "shop".to_owned(),
        service: instance.to_owned(),
        instance: instance.to_owned(),
        index: 1,
        argv: argv.iter().map(Into::into).collect(),
        env: vec![("A".into(), "1".into())],
        cwd: "/".into(),
        attributes: Attributes::default(),
        stdin: StdinMode::Null,
        log: LogOptions::default(),
        listen: Vec::new(),
        notify_fd: None,
        detached: false,
        die_with_supervisor: false,
        stop: StopSequence::default(),
        last_run: 0,
        foreign: foreign
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
    }
}

fn label(instance: &str) -> &'static str {
    if instance == "own" { OWN } else { THEIRS }
}

impl History {
    fn new(seed: u64, root: &Path) -> Self {
        let mut dice = Dice(seed);
        let dir = root.join(seed.to_string());
        std::fs::create_dir_all(dir.join("jobs")).unwrap();
        let keep = dice.pick(&[
            "",
            "<key>KeepAlive</key><true/>",
            "<key>KeepAlive</key><dict><key>SuccessfulExit</key><false/></dict>",
            "<key>RunAtLoad</key><true/>",
        ]);
        let plan = plan(&mut dice);
        let text = format!(
            "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict><key>Label</key><string>{THEIRS}</string><key>ProgramArguments</key><array><string>/bin/sh</string><string>{plan}</string></array>{keep}</dict></plist>"
        );
        std::fs::write(dir.join("jobs").join(format!("{THEIRS}.plist")), text).unwrap();
        let mut launchd = Launchd::new(UID);
        launchd.disabled_code = if seed.is_multiple_of(2) { 5 } else { 119 };
        let mac = Arc::new(Mutex::new(Mac {
            launchd,
            processes: Processes::default(),
            faults: VecDeque::new(),
            begun: Instant::now(),
        }));
        let (backend, events) = backend(&mac, &dir);
        Self {
            seed,
            dice,
            mac,
            dir,
            backend,
            events,
            pids: HashMap::new(),
            told: HashSet::new(),
            known: 0,
            unknown: 0,
            log: vec![format!("their job: {plan} {keep}")],
        }
    }

    fn wrong(&self, what: &str) -> ! {
        panic!("seed {}: {what}\n{}", self.seed, self.log.join("\n"));
    }

    async fn step(&mut self) {
        let instance = self.dice.pick(&["own", "own", "theirs"]).to_owned();
        match self.dice.below(20) {
            0..=4 => self.start(&instance).await,
            5..=6 => self.stop(&instance).await,
            7 => {
                let signal = *self
                    .dice
                    .pick(&[&Signal::HUP, &Signal::KILL, &Signal::USR1]);
                let done = self
                    .backend
                    .signal(&instance, signal, SignalTarget::Leader)
                    .await;
                self.log
                    .push(format!("signal {signal} {instance}: {done:?}"));
            }
            8..=10 => {
                let pause = self.dice.below(12_000);
                self.log.push(format!("{pause} ms pass"));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
            11..=15 => self.somebody_else(&instance).await,
            16..=17 => self.crash().await,
            18 => {
                let done = self.backend.forget(&instance).await;
                self.log.push(format!("forget {instance}: {done:?}"));
            }
            _ => {
                let count = 1 + self.dice.below(4);
                for _ in 0..count {
                    let fault = *self.dice.pick(&[
                        &Fault::Garbage,
                        &Fault::Empty,
                        &Fault::Hangs,
                        &Fault::Refuses,
                    ]);
                    self.mac.lock().unwrap().faults.push_back(fault);
                }
                self.log.push(format!("the next {count} calls go wrong"));
            }
        }
        for instance in ["own", "theirs"] {
            self.check(instance).await;
        }
    }

    async fn start(&mut self, instance: &str) {
        let faulty = !self.mac.lock().unwrap().faults.is_empty();
        let plan = plan(&mut self.dice);
        let spec = match instance {
            "own" => spec("own", &["/bin/sh", &plan], &[]),
            _ => spec("theirs", &[], &[("label", THEIRS)]),
        };
        let done = self.backend.start(spec).await;
        self.log.push(format!(
            "start {instance} {plan}: {:?}",
            done.as_ref()
                .map(|s| (s.run, s.pid))
                .map_err(ToString::to_string)
        ));
        match done {
            Ok(started) => drop(
                self.pids
                    .insert((instance.to_owned(), started.run), started.pid),
            ),
            Err(StartError::StillRunning { .. }) => {}
            Err(error) => {
                let mut mac = self.mac.lock().unwrap();
                mac.tick();
                let live = mac.processes.live(OWN);
                drop(mac);
                if instance == "own" && !faulty && !live.is_empty() {
                    self.wrong(&format!("`{error}`, and {live:?} live"));
                }
            }
        }
    }

    async fn stop(&mut self, instance: &str) {
        let faulty = !self.mac.lock().unwrap().faults.is_empty();
        let sequence = self.dice.pick(&[
            "TERM/5s, KILL",
            "TERM/1s, KILL",
            "KILL",
            "INT/2s, TERM/2s, KILL",
        ]);
        let sequence: StopSequence = sequence.parse().unwrap();
        let done = self.backend.stop(instance, sequence).await;
        self.log.push(format!("stop {instance}: {done:?}"));
        let Ok(report) = done else { return };
        let mut mac = self.mac.lock().unwrap();
        mac.tick();
        let live = mac.processes.live(label(instance));
        drop(mac);
        if report.survivors.is_empty() && !live.is_empty() && !faulty {
            self.wrong(&format!("stopped, and {live:?} live"));
        }
    }

    /// Somebody at a terminal. It takes them a moment.
    async fn somebody_else(&mut self, instance: &str) {
        let service = format!("gui/{UID}/{}", label(instance));
        let copy = self.dir.join("copy.plist");
        let what = self.dice.below(8);
        {
            let mut mac = self.mac.lock().unwrap();
            let said = match what {
                0 | 1 => {
                    mac.tick();
                    let live = mac.processes.live(label(instance));
                    let signal = if what == 0 { 9 } else { 15 };
                    live.iter()
                        .for_each(|pid| mac.processes.signal(*pid, signal));
                    format!("killed {live:?} by {signal}")
                }
                2 => format!("bootout: {:?}", mac.call(&["bootout", &service]).code),
                3 => format!(
                    "kickstart: {:?}",
                    mac.call(&["kickstart", "-k", &service]).code
                ),
                4 => format!("kickstart: {:?}", mac.call(&["kickstart", &service]).code),
                5 => format!("disable: {:?}", mac.call(&["disable", &service]).code),
                6 => format!("enable: {:?}", mac.call(&["enable", &service]).code),
                _ => {
                    // A job of their own under our label.
                    let theirs = self.dir.join("jobs").join(format!("{THEIRS}.plist"));
                    let text = std::fs::read_to_string(&theirs).unwrap();
                    let path = if instance == "own" { &copy } else { &theirs };
                    std::fs::write(path, text.replace(THEIRS, label(instance))).unwrap();
                    let path = path.display().to_string();
                    let loaded = mac.call(&["bootstrap", &format!("gui/{UID}"), &path]).code;
                    let kicked = mac.call(&["kickstart", &service]).code;
                    format!("bootstrap: {loaded}, kickstart: {kicked}")
                }
            };
            self.log.push(format!("somebody, {instance}: {said}"));
        }
        tokio::time::sleep(Duration::from_millis(1_100)).await;
    }

    async fn crash(&mut self) {
        let (new, events) = backend(&self.mac, &self.dir);
        self.collect();
        self.backend = new;
        self.events = events;
        self.told.clear();
        if self.dice.below(2) == 0 {
            tokio::time::sleep(Duration::from_millis(self.dice.below(20_000))).await;
        }
        for instance in self.backend.recorded() {
            let adopted = match self.backend.adopt(&instance).await {
                Ok(adopted) => adopted,
                Err(_) => {
                    self.mac.lock().unwrap().faults.clear();
                    self.backend.adopt(&instance).await.unwrap()
                }
            };
            self.log
                .push(format!("crash, adopt {instance}: {adopted:?}"));
            let Some(adopted) = adopted else { continue };
            if let RunState::Running(started) = &adopted.status.state {
                self.pids
                    .insert((instance.clone(), started.run), started.pid);
            }
            self.claims(&instance, &adopted.status);
        }
    }

    /// Takes in what was told.
    fn collect(&mut self) {
        while let Some(event) = self.events.try_next() {
            let key = (event.instance.clone(), event.run);
            match event.kind {
                BackendEventKind::Recovered { started } => {
                    self.log
                        .push(format!("told: {key:?} goes on as {}", started.pid));
                    self.pids.insert(key, started.pid);
                }
                BackendEventKind::Exited(exit) => {
                    self.log.push(format!(
                        "told: {key:?} ended {:?} {:?}",
                        exit.end, exit.unknown
                    ));
                    if !self.told.insert(key.clone()) {
                        self.wrong("an exit was told twice");
                    }
                    match exit.end {
                        Some(_) => self.known += 1,
                        None => self.unknown += 1,
                    }
                    self.ended(&key, exit.end);
                }
                _ => {}
            }
        }
    }

    fn ended(&self, key: &(String, u64), end: Option<ProcessEnd>) {
        let mac = self.mac.lock().unwrap();
        let Some(pid) = self.pids.get(key).copied().filter(|pid| *pid > 0) else {
            return;
        };
        let truth = mac.processes.end(pid);
        drop(mac);
        let Some(raw) = truth else {
            self.wrong(&format!("{key:?} ended, and {pid} lives"))
        };
        if end.is_some_and(|end| Some(end) != ProcessEnd::from_wait_status(raw)) {
            self.wrong(&format!("{key:?} ended {end:?}, and {pid} ended {raw:#x}"));
        }
    }

    async fn check(&mut self, instance: &str) {
        let status = self.backend.status(instance).await;
        self.collect();
        if let Ok(status) = status {
            self.claims(instance, &status);
        }
    }

    fn claims(&mut self, instance: &str, status: &InstanceStatus) {
        match &status.state {
            RunState::Running(started) if status.degraded.is_empty() && started.pid > 0 => {
                let mut mac = self.mac.lock().unwrap();
                mac.tick();
                let dead = mac.processes.end(started.pid);
                drop(mac);
                if dead.is_some() {
                    self.wrong(&format!(
                        "{instance} runs as {}, which ended {dead:?}",
                        started.pid
                    ));
                }
            }
            RunState::Exited(exit) => self.ended(&(instance.to_owned(), exit.run), exit.end),
            _ => {}
        }
    }
}

fn plan(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => "!".to_owned(),
        1 => "missing".to_owned(),
        2 => "0@0".to_owned(),
        3 => format!("0@{}", dice.below(5_000)),
        4 => format!("{}@{}", 1 + dice.below(99), dice.below(5_000)),
        _ => "-".to_owned(),
    }
}

/// Where files cost least: there are many.
fn root() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

#[tokio::test(start_paused = true)]
async fn random_histories_hold_no_wrong_claim() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        text.parse::<u64>().ok()
    };
    let full = std::env::var_os("PROC_TEST_FULL").is_some();
    let asked = number("PROC_TEST_HISTORIES").unwrap_or(if full { 10_000 } else { 1_000 });
    let first = number("PROC_TEST_SEED").unwrap_or(0);
    let (mut known, mut unknown) = (0, 0);
    let dir = root();
    for seed in first..first + asked {
        let mut history = History::new(seed, dir.path());
        for _ in 0..8 + seed % 13 {
            history.step().await;
        }
        known += history.known;
        unknown += history.unknown;
        std::fs::remove_dir_all(dir.path().join(seed.to_string())).unwrap();
    }
    eprintln!("{known} ends were told, {unknown} could not be");
    // One that never says anything would be true as well.
    assert!(known > unknown, "{known} ends were known, {unknown} not");
}

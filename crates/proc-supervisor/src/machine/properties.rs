//! What holds whatever happens, in whatever order: 500 sequences of up to 80 events, and a
//! million in a release build with `PROC_TEST_FULL=1` (`cargo xtask test --full`).
//!
//! The world here keeps books of its own: which process lives, which restarts nobody asked for and
//! when, so that the machine is held to them and not to its own counters.

use std::time::Duration;

use proc_hooks::Phase as HookPhase;
use proc_policy::{CrashLoop, Jitter, Mode, RestartPolicy};
use proptest::prelude::*;

use super::{Action, Event, Exit, HookSet, Machine, Phase, Rules, Timer, Transition};
use crate::state::State;

/// One thing that the world does; what the machine waits for is answered by [`World`].
#[derive(Debug, Clone)]
enum Input {
    Start,
    Continue,
    Stop,
    Restart,
    Hasten,
    Needs(bool),
    AnswerHooks(bool),
    AnswerSpawn(bool),
    AnswerEnd(Ending),
    LeaderEnds(i32),
    LateExit,
    Ready(bool),
    Startup,
    Unhealthy,
    Recycle,
    Lost,
    Recovered,
    Extend(u64),
    Time(u64),
    StrayExit,
}

/// How the end of a tree is told.
#[derive(Debug, Clone, Copy)]
enum Ending {
    ExitFirst,
    /// The proof comes before the exit, which may never come.
    ProofFirst,
    Survivors,
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        7 => Just(Ending::ExitFirst),
        2 => Just(Ending::ProofFirst),
        1 => Just(Ending::Survivors),
    ]
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        2 => Just(Input::Start),
        1 => Just(Input::Continue),
        2 => Just(Input::Stop),
        2 => Just(Input::Restart),
        1 => Just(Input::Hasten),
        4 => any::<bool>().prop_map(Input::Needs),
        4 => any::<bool>().prop_map(Input::AnswerHooks),
        6 => prop::bool::weighted(0.8).prop_map(Input::AnswerSpawn),
        6 => ending().prop_map(Input::AnswerEnd),
        4 => (0..3).prop_map(Input::LeaderEnds),
        2 => Just(Input::LateExit),
        2 => any::<bool>().prop_map(Input::Ready),
        2 => Just(Input::Startup),
        1 => Just(Input::Unhealthy),
        1 => Just(Input::Recycle),
        1 => Just(Input::Lost),
        1 => Just(Input::Recovered),
        1 => (0_u64..90_000).prop_map(Input::Extend),
        6 => (0_u64..40_000).prop_map(Input::Time),
        1 => Just(Input::StrayExit),
    ]
}

fn rules() -> impl Strategy<Value = Rules> {
    let flags = any::<[bool; 14]>();
    let mode = prop_oneof![Just(Mode::Never), Just(Mode::OnFailure), Just(Mode::Always)];
    (flags, mode, 0_u32..4, 0_u32..4).prop_map(|(flags, mode, max, startup_max)| Rules {
        policy: RestartPolicy {
            mode,
            max: Some(max),
            startup_max: Some(startup_max),
            reset_after: None,
            count_clean: true,
            jitter: Jitter::Equal,
            cool_down: flags[12].then_some(Duration::from_secs(50)),
            crash_loop: flags[13].then_some(CrashLoop {
                count: 3,
                within: Duration::from_secs(30),
            }),
            ..RestartPolicy::default()
        },
        readiness: flags[0],
        startup: flags[1],
        detached: flags[2],
        oneshot: flags[3],
        scheduled: flags[4],
        overlap_replaces: flags[9],
        overlap_allows: flags[10],
        max_age: flags[11].then_some(Duration::from_secs(20)),
        hooks: HookSet {
            pre_start: flags[5],
            post_start: flags[6],
            pre_stop: flags[7],
            post_stop: flags[8],
        },
        ..Rules::default()
    })
}

/// The restarts that nobody asked for, since somebody last did.
#[derive(Debug, Default)]
struct Books {
    restarts: u32,
    startup_failures: u32,
    crashes: Vec<Duration>,
}

impl Books {
    /// Notes that the machine has decided to restart, and checks every budget of the policy.
    fn restart(&mut self, after: &Transition, policy: &RestartPolicy, now: Duration) {
        self.restarts += 1;
        assert!(self.restarts <= policy.max.unwrap_or(u32::MAX), "`max`");
        let runtime = after.exit.as_ref().map(|exit| exit.runtime);
        let startup = matches!(after.kind, "spawn" | "timeout")
            || runtime.is_none_or(|runtime| runtime < policy.startup_grace);
        let clean = after.kind == "exit" && after.exit.as_ref().is_some_and(|e| e.code == Some(0));
        if !startup {
            self.startup_failures = 0;
        }
        if clean {
            return;
        }
        self.startup_failures += u32::from(startup);
        let most = policy.startup_max.unwrap_or(u32::MAX);
        assert!(self.startup_failures <= most, "`startup_max`");
        self.crashes.push(now);
        if let Some(guard) = policy.crash_loop {
            self.crashes.retain(|at| now - *at <= guard.within);
            let most = usize::try_from(guard.count).expect("it is small");
            assert!(self.crashes.len() < most, "`crash_loop`");
        }
    }
}

/// A backend and a clock that do as they are told, one answer at a time.
struct World {
    machine: Machine,
    now: Duration,
    needs: bool,
    hooks: Option<HookPhase>,
    spawning: bool,
    ending: bool,
    leader: Option<u64>,
    /// A run that is over and whose exit was not told yet.
    late: Option<u64>,
    runs: u64,
    /// Exits that happened, and exits that were told.
    exits: u64,
    told: u64,
    last_state: State,
    books: Books,
}

impl World {
    fn new(rules: Rules) -> Self {
        Self {
            machine: Machine::new(rules),
            now: Duration::from_secs(1_000_000),
            needs: false,
            hooks: None,
            spawning: false,
            ending: false,
            leader: None,
            late: None,
            runs: 0,
            exits: 0,
            told: 0,
            last_state: State::Stopped,
            books: Books::default(),
        }
    }

    fn apply(&mut self, input: &Input) {
        match input {
            Input::Start | Input::Continue | Input::Stop | Input::Restart => self.ask(input),
            Input::Hasten => self.step(Event::Hasten),
            Input::Needs(hold) => self.needs = *hold,
            Input::AnswerHooks(ok) => self.answer_hooks(*ok),
            Input::AnswerSpawn(ok) => self.answer_spawn(*ok),
            Input::AnswerEnd(how) => self.answer_end(*how),
            Input::LeaderEnds(code) => self.leader_ends(*code),
            Input::LateExit => self.late_exit(),
            Input::Ready(true) => self.step(Event::Ready { evidence: None }),
            Input::Ready(false) => self.step(Event::NotReady {
                evidence: "no".to_owned(),
            }),
            Input::Startup => self.step(Event::StartupPassed),
            Input::Unhealthy => self.step(Event::Unhealthy {
                evidence: "no".to_owned(),
            }),
            Input::Recycle => self.step(Event::Recycle {
                kind: "watch",
                evidence: "a file changed".to_owned(),
            }),
            Input::Lost => self.step(Event::Lost {
                cause: "killed".to_owned(),
            }),
            Input::Recovered => self.step(Event::Recovered),
            Input::Extend(ms) => self.step(Event::Extend(Duration::from_millis(*ms))),
            Input::Time(ms) => self.pass(Duration::from_millis(*ms)),
            Input::StrayExit => {
                let exit = self.exit(1);
                self.step(Event::Exited {
                    run: 1_000_000,
                    exit,
                });
            }
        }
        self.tell_needs();
    }

    /// What people and a supervisor that goes on ask for.
    fn ask(&mut self, input: &Input) {
        match input {
            Input::Start => {
                self.books = Books::default();
                self.step(Event::Start {
                    by_hand: true,
                    by: None,
                });
            }
            Input::Continue => self.step(Event::Start {
                by_hand: false,
                by: None,
            }),
            Input::Restart => {
                self.books = Books::default();
                self.step(Event::Restart {
                    kind: "restart",
                    by: None,
                });
            }
            _ => self.step(Event::Stop {
                kind: "stop",
                by: None,
            }),
        }
    }

    fn tell_needs(&mut self) {
        self.step(if self.needs {
            Event::Gate
        } else {
            Event::Waits {
                kind: "dependency",
                reason: "waits".to_owned(),
            }
        });
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((due, timer)) = self
            .machine
            .next_deadline()
            .filter(|(due, _)| *due <= until)
        {
            self.now = self.now.max(due);
            if timer == Timer::Retry && self.machine.phase() == Phase::Failed {
                // The cool-down is over: everything begins anew.
                self.books = Books::default();
            }
            self.step(Event::Due(timer));
            self.tell_needs();
        }
        self.now = until;
    }

    fn answer_hooks(&mut self, ok: bool) {
        if let Some(phase) = self.hooks.take() {
            let result = if ok { Ok(()) } else { Err("hook".to_owned()) };
            self.step(Event::HooksDone(phase, result));
        }
    }

    fn answer_spawn(&mut self, ok: bool) {
        if !std::mem::take(&mut self.spawning) {
            return;
        }
        if ok {
            self.runs += 1;
            self.leader = Some(self.runs);
            self.step(Event::Spawned { run: self.runs });
        } else {
            let failed = Event::SpawnFailed {
                reason: "no".to_owned(),
                code: 127,
                random: 0.3,
            };
            self.step(failed);
        }
    }

    fn answer_end(&mut self, how: Ending) {
        if !std::mem::take(&mut self.ending) {
            return;
        }
        match how {
            Ending::ExitFirst => {
                self.leader_ends(143);
                self.late_exit();
            }
            Ending::ProofFirst => self.late = self.leader.take().or(self.late),
            Ending::Survivors => {}
        }
        let survivors = matches!(how, Ending::Survivors).then(|| "9 (x)".to_owned());
        self.step(Event::TreeGone {
            survivors,
            random: 0.7,
        });
    }

    /// Tells an exit that the proof of its tree's end has overtaken.
    fn late_exit(&mut self) {
        if let Some(run) = self.late.take() {
            // The machine may have stopped waiting for it.
            let awaited = self.machine.is_live() && self.machine.run() == Some(run);
            self.exits += u64::from(awaited);
            let exit = self.exit(143);
            self.step(Event::Exited { run, exit });
        }
    }

    fn leader_ends(&mut self, code: i32) {
        if let Some(run) = self.leader.take() {
            self.exits += 1;
            let exit = self.exit(code);
            self.step(Event::Exited { run, exit });
        }
    }

    fn exit(&self, code: i32) -> Exit {
        Exit {
            code: Some(code),
            signal: None,
            core_dumped: false,
            oom: false,
            at_ms: 0,
            runtime: Duration::from_secs(u64::from(code == 1) * 10),
            unknown: None,
        }
    }

    fn step(&mut self, event: Event) {
        let gate = event == Event::Gate;
        assert!(!gate || self.needs, "the world itself opens no gate early");
        let hooks_done = matches!(event, Event::HooksDone(HookPhase::PreStart, Ok(())));
        for action in self.machine.step(event, self.now) {
            match action {
                Action::Hooks(phase) => {
                    assert!(gate || phase != HookPhase::PreStart, "hooks before needs");
                    self.hooks = Some(phase);
                }
                Action::CancelHooks => self.hooks = None,
                Action::Spawn => {
                    // Its needs hold now, or they held when its hooks began.
                    assert!(gate || hooks_done, "started before its needs held");
                    assert!(!self.spawning && self.leader.is_none(), "a second copy");
                    self.spawning = true;
                }
                Action::End => self.ending = true,
                Action::Watch | Action::Unwatch | Action::Another => {}
                Action::Schedule => self.machine_next_at(),
                Action::Tell(transition) => self.hear(&transition),
            }
        }
        self.invariants();
    }

    fn hear(&mut self, transition: &Transition) {
        let from = transition.from;
        assert_eq!(from, self.last_state, "a gap between transitions");
        self.last_state = transition.to;
        self.told += u64::from(transition.exit.is_some());
        if transition.to == State::Backoff && transition.delay.is_some() {
            let policy = &self.machine.rules().policy;
            self.books.restart(transition, policy, self.now);
        }
    }

    fn machine_next_at(&mut self) {
        let due = self.now + Duration::from_secs(3600);
        self.machine.step(Event::NextAt(due), self.now);
    }

    fn invariants(&self) {
        let machine = &self.machine;
        if matches!(machine.state(), State::Running | State::Unattended) || machine.is_ready() {
            assert!(
                self.leader.is_some() && machine.is_live(),
                "{:?} without a live child",
                machine.phase()
            );
        }
        assert!(self.told <= self.exits, "an exit was told twice");
    }

    /// Answers everything until nothing is left to answer.
    fn quiesce(&mut self) {
        for _ in 0..20 {
            self.answer_hooks(true);
            self.answer_spawn(true);
            self.answer_end(Ending::ExitFirst);
            self.pass(Duration::from_secs(6));
        }
    }
}

/// A share of the million; all of it when the long sweeps are wanted.
fn config() -> ProptestConfig {
    let full = std::env::var_os("PROC_TEST_FULL").is_some();
    ProptestConfig::with_cases(match (full, cfg!(debug_assertions)) {
        (true, false) => 1_000_000,
        (true, true) => 5_000,
        (false, _) => 500,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn holds_for_every_sequence(
        rules in rules(),
        inputs in prop::collection::vec(input(), 1..80),
    ) {
        let mut world = World::new(rules);
        for input in &inputs {
            world.apply(input);
        }
        // From wherever this led: a stop always reaches down.
        world.step(Event::Stop { kind: "stop", by: None });
        world.needs = false;
        world.quiesce();
        prop_assert!(world.machine.state().is_down(), "{:?}", world.machine.phase());
        prop_assert!(!world.spawning);
        prop_assert!(world.leader.is_none() || world.machine.state() == State::Failed);
        if world.leader.is_none() {
            prop_assert_eq!(world.told, world.exits, "every exit is told exactly once");
        }
        // And a start by hand leaves it again.
        world.step(Event::Start { by_hand: true, by: None });
        let phase = world.machine.phase();
        let left = matches!(phase, Phase::Pending | Phase::Scheduled);
        // What survived the stop is ended first.
        prop_assert!(left || (phase == Phase::Ending && world.leader.is_some()), "{:?}", phase);
    }
}

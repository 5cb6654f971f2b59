//! Runs the hooks of a phase.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::command::{Command, Ended, Stopped};
use crate::hook::{Hook, Mode};
use crate::outcome::{HookEnd, HookOutcome, PhaseOutcome};
use crate::phase::Phase;

/// The most asynchronous hooks of one runner that may run at once.
pub const MAX_BACKGROUND: usize = 256;

/// What the hooks of one instance run in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HookContext {
    /// The name of the instance: `PROC_NAME`.
    pub name: String,
    /// The service's working directory; a hook's own is relative to it.
    pub cwd: PathBuf,
    /// The service's whole environment; nothing is inherited from this process.
    pub env: BTreeMap<OsString, OsString>,
}

/// Runs hooks, and looks after those that run beside their service.
///
/// Dropping it, or its futures, ends the trees of the hooks that still run.
#[derive(Debug)]
pub struct Runner {
    background: Mutex<JoinSet<()>>,
    outcomes: mpsc::Sender<HookOutcome>,
    cancel: watch::Sender<bool>,
}

impl Runner {
    /// Returns a runner and the queue of its asynchronous hooks' outcomes; a hook waits with its
    /// outcome while the queue is full, and without a reader outcomes are dropped.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<HookOutcome>) {
        let (outcomes, queue) = mpsc::channel(MAX_BACKGROUND);
        let cancel = watch::Sender::new(false);
        (
            Runner {
                background: Mutex::default(),
                outcomes,
                cancel,
            },
            queue,
        )
    }

    /// Runs the hooks of one phase in order: waits for the blocking ones, starts the asynchronous
    /// ones, and stops at the first that fails the phase. Must be called within a tokio runtime.
    ///
    /// Dropping the future ends the tree of the hook that runs; asynchronous ones go on.
    pub async fn run(&self, phase: Phase, hooks: &[Hook], context: &HookContext) -> PhaseOutcome {
        let mut done = PhaseOutcome {
            phase,
            outcomes: Vec::new(),
            started: Vec::new(),
        };
        for hook in hooks {
            let job = Job::new(phase, hook, context, self.cancel.subscribe());
            match hook.mode {
                Mode::Async => match self.start(job) {
                    Ok(()) => done.started.push(hook.name.clone()),
                    Err(refused) => done.outcomes.push(*refused),
                },
                Mode::Blocking => {
                    let outcome = job.run().await;
                    let failed = outcome.fails_phase();
                    done.outcomes.push(outcome);
                    if failed {
                        break;
                    }
                }
            }
        }
        done
    }

    fn start(&self, job: Job) -> Result<(), Box<HookOutcome>> {
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while background.try_join_next().is_some() {}
        if background.len() >= MAX_BACKGROUND {
            let reason = format!("{MAX_BACKGROUND} asynchronous hooks are running already");
            return Err(Box::new(job.outcome(
                0,
                HookEnd::NotRun { reason },
                Instant::now(),
            )));
        }
        let outcomes = self.outcomes.clone();
        background.spawn(async move {
            let outcome = job.run().await;
            // Without a reader nobody wants to know.
            let _ignored = outcomes.send(outcome).await;
        });
        Ok(())
    }

    /// Returns how many asynchronous hooks run.
    #[must_use]
    pub fn running(&self) -> usize {
        let mut background = self
            .background
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while background.try_join_next().is_some() {}
        background.len()
    }

    /// Waits for the end of every asynchronous hook that has been started.
    pub async fn finish(self) {
        let Runner {
            background,
            outcomes,
            cancel,
        } = self;
        drop(outcomes);
        let mut background = background
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        while background.join_next().await.is_some() {}
        drop(cancel);
    }

    /// Ends the tree of every hook that runs and waits until they are gone.
    pub async fn cancel(self) {
        self.cancel.send_replace(true);
        self.finish().await;
    }
}

/// One hook with everything it needs.
struct Job {
    phase: Phase,
    hook: Hook,
    cwd: PathBuf,
    env: BTreeMap<OsString, OsString>,
    cancel: watch::Receiver<bool>,
}

impl Job {
    fn new(
        phase: Phase,
        hook: &Hook,
        context: &HookContext,
        cancel: watch::Receiver<bool>,
    ) -> Self {
        let mut env = context.env.clone();
        env.extend(
            hook.env
                .iter()
                .map(|(key, value)| (key.into(), value.into())),
        );
        for (key, value) in [
            ("PROC_HOOK_NAME", hook.name.as_str()),
            ("PROC_HOOK_PHASE", phase.as_str()),
            ("PROC_NAME", context.name.as_str()),
        ] {
            env.insert(key.into(), value.into());
        }
        let cwd = match &hook.cwd {
            Some(below) => context.cwd.join(below),
            None => context.cwd.clone(),
        };
        Job {
            phase,
            hook: hook.clone(),
            cwd,
            env,
            cancel,
        }
    }

    async fn run(self) -> HookOutcome {
        let begin = Instant::now();
        let mut attempt = 1;
        loop {
            let (end, output, dropped) = self.attempt().await;
            let last = end.success()
                || end == HookEnd::Cancelled
                || attempt >= self.hook.attempts()
                || !self.pause().await;
            if last {
                let outcome = self.outcome(attempt, end, begin);
                return HookOutcome {
                    output,
                    dropped_bytes: dropped,
                    ..outcome
                };
            }
            attempt += 1;
        }
    }

    async fn attempt(&self) -> (HookEnd, Vec<u8>, u64) {
        let command = Command {
            line: &self.hook.command,
            cwd: &self.cwd,
            env: &self.env,
        };
        let cancelled = cancelled(self.cancel.clone());
        match command.run(self.hook.effective_timeout(), cancelled).await {
            Err(error) => (
                HookEnd::NotRun {
                    reason: error.to_string(),
                },
                Vec::new(),
                0,
            ),
            Ok(Ended {
                end,
                output,
                dropped,
            }) => {
                let end = match end {
                    Ok(end) => HookEnd::Ended(end),
                    Err(Stopped::TimedOut) => HookEnd::TimedOut,
                    Err(Stopped::Cancelled) => HookEnd::Cancelled,
                };
                (end, output, dropped)
            }
        }
    }

    /// Waits before a retry; `false` if it is not wanted any more.
    async fn pause(&self) -> bool {
        tokio::select! {
            () = sleep(self.hook.retry_delay) => true,
            () = cancelled(self.cancel.clone()) => false,
        }
    }

    fn outcome(&self, attempts: u32, end: HookEnd, begin: Instant) -> HookOutcome {
        HookOutcome {
            name: self.hook.name.clone(),
            phase: self.phase,
            mode: self.hook.mode,
            on_failure: self.hook.on_failure,
            attempts,
            end,
            output: Vec::new(),
            dropped_bytes: 0,
            duration: begin.elapsed(),
        }
    }
}

/// Is done when the runner cancels, or is gone.
async fn cancelled(mut cancel: watch::Receiver<bool>) {
    let _gone = cancel.wait_for(|cancelled| *cancelled).await;
}

//! Hooks, and the command that may go before a stop's signals.

use std::time::Duration;

use proc_core::{Signal, StopSequence, StopStep};
use proc_hooks::{Hook, HookContext, HookOutcome, Phase, Runner};
use proc_spec::{Command, instance_name};

use super::{Driver, Msg};
use crate::machine::Event;

/// The longest that a stop command may take where its grace is "for ever".
const LONGEST: Duration = Duration::from_secs(3600);

impl Driver {
    /// Runs a phase's hooks beside the loop; the answer is a [`Msg::Hooks`].
    pub(super) fn run_hooks(&mut self, key: &str, phase: Phase) {
        let (Some(spec), Some(context)) = (self.spec_of(key), self.hook_context(key)) else {
            return;
        };
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let job = instance.hooks.take().map_or(0, |(job, _)| job) + 1;
        let inbox = self.inbox.clone();
        let key = key.to_owned();
        let task = tokio::spawn(async move {
            let (runner, mut outcomes) = Runner::new();
            let done = runner.run(phase, spec.hooks.phase(phase), &context).await;
            let result = match done.failure() {
                Some(failed) => Err(told(failed)),
                None => Ok(()),
            };
            // The loop may have ended.
            let _gone = inbox
                .send(Msg::Hooks {
                    key,
                    job,
                    phase,
                    result,
                })
                .await;
            // Asynchronous hooks go on for as long as they may; nobody waits for them.
            let drain = async { while outcomes.recv().await.is_some() {} };
            tokio::join!(runner.finish(), drain);
        });
        instance.hooks = Some((job, task));
    }

    pub(super) fn hooks_done(
        &mut self,
        key: &str,
        job: u64,
        phase: Phase,
        result: Result<(), String>,
    ) {
        let current = self
            .instances
            .get(key)
            .and_then(|instance| instance.hooks.as_ref());
        if current.is_some_and(|(current, _)| *current == job) {
            self.drive(key, Event::HooksDone(phase, result));
        }
    }

    /// Ends the hooks that run, trees and all.
    pub(super) fn cancel_hooks(&mut self, key: &str) {
        if let Some((job, task)) = self.instances.get_mut(key).and_then(|i| i.hooks.as_mut()) {
            task.abort();
            // Whatever it has still sent is of the past.
            *job += 1;
        }
    }

    pub(super) fn hook_context(&self, key: &str) -> Option<HookContext> {
        let spec = self.spec_of(key)?;
        let index = self.instances.get(key)?.index;
        Some(HookContext {
            // Not the key: that tells a replacement from what it replaces, and may be an older name.
            name: instance_name(&spec.name, index, spec.instances),
            env: self.environment(key).into_iter().collect(),
            cwd: spec.cwd,
        })
    }

    /// Returns the service's stop command, ready to run.
    pub(super) fn stop_command(&self, key: &str) -> Option<StopCommand> {
        let stop = self.spec_of(key)?.stop;
        let line = match stop.command.as_ref()? {
            command @ Command::Argv(_) => command.display(),
            Command::Shell(line) | Command::Script(line) => line.clone(),
        };
        let mut hook = Hook::new("stop", line);
        hook.timeout = stop.grace.unwrap_or(LONGEST);
        Some(StopCommand {
            hook,
            context: self.hook_context(key)?,
            grace: stop.grace,
        })
    }
}

/// Says how a hook failed, and what it said last.
fn told(failed: &HookOutcome) -> String {
    match failed.last_line() {
        Some(line) => format!("{failed}: {line}"),
        None => failed.to_string(),
    }
}

/// A command that stops a service.
pub(super) struct StopCommand {
    hook: Hook,
    context: HookContext,
    grace: Option<Duration>,
}

impl StopCommand {
    /// Runs it, and returns what is to follow: the steps, after what is left of the grace if the
    /// command succeeded.
    pub(super) async fn run(self, steps: StopSequence) -> StopSequence {
        let begin = tokio::time::Instant::now();
        let (runner, _outcomes) = Runner::new();
        let hooks = [self.hook];
        let done = runner.run(Phase::PreStop, &hooks, &self.context).await;
        if done.failure().is_some() {
            return steps;
        }
        let left = self
            .grace
            .map(|grace| grace.saturating_sub(begin.elapsed()));
        let wait = StopStep {
            signal: Signal::PROBE,
            wait: left,
        };
        StopSequence {
            steps: std::iter::once(wait).chain(steps.steps).collect(),
        }
    }
}

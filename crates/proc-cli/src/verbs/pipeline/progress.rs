//! What happens, while it happens: one live line on a terminal, plain lines elsewhere. On stderr.

use std::io::{IsTerminal, Write};

use proc_run::{Pipeline, PipelineEvent, TaskOutcome, TaskStatus};

use super::millis;
use crate::args::Globals;
use crate::render;

/// The most names on the live line.
const SHOWN: usize = 6;

/// Tells what happens to the tasks.
pub(super) struct Progress {
    total: usize,
    settled: usize,
    running: Vec<(usize, String)>,
    live: bool,
    silent: bool,
}

impl Progress {
    pub(super) fn new(pipeline: &Pipeline, globals: &Globals) -> Self {
        let live = std::io::stderr().is_terminal();
        let silent = globals.quiet || globals.json;
        Progress {
            total: pipeline.tasks().len(),
            settled: 0,
            running: Vec::new(),
            live,
            silent,
        }
    }

    pub(super) fn show(&mut self, event: PipelineEvent<'_>) {
        match event {
            PipelineEvent::Started { position, task } => {
                self.running.push((position, task.name.clone()));
                if !self.live && !self.silent {
                    render::note(&format!("start {}", task.name));
                }
            }
            PipelineEvent::Settled { position, outcome } => {
                self.settled += 1;
                self.running.retain(|(running, _)| *running != position);
                if !self.silent {
                    self.clear();
                    settled(outcome);
                }
            }
        }
        self.draw();
    }

    /// Removes the live line.
    pub(super) fn finish(&mut self) {
        self.clear();
        self.silent = true;
    }

    fn clear(&self) {
        if self.live && !self.silent {
            // Nobody left to tell when stderr is gone.
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    fn draw(&self) {
        if !self.live || self.silent || self.running.is_empty() {
            return;
        }
        let mut names: Vec<_> = self
            .running
            .iter()
            .take(SHOWN)
            .map(|(_, name)| render::escape(name))
            .collect();
        if self.running.len() > SHOWN {
            names.push(format!("and {} more", self.running.len() - SHOWN).into());
        }
        let line = format!("[{}/{}] {}", self.settled, self.total, names.join(", "));
        let short: String = line.chars().take(78).collect();
        let _ = write!(std::io::stderr(), "\r\x1b[K{short}");
    }
}

fn settled(outcome: &TaskOutcome) {
    let name = &outcome.name;
    for line in outcome.output.to_text().lines() {
        render::note(&format!("{name} | {line}"));
    }
    let word = word(outcome);
    let time = render::duration_ms(millis(outcome.duration));
    render::note(&match (&outcome.reason, outcome.status) {
        (None, _) => format!("{word} {name} ({time})"),
        (Some(reason), TaskStatus::Skipped) => format!("{word} {name}: {reason}"),
        (Some(reason), _) => format!("{word} {name} ({time}): {reason}"),
    });
}

/// Returns the word for what became of a task.
pub(super) fn word(outcome: &TaskOutcome) -> &'static str {
    match outcome.status {
        TaskStatus::Passed => "passed",
        TaskStatus::Failed => "failed",
        TaskStatus::Skipped => "skipped",
    }
}

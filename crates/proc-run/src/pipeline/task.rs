//! What a task and a pipeline are: plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::command::Command;
use crate::environment::{Environment, EnvironmentError};
use crate::pipeline::runner::PipelineMode;

/// One task of a pipeline.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The name, unique in its pipeline.
    pub name: String,
    /// A command line, run by `/bin/sh -c`; either this or `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// A program and its arguments, no shell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<PathBuf>,
    /// Variables on top of this process's environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The tasks that must have passed before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// Whether the others go on as if it had passed when it fails.
    #[serde(default)]
    pub allow_failure: bool,
    /// How long it may take; `None` is for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Task {
    /// Returns a task that lets a shell run a line.
    pub fn shell(name: impl Into<String>, line: impl Into<String>) -> Self {
        Task {
            name: name.into(),
            command: Some(line.into()),
            ..Task::default()
        }
    }

    /// Returns a task that runs a program.
    pub fn argv(
        name: impl Into<String>,
        argv: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let argv = argv.into_iter().map(Into::into).collect();
        Task {
            name: name.into(),
            argv,
            ..Task::default()
        }
    }

    /// Has it run after others have passed.
    #[must_use]
    pub fn after(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.after = names.into_iter().map(Into::into).collect();
        self
    }

    /// Says whether the others go on when it fails.
    #[must_use]
    pub fn allow_failure(mut self, allow: bool) -> Self {
        self.allow_failure = allow;
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns its command; `None` if it names none, or both kinds.
    pub(crate) fn to_command(&self) -> Result<Option<Command>, EnvironmentError> {
        let command = match (&self.command, self.argv.split_first()) {
            (Some(line), None) if !line.trim().is_empty() => Command::shell(line),
            (None, Some((program, args))) if !program.is_empty() => {
                Command::new(program).args(args)
            }
            _ => return Ok(None),
        };
        let mut environment = Environment::inherited();
        for (name, value) in &self.env {
            environment.set(name, value)?;
        }
        let command = command.environment(environment);
        Ok(Some(match &self.cwd {
            Some(cwd) => command.cwd(cwd),
            None => command,
        }))
    }
}

/// Tasks whose names and dependencies have been checked: it can be run.
#[derive(Debug, Clone)]
pub struct Pipeline {
    pub(crate) tasks: Vec<Task>,
    pub(crate) commands: Vec<Command>,
    /// For each task, the positions of those it comes after.
    pub(crate) needs: Vec<Vec<usize>>,
}

impl Pipeline {
    /// Returns the tasks in the order they were given.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// Returns what the task at a position runs.
    ///
    /// # Panics
    /// When there is no such position.
    pub fn command(&self, position: usize) -> &Command {
        &self.commands[position]
    }

    /// Returns, for each task, the positions of those it waits for when the pipeline is run like that.
    #[must_use]
    pub fn waits_for(&self, mode: PipelineMode) -> Vec<Vec<usize>> {
        let count = self.tasks.len();
        match mode {
            PipelineMode::Graph => self.needs.clone(),
            PipelineMode::Parallel => vec![Vec::new(); count],
            PipelineMode::Sequential => {
                let before = |task: usize| task.checked_sub(1).into_iter().collect();
                (0..count).map(before).collect()
            }
        }
    }
}

//! What is to be run: program, arguments, directory, environment, standard input. Plain data.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proc_core::{Spawn, Stdio};

use crate::environment::Environment;

/// Where a command reads from.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Input {
    /// Nothing: `/dev/null`.
    #[default]
    Null,
    /// The standard input of this process.
    Inherit,
    /// An open file; it stays open here.
    File(Arc<File>),
}

/// A command: what a shell line would be, in parts.
#[derive(Debug, Clone)]
#[must_use]
pub struct Command {
    program: OsString,
    args: Vec<OsString>,
    cwd: Option<PathBuf>,
    environment: Environment,
    input: Input,
    foreground: bool,
    fds: Vec<(Arc<OwnedFd>, i32)>,
}

impl Command {
    /// Returns a command that runs `program`: a path if it holds a `/`, else a name in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Command {
            program: program.into(),
            args: Vec::new(),
            cwd: None,
            environment: Environment::inherited(),
            input: Input::Null,
            foreground: false,
            fds: Vec::new(),
        }
    }

    /// Returns a command that lets `/bin/sh -c` run a line.
    pub fn shell(line: impl Into<OsString>) -> Self {
        Command::new("/bin/sh").arg("-c").arg(line)
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets the working directory.
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// Sets the environment.
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Sets the standard input.
    pub fn input(mut self, input: Input) -> Self {
        self.input = input;
        self
    }

    /// Says whether it stays in the process group of this process, so that the terminal's Ctrl-C
    /// and job control reach it; by default it leads a group of its own.
    pub fn foreground(mut self, foreground: bool) -> Self {
        self.foreground = foreground;
        self
    }

    pub(crate) fn is_foreground(&self) -> bool {
        self.foreground
    }

    /// Gives it a further descriptor, under `number`.
    pub(crate) fn fd(mut self, fd: Arc<OwnedFd>, number: i32) -> Self {
        self.fds.push((fd, number));
        self
    }

    /// Returns the program as given.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Returns the arguments.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.args
    }

    /// Returns the working directory, if one was set.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.cwd.as_deref()
    }

    /// Returns every variable that it finds, what it inherits from this process included.
    #[must_use]
    pub fn variables(&self) -> BTreeMap<OsString, OsString> {
        let inherited = std::env::vars_os().filter(|_| self.environment.inherits());
        let set = self.environment.iter();
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        inherited.chain(set).collect()
    }

    /// Returns the builder that starts it, but for its output.
    pub(crate) fn spawn(&self) -> io::Result<Spawn> {
        let mut spawn = Spawn::new(&self.program)
            .args(&self.args)
            .group(!self.foreground);
        if let Some(cwd) = &self.cwd {
            spawn = spawn.cwd(cwd);
        }
        if !self.environment.inherits() {
            spawn = spawn.env_clear();
        }
        spawn = spawn.envs(self.environment.iter());
        spawn = spawn.stdin(match &self.input {
            Input::Null => Stdio::Null,
            Input::Inherit => Stdio::Inherit,
            Input::File(file) => Stdio::File(file.try_clone()?.into()),
        });
        let mut fds = Vec::with_capacity(self.fds.len());
        for (fd, number) in &self.fds {
            fds.push((fd.try_clone()?, *number));
        }
        Ok(spawn.fds(fds))
    }
}

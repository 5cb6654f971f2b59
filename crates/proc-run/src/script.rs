//! Bash scripts: in a file that is removed in every outcome, or inline, without any disk.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempPath;
use thiserror::Error;

use crate::command::{Command, Input};
use crate::environment::Environment;
use crate::exclusive::Held;
use crate::program::{FindError, Program};
use crate::run::{Finished, Run, RunError};
use crate::sys;

/// The descriptor an inline script is read from: high enough that no script uses it by habit, and
/// a script that does loses nothing, because bash reads through a copy of its own.
const INLINE_FD: i32 = 119;

/// The descriptor of the name it holds: above what scripts use, and below the lowest usual limit of open files.
const HELD_FD: i32 = 60;

/// How the name of a script's file is made where nobody says otherwise.
pub const DEFAULT_PATTERN: &str = "proc-*.bash";

/// What bash itself knows, so that a command line may begin with it.
const BUILTINS: &[&str] = &[
    ".",
    ":",
    "[",
    "[[",
    "alias",
    "bg",
    "bind",
    "break",
    "builtin",
    "caller",
    "case",
    "cd",
    "command",
    "compgen",
    "complete",
    "compopt",
    "continue",
    "coproc",
    "declare",
    "dirs",
    "disown",
    "echo",
    "enable",
    "eval",
    "exec",
    "exit",
    "export",
    "false",
    "fc",
    "fg",
    "for",
    "function",
    "getopts",
    "hash",
    "help",
    "history",
    "if",
    "jobs",
    "kill",
    "let",
    "local",
    "logout",
    "mapfile",
    "popd",
    "printf",
    "pushd",
    "pwd",
    "read",
    "readarray",
    "readonly",
    "return",
    "select",
    "set",
    "shift",
    "shopt",
    "source",
    "suspend",
    "test",
    "time",
    "times",
    "trap",
    "true",
    "type",
    "typeset",
    "ulimit",
    "umask",
    "unalias",
    "unset",
    "until",
    "wait",
    "while",
    "{",
    "!",
];

/// A script could not be prepared or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// Neither commands nor a script were given.
    #[error("no command(s) or bash script contents provided")]
    Empty,
    /// The first word of a command is neither a program nor a builtin of bash.
    #[error("command not found: `{0}`")]
    CommandNotFound(String),
    /// A NUL byte, which no script can carry.
    #[error("a NUL byte in the script")]
    Nul,
    /// A pattern for the file's name without its one `*`, or with a `/`.
    #[error("`{0}` is not a pattern for a file name: it needs one `*` and no `/`")]
    Pattern(String),
    /// The script's own file could not be read.
    #[error("cannot read the script `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no bash.
    #[error(transparent)]
    NoBash(#[from] FindError),
    /// The script could not be stored.
    #[error("cannot store the script in {place}")]
    Store {
        /// The directory, or `memory`.
        place: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It could not be run.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A bash script and how it is to be given to bash.
#[derive(Debug, Clone)]
#[must_use = "nothing runs before `prepare`"]
pub struct Script {
    text: Vec<u8>,
    file: Option<PathBuf>,
    commands: Vec<Vec<OsString>>,
    args: Vec<OsString>,
    strict: bool,
    inline: bool,
    dir: Option<PathBuf>,
    pattern: String,
    cwd: Option<PathBuf>,
    environment: Environment,
    input: Input,
    foreground: bool,
    holding: Option<Arc<OwnedFd>>,
}

/// A script that is ready to be run, as often as wanted; dropping it removes its file.
#[derive(Debug)]
pub struct Prepared {
    command: Command,
    file: Option<TempPath>,
}

impl Script {
    /// Returns a script of these contents, used as they are.
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Script {
            text: text.into(),
            file: None,
            commands: Vec::new(),
            args: Vec::new(),
            strict: false,
            inline: false,
            dir: None,
            pattern: DEFAULT_PATTERN.to_owned(),
            cwd: None,
            environment: Environment::inherited(),
            input: Input::Null,
            foreground: false,
            holding: None,
        }
    }

    /// Returns the script of a file that exists already: bash reads it where it is, or, inline, what
    /// it held when it was prepared.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Script {
            file: Some(path.into()),
            ..Script::text("")
        }
    }

    /// Returns a script that runs commands one after the other, each word reaching its command
    /// exactly as given.
    pub fn commands<C, W>(commands: C) -> Self
    where
        C: IntoIterator<Item = W>,
        W: IntoIterator,
        W::Item: Into<OsString>,
    {
        let words = |command: W| command.into_iter().map(Into::into).collect();
        Script {
            commands: commands.into_iter().map(words).collect(),
            ..Script::text("")
        }
    }

    /// Sets the script's arguments: `$1` and so on.
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// Runs it with `errexit`, `nounset` and `pipefail`.
    pub fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Keeps it off the disk: bash reads it from a descriptor, its standard input stays free, and
    /// no length is too long.
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = inline;
        self
    }

    /// Sets where its file is made; by default the directory for temporary files.
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Sets how its file is named: `*` stands for what makes it unique.
    pub fn pattern(mut self, pattern: impl Into<String>) -> Self {
        self.pattern = pattern.into();
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

    /// Says whether it stays in the process group of this process; see [`Command::foreground`].
    pub fn foreground(mut self, foreground: bool) -> Self {
        self.foreground = foreground;
        self
    }

    /// Has it hold a name too: should this process be killed, the name is free only when the script has ended, and whatever
    /// it left behind with the descriptor open. When `held` is dropped, it is free at once.
    pub fn holding(mut self, held: &Held) -> Self {
        self.holding = Some(held.descriptor());
        self
    }

    /// Checks it and stores it, in a file or in memory.
    ///
    /// # Errors
    /// Says what is wrong with it, which command is not found, or why it cannot be stored; nothing
    /// is left on the disk then.
    pub fn prepare(&self) -> Result<Prepared, ScriptError> {
        let path = self.environment.path();
        let bash = Program::find_in(OsStr::new("bash"), path.as_deref())?;
        let mut command = bash.command(self.options()).arg("--");
        let mut stored = None;
        match (&self.file, self.inline) {
            (Some(file), false) => command = command.arg(file.as_os_str()),
            (_, true) => {
                let memory =
                    sys::in_memory(&self.contents(path.as_deref())?).map_err(|source| {
                        ScriptError::Store {
                            place: "memory".to_owned(),
                            source,
                        }
                    })?;
                command = command
                    .arg(format!("/dev/fd/{INLINE_FD}"))
                    .fd(memory, INLINE_FD);
            }
            (None, false) => {
                let file = self.store(&self.contents(path.as_deref())?)?;
                command = command.arg(file.as_os_str());
                stored = Some(file);
            }
        }
        command = command
            .args(&self.args)
            .environment(self.environment.clone())
            .input(self.input.clone())
            .foreground(self.foreground);
        if let Some(held) = &self.holding {
            command = command.fd(Arc::clone(held), HELD_FD);
        }
        if let Some(cwd) = &self.cwd {
            command = command.cwd(cwd);
        }
        Ok(Prepared {
            command,
            file: stored,
        })
    }

    /// Runs it once with the defaults of [`Run`]: combined output kept, no timeout.
    ///
    /// # Errors
    /// Says why it cannot be prepared or run; a failure of the script is a [`Finished`].
    pub async fn run(&self) -> Result<Finished, ScriptError> {
        let prepared = self.prepare()?;
        Ok(prepared.to_run().run().await?)
    }

    fn options(&self) -> &'static [&'static str] {
        // Options of bash rather than a header: the script's lines keep their numbers.
        if self.strict {
            &["-o", "errexit", "-o", "nounset", "-o", "pipefail"]
        } else {
            &[]
        }
    }

    fn contents(&self, path: Option<&OsStr>) -> Result<Vec<u8>, ScriptError> {
        if let Some(file) = &self.file {
            return std::fs::read(file).map_err(|source| ScriptError::Read {
                path: file.clone(),
                source,
            });
        }
        if self.text.contains(&0) {
            return Err(ScriptError::Nul);
        }
        if self.commands.is_empty() {
            if self.text.is_empty() {
                return Err(ScriptError::Empty);
            }
            return Ok(self.text.clone());
        }
        let mut text = b"#!/usr/bin/env bash\n".to_vec();
        for command in &self.commands {
            check(command, path, self.cwd.as_deref())?;
            for (position, word) in command.iter().enumerate() {
                if position > 0 {
                    text.push(b' ');
                }
                quote(word.as_bytes(), &mut text);
            }
            text.push(b'\n');
        }
        Ok(text)
    }

    fn store(&self, text: &[u8]) -> Result<TempPath, ScriptError> {
        let pattern = || ScriptError::Pattern(self.pattern.clone());
        let (prefix, suffix) = self.pattern.split_once('*').ok_or_else(pattern)?;
        if self.pattern.contains(['/', '\0']) || suffix.contains('*') {
            return Err(pattern());
        }
        let dir = self.dir.clone().unwrap_or_else(std::env::temp_dir);
        let wrap = |source| ScriptError::Store {
            place: format!("`{}`", dir.display()),
            source,
        };
        let mut named = tempfile::Builder::new()
            .prefix(prefix)
            .suffix(suffix)
            .tempfile_in(&dir)
            .map_err(wrap)?;
        named.write_all(text).map_err(wrap)?;
        // Closed here: a program that is open for writing may be refused by exec.
        Ok(named.into_temp_path())
    }
}

impl Prepared {
    /// Returns the file of the script, where it has one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the command that runs it.
    pub fn command(&self) -> &Command {
        &self.command
    }

    /// Returns a run of it; valid for as long as this is kept.
    pub fn to_run(&self) -> Run {
        Run::new(self.command.clone())
    }
}

/// Checks that a command can be found before anything runs.
fn check(
    command: &[OsString],
    path: Option<&OsStr>,
    cwd: Option<&Path>,
) -> Result<(), ScriptError> {
    let first = command
        .first()
        .filter(|word| !word.is_empty())
        .ok_or(ScriptError::Empty)?;
    if command.iter().any(|word| word.as_bytes().contains(&0)) {
        return Err(ScriptError::Nul);
    }
    if first.to_str().is_some_and(|word| BUILTINS.contains(&word)) {
        return Ok(());
    }
    let name = match cwd {
        Some(cwd) if first.as_bytes().contains(&b'/') => cwd.join(first).into_os_string(),
        _ => first.clone(),
    };
    Program::find_in(&name, path)
        .map(drop)
        .map_err(|_| ScriptError::CommandNotFound(first.to_string_lossy().into_owned()))
}

/// Quotes a word for a shell: as it is where nothing in it is special, else in single quotes.
fn quote(word: &[u8], text: &mut Vec<u8>) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:,+@%".contains(byte);
    // A keyword or an assignment must not be taken for one; `=` is not plain, keywords are.
    if !word.is_empty() && word.iter().all(plain) {
        text.extend_from_slice(word);
        return;
    }
    text.push(b'\'');
    for &byte in word {
        if byte == b'\'' {
            text.extend_from_slice(b"'\\''");
        } else {
            text.push(byte);
        }
    }
    text.push(b'\'');
}

/// Quotes a word so that a shell reads it as it is.
#[must_use]
pub fn shell_quote(word: &OsStr) -> OsString {
    let mut text = Vec::with_capacity(word.len() + 2);
    quote(word.as_bytes(), &mut text);
    OsString::from_vec(text)
}

//! Starting a program in a process group of its own, on the `posix_spawn` path.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::sys::launch::{self, Fault, LaunchError};
use crate::sys::spawn::{Action, Plan};
use crate::{ApplyFailure, AttributeError, Child, ResolvedAttributes, Signal, StdIn, sys};

/// Where one of the three standard streams of a child goes.
#[derive(Debug, Default)]
pub enum Stdio {
    /// The caller's own.
    #[default]
    Inherit,
    /// `/dev/null`.
    Null,
    /// A new pipe; the child's handle has the other end.
    Pipe,
    /// This open file.
    File(OwnedFd),
}

/// A builder for a plain child: own process group, default signal dispositions, empty signal mask.
///
/// It always takes the `posix_spawn` path, whose cost does not grow with the caller's memory. A program that needs
/// more before it runs (user, limits, session, …) is started by a small process that applies
/// [`Attributes`](crate::Attributes) first.
///
/// The environment is the caller's without `LISTEN_*`, `NOTIFY_SOCKET` and `WATCHDOG_*`, which are addressed to the
/// caller alone; set them with [`env`](Self::env) to pass some on.
#[derive(Debug)]
#[must_use = "nothing runs before `spawn`"]
pub struct Spawn {
    program: OsString,
    arg0: Option<OsString>,
    args: Vec<OsString>,
    cwd: Option<PathBuf>,
    clear: bool,
    env: BTreeMap<OsString, Option<OsString>>,
    stdio: [Stdio; 3],
    group: bool,
    fds: Vec<(OwnedFd, RawFd)>,
    attributes: Option<ResolvedAttributes>,
    terminal: bool,
}

/// A program could not be started; nothing runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// No such program, neither as a path nor in `PATH`.
    #[error("program `{program}` not found")]
    NotFound {
        /// The program as given.
        program: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The file is there, but cannot be executed.
    #[error("program `{program}` cannot be executed")]
    NotExecutable {
        /// The program as given.
        program: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The working directory cannot be entered.
    #[error("working directory `{cwd}` cannot be entered")]
    WorkingDirectory {
        /// The directory as given.
        cwd: String,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// A string holds a NUL byte, or a variable's name an `=`.
    #[error("{what} `{value}` holds a byte that it may not")]
    Malformed {
        /// `argument`, `variable`, …
        what: &'static str,
        /// The value.
        value: String,
    },
    /// An attribute could not be applied.
    #[error(transparent)]
    Attribute(#[from] AttributeError),
    /// Something else failed on the way.
    #[error("failed to start `{program}`: {step}")]
    System {
        /// The program as given.
        program: String,
        /// What was being done.
        step: &'static str,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
}

impl SpawnError {
    /// Returns the code a shell or timeout(1) would exit with: 127 not found, 126 not executable, 125 otherwise.
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            _ => 125,
        }
    }
}

impl Spawn {
    /// Prepares a program: a path if it holds a `/`, else a name looked up in the child's `PATH`.
    ///
    /// A relative path, and a relative entry of `PATH`, counts from the child's working directory.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arg0: None,
            args: Vec::new(),
            cwd: None,
            clear: false,
            env: BTreeMap::new(),
            stdio: Default::default(),
            group: true,
            fds: Vec::new(),
            attributes: None,
            terminal: false,
        }
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

    /// Replaces `argv[0]`, by default the program as given.
    pub fn arg0(mut self, arg0: impl Into<OsString>) -> Self {
        self.arg0 = Some(arg0.into());
        self
    }

    /// Sets the working directory.
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = Some(cwd.into());
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), Some(value.into()));
        self
    }

    /// Sets environment variables.
    pub fn envs(
        mut self,
        vars: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
    ) -> Self {
        self.env.extend(
            vars.into_iter()
                .map(|(name, value)| (name.into(), Some(value.into()))),
        );
        self
    }

    /// Removes an environment variable.
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), None);
        self
    }

    /// Starts from an empty environment; what [`env`](Self::env) set so far is dropped too.
    pub fn env_clear(mut self) -> Self {
        self.clear = true;
        self.env.clear();
        self
    }

    /// Sets standard input.
    pub fn stdin(mut self, stdio: Stdio) -> Self {
        self.stdio[0] = stdio;
        self
    }

    /// Sets standard output.
    pub fn stdout(mut self, stdio: Stdio) -> Self {
        self.stdio[1] = stdio;
        self
    }

    /// Sets standard error.
    pub fn stderr(mut self, stdio: Stdio) -> Self {
        self.stdio[2] = stdio;
        self
    }

    /// Says whether the child leads a process group of its own (the default) or stays in the caller's.
    pub const fn group(mut self, own: bool) -> Self {
        self.group = own;
        self
    }

    /// Gives the child further descriptors, each under the number beside it.
    pub fn fds(mut self, fds: Vec<(OwnedFd, RawFd)>) -> Self {
        self.fds.extend(fds);
        self
    }

    /// Applies these attributes before the program runs; their session mode takes the place of [`group`](Self::group).
    ///
    /// For a small process without other threads' locks to fear, such as a shim: the child borrows the caller's
    /// memory until exec and makes plain system calls only.
    pub fn attributes(mut self, attributes: ResolvedAttributes) -> Self {
        self.attributes = Some(attributes);
        self
    }

    /// Makes standard input the controlling terminal of the child's new session; needs
    /// [`SessionMode::Session`](crate::SessionMode::Session) in the [`attributes`](Self::attributes).
    pub const fn controlling_terminal(mut self, yes: bool) -> Self {
        self.terminal = yes;
        self
    }

    /// Starts the program.
    ///
    /// # Errors
    /// [`SpawnError`]; nothing runs then. Descriptors given to the builder are closed either way.
    pub fn spawn(self) -> Result<Child, SpawnError> {
        let name = self.program.to_string_lossy().into_owned();
        let system = |step| {
            let program = name.clone();
            move |source: io::Error| SpawnError::System {
                program,
                step,
                source,
            }
        };
        let environment = self.environment();
        let path = environment.get(OsStr::new("PATH")).cloned();
        let program = self.find(path.as_deref())?;
        let argv = self.argv()?;
        let envp = envp(&environment)?;
        let cwd = self
            .cwd
            .as_deref()
            .map(|cwd| c_string("directory", cwd.as_os_str()))
            .transpose()?;

        let (mut ours, mut moves) = ([const { None }; 3], Vec::new());
        for (number, stdio) in self.stdio.into_iter().enumerate() {
            let (mine, theirs) = open_stdio(number, stdio).map_err(system("standard streams"))?;
            ours[number] = mine;
            if let Some(theirs) = theirs {
                moves.push((theirs, number as RawFd));
            }
        }
        moves.extend(self.fds);
        lift(&mut moves).map_err(system("descriptors"))?;

        let mut actions: Vec<Action<'_>> = Vec::with_capacity(moves.len() + 1);
        actions.extend(
            moves
                .iter()
                .map(|(fd, target)| Action::Dup(fd.as_raw_fd(), *target)),
        );
        actions.extend(cwd.as_deref().map(Action::Chdir));
        let plan = Plan {
            program: &program,
            argv: &argv,
            envp: &envp,
            actions: &actions,
            own_group: self.group,
        };
        let cwd = self.cwd.as_deref();
        let pid = match &self.attributes {
            None => sys::spawn::spawn(&plan).map_err(|source| explain(&name, cwd, source))?,
            Some(attributes) => {
                let started = launch::launch(&plan, attributes.prepared(), self.terminal);
                started.map_err(|error| match error {
                    LaunchError::System(source) => system("fork")(source),
                    LaunchError::Fault(fault) => explain_fault(&name, cwd, attributes, fault),
                })?
            }
        };
        let [stdin, stdout, stderr] = ours;
        Child::adopt(pid, stdin.map(StdIn::new), stdout, stderr)
            .map_err(system("opening the new process"))
    }

    fn environment(&self) -> BTreeMap<OsString, OsString> {
        let mut result = BTreeMap::new();
        if !self.clear {
            result.extend(std::env::vars_os().filter(|(name, _)| !is_private(name)));
        }
        for (name, value) in &self.env {
            match value {
                Some(value) => result.insert(name.clone(), value.clone()),
                None => result.remove(name),
            };
        }
        result
    }

    fn argv(&self) -> Result<Vec<CString>, SpawnError> {
        let arg0 = self.arg0.as_ref().unwrap_or(&self.program);
        std::iter::once(arg0)
            .chain(&self.args)
            .map(|arg| c_string("argument", arg))
            .collect()
    }

    /// Finds the file to execute. As a shell does: the first executable wins, a file without permission is reported
    /// only if nothing else was found.
    fn find(&self, path: Option<&OsStr>) -> Result<CString, SpawnError> {
        let name = || self.program.to_string_lossy().into_owned();
        let errno = io::Error::from_raw_os_error;
        if self.program.is_empty() {
            return Err(SpawnError::NotFound {
                program: name(),
                source: errno(libc::ENOENT),
            });
        }
        if self.program.as_bytes().contains(&b'/') {
            return c_string("program", &self.program);
        }
        let mut denied = false;
        let path = path.unwrap_or(OsStr::new("/usr/local/bin:/bin:/usr/bin"));
        for dir in path.as_bytes().split(|byte| *byte == b':') {
            let dir = if dir.is_empty() {
                Path::new(".")
            } else {
                Path::new(OsStr::from_bytes(dir))
            };
            let file = dir.join(&self.program);
            let seen = self.cwd.as_deref().unwrap_or(Path::new("")).join(&file);
            match rustix::fs::access(&seen, rustix::fs::Access::EXEC_OK) {
                Ok(()) if seen.is_file() => return c_string("program", file.as_os_str()),
                Ok(()) | Err(rustix::io::Errno::ACCESS) => denied = true,
                Err(_) => {}
            }
        }
        if denied {
            return Err(SpawnError::NotExecutable {
                program: name(),
                source: errno(libc::EACCES),
            });
        }
        Err(SpawnError::NotFound {
            program: name(),
            source: errno(libc::ENOENT),
        })
    }
}

/// Variables that speak to one process and would mislead its children.
fn is_private(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name == b"NOTIFY_SOCKET" || name.starts_with(b"LISTEN_") || name.starts_with(b"WATCHDOG_")
}

fn c_string(what: &'static str, value: &OsStr) -> Result<CString, SpawnError> {
    CString::new(value.as_bytes()).map_err(|_| SpawnError::Malformed {
        what,
        value: value.to_string_lossy().into_owned(),
    })
}

fn envp(environment: &BTreeMap<OsString, OsString>) -> Result<Vec<CString>, SpawnError> {
    let entry = |(name, value): (&OsString, &OsString)| {
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            return Err(SpawnError::Malformed {
                what: "variable",
                value: name.to_string_lossy().into_owned(),
            });
        }
        let mut entry = name.clone().into_vec();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        c_string("variable", &OsString::from_vec(entry))
    };
    environment.iter().map(entry).collect()
}

/// Opens one standard stream: our end of a pipe, and what the child gets.
fn open_stdio(number: usize, stdio: Stdio) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    Ok(match stdio {
        Stdio::Inherit => (None, None),
        Stdio::File(fd) => (None, Some(fd)),
        Stdio::Null => {
            let null = std::fs::OpenOptions::new()
                .read(number == 0)
                .write(number != 0)
                .open("/dev/null")?;
            (None, Some(null.into()))
        }
        Stdio::Pipe => {
            let (read, write) = io::pipe()?;
            let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
            if number == 0 {
                (Some(write), Some(read))
            } else {
                (Some(read), Some(write))
            }
        }
    })
}

/// Moves every source above every target, so that no `dup2` overwrites a source that is still needed.
fn lift(moves: &mut [(OwnedFd, RawFd)]) -> io::Result<()> {
    let Some(highest) = moves.iter().map(|(_, target)| *target).max() else {
        return Ok(());
    };
    if moves.iter().any(|(_, target)| *target < 0) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    for (fd, _) in moves {
        if fd.as_raw_fd() <= highest {
            *fd = rustix::io::fcntl_dupfd_cloexec(fd.as_fd(), highest + 1)?;
        }
    }
    Ok(())
}

/// Says what the child could not do.
fn explain_fault(
    program: &str,
    cwd: Option<&Path>,
    attributes: &ResolvedAttributes,
    fault: Fault,
) -> SpawnError {
    let errno = io::Error::from_raw_os_error;
    let system = |step, code| SpawnError::System {
        program: program.to_owned(),
        step,
        source: errno(code),
    };
    match fault {
        Fault::Attribute(failure) => attributes.explain(ApplyFailure(failure)).into(),
        Fault::Descriptors(code) => system("descriptors", code),
        Fault::Terminal(code) => system("controlling terminal", code),
        Fault::Chdir(code) => {
            let cwd = cwd.map(|cwd| cwd.display().to_string()).unwrap_or_default();
            SpawnError::WorkingDirectory {
                cwd,
                source: errno(code),
            }
        }
        Fault::Exec(code) => explain(program, None, errno(code)),
    }
}

/// Finds out what an exec or chdir error was about.
fn explain(program: &str, cwd: Option<&Path>, source: io::Error) -> SpawnError {
    if let Some(cwd) = cwd
        && let Err(error) = std::fs::metadata(cwd).and_then(|_| {
            rustix::fs::access(cwd, rustix::fs::Access::EXEC_OK)?;
            if cwd.is_dir() {
                Ok(())
            } else {
                Err(io::Error::from_raw_os_error(libc::ENOTDIR))
            }
        })
    {
        return SpawnError::WorkingDirectory {
            cwd: cwd.display().to_string(),
            source: error,
        };
    }
    let program = program.to_owned();
    match source.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => SpawnError::NotFound { program, source },
        Some(
            libc::EACCES
            | libc::ENOEXEC
            | libc::EISDIR
            | libc::ELOOP
            | libc::ETXTBSY
            | libc::ENAMETOOLONG
            | libc::EPERM,
        ) => SpawnError::NotExecutable { program, source },
        _ => SpawnError::System {
            program,
            step: "exec",
            source,
        },
    }
}

/// Kills and reaps a child that cannot be kept. The caller is its parent and has not reaped it, so the number is its.
pub(crate) fn discard(pid: u32) {
    let _best_effort = sys::pidfd::kill_number(pid, Signal::KILL);
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let wait = || rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        while wait().is_err_and(|error| error == rustix::io::Errno::INTR) {}
    }
}

//! PID 1 of a container: starts one command, forwards every signal to it, reaps whatever is orphaned, keeps the exit code.
//!
//! # Operation
//!
//! 1. Every signal is blocked and taken from the queue one by one, so none is lost and none runs a handler.
//! 2. The command is started: in a session of its own, with the controlling terminal where there is one, or with `--single`
//!    in a process group of its own. It begins with default dispositions and an empty mask. `init` itself goes to `/`.
//! 3. Each signal is rewritten (`--rewrite`) and forwarded: to the command's process group, with `--single` to the command
//!    alone. `TSTP`, `TTIN` and `TTOU` then suspend `init` itself. A member that takes one of those three by default would
//!    not stop (POSIX has an orphaned process group ignore them), so it gets `STOP`.
//! 4. Every child that ends is reaped at once, adopted ones too.
//! 5. When the command ends, what is left gets `TERM`, and after the grace period `KILL`; with `--single` nothing is signalled.
//!    The exit code is the command's, 128+n for a signal, or 0 where `--remap` says so.
//!
//! Usage errors end with 2; a command that is not found with 127, one that cannot be executed with 126, anything else that
//! fails before the command runs with 125.

mod options;
mod relay;
mod rest;

use std::ffi::OsString;
use std::io::Write as _;

use proc_core::{ProcessEnd, Signal};

pub use options::{InitOptions, UsageError};

use crate::sys::{Signals, become_subreaper, init as sys};
use relay::Relay;

/// Runs as `init` with command-line arguments (without the program's name) and returns the exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> i32 {
    match InitOptions::parse(args) {
        Ok(options) => run(&options),
        Err(error) => {
            say(&format!(
                "error: {error}\nhint: proc init [OPTIONS] -- CMD [ARG…]"
            ));
            2
        }
    }
}

/// Starts the command, serves until it ended, and returns the exit code.
pub fn run(options: &InitOptions) -> i32 {
    match start(options) {
        Ok((leader, signals)) => Init {
            options,
            leader,
            relay: Relay::new(options, leader),
            signals,
        }
        .serve(),
        Err((code, error)) => {
            say(&format!("error: {error}"));
            code
        }
    }
}

/// Prints to standard error; an `init` whose stderr is closed goes on.
fn say(text: &str) {
    _ = writeln!(std::io::stderr(), "{text}");
}

/// Prepares this process and starts the command.
fn start(options: &InitOptions) -> Result<(i32, Signals), (i32, String)> {
    let own = |what: &str, error: std::io::Error| (125, format!("{what}: {error}"));
    if let Some(signal) = options.pdeathsig {
        sys::set_parent_death_signal(signal.raw()).map_err(|e| own("--pdeathsig", e))?;
    }
    if options.subreaper {
        become_subreaper().map_err(|e| own("--subreaper", e))?;
    } else if options.verbose && !rustix::process::getpid().is_init() {
        say("warning: neither PID 1 nor a subreaper: orphans are not reaped (hint: --subreaper)");
    }
    let signals = sys::block_all_signals().map_err(|e| own("signal mask", e))?;
    let leader = sys::spawn(&signals, &options.command, options.single).map_err(|error| {
        let name = options.command[0].to_string_lossy();
        match error.kind() {
            std::io::ErrorKind::NotFound => (127, format!("command `{name}` not found")),
            _ if error.raw_os_error() == Some(libc::EACCES)
                || error.raw_os_error() == Some(libc::ENOEXEC) =>
            {
                (126, format!("command `{name}` cannot be executed: {error}"))
            }
            _ => (125, format!("command `{name}`: {error}")),
        }
    })?;
    // A mounted directory could not be unmounted while we sit in it; the command keeps its own.
    _ = rustix::process::chdir("/");
    Ok((leader, signals))
}

/// A running `init`.
struct Init<'a> {
    options: &'a InitOptions,
    leader: i32,
    relay: Relay<'a>,
    signals: Signals,
}

impl Init<'_> {
    fn serve(&self) -> i32 {
        loop {
            // One queue for everything: a child's end is a signal like any other.
            let signal = self.signals.wait(None).unwrap_or(libc::SIGCHLD);
            if signal == libc::SIGCHLD {
                if let Some(end) = self.reap() {
                    return self.exit_code(end);
                }
            } else if let Some(signal) = Signal::from_raw(signal) {
                self.relay.forward(signal);
            }
        }
    }

    /// Reaps everything that ended; the leader's end is returned once what it left behind is gone.
    fn reap(&self) -> Option<ProcessEnd> {
        while let Some((pid, end)) = sys::ended_child() {
            if pid == self.leader {
                match self.options.single {
                    true => sys::reap(pid),
                    false => rest::end(self.leader, self.options, &self.signals),
                }
                return Some(end);
            }
            reap_orphan(self.options, pid, end);
        }
        None
    }

    fn exit_code(&self, end: ProcessEnd) -> i32 {
        let code = end.shell_code();
        if self.options.remap.contains(&code) {
            0
        } else {
            code
        }
    }
}

/// Reaps a child that is not the leader, and says so where that is wanted.
fn reap_orphan(options: &InitOptions, pid: i32, end: ProcessEnd) {
    sys::reap(pid);
    if options.verbose {
        say(&format!("reaped orphan {pid}: {end}"));
    }
}

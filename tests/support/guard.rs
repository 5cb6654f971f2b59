//! A program of somebody else's that a test runs beside `proc`.

use std::process::{Child, ChildStdout, Command};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// How long it has for its end after TERM.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// A child that gets TERM when the test is done with it, and KILL when it takes no notice.
pub struct Guard(Child);

impl Guard {
    /// Starts the program.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Takes its standard output, which was asked for as a pipe.
    ///
    /// # Panics
    /// When there is none.
    pub fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("its output is a pipe")
    }

    /// Returns its process number.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.0)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // A failure means that it has ended, which is what is wanted.
        _ = kill_process(self.pid(), Signal::TERM);
        let ended = pidfd_open(self.pid(), PidfdFlags::empty())
            .and_then(|pidfd| poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&PATIENCE)));
        if ended != Ok(1) {
            _ = self.0.kill();
        }
        _ = self.0.wait();
    }
}

//! Whether a recorded process lives: yes, no, or it cannot be told. Of what cannot be told nothing is believed: no second copy
//! is started, and nothing is forgotten.

use std::io;
use std::time::Duration;

use proc_core::{Identity, Mechanism, OpenError, ProcessHandle, StopReport, Survivor};

use rustix::io::Errno;

use super::actor::Actor;
use super::takeover::{end_tree, unknown_exit};
use crate::error::StartError;
use crate::status::Started;

/// How long until a service that nobody keeps is looked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// The inode of the machine's first pid namespace: `PID_NS_INIT_INO` of `linux/nsfs.h`.
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// What a look at a recorded process shows.
#[derive(Debug)]
pub(super) enum Look {
    Alive(ProcessHandle),
    Ended,
    Doubt(Doubt),
}

/// Why it cannot be told whether a process lives.
#[derive(Debug, Clone)]
pub(super) struct Doubt {
    /// What stands in the way.
    pub(super) obstacle: String,
    /// What to do about it.
    pub(super) remedy: &'static str,
}

impl Doubt {
    pub(super) fn from_io(what: &str, error: &io::Error) -> Self {
        let remedy = match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE) => "allow more open files (`ulimit -n`)",
            Some(Errno::ACCESS | Errno::PERM) => "start `proc` as a user who may see it",
            _ => "it is looked at again by itself",
        };
        Self {
            obstacle: format!("{what}{error}"),
            remedy,
        }
    }
}

/// Looks whether a recorded process lives.
pub(super) fn look(identity: &Identity) -> Look {
    match identity.open() {
        Ok(process) if process.has_exited() => Look::Ended,
        Ok(process) => Look::Alive(process),
        Err(OpenError::Dead { .. }) => Look::Ended,
        Err(_) if went_with_its_container(identity) => Look::Ended,
        Err(OpenError::Unverified { reason, .. }) => Look::Doubt(doubt(identity, reason)),
        Err(OpenError::System { source, .. }) => Look::Doubt(Doubt::from_io("", &source)),
    }
}

fn is_foreign(identity: &Identity) -> bool {
    let own = Identity::current().map_or(0, |own| own.pid_ns);
    identity.pid_ns != 0 && own != 0 && identity.pid_ns != own
}

/// Where we are PID 1, a container has been started again on the state it had before: whoever held that state was PID 1 of
/// the pid namespace of its time, and is gone, as we hold it now; and with its PID 1 a namespace ends. The machine's own
/// namespace does not.
fn went_with_its_container(identity: &Identity) -> bool {
    std::process::id() == 1 && is_foreign(identity) && identity.pid_ns != FIRST_NAMESPACE
}

fn doubt(identity: &Identity, reason: String) -> Doubt {
    Doubt {
        obstacle: reason,
        remedy: if is_foreign(identity) {
            "start `proc` in that pid namespace"
        } else {
            "start `proc` as a user who may see it"
        },
    }
}

impl Actor {
    /// Looks again at what could not be told; returns why it still cannot be.
    pub(super) async fn settle_doubt(&mut self) -> Option<Doubt> {
        if self.unread {
            return self.end_unknown_run().await;
        }
        let started = self.doubted.clone()?;
        match look(&started.identity) {
            Look::Doubt(doubt) => return Some(doubt),
            Look::Alive(leader) => {
                self.doubted = None;
                self.orphan = Some(leader);
                self.running = Some(started);
                self.tree_empty = false;
            }
            Look::Ended => {
                self.doubted = None;
                let why = "it ended while nobody could look at it";
                self.exited(unknown_exit(&started, why)).await;
                self.tree_is_empty().await;
            }
        }
        None
    }

    /// Makes sure that nothing is started over a run whose end cannot be told. One that turns out to live is ended: whoever
    /// asks for a start knows of none.
    pub(super) async fn clear_the_way(&mut self) -> Result<(), StartError> {
        let refused = |pid, Doubt { obstacle, remedy }| StartError::Doubt {
            pid,
            obstacle,
            remedy,
        };
        if self.unread
            && let Some(doubt) = self.end_unknown_run().await
        {
            let pid = self.doubted.as_ref().map(|started| started.pid);
            return Err(refused(pid, doubt));
        }
        let Some(started) = self.doubted.clone() else {
            return Ok(());
        };
        match look(&started.identity) {
            Look::Doubt(doubt) => Err(refused(Some(started.pid), doubt)),
            Look::Alive(leader) => {
                end_tree(leader).await;
                self.doubted = None;
                Ok(())
            }
            Look::Ended => {
                self.doubted = None;
                Ok(())
            }
        }
    }

    /// Returns the report of a stop that could not even look for its process.
    pub(super) fn nothing_stopped(&self, doubt: &Doubt) -> StopReport {
        let pid = self.doubted.as_ref().map_or(0, |started| started.pid);
        StopReport {
            mechanism: Mechanism::GroupWalk,
            signalled: 0,
            escalated: false,
            survivors: vec![Survivor {
                pid,
                comm: String::new(),
                reason: format!("it may have ended: {}; {}", doubt.obstacle, doubt.remedy),
            }],
            elapsed: Duration::ZERO,
        }
    }
}

/// Waits until a service that lives as far as is known should be looked for, for ever where there is no doubt.
pub(super) async fn doubtful(doubted: &Option<Started>, running: bool) {
    match doubted {
        Some(_) if running => tokio::time::sleep(PAUSE).await,
        _ => std::future::pending().await,
    }
}

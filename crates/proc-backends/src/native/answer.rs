//! What a shim answers and tells, and what follows for the instance and for who waits.

use std::io;
use std::os::fd::OwnedFd;

use proc_core::ProcessHandle;
use proc_shim::{FdSet, Notice, Reply, Terms};

use super::actor::{Actor, Held};
use super::command::Pending;
use super::convert;
use crate::event::BackendEventKind;

impl Actor {
    /// Acts on the answer to a request.
    pub(super) async fn reply(&mut self, pending: Pending, reply: Reply, fds: Vec<OwnedFd>) {
        match (pending, reply) {
            (Pending::Hello, Reply::Snapshot(snapshot)) => {
                self.last_run = self.last_run.max(snapshot.last_run);
            }
            (Pending::Hello, Reply::Failed(failure)) => {
                self.refused = Some(match failure.errno {
                    0 => io::Error::other(failure.value),
                    errno => io::Error::from_raw_os_error(errno),
                });
            }
            (Pending::Adopt(done, notes), Reply::Snapshot(snapshot)) => {
                self.greeted(*snapshot, done, notes);
            }
            (Pending::Start(spec, done), Reply::Started { running, fds: set }) => {
                self.hold(set, fds);
                self.terms = Some(Terms {
                    log: spec.log.clone(),
                    detached: spec.detached,
                    die_with_supervisor: spec.die_with_supervisor,
                    stop: spec.stop.clone(),
                });
                let started = convert::started(running);
                self.last_run = self.last_run.max(started.run);
                self.running = Some(started.clone());
                self.replacement = false;
                self.tree_empty = false;
                if let Some(console) = &self.options.console {
                    console.begun(started.pid);
                }
                let _nobody_waits = done.send(Ok(started));
            }
            (Pending::Start(_, done), Reply::Failed(failure)) => {
                let _nobody_waits = done.send(Err(convert::start_error(&self.instance, failure)));
            }
            (Pending::Follow(done), Reply::Started { running, fds: set }) => {
                self.hold(set, fds);
                let started = convert::started(running);
                self.running = Some(started.clone());
                let _nobody_waits = done.send(Ok(started));
            }
            (Pending::Follow(done), Reply::Failed(failure)) => {
                let error = convert::operate_error(&self.instance, "follow", failure);
                let _nobody_waits = done.send(Err(error));
            }
            (Pending::Stop(_, done), Reply::Stopped(report)) => {
                let _nobody_waits = done.send(Ok(report));
            }
            (Pending::Status(done), Reply::Snapshot(snapshot)) => {
                self.learn(*snapshot);
                let _nobody_waits = done.send(Ok(self.known()));
            }
            (Pending::Plain(_, done), Reply::Done) => {
                let _nobody_waits = done.send(Ok(()));
            }
            (Pending::Plain(operation, done), Reply::Failed(failure)) => {
                let error = convert::operate_error(&self.instance, operation, failure);
                let _nobody_waits = done.send(Err(error));
            }
            (Pending::Input(operation, done), reply) => {
                self.feeding = false;
                let outcome = match reply {
                    Reply::Failed(failure) => {
                        Err(convert::operate_error(&self.instance, operation, failure))
                    }
                    _ => Ok(()),
                };
                let failed = outcome.is_err();
                if let Some(done) = done {
                    let _nobody_waits = done.send(outcome);
                } else if failed {
                    self.fail_input();
                }
                self.feed();
            }
            (Pending::Forget(done), Reply::Failed(failure)) => {
                let error = convert::operate_error(&self.instance, "forget", failure);
                let _nobody_waits = done.send(Err(error));
            }
            // The end of the connection says that it is gone.
            (Pending::Forget(done), _) => self.forgotten(done).await,
            (Pending::Fds(done, notes), reply) => {
                if let Reply::Fds(set) = reply {
                    self.hold(set, fds);
                }
                self.adopted(done, notes);
            }
            (Pending::TakeOver, reply) => self.taken_over(&reply).await,
            _ => {}
        }
    }

    fn hold(&mut self, set: FdSet, fds: Vec<OwnedFd>) {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| if wanted { fds.next() } else { None };
        self.held = Held {
            leader: next(set.pidfd).and_then(|fd| ProcessHandle::from_fd(fd).ok()),
            stdout: next(set.stdout),
            stderr: next(set.stderr),
            stdin: next(set.stdin),
            pty: set.pty,
        };
    }

    /// Acts on what the shim tells unasked.
    pub(super) async fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Exited(exited) => self.exited(convert::exit(exited)).await,
            Notice::TreeEmpty { run } => {
                self.tree_empty = true;
                self.held = Held::default();
                self.tell(run, BackendEventKind::TreeEmpty).await;
            }
            Notice::StopProgress { signal, wait } => {
                self.tell(
                    self.last_run,
                    BackendEventKind::StopProgress { signal, wait },
                )
                .await;
            }
            Notice::Trouble { what, error } => {
                self.degraded.push(format!("{what}: {error}"));
                self.tell(self.last_run, BackendEventKind::Trouble { what, error })
                    .await;
            }
            Notice::Healed { what } => {
                self.degraded
                    .retain(|line| !line.starts_with(&format!("{what}: ")));
                self.tell(self.last_run, BackendEventKind::Healed { what })
                    .await;
            }
            // Only the supervisor's own shim respawns, and that one has no backend.
            Notice::Respawned(_) => {}
        }
    }
}

//! Services as jobs of launchd, through launchctl(1) alone.
//!
//! With `label = "…"` and no command the job exists and its file is never rewritten; with a command a
//! job file is generated for each run. Nothing here is compiled for macOS only: the backend drives
//! an executable named by a setting, and was proven against a launchd of plain data that
//! reproduces the contract table (`cargo xtask launchctl-contract` compares that with a real Mac).
//!
//! **What launchctl prints is no interface**, says its manual. So an answer that is not understood
//! is "cannot tell", never "not running"; and how a run ended is told only when it is certain to be
//! that run's: a job file of ours has a name that serves one run, and launchd's count of starts must be the same.
//! An existing job that somebody removes, loads and starts again between two looks (a second
//! apart; at once when its process ends) is the one thing that could be mistaken.
//!
//! **Launchd tells nobody of changes.** The end of a process that can be opened is seen at once,
//! everything else by asking once a second.

mod adopt;
mod facts;
#[cfg(test)]
mod fake;
mod instance;
mod options;
mod record;
mod start;
mod stop;
mod target;
#[cfg(test)]
mod tests;
mod tool;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use proc_core::{Signal, StopReport, StopSequence};

pub use self::facts::{JOB_STATE_MAP, JobFacts, JobState, JobStateRow, LastEnd, job_state};
use self::instance::{Common, Instance};
pub use self::options::LaunchctlOptions;
use self::tool::{Exec, Program};
use crate::backend::{Backend, BoxFuture, SignalTarget};
use crate::capability::Capabilities;
use crate::error::{AdoptError, OperateError, StartError};
use crate::event::{BackendEvents, event_channel};
use crate::manager::recorded;
use crate::spec::InstanceSpec;
use crate::status::{Adopted, InstanceStatus, Started};

/// The backend's name in configurations.
pub(crate) const NAME: &str = "launchctl";

/// The launchctl backend.
///
/// Dropping it lets go of everything; jobs live on, and the next one finds them through
/// [`adopt`](Backend::adopt).
#[derive(Debug)]
pub struct LaunchctlBackend {
    common: Arc<Common>,
    receiver: Mutex<Option<BackendEvents>>,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
}

impl LaunchctlBackend {
    /// Prepares the backend; nothing is run, and no launchd is needed, before the first call.
    #[must_use]
    pub fn new(options: LaunchctlOptions) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        Self::with(options, Box::new(Program), uid)
    }

    fn with(options: LaunchctlOptions, exec: Box<dyn Exec>, uid: u32) -> Self {
        let (events, receiver) = event_channel();
        Self {
            common: Arc::new(Common {
                options,
                exec,
                events,
                uid,
            }),
            receiver: Mutex::new(Some(receiver)),
            instances: Mutex::default(),
        }
    }

    fn instance(&self, name: &str) -> Arc<Instance> {
        let mut instances = self
            .instances
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Instance::new(name, Arc::clone(&self.common)));
        Arc::clone(instances.entry(name.to_owned()).or_insert_with(new))
    }
}

impl Backend for LaunchctlBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            exit_code_survives: true,
            exact_stop: false,
            services_survive: true,
            passes_sockets: false,
            stdin: false,
            writes_logs: true,
            take_over: false,
            notes: vec![format!("launchctl: {}", self.common.options.launchctl)],
        }
    }

    fn events(&self) -> Option<BackendEvents> {
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn recorded(&self) -> Vec<String> {
        recorded(&self.common.options.all_records())
    }

    fn start(&self, spec: InstanceSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        let instance = self.instance(&spec.instance);
        Box::pin(async move { instance.start(spec).await })
    }

    fn stop<'a>(
        &'a self,
        instance: &'a str,
        sequence: StopSequence,
    ) -> BoxFuture<'a, Result<StopReport, OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.stop(sequence).await })
    }

    fn signal<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
        target: SignalTarget,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move {
            if target != SignalTarget::Leader {
                return Err(OperateError::Unsupported {
                    operation: "a signal to the group or tree",
                    backend: NAME,
                });
            }
            instance.signal(signal).await
        })
    }

    fn reload<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.signal(signal).await })
    }

    fn status<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<InstanceStatus, OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.status().await })
    }

    fn adopt<'a>(
        &'a self,
        instance: &'a str,
    ) -> BoxFuture<'a, Result<Option<Adopted>, AdoptError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.adopt().await })
    }

    fn acknowledge<'a>(
        &'a self,
        instance: &'a str,
        _run: u64,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        // An exit is told to the next supervisor in any case; it counts by run.
        let instance = self.instance(instance);
        Box::pin(async move { instance.known().map(drop) })
    }

    fn stdin_write<'a>(
        &'a self,
        instance: &'a str,
        _bytes: Vec<u8>,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        self.stdin_close(instance)
    }

    fn stdin_close<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = instance.to_owned();
        Box::pin(async { Err(OperateError::NoStdin { instance }) })
    }

    fn rotate_log<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>> {
        let found = self.instance(instance);
        Box::pin(async move {
            found.known()?;
            // launchd holds the file open and would go on writing to the old one.
            Err(OperateError::Unsupported {
                operation: "rotate_log",
                backend: NAME,
            })
        })
    }

    fn set_die_with_supervisor<'a>(
        &'a self,
        instance: &'a str,
        die: bool,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        let known = self.instance(instance);
        Box::pin(async move {
            known.known()?;
            if die {
                return Err(OperateError::Unsupported {
                    operation: "die_with_supervisor",
                    backend: NAME,
                });
            }
            Ok(())
        })
    }

    fn forget<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.forget().await })
    }
}

//! Services as jobs of a Slurm cluster, through its own programs alone; and pipelines over it.
//!
//! A start is one `sbatch`, complete when Slurm runs the job; its script becomes the program, so that an exit is
//! the program's. **Nothing secret is on a command line:** the environment travels in a file that is removed
//! after the submission. Output is appended to our log files by the node, so their directory has to be shared.
//!
//! **Slurm pushes nothing**, so it is asked: by one call for all jobs, at intervals that the watcher argues. An answer
//! that is not understood, and none at all, leave things as they were.
//!
//! **Two restarters.** Slurm puts the job of a lost node back into the queue (`--requeue`): that stays the same run,
//! told as lost with the cause, then as recovered on the other node. A job that merely failed it does not restart:
//! there the restart policy decides, and a restart is a new job.
//!
//! **A number is not a job.** Slurm uses numbers again, so a job is known by number, time of submission and a name
//! that is never used twice.

mod adopt;
mod facts;
mod instance;
mod job;
mod options;
mod pipeline;
mod record;
pub(crate) mod start;
mod stop;
#[cfg(test)]
mod tests;
mod tool;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use proc_core::{Signal, StopReport, StopSequence};

pub use self::facts::{SLURM_STATE_MAP, SlurmFacts, SlurmPhase, SlurmStateRow};
use self::instance::{Common, Instance};
pub use self::options::SlurmOptions;
pub use self::pipeline::{SlurmPipelineOptions, run_pipeline};
use self::tool::{Reach, Tool};
use self::watch::Watcher;
use crate::backend::{Backend, BoxFuture, SignalTarget};
use crate::capability::Capabilities;
use crate::error::{AdoptError, OperateError, StartError};
use crate::event::{BackendEvents, event_channel};
use crate::manager::recorded;
use crate::spec::InstanceSpec;
use crate::status::{Adopted, InstanceStatus, Started};

/// The backend's name in configurations.
pub(crate) const NAME: &str = "slurm";

/// The slurm backend.
///
/// Dropping it lets go of everything; jobs live on, and the next one finds them through
/// [`adopt`](Backend::adopt).
#[derive(Debug)]
pub struct SlurmBackend {
    common: Arc<Common>,
    receiver: Mutex<Option<BackendEvents>>,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
}

impl SlurmBackend {
    /// Prepares the backend; nothing is run, and no Slurm is needed, before the first call.
    #[must_use]
    pub fn new(options: SlurmOptions) -> Self {
        let (events, receiver) = event_channel();
        Self {
            common: Arc::new(Common {
                watcher: Watcher::new(Tool::new(options)),
                events,
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

impl Backend for SlurmBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            // For as long as Slurm remembers a job that is over (MinJobAge).
            exit_code_survives: true,
            exact_stop: false,
            services_survive: true,
            passes_sockets: false,
            stdin: false,
            writes_logs: true,
            take_over: false,
            notes: vec![format!(
                "slurm: {}",
                self.common.watcher.tool.options().sbatch
            )],
        }
    }

    fn events(&self) -> Option<BackendEvents> {
        self.receiver
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn recorded(&self) -> Vec<String> {
        recorded(&self.common.watcher.tool.options().all_records())
    }

    fn start(&self, spec: InstanceSpec) -> BoxFuture<'_, Result<Started, StartError>> {
        let instance = self.instance(&spec.instance);
        Box::pin(async move { instance.start(spec).await })
    }

    fn call_off<'a>(&'a self, instance: &'a str) -> BoxFuture<'a, ()> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.call_off() })
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
        let reach = match target {
            SignalTarget::Leader => Reach::Program,
            SignalTarget::Group | SignalTarget::Tree => Reach::All,
        };
        Box::pin(async move { instance.signal(signal, reach).await })
    }

    fn reload<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.signal(signal, Reach::Program).await })
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
        Box::pin(async move { instance.known() })
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
            // The node holds the file open and would go on writing to the old one.
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

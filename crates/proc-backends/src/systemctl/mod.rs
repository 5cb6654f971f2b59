//! Services as systemd units: of the machine, of a user, or of another machine through ssh(1).
//!
//! Everything is asked and ordered through systemctl(1), each call bounded in time and size. With
//! `unit = "…"` the unit exists and is never rewritten; without, one is generated from the spec.
//!
//! **Changes are followed, not polled.** One D-Bus connection per manager (its private socket,
//! the bus, or `systemd-stdio-bridge` behind ssh(1)) says *that* a unit changed; `systemctl show`
//! then says *how*. The end of a local main process is seen through its pidfd as well. Only while
//! no such connection can be made is a unit asked about once a second.
//!
//! **Two restarters.** Units of ours have `Restart=no`: the restart policy decides. What systemd
//! restarts by itself (a foreign unit's `Restart=`) stays the same run: it is told as lost, then as
//! recovered with the new pid.

mod adopt;
mod bus;
mod common;
mod dbus;
mod facts;
mod install;
mod instance;
mod journal;
mod name;
mod options;
mod record;
mod start;
mod state;
mod stop;
mod target;
mod tool;
pub(crate) mod unit;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use proc_core::{Signal, StopReport, StopSequence};

use self::common::Common;
pub use self::facts::UnitFacts;
use self::instance::Instance;
pub use self::options::SystemctlOptions;
pub use self::state::{STATE_MAP, StateRow, UnitState, unit_state};
use crate::backend::{Backend, BoxFuture, SignalTarget};
use crate::capability::Capabilities;
use crate::error::{AdoptError, OperateError, StartError};
use crate::event::{BackendEvents, event_channel};
use crate::manager::recorded;
use crate::spec::InstanceSpec;
use crate::status::{Adopted, InstanceStatus, Started};

/// The backend's name in configurations.
pub(crate) const NAME: &str = "systemctl";

/// The systemctl backend.
///
/// Dropping it lets go of everything; units live on, and the next one finds them through
/// [`adopt`](Backend::adopt).
#[derive(Debug)]
pub struct SystemctlBackend {
    common: Arc<Common>,
    receiver: Mutex<Option<BackendEvents>>,
    instances: Mutex<HashMap<String, Arc<Instance>>>,
}

impl SystemctlBackend {
    /// Prepares the backend; nothing is run, and no systemd is needed, before the first call.
    #[must_use]
    pub fn new(options: SystemctlOptions) -> Self {
        let (events, receiver) = event_channel();
        Self {
            common: Arc::new(Common {
                options,
                events,
                root: rustix::process::geteuid().is_root(),
                buses: Mutex::default(),
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

impl Backend for SystemctlBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            exit_code_survives: true,
            exact_stop: true,
            services_survive: true,
            passes_sockets: false,
            stdin: false,
            writes_logs: true,
            take_over: false,
            notes: vec![format!("systemctl: {}", self.common.options.systemctl)],
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
        let all = target != SignalTarget::Leader;
        Box::pin(async move { instance.signal(signal, all).await })
    }

    fn reload<'a>(
        &'a self,
        instance: &'a str,
        signal: Signal,
    ) -> BoxFuture<'a, Result<(), OperateError>> {
        let instance = self.instance(instance);
        Box::pin(async move { instance.reload(signal).await })
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
            let copy = found.life.lock().await.copy.clone();
            let Some(copy) = copy else {
                let instance = instance.to_owned();
                return Err(OperateError::Unknown { instance });
            };
            copy.rotate().await.map_err(|source| OperateError::Failed {
                instance: instance.to_owned(),
                operation: "rotate_log",
                source,
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

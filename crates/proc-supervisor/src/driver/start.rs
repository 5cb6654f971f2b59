//! Starts: who may, and how the backend is asked.

use std::sync::Arc;
use std::time::Duration;

use proc_backends::{Backend, InstanceSpec, StartError, Started};
use tokio::sync::Notify;

use super::{Driver, Msg, overall};
use crate::clock::Clock;
use crate::graph::{Gate, Standing};
use crate::machine::{Event, Phase};
use crate::state::{Desired, State};

impl Driver {
    /// Opens the gate of every pending instance whose needs hold, lower priorities first.
    pub(super) fn open_gates(&mut self) {
        if self.hold {
            return;
        }
        let lowest = self.services.values().map(|s| s.spec.priority).min();
        for (priority, key) in self.pending() {
            // Hundreds may wait for their turn, and every event leads here.
            if self.waits_for_its_turn(&key) {
                continue;
            }
            let event = match self.gate(&key) {
                Gate::Open => match lowest
                    .filter(|lowest| *lowest < priority)
                    .and_then(|_| self.earlier(priority))
                {
                    None => self
                        .budget(&key)
                        .map_or(Event::Gate, |reason| Event::Waits {
                            kind: "budget",
                            reason,
                        }),
                    Some(other) => Event::Waits {
                        kind: "dependency",
                        reason: format!("waits for `{other}` to start first"),
                    },
                },
                Gate::Waits(reason) | Gate::Blocked(reason) => Event::Waits {
                    kind: "dependency",
                    reason,
                },
            };
            if !self.knows(&key, &event) {
                self.drive(&key, event);
            }
        }
    }

    /// Returns whether the budgets have given a pending instance a turn that has not come yet.
    fn waits_for_its_turn(&self, key: &str) -> bool {
        let now = self.clock.now();
        self.instances.get(key).is_some_and(|instance| {
            let later = instance.turn.is_some_and(|turn| turn > now);
            later
                && instance.machine.comes_back_by_itself()
                && instance.machine.state() == State::Pending
        })
    }

    /// Returns whether a pending instance has been told this already.
    fn knows(&self, key: &str, event: &Event) -> bool {
        let Event::Waits { reason, .. } = event else {
            return false;
        };
        self.instances
            .get(key)
            .is_some_and(|instance| instance.machine.reason() == reason)
    }

    /// Returns the pending instances in the order in which they are to start.
    fn pending(&self) -> Vec<(i32, String)> {
        let place = |name: &str| self.project.services.iter().position(|s| s.name == name);
        let mut pending: Vec<_> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.machine.phase() == Phase::Pending)
            .filter(|(_, instance)| instance.order.is_none() && instance.unwritten.is_none())
            .filter_map(|(key, instance)| {
                let service = self.services.get(&instance.service)?;
                let rank = (
                    service.spec.priority,
                    place(&instance.service),
                    instance.index,
                );
                Some((rank, key.clone()))
            })
            .collect();
        pending.sort();
        pending
            .into_iter()
            .map(|((priority, _, _), key)| (priority, key))
            .collect()
    }

    /// Returns an instance of a lower priority that is on its way to its process.
    fn earlier(&self, priority: i32) -> Option<&str> {
        let mut lower = self.instances.iter().filter(|(_, instance)| {
            let service = self.services.get(&instance.service);
            service.is_some_and(|service| service.spec.priority < priority)
        });
        let on_its_way = lower.find(|(key, instance)| match instance.machine.phase() {
            Phase::PreStart | Phase::Spawning => true,
            // One that waits for its budget holds up nobody else.
            Phase::Pending => instance.turn.is_none() && self.gate(key) == Gate::Open,
            _ => false,
        });
        on_its_way.map(|(key, _)| key.as_str())
    }

    /// Returns whether the needs of an instance hold.
    pub(super) fn gate(&self, key: &str) -> Gate {
        let Some(instance) = self.instances.get(key) else {
            return Gate::Waits(String::new());
        };
        self.graph.gate(&instance.service, |on| self.standing(on))
    }

    /// Returns how a service stands, for those that have an edge to it.
    pub(super) fn standing(&self, name: &str) -> Option<Standing> {
        let service = self.services.get(name)?;
        let instances = || {
            self.instances
                .values()
                .filter(|i| i.service == name && !i.surplus && !i.is_spare())
        };
        let mut state = overall(instances().map(|instance| instance.machine.state()));
        // One that is about to go down holds nobody's needs any more.
        let leaving = instances().any(|instance| instance.order.is_some());
        if leaving && state == State::Running {
            state = State::Stopping;
        }
        let any = instances().next().is_some();
        Some(Standing {
            wanted: service.wanted == Desired::Up,
            state,
            ready: any && !leaving && instances().all(|instance| instance.machine.is_ready()),
            succeeded: any && instances().all(|instance| self.ended_well(instance)),
        })
    }

    /// Asks the backend for a process.
    pub(super) fn spawn(&mut self, key: &str) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        instance.epoch += 1;
        instance.started = None;
        instance.main = None;
        instance.held = None;
        instance.not_run = None;
        instance.survivors.clear();
        instance.status_text = None;
        instance.sequence = None;
        instance.note.clear();
        instance.turn = None;
        let call_off = Arc::new(Notify::new());
        instance.call_off = Some(Arc::clone(&call_off));
        let epoch = instance.epoch;
        let backend = instance.service.clone();
        let backend = self.backend_of(&backend);
        let spec = self.launch(key);
        let guard = self.guard(key);
        let key = key.to_owned();
        self.beside(async move {
            let result = match (backend, spec) {
                (Some(backend), Ok(spec)) => match guard.runs_already().await {
                    None => start(&*backend, &key, spec, &call_off).await,
                    Some(evidence) => Err(StartError::RunsAlready {
                        instance: key.clone(),
                        evidence,
                    }),
                },
                (Some(_), Err(error)) => Err(error),
                (None, _) => Err(StartError::Keeper {
                    instance: key.clone(),
                    source: std::io::Error::other("no such backend"),
                }),
            };
            Some(Msg::Spawned { key, epoch, result })
        });
    }

    /// The backend has answered a start.
    pub(super) fn spawned(&mut self, key: &str, epoch: u64, result: Result<Started, StartError>) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        if instance.epoch != epoch {
            return;
        }
        match result {
            Ok(started) => {
                let run = started.run;
                instance.last_run = instance.last_run.max(run);
                instance
                    .trouble
                    .retain(|what, _| !what.starts_with("downgrade "));
                for line in &started.downgrades {
                    instance
                        .trouble
                        .insert(format!("downgrade {line}"), line.clone());
                }
                // A daemon may have been followed before the answer to its start was here.
                let main = instance.main.clone().filter(|main| main.run == run);
                instance.started = Some(main.unwrap_or(started));
                self.drive(key, Event::Spawned { run });
                self.catch_up_with_files(key);
            }
            Err(error) => {
                let code = error.exit_code();
                instance.not_run = Some(code);
                let reason = chain(&error);
                self.drive(
                    key,
                    Event::SpawnFailed {
                        reason,
                        code,
                        random: random(),
                    },
                );
            }
        }
    }

    /// Says when a scheduled instance is next due.
    pub(super) fn schedule(&mut self, key: &str) {
        if let Some(due) = self.next_due(key, self.clock.now()) {
            self.drive(key, Event::NextAt(due));
        }
    }

    fn next_due(&self, key: &str, now: Duration) -> Option<Duration> {
        let service = self.services.get(&self.instances.get(key)?.service)?;
        let cron = service.spec.schedule.as_ref()?;
        let after = Clock::stamp(now).unix_ms();
        let due = self.fixed.local_time.next_after(cron, after)?;
        Some(Duration::from_millis(u64::try_from(due).ok()?))
    }
}

/// Starts, and passes it on when the start is called off meanwhile.
async fn start(
    backend: &dyn Backend,
    key: &str,
    spec: InstanceSpec,
    call_off: &Notify,
) -> Result<Started, StartError> {
    let mut starting = backend.start(spec);
    tokio::select! {
        // The start has begun before it can be called off.
        biased;
        result = &mut starting => result,
        () = call_off.notified() => {
            backend.call_off(key).await;
            starting.await
        }
    }
}

/// Returns an error with everything under it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(below) = source {
        text.push_str(": ");
        text.push_str(&below.to_string());
        source = below.source();
    }
    text
}

/// Returns a number from 0 to 1, good enough to keep restarts apart.
pub(super) fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

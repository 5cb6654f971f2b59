//! Stops: in which order, and how the backend is asked.

use std::time::Duration;

use proc_backends::{Backend, OperateError};
use proc_core::{StopReport, StopSequence, Survivor};

use super::instance::StopOrder;
use super::start::{chain, random};
use super::{Driver, Instance, Msg};
use crate::machine::{Event, Phase};
use crate::request::{Grace, StopOptions};
use crate::state::Desired;
use crate::view::{SurvivorView, Who};

/// How much longer than its sequence a backend may take before it is given up on.
const SLACK: Duration = Duration::from_secs(20);

impl Driver {
    /// Orders instances down (or down and up again); they go as soon as what depends on them has.
    pub(super) fn order_stop(
        &mut self,
        keys: &[String],
        (kind, by): (&'static str, Option<&Who>),
        again: bool,
        options: &StopOptions,
    ) {
        let special = options.grace.is_some() || options.signal.is_some();
        for key in keys {
            let sequence = special.then(|| self.sequence(key, options));
            let Some(instance) = self.instances.get_mut(key) else {
                continue;
            };
            if sequence.is_some() {
                instance.sequence = sequence;
            }
            let order = StopOrder {
                kind,
                by: by.cloned(),
                again,
            };
            if instance.is_ending() {
                self.carry_out(key, order);
                if special {
                    self.drive(key, Event::Hasten);
                }
            } else {
                instance.order = Some(order);
            }
        }
    }

    fn sequence(&self, key: &str, options: &StopOptions) -> StopSequence {
        let service = self
            .instances
            .get(key)
            .and_then(|i| self.services.get(&i.service));
        let grace = options.grace.map(Grace::duration);
        service.map_or_else(StopSequence::default, |service| {
            service.spec.stop.sequence(options.signal, grace)
        })
    }

    fn carry_out(&mut self, key: &str, order: StopOrder) {
        let StopOrder { kind, by, again } = order;
        let event = if again {
            Event::Restart { kind, by }
        } else {
            Event::Stop { kind, by }
        };
        self.drive(key, event);
        self.call_off(key);
    }

    /// Calls off a start that is no longer wanted; in the queue of a cluster it could last for hours.
    fn call_off(&self, key: &str) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let machine = &instance.machine;
        let unwanted = machine.phase() == Phase::Spawning && machine.desired() == Desired::Down;
        if let (true, Some(call_off)) = (unwanted, &instance.call_off) {
            call_off.notify_one();
        }
    }

    /// Carries out every order that nothing holds up any more.
    pub(super) fn release_stops(&mut self) {
        loop {
            let free: Vec<String> = self
                .instances
                .iter()
                .filter(|(_, instance)| instance.order.is_some())
                .filter(|(_, instance)| !self.is_held_up(&instance.service))
                .map(|(key, _)| key.clone())
                .collect();
            if free.is_empty() {
                return;
            }
            for key in free {
                if let Some(order) = self.instances.get_mut(&key).and_then(|i| i.order.take()) {
                    self.carry_out(&key, order);
                }
            }
        }
    }

    /// Returns whether something that depends on the service is going down and not down yet.
    fn is_held_up(&self, service: &str) -> bool {
        let going = |on: &str| {
            self.instances
                .values()
                .filter(|instance| instance.service == on)
                .any(is_going)
        };
        self.graph.held_up_by(service, going).is_some()
    }

    /// Asks the backend to end a tree.
    pub(super) fn end(&mut self, key: &str) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let Some(service) = self.services.get(&instance.service) else {
            return;
        };
        let asked = instance.machine.phase() == Phase::Ending && instance.sequence.is_none();
        let command = if asked { self.stop_command(key) } else { None };
        let ordinary = || service.spec.stop.steps.clone();
        let sequence = instance.sequence.clone().unwrap_or_else(ordinary);
        let (epoch, backend) = (instance.epoch, self.backend_of(&instance.service));
        let key = key.to_owned();
        self.beside(async move {
            let sequence = match command {
                Some(command) => command.run(sequence).await,
                None => sequence,
            };
            let result = match backend {
                Some(backend) => stop_within(&*backend, &key, sequence).await,
                None => Err(OperateError::Unknown {
                    instance: key.clone(),
                }),
            };
            Some(Msg::Ended { key, epoch, result })
        });
    }

    /// The backend has answered an end.
    pub(super) fn ended(
        &mut self,
        key: &str,
        epoch: u64,
        result: Result<StopReport, OperateError>,
    ) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        if instance.epoch != epoch {
            return;
        }
        let survivors = match result {
            Ok(report) => {
                if report.survivors.is_empty() {
                    instance.resolve_doubt();
                }
                instance.survivors = report.survivors.into_iter().map(|s| view(key, s)).collect();
                in_words(&instance.survivors)
            }
            // There is nothing of it: that is what was wanted.
            Err(OperateError::Unknown { .. } | OperateError::NotRunning { .. }) => None,
            Err(error) => {
                let reason = chain(&error);
                instance.survivors = leader(key, instance, &reason);
                Some(reason)
            }
        };
        self.drive(
            key,
            Event::TreeGone {
                survivors,
                random: random(),
            },
        );
    }
}

/// Returns whether an instance is going down, and not down yet.
fn is_going(instance: &Instance) -> bool {
    let called_off =
        instance.machine.phase() == Phase::Spawning && instance.machine.desired() == Desired::Down;
    instance.is_ending() || called_off || instance.order.is_some()
}

fn view(key: &str, survivor: Survivor) -> SurvivorView {
    SurvivorView {
        instance: key.to_owned(),
        pid: survivor.pid,
        comm: survivor.comm,
        reason: survivor.reason,
    }
}

fn in_words(survivors: &[SurvivorView]) -> Option<String> {
    let words: Vec<String> = survivors
        .iter()
        .map(|survivor| match &*survivor.comm {
            // Where not even its name is known, the reason says more.
            "" => format!("{} ({})", survivor.pid, survivor.reason),
            comm => format!("{} ({comm})", survivor.pid),
        })
        .collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// What is known to be left when the backend could not even try.
fn leader(key: &str, instance: &Instance, reason: &str) -> Vec<SurvivorView> {
    let leader = instance
        .started
        .as_ref()
        .filter(|_| instance.machine.is_live());
    let leader = leader.map(|started| SurvivorView {
        instance: key.to_owned(),
        pid: started.pid,
        comm: String::new(),
        reason: reason.to_owned(),
    });
    leader.into_iter().collect()
}

/// Stops with a bound: a backend that does not answer is as bad as one that cannot.
async fn stop_within(
    backend: &dyn Backend,
    key: &str,
    sequence: StopSequence,
) -> Result<StopReport, OperateError> {
    let longest = sequence.longest();
    let stop = backend.stop(key, sequence);
    let Some(longest) = longest else {
        return stop.await;
    };
    match tokio::time::timeout(longest + SLACK, stop).await {
        Ok(result) => result,
        Err(_) => Err(OperateError::Failed {
            instance: key.to_owned(),
            operation: "stop",
            source: std::io::ErrorKind::TimedOut.into(),
        }),
    }
}

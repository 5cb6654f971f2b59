//! What is shown.

use std::sync::Arc;
use std::time::Duration;

use proc_backends::Backend;

use super::instance::Part;
use super::{Driver, Instance};
use crate::clock::Clock;
use crate::handle::Reply;
use crate::machine::Timer;
use crate::stamp::Stamp;
use crate::state::State;
use crate::view::{InstanceStatus, ProjectStatus, ServiceStatus, SupervisorStatus};

/// How long the backends may take to add what only they know.
const PATIENCE: Duration = Duration::from_millis(500);

/// Which state of several instances stands for the service: the first of these that any has.
const ATTENTION: [State; 10] = [
    State::Failed,
    State::Unattended,
    State::Backoff,
    State::Stopping,
    State::Starting,
    State::Pending,
    State::Running,
    State::Scheduled,
    State::Exited,
    State::Stopped,
];

/// Returns the state of a service from those of its instances.
pub(crate) fn overall(states: impl Iterator<Item = State>) -> State {
    let states: Vec<State> = states.collect();
    ATTENTION
        .into_iter()
        .find(|state| states.contains(state))
        .unwrap_or(State::Stopped)
}

impl Driver {
    /// Answers with the whole project; what only backends know is added beside the loop.
    pub(super) fn answer_status(&self, reply: Reply<ProjectStatus>) {
        let mut status = self.status();
        let mut questions = Vec::new();
        for (key, instance) in &self.instances {
            if let Some(backend) = self.backend_of(&instance.service) {
                questions.push((
                    instance.service.clone(),
                    self.shown(key),
                    key.clone(),
                    backend,
                ));
            }
        }
        tokio::spawn(async move {
            let asked = tokio::time::timeout(PATIENCE, ask_all(questions)).await;
            for (service, shown, dropped, degraded) in asked.unwrap_or_default() {
                let service = status.services.iter_mut().find(|s| s.name == service);
                let instance =
                    service.and_then(|s| s.instances.iter_mut().find(|i| i.name == shown));
                if let Some(instance) = instance {
                    instance.log_dropped_bytes = Some(dropped);
                }
                status.degraded.extend(degraded);
            }
            status.degraded.sort();
            status.degraded.dedup();
            // Whoever asked may have gone.
            let _gone = reply.send(Ok(status));
        });
    }

    /// Returns the whole project as the driver knows it.
    pub(super) fn status(&self) -> ProjectStatus {
        let troubles = self.instances.values().flat_map(|i| i.trouble.values());
        ProjectStatus {
            project: self.project.name.clone(),
            state_dir: self.fixed.state_dir.clone(),
            supervisor: Some(SupervisorStatus {
                pid: self.fixed.pid,
                started_at: self.fixed.started_at,
                version: self.fixed.version.clone(),
            }),
            services: self
                .order()
                .iter()
                .filter_map(|name| self.service_status(name))
                .collect(),
            degraded: self.trouble.values().chain(troubles).cloned().collect(),
        }
    }

    pub(super) fn service_status(&self, name: &str) -> Option<ServiceStatus> {
        let service = self.services.get(name)?;
        // During a rolling restart an index has two; what survived its end is shown as well.
        let shown = |instance: &Instance| {
            !instance.is_spare() || instance.part == Part::Extra || !instance.survivors.is_empty()
        };
        let instances: Vec<InstanceStatus> = self
            .keys_where(name, shown)
            .iter()
            .filter_map(|key| Some(self.instance_status(key, self.instances.get(key)?)))
            .collect();
        let state = overall(instances.iter().map(|instance| instance.state));
        let reason = instances.iter().find(|instance| instance.state == state);
        Some(ServiceStatus {
            name: name.to_owned(),
            backend: service.spec.backend.as_str().to_owned(),
            desired: service.wanted,
            state,
            ready: !instances.is_empty() && instances.iter().all(|instance| instance.ready),
            reason: reason
                .map(|instance| instance.reason.clone())
                .unwrap_or_default(),
            instances,
        })
    }

    fn instance_status(&self, key: &str, instance: &Instance) -> InstanceStatus {
        let machine = &instance.machine;
        let live = instance.started.as_ref().filter(|_| machine.is_live());
        let started_at = live.map(|started| Stamp::from(started.started_at));
        let due = match machine.state() {
            State::Backoff => machine.deadline(Timer::Retry),
            State::Scheduled => machine.deadline(Timer::Schedule),
            State::Pending => instance.turn,
            _ => None,
        };
        let sockets = self.services.get(&instance.service).into_iter();
        InstanceStatus {
            name: self.shown(key),
            index: instance.index,
            state: machine.state(),
            ready: machine.is_ready(),
            log_name: Some(key.to_owned()),
            reason: self.reason(instance),
            pid: live.map(|started| started.pid).filter(|pid| *pid > 0),
            identity: live.map(|started| started.identity.clone()),
            pgid: live.map(|started| started.pgid).filter(|pgid| *pgid > 0),
            started_at,
            uptime_ms: started_at.map(|at| Clock::stamp(self.clock.now()).ms_since(at)),
            restarts: machine.restarts(),
            attempt: machine.attempt(),
            retry_at: due.map(Clock::stamp),
            last_exit: instance.last_exit.clone(),
            status_text: instance.status_text.clone(),
            log_dropped_bytes: None,
            survivors: instance.survivors.clone(),
            listen: sockets
                .flat_map(|service| {
                    // In the order of the configuration, which is that of the descriptors.
                    let listens = service.spec.listen.iter();
                    listens.filter_map(|listen| service.sockets.get(&listen.to_string()))
                })
                .map(|(_, address)| address.clone())
                .collect(),
        }
    }

    /// Why an instance is in its state; of a live one that is not ready, what its probe saw last.
    fn reason(&self, instance: &Instance) -> String {
        let machine = &instance.machine;
        if machine.is_ready() && machine.reason().is_empty() {
            return instance.note.clone();
        }
        if !machine.reason().is_empty() || !machine.is_live() {
            return machine.reason().to_owned();
        }
        instance
            .awaited()
            .map(|evidence| format!("not ready: {evidence}"))
            .unwrap_or_default()
    }
}

type Question = (String, String, String, Arc<dyn Backend>);
type Answer = (String, String, u64, Vec<String>);

async fn ask_all(questions: Vec<Question>) -> Vec<Answer> {
    let mut asked = tokio::task::JoinSet::new();
    for (service, shown, key, backend) in questions {
        asked.spawn(async move {
            let status = backend.status(&key).await.ok()?;
            Some((service, shown, status.log_dropped_bytes, status.degraded))
        });
    }
    let mut answers = Vec::new();
    while let Some(answer) = asked.join_next().await {
        answers.extend(answer.ok().flatten());
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_that_needs_most_attention_stands_for_the_service() {
        let all = |states: &[State]| overall(states.iter().copied());
        assert_eq!(all(&[]), State::Stopped);
        assert_eq!(all(&[State::Running, State::Backoff]), State::Backoff);
        assert_eq!(all(&[State::Running, State::Exited]), State::Running);
        assert_eq!(
            all(&[State::Running, State::Starting, State::Failed]),
            State::Failed
        );
        assert_eq!(ATTENTION.len(), State::ALL.len());
    }
}

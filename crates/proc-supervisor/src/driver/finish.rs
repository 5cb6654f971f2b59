//! The end of the project, by request or by itself, and of the supervisor.

use std::time::Duration;

use proc_spec::{ExitProject, OnExit};

use super::{Driver, Inputs};
use crate::graph::Gate;
use crate::handle::Reply;
use crate::machine::Phase;
use crate::request::{Finished, Outcome, Report, StopOptions};
use crate::state::{Desired, State};
use crate::view::{SurvivorView, Who};

/// How long the backends may take to forget, and the disk to take the last records.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// An end under way.
#[derive(Debug)]
pub(crate) struct Ending {
    finished: Finished,
    replies: Vec<Reply<Report>>,
    /// The supervisor goes and its services stay.
    leaving: Option<Reply<()>>,
}

impl Driver {
    pub(super) fn ask_down(&mut self, options: &StopOptions, who: &Who, reply: Reply<Report>) {
        let finished = Finished {
            code: 0,
            service: None,
            reason: format!("{} asked for it", super::ask::in_words(who)),
            survivors: Vec::new(),
        };
        self.end_project(finished, Some(who), options);
        if let Some(ending) = &mut self.ending {
            ending.replies.push(reply);
        }
    }

    /// Leaves the services as they are and ends the supervisor alone.
    pub(super) fn ask_leave(&mut self, reply: Reply<()>) {
        self.ending = Some(Ending {
            finished: Finished {
                code: 0,
                service: None,
                reason: "the supervisor was replaced".to_owned(),
                survivors: Vec::new(),
            },
            replies: Vec::new(),
            leaving: Some(reply),
        });
    }

    /// Takes everything down; a second time hastens it.
    fn end_project(&mut self, finished: Finished, who: Option<&Who>, options: &StopOptions) {
        if self.ending.is_none() {
            self.tell_project("down", Some(finished.reason.clone()));
            self.hold = true;
            self.ending = Some(Ending {
                finished,
                replies: Vec::new(),
                leaving: None,
            });
        }
        let keys: Vec<String> = self.instances.keys().cloned().collect();
        self.order_stop(&keys, ("down", who), false, options);
    }

    /// Begins the end of the project where its own rules say so.
    pub(super) fn watch_for_the_end(&mut self) {
        if self.ending.is_some() || self.hold {
            return;
        }
        if let Some(finished) = self.ended_by_a_service().or_else(|| self.ended_by_itself()) {
            self.end_project(finished, None, &StopOptions::default());
        }
    }

    /// A service whose end is the end of the project.
    fn ended_by_a_service(&self) -> Option<Finished> {
        self.instances.iter().find_map(|(key, instance)| {
            let state = instance.machine.state();
            if instance.is_spare()
                || !matches!(state, State::Exited | State::Failed)
                || !instance.ended_here
            {
                return None;
            }
            let spec = &self.services.get(&instance.service)?.spec;
            let named = &self.fixed.exit_with;
            let named = named
                .iter()
                .any(|name| *name == instance.service || name == key);
            let ends = named
                || match spec.exit_project {
                    ExitProject::Never => false,
                    ExitProject::Always => true,
                    ExitProject::OnFailure => state == State::Failed || !self.ended_well(instance),
                };
            ends.then(|| self.end_of_project_by(key, instance))
        })
    }

    /// Everything has ended, and nothing is left to wait for.
    fn ended_by_itself(&self) -> Option<Finished> {
        if self.project.on_exit != OnExit::Stop {
            return None;
        }
        let wanted = || {
            self.instances.iter().filter(|(_, instance)| {
                let service = self.services.get(&instance.service);
                !instance.is_spare() && service.is_some_and(|service| service.wanted == Desired::Up)
            })
        };
        let ended = |key: &String, phase: Phase| match phase {
            Phase::Exited | Phase::Failed | Phase::Stopped => true,
            Phase::Pending => matches!(self.gate(key), Gate::Blocked(_)),
            _ => false,
        };
        let all = wanted().all(|(key, instance)| ended(key, instance.machine.phase()));
        let any = wanted().any(|(_, instance)| instance.ended_here);
        let up = self.instances.values().any(|instance| instance.is_up());
        if !(all && any && !up) {
            return None;
        }
        let last = wanted().find(|(key, _)| self.last_ended.as_ref() == Some(*key));
        let badly = last.map(|(key, instance)| self.end_of_project_by(key, instance));
        Some(badly.filter(|end| end.code != 0).unwrap_or(Finished {
            code: i32::from(wanted().any(|(_, i)| i.machine.state() == State::Failed)),
            service: None,
            reason: "all services have ended".to_owned(),
            survivors: Vec::new(),
        }))
    }

    /// The end of the project with the code of this instance.
    fn end_of_project_by(&self, key: &str, instance: &super::Instance) -> Finished {
        let (state, reason) = (instance.machine.state(), instance.machine.reason());
        Finished {
            code: exit_code(instance, state),
            service: Some(instance.service.clone()),
            reason: format!("`{}` {state}: {reason}", self.shown(key)),
            survivors: Vec::new(),
        }
    }

    /// Returns whether nothing keeps the supervisor any more.
    pub(super) fn is_finished(&self) -> bool {
        let Some(ending) = &self.ending else {
            return false;
        };
        let down = |instance: &super::Instance| {
            instance.order.is_none() && instance.machine.state().is_down() && !instance.is_up()
                || (instance.machine.phase() == Phase::Failed && instance.order.is_none())
        };
        ending.leaving.is_some() || self.instances.values().all(down)
    }

    /// The last words: records, answers, and the outcome.
    pub(super) async fn leave(mut self, inputs: &mut Inputs) {
        let Some(mut ending) = self.ending.take() else {
            return;
        };
        let survivors: Vec<SurvivorView> = self
            .instances
            .values()
            .flat_map(|i| i.survivors.clone())
            .collect();
        self.settle_tickets();
        if ending.leaving.is_some() {
            self.let_live().await;
            self.save_project(false);
        } else {
            self.forget_all().await;
            self.save_project(true);
        }
        // A disk that refuses must not keep a supervisor from ending; it was told all along.
        let _on_disk = self.recorder.flush(LAST_WORDS).await;
        // Followers hear of an event when it is written, and the last ones were written just now.
        while let Ok(report) = inputs.reports.try_recv() {
            self.reported(report);
        }
        let report = Report {
            outcomes: self.last_outcomes(),
            survivors: survivors.clone(),
        };
        // Whoever hears of the end may start the next supervisor at once.
        drop(self.recorder);
        self.writer.wait(LAST_WORDS).await;
        for reply in ending.replies {
            let _gone = reply.send(Ok(report.clone()));
        }
        if let Some(reply) = ending.leaving.take() {
            let _gone = reply.send(Ok(()));
        }
        ending.finished.survivors = survivors;
        self.finished.send_replace(Some(ending.finished));
    }

    fn last_outcomes(&self) -> Vec<Outcome> {
        let outcome = |(key, instance): (&String, &super::Instance)| Outcome {
            name: self.shown(key),
            ok: instance.survivors.is_empty(),
            message: instance.machine.reason().to_owned(),
        };
        let all = self.instances.iter();
        all.filter(|(_, instance)| !instance.is_spare() || !instance.survivors.is_empty())
            .map(outcome)
            .collect()
    }

    /// Ends the keepers of what is down.
    async fn forget_all(&self) {
        let mut work = tokio::task::JoinSet::new();
        for (key, instance) in &self.instances {
            if let Some(backend) = self.backend_of(&instance.service) {
                let key = key.clone();
                work.spawn(async move {
                    // A survivor's keeper stays with it.
                    let _kept = backend.forget(&key).await;
                });
            }
        }
        let _too_slow = tokio::time::timeout(LAST_WORDS, work.join_all()).await;
    }

    /// Tells the keepers that their supervisor goes on purpose, and that another one comes.
    async fn let_live(&self) {
        let mut work = tokio::task::JoinSet::new();
        for (key, instance) in &self.instances {
            let backend = self
                .backend_of(&instance.service)
                .filter(|_| instance.is_up());
            if let Some(backend) = backend {
                let key = key.clone();
                work.spawn(async move {
                    // Without a keeper there is nothing that would end it.
                    let _no_keeper = backend.set_die_with_supervisor(&key, false).await;
                });
            }
        }
        let _too_slow = tokio::time::timeout(LAST_WORDS, work.join_all()).await;
    }
}

fn exit_code(instance: &super::Instance, state: State) -> i32 {
    let ended = instance.last_exit.as_ref();
    let ended = ended.and_then(|exit| match (exit.code, exit.signal) {
        (Some(code), _) => Some(code),
        (None, Some(signal)) => Some(128 + signal),
        (None, None) => None,
    });
    match instance.not_run.or(ended) {
        Some(0) if state == State::Failed => 1,
        Some(code) => code,
        None => 1,
    }
}

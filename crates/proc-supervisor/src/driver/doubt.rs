//! Instances of which their backend cannot tell whether they live: nothing is started over them, they are told as failed with the
//! reason and the remedy, and asked after until it can be told.

use std::time::Duration;

use proc_backends::{AdoptError, Adopted};

use super::adopt::ask_after;
use super::start::chain;
use super::{Driver, Msg};
use crate::record::InstanceRecord;
use crate::state::{Desired, State};
use crate::view::SurvivorView;

/// The first and the longest pause between two looks.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What the trouble is called.
const TROUBLE: &str = "doubt";

/// That it cannot be told whether an instance lives.
#[derive(Debug)]
pub(crate) struct Doubt {
    pause: Duration,
    /// Whether the backend is being asked at this moment.
    pub(crate) looking: bool,
}

impl Driver {
    /// The backend cannot tell whether an instance lives.
    pub(super) fn doubted(&mut self, key: &str, record: Option<&InstanceRecord>, why: &AdoptError) {
        let AdoptError::Doubt {
            pid, run, obstacle, ..
        } = why
        else {
            return;
        };
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let reason = chain(why);
        let before = instance.doubt.take();
        let pause = before.as_ref().map_or(PAUSE.0, |doubt| doubt.pause * 2);
        let pause = pause.min(PAUSE.1);
        instance.doubt = Some(Doubt {
            pause,
            looking: false,
        });
        instance
            .trouble
            .insert(TROUBLE.to_owned(), format!("{key}: {reason}"));
        if before.is_none() {
            let recorded = record.and_then(|record| record.identity.as_ref());
            instance.survivors = vec![SurvivorView {
                instance: key.to_owned(),
                pid: pid.or(recorded.map(|leader| leader.pid)).unwrap_or(0),
                comm: String::new(),
                reason: format!("it may have ended: {obstacle}"),
            }];
            let run = run.unwrap_or(instance.last_run);
            instance.last_run = instance.last_run.max(run);
            let told = record.map_or(State::Stopped, |record| record.state);
            let actions = instance.machine.restore_doubt(run, reason, told);
            self.perform(key, actions);
        }
        self.look_later(key, pause);
    }

    fn look_later(&self, key: &str, pause: Duration) {
        let key = key.to_owned();
        self.beside(async move {
            tokio::time::sleep(pause).await;
            Some(Msg::LookAgain { key })
        });
    }

    /// Asks the backend once more, unless the instance is being ended: then that tells.
    pub(super) fn look_again(&mut self, key: &str) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let ending = instance.is_ending();
        let service = instance.service.clone();
        let Some(doubt) = instance.doubt.as_mut().filter(|doubt| !doubt.looking) else {
            return;
        };
        if ending {
            let pause = doubt.pause;
            return self.look_later(key, pause);
        }
        doubt.looking = true;
        if let Some(backend) = self.backend_of(&service) {
            let key = key.to_owned();
            self.beside(async move {
                let found = Box::new(ask_after(&*backend, &key).await);
                Some(Msg::Looked { key, found })
            });
        }
    }

    /// The backend has answered.
    pub(super) fn looked(&mut self, key: &str, found: Result<Option<Adopted>, AdoptError>) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let ending = instance.is_ending();
        let Some(doubt) = &mut instance.doubt else {
            return;
        };
        doubt.looking = false;
        let pause = doubt.pause;
        match found {
            Err(why @ AdoptError::Doubt { .. }) => return self.doubted(key, None, &why),
            _ if ending => return self.look_later(key, pause),
            _ => {}
        }
        instance.resolve_doubt();
        // What it is told as is nothing that it could be left in.
        let told = instance.machine.told();
        instance
            .machine
            .restore_rest(State::Stopped, Desired::Down, String::new());
        instance.machine.set_told(told);
        match found {
            Ok(Some(adopted)) => self.adopted(key, &adopted, None),
            Ok(None) => {}
            Err(error) => self.unreadable(key, &error),
        }
        let who = self.who.clone();
        self.bring_to_level(key, None, &who);
    }
}

impl super::Instance {
    /// It can be told now.
    pub(super) fn resolve_doubt(&mut self) {
        if self.doubt.take().is_some() {
            self.survivors.clear();
            self.trouble.remove(TROUBLE);
        }
    }
}

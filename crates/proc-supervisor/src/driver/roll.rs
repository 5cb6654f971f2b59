//! Rolling restarts: a new instance beside the old one, which goes only when the new one is ready.
//!
//! A backend knows each by a key of its own, so that an index has two keys in turn: `web` and
//! `web~b`. The output of both is found by the part before `~`. Runs are counted on from the old
//! one, so that an exit is still known by instance and run.

use super::instance::Part;
use super::launch::rules;
use super::tickets::Goal;
use super::{Driver, Instance};
use crate::graph::Gate;
use crate::machine::{Event, Machine};
use crate::request::{Outcome, StopOptions};
use crate::state::State;
use crate::view::Who;

/// What tells the second key of an index from the first.
const SECOND: &str = "~b";

/// What came of the wish to replace an instance.
pub(super) enum Begun {
    /// A new instance is on its way.
    New,
    /// There is nothing to keep, or no room for a second one: it is restarted as it is.
    InPlace,
    /// An earlier replacement is still under way.
    NotYet,
    /// It cannot be replaced.
    Not(String),
}

/// Where a replacement stands.
enum Standing {
    Coming,
    Ready,
    Failed(String),
}

/// Returns a key without what tells the two of an index apart.
pub(super) fn plain(key: &str) -> &str {
    key.split_once('~').map_or(key, |(plain, _)| plain)
}

impl Driver {
    /// Returns `key`, or the second key of that index where the first is taken.
    pub(super) fn free_key(&self, key: &str) -> String {
        if self.instances.contains_key(key) {
            format!("{key}{SECOND}")
        } else {
            key.to_owned()
        }
    }

    /// Starts a new instance beside the one with this key.
    pub(super) fn begin_roll(&mut self, key: &str, who: &Who) -> Begun {
        let Some(old) = self.instances.get(key) else {
            return Begun::Not("it is no more".to_owned());
        };
        let spare = self.instances.values().find(|other| {
            other.service == old.service && other.index == old.index && other.is_spare()
        });
        match spare {
            Some(spare) if !spare.survivors.is_empty() => {
                return Begun::Not(format!("an earlier one {}", spare.machine.reason()));
            }
            Some(_) => return Begun::NotYet,
            None => {}
        }
        let Some(service) = self.services.get(&old.service) else {
            return Begun::Not("it is no more".to_owned());
        };
        let spec = &service.spec;
        let ours = spec.backend == proc_spec::BackendName::Native;
        let lasting = !spec.oneshot && spec.schedule.is_none();
        if !ours || !lasting || !old.machine.is_live() || old.is_ending() || old.order.is_some() {
            return Begun::InPlace;
        }
        let mut once = rules(spec);
        // One that does not come up is given up at once: the old one is still there.
        once.policy.mode = proc_policy::Mode::Never;
        let mut new = Instance::new(&old.service, old.index, Machine::new(once));
        new.part = Part::New(key.to_owned());
        new.last_run = old.last_run;
        new.counted = old.counted;
        new.last_exit = old.last_exit.clone();
        new.notify = old.notify.successor();
        let first = plain(key);
        let second = format!("{first}{SECOND}");
        let new_key = if key == first {
            second
        } else {
            first.to_owned()
        };
        self.instances.insert(new_key.clone(), new);
        let event = Event::Restart {
            kind: "rolling",
            by: Some(who.clone()),
        };
        self.drive(&new_key, event);
        Begun::New
    }

    /// Carries replacements on: the old one goes when the new one is ready, and stays when the new
    /// one does not become so.
    pub(super) fn advance_rolls(&mut self) {
        let under_way = self.instances.iter().filter_map(|(key, instance)| {
            let Part::New(old) = &instance.part else {
                return None;
            };
            Some((key.clone(), old.clone()))
        });
        for (new, old) in under_way.collect::<Vec<_>>() {
            match self.stands(&new, &old) {
                Standing::Coming => {}
                Standing::Ready => self.take_over(&new, &old),
                Standing::Failed(why) => self.give_up(&new, &old, &why),
            }
        }
    }

    fn stands(&self, new: &str, old: &str) -> Standing {
        let (Some(instance), Some(before)) = (self.instances.get(new), self.instances.get(old))
        else {
            return Standing::Failed("what it was to replace is no more".to_owned());
        };
        let machine = &instance.machine;
        match machine.state() {
            State::Running if machine.is_ready() => Standing::Ready,
            State::Failed | State::Exited | State::Stopped | State::Backoff => {
                Standing::Failed(machine.reason().to_owned())
            }
            // With nothing left to keep it is a start like any other.
            _ if !before.machine.is_live() && !before.is_ending() => Standing::Ready,
            State::Pending => match self.gate(new) {
                Gate::Blocked(why) => Standing::Failed(why),
                Gate::Open | Gate::Waits(_) => Standing::Coming,
            },
            State::Starting
            | State::Running
            | State::Stopping
            | State::Scheduled
            | State::Unattended => Standing::Coming,
        }
    }

    /// The new one counts from now on, and the old one goes.
    fn take_over(&mut self, new: &str, old: &str) {
        let pid = |key: &str| {
            let started = self.instances.get(key).and_then(|i| i.started.as_ref());
            started.map_or_else(|| "?".to_owned(), |started| started.pid.to_string())
        };
        let detail = format!("pid {} replaces pid {}", pid(new), pid(old));
        let live = self.instances.get(old).is_some_and(Instance::is_up);
        let Some(spec) = self.spec_of(new) else {
            return;
        };
        if let Some(instance) = self.instances.get_mut(old) {
            instance.part = Part::Old;
            instance.surplus = true;
        }
        let Some(instance) = self.instances.get_mut(new) else {
            return;
        };
        instance.part = Part::Current;
        instance.machine.set_rules(rules(&spec));
        let note = instance.machine.note("rolling", None, detail);
        self.perform(new, vec![note]);
        for ticket in &mut self.tickets {
            for target in ticket.targets.iter_mut().filter(|t| t.key == old) {
                match target.goal {
                    // Whoever asked waits until the old one is gone.
                    Goal::Roll if live => target.goal = Goal::Down,
                    Goal::Roll => target.goal = Goal::Wait(crate::request::WaitFor::Settled),
                    Goal::Down => {}
                    Goal::Turn | Goal::After(_) | Goal::Wait(_) => new.clone_into(&mut target.key),
                }
                if target.goal != Goal::Down {
                    new.clone_into(&mut target.key);
                }
            }
        }
        let keys = [old.to_owned()];
        self.order_stop(&keys, ("rolling", None), false, &StopOptions::default());
    }

    /// The old one stays, and says why.
    fn give_up(&mut self, new: &str, old: &str, why: &str) {
        let lead = "kept: the new instance did not become ready";
        let message = if why.is_empty() {
            lead.to_owned()
        } else {
            format!("{lead}: {why}")
        };
        self.retire_new(new);
        let keys = [new.to_owned()];
        self.order_stop(&keys, ("rolling", None), false, &StopOptions::default());
        if let Some(instance) = self.instances.get_mut(old) {
            instance.note.clone_from(&message);
            let note = instance.machine.note("rolling", None, message.clone());
            self.perform(old, vec![note]);
        }
        for ticket in &mut self.tickets {
            for target in ticket.targets.iter_mut().filter(|t| t.key == old) {
                if target.goal == Goal::Roll {
                    target.outcome = Some(Outcome {
                        name: target.name.clone(),
                        ok: false,
                        message: message.clone(),
                    });
                }
            }
        }
    }

    /// Ends the replacements of these instances before they are ready, and returns the keys of
    /// all that still runs beside them. Whoever waits for one of them waits for the next run.
    pub(super) fn call_off_rolls(&mut self, keys: &[String]) -> Vec<String> {
        let spares: Vec<String> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.is_spare())
            .filter(|(_, spare)| {
                let current = keys.iter().filter_map(|key| self.instances.get(key));
                current
                    .into_iter()
                    .any(|i| i.service == spare.service && i.index == spare.index)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in &spares {
            self.retire_new(key);
        }
        for ticket in &mut self.tickets {
            for target in &mut ticket.targets {
                if target.goal == Goal::Roll && keys.contains(&target.key) {
                    let run = self.instances.get(&target.key).map_or(0, |i| i.last_run);
                    target.goal = Goal::After(run);
                }
            }
        }
        spares
    }

    fn retire_new(&mut self, key: &str) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.part = Part::Old;
            instance.surplus = true;
        }
    }

    /// The last exit of an index is that of whichever of the two ended last.
    pub(super) fn share_exit(&mut self, key: &str) {
        let found = self.instances.get(key);
        let Some(old) = found.filter(|i| matches!(i.part, Part::Old | Part::Extra)) else {
            return;
        };
        let (service, index, exit) = (old.service.clone(), old.index, old.last_exit.clone());
        let current = self
            .instances
            .values_mut()
            .find(|i| i.service == service && i.index == index && !i.is_spare());
        if let Some(current) = current {
            current.last_exit = exit;
        }
    }
}

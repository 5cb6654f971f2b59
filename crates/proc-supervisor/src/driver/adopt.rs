//! The beginning: what an earlier supervisor left is taken over, and what is wanted is started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proc_backends::{AdoptError, Adopted, Backend, RunState, Started};
use proc_core::Identity;
use proc_spec::{BackendName, Command, ServiceSpec, name_clashes};
use proc_store::Read;

use super::follow::may_go_on;
use super::instance::Part;
use super::launch::rules;
use super::start::chain;
use super::{Driver, Instance};
use crate::machine::{Action, Event, Machine};
use crate::options::Begin;
use crate::record::{InstanceRecord, ProjectRecord, ServiceRecord};
use crate::recorder::Job;
use crate::stamp::Stamp;
use crate::state::{Desired, State};
use crate::view::Who;

/// How long one adoption may take; a shim that does not answer is lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said of the configuration among the troubles.
pub(super) const CONFIG: &str = "config";

/// What an earlier supervisor left.
#[derive(Debug, Default)]
pub(crate) struct Left {
    pub(crate) project: Option<ProjectRecord>,
    pub(crate) instances: BTreeMap<String, InstanceRecord>,
    /// What could not be read, in words.
    pub(crate) set_aside: Vec<String>,
}

impl Left {
    pub(crate) fn read(state: &proc_store::StateDir) -> std::io::Result<Self> {
        let mut left = Self::default();
        match state.read::<ProjectRecord>("project")? {
            Read::Value(project) => left.project = Some(project),
            Read::Absent => {}
            Read::SetAside(aside) => left.set_aside.push(aside.to_string()),
        }
        let found = state.read_services::<InstanceRecord>()?;
        left.instances = found.records.into_iter().collect();
        left.set_aside
            .extend(found.set_aside.iter().map(ToString::to_string));
        let failed = found
            .failed
            .iter()
            .map(|(path, error)| format!("`{}`: {error}", path.display()));
        left.set_aside.extend(failed);
        Ok(left)
    }

    fn service(&self, name: &str) -> Option<&ServiceRecord> {
        self.project.as_ref()?.services.get(name)
    }
}

impl Driver {
    /// Takes over what lives, and counts what ended meanwhile.
    pub(super) async fn adopt(&mut self, begin: &Begin) {
        let left = std::mem::take(&mut self.left);
        for (number, line) in left.set_aside.iter().enumerate() {
            self.trouble
                .insert(format!("record {number}"), line.clone());
            self.tell_project("unreadable", Some(line.clone()));
        }
        if let Some(warning) = self.fixed.warning.clone() {
            self.tell_project("config", Some(warning.clone()));
            self.trouble.insert(CONFIG.to_owned(), warning);
        }
        self.set_up_services(&left, begin);
        for (key, record) in &left.instances {
            self.place(key, record, &left);
        }
        let services: Vec<String> = self.services.keys().cloned().collect();
        for name in services {
            self.fit_instances(&name);
        }
        let found = self.adopt_all(&left).await;
        for (key, adopted) in found {
            match adopted {
                Ok(Some(adopted)) => self.adopted(&key, &adopted, left.instances.get(&key)),
                Ok(None) => self.not_found(&key, left.instances.get(&key)),
                Err(doubt @ AdoptError::Doubt { .. }) => {
                    self.doubted(&key, left.instances.get(&key), &doubt);
                }
                Err(error) => {
                    self.unreadable(&key, &error);
                    self.not_found(&key, left.instances.get(&key));
                }
            }
        }
        if *begin != Begin::Nothing {
            self.catch_up_all(&left);
        }
    }

    /// What a backend remembered of an instance is lost.
    pub(super) fn unreadable(&mut self, key: &str, error: &AdoptError) {
        let line = format!("{key}: {}", chain(error));
        self.tell_project("unreadable", Some(line.clone()));
        self.trouble.insert(format!("record of {key}"), line);
    }

    /// Makes the services known, with what is wanted of them.
    fn set_up_services(&mut self, left: &Left, begin: &Begin) {
        let before = left.project.as_ref().filter(|project| !project.down);
        let named = match begin {
            Begin::ByHand(names) if !names.is_empty() => {
                Some(self.graph.closure(self.services_named(names)))
            }
            _ => None,
        };
        for spec in self.project.services.clone() {
            let record = before.and_then(|project| project.services.get(&spec.name));
            let earlier = record.map(|record| record.wanted);
            let by_itself = if spec.autostart {
                Desired::Up
            } else {
                Desired::Down
            };
            let wanted = match &named {
                Some(named) if named.contains(&spec.name) => Desired::Up,
                Some(_) => earlier.unwrap_or(Desired::Down),
                None => earlier.unwrap_or(by_itself),
            };
            let scaled = record.and_then(|record| record.scaled);
            let scaled = scaled.filter(|(_, configured)| *configured == spec.instances);
            let scaled = scaled.map(|(count, _)| count);
            let scaled = scaled.filter(|count| !self.would_clash(&spec.name, *count));
            self.add_service(&spec, wanted, scaled);
        }
        if named.is_none() && matches!(begin, Begin::ByHand(_)) {
            self.want_what_is_needed();
        }
    }

    /// Whether a service of the configuration is named as an instance of this one, if it has so many.
    fn would_clash(&self, name: &str, count: u32) -> bool {
        let services = self.project.services.iter();
        let counts = services.map(|spec| match spec.name == name {
            true => (name, count),
            false => (spec.name.as_str(), spec.instances),
        });
        !name_clashes(counts).is_empty()
    }

    /// What a wanted service needs is wanted, unless somebody stopped it by hand.
    fn want_what_is_needed(&mut self) {
        let wanted: Vec<String> = self
            .services
            .iter()
            .filter(|(_, service)| service.wanted == Desired::Up)
            .map(|(name, _)| name.clone())
            .collect();
        for name in self.graph.closure(wanted) {
            if let Some(service) = self.services.get_mut(&name)
                && !service.spec.autostart
            {
                service.wanted = Desired::Up;
            }
        }
    }

    /// Returns the services that names of services, instances, globs and groups mean.
    pub(crate) fn services_named(&self, names: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for name in names {
            if let Some(group) = name
                .strip_prefix('@')
                .and_then(|g| self.project.groups.get(g))
            {
                found.extend(group.members.iter().cloned());
            }
            for spec in &self.project.services {
                let mut instances = spec.instance_names();
                if super::ask::matches(name, &spec.name)
                    || instances.any(|instance| super::ask::matches(name, &instance))
                {
                    found.insert(spec.name.clone());
                }
            }
        }
        found
    }

    /// Puts a recorded instance in its place, at rest for the moment.
    fn place(&mut self, key: &str, record: &InstanceRecord, left: &Left) {
        if !self.services.contains_key(&record.service) {
            self.add_removed(&record.service, left);
        }
        let Some(service) = self.services.get_mut(&record.service) else {
            return;
        };
        let spec = Arc::clone(&service.spec);
        let mut part = record.part.clone();
        // A replacement that was under way is over; what it had not replaced yet goes on.
        if matches!(part, Part::New(_)) {
            part = Part::Old;
        }
        // A crash in the middle of a replacement may have left two: the later one counts.
        let twin = self.instances.iter_mut().find(|(_, other)| {
            other.service == record.service
                && other.index == record.index
                && other.part == Part::Current
                && other.saved.is_some()
        });
        if let (Part::Current, Some((_, twin))) = (&part, twin) {
            if twin.last_run < record.run {
                twin.part = Part::Old;
                twin.surplus = true;
            } else {
                part = Part::Old;
            }
        }
        if part == Part::Current {
            // Its name is kept for life, whatever the others are called by now.
            self.instances.retain(|other, instance| {
                other == key
                    || instance.saved.is_some()
                    || instance.service != record.service
                    || instance.index != record.index
            });
        }
        let Some(service) = self.services.get(&record.service) else {
            return;
        };
        let mut machine = Machine::new(rules(&spec));
        machine.restore_counters(record.counters.clone(), record.restarts, record.attempt);
        let mut instance = Instance::new(&record.service, record.index, machine);
        instance.last_run = record.run;
        instance.counted = record.counted;
        instance.last_exit = record.last_exit.clone();
        instance.surplus = service.removed
            || record.index > service.count
            || matches!(part, Part::Old | Part::Extra);
        instance.part = part;
        instance.saved = Some(record.clone());
        self.instances.insert(key.to_owned(), instance);
    }

    /// A service that is no longer in the configuration, for as long as something of it lives.
    fn add_removed(&mut self, name: &str, left: &Left) {
        let record = left.service(name);
        let mut spec = bare(name, &self.project.dir);
        if let Some(record) = record {
            spec.stop.steps = record.stop.clone();
            spec.backend = BackendName::from_word(&record.backend).unwrap_or(BackendName::Native);
        }
        self.add_service(&spec, Desired::Down, Some(0));
        if let Some(service) = self.services.get_mut(name) {
            service.removed = true;
        }
    }

    /// Asks every backend for what it finds, all at once.
    async fn adopt_all(
        &mut self,
        left: &Left,
    ) -> Vec<(String, Result<Option<Adopted>, AdoptError>)> {
        let mut work = tokio::task::JoinSet::new();
        for (key, backend) in self.recorded(left) {
            work.spawn(async move {
                let adopted = ask_after(&*backend, &key).await;
                (key, adopted)
            });
        }
        let mut found = work.join_all().await;
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// Returns everything on record here or with a backend.
    fn recorded(&mut self, left: &Left) -> Vec<(String, Arc<dyn Backend>)> {
        let mut all: BTreeMap<String, Arc<dyn Backend>> = BTreeMap::new();
        for key in left.instances.keys() {
            let service = self
                .instances
                .get(key)
                .map(|instance| instance.service.clone());
            if let Some(backend) = service.and_then(|service| self.backend_of(&service)) {
                all.insert(key.clone(), backend);
            }
        }
        for backend in self.backends.clone().into_values() {
            for key in backend.recorded() {
                self.place_unknown(&key, left);
                all.entry(key).or_insert_with(|| Arc::clone(&backend));
            }
        }
        all.into_iter().collect()
    }

    /// An instance that only its backend remembers: its record here was lost.
    fn place_unknown(&mut self, key: &str, left: &Left) {
        if self.instances.contains_key(key) {
            return;
        }
        let plain = super::roll::plain(key);
        let by_index = |spec: &ServiceSpec| {
            let index = plain
                .strip_prefix(&format!("{}-", spec.name))?
                .parse()
                .ok()?;
            Some((spec.name.clone(), index))
        };
        let known = self.project.services.iter().find(|spec| spec.name == plain);
        let (service, index) = known
            .map(|spec| (spec.name.clone(), 1))
            .or_else(|| self.project.services.iter().find_map(by_index))
            .unwrap_or_else(|| (plain.to_owned(), 1));
        if !self.services.contains_key(&service) {
            self.add_removed(&service, left);
        }
        let Some(found) = self.services.get(&service) else {
            return;
        };
        let mut instance = Instance::new(&service, index, Machine::new(rules(&found.spec)));
        let twin = self
            .instances
            .values()
            .any(|i| i.service == service && i.index == index);
        instance.surplus = found.removed || index > found.count || twin;
        self.instances.insert(key.to_owned(), instance);
    }

    /// A backend has told what became of an instance.
    pub(super) fn adopted(
        &mut self,
        key: &str,
        adopted: &Adopted,
        record: Option<&InstanceRecord>,
    ) {
        for note in &adopted.notes {
            self.tell_project("adopt", Some(format!("{key}: {note}")));
        }
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        instance.last_run = instance.last_run.max(adopted.last_run);
        // The last supervisor carried the restart out, and was killed before it could write that down.
        if let Some(record) = record
            && record.state == State::Backoff
            && adopted.last_run > record.run
        {
            let (counters, restarts) = (record.counters.clone(), record.restarts.saturating_add(1));
            instance
                .machine
                .restore_counters(counters, restarts, record.attempt);
        }
        if instance.counted > 0 {
            let counted = instance.counted;
            self.acknowledge(key, counted);
        }
        let booked = self.book_missed(key, &adopted.missed);
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        for line in &adopted.status.degraded {
            // Under the name by which its keeper will say that it is over.
            let what = line.split_once(": ").map_or(&**line, |(what, _)| what);
            instance
                .trouble
                .insert(what.to_owned(), format!("{key}: {line}"));
        }
        let told = match record {
            Some(record) if !booked => record.state,
            _ => instance.machine.told(),
        };
        match &adopted.status.state {
            RunState::Running(started) => self.adopted_run(key, started, record, told),
            RunState::Exited(exit) if exit.run > instance.counted => {
                let told = if told.is_down() { State::Running } else { told };
                // Where another process may go on as the service, its end is not certain yet.
                if self.spec_of(key).is_some_and(|spec| may_go_on(&spec)) {
                    self.restore(key, exit.run, exit.runtime, false, told);
                } else if let Some(instance) = self.instances.get_mut(key) {
                    instance.machine.restore_ended_run(exit.run, told);
                }
                self.exited(key, exit.run, exit);
            }
            RunState::Exited(exit) => {
                let run = exit.run;
                self.acknowledge(key, run);
                self.not_found(key, record);
            }
            RunState::Idle => self.not_found(key, record),
        }
    }

    fn adopted_run(
        &mut self,
        key: &str,
        started: &Started,
        record: Option<&InstanceRecord>,
        told: State,
    ) {
        let age = started.started_at.elapsed().unwrap_or_default();
        let same = record.filter(|record| record.run == started.run);
        let ready = same.is_some_and(|record| record.ready);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.started = Some(started.clone());
        }
        self.take_back_sockets(key, &started.identity);
        self.restore(key, started.run, age, ready, told);
        let service = self
            .instances
            .get(key)
            .and_then(|i| self.services.get(&i.service));
        let Some(spec) = service.map(|service| Arc::clone(&service.spec)) else {
            return;
        };
        if let Some(backend) = self.backend_of(&spec.name) {
            let (key, die) = (key.to_owned(), spec.die_with_supervisor);
            let die = die.unwrap_or(self.fixed.foreground);
            self.beside(async move {
                // A keeper that is lost is told of by an event of its own.
                let _lost = backend.set_die_with_supervisor(&key, die).await;
                None
            });
        }
    }

    fn restore(&mut self, key: &str, run: u64, age: Duration, ready: bool, told: State) {
        let now = self.clock.now();
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        instance.epoch += 1;
        instance.last_run = instance.last_run.max(run);
        let mut actions: Vec<Action> = Vec::new();
        instance
            .machine
            .restore_run(run, age, ready, told, now, &mut actions);
        self.perform(key, actions);
    }

    /// Nothing of it lives: it is where its record says, or where it can only be.
    fn not_found(&mut self, key: &str, record: Option<&InstanceRecord>) {
        let (Some(instance), Some(record)) = (self.instances.get_mut(key), record) else {
            return;
        };
        match record.state {
            State::Exited | State::Failed | State::Stopped => {
                let reason = record.reason.clone();
                instance
                    .machine
                    .restore_rest(record.state, record.desired, reason);
            }
            State::Backoff => {
                let due = record.retry_at.map_or(Duration::ZERO, stamp_to_duration);
                instance.machine.restore_backoff(due, record.reason.clone());
            }
            // What was under way never came about: it is wanted, and starts anew.
            State::Pending
            | State::Starting
            | State::Running
            | State::Stopping
            | State::Scheduled
            | State::Unattended => {
                instance
                    .machine
                    .restore_rest(State::Stopped, Desired::Down, String::new());
                instance.machine.set_told(record.state);
            }
        }
    }

    /// Brings what runs up to the present configuration.
    fn catch_up_all(&mut self, left: &Left) {
        let who = self.who.clone();
        for spec in self.project.services.clone() {
            let old: Option<&serde_json::Value> =
                left.service(&spec.name).map(|record| &record.image);
            if let Some(old) = old {
                self.catch_up(old, &spec, &who);
            }
        }
    }

    /// Makes wanted what is wanted: a level that every instance is brought to.
    pub(super) fn begin(&mut self, begin: &Begin, who: &Who) {
        self.hold = *begin == Begin::Nothing;
        self.tell_project(
            "supervisor",
            Some(format!("started by {}", super::ask::in_words(who))),
        );
        let by_hand = matches!(begin, Begin::ByHand(_)).then_some(who);
        let keys: Vec<String> = self.instances.keys().cloned().collect();
        for key in keys {
            self.bring_to_level(&key, by_hand, who);
        }
        self.forget_strangers();
        if !self.hold {
            self.save_applied();
            self.save_project(false);
        }
    }

    /// Starts what is wanted, and ends what is not.
    pub(super) fn bring_to_level(&mut self, key: &str, by_hand: Option<&Who>, who: &Who) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let wanted = self
            .services
            .get(&instance.service)
            .map(|service| service.wanted);
        // A run beside another one ends by itself.
        if self.hold || instance.part == Part::Extra && wanted == Some(Desired::Up) {
            return;
        }
        let (surplus, live) = (instance.surplus, instance.is_up());
        if surplus || wanted != Some(Desired::Up) {
            if live {
                let keys = [key.to_owned()];
                self.order_stop(&keys, ("config", Some(who)), false, &Default::default());
            }
        } else if instance.doubt.is_none() {
            let (by_hand, by) = (by_hand.is_some(), by_hand.cloned());
            self.drive(key, Event::Start { by_hand, by });
        }
    }

    /// Removes the records of instances that are surplus and not there.
    fn forget_strangers(&mut self) {
        let gone: Vec<String> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.surplus && !instance.is_up())
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.recorder.write(Job::Remove(key));
        }
    }
}

/// Asks a backend what became of an instance.
pub(super) async fn ask_after(
    backend: &dyn Backend,
    key: &str,
) -> Result<Option<Adopted>, AdoptError> {
    let adopted = tokio::time::timeout(PATIENCE, backend.adopt(key)).await;
    adopted.unwrap_or_else(|_| {
        Err(AdoptError::Io {
            path: key.into(),
            source: std::io::ErrorKind::TimedOut.into(),
        })
    })
}

fn stamp_to_duration(stamp: Stamp) -> Duration {
    Duration::from_millis(u64::try_from(stamp.unix_ms()).unwrap_or(0))
}

/// A spec that describes nothing but a name: it is there to be stopped.
fn bare(name: &str, dir: &Path) -> ServiceSpec {
    let mut spec = ServiceSpec::plain(name, Some(Command::Argv(Vec::new())), dir);
    spec.restart.mode = proc_policy::Mode::Never;
    spec
}

/// Returns whether the identity's process lives.
pub(crate) fn is_alive(identity: Option<&Identity>) -> bool {
    identity.is_some_and(|identity| identity.liveness().is_alive())
}

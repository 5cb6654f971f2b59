//! A changed configuration, and a changed number of instances.

use std::collections::BTreeSet;
use std::sync::Arc;

use proc_spec::{
    Action as PlanAction, Change as PlanEntry, MAX_INSTANCES, Project, ServiceSpec, diff,
    diff_service, instance_name, name_clashes,
};

use super::adopt::CONFIG;
use super::ask::refused;
use super::instance::Part;
use super::launch::rules;
use super::tickets::{Answer, Goal, Target, Ticket};
use super::{Driver, Instance, Service};
use crate::graph::Graph;
use crate::handle::Reply;
use crate::machine::{Event, Machine};
use crate::request::{Report, RequestError, StopOptions, WaitFor};
use crate::state::Desired;
use crate::view::Who;

impl Driver {
    pub(super) fn plan_for(&self, project: &Project) -> Result<Vec<PlanEntry>, RequestError> {
        self.check(project)?;
        Ok(diff(&self.images(), &project.services))
    }

    /// All or nothing: what cannot be carried out as a whole is refused before anything changes.
    fn check(&self, project: &Project) -> Result<(), RequestError> {
        if project.name != self.project.name {
            let why = format!(
                "the project is `{}`, not `{}`",
                self.project.name, project.name
            );
            return Err(refused(&why));
        }
        if let Some(cycle) = Graph::new(&project.services).cycle() {
            let why = format!(
                "the services need each other in a circle: {}",
                cycle.join(" -> ")
            );
            return Err(refused(&why));
        }
        let counts = project.services.iter().map(|spec| {
            let known = self.services.get(&spec.name).filter(|s| !s.removed);
            // What `scale` said holds for as long as the configuration's number stays.
            let count = known.filter(|s| s.scaled && s.spec.instances == spec.instances);
            let count = count.map_or(spec.instances, |service| service.count);
            (spec.name.as_str(), count)
        });
        no_clash(counts)?;
        let impossible = proc_backends::audit_project(project).refusals;
        if !impossible.is_empty() {
            let lines = impossible.iter().map(ToString::to_string).collect();
            return Err(RequestError::Config(lines));
        }
        for service in &project.services {
            let backend = service.backend.as_str();
            if !self.backends.contains_key(backend) {
                let why = format!("service `{}` wants the backend `{backend}`", service.name);
                return Err(refused(&format!("{why}, which is not there")));
            }
            let running = self
                .services
                .get(&service.name)
                .filter(|known| !known.removed);
            if running.is_some_and(|known| known.spec.backend != service.backend) {
                let why = format!(
                    "service `{}` changes its backend: stop it first",
                    service.name
                );
                if self
                    .all_keys_of(&service.name)
                    .iter()
                    .any(|key| self.is_up(key))
                {
                    return Err(refused(&why));
                }
            }
        }
        Ok(())
    }

    fn is_up(&self, key: &str) -> bool {
        self.instances.get(key).is_some_and(Instance::is_up)
    }

    pub(super) fn ask_apply(
        &mut self,
        project: Project,
        who: &Who,
        reply: Reply<(Vec<PlanEntry>, Report)>,
    ) {
        if self.ending.is_some() {
            return drop(reply.send(Err(refused("the project is being taken down"))));
        }
        let entries = match self.plan_for(&project) {
            Ok(entries) => entries,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let targets = self.apply(project, &entries, who);
        self.tickets.push(Ticket {
            targets,
            answer: Answer::Applied(reply, entries),
            rolling: None,
        });
    }

    /// Carries a plan out.
    fn apply(&mut self, project: Project, entries: &[PlanEntry], who: &Who) -> Vec<Target> {
        self.hold = false;
        self.graph = Graph::new(&project.services);
        self.project = project;
        self.trouble.remove(CONFIG);
        self.save_applied();
        let mut targets = Vec::new();
        let specs = self.project.services.clone();
        for entry in entries {
            let spec = specs.iter().find(|spec| spec.name == entry.service);
            match (entry.action, spec) {
                (PlanAction::Stop, _) | (_, None) => {
                    targets.extend(self.retire(&entry.service, who));
                }
                (PlanAction::Start, Some(spec)) => {
                    let wanted = if spec.autostart {
                        Desired::Up
                    } else {
                        Desired::Down
                    };
                    self.add_service(spec, wanted, None);
                    for key in self.keys_of(&spec.name) {
                        if wanted == Desired::Up {
                            self.start_one(&key, Some(who));
                            targets.push(self.target(&key, Goal::Wait(WaitFor::Settled)));
                        }
                    }
                }
                (PlanAction::Keep, Some(spec)) => {
                    targets.extend(self.replace_spec(spec, who));
                }
                (PlanAction::Signal, Some(spec)) => {
                    targets.extend(self.replace_spec(spec, who));
                    self.reload(&spec.name);
                }
                (PlanAction::Restart, Some(spec)) => {
                    targets.extend(self.replace_spec(spec, who));
                    targets.extend(self.replace_processes(&spec.name, who));
                }
            }
        }
        self.save_project(false);
        targets
    }

    /// Makes a service known, with its instances, at rest.
    pub(super) fn add_service(&mut self, spec: &ServiceSpec, wanted: Desired, scaled: Option<u32>) {
        let service = Service {
            image: spec.image(),
            spec: Arc::new(spec.clone()),
            wanted,
            count: scaled.unwrap_or(spec.instances),
            scaled: scaled.is_some(),
            sockets: std::collections::BTreeMap::new(),
            removed: false,
        };
        self.services.insert(spec.name.clone(), service);
        self.fit_instances(&spec.name);
    }

    /// Goes by a new spec without touching the processes; the number of instances follows.
    fn replace_spec(&mut self, spec: &ServiceSpec, who: &Who) -> Vec<Target> {
        let Some(service) = self.services.get_mut(&spec.name) else {
            return Vec::new();
        };
        if service.spec.instances != spec.instances {
            service.scaled = false;
        }
        if !service.scaled {
            service.count = spec.instances;
        }
        service.image = spec.image();
        service.spec = Arc::new(spec.clone());
        service.removed = false;
        let rules = rules(spec);
        for key in self.keys_of(&spec.name) {
            if let Some(instance) = self.instances.get_mut(&key) {
                instance.machine.set_rules(rules.clone());
                if instance.machine.is_live() && !instance.is_ending() {
                    self.unwatch(&key);
                    self.watch(&key);
                }
            }
        }
        self.rescale(&spec.name, who)
    }

    fn replace_processes(&mut self, service: &str, who: &Who) -> Vec<Target> {
        let keys = self.keys_of(service);
        let spares = self.call_off_rolls(&keys);
        self.order_stop(
            &spares,
            ("config", Some(who)),
            false,
            &StopOptions::default(),
        );
        let live: Vec<String> = keys.into_iter().filter(|key| self.is_up(key)).collect();
        let last = |key: &String| self.instances.get(key).map_or(0, |i| i.last_run);
        let goals: Vec<(String, u64)> = live.iter().map(|key| (key.clone(), last(key))).collect();
        self.order_stop(&live, ("config", Some(who)), true, &StopOptions::default());
        goals
            .iter()
            .map(|(key, run)| self.target(key, Goal::After(*run)))
            .collect()
    }

    /// Takes a service out: its instances stop and are forgotten.
    pub(super) fn retire(&mut self, service: &str, who: &Who) -> Vec<Target> {
        if let Some(service) = self.services.get_mut(service) {
            service.removed = true;
            service.wanted = Desired::Down;
        }
        let keys = self.all_keys_of(service);
        for key in &keys {
            if let Some(instance) = self.instances.get_mut(key) {
                instance.surplus = true;
            }
        }
        self.order_stop(&keys, ("config", Some(who)), false, &StopOptions::default());
        keys.iter()
            .map(|key| self.target(key, Goal::Down))
            .collect()
    }

    fn reload(&self, service: &str) {
        let Some(signal) = self
            .services
            .get(service)
            .and_then(|s| s.spec.reload_signal)
        else {
            return;
        };
        for key in self.keys_of(service) {
            if let Some(backend) = self.backend_of(service) {
                self.beside(async move {
                    if let Err(error) = backend.reload(&key, signal).await {
                        tracing::warn!(instance = key, %error, "cannot signal a changed service");
                    }
                    None
                });
            }
        }
    }

    pub(super) fn ask_scale(&mut self, counts: &[(String, u32)], who: &Who, reply: Reply<Report>) {
        // The last count of a service is the one that counts.
        let mut named: Vec<(String, u32)> = Vec::new();
        for (name, count) in counts {
            let services = self.services_meant(name);
            if services.is_empty() {
                return drop(reply.send(Err(RequestError::NoSuch(name.clone()))));
            }
            named.retain(|(service, _)| !services.contains(service));
            named.extend(services.into_iter().map(|service| (service, *count)));
        }
        let counts = &named;
        if let Some((name, count)) = counts.iter().find(|(_, count)| *count > MAX_INSTANCES) {
            let text = format!("{count} instances of `{name}` are more than {MAX_INSTANCES}");
            return drop(reply.send(Err(RequestError::Config(vec![text]))));
        }
        let there = self.services.iter().filter(|(_, service)| !service.removed);
        let all = there.map(|(name, service)| {
            let asked = counts.iter().find(|(asked, _)| asked == name);
            (name.as_str(), asked.map_or(service.count, |(_, n)| *n))
        });
        if let Err(error) = no_clash(all) {
            return drop(reply.send(Err(error)));
        }
        let mut targets = Vec::new();
        for (name, count) in counts {
            if let Some(service) = self.services.get_mut(name) {
                service.count = *count;
                service.scaled = *count != service.spec.instances;
                service.wanted = Desired::Up;
            }
            targets.extend(self.rescale(name, who));
        }
        self.save_project(false);
        self.tickets.push(Ticket {
            targets,
            answer: Answer::Report(reply),
            rolling: None,
        });
    }

    /// Brings the instances of a service to its number: surplus ones stop, new ones start.
    fn rescale(&mut self, name: &str, who: &Who) -> Vec<Target> {
        let Some(service) = self.services.get(name) else {
            return Vec::new();
        };
        let (count, wanted) = (service.count, service.wanted);
        let mut surplus = Vec::new();
        for key in self.all_keys_of(name) {
            if let Some(instance) = self.instances.get_mut(&key) {
                instance.surplus =
                    instance.index > count || matches!(instance.part, Part::Old | Part::Extra);
                if instance.index > count {
                    surplus.push(key.clone());
                }
            }
            // The name it is shown by may be another from now on.
            self.record(&key, Vec::new());
        }
        self.order_stop(
            &surplus,
            ("scale", Some(who)),
            false,
            &StopOptions::default(),
        );
        let mut targets: Vec<Target> = surplus
            .iter()
            .map(|key| self.target(key, Goal::Down))
            .collect();
        let added = self.fit_instances(name);
        for key in added.iter().filter(|_| wanted == Desired::Up) {
            self.start_one(key, Some(who));
            targets.push(self.target(key, Goal::Wait(WaitFor::Settled)));
        }
        targets
    }

    /// Adds the instances that are missing, at rest, and returns their keys.
    pub(super) fn fit_instances(&mut self, name: &str) -> Vec<String> {
        let Some(service) = self.services.get(name) else {
            return Vec::new();
        };
        let (count, spec) = (service.count, Arc::clone(&service.spec));
        let present: BTreeSet<u32> = self
            .instances
            .values()
            .filter(|instance| instance.service == name && !instance.is_spare())
            .map(|instance| instance.index)
            .collect();
        let mut added = Vec::new();
        for index in (1..=count).filter(|index| !present.contains(index)) {
            let key = self.free_key(&instance_name(name, index, count));
            let machine = Machine::new(rules(&spec));
            self.instances
                .insert(key.clone(), Instance::new(name, index, machine));
            added.push(key);
        }
        added
    }

    /// Brings what runs from an older configuration up to the present one, after an adoption.
    pub(super) fn catch_up(&mut self, old: &serde_json::Value, spec: &ServiceSpec, who: &Who) {
        match diff_service(old, spec).map(|change| change.action) {
            Some(PlanAction::Restart) => {
                // Nobody waits for the outcome; it is in the events.
                let _targets = self.replace_processes(&spec.name, who);
            }
            Some(PlanAction::Signal) => self.reload(&spec.name),
            _ => {}
        }
    }

    /// What the restart of a service means for those that depend on it, or are grouped with it.
    pub(super) fn after(&mut self, key: &str, told: &crate::machine::Transition) {
        use crate::state::State;
        if let (State::Stopped, Some(instance)) = (told.to, self.instances.get(key)) {
            let service = instance.service.clone();
            self.close_sockets(&service);
        }
        let comes_back = matches!(told.to, State::Backoff | State::Pending) && told.exit.is_some();
        if comes_back && self.ending.is_none() {
            self.pull_along(key, told.to == State::Backoff);
        }
    }

    fn pull_along(&mut self, key: &str, by_policy: bool) {
        use proc_spec::{OnRestart, Strategy};
        let Some(service) = self.instances.get(key).map(|i| i.service.clone()) else {
            return;
        };
        let dependents: Vec<String> = self.graph.needing(&service).map(str::to_owned).collect();
        for name in dependents {
            let Some(dependent) = self.services.get(&name) else {
                continue;
            };
            let on_restart = dependent.spec.on_restart;
            for key in self.undisturbed(&name) {
                match on_restart {
                    OnRestart::Keep => {}
                    OnRestart::Restart => {
                        self.drive(
                            &key,
                            Event::Restart {
                                kind: "dependency",
                                by: None,
                            },
                        );
                    }
                    OnRestart::Stop => {
                        self.drive(
                            &key,
                            Event::Stop {
                                kind: "dependency",
                                by: None,
                            },
                        );
                    }
                }
            }
        }
        if !by_policy {
            return;
        }
        let mut others: BTreeSet<String> = BTreeSet::new();
        for group in self.project.groups.values() {
            let Some(place) = group.members.iter().position(|member| *member == service) else {
                continue;
            };
            match group.strategy {
                Strategy::OneForOne => {}
                Strategy::OneForAll => others.extend(group.members.iter().cloned()),
                Strategy::RestForOne => others.extend(group.members[place + 1..].iter().cloned()),
            }
        }
        others.remove(&service);
        for name in others {
            for key in self.undisturbed(&name) {
                self.drive(
                    &key,
                    Event::Restart {
                        kind: "group",
                        by: None,
                    },
                );
            }
        }
    }

    /// Returns the live instances of a service that nobody is ending.
    fn undisturbed(&self, service: &str) -> Vec<String> {
        let mut keys = self.keys_of(service);
        keys.retain(|key| {
            self.instances.get(key).is_some_and(|instance| {
                instance.machine.is_live() && !instance.is_ending() && instance.order.is_none()
            })
        });
        keys
    }
}

/// Refuses numbers of instances that would give two of them one name.
fn no_clash<'a>(counts: impl IntoIterator<Item = (&'a str, u32)>) -> Result<(), RequestError> {
    let clashes = name_clashes(counts);
    if clashes.is_empty() {
        return Ok(());
    }
    let lines = clashes.iter().map(ToString::to_string).collect();
    Err(RequestError::Config(lines))
}

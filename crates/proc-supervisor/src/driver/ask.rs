//! Requests: who is meant, and what is to be done.

use std::sync::Arc;

use proc_backends::{Backend, OperateError, SignalTarget};
use proc_core::Signal;

use super::start::chain;
use super::tickets::{Answer, Goal};
use super::{Driver, Msg};
use crate::handle::{Events, Reply, Request};
use crate::machine::Event;
use crate::request::{
    Outcome, Report, RequestError, RestartOptions, StartOptions, StopOptions, WaitFor,
};
use crate::state::Desired;
use crate::view::{Who, Why};

impl Driver {
    /// Takes one request. An answer that nobody waits for any more is dropped.
    pub(super) fn ask(&mut self, request: Request) {
        match request {
            Request::Status(reply) => self.answer_status(reply),
            Request::Start(names, options, who, reply) => {
                self.ask_start(&names, &options, &who, reply);
            }
            Request::Stop(names, options, who, reply) => {
                self.ask_stop(&names, &options, &who, reply);
            }
            Request::Restart(names, options, who, reply) => {
                self.ask_restart(&names, &options, &who, reply);
            }
            Request::Reload(names, who, reply) => self.ask_reload(&names, &who, reply),
            Request::Signal(names, signal, who, reply) => {
                self.ask_signal(&names, Some(signal), &who, reply);
            }
            Request::Scale(counts, who, reply) => self.ask_scale(&counts, &who, reply),
            Request::Send(name, bytes, close, reply) => self.ask_send(&name, bytes, close, reply),
            Request::Resize(name, size, reply) => self.ask_resize(&name, size, reply),
            Request::Wait(names, what, reply) => self.ask_wait(&names, what, reply),
            Request::Why(name, last, reply) => drop(reply.send(self.ask_why(&name, last))),
            Request::Plan(project, reply) => drop(reply.send(self.plan_for(&project))),
            Request::Apply(project, who, reply) => self.ask_apply(*project, &who, reply),
            Request::Down(options, who, reply) => self.ask_down(&options, &who, reply),
            Request::Leave(reply) => self.ask_leave(reply),
            Request::Tell(kind, detail, reply) => {
                self.tell_project(&kind, Some(detail));
                let _gone = reply.send(Ok(()));
            }
            Request::Events(since, reply) => self.ask_events(since, reply),
        }
    }

    fn ask_start(
        &mut self,
        names: &[String],
        options: &StartOptions,
        who: &Who,
        reply: Reply<Report>,
    ) {
        let keys = match self.select(names) {
            Ok(keys) => keys,
            Err(error) => return drop(reply.send(Err(error))),
        };
        if self.ending.is_some() {
            return drop(reply.send(Err(refused("the project is being taken down"))));
        }
        self.hold = false;
        self.start_keys(&keys, who);
        self.answer_after(&keys, Goal::Wait(WaitFor::Settled), options.no_wait, reply);
    }

    /// Starts instances, and whatever their services need.
    pub(super) fn start_keys(&mut self, keys: &[String], who: &Who) {
        let services = self.services_of(keys);
        let with_needs = self.graph.closure(services.iter().cloned());
        for name in &with_needs {
            let needed = !services.contains(name);
            if let Some(service) = self.services.get_mut(name) {
                // What is only needed, and wanted already, is left as it is.
                if needed && service.wanted == Desired::Up {
                    continue;
                }
                service.wanted = Desired::Up;
            }
            let mine = self.keys_of(name);
            for key in mine.iter().filter(|key| needed || keys.contains(key)) {
                self.start_one(key, Some(who));
            }
        }
        self.save_project(false);
    }

    pub(super) fn start_one(&mut self, key: &str, who: Option<&Who>) {
        if let Some(instance) = self.instances.get_mut(key) {
            instance.order = None;
            // It is started if it turns out not to live.
            if instance.doubt.is_some() {
                return self.look_again(key);
            }
        }
        self.drive(
            key,
            Event::Start {
                by_hand: true,
                by: who.cloned(),
            },
        );
    }

    fn ask_stop(
        &mut self,
        names: &[String],
        options: &StopOptions,
        who: &Who,
        reply: Reply<Report>,
    ) {
        let keys = match self.select(names) {
            Ok(keys) => keys,
            Err(error) => return drop(reply.send(Err(error))),
        };
        for name in self.services_of(&keys) {
            // A service is wanted as long as one of its instances is.
            if self.keys_of(&name).iter().all(|key| keys.contains(key))
                && let Some(service) = self.services.get_mut(&name)
            {
                service.wanted = Desired::Down;
            }
        }
        self.save_project(false);
        let spares = self.call_off_rolls(&keys);
        self.order_stop(&spares, ("stop", Some(who)), false, options);
        self.order_stop(&keys, ("stop", Some(who)), false, options);
        let keys: Vec<String> = keys.into_iter().chain(spares).collect();
        self.answer_after(&keys, Goal::Down, options.no_wait, reply);
    }

    fn ask_restart(
        &mut self,
        names: &[String],
        options: &RestartOptions,
        who: &Who,
        reply: Reply<Report>,
    ) {
        let keys = match self.select(names) {
            Ok(keys) => keys,
            Err(error) => return drop(reply.send(Err(error))),
        };
        if self.ending.is_some() {
            return drop(reply.send(Err(refused("the project is being taken down"))));
        }
        self.hold = false;
        for name in self.services_of(&keys) {
            if let Some(service) = self.services.get_mut(&name) {
                service.wanted = Desired::Up;
            }
        }
        self.save_project(false);
        let last = |key: &String| self.instances.get(key).map_or(0, |i| i.last_run);
        let goal = |key| {
            if options.rolling {
                Goal::Turn
            } else {
                Goal::After(last(key))
            }
        };
        let goals: Vec<Goal> = keys.iter().map(goal).collect();
        if !options.rolling {
            let spares = self.call_off_rolls(&keys);
            self.order_stop(
                &spares,
                ("restart", Some(who)),
                false,
                &StopOptions::default(),
            );
            self.order_stop(&keys, ("restart", Some(who)), true, &StopOptions::default());
            if options.no_wait {
                return self.answer(Answer::Report(reply), Report::default());
            }
        }
        let pairs = keys.iter().zip(goals);
        let targets = pairs.map(|(key, goal)| self.target(key, goal)).collect();
        let rolling = options.rolling.then(|| who.clone());
        let answer = if options.rolling && options.no_wait {
            self.answer(Answer::Report(reply), Report::default());
            Answer::Nobody
        } else {
            Answer::Report(reply)
        };
        self.tickets.push(super::Ticket {
            targets,
            answer,
            rolling,
        });
    }

    fn ask_reload(&mut self, names: &[String], who: &Who, reply: Reply<Report>) {
        self.ask_signal(names, None, who, reply);
    }

    /// Sends a signal, or each service its reload signal.
    fn ask_signal(
        &mut self,
        names: &[String],
        signal: Option<Signal>,
        who: &Who,
        reply: Reply<Report>,
    ) {
        let keys = match self.select(names) {
            Ok(keys) => keys,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let verb = if signal.is_some() { "signal" } else { "reload" };
        self.tell_project(
            verb,
            Some(format!("{} by {}", keys.join(", "), in_words(who))),
        );
        let mut work = tokio::task::JoinSet::new();
        for key in keys {
            let service = self
                .instances
                .get(&key)
                .and_then(|i| self.services.get(&i.service));
            let Some(service) = service else { continue };
            let Some(backend) = self.backend_of(&service.spec.name) else {
                continue;
            };
            let reload = service.spec.reload_signal;
            let name = self.shown(&key);
            if let Some((sent, instance)) = signal.or(reload).zip(self.instances.get_mut(&key)) {
                instance.sent = Some((instance.last_run, sent.raw(), who.clone()));
            }
            work.spawn(async move {
                let sent = match (signal, reload) {
                    (Some(signal), _) => backend.signal(&key, signal, SignalTarget::Leader).await,
                    (None, Some(signal)) => backend.reload(&key, signal).await,
                    (None, None) => {
                        let message = "it has no `reload_signal`".to_owned();
                        return Outcome {
                            name,
                            ok: false,
                            message,
                        };
                    }
                };
                let message = sent
                    .as_ref()
                    .err()
                    .map(|error| chain(error))
                    .unwrap_or_default();
                Outcome {
                    name,
                    ok: sent.is_ok(),
                    message,
                }
            });
        }
        tokio::spawn(async move {
            let outcomes = work.join_all().await;
            let _gone = reply.send(Ok(Report {
                outcomes,
                survivors: Vec::new(),
            }));
        });
    }

    fn ask_send(&mut self, name: &str, bytes: Vec<u8>, close: bool, reply: Reply<()>) {
        self.ask_input(
            name,
            reply,
            async move |backend: Arc<dyn Backend>, key: String| {
                backend.stdin_write(&key, bytes).await?;
                match close {
                    true => backend.stdin_close(&key).await,
                    false => Ok(()),
                }
            },
        );
    }

    fn ask_resize(&mut self, name: &str, (rows, columns): (u16, u16), reply: Reply<()>) {
        self.ask_input(
            name,
            reply,
            async move |backend: Arc<dyn Backend>, key: String| {
                backend.resize(&key, rows, columns).await
            },
        );
    }

    /// Does something with the standard input of the one instance that a name means.
    fn ask_input<F>(
        &mut self,
        name: &str,
        reply: Reply<()>,
        act: impl FnOnce(Arc<dyn Backend>, String) -> F,
    ) where
        F: Future<Output = Result<(), OperateError>> + Send + 'static,
    {
        let keys = match self.select(&[name.to_owned()]) {
            Ok(keys) => keys,
            Err(error) => return drop(reply.send(Err(error))),
        };
        let [key] = &keys[..] else {
            let why = format!("`{name}` is {} instances; name one of them", keys.len());
            return drop(reply.send(Err(refused(&why))));
        };
        let service = self
            .instances
            .get(key)
            .map(|instance| instance.service.clone());
        let Some(backend) = service.and_then(|service| self.backend_of(&service)) else {
            return drop(reply.send(Err(RequestError::NoSuch(name.to_owned()))));
        };
        let done = act(backend, key.clone());
        tokio::spawn(async move {
            let done = done.await;
            let _gone = reply.send(done.map_err(|error| refused(&chain(&error))));
        });
    }

    fn ask_wait(&mut self, names: &[String], what: WaitFor, reply: Reply<Report>) {
        match self.select(names) {
            Ok(keys) => self.await_goal(&keys, Goal::Wait(what), Answer::Report(reply)),
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn ask_why(&self, name: &str, last: usize) -> Result<Why, RequestError> {
        let keys = self.select(&[name.to_owned()])?;
        let no_such = || RequestError::NoSuch(name.to_owned());
        let service = match keys.first().and_then(|key| self.instances.get(key)) {
            Some(instance) => instance.service.clone(),
            None => name.to_owned(),
        };
        let instance = (service != name && keys.len() == 1).then_some(name);
        Ok(Why {
            events: self.history.of_service(&service, instance, last),
            service: self.service_status(&service).ok_or_else(no_such)?,
        })
    }

    fn ask_events(&self, since: Option<u64>, reply: Reply<Events>) {
        let live = self.history.subscribe();
        let Some(after) = since else {
            let after = self.history.last();
            return drop(reply.send(Ok(Events {
                after,
                backlog: Vec::new(),
                live,
            })));
        };
        if let Some(backlog) = self.history.since(after) {
            return drop(reply.send(Ok(Events {
                after,
                backlog,
                live,
            })));
        }
        // Too long ago for the memory: the journal has it, up to where the memory begins.
        let (journal, recent) = (self.fixed.journal.clone(), self.history.all());
        tokio::task::spawn_blocking(move || {
            let mut backlog = crate::offline::events_in(&journal, after).unwrap_or_default();
            let last = backlog.last().map_or(after, |event| event.seq);
            backlog.extend(recent.into_iter().filter(|event| event.seq > last));
            drop(reply.send(Ok(Events {
                after,
                backlog,
                live,
            })));
        });
    }

    fn answer_after(&mut self, keys: &[String], goal: Goal, at_once: bool, reply: Reply<Report>) {
        if at_once {
            self.answer(Answer::Report(reply), Report::default());
        } else {
            self.await_goal(keys, goal, Answer::Report(reply));
        }
    }

    fn services_of(&self, keys: &[String]) -> std::collections::BTreeSet<String> {
        let instances = keys.iter().filter_map(|key| self.instances.get(key));
        instances.map(|instance| instance.service.clone()).collect()
    }

    /// Returns the instances that names mean; no name means all.
    pub(super) fn select(&self, names: &[String]) -> Result<Vec<String>, RequestError> {
        let mut keys = Vec::new();
        let all = [String::from("*")];
        let names = if names.is_empty() { &all[..] } else { names };
        for name in names {
            let before = keys.len();
            let known = self.add_selected(name, &mut keys);
            if !known && keys.len() == before && !(name == "*" && self.services.is_empty()) {
                return Err(RequestError::NoSuch(name.clone()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        Ok(keys)
    }

    /// Returns the services that a name, a glob or a group means; an instance's name means none.
    pub(super) fn services_meant(&self, name: &str) -> Vec<String> {
        let there = |service: &String| self.services.get(service).is_some_and(|s| !s.removed);
        if let Some(group) = name.strip_prefix('@') {
            let group = self.project.groups.get(group);
            let members = group.into_iter().flat_map(|group| &group.members);
            return members.filter(|member| there(member)).cloned().collect();
        }
        let meant = |service: &String| there(service) && matches(name, service);
        self.order().into_iter().filter(meant).collect()
    }

    /// Adds what one name means, and tells whether it means anything, be it nothing at present.
    fn add_selected(&self, name: &str, keys: &mut Vec<String>) -> bool {
        if let Some(group) = name.strip_prefix('@') {
            let members = self.project.groups.get(group).map(|group| &group.members);
            for member in members.into_iter().flatten() {
                keys.extend(self.keys_of(member));
            }
            return members.is_some();
        }
        let mut known = false;
        for service in self.order() {
            if matches(name, &service) {
                known = true;
                keys.extend(self.keys_of(&service));
                continue;
            }
            let mine = self.keys_of(&service).into_iter();
            keys.extend(mine.filter(|key| matches(name, key) || matches(name, &self.shown(key))));
        }
        known
    }

    /// Forgets surplus instances that are down, and services without any.
    pub(super) fn remove_surplus(&mut self) {
        let gone: Vec<String> = self
            .instances
            .iter()
            .filter(|(_, instance)| instance.surplus && !instance.is_up())
            .filter(|(_, instance)| instance.order.is_none() && !instance.forgetting)
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            let Some(instance) = self.instances.get_mut(&key) else {
                continue;
            };
            instance.forgetting = true;
            let service = instance.service.clone();
            let backend = self.backend_of(&service);
            self.beside(async move {
                if let Some(backend) = backend {
                    // What the backend cannot forget now it offers again to the next supervisor.
                    let _offered_again = backend.forget(&key).await;
                }
                Some(Msg::Forgotten { key })
            });
        }
    }

    pub(super) fn forgotten(&mut self, key: &str) {
        // It may have been asked for again meanwhile.
        if self
            .instances
            .get(key)
            .is_none_or(|instance| !instance.surplus)
        {
            return;
        }
        self.instances.remove(key);
        self.recorder
            .write(crate::recorder::Job::Remove(key.to_owned()));
        let left: std::collections::BTreeSet<&String> = self
            .instances
            .values()
            .map(|instance| &instance.service)
            .collect();
        let before = self.services.len();
        let emptied: Vec<String> = self
            .services
            .iter()
            .filter(|(name, service)| service.removed && !left.contains(name))
            .map(|(name, _)| name.clone())
            .collect();
        for name in emptied {
            self.services.remove(&name);
        }
        if self.services.len() != before {
            self.save_project(false);
        }
    }
}

pub(super) fn refused(why: &str) -> RequestError {
    RequestError::Refused(why.to_owned())
}

pub(super) fn in_words(who: &Who) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    format!(
        "`{}` (uid {}, pid {})",
        who.verb,
        number(who.uid),
        number(who.pid)
    )
}

/// Returns whether `name` matches a pattern of letters, `*` and `?`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("web", "web", true),
            ("web", "web-1", false),
            ("web-*", "web-1", true),
            ("*", "", true),
            ("*b*1", "web-1", true),
            ("w?b", "web", true),
            ("w?b", "wb", false),
            ("*-2", "web-1", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

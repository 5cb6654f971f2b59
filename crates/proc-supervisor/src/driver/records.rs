//! Transitions and records: what is told, and what is left on the disk.

use std::time::Duration;

use super::exits::{millis, signal_name};
use super::instance::Part;
use super::{Driver, Instance, Msg};
use crate::clock::Clock;
use crate::machine::{Exit, Timer, Transition};
use crate::record::{AppliedRecord, InstanceRecord, ProjectRecord, ServiceRecord};
use crate::recorder::{Job, Report};
use crate::stamp::Stamp;
use crate::state::State;
use crate::view::{Cause, Event, EventExit};
use serde_json::Value;

/// How long the next run waits for a disk that neither takes the last exit nor refuses it.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

impl Driver {
    /// Tells transitions, and records the instance if anything of it has changed.
    pub(super) fn record(&mut self, key: &str, told: Vec<Transition>) {
        let mut events = Vec::new();
        for transition in &told {
            if let Some(event) = self.event(key, transition) {
                events.push(self.history.push(event));
            }
        }
        let exit = events.iter().rfind(|event| event.exit.is_some());
        let exit = exit.map(|event| event.seq);
        self.save(key, events);
        if let (Some(seq), Some(instance)) = (exit, self.instances.get_mut(key)) {
            instance.unwritten = Some(seq);
            self.flush_exits();
        }
        for transition in told {
            self.after(key, &transition);
        }
    }

    /// Waits beside the loop until every exit told so far is on the disk. One wait is for all who wait by then.
    fn flush_exits(&mut self) {
        let waiting = self.instances.values().filter_map(|i| i.unwritten);
        let Some(seq) = waiting.max().filter(|_| !self.flushing) else {
            return;
        };
        self.flushing = true;
        let written = self.recorder.flush(DISK_PATIENCE);
        self.beside(async move {
            // A service never waits for a disk that refuses, or hangs: then its keeper remembers the exit.
            let _written_or_not = written.await;
            Some(Msg::Flushed { seq })
        });
    }

    /// The exits told up to this event need no waiting any more.
    pub(super) fn flushed(&mut self, seq: u64) {
        self.flushing = false;
        for instance in self.instances.values_mut() {
            instance.unwritten = instance.unwritten.filter(|unwritten| *unwritten > seq);
        }
        self.flush_exits();
    }

    fn event(&mut self, key: &str, transition: &Transition) -> Option<Event> {
        let shown = self.shown(key);
        let at = Clock::stamp(self.clock.now());
        let ended = matches!(transition.to, State::Exited | State::Failed);
        if ended || transition.to == State::Stopped {
            self.last_ended = ended.then(|| key.to_owned());
        }
        let instance = self.instances.get_mut(key)?;
        let run = instance.exit_run;
        instance.ended_here |= ended;
        if transition.exit.is_some() {
            instance.counted = instance.counted.max(run);
        }
        if !instance.machine.is_live() && !instance.is_ending() {
            instance.started = None;
        }
        Some(Event {
            seq: 0,
            at,
            service: Some(instance.service.clone()),
            instance: Some(shown),
            from: Some(transition.from),
            to: Some(transition.to),
            ready: transition.ready,
            pid: instance
                .started
                .as_ref()
                .map(|started| started.pid)
                .filter(|pid| *pid > 0),
            cause: Cause {
                kind: transition.kind.to_owned(),
                by: transition.by.clone(),
                detail: transition.detail.clone(),
            },
            exit: transition.exit.as_ref().map(|exit| event_exit(exit, run)),
            delay_ms: transition.delay.map(millis),
        })
    }

    /// Queues the record of an instance, with its new transitions, if it differs from the last.
    fn save(&mut self, key: &str, mut events: Vec<Event>) {
        let last = events.pop();
        for event in events {
            self.recorder.write(Job::Event(event));
        }
        let shown = self.shown(key);
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let before = instance
            .saved
            .as_ref()
            .and_then(|saved| saved.event.clone());
        let record = instance_record(instance, shown, last.clone().or(before));
        if instance.saved.as_ref() == Some(&record) {
            return;
        }
        instance.saved = Some(record.clone());
        let name = key.to_owned();
        self.recorder.write(Job::Instance {
            name,
            record: Box::new(record),
            event: last,
        });
    }

    /// Tells something that is of no instance.
    pub(crate) fn tell_project(&mut self, kind: &str, detail: Option<String>) {
        let event = Event {
            seq: 0,
            at: Clock::stamp(self.clock.now()),
            service: None,
            instance: None,
            from: None,
            to: None,
            ready: false,
            pid: None,
            cause: Cause {
                kind: kind.to_owned(),
                by: None,
                detail,
            },
            exit: None,
            delay_ms: None,
        };
        let event = self.history.push(event);
        self.recorder.write(Job::Event(event));
    }

    /// Queues the project's record.
    pub(crate) fn save_project(&self, down: bool) {
        let service = |name: &String| {
            let service = self.services.get(name)?;
            let record = ServiceRecord {
                wanted: service.wanted,
                scaled: service
                    .scaled
                    .then_some((service.count, service.spec.instances)),
                backend: service.spec.backend.as_str().to_owned(),
                stop: service.spec.stop.steps.clone(),
                image: service.image.clone(),
            };
            Some((name.clone(), record))
        };
        let order = self.order();
        let record = ProjectRecord {
            name: self.project.name.clone(),
            files: self.project.files.clone(),
            services: order.iter().filter_map(service).collect(),
            order,
            down,
        };
        self.recorder.write(Job::Project(Box::new(record)));
    }

    /// Queues the configuration in force, for a supervisor that finds its files broken.
    pub(super) fn save_applied(&self) {
        let project = self.project.clone();
        let record = AppliedRecord { project };
        self.recorder.write(Job::Applied(Box::new(record)));
    }

    /// The writer has news.
    pub(super) fn reported(&mut self, report: Report) {
        match report {
            Report::Written { seq, exit } => {
                self.history.written(seq);
                if let Some((key, run)) = exit {
                    self.acknowledge(&key, run);
                }
            }
            Report::Trouble(why) => {
                self.trouble.insert("state".to_owned(), why);
            }
            Report::Healed => {
                self.trouble.remove("state");
            }
        }
    }

    /// Returns the name under which an instance is shown.
    pub(super) fn shown(&self, key: &str) -> String {
        let Some(instance) = self.instances.get(key) else {
            return key.to_owned();
        };
        let name = |count| proc_spec::instance_name(&instance.service, instance.index, count);
        match (self.services.get(&instance.service), &instance.part) {
            (Some(service), Part::New(_)) => format!("{}~new", name(service.count)),
            (Some(service), Part::Old) => format!("{}~old", name(service.count)),
            (Some(service), Part::Current) if !instance.surplus && !service.removed => {
                name(service.count)
            }
            _ => key.to_owned(),
        }
    }

    /// Returns what running instances were started from, by service.
    pub(super) fn images(&self) -> std::collections::BTreeMap<String, Value> {
        let kept = self.services.iter().filter(|(_, service)| !service.removed);
        kept.map(|(name, service)| (name.clone(), service.image.clone()))
            .collect()
    }
}

fn event_exit(exit: &Exit, run: u64) -> EventExit {
    EventExit {
        code: exit.code,
        signal: exit.signal,
        signal_name: signal_name(exit.signal),
        core_dumped: exit.core_dumped,
        oom: exit.oom,
        runtime_ms: millis(exit.runtime),
        at: Some(Stamp::from_unix_ms(exit.at_ms)),
        run: Some(run),
    }
}

fn instance_record(instance: &Instance, shown: String, event: Option<Event>) -> InstanceRecord {
    let machine = &instance.machine;
    let due = match machine.state() {
        State::Backoff => machine.deadline(Timer::Retry),
        State::Scheduled => machine.deadline(Timer::Schedule),
        _ => None,
    };
    let started = instance.started.as_ref();
    InstanceRecord {
        service: instance.service.clone(),
        index: instance.index,
        shown,
        part: instance.part.clone(),
        state: machine.state(),
        desired: machine.desired(),
        ready: machine.is_ready(),
        reason: machine.reason().to_owned(),
        run: instance.last_run,
        counted: instance.counted,
        counters: machine.counters().clone(),
        restarts: machine.restarts(),
        attempt: machine.attempt(),
        retry_at: due.map(Clock::stamp),
        last_exit: instance.last_exit.clone(),
        identity: started.map(|started| started.identity.clone()),
        pgid: started.map(|started| started.pgid),
        started_at: started.map(|started| Stamp::from(started.started_at)),
        event,
    }
}

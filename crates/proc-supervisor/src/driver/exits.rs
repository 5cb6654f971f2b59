//! What backends tell: exits above all, each counted once by (instance, run).

use proc_backends::{BackendEvent, BackendEventKind, Exit, Missed};
use proc_core::ProcessEnd;
use proc_policy::{ExitFacts, Verdict};

use super::{Driver, Instance, Msg};
use crate::machine;
use crate::stamp::Stamp;
use crate::view::LastExit;

impl Driver {
    /// Begins to hear from every backend.
    pub(super) fn listen_to_backends(&mut self) {
        for backend in self.backends.values() {
            let Some(mut events) = backend.events() else {
                continue;
            };
            let inbox = self.inbox.clone();
            tokio::spawn(async move {
                while let Some(event) = events.next().await {
                    if inbox.send(Msg::Backend(event)).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    pub(super) fn backend_event(&mut self, event: BackendEvent) {
        let BackendEvent {
            instance: key,
            run,
            kind,
        } = event;
        let Some(instance) = self.instances.get_mut(&key) else {
            return;
        };
        match kind {
            BackendEventKind::Exited(exit) => self.exited(&key, run, &exit),
            // Nobody is left who could go on. Otherwise the machine asks for the end of the tree
            // itself, and waits for that answer.
            BackendEventKind::TreeEmpty => self.release_exit(&key),
            BackendEventKind::StopProgress { .. } => {}
            BackendEventKind::Lost { cause } => {
                self.drive(&key, machine::Event::Lost { cause });
            }
            BackendEventKind::Recovered { started } => {
                instance.started = Some(started);
                self.drive(&key, machine::Event::Recovered);
            }
            BackendEventKind::Note { text } => {
                let note = instance.machine.note("backend", None, text);
                self.perform(&key, vec![note]);
            }
            BackendEventKind::Trouble { what, error } => {
                let line = format!("{key}: {what}: {error}");
                instance.trouble.insert(what, line);
            }
            BackendEventKind::Healed { what } => {
                instance.trouble.remove(&what);
            }
        }
    }

    /// The leader of a run has ended.
    pub(super) fn exited(&mut self, key: &str, run: u64, exit: &Exit) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        if run <= instance.counted {
            // Told again by a backend that did not hear that it is on record.
            self.acknowledge(key, run);
            return;
        }
        if !self.hold_exit(key, run, exit) {
            self.exit_counts(key, run, exit);
        }
    }

    /// The run has ended.
    pub(super) fn exit_counts(&mut self, key: &str, run: u64, exit: &Exit) {
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        instance.last_run = instance.last_run.max(run);
        instance.exit_run = run;
        instance.log_from = exit.log;
        let exit = convert(exit);
        // Should the machine be in no state to take it, it has been told of that run already.
        instance.last_exit = Some(last_exit(&exit));
        self.share_exit(key);
        self.drive(key, machine::Event::Exited { run, exit });
    }

    /// Books what an earlier supervisor could not record, oldest first; says whether there was anything.
    pub(super) fn book_missed(&mut self, key: &str, missed: &Missed) -> bool {
        let mut booked = self.book_dropped(key, missed);
        for exit in &missed.exits {
            let Some(instance) = self.instances.get_mut(key) else {
                break;
            };
            // The same run may have been recorded, and the supervisor killed before it could say so.
            if exit.run <= instance.counted {
                continue;
            }
            booked = true;
            instance.exit_run = exit.run;
            instance.log_from = exit.log;
            let exit = convert(exit);
            instance.last_exit = Some(last_exit(&exit));
            let told = instance.machine.book_missed(exit);
            self.perform(key, told);
        }
        booked
    }

    /// Says how many exits nobody knows any more.
    fn book_dropped(&mut self, key: &str, missed: &Missed) -> bool {
        let through = missed.dropped_through;
        let Some(instance) = self.instances.get_mut(key) else {
            return false;
        };
        if missed.dropped == 0 || through <= instance.counted {
            return false;
        }
        instance.counted = through;
        let count = u32::try_from(missed.dropped).unwrap_or(u32::MAX);
        let detail = format!(
            "{count} exits were not kept, the last that of run {through}: no record could be written, and more came than a \
             shim remembers"
        );
        let told = instance.machine.book_dropped(count, detail);
        self.perform(key, told);
        true
    }

    /// Tells the backend that an exit is on record.
    pub(super) fn acknowledge(&self, key: &str, run: u64) {
        let service = self
            .instances
            .get(key)
            .map(|instance| instance.service.clone());
        let Some(backend) = service.and_then(|service| self.backend_of(&service)) else {
            return;
        };
        let key = key.to_owned();
        self.beside(async move {
            // At worst it is told again, and known again by its run.
            let _told_again = backend.acknowledge(&key, run).await;
            None
        });
    }

    /// Returns whether the last run of an instance ended by itself and well.
    pub(super) fn ended_well(&self, instance: &Instance) -> bool {
        let Some(exit) = &instance.last_exit else {
            return false;
        };
        let facts = ExitFacts {
            code: exit.code,
            signal: exit.signal,
            oom: exit.oom,
            ..ExitFacts::default()
        };
        instance.machine.rules().policy.judge(&facts) == Verdict::Clean
    }
}

fn convert(exit: &Exit) -> machine::Exit {
    let signal = exit.end.and_then(ProcessEnd::signal);
    machine::Exit {
        code: exit.end.and_then(ProcessEnd::code),
        signal: signal.map(proc_core::Signal::raw),
        core_dumped: exit.end.is_some_and(ProcessEnd::core_dumped),
        oom: exit.oom == Some(true),
        at_ms: Stamp::from(exit.at).unix_ms(),
        runtime: exit.runtime,
        unknown: exit.unknown.clone(),
    }
}

/// Returns the name of a signal by number.
pub(super) fn signal_name(signal: Option<i32>) -> Option<String> {
    signal
        .and_then(proc_core::Signal::from_raw)
        .map(proc_core::Signal::name)
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn last_exit(exit: &machine::Exit) -> LastExit {
    LastExit {
        code: exit.code,
        signal: exit.signal,
        signal_name: signal_name(exit.signal),
        core_dumped: exit.core_dumped,
        oom: exit.oom,
        at: Stamp::from_unix_ms(exit.at_ms),
        runtime_ms: millis(exit.runtime),
    }
}

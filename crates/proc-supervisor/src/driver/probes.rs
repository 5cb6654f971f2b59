//! Probes of a live run, and what feeds those that look at output.

use proc_probe::{Change, Probe, ProbeContext, ProbeEvent, ProbeKind, ProbeTask, Role};

use super::instance::role_name;
use super::{Driver, Instance, Msg};
use crate::machine::Event;

impl Driver {
    /// Begins to probe a run: the startup probe first where there is one, then the others. The
    /// machine asks again when the startup probe has passed.
    pub(super) fn watch(&mut self, key: &str) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let Some(spec) = self.spec_of(key) else {
            return;
        };
        let starting = instance.machine.rules().startup && !instance.machine.has_passed_startup();
        let roles: &[(Role, &Option<Probe>)] = if starting {
            &[(Role::Startup, &spec.startup)]
        } else {
            &[(Role::Ready, &spec.ready), (Role::Alive, &spec.alive)]
        };
        for (role, probe) in roles {
            if let Some(probe) = probe {
                self.start_probe(key, *role, probe.clone());
            }
        }
        self.feed_log_probes(key);
        self.hear(key);
        self.meter(key);
        self.search(key);
    }

    /// Stops probing.
    pub(super) fn unwatch(&mut self, key: &str) {
        self.release_exit(key);
        self.stop_hearing(key);
        if let Some(instance) = self.instances.get_mut(key) {
            instance.probes.clear();
            if let Some(meter) = instance.meter.take() {
                meter.abort();
            }
            if let Some(feed) = instance.feed.take() {
                feed.abort();
            }
        }
    }

    fn start_probe(&mut self, key: &str, role: Role, probe: Probe) {
        let Some(context) = self.hook_context(key) else {
            return;
        };
        let context = ProbeContext {
            cwd: context.cwd,
            env: context.env,
        };
        let Some(instance) = self.instances.get_mut(key) else {
            return;
        };
        let (inbox, epoch) = (self.inbox.clone(), instance.epoch);
        let name = key.to_owned();
        let task = ProbeTask::start(role, probe, context, move |event| {
            let message = Msg::Probe {
                key: name.clone(),
                epoch,
                event,
            };
            // A probe must not block; a full inbox takes the news a moment later.
            if let Err(tokio::sync::mpsc::error::TrySendError::Full(message)) =
                inbox.try_send(message)
            {
                let inbox = inbox.clone();
                tokio::spawn(async move { inbox.send(message).await });
            }
        });
        instance.probes.insert(role_name(role), task);
    }

    /// A probe has news.
    pub(super) fn probed(&mut self, key: &str, epoch: u64, event: &ProbeEvent) {
        if self
            .instances
            .get(key)
            .is_none_or(|instance| instance.epoch != epoch)
        {
            return;
        }
        let evidence = event.evidence.to_string();
        let event = match (event.role, event.change) {
            (Role::Ready, Change::Ready) => Event::Ready {
                evidence: Some(evidence),
            },
            (Role::Ready, Change::NotReady | Change::Failed) => Event::NotReady { evidence },
            (Role::Startup, Change::Ready) => {
                if let Some(instance) = self.instances.get_mut(key) {
                    instance.probes.remove(role_name(Role::Startup));
                }
                Event::StartupPassed
            }
            (Role::Alive, Change::Ready) => return,
            (Role::Startup | Role::Alive, Change::Failed | Change::NotReady) => {
                Event::Unhealthy { evidence }
            }
        };
        self.drive(key, event);
    }

    /// Tells a machine whose start takes too long what its probe saw last. A probe speaks of changes, and one
    /// that fails from the beginning has none to speak of.
    pub(super) fn recall(&mut self, key: &str) {
        let seen = self.instances.get(key).and_then(Instance::awaited);
        if let Some(seen) = seen {
            let evidence = seen.to_string();
            self.drive(key, Event::NotReady { evidence });
        }
    }

    /// Follows the instance's log for as long as a probe waits for a line of it.
    fn feed_log_probes(&mut self, key: &str) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let waits = |role| {
            let probe = instance.probe(role).is_some();
            let spec = self
                .services
                .get(&instance.service)
                .map(|service| &service.spec);
            let kind = spec.and_then(|spec| match role {
                Role::Ready => spec.ready.as_ref(),
                Role::Alive => spec.alive.as_ref(),
                Role::Startup => spec.startup.as_ref(),
            });
            probe && matches!(kind.map(|probe| &probe.kind), Some(ProbeKind::Log(_)))
        };
        let wanted = [Role::Ready, Role::Alive, Role::Startup]
            .into_iter()
            .any(waits);
        if !wanted {
            return;
        }
        let feed = self.follow_log(key);
        if let Some(instance) = self.instances.get_mut(key)
            && let Some(old) = std::mem::replace(&mut instance.feed, feed)
        {
            old.abort();
        }
    }
}

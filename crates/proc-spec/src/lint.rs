//! What is allowed but probably not meant.

use crate::decode::quoted;
use crate::error::ConfigError;
use crate::spec::{LogSpec, Project, ServiceSpec};
use proc_policy::RestartPolicy;
use proc_probe::ProbeKind;

impl ServiceSpec {
    /// Says whether the process is given a NOTIFY_SOCKET.
    #[must_use]
    pub fn notifies(&self) -> bool {
        let probes = [&self.ready, &self.startup];
        self.watchdog.is_some()
            || probes
                .into_iter()
                .flatten()
                .any(|probe| probe.kind == ProbeKind::Notify)
    }
}

impl Project {
    /// Returns warnings, each at its place: variables that are not set, budgets that can never trip, keys that
    /// have no effect. Takes longer than loading: restart policies are played through.
    #[must_use]
    pub fn lint(&self) -> Vec<ConfigError> {
        let mut found = self.warnings.clone();
        // Most services share a policy, and playing one takes a while.
        let mut played: Vec<(&RestartPolicy, Vec<String>)> = Vec::new();
        for service in &self.services {
            if !played.iter().any(|(policy, _)| **policy == service.restart) {
                played.push((&service.restart, proc_policy::warnings(&service.restart)));
            }
            let policy = played
                .iter()
                .find(|(policy, _)| **policy == service.restart);
            for warning in policy.into_iter().flat_map(|(_, warnings)| warnings) {
                found.push(self.error_at(&key(service, "restart"), warning));
            }
            found.extend(self.without_effect(service));
        }
        found
    }

    fn without_effect(&self, service: &ServiceSpec) -> Vec<ConfigError> {
        let mut found = Vec::new();
        let mut warn =
            |field: &str, message: &str| found.push(self.error_at(&key(service, field), message));
        if service.startup.is_some() && service.ready.is_none() && service.alive.is_none() {
            warn(
                "startup",
                "there is neither `ready` nor `alive` for it to hold back",
            );
        }
        if service.instances == 0 {
            warn("instances", "0 instances: nothing runs until it is scaled");
        }
        if service.log.direct && service.log.merge {
            warn(
                "log.merge",
                "has no effect with `direct`: the service writes the file itself",
            );
        }
        if service.log.multiline {
            warn(
                "log.multiline",
                "has no effect yet: each line stands by itself",
            );
        }
        if service.log.ring != LogSpec::default().ring {
            warn(
                "log.ring",
                "has no effect yet: live output is followed from the files",
            );
        }
        if service.deploy.is_some() {
            warn("deploy", "has no effect yet: there is no verb that deploys");
        }
        if service.detached && service.die_with_supervisor == Some(true) {
            warn(
                "die_with_supervisor",
                "a detached service leaves background children behind all the same",
            );
        }
        if let (Some(startup), Some(timeout)) = (&service.startup, service.start_timeout)
            && startup.initial_delay >= timeout
        {
            warn(
                "startup.initial_delay",
                "is not shorter than `start_timeout`: it can never succeed",
            );
        }
        if let (Some(ready), Some(timeout)) = (&service.ready, service.start_timeout) {
            let wait = match ready.kind {
                ProbeKind::Delay(delay) => delay.saturating_add(ready.initial_delay),
                _ => ready.initial_delay,
            };
            if wait >= timeout {
                warn(
                    "ready",
                    "takes at least `start_timeout`: it can never be ready in time",
                );
            }
        }
        found
    }
}

fn key(service: &ServiceSpec, field: &str) -> String {
    format!("service.{}.{field}", quoted(&service.name))
}

//! A service as one of its instances sees it.

use std::path::{Path, PathBuf};

use proc_hooks::Phase;
use proc_probe::{Detector, Probe, ProbeKind};

use crate::command::Command;
use crate::listen::ListenAddress;
use crate::names::instance_name;
use crate::spec::{Environment, ServiceSpec};

/// The words that only exist per instance.
struct Words<'a> {
    pairs: [(&'a str, String); 4],
}

impl Words<'_> {
    fn fill(&self, text: &str) -> String {
        if !text.contains("${PROC_") {
            return text.to_owned();
        }
        let mut text = text.to_owned();
        for (name, value) in &self.pairs {
            text = text.replace(&format!("${{{name}}}"), value);
        }
        text
    }

    fn path(&self, path: &Path) -> PathBuf {
        path.to_str()
            .map_or_else(|| path.to_owned(), |text| PathBuf::from(self.fill(text)))
    }

    fn command(&self, command: &Command) -> Command {
        match command {
            Command::Argv(argv) => Command::Argv(argv.iter().map(|word| self.fill(word)).collect()),
            Command::Shell(line) => Command::Shell(self.fill(line)),
            Command::Script(script) => Command::Script(self.fill(script)),
        }
    }

    fn probe(&self, probe: &Probe) -> Probe {
        let mut probe = probe.clone();
        probe.kind = match &probe.kind {
            ProbeKind::Http(http) => {
                let mut http = http.clone();
                // What does not read as a URL any more stays as it was and fails with that text in its evidence.
                if let Ok(url) = self.fill(http.url.as_str()).parse() {
                    http.url = url;
                }
                ProbeKind::Http(http)
            }
            ProbeKind::Tcp(address) => {
                let filled = self.fill(&address.to_string());
                ProbeKind::Tcp(filled.parse().unwrap_or_else(|_| address.clone()))
            }
            ProbeKind::Exec(line) => ProbeKind::Exec(self.fill(line)),
            ProbeKind::File(path) => ProbeKind::File(self.path(path)),
            other => other.clone(),
        };
        probe
    }
}

impl ServiceSpec {
    /// Returns the names of all instances of a project's service, in order.
    pub fn instance_names(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.instances).map(|index| instance_name(&self.name, index, self.instances))
    }

    /// Returns the service as instance `index` (from 1) sees it: `${PROC_INSTANCE}`, `${PROC_NAME}`,
    /// `${PROC_SERVICE}` and `${PROC_PROJECT}` filled in, the same four set in `env`, and for a process of a
    /// Procfile `PORT` and `PS`.
    #[must_use]
    pub fn for_instance(&self, project: &str, index: u32) -> ServiceSpec {
        let name = instance_name(&self.name, index, self.instances);
        let words = Words {
            pairs: [
                ("PROC_INSTANCE", index.to_string()),
                ("PROC_NAME", name),
                ("PROC_SERVICE", self.name.clone()),
                ("PROC_PROJECT", project.to_owned()),
            ],
        };
        let mut spec = self.clone();
        let filled = self
            .env
            .iter()
            .map(|(key, value)| (key.clone(), words.fill(value)));
        let own = words
            .pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        spec.env = filled.chain(own).collect::<Environment>();
        if let Some(port) = self.port {
            let port = u32::from(port) + index.saturating_sub(1);
            spec.env.0.insert("PORT".to_owned(), port.to_string());
            spec.env
                .0
                .insert("PS".to_owned(), format!("{}.{index}", self.name));
        }
        spec.command = self.command.as_ref().map(|command| words.command(command));
        spec.stop.command = self
            .stop
            .command
            .as_ref()
            .map(|command| words.command(command));
        spec.cwd = words.path(&self.cwd);
        spec.pid_file = self.pid_file.as_deref().map(|path| words.path(path));
        spec.log.dir = self.log.dir.as_deref().map(|path| words.path(path));
        spec.unit = self.unit.as_deref().map(|unit| words.fill(unit));
        spec.label = self.label.as_deref().map(|label| words.fill(label));
        for probe in [&mut spec.ready, &mut spec.alive, &mut spec.startup]
            .into_iter()
            .flatten()
        {
            *probe = words.probe(probe);
        }
        for detector in &mut spec.detectors {
            match detector {
                Detector::PidFile { path } => *path = words.path(path),
                Detector::Command { command } => *command = words.fill(command),
                Detector::Pid { .. } => {}
            }
        }
        for phase in Phase::ALL {
            for hook in spec.hooks.phase_mut(phase) {
                hook.cwd = hook.cwd.as_deref().map(|path| words.path(path));
                for value in hook.env.values_mut() {
                    *value = words.fill(value);
                }
            }
        }
        for socket in &mut spec.listen {
            if let ListenAddress::Unix(path) | ListenAddress::UnixDgram(path) = &mut socket.address
            {
                *path = words.path(path);
            }
        }
        spec
    }
}

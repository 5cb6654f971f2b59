//! From a service's spec to what a backend is asked to run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use proc_backends::{Errno, InstanceSpec, LogOffsets, StartError, StdinMode};
use proc_output::read::{Follow, LogReader, Query};
use proc_output::{LogOptions, Stream};
use proc_probe::Role;
use proc_spec::{OnFull, ServiceSpec, Stdin};
use tokio::task::JoinHandle;

use super::instance::role_name;
use super::{Driver, Msg};
use crate::machine::{HookSet, Rules};
use crate::stamp::Stamp;

/// How much earlier than its start a run's output may seem to have arrived, in milliseconds: the
/// start is stamped when it is known to have succeeded, and by then the program may have written.
const MARGIN: i64 = 1000;

impl Driver {
    /// Returns everything a backend has to know to start an instance.
    pub(super) fn launch(&mut self, key: &str) -> Result<InstanceSpec, StartError> {
        let listen = self.sockets(key)?;
        let Some(spec) = self.spec_of(key) else {
            return Err(StartError::NotFound {
                program: String::new(),
            });
        };
        let mut env = self.environment(key);
        // Of several with one name the first has the variable: the last that is set wins.
        for (socket, address) in listen.iter().rev() {
            let name = socket
                .name
                .to_uppercase()
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            env.push((format!("PROC_LISTEN_{name}").into(), address.into()));
        }
        let notify = self.prepare_notify(key, &spec);
        env.extend(
            notify
                .env
                .into_iter()
                .map(|(name, value)| (name.into(), value.into())),
        );
        let Some(instance) = self.instances.get(key) else {
            return Err(StartError::NotFound {
                program: String::new(),
            });
        };
        let argv = spec
            .command
            .as_ref()
            .map(proc_spec::Command::argv)
            .unwrap_or_default();
        Ok(InstanceSpec {
            project: self.project.name.clone(),
            service: instance.service.clone(),
            instance: key.to_owned(),
            index: instance.index,
            argv: argv.into_iter().map(OsString::from).collect(),
            env,
            cwd: spec.cwd.clone(),
            attributes: spec.attributes.clone(),
            stdin: match spec.stdin {
                Stdin::Null => StdinMode::Null,
                Stdin::Pipe => StdinMode::Pipe,
                Stdin::Pty => StdinMode::Pty,
            },
            log: log_options(&spec, &self.fixed.log_dir),
            listen: listen
                .into_iter()
                .map(|(socket, _)| socket)
                .chain(notify.stored)
                .collect(),
            notify_fd: notify.fd,
            detached: spec.detached,
            die_with_supervisor: spec.die_with_supervisor.unwrap_or(self.fixed.foreground),
            stop: spec.stop.steps.clone(),
            last_run: instance.last_run,
            foreign: foreign(&spec),
        })
    }

    /// Returns the service as an instance sees it.
    pub(super) fn spec_of(&self, key: &str) -> Option<ServiceSpec> {
        let instance = self.instances.get(key)?;
        let service = self.services.get(&instance.service)?;
        let mut spec = ServiceSpec::clone(&service.spec);
        spec.instances = service.count;
        Some(spec.for_instance(&self.project.name, instance.index))
    }

    /// Returns the whole environment of an instance. What an outer manager told the supervisor
    /// itself is not meant for its services.
    pub(super) fn environment(&self, key: &str) -> Vec<(OsString, OsString)> {
        let Some(spec) = self.spec_of(key) else {
            return Vec::new();
        };
        let ours = |name: &str| {
            name == "NOTIFY_SOCKET" || name.starts_with("LISTEN_") || name.starts_with("WATCHDOG_")
        };
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        if !spec.clear_env {
            let inherited = self.fixed.env.iter().filter(|(name, _)| !ours(name));
            env.extend(inherited.map(|(name, value)| (name.clone(), value.clone())));
        }
        env.extend(
            spec.env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        env.into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    /// Follows the log of the present run for the probes that wait for a line of it.
    pub(super) fn follow_log(&self, key: &str) -> Option<JoinHandle<()>> {
        let instance = self.instances.get(key)?;
        let spec = self.spec_of(key)?;
        let dir = log_options(&spec, &self.fixed.log_dir).dir?;
        let started = instance.started.as_ref()?;
        let run = LogOfRun {
            dir,
            instance: key.to_owned(),
            from: instance.log_from,
            since: Stamp::from(started.started_at).unix_ms() - MARGIN,
        };
        let (inbox, epoch, key) = (self.inbox.clone(), instance.epoch, key.to_owned());
        Some(tokio::spawn(async move {
            let from = run.from;
            let Some(mut follow) = run.follow().await else {
                return;
            };
            while let Ok(entry) = follow.next_entry().await {
                let begin = if entry.stream == Stream::Stderr {
                    from.stderr
                } else {
                    from.stdout
                };
                if entry.offset < begin || entry.is_gap() {
                    continue;
                }
                let line = entry.text().to_vec();
                if inbox
                    .send(Msg::Line {
                        key: key.clone(),
                        epoch,
                        line,
                    })
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }))
    }

    /// Shows a line of output to the probes that wait for one.
    pub(super) fn line(&mut self, key: &str, epoch: u64, line: &[u8]) {
        let Some(instance) = self.instances.get_mut(key).filter(|i| i.epoch == epoch) else {
            return;
        };
        for probe in instance.probes.values() {
            probe.feed_line(line);
        }
        // A line that has come once is enough: following on would cost work for every line.
        let waiting = [Role::Ready, Role::Startup].into_iter().any(|role| {
            instance
                .probes
                .get(role_name(role))
                .is_some_and(|probe| !probe.is_up())
        });
        if !waiting && let Some(feed) = instance.feed.take() {
            feed.abort();
        }
    }
}

/// The log of one run: lines of earlier runs say nothing about this one.
struct LogOfRun {
    dir: PathBuf,
    instance: String,
    /// Where the run before ended.
    from: LogOffsets,
    /// Older output need not be looked at, in milliseconds since 1970.
    since: i64,
}

impl LogOfRun {
    /// Opens it for following.
    async fn follow(self) -> Option<Follow> {
        let name = self.instance.clone();
        match tokio::task::spawn_blocking(move || self.open()).await {
            Ok(Ok(follow)) => Some(follow),
            Ok(Err(error)) => {
                tracing::warn!(instance = name, %error, "cannot follow a log for a probe");
                None
            }
            Err(_) => None,
        }
    }

    fn open(&self) -> io::Result<Follow> {
        // The shim may not have made it yet.
        std::fs::create_dir_all(&self.dir)?;
        let mut reader = LogReader::new();
        reader.add(&self.dir, &self.instance)?;
        reader.follow(&Query {
            since: Some(self.since),
            ..Query::default()
        })
    }
}

/// Returns what of a spec the machine goes by.
pub(crate) fn rules(spec: &ServiceSpec) -> Rules {
    Rules {
        policy: spec.restart.clone(),
        start_seconds: spec.start_seconds,
        start_timeout: spec.start_timeout,
        readiness: spec.ready.is_some(),
        startup: spec.startup.is_some(),
        detached: spec.detached,
        oneshot: spec.oneshot,
        scheduled: spec.schedule.is_some(),
        overlap_replaces: spec.overlap == proc_spec::Overlap::Replace,
        overlap_allows: spec.overlap == proc_spec::Overlap::Allow,
        max_age: spec.max_age,
        hooks: HookSet {
            pre_start: !spec.hooks.pre_start.is_empty(),
            post_start: !spec.hooks.post_start.is_empty(),
            pre_stop: !spec.hooks.pre_stop.is_empty(),
            post_stop: !spec.hooks.post_stop.is_empty(),
        },
    }
}

fn log_options(spec: &ServiceSpec, default: &Path) -> LogOptions {
    let log = &spec.log;
    LogOptions {
        dir: Some(log.dir.clone().unwrap_or_else(|| default.to_owned())),
        max_size: log.max_size,
        keep: log.keep,
        total_max: log.total_max,
        max_age: log.max_age,
        compress: log.compress,
        merge: log.merge,
        on_full: match log.on_full {
            OnFull::Block => proc_output::OnFull::Block,
            OnFull::Drop => proc_output::OnFull::Drop,
        },
        direct: log.direct,
        timestamps: log.timestamps,
    }
}

/// Settings that only a foreign backend understands.
fn foreign(spec: &ServiceSpec) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |key: &str, value: Option<String>| {
        all.extend(value.map(|value| (key.to_owned(), value)));
    };
    add("unit", spec.unit.clone());
    add("scope", spec.scope.map(|scope| scope.as_str().to_owned()));
    add("sudo", spec.sudo.then(|| "true".to_owned()));
    add("label", spec.label.clone());
    add("host", spec.host.clone());
    all.extend(
        spec.slurm
            .iter()
            .map(|(key, value)| (format!("slurm.{key}"), value.clone())),
    );
    all
}

/// Returns a start error for a socket that cannot be opened.
pub(super) fn cannot_listen(address: &str, error: &std::io::Error) -> StartError {
    StartError::Attribute {
        attribute: "listen".to_owned(),
        value: address.to_owned(),
        errno: Errno(error.raw_os_error().unwrap_or(22)),
    }
}

//! Workloads of Kubernetes: a Deployment, Job or CronJob for each service.

use std::collections::BTreeMap;
use std::time::Duration;

use proc_core::Signal;
use proc_policy::Mode;
use proc_probe::{Address, Probe, ProbeKind};
use serde_json::{Value, json};

use super::{ExportLoss, Exported, losses, yaml};
use crate::command::Command;
use crate::listen::ListenAddress;
use crate::raw::Overlap;
use crate::spec::{Project, ServiceSpec};

const KEPT: [&str; 14] = [
    "instances",
    "description",
    "env",
    "autostart",
    "user",
    "group",
    "cgroup",
    "no_new_privs",
    "stop",
    "restart.mode",
    "schedule",
    "overlap",
    "oneshot",
    "start_timeout",
];

/// The hidden ports of a Service that is made from `listen`.
type Ports = Vec<Value>;

pub(crate) fn export(project: &Project) -> Exported {
    let mut text = String::new();
    let mut lost = Vec::new();
    for service in &project.services {
        let mut export = Export {
            project,
            service,
            lost: &mut lost,
        };
        if service.command.is_none() {
            export.lose("command", "left out: it has no command");
            continue;
        }
        text.push_str(&yaml::document(&export.workload()));
        if let Some(object) = export.published() {
            text.push_str(&yaml::document(&object));
        }
        lost.extend(
            losses(service, &KEPT, "kubernetes has no such setting")
                .into_iter()
                .filter(|loss| !is_told_otherwise(service, &loss.key))
                .map(explained),
        );
    }
    Exported {
        files: vec![(format!("{}.yaml", project.name), text)],
        losses: lost,
    }
}

/// Probes say themselves what of them is lost; sockets too.
fn is_told_otherwise(service: &ServiceSpec, key: &str) -> bool {
    let first = key.split('.').next().unwrap_or(key);
    match first {
        "ready" => service.ready.is_some(),
        "alive" => service.alive.is_some(),
        "startup" => service.startup.is_some(),
        "listen" => true,
        _ => false,
    }
}

fn explained(loss: ExportLoss) -> ExportLoss {
    let first = loss.key.split('.').next().unwrap_or_default();
    let why = match first {
        "needs" | "after" => "everything starts at once; a pod that needs another one tries again",
        "restart" => "the kubelet restarts by its own arithmetic: 10 s, doubled, at most 5 min",
        "log" => "output is the cluster's to keep",
        _ => return loss,
    };
    ExportLoss {
        why: why.to_owned(),
        ..loss
    }
}

struct Export<'a> {
    project: &'a Project,
    service: &'a ServiceSpec,
    lost: &'a mut Vec<ExportLoss>,
}

impl Export<'_> {
    fn lose(&mut self, key: &str, why: impl Into<String>) {
        self.lost.push(ExportLoss {
            service: self.service.name.clone(),
            key: key.to_owned(),
            why: why.into(),
        });
    }

    fn name(&self) -> String {
        label(&format!("{}-{}", self.project.name, self.service.name))
    }

    fn labels(&self) -> Value {
        json!({
            "app.kubernetes.io/name": label(&self.service.name),
            "app.kubernetes.io/part-of": label(&self.project.name),
        })
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({ "name": self.name(), "labels": self.labels() });
        if let Some(description) = &self.service.description {
            metadata["annotations"] = json!({ "kubernetes.io/description": description });
        }
        metadata
    }

    fn workload(&mut self) -> Value {
        let service = self.service;
        if let Some(schedule) = &service.schedule {
            return json!({
                "apiVersion": "batch/v1", "kind": "CronJob", "metadata": self.metadata(),
                "spec": {
                    "schedule": schedule.to_string(),
                    "suspend": !service.autostart,
                    "concurrencyPolicy": match service.overlap {
                        Overlap::Forbid => "Forbid",
                        Overlap::Replace => "Replace",
                        Overlap::Allow => "Allow",
                    },
                    "jobTemplate": { "spec": self.job() },
                },
            });
        }
        if service.oneshot {
            let mut spec = self.job();
            spec["suspend"] = json!(!service.autostart);
            return json!({
                "apiVersion": "batch/v1", "kind": "Job", "metadata": self.metadata(), "spec": spec,
            });
        }
        if service.restart.mode != Mode::Always {
            self.lose("restart.mode", "a Deployment always restarts");
        }
        let replicas = if service.autostart {
            service.instances
        } else {
            0
        };
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": self.metadata(),
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": self.labels() },
                "template": self.pod("Always"),
            },
        })
    }

    fn job(&mut self) -> Value {
        let policy = match self.service.restart.mode {
            Mode::Never => "Never",
            _ => "OnFailure",
        };
        let mut spec = json!({ "template": self.pod(policy) });
        if self.service.restart.mode == Mode::Never {
            spec["backoffLimit"] = json!(0);
        } else if let Some(max) = self.service.restart.max {
            spec["backoffLimit"] = json!(max);
        }
        if self.service.instances != 1 {
            spec["parallelism"] = json!(self.service.instances);
            spec["completions"] = json!(self.service.instances);
        }
        spec
    }

    fn pod(&mut self, restart: &str) -> Value {
        let grace = self.grace();
        json!({
            "metadata": { "labels": self.labels() },
            "spec": {
                "restartPolicy": restart,
                "terminationGracePeriodSeconds": grace,
                "containers": [self.container()],
            },
        })
    }

    /// The time until KILL, in seconds.
    fn grace(&mut self) -> u64 {
        let steps = &self.service.stop.steps.steps;
        let first = steps.first().map_or(Signal::TERM, |step| step.signal);
        if first != Signal::TERM {
            let why = format!("a container gets TERM, or the STOPSIGNAL of its image: {first}");
            self.lose("stop.signal", why);
        }
        let waits = steps.iter().filter(|step| step.signal != Signal::KILL);
        let waits: Option<Vec<Duration>> = waits.map(|step| step.wait).collect();
        let Some(waits) = waits else {
            self.lose("stop.grace", "has to end some time: an hour");
            return 3600;
        };
        seconds(waits.iter().sum())
    }

    fn container(&mut self) -> Value {
        let image = format!("{}:latest", self.name());
        let why = format!("`{image}` stands for the image that holds the program");
        self.lose("image", why);
        let spec = if self.service.instances == 1 {
            self.service.for_instance(&self.project.name, 1)
        } else {
            self.service.clone()
        };
        let mut container = json!({ "name": label(&spec.name), "image": image });
        container["command"] = command(&spec);
        if spec.cwd != self.project.dir {
            container["workingDir"] = json!(spec.cwd.display().to_string());
        }
        let env = self.variables(&spec);
        if !env.is_empty() {
            container["env"] = json!(env);
        }
        let resources = self.resources();
        if !resources.is_empty() {
            container["resources"] = json!({ "limits": resources });
        }
        let security = self.security();
        if !security.is_empty() {
            container["securityContext"] = json!(security);
        }
        if let Some(stop) = &spec.stop.command {
            container["lifecycle"] = json!({ "preStop": { "exec": { "command": stop.argv() } } });
        }
        let probes = [
            ("ready", "readinessProbe", &spec.ready),
            ("alive", "livenessProbe", &spec.alive),
            ("startup", "startupProbe", &spec.startup),
        ];
        for (key, theirs, probe) in probes {
            if let Some(probe) = probe
                && let Some(value) = self.probe(key, probe)
            {
                container[theirs] = value;
            }
        }
        container
    }

    fn variables(&mut self, spec: &ServiceSpec) -> Vec<Value> {
        if spec.instances != 1 && format!("{:?}{:?}", spec.command, spec.env.0).contains("${PROC_")
        {
            self.lose(
                "env.PROC_INSTANCE",
                "the pods of a Deployment have no number",
            );
        }
        let pairs = spec.env.iter();
        pairs
            .map(|(name, value)| json!({ "name": name, "value": unexpanded(value) }))
            .collect()
    }

    fn resources(&mut self) -> BTreeMap<&'static str, String> {
        let mut limits = BTreeMap::new();
        let Some(cgroup) = &self.service.attributes.cgroup else {
            return limits;
        };
        if let Some(bytes) = cgroup.memory_max {
            limits.insert("memory", bytes.to_string());
        }
        if let Some(quota) = cgroup.cpu_max_us {
            let period = cgroup.cpu_period_us.unwrap_or(100_000).max(1);
            limits.insert("cpu", format!("{}m", (quota * 1000).div_ceil(period)));
        }
        if cgroup.pids_max.is_some() {
            self.lose("limits.pids", "is a setting of the kubelet, not of a pod");
        }
        limits
    }

    fn security(&mut self) -> BTreeMap<&'static str, Value> {
        let attributes = &self.service.attributes;
        let mut security = BTreeMap::new();
        let ids = [
            ("user", "runAsUser", &attributes.user),
            ("group", "runAsGroup", &attributes.group),
        ];
        for (key, theirs, id) in ids {
            match id.as_ref().map(|id| (id, id.parse::<u32>())) {
                Some((_, Ok(number))) => {
                    security.insert(theirs, json!(number));
                }
                Some((name, Err(_))) => {
                    self.lose(
                        key,
                        format!("`{name}` must be a number, or the image's USER"),
                    );
                }
                None => {}
            }
        }
        if attributes.no_new_privs {
            security.insert("allowPrivilegeEscalation", json!(false));
        }
        security
    }

    fn probe(&mut self, key: &str, probe: &Probe) -> Option<Value> {
        let mut out = match &probe.kind {
            ProbeKind::Http(http) => {
                if http.status.is_some() || http.body.is_some() || !http.header.is_empty() {
                    self.lose(
                        key,
                        "any status from 200 to 399 passes, whatever else the answer says",
                    );
                }
                let Address::Tcp { host, port } = http.url.address() else {
                    self.lose(key, "a Unix socket cannot be asked from outside");
                    return None;
                };
                let mut get = json!({ "path": http.url.target(), "port": port });
                if !is_local(host) {
                    get["host"] = json!(host);
                }
                if !http.send.is_empty() {
                    let headers = http.send.iter();
                    let headers: Vec<Value> = headers
                        .map(|(name, value)| json!({ "name": name, "value": value }))
                        .collect();
                    get["httpHeaders"] = json!(headers);
                }
                json!({ "httpGet": get })
            }
            ProbeKind::Tcp(Address::Tcp { host, port }) => {
                let mut socket = json!({ "port": port });
                if !is_local(host) {
                    socket["host"] = json!(host);
                }
                json!({ "tcpSocket": socket })
            }
            ProbeKind::Exec(command) => {
                json!({ "exec": { "command": ["/bin/sh", "-c", unexpanded(command)] } })
            }
            ProbeKind::File(path) => {
                json!({ "exec": { "command": ["test", "-e", path.display().to_string()] } })
            }
            other => {
                self.lose(
                    key,
                    format!("a pod is asked, it says nothing itself: {other}"),
                );
                return None;
            }
        };
        out["periodSeconds"] = json!(seconds(probe.interval));
        out["timeoutSeconds"] = json!(seconds(probe.timeout));
        if key == "ready" {
            out["successThreshold"] = json!(probe.successes.max(1));
        }
        let limit = self
            .service
            .start_timeout
            .unwrap_or(Duration::from_secs(3600));
        out["failureThreshold"] = json!(match probe.failures {
            0 => seconds(limit).div_ceil(seconds(probe.interval)),
            failures => u64::from(failures),
        });
        if !probe.initial_delay.is_zero() {
            out["initialDelaySeconds"] = json!(seconds(probe.initial_delay));
        }
        Some(out)
    }

    /// A Service for the ports in `listen`.
    fn published(&mut self) -> Option<Value> {
        let mut ports = Ports::new();
        for listen in &self.service.listen {
            let (protocol, port) = match &listen.address {
                ListenAddress::Tcp { port, .. } if *port != 0 => ("TCP", *port),
                ListenAddress::Udp { port, .. } if *port != 0 => ("UDP", *port),
                _ => continue,
            };
            let name = format!("{}-{port}", protocol.to_ascii_lowercase());
            ports.push(json!({ "name": name, "port": port, "protocol": protocol }));
        }
        if !self.service.listen.is_empty() {
            let why = "a pod opens its sockets itself; a Service publishes the ports";
            self.lose("listen", why);
        }
        (!ports.is_empty()).then(|| {
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": self.metadata(),
                "spec": { "selector": self.labels(), "ports": ports },
            })
        })
    }
}

fn command(spec: &ServiceSpec) -> Value {
    let argv = spec.command.as_ref().map(Command::argv).unwrap_or_default();
    json!(argv.iter().map(|word| unexpanded(word)).collect::<Vec<_>>())
}

/// `$(X)` would be a variable there.
fn unexpanded(text: &str) -> String {
    text.replace("$(", "$$(")
}

/// Whole seconds, at least one.
fn seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

fn is_local(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "::1" | "0.0.0.0" | "")
}

/// A name as the API takes it: RFC 1123.
fn label(text: &str) -> String {
    let lower = text.chars().map(|c| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() => c,
        _ => '-',
    });
    let label: String = lower.take(63).collect();
    label.trim_matches('-').to_owned()
}

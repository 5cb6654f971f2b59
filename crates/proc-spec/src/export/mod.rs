//! A project as other supervisors read it, with a report of what they cannot do.

mod kubernetes;
mod launchd;
mod procfile;
mod supervisord;
mod systemd;
mod yaml;

use std::fmt;
use std::str::FromStr;

use crate::diff::diff_service;
use crate::import::UnknownFormat;
use crate::spec::{Project, ServiceSpec};

/// A format that can be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExportFormat {
    /// A unit for each instance and a target that binds them.
    Systemd,
    /// A property list for each instance.
    Launchd,
    /// `name: command` lines, in the order of the file.
    Procfile,
    /// `supervisord.conf`.
    Supervisord,
    /// A Deployment, Job or CronJob for each service, and what publishes its ports.
    Kubernetes,
}

impl ExportFormat {
    /// Every format, in the order of the help.
    pub const ALL: [Self; 5] = [
        Self::Systemd,
        Self::Launchd,
        Self::Procfile,
        Self::Supervisord,
        Self::Kubernetes,
    ];

    /// Returns the word for it on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Systemd => "systemd",
            Self::Launchd => "launchd",
            Self::Procfile => "procfile",
            Self::Supervisord => "supervisord",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl FromStr for ExportFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.as_str() == text);
        found.ok_or_else(|| UnknownFormat(text.escape_debug().to_string()))
    }
}

/// What a project became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The files: name and text, in order.
    pub files: Vec<(String, String)>,
    /// What is not in them.
    pub losses: Vec<ExportLoss>,
}

/// A key of a service that could not be carried over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportLoss {
    /// The service.
    pub service: String,
    /// The key: `ready`, `limits`.
    pub key: String,
    /// Why.
    pub why: String,
}

impl fmt::Display for ExportLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service.{}.{}: {}", self.service, self.key, self.why)
    }
}

/// Writes a project in another format; `user` is the user of system units.
#[must_use]
pub fn export(project: &Project, format: ExportFormat, user: Option<&str>) -> Exported {
    match format {
        ExportFormat::Systemd => systemd::export(project, user),
        ExportFormat::Launchd => launchd::export(project, user),
        ExportFormat::Procfile => procfile::export(project),
        ExportFormat::Supervisord => supervisord::export(project, user),
        ExportFormat::Kubernetes => kubernetes::export(project),
    }
}

/// Names the keys in which a service differs from the simplest one, without those that `kept` names.
fn losses(service: &ServiceSpec, kept: &[&str], why: &str) -> Vec<ExportLoss> {
    let plain = ServiceSpec::plain(&service.name, service.command.clone(), &service.cwd);
    let changed = diff_service(&plain.image(), service)
        .map(|change| change.changed)
        .unwrap_or_default();
    let lost = changed.into_iter().filter(|path| {
        !kept.iter().any(|field| {
            path.strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        })
    });
    lost.map(|key| ExportLoss {
        service: service.name.clone(),
        key,
        why: why.to_owned(),
    })
    .collect()
}

/// A text in double quotes, as supervisord reads it: with backslashes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

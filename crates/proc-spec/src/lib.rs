//! What a project wants: `proc.toml`, `Procfile` and environment files, read, checked and resolved.
//!
//! For supervisors and tools around them: [`Loader`] finds the files and makes a [`Project`] of
//! [`ServiceSpec`]s, or says everything that is wrong, each at its line and key. Not for general TOML: what it
//! does not know is an error.
//!
//! * [`Loader::load`] reads; the environment is passed in, never taken from the process.
//! * [`Project`] is plain, comparable data: defaults applied, paths absolute, variables expanded.
//! * [`parse_duration`], [`parse_size`], [`parse_env_file`], [`Command::parse`], [`Listen`] and [`Cron`] read the
//!   small languages in it, and are usable alone.
//!
//! ```
//! use std::collections::BTreeMap;
//! use proc_spec::{Command, Loader};
//!
//! let dir = tempfile::tempdir()?;
//! std::fs::write(dir.path().join("proc.toml"), "[service.web]\ncommand = './web --port ${PORT:-8080}'\n")?;
//! let project = Loader::new(dir.path(), BTreeMap::new()).load()?;
//! let web = project.service("web").expect("it is in the file");
//! assert_eq!(web.command, Some(Command::parse("./web --port 8080")?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limitations
//! Configuration is UTF-8, and so are the variables and paths in it. A file has at most 4 MiB.

#![forbid(unsafe_code)]

mod attributes;
mod command;
mod cron;
mod decode;
mod diff;
mod env_file;
mod environment;
mod error;
mod expand;
mod export;
mod graph;
mod import;
mod instance;
mod interpolate;
pub mod launchd;
mod lint;
mod listen;
mod loader;
mod merge;
mod names;
mod node;
mod places;
mod probes;
mod procfile;
mod raw;
mod restart;
mod schema;
mod select;
mod service;
mod slurm;
mod source;
mod spec;
mod suggest;
pub mod systemd;
mod units;
mod watch;

pub use command::{Command, CommandError};
pub use cron::{CivilMinute, Cron, CronError};
pub use diff::{Action, Change, diff, diff_service};
pub use env_file::{EnvFileError, EnvLine, parse_env_file};
pub use error::{ConfigError, ConfigErrors, Position};
pub use export::{ExportFormat, ExportLoss, Exported, export};
pub use graph::{NameClash, name_clashes};
pub use import::{ImportError, ImportFormat, Imported, Loss, UnknownFormat, import};
pub use listen::{Listen, ListenAddress, ListenError};
pub use loader::{Loader, MAX_INSTANCES};
pub use names::{MAX_NAME, NameError, check_name, instance_name, project_name};
pub use raw::{
    BackendName, ExitProject, Need, OnExit, OnFull, OnRestart, Overlap, Scope, Stdin, Strategy,
};
pub use schema::{schema, starter};
pub use select::{SelectError, Selected, select};
pub use slurm::{SlurmError, slurm_memory, slurm_options};
pub use spec::{
    DeploySpec, Environment, Format, Group, LogSpec, Project, ServiceSpec, StopSpec, WatchSpec,
};
pub use units::{
    LONGEST, UnitError, duration_from_seconds, format_duration, format_limit, format_size,
    parse_duration, parse_size, parse_span,
};
pub use watch::{WatchRoot, WatchedFiles};

//! `proc.toml` as it is written: raw tables, their schema, and nothing resolved yet.
//!
//! The doc comments here are the descriptions in `proc schema`.

mod deploy;
mod hooks;
mod lifecycle;
mod log;
mod probe;
mod project;
mod scalar;
mod service;
mod watch;

pub(crate) use self::deploy::*;
pub(crate) use self::hooks::*;
pub(crate) use self::lifecycle::*;
pub use self::log::*;
pub(crate) use self::probe::*;
pub use self::project::*;
pub(crate) use self::scalar::*;
pub use self::service::*;
pub(crate) use self::watch::*;
use crate::decode::{Named, table};

table! {
    /// A project: services that run together under one supervisor.
    pub(crate) struct RawFile {
        /// The project itself.
        project: RawProject,
        /// Any service key: what every service has unless it says otherwise.
        defaults: RawService,
        /// Groups of services, addressed as `@name`.
        groups: Named<RawGroup>,
        /// The services by name.
        service: Named<RawService>,
    }
}

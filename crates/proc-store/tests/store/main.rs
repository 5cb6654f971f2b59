//! The promises of this crate, with real files and real processes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod atomic;
mod dirs;
mod journal;
mod keeper;
mod lock;
mod pidfile;
mod record;
mod registry;
mod support;

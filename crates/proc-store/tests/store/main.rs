//! The promises of this crate, with real files and real processes.

mod atomic;
mod dirs;
mod lock;
mod pidfile;
mod record;
mod support;

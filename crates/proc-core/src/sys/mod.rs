//! The operating system: what POSIX has lies here, the rest in one folder each, with the same file names. The only place with
//! `unsafe`, and with `cfg(target_os)`.

mod kill;
pub(crate) mod mask;
mod prepared;
#[cfg(feature = "async")]
pub(crate) mod readiness;
pub(crate) mod reap;
pub(crate) mod spawn;
pub(crate) mod users;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("proc-core knows Linux and macOS; a new system is a folder beside `sys/linux`");

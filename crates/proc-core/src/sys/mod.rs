//! The operating system, one folder each, with the same file names; the only place with `unsafe`.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(not(target_os = "linux"))]
compile_error!("proc-core knows Linux only so far; a new system is a folder beside `sys/linux`");

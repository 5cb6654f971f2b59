//! The operating system: descriptors that move bytes, wake a thread, or tell of files that change.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::*;

#[cfg(target_os = "macos")]
mod macos;
#[cfg(target_os = "macos")]
pub(crate) use macos::*;

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("proc-output knows Linux and macOS; a new system is a file beside `sys/linux.rs`");

/// What a [`Watcher`] tells.
pub(crate) enum Event<'a> {
    /// More happened than the kernel remembers.
    #[cfg_attr(
        target_os = "macos",
        expect(dead_code, reason = "kqueue keeps one event per watch")
    )]
    Overflow,
    /// A file was written to; or, with its name, an entry of a directory is new.
    Of(i32, Option<&'a str>),
}

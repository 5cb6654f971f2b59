//! The exit codes scripts may depend on. Each failure picks one of these and nothing else.

/// Done.
pub(crate) const OK: u8 = 0;
/// The operation failed, wholly or in part.
pub(crate) const FAILED: u8 = 1;
/// Usage or configuration error.
pub(crate) const USAGE: u8 = 2;
/// The answer is no (`proc is`, `proc alive`).
pub(crate) const NO: u8 = 3;
/// No such project, service, process or registry entry.
pub(crate) const UNKNOWN: u8 = 4;
/// No supervisor is running for this project.
pub(crate) const NO_SUPERVISOR: u8 = 5;
/// A stop finished, but processes survived it.
pub(crate) const SURVIVORS: u8 = 6;
/// Timed out.
pub(crate) const TIMED_OUT: u8 = 124;
/// `proc` itself failed before it could run the command.
pub(crate) const NOT_RUN: u8 = 125;

/// Returns the code a command's end becomes: its own, or 128 plus the signal.
pub(crate) fn of_command(code: Option<i32>, signal: Option<i32>) -> u8 {
    let number = match (code, signal) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => i32::from(FAILED),
    };
    u8::try_from(number).unwrap_or(FAILED)
}

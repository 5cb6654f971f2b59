//! Lifecycle hooks: phases, modes, timeouts and validation; a slow hook never blocks its caller.

mod hook;
mod phase;
mod validate;

pub use hook::{
    DEFAULT_RETRIES, DEFAULT_RETRY_DELAY, DEFAULT_TIMEOUT, Hook, Hooks, Mode, OnFailure,
};
pub use phase::{Phase, UnknownPhase};
pub use validate::{
    HookError, HookProblem, MAX_COMMAND_CHARS, MAX_PER_PHASE, MAX_RETRIES, MAX_TIMEOUT, MAX_TOTAL,
};

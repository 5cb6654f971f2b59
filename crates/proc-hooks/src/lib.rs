//! Lifecycle hooks: commands that run at four moments of a service's life.
//!
//! For anybody who starts services on behalf of others and lets them say what else is to happen:
//! before the start, after it, before the stop, after it. Who only wants to run one command takes
//! `proc-run`.
//!
//! A [`Hook`] is plain data, [`Hooks`] a list of them for each [`Phase`], checked as a whole by
//! [`Hooks::validate`]. A [`Runner`] runs a phase and returns a [`PhaseOutcome`]; the outcomes of
//! asynchronous hooks come through a queue. Whatever a hook does, its caller's thread is never
//! blocked, its output is bounded, and its whole process tree is ended at the timeout, or when the
//! future is dropped.
//!
//! ```
//! use proc_hooks::{Hook, HookContext, Phase, Runner};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let (runner, _async_outcomes) = Runner::new();
//! let hooks = [Hook::new("migrate", "echo $PROC_HOOK_NAME for $PROC_NAME; exit 3")];
//! let context = HookContext { name: "web-1".into(), cwd: "/".into(), ..Default::default() };
//!
//! let outcome = runner.run(Phase::PreStart, &hooks, &context).await;
//! assert_eq!(outcome.outcomes[0].output, b"migrate for web-1\n");
//! assert_eq!(outcome.to_string(), "pre_start hooks failed: `migrate` exited with code 3");
//! # });
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Limitations
//!
//! * A command line is run by `/bin/sh -c`, in the given environment and nothing else.
//! * Children that a hook leaves in the background after it has ended by itself are its own affair.
//! * A tree is ended as `proc-core` can from outside: where no cgroup holds it, a process that has
//!   left its session *and* lost its parent before the timeout is not found.

#![forbid(unsafe_code)]

mod command;
mod hook;
mod outcome;
mod phase;
mod runner;
mod validate;

pub use hook::{
    DEFAULT_RETRIES, DEFAULT_RETRY_DELAY, DEFAULT_TIMEOUT, Hook, Hooks, Mode, OnFailure,
};
pub use outcome::{HookEnd, HookOutcome, MAX_OUTPUT, PhaseOutcome};
pub use phase::{Phase, UnknownPhase};
pub use runner::{HookContext, MAX_BACKGROUND, Runner};
pub use validate::{
    HookError, HookProblem, MAX_COMMAND_CHARS, MAX_PER_PHASE, MAX_RETRIES, MAX_TIMEOUT, MAX_TOTAL,
};

pub use proc_core::block_on;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

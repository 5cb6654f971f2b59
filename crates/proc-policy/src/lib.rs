//! Restart policy as arithmetic: modes, exit filters, backoff, budgets, profiles and a simulator.
//!
//! For anything that runs something again after it ended: a process supervisor, a retry loop, a
//! client that reconnects. Not for programs that want the waiting done for them: this crate never
//! reads a clock, draws a random number or performs I/O. The caller passes the time and the
//! randomness in and gets a decision, its delay and the arithmetic behind it.
//!
//! * [`RestartPolicy`] holds the numbers; [`Default`] is on-failure, 0.5 s doubling to 30 s.
//! * [`Counters`] is what one service has used up so far; it is plain data, to be stored.
//! * [`RestartPolicy::on_exit`] takes both and the [`ExitFacts`] and returns a [`Decision`].
//!
//! ```
//! use proc_policy::{Counters, Decision, ExitFacts, RestartPolicy};
//! use std::time::Duration;
//!
//! let policy = RestartPolicy::default();
//! let mut counters = Counters::default();
//! let exit = ExitFacts::exited(1, Duration::from_secs(10));
//! let now = Duration::from_secs(10); // since any epoch the caller keeps to
//! let Decision::Restart { delay, attempt, arithmetic } =
//!     policy.on_exit(&mut counters, &exit, now, 0.5)
//! else {
//!     panic!("a first failure is restarted");
//! };
//! assert_eq!((attempt, delay), (1, Duration::from_millis(375)));
//! assert_eq!(
//!     arithmetic,
//!     "min(30s, 500ms x 2^0) = 500ms, equal jitter 250ms + 0.5 x 250ms = 375ms"
//! );
//! ```
//!
//! # The one formula
//! The *k*-th restart in a row waits `min(max_delay, initial_delay * factor^(k-1))`, then jitter.
//! *k* returns to 1 after [`RestartPolicy::reset_after`] of healthy running, or by
//! [`Counters::clear`] (a start by hand).
//!
//! # The budgets
//! | budget | counts | trips when | ends by |
//! |---|---|---|---|
//! | `startup_max` | failures within `startup_grace`, and failed starts | more than so many in a row | a run that outlives the grace |
//! | `max` | restarts (of clean exits only with `count_clean`) | one more would exceed it | `reset_after`, or leaving `window` |
//! | `crash_loop` | failures | the `count`-th within `within` | `reset_after`, or leaving `within` |
//!
//! A clean exit is never a crash. Under several tripped budgets the crash loop is named first.
//!
//! # Limitations
//! Signals are numbers here, names belong to the caller. Windows slide; where a peer's window is
//! fixed (systemd, Nomad) the [`Profile`] gives up at the same exit in a steady crash loop, and
//! earlier than the original when a burst straddles the end of its fixed window.

#![forbid(unsafe_code)]

mod bucket;
mod counters;
mod decide;
mod delay;
mod exit;
mod jitter;
mod mode;
mod policy;
mod profile;
pub mod sim;
mod text;
mod warn;

pub use bucket::{Bucket, BucketRate, reserve_all};
pub use counters::Counters;
pub use decide::{Decision, StayState};
pub use delay::Growth;
pub use exit::{ExitFacts, ExitMatch, ParseExitMatchError, Verdict};
pub use jitter::{Jitter, ParseJitterError};
pub use mode::{Mode, ParseModeError};
pub use policy::{CrashLoop, PolicyError, RestartPolicy};
pub use profile::{ParseProfileError, Profile};
pub use text::format_duration;
pub use warn::warnings;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

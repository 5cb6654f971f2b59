//! How a service is stopped, and whether it comes back.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::project::RawGuard;
use super::scalar::{CodeOrSignal, SignalName};
use crate::decode::{At, CountLimit, Cx, Decode, Limit, Span, choice, table};
use crate::node::Node;

table! {
    /// How a service is stopped: a signal and a grace, or steps; a command may go first.
    pub(crate) struct RawStop {
        /// The first signal. Default TERM.
        signal: SignalName,
        /// How long it has before KILL; "none" never kills. Default 10s.
        grace: Limit,
        /// Signals with the time each has: ["TERM/5s", "INT/5s", "KILL"].
        steps: Vec<At<String>>,
        /// A command that stops it; if it fails or outlasts the grace, the signals follow.
        command: String,
    }
}

table! {
    /// When and how fast a service is restarted.
    pub(crate) struct RawRestartTable {
        /// A peer's policy to start from; the other keys change it.
        profile: String,
        /// When it restarts.
        mode: RestartMode,
        /// The most restarts in a row, or "none".
        max: CountLimit,
        /// The most exits within `startup_grace` in a row, or "none".
        startup_max: CountLimit,
        /// An exit within this time is a failed start.
        startup_grace: Span,
        /// The first delay.
        initial_delay: Span,
        /// The longest delay, or "none".
        max_delay: Limit,
        /// What the delay grows by each time, at least 1.
        factor: f64,
        /// "none", "equal", "full" or a percentage such as "20%".
        jitter: String,
        /// After this long of healthy running it counts from 1 again; "none" is never.
        reset_after: Limit,
        /// So many crashes within so long: give up. Or "none".
        crash_loop: RawGuard,
        /// The exit codes that are a success; replaces [0].
        success_codes: Vec<At<i32>>,
        /// Exit codes and signals after which it stays down.
        no_restart_on: Vec<At<CodeOrSignal>>,
        /// Leave `failed` and try again after this time.
        cool_down: Span,
    }
}

choice! {
    /// When a service restarts.
    pub(crate) enum RestartMode {
        /// Never.
        Never = "never",
        /// When it failed.
        OnFailure = "on-failure",
        /// However it ended.
        Always = "always",
        /// When it ended well.
        OnSuccess = "on-success",
        /// After a signal, a time-out, a missed watchdog or want of memory.
        OnAbnormal = "on-abnormal",
        /// After a signal.
        OnAbort = "on-abort",
        /// After a missed watchdog.
        OnWatchdog = "on-watchdog",
    }
}

/// A restart table, or its mode alone.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawRestart(pub(crate) RawRestartTable);

impl Decode for RawRestart {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.as_str().is_some() {
            let mode = Some(At::decode(node, cx)?);
            return Some(RawRestart(RawRestartTable {
                mode,
                ..RawRestartTable::default()
            }));
        }
        RawRestartTable::decode(node, cx).map(RawRestart)
    }
}

impl JsonSchema for RawRestart {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Restart".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawRestartTable>();
        let mode = generator.subschema_for::<RestartMode>();
        json_schema!({ "anyOf": [table, mode] })
    }
}

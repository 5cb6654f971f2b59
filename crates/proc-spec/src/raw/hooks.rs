//! Commands before and after starts and stops.

use std::path::PathBuf;

use crate::decode::{At, Named, Scalar, Span, choice, table};

table! {
    /// Commands around the start and the stop of a service.
    pub(crate) struct RawHooks {
        /// Before the start; a failure aborts it.
        pre_start: Vec<At<RawHook>>,
        /// After the start.
        post_start: Vec<At<RawHook>>,
        /// Before the stop.
        pre_stop: Vec<At<RawHook>>,
        /// After the stop.
        post_stop: Vec<At<RawHook>>,
    }
}

table! {
    /// A command that runs at a phase.
    pub(crate) struct RawHook {
        /// Its name, unique in the service.
        name: String,
        /// The command line, run by a shell.
        command: String,
        /// The working directory, relative to the service's.
        cwd: PathBuf,
        /// Variables on top of the service's.
        env: Named<Scalar>,
        /// How long it may take, at most 1h. Default 30s.
        timeout: Span,
        /// What its failure means.
        on_failure: HookFailure,
        /// How often it is tried again with `on_failure = "retry"`. Default 1.
        retries: u32,
        /// The delay before such a try. Default 1s.
        retry_delay: Span,
        /// Whether the service waits for it.
        mode: HookMode,
    }
}

choice! {
    /// What the failure of a hook means.
    pub(crate) enum HookFailure {
        /// Its phase has failed.
        Fail = "fail",
        /// Nothing.
        Ignore = "ignore",
        /// It runs again.
        Retry = "retry",
    }
}

choice! {
    /// Whether the service waits for a hook.
    pub(crate) enum HookMode {
        /// It waits.
        Blocking = "blocking",
        /// It does not.
        Async = "async",
    }
}

//! How a service is replaced by a newer version.

use std::path::PathBuf;

use crate::decode::{At, Span, table};

table! {
    /// How a new version is brought in.
    pub(crate) struct RawDeploy {
        /// Commands, one after the other; the first failure ends it.
        steps: Vec<At<String>>,
        /// The repository whose pushes start it.
        repo: String,
        /// The branch.
        branch: String,
        /// Ask for `proc confirm` before it begins.
        confirm: bool,
        /// The deploy replaces `proc` itself.
        this as "self": bool,
        /// How long all steps may take. Default 10m.
        timeout: Span,
        /// Where the steps run; the service's directory unless given.
        cwd: PathBuf,
    }
}

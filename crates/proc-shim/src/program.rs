//! Which program is the shim.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The hidden verb that makes `proc` be a shim.
pub const HIDDEN_VERB: &str = "__shim";

/// How to run a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimProgram {
    /// The program.
    pub program: PathBuf,
    /// What comes before the shim's own arguments.
    pub args: Vec<OsString>,
}

impl ShimProgram {
    /// Returns the `proc-shim` beside `current_exe`, or `current_exe` itself as `… __shim`.
    ///
    /// The small binary costs less memory, the large one is complete alone.
    #[must_use]
    pub fn find(current_exe: &Path) -> Self {
        let beside = current_exe.with_file_name("proc-shim");
        let executable = rustix::fs::access(&beside, rustix::fs::Access::EXEC_OK).is_ok();
        if executable && beside.is_file() {
            return Self {
                program: beside,
                args: Vec::new(),
            };
        }
        Self {
            program: current_exe.to_owned(),
            args: vec![HIDDEN_VERB.into()],
        }
    }

    /// Returns a shim at a known place.
    #[must_use]
    pub fn at(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
        }
    }
}

//! What a backend can do here.

/// A backend's abilities, for `proc doctor` and for decisions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Whether the exit code survives the supervisor's death.
    pub exit_code_survives: bool,
    /// Whether a stop proves that the whole tree is gone.
    pub exact_stop: bool,
    /// Whether services survive the supervisor.
    pub services_survive: bool,
    /// Whether `listen` sockets can be passed.
    pub passes_sockets: bool,
    /// Whether stdin can be a pipe or pty.
    pub stdin: bool,
    /// Whether the backend writes the log files.
    pub writes_logs: bool,
    /// Whether a lost keeper can be replaced without touching the service.
    pub take_over: bool,
    /// Findings in words, one a line: `shim: /usr/bin/proc-shim`.
    pub notes: Vec<String>,
}

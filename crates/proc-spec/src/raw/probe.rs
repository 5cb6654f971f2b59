//! How it is seen that a service is ready, alive, or which process it is.

use std::path::PathBuf;

use super::scalar::{Count, NotifyFd, Pid, Status};
use crate::decode::{Named, Scalar, Span, choice, table};

table! {
    /// A probe: one of http, tcp, exec, log, file, notify, notify_fd or delay, and how often.
    pub(crate) struct RawProbe {
        /// GET this URL; any status from 200 to 399 is a success unless `status` says otherwise.
        http: String,
        /// The status the answer must have.
        status: Status,
        /// Headers the answer must have, and what their values must match.
        header: Named<Scalar>,
        /// A regular expression the answer's body must match.
        body: String,
        /// Headers to send with the request.
        send: Named<Scalar>,
        /// Connect to this address.
        tcp: String,
        /// Run this command; 0 is a success.
        exec: String,
        /// A regular expression some line of output must match.
        log: String,
        /// This file exists.
        file: PathBuf,
        /// Wait for READY=1 on NOTIFY_SOCKET: "socket".
        notify: Notify,
        /// Wait for a newline on this file descriptor.
        notify_fd: NotifyFd,
        /// Wait this long.
        delay: Span,
        /// Between tries. Default 1s, 10s for `alive`.
        interval: Span,
        /// How long a try may take. Default 1s.
        timeout: Span,
        /// Successes in a row that count. Default 1.
        successes: Count,
        /// Failures in a row that count, 0 for never. Default 3, 0 for `startup`.
        failures: u32,
        /// Before the first try.
        initial_delay: Span,
    }
}

choice! {
    /// How readiness is told.
    pub(crate) enum Notify {
        /// Through NOTIFY_SOCKET, as sd_notify does.
        Socket = "socket",
    }
}

table! {
    /// Another way to see that a service runs.
    pub(crate) struct RawDetector {
        /// Which way.
        r#type as "type": DetectorType,
        /// The PID file, for `type = "pidfile"`.
        path: PathBuf,
        /// The command, for `type = "command"`; 0 means it runs.
        command: String,
        /// The process, for `type = "pid"`.
        pid: Pid,
    }
}

choice! {
    /// The kinds of detectors.
    pub(crate) enum DetectorType {
        /// A PID file.
        Pidfile = "pidfile",
        /// A command.
        Command = "command",
        /// A process id.
        Pid = "pid",
    }
}

//! Between the shim's words and the backend's.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proc_shim::{
    Exited, Failure, FailureKind, Output, Running, StartSpec, Stdin, Target, Unstored,
};

use crate::backend::SignalTarget;
use crate::error::{Errno, OperateError, StartError};
use crate::spec::{InstanceSpec, StdinMode};
use crate::status::{Exit, LogOffsets, Missed, Started};

pub(super) fn time(unix_ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(unix_ms)
}

pub(super) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn started(running: Running) -> Started {
    Started {
        run: running.run,
        pid: running.identity.pid,
        pgid: running.pgid,
        started_at: time(running.started_at),
        downgrades: running.downgrades,
        identity: running.identity,
    }
}

pub(super) fn exit(exited: Exited) -> Exit {
    Exit {
        run: exited.run,
        end: exited.end,
        unknown: exited.unknown,
        at: time(exited.at),
        runtime: Duration::from_millis(exited.runtime_ms),
        oom: exited.oom,
        log: LogOffsets {
            stdout: exited.stdout_offset,
            stderr: exited.stderr_offset,
        },
    }
}

/// Returns the exits that were followed by another run: those a shim has kept, and its last one where that is so too.
pub(super) fn missed(unstored: &Unstored, last: Option<&Exited>) -> Missed {
    let exits = unstored.exits.iter().chain(last);
    Missed {
        exits: exits.cloned().map(exit).collect(),
        dropped: unstored.dropped,
        dropped_through: unstored.dropped_through,
    }
}

pub(super) fn target(target: SignalTarget) -> Target {
    match target {
        SignalTarget::Leader => Target::Leader,
        SignalTarget::Group => Target::Group,
        SignalTarget::Tree => Target::Tree,
    }
}

/// Returns the shim's form of a spec, with duplicates of its descriptors.
pub(super) fn start_spec(
    spec: &InstanceSpec,
    last_run: u64,
) -> io::Result<(StartSpec, Vec<OwnedFd>)> {
    let mut fds = Vec::new();
    for socket in &spec.listen {
        fds.push(socket.fd.try_clone()?);
    }
    if let Some((fd, _)) = &spec.notify_fd {
        fds.push(fd.try_clone()?);
    }
    let start = StartSpec {
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        cwd: spec.cwd.clone(),
        attributes: spec.attributes.clone(),
        stdin: match spec.stdin {
            StdinMode::Null => Stdin::Null,
            StdinMode::Pipe => Stdin::Pipe,
            StdinMode::Pty => Stdin::Pty,
        },
        stdout: Output::Log,
        stderr: Output::Log,
        log: spec.log.clone(),
        listen: spec
            .listen
            .iter()
            .map(|socket| socket.name.clone())
            .collect(),
        extra_fd: spec.notify_fd.as_ref().map(|(_, number)| *number),
        detached: spec.detached,
        die_with_supervisor: spec.die_with_supervisor,
        stop: spec.stop.clone(),
        respawn: None,
        last_run: last_run.max(spec.last_run),
    };
    Ok((start, fds))
}

pub(super) fn start_error(instance: &str, failure: Failure) -> StartError {
    let Failure {
        kind,
        what,
        value,
        errno,
    } = failure;
    match kind {
        FailureKind::NotFound => StartError::NotFound { program: value },
        FailureKind::NotExecutable => StartError::NotExecutable {
            program: value,
            errno: io::Error::from_raw_os_error(errno),
        },
        FailureKind::Attribute => StartError::Attribute {
            attribute: what,
            value,
            errno: Errno(errno),
        },
        FailureKind::StillRunning => StartError::StillRunning {
            instance: instance.to_owned(),
            pid: value.parse().unwrap_or(0),
        },
        _ => StartError::Keeper {
            instance: instance.to_owned(),
            source: io_error(&what, &value, errno),
        },
    }
}

pub(super) fn operate_error(
    instance: &str,
    operation: &'static str,
    failure: Failure,
) -> OperateError {
    let instance = instance.to_owned();
    match failure.kind {
        FailureKind::NotRunning => OperateError::NotRunning { instance },
        FailureKind::StillRunning => OperateError::StillRunning { instance },
        FailureKind::NoStdin => OperateError::NoStdin { instance },
        _ => {
            let source = io_error(&failure.what, &failure.value, failure.errno);
            OperateError::Failed {
                instance,
                operation,
                source,
            }
        }
    }
}

fn io_error(what: &str, value: &str, errno: i32) -> io::Error {
    if errno != 0 {
        return io::Error::from_raw_os_error(errno);
    }
    io::Error::other(
        format!("{what}: {value}")
            .trim_end_matches([':', ' '])
            .to_owned(),
    )
}

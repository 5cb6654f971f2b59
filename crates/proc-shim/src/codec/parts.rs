//! The values that several messages share.

use std::path::PathBuf;

use proc_core::{
    Identity, Mechanism, ProcessEnd, Signal, StopReport, StopSequence, StopStep, Survivor,
};

use crate::message::{Exited, Failure, FailureKind, FdSet, Running};
use crate::wire::{DecodeError, Field, Writer};

/// The most steps a stop sequence may have.
const MAX_STEPS: usize = 64;

pub(super) fn signal(field: &Field<'_>) -> Result<Signal, DecodeError> {
    Signal::from_raw(field.i32("signal")?).ok_or(DecodeError::Invalid("signal"))
}

pub(super) fn path(field: &Field<'_>) -> PathBuf {
    PathBuf::from(field.os())
}

pub(super) fn put_sequence(out: &mut Writer, tag: u8, sequence: &StopSequence) {
    out.nested(tag, |out| {
        for step in &sequence.steps {
            out.nested(1, |out| {
                out.i64(1, i64::from(step.signal.raw()));
                if let Some(wait) = step.wait {
                    out.millis(2, wait);
                }
            });
        }
    });
}

pub(super) fn sequence(field: &Field<'_>) -> Result<StopSequence, DecodeError> {
    let mut steps = Vec::new();
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        if field.tag != 1 {
            continue;
        }
        if steps.len() == MAX_STEPS {
            return Err(DecodeError::Invalid("stop sequence"));
        }
        let (mut sent, mut wait) = (None, None);
        let mut inner = field.fields();
        while let Some(field) = inner.next()? {
            match field.tag {
                1 => sent = Some(signal(&field)?),
                2 => wait = Some(field.millis("wait")?),
                _ => {}
            }
        }
        steps.push(StopStep {
            signal: sent.ok_or(DecodeError::Missing("signal"))?,
            wait,
        });
    }
    Ok(StopSequence { steps })
}

pub(super) fn put_identity(out: &mut Writer, tag: u8, identity: &Identity) {
    out.nested(tag, |out| {
        out.str(1, &identity.boot_id);
        out.u64(2, identity.pid_ns);
        out.u64(3, u64::from(identity.pid));
        out.u64(4, identity.start_ticks);
        if let Some(inode) = identity.pidfs_ino {
            out.u64(5, inode);
        }
        if let Some(handle) = &identity.handle {
            out.str(6, handle);
        }
    });
}

pub(super) fn identity(field: &Field<'_>) -> Result<Identity, DecodeError> {
    let (mut boot_id, mut pid_ns, mut pid, mut start_ticks) = (None, None, None, None);
    let (mut pidfs_ino, mut handle) = (None, None);
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => boot_id = Some(field.string("boot id")?),
            2 => pid_ns = Some(field.u64("pid namespace")?),
            3 => pid = Some(field.u32("pid")?),
            4 => start_ticks = Some(field.u64("start ticks")?),
            5 => pidfs_ino = Some(field.u64("pidfs inode")?),
            6 => handle = Some(field.string("handle")?),
            _ => {}
        }
    }
    Ok(Identity {
        boot_id: boot_id.ok_or(DecodeError::Missing("boot id"))?,
        pid_ns: pid_ns.ok_or(DecodeError::Missing("pid namespace"))?,
        pid: pid.ok_or(DecodeError::Missing("pid"))?,
        start_ticks: start_ticks.ok_or(DecodeError::Missing("start ticks"))?,
        pidfs_ino,
        handle,
    })
}

pub(super) fn put_running(out: &mut Writer, tag: u8, running: &Running) {
    out.nested(tag, |out| {
        out.u64(1, running.run);
        put_identity(out, 2, &running.identity);
        out.u64(3, u64::from(running.pgid));
        out.u64(4, running.started_at);
        for line in &running.downgrades {
            out.str(5, line);
        }
    });
}

pub(super) fn running(field: &Field<'_>) -> Result<Running, DecodeError> {
    let (mut run, mut who, mut pgid, mut started_at) = (None, None, None, None);
    let mut downgrades = Vec::new();
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => run = Some(field.u64("run")?),
            2 => who = Some(identity(&field)?),
            3 => pgid = Some(field.u32("pgid")?),
            4 => started_at = Some(field.u64("start time")?),
            5 => downgrades.push(field.string("downgrade")?),
            _ => {}
        }
    }
    Ok(Running {
        run: run.ok_or(DecodeError::Missing("run"))?,
        identity: who.ok_or(DecodeError::Missing("identity"))?,
        pgid: pgid.ok_or(DecodeError::Missing("pgid"))?,
        started_at: started_at.ok_or(DecodeError::Missing("start time"))?,
        downgrades,
    })
}

pub(super) fn put_exited(out: &mut Writer, tag: u8, exited: &Exited) {
    out.nested(tag, |out| {
        out.u64(1, exited.run);
        match exited.end {
            Some(ProcessEnd::Exited(code)) => {
                out.i64(2, i64::from(code));
            }
            Some(ProcessEnd::Signaled {
                signal,
                core_dumped,
            }) => {
                out.i64(3, i64::from(signal.raw()));
                out.flag(4, core_dumped);
            }
            None => {}
        }
        if let Some(reason) = &exited.unknown {
            out.str(5, reason);
        }
        out.u64(6, exited.at);
        out.u64(7, exited.runtime_ms);
        if let Some(oom) = exited.oom {
            out.u64(8, u64::from(oom));
        }
        out.u64(9, exited.stdout_offset);
        out.u64(10, exited.stderr_offset);
    });
}

pub(super) fn exited(field: &Field<'_>) -> Result<Exited, DecodeError> {
    let (mut run, mut code, mut killer, mut core_dumped) = (None, None, None, false);
    let mut value = Exited {
        run: 0,
        end: None,
        unknown: None,
        at: 0,
        runtime_ms: 0,
        oom: None,
        stdout_offset: 0,
        stderr_offset: 0,
    };
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => run = Some(field.u64("run")?),
            2 => code = Some(field.i32("code")?),
            3 => killer = Some(signal(&field)?),
            4 => core_dumped = field.flag(),
            5 => value.unknown = Some(field.string("reason")?),
            6 => value.at = field.u64("time")?,
            7 => value.runtime_ms = field.u64("runtime")?,
            8 => value.oom = Some(field.u64("oom")? != 0),
            9 => value.stdout_offset = field.u64("offset")?,
            10 => value.stderr_offset = field.u64("offset")?,
            _ => {}
        }
    }
    value.run = run.ok_or(DecodeError::Missing("run"))?;
    value.end = match (code, killer) {
        (Some(code), None) => Some(ProcessEnd::Exited(code)),
        (None, Some(signal)) => Some(ProcessEnd::Signaled {
            signal,
            core_dumped,
        }),
        (None, None) => None,
        (Some(_), Some(_)) => return Err(DecodeError::Invalid("end")),
    };
    Ok(value)
}

pub(super) fn put_mechanism(out: &mut Writer, tag: u8, mechanism: Mechanism) {
    let number = match mechanism {
        Mechanism::Cgroup => 1,
        Mechanism::Subreaper => 2,
        Mechanism::GroupWalk => 3,
    };
    out.u64(tag, number);
}

pub(super) fn mechanism(field: &Field<'_>) -> Result<Mechanism, DecodeError> {
    match field.u64("mechanism")? {
        1 => Ok(Mechanism::Cgroup),
        2 => Ok(Mechanism::Subreaper),
        3 => Ok(Mechanism::GroupWalk),
        _ => Err(DecodeError::Invalid("mechanism")),
    }
}

pub(super) fn put_report(out: &mut Writer, tag: u8, report: &StopReport) {
    out.nested(tag, |out| {
        put_mechanism(out, 1, report.mechanism);
        out.u64(2, u64::from(report.signalled));
        out.flag(3, report.escalated);
        out.millis(4, report.elapsed);
        for survivor in &report.survivors {
            out.nested(5, |out| {
                out.u64(1, u64::from(survivor.pid));
                out.str(2, &survivor.comm);
                out.str(3, &survivor.reason);
            });
        }
    });
}

pub(super) fn report(field: &Field<'_>) -> Result<StopReport, DecodeError> {
    let (mut by, mut signalled, mut escalated, mut elapsed) = (None, 0, false, None);
    let mut survivors = Vec::new();
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => by = Some(mechanism(&field)?),
            2 => signalled = field.u32("signalled")?,
            3 => escalated = field.flag(),
            4 => elapsed = Some(field.millis("elapsed")?),
            5 => survivors.push(survivor(&field)?),
            _ => {}
        }
    }
    Ok(StopReport {
        mechanism: by.ok_or(DecodeError::Missing("mechanism"))?,
        signalled,
        escalated,
        survivors,
        elapsed: elapsed.ok_or(DecodeError::Missing("elapsed"))?,
    })
}

fn survivor(field: &Field<'_>) -> Result<Survivor, DecodeError> {
    let (mut pid, mut comm, mut reason) = (None, String::new(), String::new());
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => pid = Some(field.u32("pid")?),
            2 => comm = String::from_utf8_lossy(field.bytes()).into_owned(),
            3 => reason = field.string("reason")?,
            _ => {}
        }
    }
    Ok(Survivor {
        pid: pid.ok_or(DecodeError::Missing("pid"))?,
        comm,
        reason,
    })
}

pub(super) fn put_fds(out: &mut Writer, tag: u8, fds: FdSet) {
    out.nested(tag, |out| {
        out.flag(1, fds.pidfd)
            .flag(2, fds.stdout)
            .flag(3, fds.stderr)
            .flag(4, fds.stdin)
            .flag(5, fds.pty);
    });
}

pub(super) fn fds(field: &Field<'_>) -> Result<FdSet, DecodeError> {
    let mut set = FdSet::default();
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => set.pidfd = field.flag(),
            2 => set.stdout = field.flag(),
            3 => set.stderr = field.flag(),
            4 => set.stdin = field.flag(),
            5 => set.pty = field.flag(),
            _ => {}
        }
    }
    Ok(set)
}

pub(super) fn put_failure(out: &mut Writer, tag: u8, failure: &Failure) {
    out.nested(tag, |out| {
        out.u64(1, u64::from(failure.kind as u8));
        out.str(2, &failure.what);
        out.str(3, &failure.value);
        out.i64(4, i64::from(failure.errno));
    });
}

pub(super) fn failure(field: &Field<'_>) -> Result<Failure, DecodeError> {
    let mut value = Failure::new(FailureKind::Malformed, "");
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => value.kind = failure_kind(field.u64("failure")?)?,
            2 => value.what = String::from_utf8_lossy(field.bytes()).into_owned(),
            3 => value.value = String::from_utf8_lossy(field.bytes()).into_owned(),
            4 => value.errno = field.i32("errno")?,
            _ => {}
        }
    }
    Ok(value)
}

fn failure_kind(number: u64) -> Result<FailureKind, DecodeError> {
    use FailureKind as K;
    [
        K::NotFound,
        K::NotExecutable,
        K::Attribute,
        K::StillRunning,
        K::NotRunning,
        K::NoStdin,
        K::Busy,
        K::Malformed,
        K::Os,
    ]
    .into_iter()
    .find(|kind| u64::from(*kind as u8) == number)
    .ok_or(DecodeError::Invalid("failure"))
}

//! Replies and notices.

use super::parts;
use super::spec::{put_terms, terms};
use crate::frame::{Frame, VERSION};
use crate::message::{FdSet, Incoming, Notice, Reply, Snapshot};
use crate::wire::{DecodeError, Reader, Writer};

const DONE: u8 = 128;
const FAILED: u8 = 129;
const STARTED: u8 = 130;
const SNAPSHOT: u8 = 131;
const STOPPED: u8 = 132;
const FDS: u8 = 133;

const EXITED: u8 = 192;
const TREE_EMPTY: u8 = 193;
const STOP_PROGRESS: u8 = 194;
const TROUBLE: u8 = 195;
const HEALED: u8 = 196;
const RESPAWNED: u8 = 197;

/// Returns the frame of a reply.
#[must_use]
pub fn encode_reply(id: u32, reply: &Reply) -> Frame {
    let mut out = Writer::new();
    let kind = match reply {
        Reply::Done => DONE,
        Reply::Failed(failure) => {
            parts::put_failure(&mut out, 1, failure);
            FAILED
        }
        Reply::Started { running, fds } => {
            parts::put_running(&mut out, 1, running);
            parts::put_fds(&mut out, 2, *fds);
            STARTED
        }
        Reply::Snapshot(snapshot) => {
            put_snapshot(&mut out, snapshot);
            SNAPSHOT
        }
        Reply::Stopped(report) => {
            parts::put_report(&mut out, 1, report);
            STOPPED
        }
        Reply::Fds(fds) => {
            parts::put_fds(&mut out, 1, *fds);
            FDS
        }
    };
    Frame {
        version: VERSION,
        kind,
        id,
        body: out.finish(),
    }
}

/// Returns the frame of a notice.
#[must_use]
pub fn encode_notice(notice: &Notice) -> Frame {
    let mut out = Writer::new();
    let kind = match notice {
        Notice::Exited(exited) => {
            parts::put_exited(&mut out, 1, exited);
            EXITED
        }
        Notice::TreeEmpty { run } => {
            out.u64(1, *run);
            TREE_EMPTY
        }
        Notice::StopProgress { signal, wait } => {
            out.i64(1, i64::from(signal.raw()));
            if let Some(wait) = wait {
                out.millis(2, *wait);
            }
            STOP_PROGRESS
        }
        Notice::Trouble { what, error } => {
            out.str(1, what).str(2, error);
            TROUBLE
        }
        Notice::Healed { what } => {
            out.str(1, what);
            HEALED
        }
        Notice::Respawned(running) => {
            parts::put_running(&mut out, 1, running);
            RESPAWNED
        }
    };
    Frame {
        version: VERSION,
        kind,
        id: 0,
        body: out.finish(),
    }
}

/// Reads anything that a shim sends.
///
/// # Errors
/// [`DecodeError`] for anything that is neither reply nor notice; [`DecodeError::UnknownKind`]
/// of a notice (id 0) may be skipped.
pub fn decode_incoming(frame: &Frame) -> Result<Incoming, DecodeError> {
    let fields = Reader::new(&frame.body);
    if frame.kind >= EXITED {
        return notice(frame.kind, fields).map(Incoming::Notice);
    }
    reply(frame.kind, fields).map(|reply| Incoming::Reply(frame.id, reply))
}

fn reply(kind: u8, mut fields: Reader<'_>) -> Result<Reply, DecodeError> {
    if kind == DONE {
        return Ok(Reply::Done);
    }
    if kind == SNAPSHOT {
        return snapshot(fields).map(|snapshot| Reply::Snapshot(Box::new(snapshot)));
    }
    let first = fields.next()?.ok_or(DecodeError::Missing("reply"))?;
    Ok(match kind {
        FAILED => Reply::Failed(parts::failure(&first)?),
        STARTED => {
            let running = parts::running(&first)?;
            let mut fds = FdSet::default();
            while let Some(field) = fields.next()? {
                if field.tag == 2 {
                    fds = parts::fds(&field)?;
                }
            }
            Reply::Started { running, fds }
        }
        STOPPED => Reply::Stopped(parts::report(&first)?),
        FDS => Reply::Fds(parts::fds(&first)?),
        other => return Err(DecodeError::UnknownKind(other)),
    })
}

fn notice(kind: u8, mut fields: Reader<'_>) -> Result<Notice, DecodeError> {
    if kind == STOP_PROGRESS {
        return stop_progress(fields);
    }
    let first = fields.next()?.ok_or(DecodeError::Missing("notice"))?;
    Ok(match kind {
        EXITED => Notice::Exited(parts::exited(&first)?),
        TREE_EMPTY => Notice::TreeEmpty {
            run: first.u64("run")?,
        },
        TROUBLE => {
            let second = fields.next()?.ok_or(DecodeError::Missing("error"))?;
            Notice::Trouble {
                what: first.string("what")?,
                error: second.string("error")?,
            }
        }
        HEALED => Notice::Healed {
            what: first.string("what")?,
        },
        RESPAWNED => Notice::Respawned(parts::running(&first)?),
        other => return Err(DecodeError::UnknownKind(other)),
    })
}

fn stop_progress(mut fields: Reader<'_>) -> Result<Notice, DecodeError> {
    let (mut sent, mut wait) = (None, None);
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => sent = Some(parts::signal(&field)?),
            2 => wait = Some(field.millis("wait")?),
            _ => {}
        }
    }
    let signal = sent.ok_or(DecodeError::Missing("signal"))?;
    Ok(Notice::StopProgress { signal, wait })
}

fn put_snapshot(out: &mut Writer, snapshot: &Snapshot) {
    if let Some(shim) = &snapshot.shim {
        parts::put_identity(out, 1, shim);
    }
    out.str(2, &snapshot.instance).u64(3, snapshot.last_run);
    if let Some(running) = &snapshot.running {
        parts::put_running(out, 4, running);
    }
    if let Some(exited) = &snapshot.exited {
        parts::put_exited(out, 5, exited);
    }
    out.flag(6, snapshot.acknowledged);
    out.flag(7, snapshot.tree_empty);
    out.flag(8, snapshot.replacement);
    if let Some(cgroup) = &snapshot.cgroup {
        out.os(9, cgroup.as_os_str());
    }
    out.u64(10, snapshot.dropped_bytes);
    for line in &snapshot.troubles {
        out.str(11, line);
    }
    out.u64(12, u64::from(snapshot.respawns));
    if let Some(terms) = &snapshot.terms {
        out.nested(13, |out| put_terms(out, terms));
    }
    for exited in &snapshot.unstored.exits {
        parts::put_exited(out, 14, exited);
    }
    if snapshot.unstored.dropped > 0 {
        out.u64(15, snapshot.unstored.dropped);
        out.u64(16, snapshot.unstored.dropped_through);
    }
}

fn snapshot(mut fields: Reader<'_>) -> Result<Snapshot, DecodeError> {
    let mut value = Snapshot::default();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => value.shim = Some(parts::identity(&field)?),
            2 => value.instance = field.string("instance")?,
            3 => value.last_run = field.u64("run")?,
            4 => value.running = Some(parts::running(&field)?),
            5 => value.exited = Some(parts::exited(&field)?),
            6 => value.acknowledged = field.flag(),
            7 => value.tree_empty = field.flag(),
            8 => value.replacement = field.flag(),
            9 => value.cgroup = Some(parts::path(&field)),
            10 => value.dropped_bytes = field.u64("dropped")?,
            11 => value.troubles.push(field.string("trouble")?),
            12 => value.respawns = field.u32("respawns")?,
            13 => value.terms = Some(terms(&field)?),
            14 => value.unstored.exits.push(parts::exited(&field)?),
            15 => value.unstored.dropped = field.u64("dropped exits")?,
            16 => value.unstored.dropped_through = field.u64("run")?,
            _ => {}
        }
    }
    Ok(value)
}

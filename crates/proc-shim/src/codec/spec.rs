//! The two large requests: how to run a service, and how to take one over.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use proc_core::StopSequence;
use proc_output::{LogOptions, OnFull};

use super::attributes::{attributes, put_attributes};
use super::parts::{identity, path, put_identity, put_sequence, sequence};
use crate::message::{AdoptSpec, Output, Respawn, StartSpec, Stdin, Terms};
use crate::wire::{DecodeError, Field, Reader, Writer};

/// The most sockets that one service gets.
const MAX_LISTEN: usize = 64;

pub(super) fn put_start(out: &mut Writer, spec: &StartSpec) {
    for arg in &spec.argv {
        out.os(1, arg);
    }
    for (name, value) in &spec.env {
        let mut pair = name.as_bytes().to_vec();
        pair.push(0);
        pair.extend_from_slice(value.as_bytes());
        out.bytes(2, &pair);
    }
    out.os(3, spec.cwd.as_os_str());
    out.nested(4, |out| put_attributes(out, &spec.attributes));
    out.u64(5, spec.stdin as u64)
        .u64(6, spec.stdout as u64)
        .u64(7, spec.stderr as u64);
    put_log(out, 8, &spec.log);
    for name in &spec.listen {
        out.str(9, name);
    }
    if let Some(number) = spec.extra_fd {
        out.i64(10, i64::from(number));
    }
    out.flag(11, spec.detached)
        .flag(12, spec.die_with_supervisor);
    put_sequence(out, 13, &spec.stop);
    if let Some(respawn) = &spec.respawn {
        out.nested(14, |out| {
            out.millis(1, respawn.initial)
                .millis(2, respawn.max)
                .millis(3, respawn.reset_after);
            for code in &respawn.final_codes {
                out.i64(4, i64::from(*code));
            }
        });
    }
    out.u64(15, spec.last_run);
}

pub(super) fn start(mut fields: Reader<'_>) -> Result<StartSpec, DecodeError> {
    let mut spec = StartSpec::default();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => spec.argv.push(c_string(&field, "argument")?),
            2 => spec.env.push(variable(&field)?),
            3 => spec.cwd = path(&field),
            4 => spec.attributes = attributes(field.fields())?,
            5 => spec.stdin = stdin(&field)?,
            6 => spec.stdout = output(&field)?,
            7 => spec.stderr = output(&field)?,
            8 => spec.log = log(&field)?,
            9 if spec.listen.len() == MAX_LISTEN => return Err(DecodeError::Invalid("listen")),
            9 => spec.listen.push(field.string("listen")?),
            10 => spec.extra_fd = Some(field.i32("descriptor")?),
            11 => spec.detached = field.flag(),
            12 => spec.die_with_supervisor = field.flag(),
            13 => spec.stop = sequence(&field)?,
            14 => spec.respawn = Some(respawn(&field)?),
            15 => spec.last_run = field.u64("run")?,
            _ => {}
        }
    }
    if spec.argv.is_empty() {
        return Err(DecodeError::Missing("argument"));
    }
    Ok(spec)
}

pub(super) fn put_adopt(out: &mut Writer, spec: &AdoptSpec) {
    out.u64(1, spec.run);
    put_identity(out, 2, &spec.identity);
    out.u64(3, u64::from(spec.pgid)).u64(4, spec.started_at);
    out.flag(5, spec.stdout)
        .flag(6, spec.stderr)
        .flag(7, spec.stdin)
        .flag(8, spec.pty);
    if let Some(cgroup) = &spec.cgroup {
        out.os(9, cgroup.as_os_str());
    }
    out.nested(10, |out| put_terms(out, &spec.terms));
}

/// Writes how a run is treated.
pub(super) fn put_terms(out: &mut Writer, terms: &Terms) {
    put_log(out, 1, &terms.log);
    out.flag(2, terms.detached)
        .flag(3, terms.die_with_supervisor);
    put_sequence(out, 4, &terms.stop);
}

/// Reads how a run is treated.
pub(super) fn terms(field: &Field<'_>) -> Result<Terms, DecodeError> {
    let mut terms = Terms {
        log: LogOptions::default(),
        detached: false,
        die_with_supervisor: false,
        stop: StopSequence { steps: Vec::new() },
    };
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => terms.log = log(&field)?,
            2 => terms.detached = field.flag(),
            3 => terms.die_with_supervisor = field.flag(),
            4 => terms.stop = sequence(&field)?,
            _ => {}
        }
    }
    Ok(terms)
}

pub(super) fn adopt(mut fields: Reader<'_>) -> Result<AdoptSpec, DecodeError> {
    let (mut run, mut who, mut pgid) = (None, None, None);
    let mut how = None;
    let (mut started_at, mut cgroup) = (0, None);
    let (mut stdout, mut stderr, mut stdin, mut pty) = (false, false, false, false);
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => run = Some(field.u64("run")?),
            2 => who = Some(identity(&field)?),
            3 => pgid = Some(field.u32("pgid")?),
            4 => started_at = field.u64("start time")?,
            5 => stdout = field.flag(),
            6 => stderr = field.flag(),
            7 => stdin = field.flag(),
            8 => pty = field.flag(),
            9 => cgroup = Some(path(&field)),
            10 => how = Some(terms(&field)?),
            _ => {}
        }
    }
    Ok(AdoptSpec {
        run: run.ok_or(DecodeError::Missing("run"))?,
        identity: who.ok_or(DecodeError::Missing("identity"))?,
        pgid: pgid.ok_or(DecodeError::Missing("pgid"))?,
        started_at,
        stdout,
        stderr,
        stdin,
        pty,
        cgroup,
        terms: how.ok_or(DecodeError::Missing("terms"))?,
    })
}

/// Reads a string that will be given to the kernel: no NUL inside.
fn c_string(field: &Field<'_>, what: &'static str) -> Result<OsString, DecodeError> {
    if field.bytes().contains(&0) {
        Err(DecodeError::Invalid(what))
    } else {
        Ok(field.os())
    }
}

fn variable(field: &Field<'_>) -> Result<(OsString, OsString), DecodeError> {
    let bytes = field.bytes();
    let at = bytes
        .iter()
        .position(|b| *b == 0)
        .ok_or(DecodeError::Invalid("variable"))?;
    let (name, value) = (&bytes[..at], &bytes[at + 1..]);
    if name.is_empty() || name.contains(&b'=') || value.contains(&0) {
        return Err(DecodeError::Invalid("variable"));
    }
    Ok((
        OsString::from_vec(name.to_vec()),
        OsString::from_vec(value.to_vec()),
    ))
}

fn stdin(field: &Field<'_>) -> Result<Stdin, DecodeError> {
    Ok(match field.u64("stdin")? {
        0 => Stdin::Null,
        1 => Stdin::Pipe,
        2 => Stdin::Pty,
        3 => Stdin::Passed,
        _ => return Err(DecodeError::Invalid("stdin")),
    })
}

fn output(field: &Field<'_>) -> Result<Output, DecodeError> {
    Ok(match field.u64("output")? {
        0 => Output::Log,
        1 => Output::Null,
        2 => Output::Passed,
        _ => return Err(DecodeError::Invalid("output")),
    })
}

fn respawn(field: &Field<'_>) -> Result<Respawn, DecodeError> {
    let mut value = Respawn {
        final_codes: Vec::new(),
        ..Respawn::default()
    };
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => value.initial = field.millis("delay")?,
            2 => value.max = field.millis("delay")?,
            3 => value.reset_after = field.millis("delay")?,
            4 if value.final_codes.len() < 256 => value.final_codes.push(field.i32("code")?),
            _ => {}
        }
    }
    Ok(value)
}

fn put_log(out: &mut Writer, tag: u8, log: &LogOptions) {
    out.nested(tag, |out| {
        if let Some(dir) = &log.dir {
            out.os(1, dir.as_os_str());
        }
        if let Some(size) = log.max_size {
            out.u64(2, size);
        }
        if let Some(keep) = log.keep {
            out.u64(3, u64::from(keep));
        }
        if let Some(total) = log.total_max {
            out.u64(4, total);
        }
        if let Some(age) = log.max_age {
            out.millis(5, age);
        }
        out.flag(6, log.compress).flag(7, log.merge);
        out.flag(8, log.on_full == OnFull::Drop);
        out.flag(9, log.direct).flag(10, log.timestamps);
    });
}

fn log(field: &Field<'_>) -> Result<LogOptions, DecodeError> {
    let mut log = LogOptions {
        dir: None,
        max_size: None,
        keep: None,
        total_max: None,
        max_age: None,
        compress: false,
        merge: false,
        on_full: OnFull::Block,
        direct: false,
        timestamps: false,
    };
    let mut fields = field.fields();
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => log.dir = Some(path(&field)),
            2 => log.max_size = Some(field.u64("log size")?),
            3 => log.keep = Some(field.u32("log count")?),
            4 => log.total_max = Some(field.u64("log size")?),
            5 => log.max_age = Some(Duration::from_millis(field.u64("log age")?)),
            6 => log.compress = field.flag(),
            7 => log.merge = field.flag(),
            8 if field.flag() => log.on_full = OnFull::Drop,
            9 => log.direct = field.flag(),
            10 => log.timestamps = field.flag(),
            _ => {}
        }
    }
    Ok(log)
}

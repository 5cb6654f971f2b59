//! Requests.

use super::parts;
use super::spec::{self, put_adopt, put_start};
use crate::frame::{Frame, VERSION};
use crate::message::{Request, Role, Target};
use crate::wire::{DecodeError, Reader, Writer};

const HELLO: u8 = 1;
const START: u8 = 2;
const SIGNAL: u8 = 3;
const STOP: u8 = 4;
const STDIN_WRITE: u8 = 5;
const STDIN_CLOSE: u8 = 6;
const ROTATE_LOG: u8 = 7;
const STATUS: u8 = 8;
const HAND_FDS: u8 = 9;
const ADOPT: u8 = 10;
const SET_OPTIONS: u8 = 11;
const ACKNOWLEDGE: u8 = 12;
const RESIZE: u8 = 13;
const EXIT: u8 = 14;
const FOLLOW: u8 = 15;

/// Returns the frame of a request.
#[must_use]
pub fn encode_request(id: u32, request: &Request) -> Frame {
    let mut out = Writer::new();
    let kind = match request {
        Request::Hello { role } => {
            out.flag(1, *role == Role::Observer);
            HELLO
        }
        Request::Start(start) => {
            put_start(&mut out, start);
            START
        }
        Request::Signal { signal, target } => {
            out.i64(1, i64::from(signal.raw()));
            out.u64(2, *target as u64);
            SIGNAL
        }
        Request::Stop {
            sequence,
            tier,
            group,
        } => {
            parts::put_sequence(&mut out, 1, sequence);
            if let Some(tier) = tier {
                parts::put_mechanism(&mut out, 2, *tier);
            }
            out.flag(3, *group);
            STOP
        }
        Request::StdinWrite(bytes) => {
            out.bytes(1, bytes);
            STDIN_WRITE
        }
        Request::StdinClose => STDIN_CLOSE,
        Request::RotateLog => ROTATE_LOG,
        Request::Status => STATUS,
        Request::HandFds => HAND_FDS,
        Request::Adopt(adopt) => {
            put_adopt(&mut out, adopt);
            ADOPT
        }
        Request::SetOptions {
            die_with_supervisor,
        } => {
            out.flag(1, *die_with_supervisor);
            SET_OPTIONS
        }
        Request::Acknowledge { run } => {
            out.u64(1, *run);
            ACKNOWLEDGE
        }
        Request::Follow { run, pid } => {
            out.u64(1, *run).u64(2, u64::from(*pid));
            FOLLOW
        }
        Request::Resize { rows, columns } => {
            out.u64(1, u64::from(*rows)).u64(2, u64::from(*columns));
            RESIZE
        }
        Request::Exit => EXIT,
    };
    Frame {
        version: VERSION,
        kind,
        id,
        body: out.finish(),
    }
}

/// Reads a request.
///
/// # Errors
/// [`DecodeError`] for anything that is not one.
pub fn decode_request(frame: &Frame) -> Result<Request, DecodeError> {
    let mut fields = Reader::new(&frame.body);
    Ok(match frame.kind {
        HELLO => {
            let mut role = Role::Controller;
            while let Some(field) = fields.next()? {
                if field.tag == 1 && field.flag() {
                    role = Role::Observer;
                }
            }
            Request::Hello { role }
        }
        START => Request::Start(Box::new(spec::start(fields)?)),
        SIGNAL => signal(fields)?,
        STOP => stop(fields)?,
        STDIN_WRITE => {
            let mut bytes = Vec::new();
            while let Some(field) = fields.next()? {
                if field.tag == 1 {
                    bytes = field.bytes().to_vec();
                }
            }
            Request::StdinWrite(bytes)
        }
        STDIN_CLOSE => Request::StdinClose,
        ROTATE_LOG => Request::RotateLog,
        STATUS => Request::Status,
        HAND_FDS => Request::HandFds,
        ADOPT => Request::Adopt(Box::new(spec::adopt(fields)?)),
        SET_OPTIONS => {
            let mut die_with_supervisor = false;
            while let Some(field) = fields.next()? {
                if field.tag == 1 {
                    die_with_supervisor = field.flag();
                }
            }
            Request::SetOptions {
                die_with_supervisor,
            }
        }
        ACKNOWLEDGE => {
            let mut run = None;
            while let Some(field) = fields.next()? {
                if field.tag == 1 {
                    run = Some(field.u64("run")?);
                }
            }
            Request::Acknowledge {
                run: run.ok_or(DecodeError::Missing("run"))?,
            }
        }
        FOLLOW => follow(fields)?,
        RESIZE => resize(fields)?,
        EXIT => Request::Exit,
        other => return Err(DecodeError::UnknownKind(other)),
    })
}

fn signal(mut fields: Reader<'_>) -> Result<Request, DecodeError> {
    let (mut signal, mut target) = (None, Target::Leader);
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => signal = Some(parts::signal(&field)?),
            2 => {
                target = match field.u64("target")? {
                    0 => Target::Leader,
                    1 => Target::Group,
                    2 => Target::Tree,
                    _ => return Err(DecodeError::Invalid("target")),
                }
            }
            _ => {}
        }
    }
    Ok(Request::Signal {
        signal: signal.ok_or(DecodeError::Missing("signal"))?,
        target,
    })
}

fn stop(mut fields: Reader<'_>) -> Result<Request, DecodeError> {
    let (mut sequence, mut tier, mut group) = (None, None, false);
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => sequence = Some(parts::sequence(&field)?),
            2 => tier = Some(parts::mechanism(&field)?),
            3 => group = field.flag(),
            _ => {}
        }
    }
    Ok(Request::Stop {
        sequence: sequence.ok_or(DecodeError::Missing("sequence"))?,
        tier,
        group,
    })
}

fn follow(mut fields: Reader<'_>) -> Result<Request, DecodeError> {
    let (mut run, mut pid) = (None, None);
    while let Some(field) = fields.next()? {
        match field.tag {
            1 => run = Some(field.u64("run")?),
            2 => {
                let number = field.u64("pid")?;
                pid = Some(u32::try_from(number).map_err(|_| DecodeError::Invalid("pid"))?);
            }
            _ => {}
        }
    }
    Ok(Request::Follow {
        run: run.ok_or(DecodeError::Missing("run"))?,
        pid: pid.ok_or(DecodeError::Missing("pid"))?,
    })
}

fn resize(mut fields: Reader<'_>) -> Result<Request, DecodeError> {
    let (mut rows, mut columns) = (0, 0);
    while let Some(field) = fields.next()? {
        let value = field.u64("size")?;
        let value = u16::try_from(value).map_err(|_| DecodeError::Invalid("size"))?;
        match field.tag {
            1 => rows = value,
            2 => columns = value,
            _ => {}
        }
    }
    Ok(Request::Resize { rows, columns })
}

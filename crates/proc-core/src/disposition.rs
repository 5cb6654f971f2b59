//! What a process does with a signal: default, ignored or caught.

use std::io;

use crate::Signal;

/// What a process does with a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// What the kernel does by default: most signals end it.
    Default,
    /// Nothing: it does not even notice.
    Ignored,
    /// It has a handler.
    Caught,
}

/// Returns what a process does with a signal, from `/proc/PID/status`; never blocks on the process.
///
/// A snapshot, of a number: ask about a child that was not reaped, or look at the identity before and after. The first
/// process of a pid namespace is special: what it neither ignores nor catches does not reach it from within.
///
/// # Errors
/// `NotFound` when nothing has the number, `Unsupported` on macOS, `InvalidInput` for [`Signal::PROBE`], `InvalidData` when the kernel's text
/// has no such lines.
pub fn disposition(pid: u32, signal: Signal) -> io::Result<Disposition> {
    let text = crate::sys::disposition::read(pid).map_err(|error| {
        // A process that ends between open and read.
        if error.raw_os_error() == Some(libc::ESRCH) {
            io::ErrorKind::NotFound.into()
        } else {
            error
        }
    })?;
    parse(&text, signal)
}

fn parse(text: &[u8], signal: Signal) -> io::Result<Disposition> {
    let bit = u32::try_from(signal.raw())
        .ok()
        .and_then(|raw| raw.checked_sub(1));
    let bit = bit
        .and_then(|bit| 1_u64.checked_shl(bit))
        .ok_or(io::ErrorKind::InvalidInput)?;
    let has = |field: &str| {
        // The name in the first line may hold anything but a newline, which the kernel escapes.
        let mut lines = text.split(|byte| *byte == b'\n');
        let mask = lines.find_map(|line| line.strip_prefix(field.as_bytes()));
        let mask = mask.and_then(|mask| std::str::from_utf8(mask).ok());
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.map(|mask| mask & bit != 0)
            .ok_or(io::ErrorKind::InvalidData)
    };
    Ok(match (has("SigIgn:")?, has("SigCgt:")?) {
        (true, _) => Disposition::Ignored,
        (_, true) => Disposition::Caught,
        _ => Disposition::Default,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_count_from_signal_1() {
        let text = b"Name:\tSigIgn:\nSigBlk:\tffffffffffffffff\nSigIgn:\t8000000000000001\nSigCgt:\t0000000000004000\n";
        let of = |raw| parse(text, Signal::from_raw(raw).unwrap()).unwrap();
        assert_eq!(of(1), Disposition::Ignored);
        assert_eq!(of(64), Disposition::Ignored);
        assert_eq!(of(15), Disposition::Caught);
        assert_eq!(of(2), Disposition::Default);
        let kind = |text: &[u8], signal| parse(text, signal).map_err(|error| error.kind());
        assert_eq!(kind(text, Signal::PROBE), Err(io::ErrorKind::InvalidInput));
        assert_eq!(
            kind(b"Name:\tx\n", Signal::TERM),
            Err(io::ErrorKind::InvalidData)
        );
    }

    #[test]
    fn our_own_pipe_signal_is_ignored_as_rust_does() {
        let me = std::process::id();
        assert_eq!(disposition(me, Signal::PIPE).unwrap(), Disposition::Ignored);
        assert_eq!(disposition(me, Signal::USR2).unwrap(), Disposition::Default);
        let nobody = disposition(u32::MAX, Signal::TERM);
        assert_eq!(
            nobody.map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
    }
}

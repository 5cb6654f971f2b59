//! `KERN_PROCARGS2` of sysctl(3), and libproc.

use std::io;
use std::path::PathBuf;

use super::info;

/// The words of the command, and the variables.
pub(crate) type Words = (Vec<Vec<u8>>, Vec<Vec<u8>>);

/// Returns the words of the command, and the variables. Of a program that the system protects it tells no variables.
pub(crate) fn words(pid: u32) -> io::Result<Words> {
    let number = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    // It says EINVAL of a number that nothing has.
    info::short(pid).map_err(not_found)?;
    let mut room = vec![0; 1 << 20];
    let read = sysctl(
        &mut [libc::CTL_KERN, libc::KERN_PROCARGS2, number],
        &mut room,
    )?;
    room.truncate(read);
    parse(&room).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns the working directory.
pub(crate) fn directory(pid: u32) -> io::Result<PathBuf> {
    info::directory(pid).map_err(not_found)
}

fn not_found(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ESRCH) => io::ErrorKind::NotFound.into(),
        _ => error,
    }
}

fn sysctl(name: &mut [libc::c_int], room: &mut [u8]) -> io::Result<usize> {
    let mut length = room.len();
    // SAFETY: the name and the room are live slices of these lengths; nothing is set.
    let done = unsafe {
        libc::sysctl(
            name.as_mut_ptr(),
            name.len() as libc::c_uint,
            room.as_mut_ptr().cast(),
            &raw mut length,
            std::ptr::null_mut(),
            0,
        )
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(length)
}

/// Reads a count, the path of the executable, NULs up to the first word, so many words, and variables up to an empty one.
fn parse(bytes: &[u8]) -> Option<Words> {
    let (count, rest) = bytes.split_first_chunk()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path = rest.iter().position(|byte| *byte == 0)?;
    let padding = rest[path..].iter().position(|byte| *byte != 0)?;
    let mut words = rest[path + padding..]
        .split(|byte| *byte == 0)
        .map(<[u8]>::to_vec);
    let argv: Vec<_> = words.by_ref().take(count).collect();
    let env = words.take_while(|word| !word.is_empty()).collect();
    (argv.len() == count).then_some((argv, env))
}

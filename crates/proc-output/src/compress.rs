//! Gzip of closed files, away from the path on which output is captured.

use std::fs::File;
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

/// Compresses the closed log file `path` to `<path>.gz` and returns that path.
///
/// The compressed file appears complete or not at all, with the time of the original and mode 0600;
/// then the original is removed. Where a crash leaves both, readers take the original.
///
/// # Errors
///
/// Whatever reading or writing meets; the original is then untouched. A symbolic link is refused.
pub fn compress_closed(path: &Path) -> io::Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let (target, temporary) = (with(".gz"), with(".gz.tmp"));
    let common = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let source = File::from(rustix::fs::open(
        path,
        OFlags::RDONLY | common,
        Mode::empty(),
    )?);
    let result =
        write_gzip(&source, &temporary, common).and_then(|()| std::fs::rename(&temporary, &target));
    if let Err(error) = result {
        let _ = std::fs::remove_file(&temporary); // the next scan removes it too
        return Err(error);
    }
    if let Err(error) = std::fs::remove_file(path) {
        // Cleaned away meanwhile: then the compressed copy has no business here either.
        if error.kind() == io::ErrorKind::NotFound {
            let _ = std::fs::remove_file(&target);
        }
        return Err(error);
    }
    Ok(target)
}

fn write_gzip(source: &File, temporary: &Path, common: OFlags) -> io::Result<()> {
    // What a crash left there is of no use; O_EXCL keeps a planted link out.
    let _ = std::fs::remove_file(temporary);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | common;
    let output = File::from(rustix::fs::open(
        temporary,
        flags,
        Mode::from_raw_mode(0o600),
    )?);
    let mut encoder =
        flate2::write::GzEncoder::new(io::BufWriter::new(&output), flate2::Compression::new(4));
    io::copy(
        &mut BufReader::with_capacity(64 * 1024, source),
        &mut encoder,
    )?;
    encoder.finish()?.flush()?;
    output.set_modified(source.metadata()?.modified()?)?;
    output.sync_data()
}

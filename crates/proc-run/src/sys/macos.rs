//! On disk for a moment: there are no files in memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A file without a name, open for reading only: what bash reads cannot be changed by what it runs.
pub(crate) fn in_memory(text: &[u8]) -> io::Result<Arc<OwnedFd>> {
    let mut named = tempfile::NamedTempFile::new()?;
    named.write_all(text)?;
    let file = File::open(named.path())?;
    named.close()?;
    Ok(Arc::new(file.into()))
}

//! What changes in directories, as the kernel tells it: nothing is polled.

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use crate::sys::Changes;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Something of this name was written, made, moved or removed.
    Entry {
        /// Its path.
        path: PathBuf,
        /// Whether it is a directory that is new here.
        new_directory: bool,
    },
    /// More happened than the kernel remembers.
    #[cfg_attr(
        target_os = "macos",
        expect(dead_code, reason = "kqueue keeps one event per watch")
    )]
    Everything,
}

impl Changes {
    /// Watches a directory, or the nearest one above it that exists.
    pub(crate) fn add_nearest(&mut self, directory: &Path) -> io::Result<()> {
        let mut result = Err(io::ErrorKind::NotFound.into());
        for directory in directory.ancestors() {
            result = self.add(directory);
            if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                return result;
            }
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tells_what_was_written_and_what_directory_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let mut changes = Changes::new().unwrap();
        changes.add_nearest(&dir.path().join("not/there")).unwrap();
        assert_eq!(changes.len(), 1);
        std::fs::create_dir(dir.path().join("not")).unwrap();
        let made = Change::Entry {
            path: dir.path().join("not"),
            new_directory: true,
        };
        assert_eq!(changes.next().await.unwrap(), [made]);
        changes.add(&dir.path().join("not")).unwrap();
        let file = dir.path().join("not/a.txt");
        std::fs::write(&file, "x").unwrap();
        let seen = changes.next().await.unwrap();
        assert!(seen.iter().all(|change| matches!(change, Change::Entry { path, new_directory: false } if *path == file)), "{seen:?}");
    }
}

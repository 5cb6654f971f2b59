//! Descriptors a service leaves with its supervisor, to get them back after a restart.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::notify::socket::Notification;

/// The most descriptors kept for one service.
pub const FD_STORE_MAX: usize = 16;

/// The name of a descriptor that was stored without one, as `sd_notify(3)` defines it.
const DEFAULT_NAME: &str = "stored";

/// Named descriptors kept over restarts, at most [`FD_STORE_MAX`], in the order they came.
#[derive(Debug, Default)]
pub struct FdStore {
    entries: Vec<(String, OwnedFd)>,
}

impl FdStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        FdStore::default()
    }

    /// Takes the descriptors of a message that says `FDSTORE=1`, or drops the named ones if it
    /// says `FDSTOREREMOVE=1`. Returns how many were closed because the store is full.
    pub fn apply(&mut self, notification: &mut Notification) -> usize {
        let message = &notification.message;
        if message.fd_store_remove {
            if let Some(name) = &message.fd_name {
                self.entries.retain(|(kept, _)| kept != name);
            }
            return 0;
        }
        if !message.fd_store {
            return 0;
        }
        let name = message.fd_name.as_deref().unwrap_or(DEFAULT_NAME);
        let room = FD_STORE_MAX - self.entries.len();
        let refused = notification.fds.len().saturating_sub(room);
        let fds = std::mem::take(&mut notification.fds).into_iter().take(room);
        self.entries.extend(fds.map(|fd| (name.to_owned(), fd)));
        refused
    }

    /// Returns the names and descriptors in the order they came: `LISTEN_FDNAMES` and
    /// `LISTEN_FDS` of the next start.
    pub fn iter(&self) -> impl Iterator<Item = (&str, BorrowedFd<'_>)> {
        self.entries
            .iter()
            .map(|(name, fd)| (name.as_str(), fd.as_fd()))
    }

    /// Returns how many are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Closes everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

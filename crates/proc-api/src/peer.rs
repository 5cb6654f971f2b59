//! Who is at the other end of a connection, as the kernel tells it.

use std::io;

use tokio::net::UnixStream;

/// The process at the other end when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its effective user id.
    pub(crate) uid: u32,
    /// Its process id; 0 where the kernel does not tell (another pid namespace).
    pub(crate) pid: u32,
}

impl Peer {
    /// Asks the kernel about a connected socket (`SO_PEERCRED`, `getpeereid(3)`).
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub(crate) fn of(socket: &UnixStream) -> io::Result<Peer> {
        let credentials = socket.peer_cred()?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
        Ok(Peer {
            uid: credentials.uid(),
            pid: pid.unwrap_or(0),
        })
    }

    /// Returns whether this peer may command a supervisor run by `owner`.
    pub(crate) fn may_command(self, owner: u32) -> bool {
        self.uid == owner || self.uid == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_owner_and_root_may_command() {
        let peer = |uid| Peer { uid, pid: 1 };
        assert!(peer(1000).may_command(1000));
        assert!(peer(0).may_command(1000));
        assert!(!peer(1001).may_command(1000));
        assert!(!peer(1000).may_command(0));
    }
}

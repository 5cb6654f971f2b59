//! Whose descriptors they are, when some did not fit into the process that receives them.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::fd::{AsRawFd as _, OwnedFd};

use proc_shim::{Channel, FdSet, Incoming, Received, Reply, encode_reply, next_incoming};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The only test of this program, because the limit is the whole process's.
#[test]
fn a_message_whose_descriptors_were_cut_off_takes_none_of_the_next_one() {
    let (ours, theirs) = sockets();
    let mut sender = Channel::new();
    let first = FdSet {
        pidfd: true,
        stdout: true,
        ..FdSet::default()
    };
    let second = FdSet {
        stdin: true,
        ..FdSet::default()
    };
    let whole = getrlimit(Resource::Nofile);
    // None of two fits, then one of two; the message after it is whole.
    for fit in [0, 1] {
        for (id, set) in [(1, first), (2, second)] {
            let fds = (0..set.count()).map(|_| file(id)).collect();
            sender
                .queue(&encode_reply(id, &Reply::Fds(set)), fds)
                .unwrap();
        }
        sender.flush(&theirs).unwrap();

        let mut receiver = Channel::new();
        let next = file(1);
        let limit = Rlimit {
            current: Some(u64::try_from(next.as_raw_fd()).unwrap() + fit),
            ..whole
        };
        drop(next);
        setrlimit(Resource::Nofile, limit).unwrap();
        let received = receiver.receive(&ours);
        setrlimit(Resource::Nofile, whole).unwrap();
        assert_eq!(received.unwrap(), Received::Some);
        assert_eq!(receiver.receive(&ours).unwrap(), Received::Some);

        let (one, fds) = next_incoming(&mut receiver).unwrap().unwrap();
        assert_eq!(one, Incoming::Reply(1, Reply::Fds(first)));
        assert_eq!(
            sizes(&fds),
            vec![1; usize::try_from(fit).unwrap()],
            "{fit} fitted"
        );
        let (two, fds) = next_incoming(&mut receiver).unwrap().unwrap();
        assert_eq!(two, Incoming::Reply(2, Reply::Fds(second)));
        assert_eq!(sizes(&fds), [2], "{fit} fitted");
    }
}

fn sockets() -> (OwnedFd, OwnedFd) {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap()
}

/// A file of so many bytes, which says whose it is.
fn file(size: u32) -> OwnedFd {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size.into()).unwrap();
    file.into()
}

fn sizes(fds: &[OwnedFd]) -> Vec<i64> {
    fds.iter()
        .map(|fd| rustix::fs::fstat(fd).unwrap().st_size)
        .collect()
}

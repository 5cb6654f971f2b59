//! The notification socket, spoken to by real processes.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may panic as the test may"
)]

use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use proc_probe::{FD_STORE_MAX, FdStore, NotifyChange, NotifySocket, NotifyState};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix};

fn send(to: &Path, text: &str, fds: &[BorrowedFd<'_>]) {
    let socket = UnixDatagram::unbound().unwrap();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(20))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
    }
    let address = SocketAddrUnix::new(to).unwrap();
    let bytes = [IoSlice::new(text.as_bytes())];
    rustix::net::sendmsg_addr(&socket, &address, &bytes, &mut control, SendFlags::empty()).unwrap();
}

#[tokio::test]
async fn a_message_comes_with_its_sender() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let socket = NotifySocket::bind(&path).unwrap();
    assert_eq!(socket.variable(), path.as_os_str());
    send(&path, "READY=1\nSTATUS=up", &[]);
    let got = socket.receive(|_| true).await.unwrap();
    assert_eq!(got.pid, std::process::id());
    assert!(got.message.ready);
    assert_eq!(got.message.status.as_deref(), Some("up"));
}

#[tokio::test]
async fn strangers_are_not_heard() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let socket = NotifySocket::bind(&path).unwrap();
    // A process of its own says something first.
    let python = "import socket,sys; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
                  s.sendto(b'READY=1',sys.argv[1])";
    let mut stranger = std::process::Command::new("python3")
        .args(["-c", python])
        .arg(&path)
        .spawn()
        .unwrap();
    assert!(stranger.wait().unwrap().success());
    send(&path, "STATUS=mine", &[]);
    let own = std::process::id();
    let got = socket.receive(|pid| pid == own).await.unwrap();
    assert_eq!(
        got.message.status.as_deref(),
        Some("mine"),
        "the stranger's message is dropped"
    );
}

#[tokio::test]
async fn a_barrier_is_answered_when_its_message_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let socket = NotifySocket::bind(&path).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    send(&path, "READY=1", &[]);
    send(&path, "BARRIER=1", &[writer.as_fd()]);
    drop(writer);
    let (mut state, now) = (NotifyState::new(None), Instant::now());
    let first = socket.receive(|_| true).await.unwrap();
    assert_eq!(
        state.apply(&first.message, now, |_| true),
        [NotifyChange::Ready]
    );
    let barrier = socket.receive(|_| true).await.unwrap();
    assert!(barrier.message.barrier);
    assert_eq!(barrier.fds.len(), 1);
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let mut byte = [0];
    assert_eq!(
        reader.read(&mut byte).unwrap_err().kind(),
        std::io::ErrorKind::WouldBlock
    );
    drop(barrier);
    assert_eq!(
        reader.read(&mut byte).unwrap(),
        0,
        "the sender sees its barrier pass"
    );
}

#[tokio::test]
async fn descriptors_are_stored_named_bounded_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let socket = NotifySocket::bind(&path).unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let many = vec![file.as_fd(); 10];
    let mut store = FdStore::new();
    let mut refused = Vec::new();
    for text in [
        "FDSTORE=1\nFDNAME=a",
        "FDSTORE=1",
        "FDSTOREREMOVE=1\nFDNAME=a",
    ] {
        send(
            &path,
            text,
            if text.starts_with("FDSTORE=") {
                &many
            } else {
                &[]
            },
        );
        let mut got = socket.receive(|_| true).await.unwrap();
        refused.push(store.apply(&mut got));
        assert!(store.len() <= FD_STORE_MAX);
    }
    assert_eq!(refused, [0, 4, 0]);
    assert_eq!(
        store.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        vec!["stored"; 6]
    );
}

#[tokio::test]
async fn a_left_socket_is_replaced_and_a_long_path_gets_a_stable_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let first = NotifySocket::bind(&path).unwrap();
    std::mem::forget(first);
    let second = NotifySocket::bind(&path).unwrap();
    send(&path, "READY=1", &[]);
    assert!(second.receive(|_| true).await.unwrap().message.ready);

    let long = dir.path().join("d".repeat(120));
    let name = NotifySocket::bind(&long).unwrap().variable().clone();
    assert!(name.to_str().unwrap().starts_with('@'));
    let again = NotifySocket::bind(&long).unwrap();
    assert_eq!(*again.variable(), name, "a service finds it again");
    let bytes = &name.to_str().unwrap().as_bytes()[1..];
    let address = SocketAddrUnix::new_abstract_name(bytes).unwrap();
    let sender = UnixDatagram::unbound().unwrap();
    rustix::net::sendto(&sender, b"READY=1", SendFlags::empty(), &address).unwrap();
    assert!(again.receive(|_| true).await.unwrap().message.ready);
}

#[tokio::test]
async fn a_message_too_long_to_be_meant_is_dropped_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify.sock");
    let socket = NotifySocket::bind(&path).unwrap();
    send(
        &path,
        &format!("READY=1\nSTATUS={}", "x".repeat(40_000)),
        &[],
    );
    send(&path, "STATUS=short", &[]);
    let got = tokio::time::timeout(Duration::from_secs(30), socket.receive(|_| true)).await;
    let got = got.unwrap().unwrap();
    assert_eq!(
        (got.message.ready, got.message.status.as_deref()),
        (false, Some("short"))
    );
}

//! Who tells that a unit changed: one connection per manager, shared by all instances.
//!
//! The signals themselves carry no news that is used: each is a reason to ask `systemctl show`,
//! so a missed or doubled one does no harm, and after a reconnection everybody asks.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;

use super::dbus::{self, Peer};
use crate::call::Call;

/// How many changes wait for a slow instance; beyond that it asks once for all.
const QUEUE: usize = 256;
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Where a manager can be heard.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// Sockets in the order in which they are tried.
    Local(Vec<(PathBuf, Peer)>),
    /// `systemd-stdio-bridge` at the other end of ssh(1).
    Bridge(Box<Call>),
}

/// What was heard: the object that changed, or `None` for "possibly any".
pub(crate) type Poke = Option<Arc<str>>;

/// The changes of one manager's units. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Bus {
    pokes: broadcast::Sender<Poke>,
    connected: watch::Receiver<bool>,
    task: AbortHandle,
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bus {
    pub(crate) fn listen(place: Place) -> Self {
        let (pokes, _) = broadcast::channel(QUEUE);
        let (told, connected) = watch::channel(false);
        let task = tokio::spawn(run(place, pokes.clone(), told)).abort_handle();
        Self {
            pokes,
            connected,
            task,
        }
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Poke> {
        self.pokes.subscribe()
    }

    /// Says whether changes are heard at the moment.
    pub(crate) fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }
}

async fn run(place: Place, pokes: broadcast::Sender<Poke>, told: watch::Sender<bool>) {
    let mut pause = RETRY;
    loop {
        let heard = match &place {
            Place::Local(sockets) => local(sockets, &pokes, &told).await,
            Place::Bridge(call) => bridge(call, &pokes, &told).await,
        };
        if told.send_replace(false) {
            pause = RETRY;
        }
        if let Err(error) = heard {
            tracing::debug!(%error, "changes of units are not heard");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

async fn local(
    sockets: &[(PathBuf, Peer)],
    pokes: &broadcast::Sender<Poke>,
    told: &watch::Sender<bool>,
) -> io::Result<()> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for (path, peer) in sockets {
        match UnixStream::connect(path).await {
            Ok(stream) => {
                let (reader, mut writer) = stream.into_split();
                let mut reader = BufReader::new(reader);
                let uid = rustix::process::geteuid().as_raw();
                match dbus::greet(&mut writer, &mut reader, *peer, Some(uid)).await {
                    Ok(()) => return hear(&mut reader, pokes, told).await,
                    Err(error) => last = error,
                }
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn bridge(
    call: &Call,
    pokes: &broadcast::Sender<Poke>,
    told: &watch::Sender<bool>,
) -> io::Result<()> {
    let mut owned = call
        .start(proc_core::Stdio::Pipe)
        .map_err(io::Error::other)?;
    let child = owned.child();
    let (Some(stdin), Some(stdout)) = (child.take_stdin(), child.take_stdout()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    // Nobody reads its errors: they would only block it.
    drop(child.take_stderr());
    let mut writer = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
    let mut reader = BufReader::new(pipe::Receiver::from_owned_fd(stdout)?);
    dbus::greet(&mut writer, &mut reader, Peer::Bus, None).await?;
    hear(&mut reader, pokes, told).await
}

async fn hear(
    reader: &mut (impl tokio::io::AsyncRead + Unpin),
    pokes: &broadcast::Sender<Poke>,
    told: &watch::Sender<bool>,
) -> io::Result<()> {
    told.send_replace(true);
    // What happened before is not told: everybody asks once.
    let _nobody_waits = pokes.send(None);
    loop {
        let header = dbus::next(reader).await?;
        if header.signal && header.path.starts_with("/org/freedesktop/systemd1/unit/") {
            let _nobody_waits = pokes.send(Some(header.path.into()));
        }
    }
}

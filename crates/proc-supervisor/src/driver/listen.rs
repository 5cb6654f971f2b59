//! Sockets that are opened for a service and stay open over its restarts.
//!
//! They belong to the service, so that its instances share them. They close when it is stopped.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::sync::Arc;

use proc_backends::{PassedSocket, StartError};
use proc_core::Identity;
use proc_spec::ListenAddress;
use rustix::net::{SocketType, sockopt};

use super::Driver;
use super::launch::cannot_listen;
use crate::sys::{abstract_name, given, is_listening};

/// The descriptor of the first socket that a service is given, `SD_LISTEN_FDS_START`.
const FIRST_FD: i32 = 3;

impl Driver {
    /// Returns the sockets of an instance with the addresses they are bound to, opening those
    /// that are not open yet.
    pub(super) fn sockets(&mut self, key: &str) -> Result<Vec<(PassedSocket, String)>, StartError> {
        let (Some(spec), Some(instance)) = (self.spec_of(key), self.instances.get(key)) else {
            return Ok(Vec::new());
        };
        let Some(service) = self.services.get_mut(&instance.service) else {
            return Ok(Vec::new());
        };
        let mut sockets = Vec::new();
        for listen in &spec.listen {
            let wanted = listen.to_string();
            if !service.sockets.contains_key(&wanted) {
                let (fd, address) =
                    open(&listen.address).map_err(|error| cannot_listen(&wanted, &error))?;
                let name = listen.name.clone().unwrap_or_else(|| spec.name.clone());
                let socket = PassedSocket {
                    name,
                    fd: Arc::new(fd),
                };
                service.sockets.insert(wanted.clone(), (socket, address));
            }
            sockets.extend(service.sockets.get(&wanted).cloned());
        }
        Ok(sockets)
    }

    /// Takes the sockets back that an earlier supervisor opened for a service, from the process that it gave them to: so
    /// they stay open, and where they are, over restarts to come. One that is not found there is opened again then.
    pub(super) fn take_back_sockets(&mut self, key: &str, identity: &Identity) {
        let (Some(spec), Some(instance)) = (self.spec_of(key), self.instances.get(key)) else {
            return;
        };
        let Some(service) = self.services.get_mut(&instance.service) else {
            return;
        };
        if service.sockets.len() >= spec.listen.len() {
            return;
        }
        let Ok(process) = identity.open() else { return };
        for (number, listen) in (FIRST_FD..).zip(&spec.listen) {
            let wanted = listen.to_string();
            let taken = given(&process, number).and_then(|fd| recognise(&listen.address, fd));
            if let (false, Some((fd, address))) = (service.sockets.contains_key(&wanted), taken) {
                let name = listen.name.clone().unwrap_or_else(|| spec.name.clone());
                let fd = Arc::new(fd);
                let socket = PassedSocket { name, fd };
                service.sockets.insert(wanted, (socket, address));
            }
        }
    }

    /// Closes the sockets of a service that is down because that was asked.
    pub(super) fn close_sockets(&mut self, service: &str) {
        let up = self.instances.values().any(|instance| {
            instance.service == service
                && (instance.is_up() || instance.machine.desired() == crate::state::Desired::Up)
        });
        if up {
            return;
        }
        if let Some(service) = self.services.get_mut(service) {
            for (_, (_, address)) in std::mem::take(&mut service.sockets) {
                if let Some(path) = address.strip_prefix('/') {
                    // A socket file outlives its socket; somebody may have taken it away.
                    let _gone = std::fs::remove_file(Path::new("/").join(path));
                }
            }
        }
    }
}

fn open(address: &ListenAddress) -> io::Result<(OwnedFd, String)> {
    match address {
        ListenAddress::Tcp { host, port } => {
            let socket = TcpListener::bind((any(host), *port))?;
            let bound = socket.local_addr()?.to_string();
            Ok((socket.into(), bound))
        }
        ListenAddress::Udp { host, port } => {
            let socket = UdpSocket::bind((any(host), *port))?;
            let bound = socket.local_addr()?.to_string();
            Ok((socket.into(), bound))
        }
        ListenAddress::Unix(path) => {
            let socket = match abstract_name(path)? {
                Some(name) => UnixListener::bind_addr(&name)?,
                None => {
                    remove_stale(path, |path| {
                        std::os::unix::net::UnixStream::connect(path).map(drop)
                    });
                    UnixListener::bind(path)?
                }
            };
            Ok((socket.into(), path.display().to_string()))
        }
        ListenAddress::UnixDgram(path) => {
            let socket = match abstract_name(path)? {
                Some(name) => UnixDatagram::bind_addr(&name)?,
                None => {
                    remove_stale(path, |path| {
                        UnixDatagram::unbound().and_then(|socket| socket.connect(path))
                    });
                    UnixDatagram::bind(path)?
                }
            };
            Ok((socket.into(), path.display().to_string()))
        }
    }
}

/// Returns the socket and where it is bound, if it is the one that was asked for: a process may have put anything else
/// in its place.
fn recognise(wanted: &ListenAddress, fd: OwnedFd) -> Option<(OwnedFd, String)> {
    let stream = matches!(wanted, ListenAddress::Tcp { .. } | ListenAddress::Unix(_));
    let kind = if stream {
        SocketType::STREAM
    } else {
        SocketType::DGRAM
    };
    let fits = sockopt::socket_type(&fd).ok()? == kind && (!stream || is_listening(&fd)?);
    match wanted {
        _ if !fits => None,
        ListenAddress::Tcp { host, port } => {
            let socket = TcpListener::from(fd);
            let bound = socket.local_addr().ok()?;
            is_at(bound, host, *port).then(|| (socket.into(), bound.to_string()))
        }
        ListenAddress::Udp { host, port } => {
            let socket = UdpSocket::from(fd);
            let bound = socket.local_addr().ok()?;
            is_at(bound, host, *port).then(|| (socket.into(), bound.to_string()))
        }
        ListenAddress::Unix(path) | ListenAddress::UnixDgram(path) => {
            // The address of either kind reads the same.
            let socket = UnixDatagram::from(fd);
            let bound = socket.local_addr().ok()?;
            let same = match abstract_name(path).ok()? {
                Some(name) => format!("{name:?}") == format!("{bound:?}"),
                None => bound.as_pathname() == Some(path.as_path()),
            };
            same.then(|| (socket.into(), path.display().to_string()))
        }
    }
}

/// A host's name is not looked up again: its port has to do.
fn is_at(bound: std::net::SocketAddr, host: &str, port: u16) -> bool {
    let host = any(host).parse::<std::net::IpAddr>();
    (port == 0 || bound.port() == port) && host.map_or(true, |host| bound.ip() == host)
}

fn any(host: &str) -> &str {
    if host.is_empty() { "::" } else { host }
}

/// Removes the file of a socket that nobody listens on any more, as after a crash.
fn remove_stale(path: &Path, connect: impl Fn(&Path) -> io::Result<()>) {
    use std::os::unix::fs::FileTypeExt;
    let socket = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused =
        socket && connect(path).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused);
    if refused {
        // Should it fail, the bind says why.
        let _bind_says = std::fs::remove_file(path);
    }
}

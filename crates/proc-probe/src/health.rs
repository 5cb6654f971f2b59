//! A small server for `/health` and `/ready`, over TCP or a Unix socket.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::address::Address;
use crate::http::head_end;

/// The longest head of a request.
const MAX_HEAD: usize = 16 * 1024;
/// How long a client may take for its request, and to take the answer.
const CLIENT_TIME: Duration = Duration::from_secs(10);
/// The most connections at once; further ones wait.
const MAX_CONNECTIONS: usize = 64;

type CheckFuture = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

struct Check {
    name: String,
    limit: Duration,
    look: Box<dyn Fn() -> CheckFuture + Send + Sync>,
}

/// A health server that does not listen yet: its checks are added first.
#[derive(Default)]
pub struct HealthServer {
    checks: Vec<Check>,
    names: BTreeSet<String>,
}

/// A health server could not be started.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HealthError {
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Listen {
        /// The address as given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Two checks have one name.
    #[error("two health checks are named `{0}`")]
    Duplicate(String),
}

/// A health server that listens. Dropping it ends it at once.
pub struct Health {
    shared: Arc<Shared>,
    address: String,
    socket: Option<PathBuf>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

struct Shared {
    checks: Vec<Check>,
    ready: AtomicBool,
    room: Arc<Semaphore>,
}

#[derive(Serialize)]
struct Outcome {
    name: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct Report {
    status: &'static str,
    checks: Vec<Outcome>,
}

impl HealthServer {
    /// Returns a server without checks: `/health` says `ok`.
    #[must_use]
    pub fn new() -> Self {
        HealthServer::default()
    }

    /// Adds a named check; it is unhealthy when it answers with an error or not within `limit`.
    #[must_use]
    pub fn check<F, Fut>(mut self, name: &str, limit: Duration, look: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        let look = Box::new(move || -> CheckFuture { Box::pin(look()) });
        self.checks.push(Check {
            name: name.to_owned(),
            limit,
            look,
        });
        self
    }

    /// Starts to listen; `/ready` says no until [`Health::set_ready`]. Port 0 is chosen by the
    /// system. A socket left at a Unix path is replaced. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Returns why the address cannot be listened on, or that two checks have one name.
    pub async fn listen(mut self, address: &str) -> Result<Health, HealthError> {
        for check in &self.checks {
            if !self.names.insert(check.name.clone()) {
                return Err(HealthError::Duplicate(check.name.clone()));
            }
        }
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let shared = Arc::new(Shared {
            checks: self.checks,
            ready: AtomicBool::new(false),
            room,
        });
        let (stop, stopped) = watch::channel(false);
        let listener = Listener::bind(address)
            .await
            .map_err(|source| HealthError::Listen {
                address: address.to_owned(),
                source,
            })?;
        let (bound, socket) = (listener.address(), listener.socket());
        let task = tokio::spawn(serve(listener, Arc::clone(&shared), stopped));
        Ok(Health {
            shared,
            address: bound,
            socket,
            stop,
            task,
        })
    }
}

impl Health {
    /// Returns the address that is listened on, with the port the system chose.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Says what `/ready` answers.
    pub fn set_ready(&self, ready: bool) {
        self.shared.ready.store(ready, Ordering::Relaxed);
    }

    /// Tells what `/ready` answers.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.shared.ready.load(Ordering::Relaxed)
    }

    /// Stops: not ready, no new connection, then the end of those that are being answered, for
    /// at most `grace`.
    pub async fn stop(mut self, grace: Duration) {
        self.set_ready(false);
        self.stop.send_replace(true);
        let _elapsed = timeout(grace, &mut self.task).await;
    }
}

impl Drop for Health {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(socket) = &self.socket {
            // Gone already is as good as removed.
            let _ignored = std::fs::remove_file(socket);
        }
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

enum Listener {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    async fn bind(text: &str) -> io::Result<Self> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        // An address to connect to never has port 0; one to listen on may.
        if let Some(host) = text.strip_suffix(":0") {
            let any: Address = format!("{host}:1").parse().map_err(invalid)?;
            let Address::Tcp { host, .. } = any else {
                return Err(invalid_path());
            };
            return Self::bind_tcp(&host, 0).await;
        }
        match text.parse().map_err(invalid)? {
            Address::Tcp { host, port } => Self::bind_tcp(&host, port).await,
            Address::Unix(path) => {
                use std::os::unix::fs::FileTypeExt;
                let stale =
                    std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.file_type().is_socket());
                if stale && std::os::unix::net::UnixStream::connect(&path).is_err() {
                    std::fs::remove_file(&path)?;
                }
                Ok(Listener::Unix(UnixListener::bind(&path)?, path))
            }
        }
    }

    async fn bind_tcp(host: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((host, port)).await?;
        let address = listener.local_addr()?;
        Ok(Listener::Tcp(listener, address))
    }

    fn address(&self) -> String {
        match self {
            Listener::Tcp(_, address) => address.to_string(),
            Listener::Unix(_, path) => format!("unix:{}", path.display()),
        }
    }

    fn socket(&self) -> Option<PathBuf> {
        match self {
            Listener::Tcp(..) => None,
            Listener::Unix(_, path) => Some(path.clone()),
        }
    }

    async fn accept(&self) -> io::Result<Box<dyn Duplex>> {
        Ok(match self {
            Listener::Tcp(listener, _) => Box::new(listener.accept().await?.0),
            Listener::Unix(listener, _) => Box::new(listener.accept().await?.0),
        })
    }
}

fn invalid_path() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "a socket path ends in `:0`")
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

async fn serve(listener: Listener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(permit) = Arc::clone(&shared.room).acquire_owned().await else {
            break;
        };
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            _ = stopped.wait_for(|stop| *stop) => break,
        };
        match stream {
            Ok(stream) => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let _permit = permit;
                    // A client that goes away or dawdles is its own affair.
                    let _ignored = answer(stream, &shared).await;
                });
            }
            // Out of descriptors, most likely: one that ends makes room for the next.
            Err(_) if connections.is_empty() => tokio::time::sleep(CLIENT_TIME / 100).await,
            Err(_) => drop(connections.join_next().await),
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn answer(mut stream: Box<dyn Duplex>, shared: &Shared) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let read = async {
        while head_end(&head, 0).is_none() && head.len() <= MAX_HEAD {
            if stream.read_buf(&mut head).await? == 0 {
                return Ok::<bool, io::Error>(false);
            }
        }
        Ok(true)
    };
    let response = match timeout(CLIENT_TIME, read).await {
        Ok(Ok(true)) if head.len() > MAX_HEAD => Response::plain(431, "request too large"),
        Ok(Ok(true)) => respond(&head, shared).await,
        Ok(Ok(false)) => return Ok(()),
        Ok(Err(error)) => return Err(error),
        Err(_elapsed) => Response::plain(408, "request timed out"),
    };
    let bytes = response.bytes(head.starts_with(b"HEAD "));
    let send = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    timeout(CLIENT_TIME, send).await.unwrap_or(Ok(()))
}

struct Response {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Response {
    fn plain(status: u16, body: &str) -> Self {
        Response {
            status,
            kind: "text/plain; charset=utf-8",
            body: format!("{body}\n"),
        }
    }

    fn bytes(&self, head_only: bool) -> Vec<u8> {
        let Response { status, kind, body } = self;
        let reason = match status {
            200 => "OK",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        );
        let mut bytes = head.into_bytes();
        if !head_only {
            bytes.extend_from_slice(body.as_bytes());
        }
        bytes
    }
}

async fn respond(head: &[u8], shared: &Shared) -> Response {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut words = text.split_ascii_whitespace();
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    if !matches!(method, "get" | "head") {
        return Response::plain(405, "only GET and HEAD");
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let accepts = text
        .lines()
        .any(|line| line.starts_with("accept:") && line.contains("json"));
    let json = accepts || query.split('&').any(|pair| pair == "format=json");
    match path {
        "/health" => health(shared, json).await,
        "/ready" => ready(shared.ready.load(Ordering::Relaxed), json),
        _ => Response::plain(404, "try /health or /ready"),
    }
}

fn ready(ready: bool, json: bool) -> Response {
    let (status, text) = if ready {
        (200, "ready")
    } else {
        (503, "not ready")
    };
    if json {
        let body = format!("{{\"status\":\"{text}\",\"ready\":{ready}}}\n");
        return Response {
            status,
            kind: "application/json",
            body,
        };
    }
    Response::plain(status, text)
}

async fn health(shared: &Shared, json: bool) -> Response {
    let checks = look_at_all(&shared.checks).await;
    let failed = checks.iter().find(|outcome| !outcome.ok);
    let status = if failed.is_none() { 200 } else { 503 };
    if json {
        let word = if failed.is_none() { "ok" } else { "unhealthy" };
        let report = Report {
            status: word,
            checks,
        };
        let body = serde_json::to_string(&report).expect("strings and numbers always serialise");
        return Response {
            status,
            kind: "application/json",
            body: body + "\n",
        };
    }
    match failed {
        None => Response::plain(200, "ok"),
        Some(Outcome { name, error, .. }) => {
            let error = error.as_deref().unwrap_or_default();
            Response::plain(503, &format!("unhealthy: {name}: {error}"))
        }
    }
}

/// Looks at all at once, so that the slowest decides and not the sum; the order is kept.
async fn look_at_all(checks: &[Check]) -> Vec<Outcome> {
    let mut running = JoinSet::new();
    for (index, check) in checks.iter().enumerate() {
        let (look, limit) = ((check.look)(), check.limit);
        running.spawn(async move {
            let begin = Instant::now();
            let result = timeout(limit, look)
                .await
                .unwrap_or_else(|_elapsed| Err(format!("no answer within {limit:?}")));
            (index, result, begin.elapsed())
        });
    }
    let mut outcomes: Vec<Outcome> = checks
        .iter()
        .map(|check| Outcome {
            name: check.name.clone(),
            ok: false,
            error: Some("the check panicked".to_owned()),
            elapsed_ms: 0,
        })
        .collect();
    while let Some(joined) = running.join_next().await {
        let Ok((index, result, elapsed)) = joined else {
            continue;
        };
        let outcome = &mut outcomes[index];
        outcome.ok = result.is_ok();
        outcome.error = result.err();
        outcome.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    }
    outcomes
}

//! Accepting connections: who may, how many, how large, how long.

use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use proc_supervisor::Handle;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::body::Reply;
use crate::limits::{BODY_BYTES, CONNECTIONS, HEADER_BYTES, REQUEST_TIME};
use crate::peer::Peer;
use crate::problem::{Problem, Refusal};
use crate::{CONTROL_SOCKET, routes, socket};

/// How long open connections may take to read their last answer.
const FAREWELL: Duration = Duration::from_secs(2);

/// The control socket of one supervisor. Dropping it closes the socket and every connection.
#[derive(Debug)]
pub struct Server {
    runtime_dir: PathBuf,
    accepting: JoinHandle<()>,
    closing: watch::Sender<bool>,
}

impl Server {
    /// Listens on `<runtime_dir>/control.sock` (mode 0600) and serves `handle` from a task of the
    /// current runtime. Peers with another user id than ours are refused, root excepted.
    ///
    /// # Errors
    ///
    /// When the socket cannot be made.
    pub fn start(runtime_dir: &Path, handle: Handle) -> io::Result<Server> {
        let listener = socket::listen(runtime_dir, CONTROL_SOCKET)?;
        listener.set_nonblocking(true)?;
        let listener = UnixListener::from_std(listener)?;
        let (closing, closed) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, handle, closed));
        Ok(Server {
            runtime_dir: runtime_dir.to_owned(),
            accepting,
            closing,
        })
    }

    /// Removes the socket, and returns when every open connection has had its answer, or after 2 s.
    pub async fn close(mut self) {
        socket::remove(&self.runtime_dir, CONTROL_SOCKET);
        self.closing.send_replace(true);
        // A connection that does not take its answer in time is cut by the drop.
        let _ = tokio::time::timeout(FAREWELL, &mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !*self.closing.borrow() {
            socket::remove(&self.runtime_dir, CONTROL_SOCKET);
        }
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, handle: Handle, closing: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut closed = closing.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let slot = Arc::clone(&slots).try_acquire_owned().ok();
                    connections.spawn(meet(stream, slot, handle.clone(), closing.clone()));
                }
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    rest_after(&error, &mut connections).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = closed.changed() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection that may be served, and turns the others away.
async fn meet(
    stream: UnixStream,
    slot: Option<OwnedSemaphorePermit>,
    handle: Handle,
    closing: watch::Receiver<bool>,
) {
    let owner = rustix::process::geteuid().as_raw();
    match (admit(&stream, owner), slot) {
        (Ok(peer), Some(_slot)) => serve(stream, peer, handle, closing).await,
        (Err(refusal), _) => turn_away(stream, &refusal).await,
        (Ok(_), None) => turn_away(stream, &too_many()).await,
    }
}

/// Waits until a descriptor may be free again; accepting at once would spin on `EMFILE`.
async fn rest_after(error: &io::Error, connections: &mut JoinSet<()>) {
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    if !matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
        return;
    }
    if connections.join_next().await.is_none() {
        // No connection of ours to wait for: others hold the descriptors, so only time helps.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn admit(stream: &UnixStream, owner: u32) -> Result<Peer, Refusal> {
    let peer = Peer::of(stream).map_err(|error| {
        Refusal::new(StatusCode::FORBIDDEN, 1, format!("unknown peer: {error}"))
    })?;
    if peer.may_command(owner) {
        return Ok(peer);
    }
    let text = format!(
        "uid {} may not command the supervisor of uid {owner}",
        peer.uid
    );
    Err(Refusal::new(StatusCode::FORBIDDEN, 1, text))
}

fn too_many() -> Refusal {
    let text = format!("too many connections: {CONNECTIONS} are open");
    Refusal::new(StatusCode::TOO_MANY_REQUESTS, 1, text)
}

/// Answers without reading a request, then closes.
async fn turn_away(mut stream: UnixStream, refusal: &Refusal) {
    let text = plain_response(refusal.status, &refusal.problem);
    // A peer that does not take its refusal misses it; a stuck one must not hold the slot.
    let _ = tokio::time::timeout(REQUEST_TIME, stream.write_all(text.as_bytes())).await;
}

fn plain_response(status: StatusCode, problem: &Problem) -> String {
    let body = serde_json::to_string(problem).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

async fn serve(stream: UnixStream, peer: Peer, handle: Handle, mut closing: watch::Receiver<bool>) {
    let ending = closing.clone();
    let service =
        service_fn(move |request| Box::pin(answer(request, peer, handle.clone(), ending.clone())));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIME)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut farewell = pin!(closing.wait_for(|closing| *closing));
    let mut told = false;
    let ended = poll_fn(|context| {
        if !told && farewell.as_mut().poll(context).is_ready() {
            told = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        connection.poll_without_shutdown(context)
    })
    .await;
    let mut stream = connection.into_parts().io.into_inner();
    match ended {
        Err(error) if error.is_timeout() => {
            let late = Refusal::new(StatusCode::REQUEST_TIMEOUT, 2, "the request took too long");
            turn_away(stream, &late).await;
        }
        // The peer has gone, or its request was answered with a 4xx already.
        _ => {
            let _ = stream.shutdown().await;
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: Peer,
    handle: Handle,
    mut closing: watch::Receiver<bool>,
) -> Result<Response<Reply>, std::convert::Infallible> {
    let (head, body) = request.into_parts();
    let response = match read(body).await {
        Ok(body) => routes::route(&head, &body, peer, &handle).await,
        Err(refusal) => Err(refusal),
    };
    if response.as_ref().is_err_and(|r| r.problem.is_gone()) {
        // Whoever hears that the supervisor has ended looks for the next one, and is not to meet
        // the socket of this one again.
        let _ = tokio::time::timeout(FAREWELL, closing.wait_for(|closing| *closing)).await;
    }
    Ok(response.unwrap_or_else(Refusal::into_response))
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let collected = tokio::time::timeout(REQUEST_TIME, Limited::new(body, BODY_BYTES).collect());
    match collected.await {
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            2,
            "the body took too long",
        )),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let text = format!("the body is larger than {BODY_BYTES} bytes");
            Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, 2, text))
        }
        Ok(Err(error)) => Err(Refusal::bad_request(format!(
            "cannot read the body: {error}"
        ))),
    }
}

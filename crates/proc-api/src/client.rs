//! The other end: what `proc stop` uses, and any program that wants to command a project.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use proc_core::Signal;
use proc_supervisor::{
    Event, PlanEntry, ProjectStatus, Report, RestartOptions, StartOptions, StopOptions, WaitFor,
    Why,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::comeback::{Starters, connect_within};
use crate::problem::Problem;
use crate::wire::{
    Applied, ConfigRequest, Info, Named, NoOptions, ResizeRequest, ScaleRequest, SendRequest,
    SignalRequest, WaitRequest,
};

/// How many supervisors in a row may die over one request before it is given up.
const LIVES: u32 = 100;

/// A request that was not answered with a success.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens on the project's control socket, or who did has ended.
    #[error("no supervisor is running")]
    NoSupervisor,
    /// The supervisor refused, and says why.
    #[error("{}", .0.error)]
    Refused(Problem),
    /// The connection broke before the answer was there; the supervisor may have died.
    #[error("lost the connection to the supervisor")]
    Lost(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The socket could not be reached.
    #[error("cannot reach the supervisor through `{path}`")]
    Unreachable {
        /// The runtime directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The answer is not what this version understands.
    #[error("cannot read the supervisor's answer")]
    Unreadable(#[source] serde_json::Error),
}

impl ClientError {
    /// Whether the supervisor that was asked is at its end, be it on purpose.
    fn is_of_an_end(&self) -> bool {
        matches!(self, Self::Lost(_)) || self.is_gone()
    }

    /// Whether a supervisor says of itself that it has ended.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Refused(problem) if problem.is_gone())
    }

    /// A supervisor that has ended is none, once nobody comes in its place.
    fn settled(self) -> Self {
        if self.is_gone() {
            Self::NoSupervisor
        } else {
            self
        }
    }
}

/// A way to reach one project's supervisor; each request is a connection of its own.
#[derive(Debug, Clone)]
pub struct Client {
    runtime_dir: PathBuf,
    patience: Duration,
    starters: Option<Starters>,
}

impl Client {
    /// Makes a client for the supervisor whose sockets are in `runtime_dir`. Connects to nothing yet.
    #[must_use]
    pub fn new(runtime_dir: &Path) -> Client {
        Client {
            runtime_dir: runtime_dir.to_owned(),
            patience: Duration::ZERO,
            starters: None,
        }
    }

    /// Returns the same client, waiting up to `patience` for a supervisor that is coming back.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    /// Returns the same client, waiting only while one of those is there who can bring a supervisor back.
    #[must_use]
    pub fn while_there_are(mut self, starters: Starters) -> Client {
        self.starters = Some(starters);
        self
    }

    /// Returns who answers.
    ///
    /// # Errors
    ///
    /// [`ClientError::NoSupervisor`] when nobody does; this and every other method fails as
    /// [`ClientError`] says.
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.get("info").await
    }

    /// Returns the whole project's state.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn status(&self) -> Result<ProjectStatus, ClientError> {
        self.get("status").await
    }

    /// Starts services; answers when each is ready or has failed.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn start(
        &self,
        names: &[String],
        options: StartOptions,
    ) -> Result<Report, ClientError> {
        self.insist(
            "start",
            &Named {
                names: names.to_vec(),
                options,
            },
        )
        .await
    }

    /// Stops services; answers when they are gone.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn stop(
        &self,
        names: &[String],
        options: StopOptions,
    ) -> Result<Report, ClientError> {
        self.insist(
            "stop",
            &Named {
                names: names.to_vec(),
                options,
            },
        )
        .await
    }

    /// Restarts services; answers when each is ready again or has failed.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn restart(
        &self,
        names: &[String],
        options: RestartOptions,
    ) -> Result<Report, ClientError> {
        self.insist(
            "restart",
            &Named {
                names: names.to_vec(),
                options,
            },
        )
        .await
    }

    /// Sends services their reload signal.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn reload(&self, names: &[String]) -> Result<Report, ClientError> {
        self.post(
            "reload",
            &Named {
                names: names.to_vec(),
                options: NoOptions {},
            },
        )
        .await
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn signal(&self, names: &[String], signal: Signal) -> Result<Report, ClientError> {
        self.post(
            "signal",
            &SignalRequest {
                names: names.to_vec(),
                signal,
            },
        )
        .await
    }

    /// Changes how many instances services have.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn scale(&self, counts: &[(String, u32)]) -> Result<Report, ClientError> {
        self.post(
            "scale",
            &ScaleRequest {
                counts: counts.to_vec(),
            },
        )
        .await
    }

    /// Writes to an instance's standard input.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn send(&self, name: &str, text: &str, close: bool) -> Result<(), ClientError> {
        self.send_bytes(name, text.as_bytes(), close).await
    }

    /// Writes bytes to an instance's standard input, at most 64 KiB.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn send_bytes(
        &self,
        name: &str,
        bytes: &[u8],
        close: bool,
    ) -> Result<(), ClientError> {
        let (text, bytes) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), Vec::new()),
            Err(_) => (String::new(), bytes.to_vec()),
        };
        let name = name.to_owned();
        let request = SendRequest {
            name,
            text,
            bytes,
            close,
        };
        self.post("send", &request).await.map(|NoOptions {}| ())
    }

    /// Sets the size of an instance's terminal, in characters.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn resize(&self, name: &str, rows: u16, columns: u16) -> Result<(), ClientError> {
        let request = ResizeRequest {
            name: name.to_owned(),
            rows,
            columns,
        };
        self.post("resize", &request).await.map(|NoOptions {}| ())
    }

    /// Waits until services are as asked; `None` waits for ever.
    ///
    /// # Errors
    ///
    /// As [`Client::info`]; a timeout is [`ClientError::Refused`] with code 124.
    pub async fn wait(
        &self,
        names: &[String],
        what: WaitFor,
        timeout: Option<Duration>,
    ) -> Result<Report, ClientError> {
        let begin = Instant::now();
        let ask = async || {
            let left = timeout.map(|timeout| timeout.saturating_sub(begin.elapsed()));
            let request = WaitRequest {
                names: names.to_vec(),
                what,
                timeout_ms: left
                    .map(|t| u64::try_from(t.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)),
            };
            self.post_once("wait", &request).await
        };
        self.again(ask).await
    }

    /// Returns a service and its last transitions.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn why(&self, name: &str, last: usize) -> Result<Why, ClientError> {
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-@*".contains(&byte))
        {
            let error = format!("no service `{name}`");
            return Err(ClientError::Refused(Problem {
                error,
                hint: None,
                code: 4,
            }));
        }
        self.get(&format!("why/{name}?last={last}")).await
    }

    /// Returns what applying a configuration would do.
    ///
    /// # Errors
    ///
    /// As [`Client::info`]; a configuration that cannot be used is refused with code 2.
    pub async fn plan(&self, config: &ConfigRequest) -> Result<Vec<PlanEntry>, ClientError> {
        self.insist("plan", config).await
    }

    /// Makes a configuration the running one.
    ///
    /// # Errors
    ///
    /// As [`Client::plan`].
    pub async fn apply(&self, config: &ConfigRequest) -> Result<Applied, ClientError> {
        self.post("apply", config).await
    }

    /// Stops everything, then the supervisor.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn down(&self, options: StopOptions) -> Result<Report, ClientError> {
        self.insist("down", &options).await
    }

    /// Ends the supervisor and leaves its services alone.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn leave(&self) -> Result<(), ClientError> {
        self.post("leave", &NoOptions {}).await
    }

    /// Returns the transitions after `since`, and with `follow` every later one.
    ///
    /// # Errors
    ///
    /// As [`Client::info`].
    pub async fn events(&self, since: Option<u64>, follow: bool) -> Result<Events, ClientError> {
        let mut path = format!("events?follow={}", u8::from(follow));
        if let Some(since) = since {
            path.push_str(&format!("&since={since}"));
        }
        let ask = async || self.request(Method::GET, &path, Bytes::new()).await;
        let response = self.again(ask).await?;
        Ok(Events {
            body: response.into_body(),
            buffer: Vec::new(),
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let once = async || decode(self.request(Method::GET, path, Bytes::new()).await?).await;
        self.again(once).await
    }

    /// Posts what may be asked twice: a supervisor that died over it is asked again when it is back.
    async fn insist<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.again(async || self.post_once(path, body).await).await
    }

    /// Asks until there is an answer, as long as supervisors that were lost, or have ended, come back.
    async fn again<T>(
        &self,
        ask: impl AsyncFn() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        for _ in 0..LIVES {
            match ask().await {
                Err(error) if error.is_of_an_end() && !self.patience.is_zero() => {}
                answer => return answer.map_err(ClientError::settled),
            }
        }
        ask().await.map_err(ClientError::settled)
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let answer = self.post_once(path, body).await;
        answer.map_err(ClientError::settled)
    }

    async fn post_once<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Unreadable)?;
        decode(self.request(Method::POST, path, body.into()).await?).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = self.connect().await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(lost)?;
        // The connection ends with its response; what broke it reaches us through the response.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/{path}"))
            .header(header::HOST, "proc")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(lost)?;
        let response = sender.send_request(request).await.map_err(lost)?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(refusal(response).await)
        }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let starters = self.starters.as_ref();
        let connected = connect_within(&self.runtime_dir, self.patience, starters).await;
        connected.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoSupervisor,
            _ => ClientError::Unreachable {
                path: self.runtime_dir.clone(),
                source: error,
            },
        })
    }
}

fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Lost(error.into())
}

async fn decode<T: DeserializeOwned>(response: Response<Incoming>) -> Result<T, ClientError> {
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(lost)?
        .to_bytes();
    serde_json::from_slice(&body).map_err(ClientError::Unreadable)
}

async fn refusal(response: Response<Incoming>) -> ClientError {
    match decode::<Problem>(response).await {
        Ok(problem) => ClientError::Refused(problem),
        Err(error) => error,
    }
}

/// Transitions as they arrive.
#[derive(Debug)]
pub struct Events {
    body: Incoming,
    buffer: Vec<u8>,
}

impl Events {
    /// Returns the next transition, or `None` after the last one.
    ///
    /// # Errors
    ///
    /// [`ClientError::Lost`] when the supervisor went away without finishing its answer.
    pub async fn next(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(ClientError::Unreadable);
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            if let Ok(data) = frame.map_err(lost)?.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

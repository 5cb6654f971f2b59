//! The way in: a cloneable handle to a running supervisor.

use std::time::Duration;

use proc_core::Signal;
use proc_spec::{Change as PlanEntry, Project};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::request::{
    Finished, Report, RequestError, RestartOptions, StartOptions, StopOptions, WaitFor,
};
use crate::view::{Event, ProjectStatus, Who, Why};

/// How a request is answered.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, RequestError>>;

/// Transitions from some number on.
#[derive(Debug)]
pub(crate) struct Events {
    /// The number after which they are wanted.
    pub(crate) after: u64,
    pub(crate) backlog: Vec<Event>,
    pub(crate) live: broadcast::Receiver<Event>,
}

/// The closed set of what can be asked.
#[derive(Debug)]
pub(crate) enum Request {
    Status(Reply<ProjectStatus>),
    Start(Vec<String>, StartOptions, Who, Reply<Report>),
    Stop(Vec<String>, StopOptions, Who, Reply<Report>),
    Restart(Vec<String>, RestartOptions, Who, Reply<Report>),
    Reload(Vec<String>, Who, Reply<Report>),
    Signal(Vec<String>, Signal, Who, Reply<Report>),
    Scale(Vec<(String, u32)>, Who, Reply<Report>),
    Send(String, Vec<u8>, bool, Reply<()>),
    Resize(String, (u16, u16), Reply<()>),
    Wait(Vec<String>, WaitFor, Reply<Report>),
    Why(String, usize, Reply<Why>),
    Plan(Box<Project>, Reply<Vec<PlanEntry>>),
    Apply(Box<Project>, Who, Reply<(Vec<PlanEntry>, Report)>),
    Down(StopOptions, Who, Reply<Report>),
    Leave(Reply<()>),
    Tell(String, String, Reply<()>),
    Events(Option<u64>, Reply<Events>),
}

/// A running supervisor. Clones reach the same one; dropping all of them does not end it.
///
/// Names may be services, instances (`web-2`), globs (`web-*`) and groups (`@backend`); an empty
/// list is every service. Dropping a returned future does not undo what was asked.
///
/// Every operation fails with [`RequestError::Gone`] once the supervisor has ended, and with
/// [`RequestError::NoSuch`] where a name means nothing.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(crate) requests: mpsc::Sender<Request>,
    pub(crate) finished: watch::Receiver<Option<Finished>>,
}

impl Handle {
    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, RequestError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.requests.send(request(reply)).await;
        sent.map_err(|_| RequestError::Gone)?;
        answer.await.map_err(|_| RequestError::Gone)?
    }

    /// Returns the whole project as `proc status --json` shows it.
    ///
    /// # Errors
    /// [`RequestError::Gone`].
    pub async fn status(&self) -> Result<ProjectStatus, RequestError> {
        self.ask(Request::Status).await
    }

    /// Starts services and what they need. A start by hand: it clears every limit.
    ///
    /// Completes when each is ready, has ended well, or has failed (an outcome that is not `ok`).
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn start(
        &self,
        names: Vec<String>,
        options: StartOptions,
        who: Who,
    ) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Start(names, options, who, reply))
            .await
    }

    /// Stops services, dependents first. Completes when their trees are gone, or are known to
    /// survive (in the report).
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn stop(
        &self,
        names: Vec<String>,
        options: StopOptions,
        who: Who,
    ) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Stop(names, options, who, reply))
            .await
    }

    /// Restarts services. Concurrent restarts join: each caller's service was started anew at
    /// least once after the call began.
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn restart(
        &self,
        names: Vec<String>,
        options: RestartOptions,
        who: Who,
    ) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Restart(names, options, who, reply))
            .await
    }

    /// Sends services their reload signal.
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn reload(&self, names: Vec<String>, who: Who) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Reload(names, who, reply)).await
    }

    /// Sends a signal to the leaders of services; it never escalates.
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn signal(
        &self,
        names: Vec<String>,
        signal: Signal,
        who: Who,
    ) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Signal(names, signal, who, reply))
            .await
    }

    /// Changes how many instances services have; 0 keeps the service.
    ///
    /// Completes when new instances are ready or have failed, and surplus ones are down.
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn scale(
        &self,
        counts: Vec<(String, u32)>,
        who: Who,
    ) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Scale(counts, who, reply)).await
    }

    /// Writes bytes to one instance's standard input, and closes it afterwards if `close`.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when it has no open standard input; else see [`Handle`].
    pub async fn send_stdin(
        &self,
        name: String,
        bytes: Vec<u8>,
        close: bool,
    ) -> Result<(), RequestError> {
        self.ask(|reply| Request::Send(name, bytes, close, reply))
            .await
    }

    /// Sets the size in characters of the terminal that one instance's standard input is.
    ///
    /// # Errors
    /// [`RequestError::Refused`] when it has none; else see [`Handle`].
    pub async fn resize(&self, name: String, rows: u16, columns: u16) -> Result<(), RequestError> {
        self.ask(|reply| Request::Resize(name, (rows, columns), reply))
            .await
    }

    /// Waits until every named service is as asked; `timeout` of `None` waits for ever.
    ///
    /// The report's outcomes are not `ok` where that can no longer come about (a service that has
    /// `failed` will not become ready by itself).
    ///
    /// # Errors
    /// [`RequestError::TimedOut`]; else see [`Handle`].
    pub async fn wait(
        &self,
        names: Vec<String>,
        what: WaitFor,
        timeout: Option<Duration>,
    ) -> Result<Report, RequestError> {
        let asked = self.ask(|reply| Request::Wait(names.clone(), what, reply));
        let Some(after) = timeout else {
            return asked.await;
        };
        match tokio::time::timeout(after, asked).await {
            Ok(report) => report,
            Err(_) => Err(RequestError::TimedOut {
                after,
                what: names.join(", "),
            }),
        }
    }

    /// Returns a service and its last transitions, at most `last` of them.
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn why(&self, name: String, last: usize) -> Result<Why, RequestError> {
        self.ask(|reply| Request::Why(name, last, reply)).await
    }

    /// Returns what [`apply`](Self::apply) would do; empty when there is nothing to do.
    ///
    /// # Errors
    /// See [`Handle`].
    pub async fn plan(&self, project: Project) -> Result<Vec<PlanEntry>, RequestError> {
        self.ask(|reply| Request::Plan(Box::new(project), reply))
            .await
    }

    /// Makes `project` the configuration, touching only what differs. All or nothing: a project
    /// that cannot be carried out changes nothing.
    ///
    /// # Errors
    /// [`RequestError::Refused`] with the reason; else see [`Handle`].
    pub async fn apply(
        &self,
        project: Project,
        who: Who,
    ) -> Result<(Vec<PlanEntry>, Report), RequestError> {
        self.ask(|reply| Request::Apply(Box::new(project), who, reply))
            .await
    }

    /// Records something about the project as an event: its kind in one word, and what it is.
    ///
    /// # Errors
    /// [`RequestError::Gone`].
    pub async fn tell(&self, kind: &str, detail: String) -> Result<(), RequestError> {
        self.ask(|reply| Request::Tell(kind.to_owned(), detail, reply))
            .await
    }

    /// Stops everything, dependents first, and then ends the supervisor. A second call while one
    /// is under way hastens it by its options; both get the report.
    ///
    /// # Errors
    /// [`RequestError::Gone`].
    pub async fn down(&self, options: StopOptions, who: Who) -> Result<Report, RequestError> {
        self.ask(|reply| Request::Down(options, who, reply)).await
    }

    /// Ends the supervisor without touching a service, for its upgrade. The records are on disk
    /// when this returns.
    ///
    /// # Errors
    /// [`RequestError::Gone`].
    pub async fn leave(&self) -> Result<(), RequestError> {
        self.ask(Request::Leave).await
    }

    /// Returns the transitions after number `since` (`None`: only new ones), and goes on with each
    /// new one.
    ///
    /// # Errors
    /// [`RequestError::Gone`].
    pub async fn events(&self, since: Option<u64>) -> Result<EventStream, RequestError> {
        let events = self.ask(|reply| Request::Events(since, reply)).await?;
        Ok(EventStream {
            handle: self.clone(),
            backlog: events.backlog.into(),
            live: events.live,
            last: events.after,
        })
    }

    /// Returns how the project ended, once it has.
    pub async fn finished(&self) -> Finished {
        let mut finished = self.finished.clone();
        match finished.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().expect("waited for it to be there"),
            // The driver went without a word: its runtime was shut down.
            Err(_) => Finished {
                code: 1,
                service: None,
                reason: "the supervisor was dropped".to_owned(),
                survivors: Vec::new(),
            },
        }
    }
}

/// Transitions in order, without a gap.
#[derive(Debug)]
pub struct EventStream {
    handle: Handle,
    backlog: std::collections::VecDeque<Event>,
    live: broadcast::Receiver<Event>,
    /// The number up to which everything was returned, or is not wanted.
    last: u64,
}

impl EventStream {
    /// Returns the next transition, or `None` after the supervisor has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.backlog.pop_front() {
                self.last = event.seq;
                return Some(event);
            }
            match self.live.recv().await {
                Ok(event) if event.seq <= self.last => {}
                Ok(event) => {
                    self.last = event.seq;
                    return Some(event);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
                // A slow reader lost its place in the live stream; the journal has the rest.
                Err(broadcast::error::RecvError::Lagged(_)) => self.resume().await?,
            }
        }
    }

    /// Returns what can be had without waiting.
    pub fn try_next(&mut self) -> Option<Event> {
        use broadcast::error::TryRecvError;
        let event = match self.backlog.pop_front() {
            Some(event) => event,
            None => loop {
                match self.live.try_recv() {
                    Ok(event) if event.seq <= self.last => {}
                    Ok(event) => break event,
                    // What was missed is in the journal, for which one has to wait: better none than a gap.
                    Err(TryRecvError::Lagged(_) | TryRecvError::Empty | TryRecvError::Closed) => {
                        return None;
                    }
                }
            },
        };
        self.last = event.seq;
        Some(event)
    }

    async fn resume(&mut self) -> Option<()> {
        let since = Some(self.last);
        let asked = self.handle.ask(|reply| Request::Events(since, reply)).await;
        let events = asked.ok()?;
        self.backlog = events.backlog.into();
        self.live = events.live;
        Some(())
    }
}

//! From the first start to the exit code: the timeout, the signals, the events.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use proc_backends::{Console, NativeBackend, NativeOptions};
use proc_core::Signal;
use proc_spec::Project;
use proc_supervisor::{
    Begin, Event, EventStream, Grace, Handle, Options, State, StopOptions, Supervisor,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::pid_file::CommandPid;
use super::signals::{Asked, Signals};
use super::state::PrivateState;
use super::{Args, Mode};
use crate::context::{Context, environment};
use crate::engine::who;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render::{self, LineStyle};
use crate::sources::Source;
use crate::verbs::up::Copier;

/// Completes when nobody reads our stdout any more.
type Deaf = tokio::sync::oneshot::Receiver<()>;

/// How long a start that is under way gets before a signal is tried again.
const SOON: Duration = Duration::from_millis(5);

/// Runs the command to its end and returns its exit code.
pub(super) fn run(
    context: &Context,
    args: &Args,
    project: Project,
    state: &PrivateState,
) -> Outcome {
    let pid_file = args
        .pid_file
        .as_deref()
        .map(CommandPid::claim)
        .transpose()?;
    context.block_on(async {
        let mut signals =
            Signals::catch().map_err(|error| CliError::chain(exit::NOT_RUN, &error))?;
        let (copier, deaf) = copier(args, &project, state)?.unzip();
        let start_seconds = project.services[0].restart.startup_grace;
        let (begun, pids) = mpsc::unbounded_channel();
        let handle = start(args, project, state, begun).await?;
        let events = handle
            .events(Some(0))
            .await
            .map_err(|error| CliError::chain(exit::NOT_RUN, &error))?;
        let mut run = Run {
            context,
            args,
            handle,
            pid_file,
            pids,
            end: End::default(),
            timed_out: false,
            start_seconds,
            early: Vec::new(),
        };
        run.until_finished(&mut signals, events, deaf).await;
        let copied = copier.map_or(Ok(()), Copier::finish);
        let code = run.code();
        copied.map(|()| code)
    })
}

async fn start(
    args: &Args,
    project: Project,
    state: &PrivateState,
    begun: mpsc::UnboundedSender<u32>,
) -> Result<Handle, CliError> {
    let not_run = |error: &(dyn std::error::Error + 'static)| CliError::chain(exit::NOT_RUN, error);
    let name = project.name.clone();
    let console = Some(Arc::new(console(args, state, begun)?));
    let native =
        NativeOptions::new(state.path(), &state.runtime()).map_err(|error| not_run(&error))?;
    let backend =
        NativeBackend::new(NativeOptions { console, ..native }).map_err(|error| not_run(&error))?;
    let options = Options {
        env: environment(),
        foreground: true,
        begin: Begin::ByHand(Vec::new()),
        who: who("run"),
        exit_with: vec![name],
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Options::new(project, state.path().to_owned(), vec![Arc::new(backend)])
    };
    Supervisor::start(options)
        .await
        .map_err(|error| not_run(&error))
}

/// Where the command's streams go: ours, unless something has to be done to its output.
fn console(
    args: &Args,
    state: &PrivateState,
    begun: mpsc::UnboundedSender<u32>,
) -> Result<Console, CliError> {
    let ours = |fd: io::Result<OwnedFd>| {
        fd.map(Some)
            .map_err(|error| CliError::chain(exit::NOT_RUN, &error))
    };
    let (stdout, stderr) = match &args.output {
        Some(path) => {
            let file = append(path)?;
            (
                ours(file.try_clone().map(OwnedFd::from))?,
                Some(OwnedFd::from(file)),
            )
        }
        None if is_copied(args) => (None, None),
        None => (
            ours(io::stdout().as_fd().try_clone_to_owned())?,
            ours(io::stderr().as_fd().try_clone_to_owned())?,
        ),
    };
    let stdin = ours(io::stdin().as_fd().try_clone_to_owned())?;
    Ok(Console {
        stdin,
        stdout,
        stderr,
        keep_session: args.foreground,
        spares_background: args.detach_allowed,
        scratch: Some(state.path().to_owned()),
        begun: Some(begun),
        argv: args.command.clone(),
        env: if args.clear_env {
            Vec::new()
        } else {
            beyond_text()
        },
    })
}

/// Returns the variables of our own that a configuration cannot hold, as they are not UTF-8.
fn beyond_text() -> Vec<(OsString, OsString)> {
    std::env::vars_os()
        .filter(|(name, value)| name.to_str().is_none() || value.to_str().is_none())
        .collect()
}

fn append(path: &std::path::Path) -> Result<File, CliError> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            CliError::new(
                exit::NOT_RUN,
                format!("cannot append to `{}`: {error}", path.display()),
            )
        })
}

/// Tells whether the output goes by a log to us: each line gets something in front, or a probe waits for one.
fn is_copied(args: &Args) -> bool {
    args.prefix || args.timestamps || args.ready_log.is_some()
}

/// Copies the output: line by line where each line gets something in front, else as it is.
fn copier(
    args: &Args,
    project: &Project,
    state: &PrivateState,
) -> Result<Option<(Copier, Deaf)>, CliError> {
    if !is_copied(args) {
        return Ok(None);
    }
    let dir = state.path().join("log");
    let not_run = |error: io::Error| CliError::chain(exit::NOT_RUN, &error);
    std::fs::create_dir_all(&dir).map_err(not_run)?;
    let source = Source {
        instance: project.name.clone(),
        shown: project.name.clone(),
        service: project.name.clone(),
        dir,
    };
    let style = LineStyle {
        prefix: args.prefix,
        timestamps: args.timestamps,
    };
    let started = if args.prefix || args.timestamps {
        Copier::start(&[source], style)
    } else {
        Copier::raw(&[source])
    };
    started.map(Some).map_err(not_run)
}

/// What is known of the command's end.
#[derive(Debug, Default)]
struct End {
    /// As a shell would say it.
    code: Option<u8>,
    /// Why it never ran.
    not_run: Option<String>,
    killed: bool,
    /// Whether it never ran because of one of its hooks.
    refused: bool,
}

struct Run<'a> {
    context: &'a Context,
    args: &'a Args,
    handle: Handle,
    pid_file: Option<CommandPid>,
    /// Pids of runs that have begun: events tell of a run only when it counts as started, or has ended.
    pids: mpsc::UnboundedReceiver<u32>,
    end: End,
    timed_out: bool,
    start_seconds: Duration,
    /// Signals that came while the command was being started.
    early: Vec<Signal>,
}

impl Run<'_> {
    async fn until_finished(
        &mut self,
        signals: &mut Signals,
        mut events: EventStream,
        mut deaf: Option<Deaf>,
    ) {
        let mut deadline = self
            .args
            .timeout
            .and_then(|limit| limit.0)
            .map(|limit| Instant::now() + limit);
        loop {
            tokio::select! {
                biased;
                Some(pid) = self.pids.recv() => self.begun(pid),
                event = events.next() => match event {
                    Some(event) => self.note(&event),
                    None => break,
                },
                asked = signals.next() => match asked {
                    Asked::Stop(options) => self.stop(options),
                    Asked::Forward(signal) => self.forward(signal).await,
                    Asked::Suspend => {
                        let slept = self.suspend().await;
                        deadline = deadline.map(|at| at + slept);
                    }
                },
                () = broken(&mut deaf) => self.stop(StopOptions {
                    // What it would have got from the pipe itself.
                    signal: Some(Signal::PIPE),
                    ..StopOptions::default()
                }),
                () = at(deadline), if !self.timed_out => self.time_out(),
                () = tokio::time::sleep(SOON), if !self.early.is_empty() => self.deliver_early().await,
            }
        }
        let finished = self.handle.finished().await;
        render::survivors(&finished.survivors);
        if self.end.refused {
            self.end.code = None;
        } else if self.end.not_run.is_some() {
            self.end.code = u8::try_from(finished.code).ok();
        }
    }

    fn time_out(&mut self) {
        self.timed_out = true;
        let grace = Some(Grace::from(self.args.grace.0));
        self.stop(StopOptions {
            signal: Some(self.args.signal),
            grace,
            ..StopOptions::default()
        });
    }

    fn stop(&self, mut options: StopOptions) {
        options.grace = options.grace.or(Some(Grace::from(self.args.grace.0)));
        let handle = self.handle.clone();
        tokio::spawn(async move { handle.down(options, who("run")).await });
    }

    /// Passes a signal on to the command's process group, or keeps it until there is one.
    async fn forward(&mut self, signal: Signal) {
        match self.leader().await {
            // It may have ended this very moment; its exit tells.
            Some(leader) => _ = leader.signal_group(signal),
            None => self.early.push(signal),
        }
    }

    async fn deliver_early(&mut self) {
        for signal in std::mem::take(&mut self.early) {
            self.forward(signal).await;
        }
    }

    /// Stops the command and then ourselves, and returns how long that lasted: our timers stood still.
    async fn suspend(&mut self) -> Duration {
        if !self.args.foreground {
            self.forward(Signal::TSTP).await;
            self.forward(Signal::STOP).await;
        }
        let before = Instant::now();
        // Returns when somebody continues us.
        _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
        if !self.args.foreground {
            self.forward(Signal::CONT).await;
        }
        before.elapsed()
    }

    async fn leader(&self) -> Option<proc_core::ProcessHandle> {
        let status = self.handle.status().await.ok()?;
        let instance = status.services.first()?.instances.first()?;
        instance.identity.as_ref()?.open().ok()
    }

    fn begun(&mut self, pid: u32) {
        if let Some(pid_file) = &mut self.pid_file {
            pid_file.follow(pid);
        }
    }

    fn note(&mut self, event: &Event) {
        if self.context.globals.json {
            render::json_note(event);
        }
        if let Some(exit) = &event.exit {
            if event.to == Some(State::Backoff) && self.had_started(exit.runtime_ms) {
                self.stop(StopOptions::default());
            }
            self.end.code = Some(exit::of_command(exit.code, exit.signal));
            self.end.killed = exit.signal == Some(Signal::KILL.raw());
            self.end.not_run = exit
                .run
                .is_none()
                .then(|| event.cause.detail.clone())
                .flatten();
        }
        if event.exit.is_none()
            && matches!(
                event.to,
                Some(State::Failed | State::Exited | State::Backoff)
            )
        {
            self.end.not_run = event.cause.detail.clone();
            self.end.refused = event.cause.kind == "hook";
        }
    }

    /// Tells whether a run under `--retry` alone got beyond its start: then it is not tried again.
    fn had_started(&self, runtime_ms: u64) -> bool {
        self.args.restart == Mode::Never && u128::from(runtime_ms) >= self.start_seconds.as_millis()
    }

    fn code(&self) -> u8 {
        if let Some(reason) = &self.end.not_run {
            render::error_line(reason);
        } else if self.end.code.is_none() {
            let why = if self.timed_out {
                "timed out"
            } else {
                "stopped"
            };
            render::error_line(&format!("{why} before the command was started"));
        }
        match self.end.code {
            None if self.timed_out => exit::TIMED_OUT,
            None => exit::NOT_RUN,
            Some(code) if !self.timed_out || self.args.preserve_status => code,
            Some(_) if self.end.killed => exit::of_command(None, Some(Signal::KILL.raw())),
            Some(_) => exit::TIMED_OUT,
        }
    }
}

/// Waits until nobody reads our stdout any more; then never again.
async fn broken(deaf: &mut Option<Deaf>) {
    if let Some(waiting) = deaf
        && waiting.await.is_ok()
    {
        *deaf = None;
        return;
    }
    *deaf = None;
    std::future::pending().await
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

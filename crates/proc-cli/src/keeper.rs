//! The shim that keeps a detached supervisor: killed, the supervisor is back within moments.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_core::{Readiness, Signal, StopSequence};
use proc_output::LogOptions;
use proc_shim::{
    Client, Exited, Failure, LaunchOptions, Notice, Reply, Request, Respawn, Role, ShimProcess,
    ShimProgram, Snapshot, StartSpec,
};

use crate::context::Place;
use crate::error::CliError;
use crate::exit;

/// The keeper's name among shims, and the name of its log.
pub(crate) const INSTANCE: &str = "supervisor";

/// How long a shim may take to answer; it does nothing else meanwhile.
const ANSWER: Duration = Duration::from_secs(10);

/// How long the supervisor may take to leave before it is killed.
const GRACE: Duration = Duration::from_secs(5);

/// What the keeper runs.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) argv: Vec<OsString>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) cwd: PathBuf,
}

/// A connection to the keeper.
#[derive(Debug)]
pub(crate) struct Keeper {
    client: Client,
    snapshot: Snapshot,
}

impl Keeper {
    /// Connects to the project's keeper, if there is one.
    pub(crate) fn find(place: &Place) -> Option<Keeper> {
        let client = Client::connect(&place.keeper_socket()).ok()?;
        Keeper::greet(client).ok()
    }

    /// Returns how often the keeper that listens on `socket` has started its supervisor again; `None` without one.
    pub(crate) fn respawns(socket: &Path) -> Option<u32> {
        let mut client = Client::connect(socket).ok()?;
        let hello = Request::Hello {
            role: Role::Observer,
        };
        match client.call(&hello, Vec::new(), Some(ANSWER)).ok()? {
            (Reply::Snapshot(snapshot), _) => Some(snapshot.respawns),
            _ => None,
        }
    }

    /// Returns the keeper that lives, or starts one.
    pub(crate) fn find_or_launch(place: &Place) -> Result<Keeper, CliError> {
        if let Some(keeper) = Keeper::find(place) {
            return Ok(keeper);
        }
        Keeper::launch(place).map_err(|error| {
            CliError::new(
                exit::NOT_RUN,
                format!("cannot start the supervisor's shim: {error}"),
            )
        })
    }

    fn launch(place: &Place) -> io::Result<Keeper> {
        let dir = place.keeper_dir();
        std::fs::create_dir_all(&dir)?;
        let options = LaunchOptions {
            instance: INSTANCE.to_owned(),
            dir: dir.clone(),
            socket: place.keeper_socket(),
            log_dir: dir,
            keep_session: false,
            scratch: None,
        };
        let program = ShimProgram::find(&std::env::current_exe()?);
        let shim = ShimProcess::launch(&program, &options)?;
        Keeper::greet(Client::new(shim.socket))
    }

    fn greet(mut client: Client) -> io::Result<Keeper> {
        match client.call(
            &Request::Hello {
                role: Role::Controller,
            },
            Vec::new(),
            Some(ANSWER),
        )? {
            (Reply::Snapshot(snapshot), _) => Ok(Keeper {
                client,
                snapshot: *snapshot,
            }),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Returns the pid of the supervisor, or of the shim that is about to start it again.
    pub(crate) fn pid(&self) -> u32 {
        let supervisor = self
            .snapshot
            .running
            .as_ref()
            .map(|running| running.identity.pid);
        let shim = self.snapshot.shim.as_ref().map(|shim| shim.pid);
        supervisor.or(shim).unwrap_or(0)
    }

    /// Returns whether it is keeping a supervisor, and not merely left over from one.
    pub(crate) fn is_busy(&self) -> bool {
        let ended_well = self
            .snapshot
            .exited
            .as_ref()
            .is_some_and(|exited| exited.end.is_some_and(|end| end.code() == Some(0)));
        self.snapshot.running.is_some() || (self.snapshot.exited.is_some() && !ended_well)
    }

    /// Starts the supervisor.
    pub(crate) fn start(&mut self, command: Command) -> Result<(), CliError> {
        let Command { argv, env, cwd } = command;
        let spec = StartSpec {
            argv,
            env,
            cwd,
            log: LogOptions {
                merge: true,
                max_size: Some(1 << 20),
                keep: Some(2),
                ..LogOptions::default()
            },
            respawn: Some(Respawn::default()),
            last_run: self.snapshot.last_run,
            ..StartSpec::default()
        };
        match self.call(&Request::Start(Box::new(spec)), ANSWER)? {
            Reply::Failed(Failure {
                what, value, errno, ..
            }) => {
                let cause = io::Error::from_raw_os_error(errno);
                let text = format!("cannot start the supervisor: {what} `{value}`: {cause}");
                Err(CliError::new(exit::NOT_RUN, text))
            }
            _ => Ok(()),
        }
    }

    /// Ends the supervisor, if it lives, and the keeper; services are not touched.
    pub(crate) fn end(mut self) -> Result<(), CliError> {
        let sequence = StopSequence::graceful(Signal::TERM, Some(GRACE));
        let answer = self.call(
            &Request::Stop {
                sequence,
                tier: None,
                group: false,
            },
            GRACE + ANSWER,
        )?;
        if let Reply::Stopped(report) = answer
            && let Some(survivor) = report.survivors.first()
        {
            let text = format!("the supervisor survives: {survivor}");
            return Err(CliError::new(exit::SURVIVORS, text));
        }
        // It ends by itself now that nothing is left to keep; one that kept nothing is told.
        let _ = self.call(&Request::Exit, ANSWER);
        self.until_gone();
        Ok(())
    }

    /// Waits for the end of a keeper that has nothing left to keep.
    pub(crate) fn until_gone(mut self) {
        while self.client.notice(Some(ANSWER)).is_ok() {}
    }

    /// Waits for the supervisor's end and returns it.
    pub(crate) async fn ended(&mut self) -> io::Result<Exited> {
        let readable = Readiness::new(self.client.as_fd().try_clone_to_owned()?)?;
        loop {
            match self.client.notice(Some(Duration::ZERO)) {
                Ok(Notice::Exited(exited)) => return Ok(exited),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    readable.readable().await?
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn call(&mut self, request: &Request, timeout: Duration) -> Result<Reply, CliError> {
        let answer = self.client.call(request, Vec::new(), Some(timeout));
        answer.map(|(reply, _)| reply).map_err(|error| {
            CliError::new(
                exit::FAILED,
                format!("the supervisor's shim does not answer: {error}"),
            )
        })
    }
}

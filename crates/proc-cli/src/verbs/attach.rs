//! `proc attach NAME`: this terminal joined to a service's input and output.

mod keys;
mod terminal;

use std::io::Read as _;

use proc_api::{Client, ClientError};
use proc_supervisor::{Event, EventExit, InstanceStatus, ProjectStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use self::keys::{Keys, Typed};
use self::terminal::Terminal;
use super::logs::sources;
use super::up::Copier;
use crate::context::{Context, Place};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::select;
use crate::sources::Source;

/// How much may be typed ahead of a service that does not read, in bytes.
const MOST_UNSENT: usize = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service or instance
    #[arg(value_name = "NAME")]
    name: String,
    /// Only watch its output
    #[arg(long)]
    no_stdin: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let place = context.place()?;
    let logs = sources::select(context, &place, std::slice::from_ref(&args.name))?;
    context.block_on(attach(context, &place, args, logs))
}

async fn attach(context: &Context, place: &Place, args: &Args, logs: Vec<Source>) -> Outcome {
    let client = context.client(place);
    let failure = |error: ClientError| context.failure(place, error);
    // Asked for before the state is looked at, so that no exit falls between the two.
    let mut events = client.events(None, true).await.map_err(failure)?;
    let instance = one_running(&client.status().await.map_err(failure)?, &args.name)?;
    let logs: Vec<Source> = logs
        .into_iter()
        .filter(|log| log.shown == instance)
        .collect();
    let (copier, mut deaf) = Copier::raw(&logs)?;
    let mut typing = Typing::begin(&client, &instance, args, context.globals.quiet).await?;
    let mut sending = None;
    let end = loop {
        if sending.is_none() && !typing.text.is_empty() {
            let text = std::mem::take(&mut typing.text);
            let (client, instance) = (&client, &instance);
            sending = Some(Box::pin(async move {
                client.send(instance, &text, false).await
            }));
        } else if sending.is_none() && typing.over {
            break None;
        }
        tokio::select! {
            event = events.next() => match event {
                Ok(Some(event)) => if let Some(exit) = exit_of(event, &instance) {
                    break Some(exit);
                },
                // The supervisor is replaced, and the service lives on.
                _ => events = client.events(None, true).await.map_err(failure)?,
            },
            told = typing.next() => match told {
                Told::Text => {}
                Told::Detach => break None,
                Told::Resized(rows, columns) => {
                    client.resize(&instance, rows, columns).await.map_err(failure)?;
                }
            },
            sent = finished(&mut sending) => {
                sending = None;
                match sent {
                    Ok(()) => {}
                    // It closed its input, and may write on.
                    Err(ClientError::Refused(_)) => typing.unread = true,
                    Err(error) => return Err(failure(error)),
                }
            }
            _ = &mut deaf => break None,
        }
    };
    let copied = copier.finish();
    drop(typing);
    copied?;
    // As if it had run here; one that was left running is no failure.
    Ok(end.map_or(exit::OK, |end| exit::of_command(end.code, end.signal)))
}

/// Returns the name of the one live instance that is meant.
fn one_running(status: &ProjectStatus, name: &str) -> Result<String, CliError> {
    let named = |service: &str, instance: &InstanceStatus| service == name || instance.name == name;
    let found: Vec<&InstanceStatus> = status
        .services
        .iter()
        .flat_map(|service| {
            service
                .instances
                .iter()
                .map(move |one| (&service.name, one))
        })
        .filter(|(service, instance)| named(service, instance))
        .map(|(_, instance)| instance)
        .collect();
    match found[..] {
        [] => Err(select::unknown(name)),
        [one] if one.pid.is_some() => Ok(one.name.clone()),
        [one] => {
            let text = format!("`{}` is {}", one.name, one.state);
            Err(CliError::new(exit::FAILED, text).hint(format!("proc start {name}")))
        }
        [first, ..] => {
            let text = format!("`{name}` is {} instances; name one of them", found.len());
            Err(CliError::new(exit::FAILED, text).hint(format!("proc attach {}", first.name)))
        }
    }
}

/// Returns how the instance ended, if that is what the event tells.
fn exit_of(event: Event, instance: &str) -> Option<EventExit> {
    event
        .exit
        .filter(|_| event.instance.as_deref() == Some(instance))
}

/// Completes when what is there does; without anything, never.
async fn finished<F: Future + Unpin>(what: &mut Option<F>) -> F::Output {
    match what {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// What is typed here, and what our own terminal and callers tell.
struct Typing {
    /// Raw, and put back when dropped; only when the service's input is a terminal too.
    terminal: Option<Terminal>,
    keys: Keys,
    bytes: Option<mpsc::Receiver<Vec<u8>>>,
    /// What was typed and not passed on yet.
    text: String,
    /// Nothing more will be typed.
    over: bool,
    /// The service reads no more.
    unread: bool,
    resized: Signal,
    ended: [Signal; 3],
}

/// What [`Typing::next`] tells.
enum Told {
    /// There may be text to pass on.
    Text,
    /// Our terminal's height and width have changed.
    Resized(u16, u16),
    /// Somebody wants out.
    Detach,
}

impl Typing {
    async fn begin(
        client: &Client,
        instance: &str,
        args: &Args,
        quiet: bool,
    ) -> Result<Typing, CliError> {
        let takes_input = !args.no_stdin && client.send(instance, "", false).await.is_ok();
        // Refused where its input is a pipe: then our terminal goes on line by line.
        let joined = match takes_input.then(Terminal::size).flatten() {
            Some((rows, columns)) => client.resize(instance, rows, columns).await.is_ok(),
            None => false,
        };
        if Terminal::size().is_some() && !quiet {
            let keys = if joined { "Ctrl-P Ctrl-Q" } else { "Ctrl-C" };
            crate::render::note(&format!("attached to {instance}; {keys} detaches"));
        }
        let terminal = joined.then(Terminal::raw).transpose()?;
        Ok(Typing {
            keys: Keys::new(terminal.is_some()),
            terminal,
            bytes: takes_input.then(read_stdin).transpose()?,
            text: String::new(),
            over: false,
            unread: false,
            resized: signal(SignalKind::window_change())?,
            ended: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }

    /// Waits for the next thing. Dropping the future loses nothing.
    async fn next(&mut self) -> Told {
        let [interrupt, terminate, hangup] = &mut self.ended;
        let bytes = async {
            match &mut self.bytes {
                Some(bytes) if self.text.len() < MOST_UNSENT => bytes.recv().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            bytes = bytes => self.take(bytes),
            _ = self.resized.recv() => match (&self.terminal, Terminal::size()) {
                (Some(_), Some((rows, columns))) => Told::Resized(rows, columns),
                _ => Told::Text,
            },
            _ = interrupt.recv() => Told::Detach,
            _ = terminate.recv() => Told::Detach,
            _ = hangup.recv() => Told::Detach,
        }
    }

    fn take(&mut self, bytes: Option<Vec<u8>>) -> Told {
        let Some(bytes) = bytes else {
            self.bytes = None;
            self.over = true;
            return Told::Text;
        };
        let Typed { text, detach } = self.keys.typed(&bytes);
        if !self.unread {
            self.text.push_str(&text);
        }
        if detach { Told::Detach } else { Told::Text }
    }
}

/// Reads our standard input in a thread of its own, which ends with the process.
fn read_stdin() -> std::io::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::Builder::new()
        .name("input".to_owned())
        .spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut buffer) {
                if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        })?;
    Ok(receiver)
}

//! The usual moment to stop.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use proc_core::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Being told to end: a future that is done with the first of SIGTERM, SIGINT and SIGQUIT.
#[derive(Debug)]
#[must_use = "it is done when it is awaited"]
pub struct Termination(Vec<(Signal, unix::Signal)>);

/// Listens for SIGTERM, SIGINT and SIGQUIT from now on: none of them ends the process any more.
/// Must be called within a tokio runtime.
///
/// # Errors
/// What the system says about the handlers.
pub fn terminated() -> io::Result<Termination> {
    let listen = |signal: Signal| {
        unix::signal(SignalKind::from_raw(signal.raw())).map(|stream| (signal, stream))
    };
    let signals = [Signal::TERM, Signal::INT, Signal::QUIT];
    Ok(Termination(
        signals.into_iter().map(listen).collect::<Result<_, _>>()?,
    ))
}

impl Future for Termination {
    type Output = Signal;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Signal> {
        for (signal, stream) in &mut self.0 {
            if stream.poll_recv(cx).is_ready() {
                return Poll::Ready(*signal);
            }
        }
        Poll::Pending
    }
}

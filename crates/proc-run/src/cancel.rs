//! A cancellation that can be asked again after it has happened.

use std::pin::Pin;
use std::task::{Context, Poll};

/// A future that stays done.
pub(crate) struct Fuse<F> {
    future: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> Fuse<F> {
    pub(crate) fn new(future: F) -> Self {
        Fuse {
            future: Some(Box::pin(future)),
        }
    }
}

impl<F: Future<Output = ()>> Future for Fuse<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else {
            return Poll::Ready(());
        };
        let polled = future.as_mut().poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }
}

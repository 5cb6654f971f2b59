//! Response bodies: one JSON document, or JSON lines as they come.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// How many lines wait for a slow reader before the sender waits too.
const QUEUE: usize = 64;

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Reply {
    /// All of it at once.
    Whole(Option<Bytes>),
    /// Line by line until the sender is dropped.
    Lines(mpsc::Receiver<Bytes>),
}

impl Reply {
    /// Makes a body of one piece.
    pub(crate) fn whole(bytes: Vec<u8>) -> Reply {
        Reply::Whole(Some(bytes.into()))
    }

    /// Makes a body that grows, and the end to write to.
    pub(crate) fn lines() -> (mpsc::Sender<Bytes>, Reply) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (sender, Reply::Lines(receiver))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Reply::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Reply::Lines(lines) => lines
                .poll_recv(context)
                .map(|line| line.map(|line| Ok(Frame::data(line)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Reply::Whole(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Reply::Whole(bytes) => hyper::body::SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            ),
            Reply::Lines(_) => hyper::body::SizeHint::default(),
        }
    }
}

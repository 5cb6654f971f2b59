//! Both outputs of a command as one asynchronous stream of lines.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncRead;

use crate::options::Stream;
use crate::split::{Lines, OwnedLine};

/// The lines of standard output and standard error as they come, each with where it came from; the
/// asynchronous twin of [`Streams::lines`](crate::Streams::lines).
///
/// Ends when both have ended. Neither can starve the other.
#[derive(Debug)]
pub struct BothLines<O, E> {
    stdout: Option<Lines<O>>,
    stderr: Option<Lines<E>>,
    /// Whose turn it is to be asked first.
    stderr_first: bool,
}

impl<O: AsyncRead + Unpin, E: AsyncRead + Unpin> BothLines<O, E> {
    /// Returns the lines of both, each piece at most `max` bytes long.
    pub fn new(stdout: O, stderr: E, max: usize) -> Self {
        Self {
            stdout: Some(Lines::new(stdout, max)),
            stderr: Some(Lines::new(stderr, max)),
            stderr_first: false,
        }
    }

    /// Returns the next line of either, or `None` when both have ended. Dropping the future loses no byte.
    ///
    /// # Errors
    ///
    /// What reading meets; the other stream can be read on.
    pub async fn next_line(&mut self) -> io::Result<Option<(Stream, OwnedLine)>> {
        let next = std::future::poll_fn(|context| self.poll_line(context)).await;
        next.transpose()
    }

    fn poll_line(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<(Stream, OwnedLine)>>> {
        self.stderr_first = !self.stderr_first;
        for stderr in [self.stderr_first, !self.stderr_first] {
            let polled = if stderr {
                poll_one(&mut self.stderr, Stream::Stderr, context)
            } else {
                poll_one(&mut self.stdout, Stream::Stdout, context)
            };
            if polled.is_ready() {
                return polled;
            }
        }
        if self.stdout.is_none() && self.stderr.is_none() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    }
}

/// Asks one of them; one that has ended or failed is forgotten, and pending ever after.
fn poll_one<R: AsyncRead + Unpin>(
    lines: &mut Option<Lines<R>>,
    stream: Stream,
    context: &mut Context<'_>,
) -> Poll<Option<io::Result<(Stream, OwnedLine)>>> {
    let Some(some) = lines else {
        return Poll::Pending;
    };
    match some.poll_line(context) {
        Poll::Pending => Poll::Pending,
        Poll::Ready(Some(Ok(line))) => Poll::Ready(Some(Ok((stream, line)))),
        Poll::Ready(Some(Err(error))) => {
            *lines = None;
            Poll::Ready(Some(Err(error)))
        }
        Poll::Ready(None) => {
            *lines = None;
            Poll::Pending
        }
    }
}

impl<O: AsyncRead + Unpin, E: AsyncRead + Unpin> futures_core::Stream for BothLines<O, E> {
    type Item = io::Result<(Stream, OwnedLine)>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_line(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn both_streams_come_tagged_to_their_last_unterminated_line() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (out, mut to_out) = tokio::io::duplex(16);
            let (err, mut to_err) = tokio::io::duplex(16);
            let writing = tokio::spawn(async move {
                for n in 0..1000 {
                    to_err
                        .write_all(format!("err {n}\n").as_bytes())
                        .await
                        .unwrap();
                }
                drop(to_err);
                to_out.write_all(b"out\nlast").await.unwrap();
            });
            let mut lines = BothLines::new(out, err, 100);
            let mut counts = (0, Vec::new());
            while let Some((stream, line)) = lines.next_line().await.unwrap() {
                match stream {
                    Stream::Stderr => counts.0 += 1,
                    _ => counts.1.push(line.bytes),
                }
            }
            writing.await.unwrap();
            assert_eq!(counts, (1000, vec![b"out\n".to_vec(), b"last".to_vec()]));
        });
    }
}

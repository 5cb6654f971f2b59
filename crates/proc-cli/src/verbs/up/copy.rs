//! Copies what the services write to our own stdout and stderr.
//!
//! A thread of its own does it: whoever reads us may be slow or stopped, and the supervisor must
//! not wait for that. The log files are what it reads, so no byte is lost meanwhile.

use std::io::{self, BufWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use proc_output::Stream;
use proc_output::read::{Entry, Follow, LogReader, Query};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::oneshot;

use crate::error::CliError;
use crate::exit;
use crate::render::{LineStyle, LogPrinter};
use crate::sources::Source;

/// How long the last lines may take to be read before they are given up.
const FAREWELL: Duration = Duration::from_secs(5);

/// The copying thread.
pub(crate) struct Copier {
    more: mpsc::Sender<Source>,
    /// Closing it tells the thread to copy the rest and end; a byte in it, to look at `more`.
    wake: OwnedFd,
    done: mpsc::Receiver<io::Result<()>>,
    _thread: JoinHandle<()>,
}

impl Copier {
    /// Starts copying what is written from now on. The second value completes when nobody reads
    /// our stdout any more, or it cannot be written.
    pub(crate) fn start(
        logs: &[Source],
        style: LineStyle,
    ) -> io::Result<(Copier, oneshot::Receiver<()>)> {
        Copier::spawn(logs, Printer::new(logs, style), None)
    }

    /// As [`start`](Copier::start), but the bytes as they are and as soon as they are there.
    pub(crate) fn raw(logs: &[Source]) -> io::Result<(Copier, oneshot::Receiver<()>)> {
        Copier::spawn(logs, Printer::raw(), Some(Duration::ZERO))
    }

    fn spawn(
        logs: &[Source],
        printer: Printer,
        line_time: Option<Duration>,
    ) -> io::Result<(Copier, oneshot::Receiver<()>)> {
        let mut reader = LogReader::new();
        for Source { dir, instance, .. } in logs {
            reader.add(dir, instance)?;
        }
        let from_now = Query {
            tail: Some(0),
            ..Query::default()
        };
        let mut follow = reader.follow(&from_now)?;
        if let Some(time) = line_time {
            follow.set_line_time(time);
        }
        let (woken, wake) = io::pipe()?;
        let (woken, wake) = (OwnedFd::from(woken), OwnedFd::from(wake));
        let (more, added) = mpsc::channel();
        let (say_done, done) = mpsc::channel();
        let (say_deaf, deaf) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || {
                let copied = copy(follow, &woken, &added, printer);
                if copied.is_err() {
                    // The receiver has gone when the project has ended meanwhile.
                    let _ = say_deaf.send(());
                }
                let _ = say_done.send(copied);
            })?;
        Ok((
            Copier {
                more,
                wake,
                done,
                _thread: thread,
            },
            deaf,
        ))
    }

    /// Copies one more instance's log from its beginning.
    pub(crate) fn add(&self, log: Source) {
        // Either fails only when the thread has ended because nobody reads.
        let _ = self.more.send(log);
        let _ = rustix::io::write(&self.wake, b"+");
    }

    /// Copies what is left, then returns; a reader that does not read is given 5 s.
    ///
    /// # Errors
    ///
    /// Code 1 when it cannot be written. A reader that has gone is no failure.
    pub(crate) fn finish(self) -> Result<(), CliError> {
        let Copier { wake, done, .. } = self;
        drop(wake);
        // A thread that is stuck in its write ends with the process.
        match done.recv_timeout(FAREWELL) {
            Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                let text = format!("cannot write the output: {error}");
                Err(CliError::new(exit::FAILED, text))
            }
            _ => Ok(()),
        }
    }
}

fn copy(
    mut follow: Follow,
    woken: &OwnedFd,
    added: &mpsc::Receiver<Source>,
    mut printer: Printer,
) -> io::Result<()> {
    loop {
        while let Some(entry) = follow.try_next()? {
            printer.print(&entry)?;
        }
        printer.flush()?;
        let patience = follow.patience();
        let closed = wait(&follow, woken, patience)?;
        for Source { dir, instance, .. } in added.try_iter() {
            printer.make_room(&instance);
            follow.add(&dir, &instance)?;
        }
        if closed {
            return copy_rest(&mut follow, &mut printer);
        }
    }
}

/// Copies what is left: also a last line without its end, which is handed out once it was waited for in vain.
fn copy_rest(follow: &mut Follow, printer: &mut Printer) -> io::Result<()> {
    loop {
        let margin = Duration::from_millis(1);
        let patience = follow
            .patience()
            .map_or(Duration::ZERO, |patience| patience + margin);
        match follow.next_within(Some(patience))? {
            Some(entry) => printer.print(&entry)?,
            None => return printer.flush(),
        }
    }
}

/// Waits for output or a word from our side; returns whether our side has closed.
fn wait(follow: &Follow, woken: &OwnedFd, patience: Option<Duration>) -> io::Result<bool> {
    let follow = follow.as_fd();
    let mut fds = [
        PollFd::new(&follow, PollFlags::IN),
        PollFd::new(woken, PollFlags::IN),
    ];
    let timeout = patience.and_then(|time| Timespec::try_from(time).ok());
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if !fds[1].revents().intersects(PollFlags::IN | PollFlags::HUP) {
        return Ok(false);
    }
    let mut bytes = [0; 64];
    Ok(rustix::io::read(woken, &mut bytes)? == 0)
}

/// Both of our streams, each with its own idea of colours.
struct Printer {
    stdout: BufWriter<io::Stdout>,
    stderr: BufWriter<io::Stderr>,
    to_stdout: LogPrinter,
    to_stderr: LogPrinter,
    last: Stream,
}

impl Printer {
    fn raw() -> Printer {
        Printer {
            to_stdout: LogPrinter::raw(),
            to_stderr: LogPrinter::raw(),
            stdout: BufWriter::new(io::stdout()),
            stderr: BufWriter::new(io::stderr()),
            last: Stream::Stdout,
        }
    }

    fn new(logs: &[Source], style: LineStyle) -> Printer {
        Printer {
            to_stdout: named(LogPrinter::lines(shown(logs), &io::stdout()), logs).styled(style),
            to_stderr: named(LogPrinter::lines(shown(logs), &io::stderr()), logs).styled(style),
            stdout: BufWriter::new(io::stdout()),
            stderr: BufWriter::new(io::stderr()),
            last: Stream::Stdout,
        }
    }

    fn make_room(&mut self, name: &str) {
        self.to_stdout.make_room(name);
        self.to_stderr.make_room(name);
    }

    /// Writes one entry; a change of stream flushes the other, so that they stay in order.
    fn print(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.stream != self.last {
            self.flush()?;
            self.last = entry.stream;
        }
        match entry.stream {
            Stream::Stderr => self.to_stderr.write(&mut self.stderr, entry),
            Stream::Stdout | Stream::Merged => self.to_stdout.write(&mut self.stdout, entry),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()?;
        self.stderr.flush()
    }
}

fn shown(logs: &[Source]) -> impl Iterator<Item = &str> {
    logs.iter().map(|source| source.shown.as_str())
}

/// Lets the printer call every instance as `status` does.
fn named(mut printer: LogPrinter, logs: &[Source]) -> LogPrinter {
    for source in logs {
        printer.call(&source.instance, &source.shown);
    }
    printer
}

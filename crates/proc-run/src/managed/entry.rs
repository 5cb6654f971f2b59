//! One managed process, shared between its manager and the task that watches it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proc_core::{ProcessHandle, StopSequence};
use tokio::net::unix::pipe;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use crate::captured::Captured;
use crate::managed::event::Event;
use crate::managed::info::{Id, Info, Status};
use crate::managed::lines::Lines;
use crate::supervise::{Cause, Stream, Supervised};

/// A managed process. Nothing here is locked across I/O but its standard input, which no other
/// request needs: a write that blocks never keeps a kill waiting.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) handle: Option<ProcessHandle>,
    /// Set once, to how it is to be ended.
    pub(crate) stop: watch::Sender<Option<StopSequence>>,
    pub(crate) stdin: tokio::sync::Mutex<Option<pipe::Sender>>,
    pub(crate) done: watch::Sender<bool>,
    info: Mutex<Info>,
    output: Mutex<Captured>,
    begin: Instant,
}

impl Entry {
    pub(crate) fn new(
        info: Info,
        handle: Option<ProcessHandle>,
        stdin: Option<pipe::Sender>,
        keep: usize,
    ) -> Arc<Self> {
        let over = handle.is_none();
        Arc::new(Entry {
            id: info.id,
            handle,
            stop: watch::Sender::new(None),
            stdin: tokio::sync::Mutex::new(stdin),
            done: watch::Sender::new(over),
            info: Mutex::new(info),
            output: Mutex::new(Captured::new(keep)),
            begin: Instant::now(),
        })
    }

    pub(crate) fn info(&self) -> Info {
        self.lock_info().clone()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.lock_info().is_running()
    }

    pub(crate) fn output(&self) -> Captured {
        self.lock_output().clone()
    }

    pub(crate) fn output_len(&self) -> usize {
        self.lock_output().len()
    }

    fn lock_info(&self) -> MutexGuard<'_, Info> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_output(&self) -> MutexGuard<'_, Captured> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody asks for its end.
    pub(crate) async fn asked_to_stop(&self) -> StopSequence {
        let mut asked = self.stop.subscribe();
        let sequence = asked
            .wait_for(Option::is_some)
            .await
            .map(|asked| asked.clone());
        match sequence {
            Ok(Some(sequence)) => sequence,
            // Not reached: the sender lives as long as this, and it was waited for a value.
            _ => std::future::pending().await,
        }
    }

    /// Takes what it wrote.
    pub(crate) fn wrote(
        &self,
        stream: Stream,
        bytes: &[u8],
        lines: &mut [Lines; 2],
        events: &broadcast::Sender<Event>,
    ) {
        self.lock_output().push(bytes);
        lines[stream as usize].push(bytes, &mut |line| {
            // Without a subscriber nobody wants to know.
            let _nobody = events.send(Event::Output {
                id: self.id,
                stream,
                line,
            });
        });
    }

    /// Records its end and tells everybody.
    pub(crate) fn ended(
        &self,
        ended: std::io::Result<Supervised>,
        mut lines: [Lines; 2],
        events: &broadcast::Sender<Event>,
    ) {
        for (lines, stream) in lines.iter_mut().zip([Stream::Stdout, Stream::Stderr]) {
            lines.finish(&mut |line| {
                let _nobody = events.send(Event::Output {
                    id: self.id,
                    stream,
                    line,
                });
            });
        }
        let info = {
            let mut info = self.lock_info();
            info.duration = self.begin.elapsed();
            describe(&mut info, ended);
            info.clone()
        };
        if let Some(signal) = info.signal {
            let _nobody = events.send(Event::Killed {
                id: self.id,
                signal,
            });
        }
        let _nobody = events.send(Event::Exited(Arc::new(info)));
        self.done.send_replace(true);
    }
}

fn describe(info: &mut Info, ended: std::io::Result<Supervised>) {
    match ended {
        Err(error) => {
            info.status = Status::Failed;
            info.error = Some(error.to_string());
        }
        Ok(Supervised { end: None, .. }) => {
            info.status = Status::Failed;
            info.error = Some("it survived its stop".to_owned());
        }
        Ok(Supervised {
            end: Some(end),
            cause,
            ..
        }) => {
            info.status = if end.signal().is_some() {
                Status::Killed
            } else {
                Status::Exited
            };
            info.exit_code = end.code();
            info.signal = end.signal().map(|signal| signal.raw());
            info.timed_out = cause == Cause::TimedOut;
        }
    }
}

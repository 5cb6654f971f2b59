//! What waits for a service's standard input: one request at a time, the next when the shim has taken the last.

use proc_shim::Request;

use super::actor::Actor;
use super::command::{Done, Pending};
use crate::error::OperateError;

/// The most bytes of standard input in one request.
const CHUNK: usize = 64 * 1024;

/// What waits for standard input.
#[derive(Debug)]
pub(super) enum Input {
    Write(Vec<u8>, Done<(), OperateError>),
    Close(Done<(), OperateError>),
}

impl Actor {
    /// Goes on with what waits for standard input.
    pub(super) fn feed(&mut self) {
        if self.feeding {
            return;
        }
        let Some(next) = self.input.pop_front() else {
            return;
        };
        if self.link.is_none() {
            let (Input::Write(_, done) | Input::Close(done)) = next;
            let _nobody_waits = done.send(Err(OperateError::NoStdin {
                instance: self.instance.clone(),
            }));
            return self.feed();
        }
        self.feeding = true;
        match next {
            Input::Close(done) => {
                // Our duplicate would keep the pipe open.
                if !self.held.pty {
                    self.held.stdin = None;
                }
                self.ask(
                    &Request::StdinClose,
                    Vec::new(),
                    Pending::Input("stdin", Some(done)),
                );
            }
            Input::Write(mut bytes, done) => {
                let rest = bytes.split_off(bytes.len().min(CHUNK));
                let last = rest.is_empty();
                let mut done = Some(done);
                if !last && let Some(done) = done.take() {
                    self.input.push_front(Input::Write(rest, done));
                }
                self.ask(
                    &Request::StdinWrite(bytes),
                    Vec::new(),
                    Pending::Input("stdin", done),
                );
            }
        }
    }

    /// Ends what waits for standard input: it is not there any more.
    pub(super) fn fail_input(&mut self) {
        self.feeding = false;
        for input in std::mem::take(&mut self.input) {
            let (Input::Write(_, done) | Input::Close(done)) = input;
            let _nobody_waits = done.send(Err(OperateError::NoStdin {
                instance: self.instance.clone(),
            }));
        }
    }
}

//! Where a signal goes that `init` receives.

use proc_core::{Disposition, Signal, disposition};

use crate::init::InitOptions;
use crate::sys::init as sys;

/// The signals of job control that stop; see the module docs of `init`, step 3.
const STOPS: [Signal; 3] = [Signal::TSTP, Signal::TTIN, Signal::TTOU];

/// Forwards signals to the command, which must not have been reaped.
pub(super) struct Relay<'a> {
    options: &'a InitOptions,
    leader: i32,
}

impl<'a> Relay<'a> {
    pub(super) fn new(options: &'a InitOptions, leader: i32) -> Self {
        Self { options, leader }
    }

    pub(super) fn forward(&self, received: Signal) {
        let rewrite = self
            .options
            .rewrite
            .iter()
            .find(|(from, _)| *from == received);
        let Some(signal) = rewrite.map_or(Some(received), |(_, to)| *to) else {
            return; // rewritten to 0: dropped
        };
        self.send(signal);
        if STOPS.contains(&signal) && self.takes_by_default(signal) {
            self.send(Signal::STOP);
        }
        if STOPS.contains(&received) {
            sys::suspend_self();
        }
    }

    /// A failure means that the command ended just now, which its SIGCHLD tells better.
    fn send(&self, signal: Signal) {
        _ = sys::send(self.leader, signal.raw(), !self.options.single);
    }

    /// Tells whether the command neither catches nor ignores the signal.
    fn takes_by_default(&self, signal: Signal) -> bool {
        let handled = disposition(self.leader.cast_unsigned(), signal)
            .is_ok_and(|disposition| disposition != Disposition::Default);
        !handled
    }
}

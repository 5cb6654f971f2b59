//! Our own terminal while it belongs to a service.

use std::io::{self, IsTerminal as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Every key is passed on as it is, Ctrl-C too. Dropping it puts the terminal back.
pub(super) struct Terminal {
    before: Termios,
}

impl Terminal {
    /// Returns the height and width in characters where our standard input is a terminal.
    pub(super) fn size() -> Option<(u16, u16)> {
        let stdin = io::stdin();
        if !stdin.is_terminal() {
            return None;
        }
        let size = tcgetwinsize(&stdin).ok()?;
        Some((size.ws_row, size.ws_col))
    }

    pub(super) fn raw() -> io::Result<Terminal> {
        let stdin = io::stdin();
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        // What was typed ahead is the service's too.
        tcsetattr(&stdin, OptionalActions::Drain, &raw)?;
        Ok(Terminal { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing.
        _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

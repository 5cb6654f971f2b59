//! The exits that no supervisor has stored yet: kept until one says that they are on record.
//!
//! While the disk of the state directory refuses, services are restarted all the same, and a supervisor that is killed then
//! takes what it knew with it. So the shim tells the next one every exit that was not acknowledged.

use crate::message::Exited;

/// How many exits are kept beside the last one.
pub const KEPT_EXITS: usize = 64;

/// The longest reason that is kept with an exit, in bytes.
const MAX_REASON: usize = 200;

/// The ends of runs before the last one that ended, as far as nobody has acknowledged them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Unstored {
    /// The latest of them, oldest first, [`KEPT_EXITS`] at most.
    pub exits: Vec<Exited>,
    /// How many older ones had to give way to those.
    pub dropped: u64,
    /// The last run among the dropped ones.
    pub dropped_through: u64,
}

impl Unstored {
    /// Keeps one more exit, a later one than all before.
    pub(crate) fn keep(&mut self, mut exited: Exited) {
        if let Some(reason) = &mut exited.unknown {
            reason.truncate(reason.floor_char_boundary(MAX_REASON));
        }
        if self.exits.len() >= KEPT_EXITS {
            let oldest = self.exits.remove(0);
            self.dropped += 1;
            self.dropped_through = oldest.run;
        }
        self.exits.push(exited);
    }

    /// Forgets the exits up to this run: they are on record elsewhere.
    pub(crate) fn acknowledge(&mut self, run: u64) {
        self.exits.retain(|exited| exited.run > run);
        if self.dropped_through <= run {
            (self.dropped, self.dropped_through) = (0, 0);
        }
        if self.exits.is_empty() {
            self.exits = Vec::new();
        }
    }
}

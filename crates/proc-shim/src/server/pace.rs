//! How often a pipe is read: at once, or three times a second while a service mutters.
//!
//! A service that writes a line fifty times a second would wake its shim as often, for a few bytes each time. Such a trickle is
//! read in gulps: three wake-ups a second instead of fifty. Whoever writes now and then is read at once, and so is whoever writes
//! much, because a pipe that fills up makes the service wait. A burst that follows a trickle may wait for one pause.

use std::time::{Duration, Instant};

/// How long a trickle collects in its pipe.
const PAUSE: Duration = Duration::from_millis(300);
/// So many reads within a pause are a trickle.
const MANY: u32 = 8;
/// So many bytes within a pause are not: an eighth of the smallest usual pipe.
const MUCH: usize = 8 * 1024;

/// The pace of one pipe.
#[derive(Debug)]
pub(super) struct Pace {
    /// When the reads that are counted began.
    since: Instant,
    reads: u32,
    bytes: usize,
    /// When a trickle is read next.
    resume: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            reads: 0,
            bytes: 0,
            resume: None,
        }
    }

    /// Returns until when the pipe is left alone.
    pub(super) fn resume(&self) -> Option<Instant> {
        self.resume
    }

    /// Tells whether it is time to read.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.resume.is_none_or(|resume| resume <= now)
    }

    /// Notes that so many bytes were read; none means that the trickle has dried up.
    pub(super) fn read(&mut self, bytes: usize, now: Instant) {
        self.reads += 1;
        self.bytes += bytes;
        let trickled = self.resume.is_some() && bytes > 0;
        let full = now.saturating_duration_since(self.since) >= PAUSE;
        let much = self.bytes > MUCH;
        let trickles = trickled || (full && self.reads >= MANY);
        if much || trickles || full {
            *self = Self::new(now);
        }
        if trickles && !much {
            self.resume = Some(now + PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays writes of `size` bytes every `gap` and returns how often the pipe was read, and the most it held.
    fn play(gap: Duration, size: usize, writes: u32) -> (u32, usize) {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let (mut reads, mut held, mut most) = (0, 0, 0);
        for write in 0..writes {
            let now = begin + gap * write;
            // What came due between two writes is read then.
            if let Some(resume) = pace.resume().filter(|resume| *resume < now && held > 0) {
                reads += 1;
                pace.read(std::mem::take(&mut held), resume);
            }
            held += size;
            most = most.max(held);
            if pace.is_due(now) {
                reads += 1;
                pace.read(std::mem::take(&mut held), now);
            }
        }
        (reads, most)
    }

    #[test]
    fn a_trickle_is_read_in_gulps() {
        let (reads, most) = play(Duration::from_millis(20), 60, 500);
        assert!(reads < 70, "{reads} reads of 500 lines in ten seconds");
        assert!(most < 1024);
    }

    #[test]
    fn now_and_then_is_read_at_once() {
        assert_eq!(play(Duration::from_millis(100), 60, 500).0, 500);
        assert_eq!(play(Duration::from_secs(5), 60, 100).0, 100);
    }

    #[test]
    fn much_is_read_at_once_however_it_is_cut() {
        for (gap, size) in [(10, 100), (100, 1000), (1000, 8000), (20_000, 65_536)] {
            let (reads, most) = play(Duration::from_micros(gap), size, 2000);
            assert_eq!(reads, 2000, "{size} bytes every {gap} us");
            assert_eq!(most, size);
        }
    }

    #[test]
    fn a_trickle_that_dried_up_is_read_at_once_again() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let at = |ms| begin + Duration::from_millis(ms);
        (0..20).for_each(|n| pace.read(10, at(n * 20)));
        let resume = pace.resume().expect("a trickle");
        assert!(!pace.is_due(resume - PAUSE / 2));
        pace.read(0, resume);
        assert_eq!(pace.resume(), None);
        assert!(pace.is_due(resume));
    }

    #[test]
    fn a_burst_after_a_trickle_ends_it() {
        let begin = Instant::now();
        let mut pace = Pace::new(begin);
        let at = |ms| begin + Duration::from_millis(ms);
        (0..20).for_each(|n| pace.read(10, at(n * 20)));
        let resume = pace.resume().expect("a trickle");
        pace.read(65_536, resume);
        assert_eq!(pace.resume(), None);
    }
}

//! The corpus as a table: what runs, and what may be expected of a stop.

/// What a graceful stop of it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// TERM is enough.
    OnTerm,
    /// It takes KILL.
    OnKill,
}

/// How far a tier that only looks can know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// Group, session or parents lead to everybody.
    Whole,
    /// Somebody has left all three before the stop began: he has to be reported.
    Escaped,
    /// It changes too fast for either to be promised.
    Moving,
}

/// A program and what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) words: &'static [&'static str],
    /// So many bytes say that it is what it wants to be.
    pub(crate) ready: usize,
    pub(crate) ends: Ends,
    pub(crate) known: Known,
    pub(crate) needs_root: bool,
}

const fn case(words: &'static [&'static str], ready: usize, ends: Ends, known: Known) -> Case {
    Case {
        words,
        ready,
        ends,
        known,
        needs_root: false,
    }
}

/// Everything but a child of another user, which is a test of its own.
pub(crate) const CASES: &[Case] = &[
    case(&["obedient", "5"], 5, Ends::OnTerm, Known::Whole),
    case(&["deaf"], 2, Ends::OnKill, Known::Whole),
    case(&["daemon"], 2, Ends::OnKill, Known::Escaped),
    case(&["orphans"], 2, Ends::OnKill, Known::Whole),
    case(&["stopped"], 2, Ends::OnTerm, Known::Whole),
    case(&["holder"], 1, Ends::OnKill, Known::Escaped),
    case(&["zombies", "50"], 1, Ends::OnTerm, Known::Whole),
    case(&["renamed"], 3, Ends::OnKill, Known::Whole),
    Case {
        needs_root: true,
        ..case(&["user"], 2, Ends::OnKill, Known::Whole)
    },
    case(&["storm"], 13, Ends::OnKill, Known::Moving),
    case(&["storm-setsid"], 13, Ends::OnKill, Known::Moving),
    case(&["movers", "8"], 9, Ends::OnKill, Known::Moving),
    case(&["vfork", "3"], 20, Ends::OnKill, Known::Moving),
    case(&["thousand"], 1000, Ends::OnTerm, Known::Whole),
];

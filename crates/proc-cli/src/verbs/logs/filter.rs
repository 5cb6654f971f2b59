//! Which lines pass `--grep` and `--level`, and the last of those.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use proc_output::read::Entry;
use proc_output::{Level, find_level};
use regex::bytes::Regex;

/// The names of levels on the command line.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum LevelName {
    Trace,
    Debug,
    Info,
    #[value(alias = "warning")]
    Warn,
    Error,
    #[value(alias = "critical")]
    Fatal,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Level {
        match name {
            LevelName::Trace => Level::Trace,
            LevelName::Debug => Level::Debug,
            LevelName::Info => Level::Info,
            LevelName::Warn => Level::Warn,
            LevelName::Error => Level::Error,
            LevelName::Fatal => Level::Fatal,
        }
    }
}

/// What a line must have.
#[derive(Debug)]
pub(crate) struct Filter {
    pattern: Option<Regex>,
    level: Option<Level>,
}

impl Filter {
    pub(crate) fn new(pattern: Option<Regex>, level: Option<LevelName>) -> Filter {
        Filter {
            pattern,
            level: level.map(Into::into),
        }
    }

    /// Returns whether every line passes.
    pub(crate) fn passes_all(&self) -> bool {
        self.pattern.is_none() && self.level.is_none()
    }

    /// Returns whether this line passes; one without a level passes no `--level`, and a gap nothing.
    pub(crate) fn passes(&self, entry: &Entry) -> bool {
        if entry.is_gap() {
            return self.passes_all();
        }
        let text = entry.text();
        self.pattern
            .as_ref()
            .is_none_or(|pattern| pattern.is_match(text))
            && self
                .level
                .is_none_or(|least| find_level(text).is_some_and(|level| level >= least))
    }
}

/// Keeps the last N entries of each instance, or passes everything through.
#[derive(Debug)]
pub(crate) struct Last {
    keep: Option<usize>,
    counts: HashMap<Arc<str>, usize>,
    held: VecDeque<Entry>,
}

impl Last {
    pub(crate) fn new(keep: Option<usize>) -> Last {
        Last {
            keep,
            counts: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// Takes an entry and returns what can be printed at once.
    pub(crate) fn push(&mut self, entry: Entry) -> Option<Entry> {
        let Some(keep) = self.keep else {
            return Some(entry);
        };
        let instance = Arc::clone(&entry.instance);
        let count = self.counts.entry(Arc::clone(&instance)).or_default();
        *count += 1;
        self.held.push_back(entry);
        if *count > keep {
            *count -= 1;
            let oldest = self
                .held
                .iter()
                .position(|entry| entry.instance == instance);
            oldest.and_then(|index| self.held.remove(index));
        }
        None
    }

    /// Returns what was kept.
    pub(crate) fn rest(self) -> VecDeque<Entry> {
        self.held
    }
}

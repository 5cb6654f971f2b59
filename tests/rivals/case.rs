//! One case, and the stage on which a supervisor plays it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};

/// How long anything may take that a test waits for, in seconds.
pub(crate) const PATIENCE: i64 = 60;

/// How a case ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Its last run goes on.
    Stays,
    /// It ended by itself and is not started again.
    Exited,
    /// The supervisor has given it up.
    GaveUp,
}

/// What the runs of a program do, and what a supervisor makes of it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// An exit code or `signal:N` and the seconds before it, one run each; later runs stay.
    pub(crate) script: &'static [&'static str],
    /// What is added to the other supervisor's configuration, in its own words.
    pub(crate) theirs: &'static str,
    /// What is added to `restart`.
    pub(crate) ours: &'static str,
    /// The least pause before each restart, in milliseconds from the start before it.
    pub(crate) pauses: &'static [u128],
    pub(crate) end: End,
}

/// The program: notes its start, then does what its script says for this run.
const RUN: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 99
date +%s%N >> starts
set -- $(sed -n "$(wc -l < starts)p" script)
if [ $# = 0 ]; then echo stays > told; exec sleep 1000; fi
[ -z "$2" ] || sleep "$2"
case $1 in signal:*) kill -"${1#signal:}" $$ ;; esac
exit "$1"
"#;

/// A directory with the program and its script: a service directory, for those that want one.
pub(crate) struct Stage {
    dir: PathBuf,
    told: File,
}

impl Stage {
    /// Makes the directory of a case below `root`.
    pub(crate) fn set(root: &Path, case: &Case) -> Self {
        let dir = root.join(case.name);
        std::fs::create_dir(&dir).expect("the scratch directory is writable");
        let told = dir.join("told");
        mkfifoat(CWD, &told, Mode::RUSR | Mode::WUSR).expect("a fifo can be made");
        // Open for both, so that neither side waits for the other.
        let told = open(&told, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()).expect("it is ours");
        let stage = Self {
            dir,
            told: told.into(),
        };
        let script: String = case.script.iter().map(|step| format!("{step}\n")).collect();
        std::fs::write(stage.dir.join("script"), script).expect("it is ours");
        stage.program("run", RUN);
        stage
    }

    /// Adds a program to the directory.
    pub(crate) fn program(&self, name: &str, text: &str) {
        let path = self.dir.join(name);
        std::fs::write(&path, text).expect("it is ours");
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(&path, mode).expect("it is ours");
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits until somebody on the stage has written a word, and returns it.
    pub(crate) fn told(&self) -> String {
        let mut fds = [PollFd::new(&self.told, PollFlags::IN)];
        let patience = Timespec {
            tv_sec: PATIENCE,
            tv_nsec: 0,
        };
        let ready = poll(&mut fds, Some(&patience)).expect("a fifo can be polled");
        assert_eq!(ready, 1, "{}: nothing was told", self.dir.display());
        let mut word = [0; 64];
        let length = (&self.told).read(&mut word).expect("there is a word");
        String::from_utf8_lossy(&word[..length]).trim().to_owned()
    }

    /// Returns the milliseconds from each start to the next.
    pub(crate) fn pauses(&self) -> Vec<u128> {
        let starts = std::fs::read_to_string(self.dir.join("starts")).expect("it has started");
        let starts: Vec<u128> = starts
            .lines()
            .map(|line| line.parse().expect("nanoseconds"))
            .collect();
        let gaps = starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) / 1_000_000);
        gaps.collect()
    }
}

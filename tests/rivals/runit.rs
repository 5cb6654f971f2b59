//! runit's `runsv`, one for each service directory.

use std::process::{Command, Stdio};

use proc_tests::Guard;

use crate::case::{Case, End, Stage};
use crate::{Rival, compare};

/// It restarts whatever happens, and sleeps a second where the run was shorter than that.
const CASES: &[Case] = &[
    Case {
        name: "quick",
        script: &["1", "0", "signal:9", "111"],
        theirs: "",
        ours: "",
        pauses: &[1000; 4],
        end: End::Stays,
    },
    Case {
        name: "slow",
        script: &["1 1.5", "0 1.5"],
        theirs: "",
        ours: "",
        pauses: &[1500; 2],
        end: End::Stays,
    },
    Case {
        name: "nothing-is-too-often",
        script: &["1"; 6],
        theirs: "",
        ours: "",
        pauses: &[1000; 6],
        end: End::Stays,
    },
];

#[test]
fn runit_decides_alike() {
    compare("runit", CASES, start);
}

struct Runit {
    _processes: Vec<Guard>,
}

fn start(_cases: &[Case], stages: &[Stage]) -> Box<dyn Rival> {
    let start = |stage: &Stage| {
        let mut command = Command::new("runsv");
        Guard::start(command.arg(stage.dir()).stdin(Stdio::null()))
    };
    Box::new(Runit {
        _processes: stages.iter().map(start).collect(),
    })
}

impl Rival for Runit {
    fn end_of(&mut self, _case: &Case, stage: &Stage) -> End {
        assert_eq!(stage.told(), "stays");
        End::Stays
    }
}

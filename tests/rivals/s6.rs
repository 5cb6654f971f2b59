//! `s6-supervise`, one for each service directory; a `finish` program that ends with 125 stops it.

use std::path::Path;
use std::process::{Command, Stdio};

use proc_tests::Guard;

use crate::case::{Case, End, PATIENCE, Stage};
use crate::{Rival, compare};

/// A second lies between two spawns; it is counted from the spawn, which comes before the note of it.
const CASES: &[Case] = &[
    Case {
        name: "quick",
        script: &["1", "0", "signal:9"],
        theirs: "",
        ours: "",
        pauses: &[500; 3],
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
        name: "left-on-78",
        script: &["1", "78", "1"],
        theirs: r#"[ "$1" != 78 ] || { echo exited > told; exit 125; }"#,
        ours: "no_restart_on = [78]",
        pauses: &[500],
        end: End::Exited,
    },
    Case {
        name: "three-deaths",
        script: &["1"; 9],
        theirs: "s6-permafailon 60 3 1-255 true || { echo gave up > told; exit 125; }",
        ours: "crash_loop = { count = 3, within = \"60s\" }",
        pauses: &[500; 2],
        end: End::GaveUp,
    },
    // What is no crash does not count.
    Case {
        name: "one-of-three-is-clean",
        script: &["1", "0", "1"],
        theirs: "s6-permafailon 60 3 1-255 true || { echo gave up > told; exit 125; }",
        ours: "crash_loop = { count = 3, within = \"60s\" }",
        pauses: &[500; 3],
        end: End::Stays,
    },
];

#[test]
fn s6_decides_alike() {
    compare("s6", CASES, start);
}

struct S6 {
    _processes: Vec<Guard>,
}

fn start(cases: &[Case], stages: &[Stage]) -> Box<dyn Rival> {
    let start = |(case, stage): (&Case, &Stage)| {
        stage.program("finish", &format!("#!/bin/sh\n{}\n", case.theirs));
        let mut command = Command::new("s6-supervise");
        Guard::start(command.arg(stage.dir()).stdin(Stdio::null()))
    };
    Box::new(S6 {
        _processes: cases.iter().zip(stages).map(start).collect(),
    })
}

impl Rival for S6 {
    fn end_of(&mut self, _case: &Case, stage: &Stage) -> End {
        let end = match stage.told().as_str() {
            "stays" => return End::Stays,
            "exited" => End::Exited,
            _ => End::GaveUp,
        };
        // What `finish` said is done when s6 has taken note of its end.
        let millis = (PATIENCE * 1000).to_string();
        s6("s6-svwait", &["-D", "-t", &millis], stage.dir());
        let wanted = s6("s6-svstat", &["-o", "up,wantedup"], stage.dir());
        assert_eq!(wanted.trim(), "false false", "{}", stage.dir().display());
        end
    }
}

fn s6(tool: &str, args: &[&str], dir: &Path) -> String {
    let output = Command::new(tool).args(args).arg(dir).output();
    let output = output.expect("s6 is installed");
    assert!(output.status.success(), "{tool}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

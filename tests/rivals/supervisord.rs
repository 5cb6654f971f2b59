//! supervisord, which says on its log what it does.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use proc_tests::{Guard, python};

use crate::case::{Case, End, PATIENCE, Stage};
use crate::{Rival, compare};

const CASES: &[Case] = &[
    Case {
        name: "never-comes-up",
        script: &["1"; 9],
        theirs: "",
        ours: "",
        pauses: &[1000, 2000, 3000],
        end: End::GaveUp,
    },
    // "Exited too quickly", whatever the code.
    Case {
        name: "too-quick",
        script: &["0"; 9],
        theirs: "",
        ours: "",
        pauses: &[1000, 2000, 3000],
        end: End::GaveUp,
    },
    Case {
        name: "one-retry",
        script: &["1"; 9],
        theirs: "startretries=1",
        ours: "startup_max = 1",
        pauses: &[1000],
        end: End::GaveUp,
    },
    Case {
        name: "expected",
        script: &["0 2.5"],
        theirs: "",
        ours: "",
        pauses: &[],
        end: End::Exited,
    },
    Case {
        name: "expected-two",
        script: &["2 2.5"],
        theirs: "exitcodes=0,2",
        ours: "success_codes = [0, 2]",
        pauses: &[],
        end: End::Exited,
    },
    Case {
        name: "unexpected",
        script: &["1 2.5", "signal:9 2.5"],
        theirs: "",
        ours: "",
        pauses: &[2500, 2500],
        end: End::Stays,
    },
    Case {
        name: "always",
        script: &["0 2.5"],
        theirs: "autorestart=true",
        ours: "mode = \"always\"",
        pauses: &[2500],
        end: End::Stays,
    },
    Case {
        name: "never",
        script: &["1 2.5"],
        theirs: "autorestart=false",
        ours: "mode = \"never\"",
        pauses: &[],
        // Looked at when the first case has had its six seconds: a restart would have come by then.
        end: End::Exited,
    },
    Case {
        name: "comes-up-at-last",
        script: &["1", "1"],
        theirs: "",
        ours: "",
        pauses: &[1000, 2000],
        end: End::Stays,
    },
    // Once it was up, the row of failures begins anew.
    Case {
        name: "a-new-row",
        script: &["1", "1 2.5", "1"],
        theirs: "",
        ours: "",
        pauses: &[1000, 2500, 1000],
        end: End::Stays,
    },
];

#[test]
fn supervisord_decides_alike() {
    compare("supervisord", CASES, start);
}

struct Supervisord {
    lines: Receiver<String>,
    ends: HashMap<String, End>,
    /// Those for which an exit is the end, whether it was expected or not.
    once: Vec<&'static str>,
    _process: Guard,
}

fn start(cases: &[Case], stages: &[Stage]) -> Box<dyn Rival> {
    // It may notice an exit as late as a second, at its next look around: with its own `startsecs` of 1 even a run of no length
    // would then count as up. No run here is between 0 and 2.5 s long.
    let programs = cases.iter().zip(stages).map(|(case, stage)| {
        format!(
            "[program:{}]\ncommand={}/run\nstartsecs=2\nstdout_logfile=NONE\nstderr_logfile=NONE\n{}\n",
            case.name,
            stage.dir().display(),
            case.theirs
        )
    });
    let dir = stages[0].dir().parent().expect("stages lie in a directory");
    let head =
        "[supervisord]\nnodaemon=true\nlogfile=/dev/stdout\nlogfile_maxbytes=0\nloglevel=info\n";
    let config = format!("{head}{}", programs.collect::<String>());
    let once = cases.iter().filter(|c| c.theirs == "autorestart=false");
    run(dir, &config, once.map(|c| c.name).collect())
}

fn run(dir: &Path, config: &str, once: Vec<&'static str>) -> Box<dyn Rival> {
    let path = dir.join("supervisord.conf");
    std::fs::write(&path, config).expect("the scratch directory is writable");
    let mut command = Command::new(python("supervisord"));
    command.arg("-c").arg(&path).current_dir(dir);
    let mut process = Guard::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    let log = BufReader::new(process.stdout());
    let (tell, lines) = channel();
    std::thread::spawn(move || {
        for line in log.lines().map_while(Result::ok) {
            // Read on when nobody listens any more: it writes until it ends.
            drop(tell.send(line));
        }
    });
    Box::new(Supervisord {
        lines,
        ends: HashMap::new(),
        once,
        _process: process,
    })
}

impl Supervisord {
    /// `gave up: NAME entered FATAL state`, `exited: NAME (exit status 0; expected)`, and after an
    /// exit that is followed by a restart `spawned: 'NAME' with pid N`.
    fn hear(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = words
            .iter()
            .position(|w| matches!(*w, "up:" | "exited:" | "spawned:"));
        let Some((kind, name)) = said.and_then(|at| Some((words[at], words.get(at + 1)?))) else {
            return;
        };
        let name = name.trim_matches('\'').to_owned();
        match kind {
            "up:" => {
                self.ends.insert(name, End::GaveUp);
            }
            "exited:" if !line.contains("not expected") || self.once.contains(&&*name) => {
                self.ends.insert(name, End::Exited);
            }
            "spawned:" => {
                self.ends.remove(&name);
            }
            _ => {}
        }
    }
}

impl Rival for Supervisord {
    fn end_of(&mut self, case: &Case, stage: &Stage) -> End {
        if case.end == End::Stays {
            assert_eq!(stage.told(), "stays");
            return End::Stays;
        }
        let patience = Duration::from_secs(PATIENCE.unsigned_abs());
        loop {
            if let Some(end) = self.ends.get(case.name) {
                return *end;
            }
            let line = self.lines.recv_timeout(patience);
            self.hear(&line.unwrap_or_else(|e| panic!("{}: {e}", case.name)));
        }
    }
}

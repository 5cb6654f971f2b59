//! One at a time over processes.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};

use proc_run::{Exclusive, ExclusiveError};

const RACERS: usize = 1000;

/// With `PROC_RUN_TEST_DIR` set this test is one of the racers: it says what it got, and holds it
/// until its standard input ends. Without, it starts them.
#[test]
fn exclusive_run_under_a_thousand_racing_processes() {
    if let Some(dir) = std::env::var_os("PROC_RUN_TEST_DIR") {
        return race(Exclusive::new(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    // All say their one byte into one pipe, and wait for the end of another.
    let (mut answers, answer) = std::io::pipe().unwrap();
    let (hold, end) = std::io::pipe().unwrap();
    let racers: Vec<Child> = (0..RACERS)
        .map(|_| {
            Command::new(&own)
                .args([
                    "--exact",
                    "exclusive_run_under_a_thousand_racing_processes",
                    "--nocapture",
                ])
                .env("PROC_RUN_TEST_DIR", dir.path())
                .stdin(hold.try_clone().unwrap())
                .stdout(Stdio::null())
                .stderr(answer.try_clone().unwrap())
                .spawn()
                .unwrap()
        })
        .collect();
    drop((hold, answer));
    let mut said = vec![0; RACERS];
    answers.read_exact(&mut said).unwrap();
    let won = said.iter().filter(|byte| **byte == b'W').count();
    let refused = said.iter().filter(|byte| **byte == b'L').count();
    assert_eq!((won, refused), (1, RACERS - 1));
    drop(end);
    for mut racer in racers {
        racer.wait().unwrap();
    }
    Exclusive::new(dir.path())
        .take("one")
        .map(drop)
        .expect("free again when its holder ended");
}

/// One racer: standard error says what it got, in one byte.
fn race(names: Exclusive) {
    let (held, answer) = match names.take("one") {
        Ok(held) => (Some(held), b"W"),
        Err(ExclusiveError::AlreadyRunning { .. }) => (None, b"L"),
        Err(error) => panic!("{error}"),
    };
    std::io::stderr()
        .write_all(answer)
        .expect("a pipe that is read");
    // Nobody gives the name back before everybody has asked for it.
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
    drop(held);
}

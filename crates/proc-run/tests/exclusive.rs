//! One at a time over processes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use proc_run::{Exclusive, ExclusiveError};

/// With `PROC_RUN_TEST_DIR` set this test is one of the racers: it says what it got, and holds it
/// until its standard input ends. Without, it starts them.
#[test]
fn exclusive_run_under_racing_processes() {
    if let Some(dir) = std::env::var_os("PROC_RUN_TEST_DIR") {
        return race(Exclusive::new(dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let own = std::env::current_exe().unwrap();
    let mut racers: Vec<Child> = (0..100)
        .map(|_| {
            Command::new(&own)
                .args([
                    "--exact",
                    "exclusive_run_under_racing_processes",
                    "--nocapture",
                ])
                .env("PROC_RUN_TEST_DIR", dir.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    let (mut won, mut refused) = (0, 0);
    for racer in &mut racers {
        let output = BufReader::new(racer.stdout.take().unwrap());
        // The harness writes on the same line before a test that is not captured.
        for line in output.lines().map_while(Result::ok) {
            if line.contains("I won") {
                won += 1;
                break;
            }
            if line.contains("I lost") {
                refused += 1;
                break;
            }
        }
    }
    assert_eq!((won, refused), (1, 99));
    for mut racer in racers {
        drop(racer.stdin.take());
        racer.wait().unwrap();
    }
    Exclusive::new(dir.path())
        .take("one")
        .map(drop)
        .expect("free again when its holder ended");
}

#[expect(
    clippy::print_stdout,
    reason = "a racer says by its output what it got"
)]
fn race(names: Exclusive) {
    let held = match names.take("one") {
        Ok(held) => {
            println!("I won");
            Some(held)
        }
        Err(ExclusiveError::AlreadyRunning { .. }) => {
            println!("I lost");
            None
        }
        Err(error) => panic!("{error}"),
    };
    // Nobody gives the name back before everybody has asked for it.
    std::io::stdin().read_to_end(&mut Vec::new()).ok();
    drop(held);
}

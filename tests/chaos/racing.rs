//! Many that want to be the one supervisor of a project.

use proc_tests::{Outcome, Project};

#[test]
fn of_a_hundred_that_start_at_once_one_wins_and_99_say_who() {
    let project = Project::with("[service.web]\nargv = [\"sleep\", \"infinity\"]\n");
    let racers: Vec<_> = (0..100)
        .map(|_| {
            let mut up = project.command(&["up", "-d"]);
            up.stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .expect("proc can be started")
        })
        .collect();
    let done: Vec<Outcome> = racers
        .into_iter()
        .map(|racer| racer.wait_with_output().expect("our own child").into())
        .collect();
    let winners = done.iter().filter(|done| done.code == 0).count();
    assert_eq!(winners, 1, "{done:?}");
    let pid = project.status()["supervisor"]["pid"].to_string();
    for loser in done.iter().filter(|done| done.code != 0) {
        assert_eq!(loser.code, 1, "{loser:?}");
        assert!(loser.stderr.contains(&pid), "{pid} is not in {loser:?}");
    }
    let starts = project
        .events()
        .iter()
        .filter(|event| event["to"] == "starting")
        .count();
    assert_eq!(starts, 1, "the service was started once");
    project.ok(&["down"]);
}

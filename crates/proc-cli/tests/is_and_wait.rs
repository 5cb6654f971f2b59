//! States as exit codes.

mod common;

use common::{TestProject, wait};

const TWO: &str = "[service.web]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\n\
                   ready = { log = \"hello\" }\n\
                   [service.once]\ncommand = \"sh -c 'exit 0'\"\noneshot = true\n";

#[test]
fn is_answers_0_or_3() {
    let project = TestProject::new(TWO);
    project.ok(&["up", "-d"]);
    for (args, code) in [
        (["is", "web", "running"], 0),
        (["is", "web", "ready"], 0),
        (["is", "web", "stopped"], 3),
        (["is", "w*", "running"], 0),
        (["is", "once", "exited"], 0),
        (["is", "once", "running"], 3),
        (["is", "web", "nonsense"], 2),
    ] {
        assert_eq!(project.proc(&args).code, code, "{args:?}");
    }
    for (args, code) in [
        (["is", "web", "web", "running"], 0),
        (["is", "web", "once", "running"], 3),
        (["is", "web", "nobody", "running"], 4),
    ] {
        assert_eq!(project.proc(&args).code, code, "{args:?}");
    }
}

#[test]
fn wait_returns_when_it_is_so_or_time_is_up() {
    let project = TestProject::new(TWO);
    project.ok(&["up", "-d"]);
    project.ok(&["wait", "web", "--for", "ready"]);
    project.ok(&["wait", "web", "--for", "running", "--timeout", "10s"]);
    project.ok(&["wait", "once", "--for", "exited"]);
    let late = project.proc(&["wait", "web", "--for", "stopped", "--timeout", "100ms"]);
    assert_eq!(late.code, 124, "{late:?}");
    let waiting = project.spawn(&["wait", "web", "--for", "stopped"]);
    let asking = project.spawn(&["is", "web", "stopped", "--timeout", "none"]);
    project.ok(&["stop", "web"]);
    assert_eq!(wait(waiting).code, 0);
    assert_eq!(wait(asking).code, 0);
    assert_eq!(
        project
            .proc(&["is", "web", "running", "--timeout", "50ms"])
            .code,
        3
    );
}

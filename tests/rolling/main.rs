//! A web server of somebody else's, replaced under load again and again.

use proc_tests::{APP, Load, alive, full, get, gunicorn};

/// The versions that nobody should see, and what `why` and the command say of each.
const BROKEN: [(&str, &str); 2] = [
    ("raise RuntimeError('this version is broken')", "exit code"),
    ("import time; time.sleep(1000)", "start timeout"),
];

#[test]
fn no_request_fails_while_the_server_is_replaced() {
    let (project, port) = gunicorn("");
    let load = Load::on(port, 4);
    let rounds = if full() { 100 } else { 10 };
    let mut before = project.pid("web");
    for round in 0..rounds {
        let asked = load.asked();
        project.ok(&["restart", "--rolling", "web"]);
        let now = project.pid("web");
        assert_ne!(now, before, "round {round}: it is another process");
        assert!(!alive(before), "round {round}: the old one is gone");
        assert!(load.asked() > asked, "round {round}: under load");
        before = now;
    }
    let (asked, failed) = load.finish();
    assert_eq!(
        failed,
        Vec::<String>::new(),
        "of {asked} in {rounds} rounds"
    );
    let answer = get(port).expect("it answers");
    assert!(answer.contains(&format!("from {before} ")), "{answer}");
    project.ok(&["down"]);
}

#[test]
fn a_broken_version_leaves_the_old_one_serving() {
    let (project, port) = gunicorn("start_timeout = \"5s\"");
    let old = project.pid("web");
    let load = Load::on(port, 2);
    for (app, cause) in BROKEN {
        project.write("app.py", app);
        let restart = project.run(&["restart", "--rolling", "web"]);
        assert_eq!(restart.code, 1, "{restart:?}");
        let kept = "kept: the new instance did not become ready";
        assert!(restart.stderr.contains(kept), "{restart:?}");
        assert!(restart.stderr.contains(cause), "{restart:?}");
        let why = project.ok(&["why", "web"]);
        let said = why.lines().any(|l| l.contains(kept) && l.contains(cause));
        assert!(said, "{why}");
        assert_eq!(project.pid("web"), old);
        let web = project.instance("web");
        assert_eq!(
            (&web["state"], &web["ready"]),
            (&"running".into(), &true.into())
        );
    }
    // The next version works again.
    project.write("app.py", APP);
    project.ok(&["restart", "--rolling", "web"]);
    assert_ne!(project.pid("web"), old);
    let (asked, failed) = load.finish();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    project.ok(&["down"]);
}

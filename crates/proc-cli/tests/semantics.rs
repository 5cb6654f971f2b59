//! What the keys of a service promise over its life, with the built program.

mod common;

use std::io::{BufRead as _, BufReader};

use common::TestProject;
use serde_json::Value;

/// Follows the events after `since` until one is as asked for.
#[track_caller]
fn until(project: &TestProject, since: u64, what: impl Fn(&Value) -> bool) -> Value {
    let mut follow = project.spawn(&["events", "--json", "-f", "--since", &since.to_string()]);
    let lines = BufReader::new(follow.stdout.take().expect("it is a pipe")).lines();
    let mut events = lines
        .map_while(Result::ok)
        .map(|line| serde_json::from_str(&line).expect("an event is a JSON line"));
    let found = events.find(&what);
    follow.kill().expect("it is ours");
    common::wait(follow);
    found.expect("the events go on")
}

fn events(project: &TestProject) -> Vec<Value> {
    let lines = project.ok(&["events", "--json"]);
    let events = lines.lines().map(serde_json::from_str);
    events.map(|e| e.expect("an event is JSON")).collect()
}

fn last_seq(project: &TestProject) -> u64 {
    let last = events(project).pop();
    last.and_then(|e| e["seq"].as_u64())
        .expect("there are some")
}

fn hang_up(project: &TestProject) {
    let pid = project.status()["supervisor"]["pid"].to_string();
    project.ok(&["kill", "--single", "--signal", "HUP", &pid]);
}

/// A service that stays; `keys` are further lines of it.
fn stays(name: &str, keys: &str) -> String {
    format!("[service.{name}]\nargv = [\"sleep\", \"1000\"]\nstart_seconds = \"50ms\"\n{keys}\n")
}

#[test]
fn a_hangup_applies_the_whole_configuration_or_nothing() {
    let old =
        stays("same", "") + &stays("web", "env = { A = \"1\", B = \"2\" }") + &stays("gone", "");
    let project = TestProject::new(&old);
    project.ok(&["up", "-d"]);
    let (same, web) = (project.pid("same"), project.pid("web"));
    let seen = last_seq(&project);
    let new = stays("same", "") + &stays("web", "env = { A = \"1\" }") + &stays("new", "");
    project.write("proc.toml", &new);
    hang_up(&project);
    for name in ["web", "new"] {
        until(&project, seen, |e| {
            e["service"] == name && e["to"] == "running"
        });
    }
    until(&project, seen, |e| {
        e["service"] == "gone" && e["to"] == "stopped"
    });
    assert_eq!(project.pid("same"), same, "identical means untouched");
    assert_ne!(project.pid("web"), web);
    let environment = std::fs::read_to_string(format!("/proc/{}/environ", project.pid("web")));
    let environment = environment.expect("it is ours");
    assert!(
        environment.contains("A=1") && !environment.contains("B=2"),
        "{environment}"
    );

    let before = ["same", "web", "new"].map(|name| project.pid(name));
    let seen = last_seq(&project);
    project.write(
        "proc.toml",
        &(stays("same", "nice = 3") + "[service.web]\ncomand = \"x\"\n"),
    );
    hang_up(&project);
    let told = until(&project, seen, |e| e["cause"]["kind"] == "config");
    assert!(told.to_string().contains("comand"), "{told}");
    assert_eq!(["same", "web", "new"].map(|name| project.pid(name)), before);
}

#[test]
fn start_retries_have_an_interval_of_their_own() {
    let project = TestProject::new(
        "[service.bad]\ncommand = \"false\"\nstart_retries = 2\nstart_retry_interval = \"120ms\"\n",
    );
    assert_eq!(project.proc(&["up", "-d"]).code, 1);
    let bad = project.instance("bad");
    assert_eq!(
        (&bad["state"], &bad["restarts"]),
        (&"failed".into(), &2.into())
    );
    let delays: Vec<Value> = events(&project)
        .into_iter()
        .filter(|e| e["to"] == "backoff")
        .map(|e| e["delay_ms"].clone())
        .collect();
    assert_eq!(delays, [120, 120]);
}

#[test]
fn codes_and_signals_decide_what_follows() {
    let project = TestProject::new(
        r#"
        [defaults]
        restart = { startup_max = 1, initial_delay = "10ms" }
        [service.code]
        script = "exit 78"
        restart = { no_restart_on = [78] }
        [service.other-code]
        script = "exit 77"
        restart = { no_restart_on = [78], startup_max = 1, initial_delay = "10ms" }
        [service.signal]
        script = "kill -TERM $$$$"
        restart = { no_restart_on = ["TERM"] }
        [service.other-signal]
        script = "kill -KILL $$$$"
        restart = { no_restart_on = ["TERM"], startup_max = 1, initial_delay = "10ms" }
        [service.success]
        script = "exit 7"
        restart = { success_codes = [7] }
        [service.no-success]
        script = "exit 0"
        restart = { success_codes = [7], startup_max = 1, initial_delay = "10ms" }
        "#,
    );
    assert_eq!(project.proc(&["up", "-d"]).code, 1);
    for (name, state, restarts) in [
        ("code", "exited", 0),
        ("other-code", "failed", 1),
        ("signal", "exited", 0),
        ("other-signal", "failed", 1),
        ("success", "exited", 0),
        ("no-success", "failed", 1),
    ] {
        let instance = project.instance(name);
        let found = (&instance["state"], &instance["restarts"]);
        assert_eq!(found, (&state.into(), &restarts.into()), "{name}");
    }
}

#[test]
fn what_has_failed_tries_afresh_after_its_cool_down() {
    let project = TestProject::new(
        r#"
        [service.cool]
        script = "[ -e once ] && exec sleep 1000; : > once; exit 1"
        start_seconds = "50ms"
        restart = { startup_max = 0, cool_down = "200ms" }
        "#,
    );
    project.proc(&["up", "-d"]);
    until(&project, 0, |e| e["to"] == "running");
    let states: Vec<Value> = events(&project)
        .into_iter()
        .filter(|e| e["service"] == "cool")
        .map(|e| e["to"].clone())
        .collect();
    assert_eq!(states, ["starting", "failed", "starting", "running"]);
}

#[test]
fn why_names_who_sent_a_fatal_signal() {
    let project = TestProject::new(&stays("web", "restart = \"never\""));
    project.ok(&["up", "-d"]);
    project.ok(&["signal", "KILL", "web"]);
    until(&project, 0, |e| e["to"] == "exited");
    let why = project.ok(&["why", "web"]);
    let uid = rustix::process::getuid().as_raw();
    let by = format!("by `signal` of uid {uid}");
    let said = why
        .lines()
        .any(|l| l.contains("signal 9") && l.contains(&by));
    assert!(said, "{why}");
    // A kill from elsewhere is nobody's that we know of.
    project.ok(&["start", "web"]);
    let seen = last_seq(&project);
    let pid = project.pid("web").to_string();
    project.ok(&["kill", "--single", "--signal", "KILL", &pid]);
    let exit = until(&project, seen, |e| e["to"] == "exited");
    assert_eq!(exit["cause"]["by"], Value::Null);
}

#[test]
fn names_take_globs_and_groups() {
    let all = ["web-a", "web-b", "db"]
        .map(|name| stays(name, ""))
        .concat();
    let project = TestProject::new(&format!("[groups]\nback = [\"db\", \"web-b\"]\n{all}"));
    project.ok(&["up", "-d"]);
    let states = || ["web-a", "web-b", "db"].map(|name| project.instance(name)["state"].clone());
    project.ok(&["stop", "web-*"]);
    assert_eq!(states(), ["stopped", "stopped", "running"]);
    project.ok(&["start", "@back"]);
    assert_eq!(states(), ["stopped", "running", "running"]);
    project.ok(&["stop", "@back"]);
    assert_eq!(states(), ["stopped", "stopped", "stopped"]);
}

#[test]
fn check_warns_of_a_budget_that_never_trips_and_the_schema_knows_every_key() {
    let budget = "restart = { crash_loop = { count = 9, within = \"1s\" }, jitter = \"none\" }";
    let project = TestProject::new(&stays("web", budget));
    let check = project.proc(&["check"]);
    let said = format!("{}{}", check.stdout, check.stderr);
    assert_eq!(check.code, 0, "{check:?}");
    assert!(
        said.contains("warning") && said.contains("crash_loop"),
        "{check:?}"
    );
    let schema: Value = serde_json::from_str(&project.ok(&["schema"])).expect("it is JSON");
    let text = schema.to_string();
    for key in [
        "start_retry_interval",
        "no_restart_on",
        "on_restart",
        "notify_fd",
        "overlap",
    ] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[test]
fn three_probes_at_once_each_have_their_say() {
    let project = TestProject::new(
        r#"
        [service.web]
        script = "rm -f dead; exec sleep 1000"
        start_seconds = "50ms"
        startup = { file = "started", interval = "50ms" }
        ready = { exec = "test -e ready", interval = "50ms", failures = 1 }
        alive = { exec = "test ! -e dead", interval = "50ms", failures = 2 }
        restart = { initial_delay = "10ms" }
        autostart = false
        [service.other]
        script = "exec sleep 1000"
        start_seconds = "50ms"
        "#,
    );
    project.ok(&["up", "-d"]);
    let seen = last_seq(&project);
    let start = project.spawn(&["start", "web"]);
    let web = |e: &Value, to: &str| e["service"] == "web" && e["to"] == to;
    until(&project, seen, |e| web(e, "starting"));
    project.write("started", "");
    let running = until(&project, seen, |e| web(e, "running"));
    assert_eq!(running["ready"], false, "{running}");
    project.write("ready", "");
    project.ok(&["wait", "web", "--for", "ready", "--timeout", "60s"]);
    assert_eq!(common::wait(start).code, 0);
    let seen = last_seq(&project);
    std::fs::remove_file(project.path().join("ready")).expect("it is ours");
    let not_ready = until(&project, seen, |e| e["ready"] == false);
    assert_eq!(not_ready["to"], "running", "not being ready ends nobody");
    project.write("ready", "");
    until(&project, seen, |e| e["ready"] == true);

    let old = project.pid("web");
    let seen = last_seq(&project);
    project.write("dead", "");
    until(&project, seen, |e| {
        e["to"] == "backoff" && e["cause"]["kind"] == "probe"
    });
    until(&project, seen, |e| {
        e["to"] == "running" && e["ready"] == true
    });
    assert_ne!(project.pid("web"), old);
    let why = project.ok(&["why", "web"]);
    assert!(
        why.contains("exec test ! -e dead: exited with code 1"),
        "{why}"
    );
}

#[test]
fn hooks_see_their_instance_as_the_service_does() {
    let project = TestProject::new(&stays(
        "web",
        r#"cwd = "in-${PROC_INSTANCE}"
        [[service.web.hooks.pre_start]]
        name = "note"
        env = { WHO = "${PROC_NAME}" }
        command = "echo $PROC_NAME $WHO >> hooked""#,
    ));
    for dir in ["in-1", "in-2"] {
        std::fs::create_dir(project.path().join(dir)).expect("create");
    }
    project.ok(&["up", "-d"]);
    project.ok(&["restart", "--rolling", "web"]);
    project.ok(&["scale", "web=2"]);
    project.ok(&["restart", "web"]);
    let hooked = |dir: &str| {
        let file = project.path().join(dir).join("hooked");
        std::fs::read_to_string(file).expect("a hook ran here")
    };
    assert_eq!(hooked("in-1"), "web web\nweb web\nweb-1 web-1\n");
    assert_eq!(hooked("in-2"), "web-2 web-2\nweb-2 web-2\n");
}

#[test]
fn a_failed_hook_is_named_with_what_it_said() {
    let project = TestProject::new(
        r#"
        [service.web]
        command = "sleep 1000"
        [[service.web.hooks.pre_start]]
        name = "migrate"
        command = "echo begins; echo no such table >&2; exit 4"
        "#,
    );
    let up = project.proc(&["up", "-d"]);
    assert_eq!(up.code, 1, "{up:?}");
    let expected = "pre_start hook `migrate` exited with code 4: no such table";
    assert!(up.stderr.contains(expected), "{up:?}");
    assert!(project.ok(&["why", "web"]).contains(expected));
}

#[test]
fn why_takes_several_names() {
    let project = TestProject::new(
        &("[groups]\nall = [\"web\", \"db\"]\n".to_owned()
            + &stays("web", "instances = 2")
            + &stays("db", "")),
    );
    project.ok(&["up", "-d"]);
    let named = |args: &[&str]| {
        let json = project.ok(&[&["why", "--json"], args].concat());
        let json: Value = serde_json::from_str(&json).expect("one document");
        let all = json.as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|why| why["service"]["name"].as_str().expect("a name").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(&["db", "web", "db"]), ["db", "web"]);
    assert_eq!(named(&["@all"]), ["web", "db"]);
    assert_eq!(named(&["*b"]), ["web", "db"]);
    assert_eq!(named(&["web-*"]), ["web", "web"], "one for each instance");
    let one = project.ok(&["why", "--json", "db"]);
    let one: Value = serde_json::from_str(&one).expect("one document");
    assert_eq!(one["service"]["name"], "db");
    assert_eq!(project.proc(&["why", "db", "nobody"]).code, 4);
    project.ok(&["down"]);
    assert_eq!(named(&["@all"]), ["web", "db"], "also from the records");
}

#[test]
fn no_number_of_instances_gives_two_of_them_one_name() {
    let both = || stays("web", "") + &stays("db", "");
    let project = TestProject::new(&(both() + &stays("db-1", "")));
    project.ok(&["up", "-d"]);
    let why = "`db-1` would also be an instance of `db`";
    let refused = project.proc(&["scale", "db=2"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains(why), "{refused:?}");
    assert_eq!(project.instance("db")["name"], "db");
    // The other way round: the service comes to those that were scaled.
    project.write("proc.toml", &both());
    project.ok(&["apply"]);
    project.ok(&["scale", "db=2"]);
    project.write("proc.toml", &(both() + &stays("db-1", "")));
    let refused = project.proc(&["apply"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains(why), "{refused:?}");
}

#[test]
fn what_is_to_run_always_and_ends_at_once_is_given_up() {
    let quick = "restart = { mode = \"always\", initial_delay = \"20ms\", max_delay = \"20ms\", jitter = \"none\", \
                 startup_max = 2, startup_grace = \"60s\" }\n";
    let project = TestProject::new(&format!("[service.a]\ncommand = \"true\"\n{quick}"));
    let up = project.proc(&["up", "-d"]);
    assert_eq!(up.code, 1, "{up:?}");
    let why =
        "failed: exit code 0; failed to start 3 times in a row (`startup_max` 2, ended within 1m)";
    assert!(up.stderr.contains(why), "{up:?}");
    let a = project.instance("a");
    assert_eq!((&a["state"], &a["restarts"]), (&"failed".into(), &2.into()));
}

#[test]
fn a_start_that_takes_too_long_is_told_with_what_its_probe_saw() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = listener.local_addr().expect("bound").port();
    drop(listener);
    let late = |name: &str, probe: &str| {
        let keys = format!("{probe}\nstart_timeout = \"500ms\"\nrestart = {{ mode = \"never\" }}");
        stays(name, &keys)
    };
    let project = TestProject::new(
        &(late(
            "a",
            "ready = { exec = \"sh -c 'echo disk is on fire; exit 4'\", interval = \"20ms\" }",
        ) + &late(
            "b",
            &format!("ready = {{ tcp = \"127.0.0.1:{closed}\", interval = \"20ms\" }}"),
        ) + &late(
            "c",
            "startup = { exec = \"exit 9\", interval = \"20ms\", failures = 1000 }",
        )),
    );
    let up = project.proc(&["up", "-d"]);
    assert_eq!(up.code, 1, "{up:?}");
    for (name, told) in [
        ("a", &["exited with code 4", "disk is on fire"][..]),
        ("b", &["refused"]),
        ("c", &["exited with code 9"]),
    ] {
        let why = project.ok(&["why", name]);
        let transition = why.lines().find(|line| line.contains("start timeout"));
        for told in told {
            assert!(transition.is_some_and(|line| line.contains(told)), "{why}");
            assert!(up.stderr.contains(told), "{told}: {up:?}");
            let instance = project.instance(name);
            let reason = instance["reason"].as_str().expect("a reason");
            assert!(reason.contains(told), "{instance}");
        }
    }
}

#[test]
fn scale_takes_globs_and_groups() {
    let config = "[groups]\nall = [\"web\", \"wsgi\", \"db\"]\n".to_owned()
        + &stays("web", "")
        + &stays("wsgi", "")
        + &stays("db", "");
    let project = TestProject::new(&config);
    project.ok(&["up", "-d"]);
    let counts = || {
        let status = project.status();
        let services = status["services"].as_array().expect("services").clone();
        let count = |s: &Value| s["instances"].as_array().map_or(0, Vec::len);
        services.iter().map(count).collect::<Vec<_>>()
    };
    project.ok(&["scale", "w*=2"]);
    assert_eq!(counts(), [2, 2, 1]);
    project.ok(&["scale", "@all=3", "db=1"]);
    assert_eq!(counts(), [3, 3, 1]);
    for nothing in ["x*=2", "@none=2", "web-1=2"] {
        assert_eq!(project.proc(&["scale", nothing]).code, 4, "{nothing}");
    }
    assert_eq!(counts(), [3, 3, 1], "nothing is done by halves");
}

//! Global flags, their environment twins, and how errors look.

mod common;

use std::process::{Command, Stdio};

use common::{Done, TestProject, wait};

const ONE: &str = "[service.web]\ncommand = \"true\"\n";

#[test]
fn flags_work_before_and_after_the_verb() {
    let project = TestProject::new(ONE);
    for args in [&["--json", "check"], &["check", "--json"]] {
        let checked: serde_json::Value = serde_json::from_str(&project.ok(args)).expect("JSON");
        assert_eq!(checked["services"], serde_json::json!(["web"]));
    }
}

#[test]
fn each_flag_has_a_twin_in_the_environment() {
    let project = TestProject::new(ONE);
    project.write("other.toml", "[service.other]\ncommand = \"true\"\n");
    let mut command = project.command(&["check"]);
    command.env("PROC_FILE", "other.toml").env("PROC_JSON", "1");
    let done = Done::from(command.output().expect("runs"));
    assert!(done.stdout.contains("\"other\""), "{done:?}");
    let help = project.ok(&["--help"]);
    for twin in [
        "PROC_DIR",
        "PROC_FILE",
        "PROC_PROJECT",
        "PROC_STATE_DIR",
        "PROC_JSON",
        "PROC_COLOR",
    ] {
        assert!(help.contains(twin), "{twin} is not in {help}");
    }
}

#[test]
fn within_a_service_another_place_is_another_project() {
    let project =
        TestProject::new("[project]\nname = \"inner\"\n[service.web]\ncommand = \"true\"\n");
    let status = |service: Option<&str>| {
        let mut command = project.command(&["status", "--json"]);
        command.env("PROC_PROJECT", "outer");
        command.envs(service.map(|service| ("PROC_SERVICE", service)));
        let done = Done::from(command.output().expect("runs"));
        let status: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
        status["project"].as_str().expect("a name").to_owned()
    };
    assert_eq!(status(Some("n")), "inner", "`-C` names the place");
    assert_eq!(status(None), "outer");
}

#[test]
fn an_empty_variable_is_none() {
    let project = TestProject::new(ONE);
    let mut command = Command::new(env!("CARGO_BIN_EXE_proc"));
    command.current_dir(project.path()).arg("check");
    for twin in [
        "DIR",
        "FILE",
        "PROJECT",
        "STATE_DIR",
        "JSON",
        "QUIET",
        "VERBOSE",
        "COLOR",
    ] {
        command.env(format!("PROC_{twin}"), "");
    }
    let done = Done::from(command.output().expect("runs"));
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("services: web"), "{done:?}");
}

#[test]
fn colours_are_forced_by_a_variable_that_is_not_0() {
    let project = TestProject::new(ONE);
    for (variables, coloured) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "0")], false),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")], true),
        (&[("CLICOLOR_FORCE", "1"), ("PROC_COLOR", "never")], false),
        (&[("NO_COLOR", "1"), ("PROC_COLOR", "always")], true),
    ] {
        let mut command = project.command(&["status"]);
        command.envs(variables.iter().copied());
        let done = Done::from(command.output().expect("runs"));
        assert_eq!(
            done.stdout.contains('\u{1b}'),
            coloured,
            "{variables:?}: {done:?}"
        );
    }
}

#[test]
fn a_file_is_the_same_project_however_it_is_named() {
    let project = TestProject::empty();
    for dir in ["my shop", "my shop/deep/deeper"] {
        std::fs::create_dir_all(project.path().join(dir)).expect("create");
    }
    project.write("my shop/proc.toml", ONE);
    let check = |dir: &str, file: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_proc"));
        command.current_dir(project.path().join(dir));
        command.args(["--json", "check"]);
        command.args(file.iter().flat_map(|file| ["-f", file]));
        Done::from(command.output().expect("runs"))
    };
    let plain = check("my shop", &[]);
    assert!(plain.stdout.contains("\"my-shop\""), "{plain:?}");
    for (dir, file) in [
        ("my shop/deep/deeper", &[][..]),
        ("my shop/deep/deeper", &["../../proc.toml"]),
        ("my shop/deep", &["../deep/../proc.toml"]),
        ("my shop", &["./proc.toml"]),
        (".", &["my shop/proc.toml"]),
    ] {
        assert_eq!(check(dir, file).stdout, plain.stdout, "{dir} {file:?}");
    }
}

#[test]
fn usage_errors_are_code_2() {
    let project = TestProject::new(ONE);
    for args in [
        &["nonsense"][..],
        &["status", "--nonsense"],
        &["stop"],
        &["stop", "web", "--grace", "-1s"],
    ] {
        let done = project.proc(args);
        assert_eq!(done.code, 2, "{args:?}: {done:?}");
        assert!(done.stderr.starts_with("error: "), "{done:?}");
    }
}

#[test]
fn a_broken_pipe_ends_quietly() {
    let project = TestProject::new(ONE);
    let mut command = project.command(&["check"]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let done = wait(child);
    assert_eq!((done.code, done.stderr.as_str()), (0, ""));
}

#[test]
fn colours_are_as_asked() {
    let project = TestProject::new("[service.web]\ncomand = \"true\"\n");
    let run = |args: &[&str], env: &[(&str, &str)]| {
        let mut command = project.command(args);
        command.envs(env.iter().copied());
        Done::from(command.output().expect("runs"))
            .stderr
            .contains('\u{1b}')
    };
    assert!(!run(&["check"], &[]), "no terminal, no colours");
    assert!(run(&["check"], &[("CLICOLOR_FORCE", "1")]));
    assert!(!run(
        &["check"],
        &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]
    ));
    assert!(run(&["--color", "always", "check"], &[("NO_COLOR", "1")]));
    assert!(!run(
        &["--color", "never", "check"],
        &[("CLICOLOR_FORCE", "1")]
    ));
}

#[test]
fn completions_and_manual_pages_cover_every_verb() {
    let project = TestProject::new(ONE);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            project.ok(&["completions", shell]).contains("restart"),
            "{shell}"
        );
    }
    project.ok(&["man", "pages"]);
    for page in ["proc.1", "proc-up.1", "proc-daemon-list.1"] {
        assert!(project.path().join("pages").join(page).exists(), "{page}");
    }
}

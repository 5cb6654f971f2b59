//! A configuration that cannot be used: code 2, the place and the key on stderr, nothing started.

mod common;

use common::TestProject;

#[track_caller]
fn refused(config: &str, expected: &[&str]) {
    for verb in [&["check"][..], &["up", "-d"]] {
        let project = TestProject::new(config);
        let done = project.proc(verb);
        assert_eq!(done.code, 2, "{verb:?} of {config:?}: {done:?}");
        assert!(done.stderr.starts_with("error: "), "{done:?}");
        for part in expected {
            assert!(done.stderr.contains(part), "`{part}` is not in {done:?}");
        }
        assert!(
            !project.state().join("lock").exists(),
            "a supervisor was started: {done:?}"
        );
    }
}

#[test]
fn an_unknown_key_is_named_with_its_place() {
    refused(
        "[service.web]\ncommand = \"true\"\ncomand = \"x\"\n",
        &["proc.toml:3:1", "comand"],
    );
}

#[test]
fn a_wrong_type_is_named_with_its_place() {
    refused(
        "[service.web]\ncommand = \"true\"\ninstances = \"two\"\n",
        &["proc.toml:3", "instances"],
    );
}

#[test]
fn a_missing_need_is_an_error() {
    refused(
        "[service.web]\ncommand = \"true\"\nneeds = { db = \"ready\" }\n",
        &["proc.toml:3", "db"],
    );
}

#[test]
fn a_cycle_is_an_error() {
    let config = "[service.a]\ncommand = \"true\"\nneeds = { b = \"ready\" }\n\
                  [service.b]\ncommand = \"true\"\nneeds = { a = \"ready\" }\n";
    refused(config, &["a", "b"]);
}

#[test]
fn an_unset_variable_with_a_message_is_an_error() {
    let config = "[service.web]\ncommand = \"echo ${PORT_OF_NOWHERE:?set it}\"\n";
    refused(config, &["proc.toml:2", "set it"]);
}

#[test]
fn a_name_with_a_slash_is_an_error() {
    refused(
        "[service.\"../web\"]\ncommand = \"true\"\n",
        &["proc.toml:1", "web"],
    );
}

#[test]
fn text_that_is_no_toml_is_an_error() {
    refused("[service.web\n", &["proc.toml:1"]);
}

#[test]
fn a_binary_is_no_configuration() {
    let project = TestProject::empty();
    std::fs::write(project.path().join("proc.toml"), [0xff, 0xfe, 0, 1]).expect("write");
    let done = project.proc(&["check"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("proc.toml"), "{done:?}");
}

#[test]
fn no_configuration_at_all_says_how_to_begin() {
    let project = TestProject::empty();
    let done = project.proc(&["check"]);
    assert_eq!(done.code, 2, "{done:?}");
    assert!(done.stderr.contains("hint: proc new"), "{done:?}");
}

#[test]
fn the_starter_file_is_valid() {
    let project = TestProject::empty();
    project.ok(&["new"]);
    let checked = project.ok(&["check"]);
    assert!(checked.contains("web"));
    // Two of them are two projects.
    let dir = project
        .path()
        .file_name()
        .expect("a name")
        .to_string_lossy();
    assert!(checked.contains(&format!("project {dir},")), "{checked}");
    assert_eq!(
        project.proc(&["new"]).code,
        1,
        "an existing file is not replaced"
    );
}

#[test]
fn limits_that_this_machine_cannot_keep_are_told_by_check_as_by_status() {
    let project = TestProject::new(
        "[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = 0\n\
         limits = { pids = 4000 }\n",
    );
    let told = project.proc(&["check"]).stderr.contains("limits.pids");
    project.ok(&["up", "-d"]);
    let degraded = project.status()["degraded"].to_string();
    assert_eq!(told, degraded.contains("limits.pids"), "{degraded}");
}

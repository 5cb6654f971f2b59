//! State directories of other versions: old and new readers of old and new data.
//!
//! `formats/1` is a state directory as the first format has it, of a project whose machine has been started again. When
//! a format changes, a directory `formats/N` is added beside it and no file of an older one is touched.
//!
//! | | old data | new data |
//! |---|---|---|
//! | old reader | reads it | reads it where the data says it may, leaving what it does not know; else sets it aside |
//! | new reader | reads it | reads it |

use std::path::{Path, PathBuf};

use proc_store::Registry;
use proc_tests::Project;
use serde_json::{Value, json};

const CONFIG: &str = "[project]\nname = \"shop\"\n[defaults]\nstart_seconds = 0\nargv = [\"sleep\", \"infinity\"]\n\
    [service.web]\n[service.job]\nargv = [\"sh\", \"-c\", \"exit 3\"]\nstart_seconds = \"5s\"\n\
    restart = { mode = \"on-failure\", max = 2, startup_max = 2, initial_delay = \"10ms\" }\n\
    [service.held]\n[service.many]\ninstances = 2\n";
/// The number of the last event in the journal.
const LAST: u64 = 17;

/// Makes a project whose state directory is the one that is kept of a format.
fn project_of(format: &str) -> Project {
    let project = Project::with(CONFIG);
    copy(&fixture(format), &project.state());
    project
}

fn fixture(format: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("chaos/formats")
        .join(format)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the scratch directory is writable");
    for path in entries(from) {
        let name = path.file_name().expect("it has a name");
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).expect("a file can be copied");
        }
    }
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("it is there");
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("it can be listed").path())
        .collect();
    paths.sort();
    paths
}

/// Rewrites every record as a version to come may: with fields nobody knows yet, and the oldest reader it is for.
fn from_the_future(state: &Path, min_reader: u32) {
    let mut json: Vec<PathBuf> = entries(&state.join("services"));
    json.extend(["project.json", "applied.json", "registration.json"].map(|name| state.join(name)));
    for path in json {
        edit_json(&path, |record| {
            record["format"] = json!(2);
            record["min_reader"] = json!(min_reader);
            record["colour"] = json!({ "of": ["the", "future"] });
        });
    }
    for dir in entries(&state.join("instances")) {
        for path in entries(&dir) {
            let text = std::fs::read_to_string(&path).expect("it is text");
            let head = format!("format=2\nmin_reader={min_reader}\ncolour=red\n");
            let text = text.replacen("format=1\n", &head, 1);
            std::fs::write(&path, text).expect("it is ours");
        }
    }
    let journal = state.join("events.jsonl");
    let text = std::fs::read_to_string(&journal).expect("it is text");
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("a line is JSON");
        if line.get("format").is_some() {
            line["format"] = json!(2);
        }
        line["colour"] = json!("red");
        format!("{line}\n")
    });
    std::fs::write(&journal, lines.collect::<String>()).expect("it is ours");
}

fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let bytes = std::fs::read(path).expect("it is there");
    let mut record = serde_json::from_slice(&bytes).expect("a record is JSON");
    edit(&mut record);
    std::fs::write(path, record.to_string()).expect("it is ours");
}

/// Looks at everything that the records tell without a supervisor.
fn assert_read(project: &Project) {
    let status = project.status();
    assert_eq!(status["project"], "shop");
    assert_eq!(status["degraded"], json!([]), "{status:#}");
    let (web, job) = (project.instance("web"), project.instance("job"));
    // It is of another boot, so nothing of it lives, whoever has its number.
    assert_eq!(
        (&web["state"], &web["pid"]),
        (&"stopped".into(), &Value::Null)
    );
    assert_eq!(
        (&job["state"], &job["restarts"]),
        (&"failed".into(), &2.into())
    );
    assert_eq!(job["last_exit"]["code"], 3);
    let desired = |name: &str| {
        let services = status["services"].as_array().expect("services is a list");
        let found = services.iter().find(|service| service["name"] == name);
        found.expect("it is listed")["desired"].clone()
    };
    assert_eq!(
        (desired("web"), desired("held")),
        ("up".into(), "down".into())
    );
    let events = project.events();
    let numbers: Vec<u64> = events.iter().filter_map(|e| e["seq"].as_u64()).collect();
    assert_eq!(numbers, (1..=LAST).collect::<Vec<_>>());
    let codes = events.iter().filter_map(|e| e["exit"]["code"].as_i64());
    assert_eq!(codes.collect::<Vec<_>>(), [3, 3, 3]);
    assert!(project.ok(&["why", "job"]).contains("startup_max"));
    assert_eq!(project.ok(&["logs", "job", "--raw"]), "one\none\none\n");
}

/// Lets a supervisor go on from there: what was wanted runs, what was held does not, and the numbers go on.
fn assert_goes_on(project: &Project) {
    // The job fails again.
    assert_eq!(project.run(&["up", "-d"]).code, 1);
    for (name, state) in [
        ("web", "running"),
        ("many-1", "running"),
        ("many-2", "running"),
        ("held", "stopped"),
        ("job", "failed"),
    ] {
        assert_eq!(project.instance(name)["state"], state, "{name}");
    }
    let web = &project.instance("web")["last_exit"];
    assert_eq!(
        (&web["code"], &web["signal"]),
        (&Value::Null, &Value::Null),
        "nobody knows how it ended"
    );
    let events = project.events();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number as u64 + 1, "a gap at {event}");
    }
    assert!(project.last_seq() > LAST);
}

fn assert_registry(dir: &Path) {
    let registry = Registry::at(dir);
    let listing = registry.list().expect("it can be read");
    let [daemon] = &listing.daemons[..] else {
        panic!("{listing:?}");
    };
    assert_eq!(daemon.registration.project.as_deref(), Some("shop"));
    assert!(!daemon.liveness.is_alive(), "it is of another boot");
    assert_eq!(registry.prune().expect("it is ours").len(), 1);
    assert!(listing.unreadable.is_empty());
}

fn registry_of(project: &Project) -> PathBuf {
    let dir = project.dir().join("registry");
    std::fs::create_dir(&dir).expect("the scratch directory is writable");
    let from = project.state().join("registration.json");
    std::fs::copy(from, dir.join("supervisor.json")).expect("a file can be copied");
    dir
}

#[test]
fn what_the_first_format_holds_is_read_and_gone_on_with() {
    let project = project_of("1");
    assert_read(&project);
    assert_registry(&registry_of(&project));
    for name in ["plain.pid", "three-lines.pid"] {
        let file = project.state().join(name);
        let liveness = proc_store::PidFile::read(&file).expect("it can be read");
        let proc_store::ReadPid::Record(record) = liveness else {
            panic!("{name}: {liveness:?}");
        };
        assert_eq!(record.pid, 8241, "{name}");
        let known = record
            .identity
            .is_some_and(|identity| identity.liveness().is_alive());
        assert!(!known, "{name}");
    }
    assert_goes_on(&project);
    assert_eq!(project.status()["degraded"], json!([]));
    project.ok(&["down"]);
}

#[test]
fn a_later_format_that_says_so_is_read_and_gone_on_with() {
    let project = project_of("1");
    from_the_future(&project.state(), 1);
    assert_read(&project);
    assert_registry(&registry_of(&project));
    assert_goes_on(&project);
    assert_eq!(project.status()["degraded"], json!([]));
    project.ok(&["down"]);
}

#[test]
fn a_later_format_that_cannot_be_read_is_kept_and_told_and_stops_nothing() {
    let project = project_of("1");
    let state = project.state();
    let record = state.join("services/web.json");
    edit_json(&record, |record| {
        record["format"] = json!(2);
        record["min_reader"] = json!(2);
    });
    let run = state.join("instances/many-1/run");
    std::fs::write(&run, "format=2\nmin_reader=2\nrun=one\n").expect("it is ours");
    let kept = [&record, &run].map(|path| std::fs::read(path).expect("it is there"));
    let registration = state.join("registration.json");
    edit_json(&registration, |record| {
        record["format"] = json!(2);
        record["min_reader"] = json!(2);
    });

    // A reader of the registry changes nothing at all.
    let dir = registry_of(&project);
    let registry = Registry::at(&dir);
    assert!(registry.prune().expect("it is ours").is_empty());
    assert_eq!(registry.list().expect("it can be read").unreadable.len(), 1);
    assert!(dir.join("supervisor.json").exists());

    assert_eq!(project.run(&["up", "-d"]).code, 1);
    let status = project.status();
    let degraded = status["degraded"].to_string();
    for (name, bytes) in ["services/web.json", "instances/many-1/run"]
        .into_iter()
        .zip(kept)
    {
        assert!(degraded.contains(name), "{name} is not told: {degraded}");
        let aside = state.join(format!("{name}.unreadable-1"));
        assert_eq!(std::fs::read(aside).ok(), Some(bytes), "{name} is kept");
    }
    for name in ["web", "many-1", "many-2"] {
        assert_eq!(project.instance(name)["state"], "running", "{name}");
    }
    project.ok(&["down"]);
}

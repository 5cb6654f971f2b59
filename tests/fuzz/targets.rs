//! What is fed: each takes any bytes. `fuzz/` has the same ones for `cargo fuzz`.

use std::collections::BTreeMap;
use std::path::Path;

use proc_shim::{ExitRecord, Framer, RunRecord, ShimRecord, decode_incoming, decode_request};
use proc_spec::{ImportFormat, Loader, Project, import};
use proc_store::{Journal, JournalOptions, PidFile, PidRecord, StateDir, read_since};
use tempfile::TempDir;

/// A supervisor's records: read without one, and set aside where they make no sense.
pub(crate) fn state(bytes: &[u8]) {
    let dir = scratch();
    for place in ["services", "."] {
        put(&dir.path().join(place).join("web.json"), bytes);
    }
    put(&dir.path().join("project.json"), bytes);
    // What it says is worth nothing; that it says something is all that is asked.
    _ = proc_supervisor::offline::status(dir.path());
    _ = proc_supervisor::offline::why(dir.path(), "web", 10);
    let state = StateDir::open(dir.path()).expect("a directory of our own");
    let found = state.read_services::<Anything>().expect("it is readable");
    let kept = found.records.len() + found.set_aside.len() + found.failed.len();
    // None where the reading above has set it aside already.
    assert!(kept <= 1, "a record is read or kept, once");
}

/// Any record at all.
#[derive(serde::Serialize, serde::Deserialize)]
struct Anything(serde_json::Map<String, serde_json::Value>);

impl proc_store::Record for Anything {
    const FORMAT: u32 = 1;
}

/// A journal: opened, mended, appended to, and read.
pub(crate) fn journal(bytes: &[u8]) {
    let dir = scratch();
    let path = dir.path().join("events.jsonl");
    put(&path, bytes);
    let before: Vec<u64> = numbers(&path);
    let Ok(mut journal) = Journal::open(&path, JournalOptions::default()) else {
        return;
    };
    let Ok(first) = journal.append(&serde_json::json!({ "after": "damage" })) else {
        // The highest number there is was in it.
        return;
    };
    let second = journal.append(&serde_json::json!({ "after": "that" }));
    drop(journal);
    assert!(
        before.iter().all(|seq| *seq < first),
        "a number is given once"
    );
    if let Ok(second) = second {
        assert_eq!(second, first + 1, "no number is left out");
        assert_eq!(numbers(&path).last(), Some(&second));
    }
}

fn numbers(path: &Path) -> Vec<u64> {
    let since = read_since(path, 0);
    since.map_or_else(
        |_| Vec::new(),
        |since| since.entries.iter().map(|entry| entry.seq).collect(),
    )
}

/// A PID file, ours or somebody else's.
pub(crate) fn pid_file(bytes: &[u8]) {
    let dir = scratch();
    let path = dir.path().join("web.pid");
    if let Some(record) = PidRecord::parse(bytes) {
        _ = record.liveness();
    }
    put(&path, bytes);
    _ = PidFile::read(&path);
}

/// What a shim leaves for the next supervisor.
pub(crate) fn shim_records(bytes: &[u8]) {
    let dir = scratch();
    for name in ["shim", "run", "exit"] {
        put(&dir.path().join(name), bytes);
    }
    _ = ShimRecord::read(dir.path());
    _ = RunRecord::read(dir.path());
    _ = ExitRecord::read(dir.path());
}

/// Both directions of the shim's socket, in one piece and byte by byte.
pub(crate) fn shim_protocol(bytes: &[u8]) {
    let mut whole = Framer::new();
    whole.push(bytes);
    let mut pieces = Framer::new();
    let mut frames = 0;
    for byte in bytes {
        pieces.push(std::slice::from_ref(byte));
        while let Ok(Some(frame)) = pieces.take() {
            frames += 1;
            assert_eq!(whole.take().ok().flatten().as_ref(), Some(&frame));
            _ = decode_request(&frame);
            _ = decode_incoming(&frame);
        }
        assert!(pieces.pending() <= bytes.len());
        if frames > 4096 {
            return;
        }
    }
}

/// A configuration, a Procfile and an environment file of the same bytes.
pub(crate) fn config(bytes: &[u8]) {
    let dir = scratch();
    for name in ["proc.toml", "Procfile", ".env"] {
        put(&dir.path().join(name), bytes);
    }
    let env: BTreeMap<String, String> = [("HOME", "/root"), ("A", "b")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for name in ["proc.toml", "Procfile"] {
        let mut loader = Loader::new(dir.path(), env.clone());
        loader.files = vec![name.into()];
        match loader.load() {
            Ok(project) => {
                let shown = serde_json::to_value(&project).expect("what was read can be shown");
                let back: Project = serde_json::from_value(shown).expect("and read back");
                assert_eq!(back, project, "as it is when a supervisor goes on with it");
            }
            Err(errors) => assert!(
                !errors.to_string().is_empty(),
                "an error says what is wrong"
            ),
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = proc_spec::parse_env_file(text, |name| env.get(name).cloned());
    }
}

/// Files of other supervisors.
pub(crate) fn imports(bytes: &[u8]) {
    let dir = scratch();
    let names = [
        (ImportFormat::Procfile, "Procfile"),
        (ImportFormat::Supervisord, "supervisord.conf"),
        (ImportFormat::Pm2, "ecosystem.config.js"),
        (ImportFormat::Pm2, "ecosystem.json"),
        (ImportFormat::ProcessCompose, "process-compose.yaml"),
        (ImportFormat::Systemd, "web.service"),
    ];
    for (format, name) in names {
        let path = dir.path().join(name);
        put(&path, bytes);
        _ = import(format, &path);
    }
}

fn scratch() -> TempDir {
    tempfile::tempdir().expect("a temp dir can be made")
}

fn put(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().expect("a file has a parent")).expect("it is ours");
    std::fs::write(path, bytes).expect("the scratch directory is writable");
}

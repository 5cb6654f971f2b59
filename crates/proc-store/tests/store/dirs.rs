//! Where things live, and who may come in.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proc_store::StateDir;
use proc_store::dirs::{DirError, ensure_private, project_dirs, registry_dir, runtime_dir};

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn the_rules_of_the_contract() {
    let xdg: &[_] = &[
        ("XDG_STATE_HOME", "/s"),
        ("XDG_RUNTIME_DIR", "/r"),
        ("HOME", "/h"),
    ];
    let home: &[_] = &[("HOME", "/h")];
    let relative: &[_] = &[
        ("XDG_STATE_HOME", "s"),
        ("XDG_RUNTIME_DIR", ""),
        ("HOME", "/h"),
    ];
    let none: &[(&str, &str)] = &[];
    let table = [
        (1000, xdg, Some("/s/proc/shop"), "/r/proc/shop"),
        (
            1000,
            home,
            Some("/h/.local/state/proc/shop"),
            "/tmp/proc-1000/shop",
        ),
        (
            1000,
            relative,
            Some("/h/.local/state/proc/shop"),
            "/tmp/proc-1000/shop",
        ),
        (1000, none, None, "/tmp/proc-1000/shop"),
        (0, xdg, Some("/var/lib/proc/shop"), "/run/proc/shop"),
        (0, none, Some("/var/lib/proc/shop"), "/run/proc/shop"),
    ];
    for (uid, pairs, state, runtime) in table {
        let env = env(pairs);
        let dirs = project_dirs(uid, &env, "shop", None).ok();
        assert_eq!(
            dirs.map(|dirs| dirs.state),
            state.map(PathBuf::from),
            "{uid} {pairs:?}"
        );
        assert_eq!(
            runtime_dir(uid, &env, "shop"),
            Path::new(runtime),
            "{uid} {pairs:?}"
        );
        assert!(registry_dir(uid, &env).ends_with(".registry"));
    }
    let dirs = project_dirs(1000, &env(none), "shop", Some(Path::new("/d"))).unwrap();
    assert_eq!(
        (dirs.state, dirs.runtime),
        (PathBuf::from("/d"), PathBuf::from("/d/run"))
    );
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[test]
fn a_private_directory_is_made_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/c");
    ensure_private(&path, uid()).unwrap();
    for part in ["a", "a/b", "a/b/c"] {
        assert_eq!(
            fs::metadata(dir.path().join(part)).unwrap().mode() & 0o777,
            0o700,
            "{part}"
        );
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    ensure_private(&path, uid()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn what_is_not_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (file, link) = (dir.path().join("file"), dir.path().join("link"));
    fs::write(&file, "").unwrap();
    symlink(dir.path(), &link).unwrap();
    for path in [&file, &link, &file.join("below")] {
        let error = ensure_private(path, uid()).expect_err("not a directory");
        assert!(matches!(error, DirError::NotADirectory { .. }), "{error:?}");
    }
    let error = ensure_private(dir.path(), uid() + 1).expect_err("somebody else's");
    assert!(matches!(error, DirError::Owner { .. }), "{error:?}");
    let error = ensure_private("/tmp", 0).expect_err("everybody's");
    assert!(
        matches!(error, DirError::Shared { .. } | DirError::Owner { .. }),
        "{error:?}"
    );
    assert_eq!(
        fs::metadata("/tmp").unwrap().mode() & 0o1000,
        0o1000,
        "and unchanged"
    );
}

/// Somebody else made the fallback directory first, or put a link there.
#[test]
fn the_fallback_directory_is_not_fallen_into() {
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), shared.path().join("proc-1000")).unwrap();
    let error = ensure_private(shared.path().join("proc-1000/shop"), uid()).expect_err("a link");
    assert!(matches!(error, DirError::NotADirectory { .. }), "{error:?}");
    assert_eq!(
        fs::read_dir(elsewhere.path()).unwrap().count(),
        0,
        "nothing was made behind it"
    );
    fs::create_dir(shared.path().join("proc-7")).unwrap();
    let error = ensure_private(shared.path().join("proc-7/shop"), uid() + 1).expect_err("theirs");
    assert!(matches!(error, DirError::Owner { .. }), "{error:?}");
    assert!(!shared.path().join("proc-7/shop").exists());
    ensure_private(shared.path().join("proc-8/shop"), uid()).unwrap();
}

#[test]
fn a_state_directory_has_its_places() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path().join("shop")).unwrap();
    for part in ["", "instances", "services", "log"] {
        let meta = fs::metadata(state.root().join(part)).unwrap();
        assert_eq!(
            (meta.is_dir(), meta.mode() & 0o777),
            (true, 0o700),
            "{part}"
        );
    }
    assert_eq!(state.journal(), dir.path().join("shop/events.jsonl"));
}

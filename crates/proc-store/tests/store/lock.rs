//! One holder at a time, known by its pid, and free when the holder dies.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{self, Helper};
use proc_core::Identity;
use proc_store::{LifeLock, LockError, StateDir, lock};

#[test]
#[ignore = "a helper process of the tests below"]
fn helper_tries_to_hold() {
    let Some(path) = support::path() else { return };
    match LifeLock::acquire(&path) {
        Ok(_lock) => {
            support::say("won");
            support::stay();
        }
        Err(LockError::Held(held)) => support::say(format!("{:?}", held.pid)),
        Err(error) => support::say(format!("{error:?}")),
    }
}

/// K10, K15: exactly one wins, and every other one names it.
#[test]
fn a_hundred_racers_have_one_winner_and_ninety_nine_who_know_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    // What a killed holder left must not be named.
    fs::write(&path, r#"{"pid":1,"identity":null}"#).unwrap();
    let mut racers: Vec<Helper> = (0..100)
        .map(|_| Helper::run(concat!(module_path!(), "::helper_tries_to_hold"), &path))
        .collect();
    let heard: Vec<Option<String>> = racers.iter_mut().map(Helper::hear).collect();
    let winners: Vec<usize> = (0..100)
        .filter(|at| heard[*at].as_deref() == Some("won"))
        .collect();
    assert_eq!(winners.len(), 1, "{heard:?}");
    let named = format!("Some({})", racers[winners[0]].pid());
    let losers = heard.iter().enumerate().filter(|(at, _)| *at != winners[0]);
    for (_, said) in losers {
        assert_eq!(said.as_deref(), Some(named.as_str()));
    }
}

#[test]
fn a_killed_holder_frees_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut helper = Helper::run(concat!(module_path!(), "::helper_tries_to_hold"), &path);
    assert_eq!(helper.hear().as_deref(), Some("won"));
    let holder = lock::holder(&path).unwrap().expect("it is held");
    assert_eq!(holder.pid, Some(helper.pid()));
    assert_eq!(
        holder.identity.map(|identity| identity.pid),
        Some(helper.pid())
    );
    let error = LifeLock::acquire(&path)
        .expect_err("it is held")
        .to_string();
    assert!(error.contains(&format!("pid {}", helper.pid())), "{error}");
    helper.kill();
    assert_eq!(
        lock::holder(&path).unwrap(),
        None,
        "its signature is still there"
    );
    drop(acquire_soon(&path));
    assert_eq!(
        fs::read(&path).unwrap(),
        b"",
        "an orderly release leaves no name"
    );
}

#[test]
fn a_removed_lock_file_excludes_nobody_twice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let first = LifeLock::acquire(&path).unwrap().remove_on_release();
    drop(first);
    assert!(!path.exists());
    let second = LifeLock::acquire(&path).unwrap().remove_on_release();
    fs::remove_file(&path).unwrap();
    let third = LifeLock::acquire(&path).unwrap();
    drop(second);
    assert!(path.exists(), "the second removes only its own file");
    assert!(matches!(LifeLock::acquire(&path), Err(LockError::Held(_))));
    drop(third);
}

#[test]
fn an_inherited_descriptor_carries_the_lock_on() {
    use std::os::fd::AsFd;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let first = LifeLock::acquire(&path).unwrap();
    let fd = first.as_fd().try_clone_to_owned().unwrap();
    let second = LifeLock::from_fd(fd, &path).unwrap();
    drop(first);
    assert!(
        matches!(LifeLock::acquire(&path), Err(LockError::Held(_))),
        "a copy still holds it"
    );
    drop(second);
    acquire_soon(&path);
}

/// Acquires a lock that was just let go of: a child that another test forks at that moment has a copy until its exec.
fn acquire_soon(path: &Path) -> LifeLock {
    let begin = Instant::now();
    loop {
        match LifeLock::acquire(path) {
            Err(LockError::Held(_)) if begin.elapsed() < Duration::from_secs(30) => {
                std::thread::yield_now();
            }
            answer => return answer.expect("nobody holds it"),
        }
    }
}

#[test]
fn strange_lock_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("target"), dir.path().join("link"));
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert!(matches!(
        LifeLock::acquire(&link),
        Err(LockError::Io { .. })
    ));
    assert!(!target.exists(), "a link is not followed");
    assert!(matches!(
        LifeLock::acquire(dir.path()),
        Err(LockError::Io { .. })
    ));
}

#[test]
fn a_state_directory_has_one_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path().join("shop")).unwrap();
    fs::write(state.root().join(".project.json.1-1-1.proc-tmp"), "half").unwrap();
    let _lock = state.lock().unwrap();
    assert!(
        !state.root().join(".project.json.1-1-1.proc-tmp").exists(),
        "litter is swept"
    );
    let again = StateDir::open(dir.path().join("shop")).unwrap();
    assert!(
        matches!(again.lock(), Err(LockError::Held(held)) if held.pid == Some(std::process::id()))
    );
}

#[test]
fn a_holder_that_cannot_be_looked_at_is_one_only_while_it_holds_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let mut identity = Identity::current().unwrap();
    (identity.pid_ns, identity.pidfs_ino, identity.handle) = (1, None, None);
    let signature = lock::Holder {
        pid: Some(identity.pid),
        identity: Some(identity),
    };
    fs::write(&path, serde_json::to_vec(&signature).unwrap()).unwrap();
    assert_eq!(lock::holder(&path).unwrap(), None);
    let held = fs::File::open(&path).unwrap();
    held.lock().unwrap();
    assert_eq!(lock::holder(&path).unwrap(), Some(signature));
    drop(held);
    LifeLock::acquire(&path).expect("looking has not taken it");
}

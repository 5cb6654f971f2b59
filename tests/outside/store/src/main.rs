//! Is the only one of its kind, and keeps its state.

use std::collections::BTreeMap;

use proc_store::{Journal, JournalOptions, PidFile, PidFileError, StateDir, read_since};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::env::temp_dir().join(format!("outside-store-{}", std::process::id()));
    let state = StateDir::open(&root)?;
    let _lock = state.lock()?;
    let guard = PidFile::acquire(root.join("store.pid"))?;
    let second = PidFile::acquire(root.join("store.pid"));
    assert!(matches!(second, Err(PidFileError::Running { .. })));
    let mut journal = Journal::open(state.journal(), JournalOptions::default())?;
    proc_store::atomic::write(&root.join("state.json"), b"{}\n", 0o600)?;
    assert_eq!(journal.append(&BTreeMap::from([("to", "running")]))?, 1);
    assert_eq!(read_since(state.journal(), 0)?.entries.len(), 1);
    drop(guard);
    assert!(!root.join("store.pid").exists());
    std::fs::remove_dir_all(root)?;
    Ok(())
}

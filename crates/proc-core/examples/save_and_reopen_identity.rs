//! Saves who a process is, and finds it again from the text alone, as after a crash.
use proc_core::{Identity, Signal, Spawn};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let child = Spawn::new("sleep").arg("1000").spawn()?;
    let saved = serde_json::to_string(child.identity())?;

    let identity: Identity = serde_json::from_str(&saved)?;
    let handle = identity.open()?;
    assert!(identity.liveness().is_alive());
    handle.signal(Signal::TERM)?;

    // Reaped, its number may belong to anybody; the handle and the identity still mean this process alone.
    assert_eq!(child.wait()?.signal(), Some(Signal::TERM));
    assert!(handle.signal(Signal::TERM).is_err() && identity.open().is_err());
    Ok(())
}

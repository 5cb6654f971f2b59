//! Starts a program that ignores TERM, opens it by its identity, and ends its tree.

use proc_core::{Identity, Liveness, Signal, Spawn, Stdio, StopOptions, stop_tree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut child = Spawn::new("sh")
        .args(["-c", "trap '' TERM; sleep 1000 & echo ready; wait"])
        .stdout(Stdio::Pipe)
        .spawn()?;
    let stdout = child.take_stdout().ok_or("stdout is a pipe")?;
    std::io::Read::read_exact(&mut std::fs::File::from(stdout), &mut [0; 6])?;

    let identity: Identity = child.identity().clone();
    assert!(identity.liveness().is_alive());
    identity.open()?.signal(Signal::PROBE)?;
    let report = stop_tree(
        child.handle(),
        &"TERM/100ms, KILL".parse()?,
        StopOptions::default(),
    )?;
    assert!(
        report.escalated && report.survivors.is_empty(),
        "{report:?}"
    );
    assert_eq!(child.wait()?.signal(), Some(Signal::KILL));
    assert!(matches!(identity.liveness(), Liveness::Dead { .. }));
    Ok(())
}

//! Stops a shell and the child it waits for.
use proc_core::{Spawn, Stdio, StopOptions, stop_tree};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A shell that waits for a background child; `read` returns once both are there.
    let mut child = Spawn::new("sh")
        .args(["-c", "sleep 1000 & echo; wait"])
        .stdout(Stdio::Pipe)
        .spawn()?;
    let stdout = child.take_stdout().ok_or("stdout is a pipe")?;
    std::io::Read::read_exact(&mut std::fs::File::from(stdout), &mut [0])?;

    let report = stop_tree(
        child.handle(),
        &"TERM/5s, KILL".parse()?,
        StopOptions::default(),
    )?;
    assert!(report.survivors.is_empty() && !report.escalated);
    assert_eq!(child.wait()?.shell_code(), 128 + 15);
    Ok(())
}

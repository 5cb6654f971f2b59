//! A daemon from its start to its ordered end: `cargo run -p proc-daemon --example daemon`.

#![expect(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

use std::time::Duration;

use proc_daemon::{Daemon, HealthServer, terminated};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    proc_daemon::block_on(serve())?
}

async fn serve() -> Result<(), Box<dyn std::error::Error>> {
    let told_to_end = terminated()?;
    let dir = std::env::temp_dir().join(format!("proc-daemon-{}", std::process::id()));
    let daemon = Daemon::new("worker")
        .pid_file(dir.join("worker.pid")) // a second one is refused, and told our pid
        .health(
            "127.0.0.1:0",
            HealthServer::new().check("queue", Duration::from_secs(1), queue),
        )
        .registry(dir.join("registry"))
        .start()
        .await?; // all of it, or nothing and an error
    daemon.set_ready(true);
    let address = daemon.health_address().unwrap_or_default();
    println!(
        "pid {}: http://{address}/health, /ready",
        std::process::id()
    );
    // Then: not ready, unregistered, drained, health off, lock released.
    let stopped = daemon
        .run(told_to_end, async { /* finish what is in hand */ })
        .await;
    println!("{stopped}");
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

async fn queue() -> Result<(), String> {
    Ok(())
}

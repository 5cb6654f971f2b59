//! A daemon from its start to its end.

use proc_daemon::{Daemon, HealthServer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::temp_dir().join(format!("outside-daemon-{}", std::process::id()));
    let stopped = proc_daemon::block_on(async {
        let daemon = Daemon::new("outside")
            .pid_file(dir.join("daemon.pid"))
            .health("127.0.0.1:0", HealthServer::new())
            .registry(dir.join("registry"))
            .start()
            .await?;
        daemon.set_ready(true);
        Ok::<_, proc_daemon::StartError>(daemon.stop(async {}).await)
    })??;
    println!("{stopped}");
    assert!(stopped.drained && !dir.join("daemon.pid").exists());
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

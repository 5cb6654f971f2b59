//! Serves `/ready` and waits for it.

use std::time::Duration;

use proc_probe::{HealthServer, HttpProbe, Probe, ProbeContext, ProbeKind, Role, wait_for};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    proc_probe::block_on(async {
        let health = HealthServer::new().listen("127.0.0.1:0").await?;
        health.set_ready(true);
        let url = format!("http://{}/ready", health.address()).parse()?;
        let probe = Probe::new(Role::Ready, ProbeKind::Http(HttpProbe::new(url)));
        let seen = wait_for(&probe, &ProbeContext::default(), Duration::from_secs(30)).await;
        println!("{seen}");
        assert!(seen.passed);
        health.stop(Duration::from_secs(30)).await;
        Ok(())
    })?
}

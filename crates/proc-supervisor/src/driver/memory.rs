//! The memory ceiling: a reading every 10 s, for services that have one and for no others.

use std::time::Duration;

use proc_core::list;

use super::{Driver, Msg};
use crate::machine::Event;

/// How often the processes of a service with a ceiling are looked at.
const EVERY: Duration = Duration::from_secs(10);

impl Driver {
    /// Begins to measure a run whose service has a ceiling.
    pub(super) fn meter(&mut self, key: &str) {
        let Some(instance) = self.instances.get(key) else {
            return;
        };
        let service = self.services.get(&instance.service);
        let ceiling = service.and_then(|service| service.spec.max_memory);
        let leader = instance.started.as_ref().map(|started| started.pid);
        let (Some(_), Some(leader)) = (ceiling, leader) else {
            return;
        };
        let (inbox, epoch, name) = (self.inbox.clone(), instance.epoch, key.to_owned());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let reading = tokio::task::spawn_blocking(move || resident(leader)).await;
                let Ok(Some(bytes)) = reading else {
                    continue;
                };
                let key = name.clone();
                if inbox.send(Msg::Memory { key, epoch, bytes }).await.is_err() {
                    return;
                }
            }
        });
        if let Some(instance) = self.instances.get_mut(key)
            && let Some(old) = instance.meter.replace(task)
        {
            old.abort();
        }
    }

    /// A reading has come.
    pub(super) fn measured(&mut self, key: &str, epoch: u64, bytes: u64) {
        let Some(instance) = self.instances.get(key).filter(|i| i.epoch == epoch) else {
            return;
        };
        let service = self.services.get(&instance.service);
        let Some(ceiling) = service.and_then(|service| service.spec.max_memory) else {
            return;
        };
        if bytes > ceiling {
            let evidence = format!("it takes {bytes} bytes of memory, more than {ceiling}");
            let kind = "max_memory";
            self.drive(key, Event::Recycle { kind, evidence });
        }
    }
}

/// Returns what a process and its descendants keep in memory, in bytes; `None` when it has gone.
fn resident(leader: u32) -> Option<u64> {
    let own = list::get(leader).ok()?.rss_bytes;
    let below = list::descendants(leader).unwrap_or_default();
    Some(own + below.iter().map(|process| process.rss_bytes).sum::<u64>())
}

//! What all instances share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::bus::Bus;
use super::options::SystemctlOptions;
use super::target::Target;
use super::tool::Tool;
use crate::event::EventSender;

/// Which manager: the user's or not, and of which host.
type Which = (bool, Option<String>);

#[derive(Debug)]
pub(super) struct Common {
    pub(super) options: SystemctlOptions,
    pub(super) events: EventSender,
    pub(super) root: bool,
    pub(super) buses: Mutex<HashMap<Which, Weak<Bus>>>,
}

impl Common {
    /// Returns the connection on which a manager's changes are heard; it lasts as long as somebody listens.
    pub(super) fn bus(&self, target: &Target, tool: &Tool<'_>) -> Arc<Bus> {
        let mut buses = self.buses.lock().unwrap_or_else(PoisonError::into_inner);
        let which = (target.user, target.host.clone());
        if let Some(bus) = buses.get(&which).and_then(Weak::upgrade) {
            return bus;
        }
        let bus = Arc::new(Bus::listen(tool.place()));
        buses.insert(which, Arc::downgrade(&bus));
        bus
    }
}

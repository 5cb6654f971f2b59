//! `overlap = "allow"`: a scheduled run that is due while one still runs gets an instance of its own,
//! which is forgotten when it has ended.

use super::instance::Part;
use super::launch::rules;
use super::{Driver, Instance};
use crate::machine::{Event, Machine};

/// The most runs of one instance at once; what is due beyond that is skipped.
const MOST: usize = 16;

impl Driver {
    /// Starts another run beside the one with this key.
    pub(super) fn start_another(&mut self, key: &str) {
        let plain = super::roll::plain(key).to_owned();
        let free = (2..=MOST).map(|number| format!("{plain}~{number}"));
        let free = free
            .into_iter()
            .find(|key| !self.instances.contains_key(key));
        let Some(first) = self.instances.get(key) else {
            return;
        };
        let Some(another) = free else {
            let why = format!("skipped: {MOST} runs are there already");
            let note = first.machine.note("schedule", None, why);
            self.perform(key, vec![note]);
            return;
        };
        let Some(service) = self.services.get(&first.service) else {
            return;
        };
        let mut once = rules(&service.spec);
        once.scheduled = false;
        // The next time it is due is the next attempt.
        once.policy.mode = proc_policy::Mode::Never;
        let mut instance = Instance::new(&first.service, first.index, Machine::new(once));
        instance.part = Part::Extra;
        instance.surplus = true;
        self.instances.insert(another.clone(), instance);
        let event = Event::Restart {
            kind: "schedule",
            by: None,
        };
        self.drive(&another, event);
    }
}

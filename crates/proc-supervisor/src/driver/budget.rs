//! Restart budgets of groups and of the project: against many services that restart all at once.
//!
//! A budget is a token bucket at the gate. It holds up only restarts that nobody asked for, each
//! until a moment of its own, so that waiters queue up instead of racing. Buckets are full when a
//! supervisor begins.

use std::collections::BTreeSet;

use proc_policy::{Bucket, BucketRate};

use super::Driver;
use crate::clock::Clock;

impl Driver {
    /// Returns why a restart has to wait, if it has to; a token is taken the first time.
    pub(super) fn budget(&mut self, key: &str) -> Option<String> {
        let now = self.clock.now();
        let instance = self.instances.get_mut(key)?;
        if !instance.machine.comes_back_by_itself() {
            instance.turn = None;
            return None;
        }
        let (service, turn) = (instance.service.clone(), instance.turn);
        let rates = self.rates(&service);
        let turn = match turn {
            Some(turn) => turn,
            None => now + self.reserve(&rates, now)?,
        };
        if turn <= now {
            return None;
        }
        self.instances.get_mut(key)?.turn = Some(turn);
        Some(in_words(&rates, Clock::stamp(turn)))
    }

    /// Takes a token of each; `None` is no wait.
    fn reserve(
        &mut self,
        rates: &[(Option<String>, BucketRate)],
        now: std::time::Duration,
    ) -> Option<std::time::Duration> {
        let mut taken: Vec<Bucket> = rates
            .iter()
            .map(|(name, _)| self.buckets.get(name).copied().unwrap_or_default())
            .collect();
        let mut asked: Vec<(&mut Bucket, BucketRate)> = taken
            .iter_mut()
            .zip(rates.iter().map(|(_, rate)| *rate))
            .collect();
        let wait = proc_policy::reserve_all(&mut asked, now, std::time::Duration::ZERO);
        for ((name, _), bucket) in rates.iter().zip(taken) {
            self.buckets.insert(name.clone(), bucket);
        }
        (!wait.is_zero()).then_some(wait)
    }

    /// Returns the budgets that a service is under: those of its groups, and the project's.
    fn rates(&self, service: &str) -> Vec<(Option<String>, BucketRate)> {
        let groups = self.project.groups.iter();
        let groups = groups
            .filter(|(_, group)| group.members.iter().any(|member| member == service))
            .filter_map(|(name, group)| Some((Some(name.clone()), group.restart_budget?)));
        let project = self.project.restart_budget.map(|rate| (None, rate));
        groups.chain(project).collect()
    }
}

fn in_words(rates: &[(Option<String>, BucketRate)], at: crate::stamp::Stamp) -> String {
    let of = |(name, rate): &(Option<String>, BucketRate)| {
        let whose = name.as_ref().map_or_else(
            || "the project".to_owned(),
            |group| format!("group `{group}`"),
        );
        format!(
            "{whose} ({} at once, one more every {:?})",
            rate.burst, rate.every
        )
    };
    let whose: BTreeSet<String> = rates.iter().map(of).collect();
    let whose: Vec<String> = whose.into_iter().collect();
    format!(
        "restart budget of {}: its turn is at {at}",
        whose.join(" and ")
    )
}

//! What is remembered of an instance for the next supervisor.

use proc_output::LogOptions;
use proc_store::Record;
use serde::{Deserialize, Serialize};

use super::facts::SlurmFacts;
use crate::manager::{ExitRecord, StartedRecord};

/// One instance's record, `slurm/<instance>/record.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct JobRecord {
    pub(crate) log: LogOptions,
    pub(crate) run: u64,
    /// The name under which the job of this run was, or may have been, submitted.
    pub(crate) name: String,
    /// The job, once its number is known.
    pub(crate) job: Option<JobId>,
    pub(crate) node: String,
    pub(crate) started: Option<StartedRecord>,
    pub(crate) exit: Option<ExitRecord>,
}

impl Record for JobRecord {
    const FORMAT: u32 = 1;
}

/// Which job it is. Slurm uses numbers again, so the number alone says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobId {
    pub(crate) id: u32,
    /// When it was put into the queue, in seconds since 1970; 0 until Slurm was asked.
    pub(crate) submitted: u64,
    /// How often Slurm had put it back into the queue by then.
    pub(crate) restarts: u32,
}

impl JobId {
    /// Returns a job of which nothing is known but its number.
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            submitted: 0,
            restarts: 0,
        }
    }

    /// Whether this is the job and not another one of its number. A requeue sets the time of submission anew, and
    /// counts; the name, unique to each submission, stays.
    pub(crate) fn is(&self, facts: &SlurmFacts, name: &str) -> bool {
        let time = facts.submitted == self.submitted || self.submitted == 0;
        let again = facts.restarts > self.restarts && facts.submitted > self.submitted;
        facts.id == self.id && facts.name == name && (time || again)
    }

    /// Takes note of how it stands.
    pub(crate) fn note(&mut self, facts: &SlurmFacts) {
        (self.submitted, self.restarts) = (facts.submitted, facts.restarts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_used_again_is_not_ours() {
        let facts = |submitted: u64, restarts: u32, name: &str| {
            let line = format!("7;RUNNING;{submitted};1;2;0;{restarts};n1;None;{name}");
            SlurmFacts::parse(&line).unwrap()
        };
        let mut ours = JobId::new(7);
        assert!(ours.is(&facts(100, 0, "shop.web.1.a"), "shop.web.1.a"));
        ours.note(&facts(100, 0, "shop.web.1.a"));
        for (submitted, restarts, name, is) in [
            (100, 0, "shop.web.1.a", true),
            (100, 0, "shop.web.1.b", false),
            (200, 0, "shop.web.1.a", false),
            (200, 1, "shop.web.1.a", true),
            (50, 1, "shop.web.1.a", false),
            (200, 1, "other", false),
        ] {
            let found = facts(submitted, restarts, name);
            assert_eq!(ours.is(&found, "shop.web.1.a"), is, "{found:?}");
        }
    }
}

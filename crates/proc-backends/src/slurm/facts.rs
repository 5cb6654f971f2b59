//! What squeue(1) says of a job, and what that means here.

use proc_core::{ProcessEnd, Signal};

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlurmPhase {
    /// It is in the queue, for the first time or again.
    Waiting,
    /// It has its nodes, and its program runs.
    Running,
    /// It is ending, or being put back into the queue: not over yet.
    Ending,
    /// It is over.
    Ended,
    /// A word that is not known here: cannot tell.
    Unknown,
}

/// One row of the map from Slurm's states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlurmStateRow {
    /// Slurm's word.
    pub state: &'static str,
    /// What the job is doing.
    pub phase: SlurmPhase,
    /// Why how it ended says nothing about its program; empty where it does.
    pub unknown: &'static str,
}

/// Every state of squeue(1), "JOB STATE CODES".
pub const SLURM_STATE_MAP: &[SlurmStateRow] = {
    const fn row(state: &'static str, phase: SlurmPhase, unknown: &'static str) -> SlurmStateRow {
        SlurmStateRow {
            state,
            phase,
            unknown,
        }
    }
    use SlurmPhase::{Ended, Ending, Running, Waiting};
    &[
        row("PENDING", Waiting, ""),
        row("CONFIGURING", Waiting, ""),
        row("REQUEUED", Waiting, ""),
        row("REQUEUE_FED", Waiting, ""),
        row("REQUEUE_HOLD", Waiting, ""),
        row("RESV_DEL_HOLD", Waiting, ""),
        row("SPECIAL_EXIT", Waiting, ""),
        row("RUNNING", Running, ""),
        row("RESIZING", Running, ""),
        row("SIGNALING", Running, ""),
        row("STOPPED", Running, ""),
        row("SUSPENDED", Running, ""),
        row("COMPLETING", Ending, ""),
        row("STAGE_OUT", Ending, ""),
        row("COMPLETED", Ended, ""),
        row("FAILED", Ended, ""),
        row("CANCELLED", Ended, ""),
        row(
            "OUT_OF_MEMORY",
            Ended,
            "it ran out of the memory it asked for",
        ),
        row("TIMEOUT", Ended, "its time limit was over"),
        row("DEADLINE", Ended, "its deadline was over"),
        row("NODE_FAIL", Ended, "its node failed"),
        row("BOOT_FAIL", Ended, "its node did not boot"),
        row("PREEMPTED", Ended, "another job took its place"),
        row("REVOKED", Ended, "another cluster runs it"),
    ]
};

/// The columns that are asked for; the name comes last, because it may hold the separator.
pub(crate) const FORMAT: &str = "JobID:;,State:;,SubmitTime:;,StartTime:;,EndTime:;,exit_code:;,RestartCnt:;,BatchHost:;,Reason:;,Name:;";

/// A job as squeue(1) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmFacts {
    /// Its number, which Slurm uses again after a long time.
    pub id: u32,
    /// Its state, as Slurm spells it.
    pub state: String,
    /// When it was put into the queue, in seconds since 1970; a requeue sets it anew.
    pub submitted: u64,
    /// When it began, in seconds since 1970.
    pub started: Option<u64>,
    /// When it ended, or will at the latest, in seconds since 1970.
    pub ended: Option<u64>,
    /// What wait(2) said of its program.
    pub status: i32,
    /// How often Slurm has put it back into the queue.
    pub restarts: u32,
    /// The node its program runs or ran on; empty if it never did.
    pub node: String,
    /// Why it is in that state, as Slurm spells it.
    pub reason: String,
    /// Its name.
    pub name: String,
}

impl SlurmFacts {
    /// Reads one line in the columns that are asked for.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_suffix(';').unwrap_or(line).splitn(10, ';');
        let mut next = || fields.next();
        let id = next()?.parse().ok()?;
        let state = next()?.to_owned();
        let word = |c: char| c.is_ascii_uppercase() || c == '_';
        if state.is_empty() || !state.chars().all(word) {
            return None;
        }
        Some(Self {
            id,
            state,
            submitted: next()?.parse().ok()?,
            started: time(next()?)?,
            ended: time(next()?)?,
            status: next()?.parse().ok()?,
            restarts: next()?.parse().ok()?,
            node: Some(next()?)
                .filter(|node| !["n/a", "N/A"].contains(node))
                .unwrap_or_default()
                .to_owned(),
            reason: next()?.to_owned(),
            name: next()?.to_owned(),
        })
    }

    fn row(&self) -> Option<&'static SlurmStateRow> {
        SLURM_STATE_MAP.iter().find(|row| row.state == self.state)
    }

    /// Returns what the job is doing.
    #[must_use]
    pub fn phase(&self) -> SlurmPhase {
        self.row().map_or(SlurmPhase::Unknown, |row| row.phase)
    }

    /// Returns how its program ended, or why that cannot be told.
    ///
    /// # Errors
    /// In words, when the job ended for a reason that is not its program's.
    pub fn end(&self) -> Result<ProcessEnd, String> {
        let unknown = self.row().map_or("", |row| row.unknown);
        if !unknown.is_empty() {
            return Err(format!("Slurm says {}: {unknown}", self.state));
        }
        let (signal, code) = (self.status & 0x7f, self.status >> 8 & 0xff);
        match Signal::from_raw(signal) {
            Some(signal) if signal.raw() > 0 && self.state != "COMPLETED" => {
                Ok(ProcessEnd::Signaled {
                    signal,
                    core_dumped: self.status & 0x80 != 0,
                })
            }
            _ if code != 0 => Ok(ProcessEnd::Exited(code)),
            _ if self.state == "COMPLETED" => Ok(ProcessEnd::Exited(0)),
            // It did not end well, and nothing says how.
            _ => Err(format!("Slurm says {}: {}", self.state, self.reason)),
        }
    }

    /// Returns the job and its state in words: `job 12 is PENDING (Resources)`.
    #[must_use]
    pub fn in_words(&self) -> String {
        let (id, state, reason) = (self.id, &self.state, &self.reason);
        match reason.as_str() {
            "" | "None" => format!("job {id} is {state}"),
            reason => format!("job {id} is {state} ({})", reason.escape_debug()),
        }
    }
}

/// Reads seconds since 1970. Slurm has several words for none (`N/A`, `Unknown`, `NONE` for the end of a job without
/// a time limit); `None` when it is neither.
fn time(text: &str) -> Option<Option<u64>> {
    let words = ["n/a", "unknown", "none", "0"];
    if words.contains(&text.to_ascii_lowercase().as_str()) {
        return Some(None);
    }
    text.parse().ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(state: &str, status: i32) -> SlurmFacts {
        let line = format!("7;{state};100;110;120;{status};0;n1;NonZeroExitCode;shop.web.1;");
        SlurmFacts::parse(&line).unwrap()
    }

    #[test]
    fn a_line_is_read_as_squeue_writes_it() {
        let line = "6;RUNNING;1795899151;1795899157;1827435157;0;1;n2;None;a;b;";
        let facts = SlurmFacts::parse(line).unwrap();
        assert_eq!(
            (facts.id, facts.restarts, facts.node.as_str()),
            (6, 1, "n2")
        );
        assert_eq!(facts.started, Some(1_795_899_157));
        assert_eq!(facts.name, "a;b");
        let line = "7;PENDING;1795899148;N/A;N/A;0;0;n/a;PartitionConfig;wrap;";
        let facts = SlurmFacts::parse(line).unwrap();
        assert_eq!((facts.started, facts.node.as_str()), (None, ""));
        assert_eq!(facts.in_words(), "job 7 is PENDING (PartitionConfig)");
        // As it is told of a job that runs without a time limit.
        let line = "127;RUNNING;1795907699;1795907700;NONE;0;0;n1;None;web.shop.1.a;";
        assert_eq!(SlurmFacts::parse(line).unwrap().ended, None);
        for garbage in [
            "",
            "7",
            "x;RUNNING;1;1;1;0;0;n;r;n;",
            "7;run ning;1;1;1;0;0;n;r;n;",
            "7;RUNNING;now;1;1;0;0;n;r;n;",
        ] {
            assert_eq!(SlurmFacts::parse(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn every_state_has_one_meaning_and_ends_are_never_guessed() {
        let mut words: Vec<&str> = SLURM_STATE_MAP.iter().map(|row| row.state).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), SLURM_STATE_MAP.len());
        let killed = ProcessEnd::Signaled {
            signal: Signal::KILL,
            core_dumped: false,
        };
        assert_eq!(facts("COMPLETED", 0).end(), Ok(ProcessEnd::Exited(0)));
        assert_eq!(facts("FAILED", 7 << 8).end(), Ok(ProcessEnd::Exited(7)));
        assert_eq!(facts("FAILED", 9).end(), Ok(killed));
        assert_eq!(facts("CANCELLED", 9).end(), Ok(killed));
        // What Slurm puts there for the first two is not the program's; the others did not end well.
        for (state, status) in [
            ("NODE_FAIL", 256),
            ("TIMEOUT", 1),
            ("OUT_OF_MEMORY", 125),
            ("CANCELLED", 0),
            ("FAILED", 0),
            ("PREEMPTED", 0),
        ] {
            let told = facts(state, status).end().unwrap_err();
            assert!(told.contains(state), "{told}");
        }
        assert_eq!(facts("GALACTIC", 0).phase(), SlurmPhase::Unknown);
    }
}

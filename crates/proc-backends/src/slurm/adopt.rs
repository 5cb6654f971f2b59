//! Adoptions: the job of an earlier supervisor is found by its number, the time of its submission and its name.

use std::sync::Arc;
use std::time::SystemTime;

use super::facts::{SlurmFacts, SlurmPhase};
use super::instance::{Instance, Life, TROUBLE, exit, is_down};
use super::record::{JobId, JobRecord};
use crate::error::{AdoptError, OperateError};
use crate::manager::{ManagerError, Output, remove_record};
use crate::status::{Adopted, Missed, Started};

impl Instance {
    /// Takes over what an earlier supervisor left.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<Option<Adopted>, AdoptError> {
        let _turn = self.order.lock().await;
        let Some(record) = self.read_record()? else {
            return Ok(None);
        };
        self.get_to_know();
        let mut life = self.life.lock().await;
        *life = restored(record);
        let mut notes = Vec::new();
        self.open_output(&mut life, &mut notes);
        let (mut degraded, asked) = (Vec::new(), self.find(&life).await);
        match asked {
            Ok(facts) => self.compare(&mut life, facts.as_ref(), &mut notes).await,
            // It is taken to run as long as nobody says that it does not: a second copy would be worse.
            Err(error) => {
                degraded.push(format!("{TROUBLE}: {error}"));
                if life.job.is_some() && life.exit.is_none() && life.started.is_none() {
                    life.started = Some(unseen(&life));
                }
            }
        }
        if life.started.is_some() && life.exit.is_none() {
            self.follow(&mut life);
        }
        self.keep(&life);
        Ok(Some(Adopted {
            last_run: life.run,
            status: life.status(degraded),
            notes,
            missed: Missed::default(),
        }))
    }

    fn open_output(&self, life: &mut Life, notes: &mut Vec<String>) {
        let default = &self.common.watcher.tool.options().log_dir;
        let dir = life.log.dir.clone().unwrap_or_else(|| default.clone());
        match Output::ours(&dir, &self.name, life.log.merge) {
            Ok(output) => life.output = Some(output),
            Err(error) => notes.push(format!("its log cannot be looked at: {error}")),
        }
    }

    /// Finds the job on record; one whose number was never written down, by its name.
    async fn find(&self, life: &Life) -> Result<Option<SlurmFacts>, ManagerError> {
        if life.exit.is_some() || life.name.is_empty() {
            return Ok(None);
        }
        let Some(job) = life.job else {
            let named = self.common.watcher.tool.named(&life.name).await?;
            return Ok(named.into_iter().find(|facts| !is_down(Some(facts))));
        };
        let facts = self.look(job, &life.name).await?;
        if facts.is_some() {
            return Ok(facts);
        }
        // A controller that has just begun may not have read all its records.
        self.look(job, &life.name).await
    }

    /// Finds out what became of the run on record.
    async fn compare(&self, life: &mut Life, facts: Option<&SlurmFacts>, notes: &mut Vec<String>) {
        if life.exit.is_some() {
            return;
        }
        let Some(facts) = facts else {
            // A submission that was never answered, and left nothing.
            let Some(job) = life.job else { return };
            let id = job.id;
            let lost = format!("Slurm no longer knows job {id}, nor how it ended");
            life.exit = life.started.is_some().then(|| exit(life, Err(lost), None));
            return;
        };
        let before = life.job.unwrap_or_else(|| JobId::new(facts.id));
        let known = life.started.take();
        let downgrades = known
            .as_ref()
            .map(|s| s.downgrades.clone())
            .unwrap_or_default();
        if facts.restarts != before.restarts && !life.node.is_empty() {
            notes.push(self.why_requeued(&life.node.clone(), facts).await);
        }
        match facts.phase() {
            // The follower says that it waits, and why.
            SlurmPhase::Waiting => {
                life.job = Some(before);
                life.started = Some(known.unwrap_or_else(|| unseen(life)));
            }
            SlurmPhase::Ended => {
                life.job = Some(before);
                life.started = Some(known.unwrap_or_else(|| unseen(life)));
                life.exit = Some(exit(life, facts.end(), Some(facts)));
            }
            SlurmPhase::Running | SlurmPhase::Ending | SlurmPhase::Unknown => {
                let begun = self.begun(life, facts, downgrades);
                notes.push(format!("job {} still runs on {}", facts.id, facts.node));
                life.started = Some(begun);
            }
        }
    }

    /// Forgets an instance whose job is over.
    pub(super) async fn forget(self: &Arc<Self>) -> Result<(), OperateError> {
        let _turn = self.order.lock().await;
        self.known()?;
        if let Some((job, name)) = self.present().await {
            let facts = self
                .look(job, &name)
                .await
                .map_err(self.refused("forget"))?;
            if !is_down(facts.as_ref()) {
                return Err(OperateError::StillRunning {
                    instance: self.name.clone(),
                });
            }
        }
        let mut life = self.life.lock().await;
        *life = Life {
            run: life.run,
            ..Life::default()
        };
        remove_record(
            &self.name,
            &self.common.watcher.tool.options().records(&self.name),
        )
    }
}

fn restored(record: JobRecord) -> Life {
    let started = record.started.map(|started| Started {
        // The number on record is the job's, not that of a process.
        pid: 0,
        pgid: 0,
        ..started.started(record.run)
    });
    Life {
        run: record.run,
        name: record.name,
        job: record.job,
        node: record.node,
        started,
        exit: record.exit.map(|exit| exit.exit(record.run)),
        log: record.log,
        ..Life::default()
    }
}

/// A run of which nobody has seen the beginning.
fn unseen(life: &Life) -> Started {
    Started {
        run: life.run,
        pid: 0,
        identity: super::instance::identity(life.job.unwrap_or_else(|| JobId::new(0))),
        pgid: 0,
        started_at: SystemTime::now(),
        downgrades: Vec::new(),
    }
}

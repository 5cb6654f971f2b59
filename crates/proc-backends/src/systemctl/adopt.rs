//! Adoptions: whether the unit still is in the run on record, and what became of that. And forgetting it.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use proc_core::StopSequence;

use super::facts::UnitFacts;
use super::install;
use super::instance::{Instance, Life, exit};
use super::start::us;
use super::state::{UnitState, unit_state};
use super::stop::is_down;
use super::target::Target;
use crate::error::{AdoptError, OperateError};
use crate::manager::remove_record;
use crate::status::{Adopted, Missed, Started};

impl Instance {
    /// Takes over what an earlier supervisor left.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<Option<Adopted>, AdoptError> {
        let _turn = self.order.lock().await;
        let Some(record) = self.read_record()? else {
            return Ok(None);
        };
        let target = record.target.clone();
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        let facts = self.tool(&target).show().await;
        let facts = facts.map_err(|source| AdoptError::Manager {
            instance: self.name.clone(),
            source,
        })?;
        let mut life = self.life.lock().await;
        life.run = record.run;
        life.invocation = record.invocation;
        life.started = record.started.map(|started| started.started(record.run));
        life.exit = record.exit.map(|exit| exit.exit(record.run));
        life.tree_empty = is_down(&facts);
        let mut notes = Vec::new();
        if let Err(error) = self.open_log(&mut life, &target, &record.log) {
            notes.push(format!("its log cannot be written: {error}"));
        }
        let since = life
            .started
            .as_ref()
            .map_or_else(SystemTime::now, |started| started.started_at);
        if let Some(copy) = &life.copy {
            copy.follow(us(since)).await;
        }
        self.compare(&mut life, &target, &facts, &mut notes).await;
        self.keep(&life, &target);
        Ok(Some(Adopted {
            last_run: life.run,
            status: life.status(Vec::new()),
            notes,
            missed: Missed::default(),
        }))
    }

    /// Finds out what became of the run on record.
    async fn compare(
        self: &Arc<Self>,
        life: &mut Life,
        target: &Target,
        facts: &UnitFacts,
        notes: &mut Vec<String>,
    ) {
        let (state, reason) = unit_state(facts);
        let live = match state {
            UnitState::Running | UnitState::Starting | UnitState::Stopping | UnitState::Backoff => {
                true
            }
            UnitState::Unknown => life.started.is_some(),
            UnitState::Exited | UnitState::Stopped | UnitState::Failed => facts.job,
        };
        if live && life.exit.is_none() {
            let same = life.invocation == facts.invocation && life.started.is_some();
            let before = life.started.take();
            let downgrades = before
                .as_ref()
                .map(|s| s.downgrades.clone())
                .unwrap_or_default();
            if !same {
                notes.push(format!(
                    "`{}` was started by systemd or somebody else meanwhile",
                    target.unit
                ));
            }
            if state == UnitState::Unknown {
                notes.push(reason);
            }
            let begun = self.begun(life, target, facts, downgrades).await;
            if let Some(before) = before.filter(|before| same && before.pid == begun.pid) {
                life.started = Some(Started {
                    started_at: before.started_at,
                    ..begun
                });
            }
            self.follow(life, target);
        } else if life.exit.is_none() && life.started.is_some() {
            let log = match &life.copy {
                Some(copy) => copy.drain().await,
                None => 0,
            };
            life.exit = Some(exit(life, facts, log));
        }
    }

    /// Removes what is ours; a unit that is not is left as it is.
    pub(super) async fn forget(self: &Arc<Self>) -> Result<(), OperateError> {
        let _turn = self.order.lock().await;
        let target = self.known()?;
        let tool = self.tool(&target);
        let facts = tool.show().await.map_err(self.refused("forget"))?;
        let (state, _) = unit_state(&facts);
        if !is_down(&facts) && state != UnitState::Exited {
            return Err(OperateError::StillRunning {
                instance: self.name.clone(),
            });
        }
        if target.own {
            if !is_down(&facts) {
                self.stop(StopSequence::default()).await?;
            }
            install::remove(&tool, &self.name)
                .await
                .map_err(self.refused("forget"))?;
        }
        let mut life = self.life.lock().await;
        *life = Life {
            run: life.run,
            tree_empty: true,
            ..Life::default()
        };
        remove_record(&self.name, &self.common.options.records(&self.name))
    }
}

//! Adoptions: whether the job is still the one on record, and what became of it. And forgetting it.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use proc_core::ProcessEnd;

use super::facts::{JobFacts, JobState, job_state};
use super::instance::{Instance, Life, is_down, is_our_file, last_of};
use super::record::JobRecord;
use super::target::Target;
use super::tool::Seen;
use crate::error::{AdoptError, OperateError};
use crate::manager::{Output, remove_record};
use crate::status::{Adopted, Exit, Missed, Started};

impl Instance {
    /// Takes over what an earlier supervisor left.
    pub(super) async fn adopt(self: &Arc<Self>) -> Result<Option<Adopted>, AdoptError> {
        let _turn = self.order.lock().await;
        let Some(record) = self.read_record()? else {
            return Ok(None);
        };
        let target = record.target.clone();
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        let seen = self.tool(&target).look().await;
        let seen = seen.map_err(|source| AdoptError::Manager {
            instance: self.name.clone(),
            source,
        })?;
        let mut life = self.life.lock().await;
        *life = restored(record);
        let facts = match &seen {
            Seen::Job(facts) => facts.clone(),
            Seen::Nothing => JobFacts::default(),
        };
        let mut notes = Vec::new();
        match self.open_output(&life, &target, &facts) {
            Ok(output) => life.output = Some(output),
            Err(error) => notes.push(format!("its log cannot be written: {error}")),
        }
        let run = life.run;
        self.compare(&mut life, &target, &facts, &mut notes).await;
        drop(life);
        // What happened meanwhile is in the answer, so nobody is told.
        let mut life = self.life.lock().await;
        if life.started.is_some() && life.exit.is_none() && !is_down(&seen) {
            self.follow(&mut life, &target);
        }
        if life.started.is_some() && life.exit.is_none() && is_down(&seen) {
            let told = match &seen {
                Seen::Job(facts) => last_of(&life, &target, facts),
                Seen::Nothing => Err("its job was removed, and with it how it ended".to_owned()),
            };
            self.found_ended(&mut life, told);
        }
        self.keep(&life, &target);
        let mut degraded = Vec::new();
        let (state, reason) = job_state(&facts);
        if let (Seen::Job(_), JobState::Starting | JobState::Stopping | JobState::Unknown) =
            (&seen, state)
        {
            life.lost = state == JobState::Starting;
            degraded.push(format!("launchctl: {reason}"));
        }
        Ok(Some(Adopted {
            last_run: run,
            status: life.status(degraded),
            notes,
            missed: Missed::default(),
        }))
    }

    /// Opens the log where the last supervisor left off.
    fn open_output(
        &self,
        life: &Life,
        target: &Target,
        facts: &JobFacts,
    ) -> std::io::Result<Output> {
        let dir = life.log.dir.as_ref();
        let dir = dir.unwrap_or(&self.common.options.log_dir);
        if target.own {
            return Output::ours(dir, &self.name, life.log.merge);
        }
        let records = self.common.options.records(&self.name);
        Output::existing((dir, &self.name), &life.log, facts.files(), &records, true)
    }

    /// Finds out whether the live process is the one on record.
    async fn compare(
        &self,
        life: &mut Life,
        target: &Target,
        facts: &JobFacts,
        notes: &mut Vec<String>,
    ) {
        let (state, reason) = job_state(facts);
        if state == JobState::Unknown && !facts.state.is_empty() {
            notes.push(reason);
        }
        let (JobState::Running, Some(pid), None) = (state, facts.pid, &life.exit) else {
            return;
        };
        let before = life.started.take();
        let (path, runs) = (life.path.clone(), life.runs);
        let same_job = !target.own || is_our_file(life, facts);
        let downgrades = before
            .as_ref()
            .map(|s| s.downgrades.clone())
            .unwrap_or_default();
        let begun = self.begun(life, target, facts, pid, downgrades).await;
        life.path = path;
        let same = before.filter(|before| {
            let count = runs.is_none() || runs == facts.runs;
            let alike =
                before.identity.start_ticks == 0 || before.identity.same_process(&begun.identity);
            before.pid == pid && count && same_job && alike
        });
        match same {
            Some(before) => {
                life.started = Some(Started {
                    started_at: before.started_at,
                    ..begun
                });
            }
            None => notes.push(format!(
                "`{}` was started by launchd or somebody else meanwhile",
                target.label
            )),
        }
    }

    fn found_ended(&self, life: &mut Life, told: Result<ProcessEnd, String>) {
        let now = SystemTime::now();
        let since = life
            .started
            .as_ref()
            .map_or(now, |started| started.started_at);
        life.exit = Some(Exit {
            run: life.run,
            unknown: told.as_ref().err().cloned(),
            end: told.ok(),
            at: now,
            runtime: now.duration_since(since).unwrap_or_default(),
            oom: None,
            log: life
                .output
                .as_ref()
                .map(Output::offsets)
                .unwrap_or_default(),
        });
    }

    /// Removes what is ours; a job that is not is left as it is.
    pub(super) async fn forget(self: &Arc<Self>) -> Result<(), OperateError> {
        let _turn = self.order.lock().await;
        let target = self.known()?;
        let tool = self.tool(&target);
        let seen = tool.look().await.map_err(self.refused("forget"))?;
        if !is_down(&seen) {
            return Err(OperateError::StillRunning {
                instance: self.name.clone(),
            });
        }
        if target.own {
            if let Seen::Job(_) = seen {
                tool.bootout().await.map_err(self.refused("forget"))?;
            }
            self.until_gone(&tool)
                .await
                .map_err(self.refused("forget"))?;
        }
        let mut life = self.life.lock().await;
        *life = Life {
            run: life.run,
            ..Life::default()
        };
        remove_record(&self.name, &self.common.options.records(&self.name))
    }
}

fn restored(record: JobRecord) -> Life {
    Life {
        run: record.run,
        path: record.path,
        runs: record.runs,
        started: record.started.map(|started| started.started(record.run)),
        exit: record.exit.map(|exit| exit.exit(record.run)),
        log: record.log,
        // Nobody looked for a while.
        blind: true,
        ..Life::default()
    }
}

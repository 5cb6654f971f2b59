//! Starts.

use std::sync::{Arc, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use proc_core::{Attributes, ProcessEnd, StopSequence};

use super::facts::UnitFacts;
use super::install;
use super::instance::Instance;
use super::state::{UnitState, unit_state};
use super::stop::is_down;
use super::target::Target;
use super::watch::Watch;
use crate::error::{Errno, OperateError, StartError};
use crate::manager::ManagerError;
use crate::spec::{InstanceSpec, StdinMode};
use crate::status::Started;

/// What systemd records of a program that it could not prepare: its exit statuses from 200 on
/// (systemd.exec(5)), and the key that is to blame.
const PREPARATION: &[(i32, &str, i32)] = &[
    (200, "cwd", 2),
    (201, "nice", 1),
    (202, "stdin", 9),
    (204, "memory", 12),
    (205, "limits", 1),
    (206, "oom_score_adj", 1),
    (210, "cwd", 1),
    (211, "io_priority", 1),
    (214, "cpu_affinity", 22),
    (216, "group", 1),
    (217, "user", 1),
    (218, "capabilities", 1),
    (219, "limits", 1),
];

impl Instance {
    /// Starts the unit and follows it.
    pub(super) async fn start(self: &Arc<Self>, spec: InstanceSpec) -> Result<Started, StartError> {
        let _turn = self.order.lock().await;
        let refused = |source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        };
        let target = Target::of(&spec, self.common.root)?;
        refuse_what_is_impossible(&spec, &target)?;
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target.clone());
        self.still_running(&target).await?;
        let tool = self.tool(&target);
        let mut downgrades = downgrades(&spec, &target);
        if target.own {
            downgrades.extend(install::install(&tool, &spec).await?);
        }
        let facts = tool.show().await.map_err(refused)?;
        usable(&target, &facts).map_err(refused)?;
        let mut life = self.life.lock().await;
        life.follower = None;
        let keeper = |source| StartError::Keeper {
            instance: spec.instance.clone(),
            source,
        };
        self.open_log(&mut life, &target, &spec.log)
            .map_err(keeper)?;
        let recorded = self.read_record().ok().flatten();
        let recorded = recorded.map_or(0, |record| record.run);
        life.run = life.run.max(spec.last_run).max(recorded) + 1;
        (life.started, life.exit, life.tree_empty) = (None, None, true);
        life.invocation.clear();
        // Should we die in the middle of the start, the next supervisor looks at the unit.
        self.record(&life, &target).map_err(keeper)?;
        if let Some(copy) = &life.copy {
            copy.follow(now_us()).await;
        }
        drop(life);
        let started = self.bring_up(&target, &facts, &spec).await?;
        let mut life = self.life.lock().await;
        let begun = self.begun(&mut life, &target, &started, downgrades).await;
        self.keep(&life, &target);
        self.follow(&mut life, &target);
        Ok(begun)
    }

    /// Asks systemd to start the unit, and returns how it stands then.
    async fn bring_up(
        &self,
        target: &Target,
        facts: &UnitFacts,
        spec: &InstanceSpec,
    ) -> Result<UnitFacts, StartError> {
        let tool = self.tool(target);
        let refused = |source| StartError::Manager {
            instance: spec.instance.clone(),
            source,
        };
        let already = !target.own && facts.active == "active" && facts.sub != "exited";
        if already {
            return Ok(facts.clone());
        }
        let result = tool.start(facts).await;
        let before = facts;
        let facts = match result {
            Ok(()) => self.under_way(target).await,
            Err(_) => tool.show().await,
        };
        let facts = facts.map_err(refused)?;
        match result {
            Ok(()) => Ok(facts),
            // Our program was executed and ended before systemd had counted it as started.
            Err(_) if target.own && ran(&facts) => Ok(facts),
            Err(error) => {
                if let Some(copy) = &self.life.lock().await.copy {
                    copy.drain().await;
                }
                Err(not_started(target, before, &facts, spec, error))
            }
        }
    }

    /// Waits until a unit that was only told to start has its process, or has had it.
    async fn under_way(&self, target: &Target) -> Result<UnitFacts, ManagerError> {
        let tool = self.tool(target);
        let bus = self.common.bus(target, &tool);
        let mut watch = Watch::new(&bus, &target.unit, None);
        let wait = async {
            loop {
                let facts = tool.show().await?;
                let starting = unit_state(&facts).0 == UnitState::Starting || facts.job;
                if facts.main_pid > 0 || !starting {
                    return Ok(facts);
                }
                watch.changed().await;
            }
        };
        match tokio::time::timeout(self.common.options.start_timeout, wait).await {
            Ok(facts) => facts,
            Err(_) => tool.show().await,
        }
    }

    /// Refuses a second run, and clears away what is left of an earlier one.
    async fn still_running(self: &Arc<Self>, target: &Target) -> Result<(), StartError> {
        let refused = |source| StartError::Manager {
            instance: self.name.clone(),
            source,
        };
        let facts = self.tool(target).show().await.map_err(refused)?;
        self.reconcile(target, &facts, None).await;
        let life = self.life.lock().await;
        if let (Some(started), None) = (&life.started, &life.exit) {
            return Err(StartError::StillRunning {
                instance: self.name.clone(),
                pid: started.pid,
            });
        }
        drop(life);
        if target.own && !is_down(&facts) {
            let stopped = self.stop(StopSequence::default()).await;
            if let Err(OperateError::Manager { source, .. }) = stopped {
                return Err(refused(source));
            }
        }
        Ok(())
    }
}

pub(super) fn us(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

fn now_us() -> u64 {
    us(SystemTime::now())
}

/// Nothing that cannot be honoured is ignored.
fn refuse_what_is_impossible(spec: &InstanceSpec, target: &Target) -> Result<(), StartError> {
    let attributes = &spec.attributes;
    let another =
        attributes.user.is_some() || attributes.group.is_some() || !attributes.groups.is_empty();
    let impossible = [
        (spec.stdin != StdinMode::Null, "stdin"),
        (!spec.listen.is_empty(), "listen"),
        (spec.notify_fd.is_some(), "ready.notify_fd"),
        (spec.log.direct, "log.direct"),
        (
            target.own && target.user && another,
            "user or group with scope = \"user\"",
        ),
        (
            !target.own && !spec.argv.is_empty(),
            "command together with unit",
        ),
        (
            !target.own && shapes_the_process(attributes),
            "user, limits and the like together with unit",
        ),
    ];
    match impossible.iter().find(|(is, _)| *is) {
        Some((_, field)) => Err(StartError::Unsupported {
            field: (*field).to_owned(),
            backend: super::NAME,
        }),
        None => Ok(()),
    }
}

/// Returns whether something is asked for that only whoever starts the process can do.
fn shapes_the_process(attributes: &Attributes) -> bool {
    let plain = Attributes {
        session: attributes.session,
        close_fds: attributes.close_fds,
        ..Attributes::default()
    };
    *attributes != plain
}

fn downgrades(spec: &InstanceSpec, target: &Target) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |is: bool, line: &str| lines.extend(is.then(|| line.to_owned()));
    add(
        spec.die_with_supervisor,
        "die_with_supervisor: the unit lives on should the supervisor be killed",
    );
    add(
        target.user && !target.own,
        "log: lines of a user's unit that ends at once can be missing from the journal",
    );
    lines
}

/// Refuses a unit that cannot be started at all.
fn usable(target: &Target, facts: &UnitFacts) -> Result<(), ManagerError> {
    let unit = target.unit.clone();
    match facts.load.as_str() {
        "loaded" => Ok(()),
        "not-found" => Err(target.no_unit()),
        "masked" => Err(ManagerError::Barred {
            unit,
            how: "masked",
        }),
        _ => Err(ManagerError::BadUnit {
            unit,
            message: format!("{}: {}", facts.load, facts.load_error),
        }),
    }
}

/// Returns whether the program itself was executed and has ended: systemd's own statuses are
/// those of a program that could not be prepared.
fn ran(facts: &UnitFacts) -> bool {
    match facts.end {
        Some(ProcessEnd::Exited(code)) => !(200..=245).contains(&code) && is_down(facts),
        Some(ProcessEnd::Signaled { .. }) => is_down(facts) && facts.result != "timeout",
        None => false,
    }
}

/// Says why a unit did not start, as precisely as systemd recorded it.
fn not_started(
    target: &Target,
    before: &UnitFacts,
    facts: &UnitFacts,
    spec: &InstanceSpec,
    error: ManagerError,
) -> StartError {
    let status = facts.end.and_then(ProcessEnd::code);
    let program = || {
        spec.argv
            .first()
            .map_or_else(|| target.unit.clone(), |p| p.to_string_lossy().into_owned())
    };
    if facts.active == "failed" && facts.result == "exit-code" && target.own {
        match status {
            Some(203)
                if std::path::Path::new(&program()).is_absolute()
                    && !std::path::Path::new(&program()).exists() =>
            {
                return StartError::NotFound { program: program() };
            }
            Some(203) => {
                return StartError::NotExecutable {
                    program: program(),
                    errno: std::io::Error::from_raw_os_error(8),
                };
            }
            Some(code) => {
                if let Some((_, key, errno)) =
                    PREPARATION.iter().find(|(status, ..)| *status == code)
                {
                    return StartError::Attribute {
                        attribute: (*key).to_owned(),
                        value: format!("systemd status {code}"),
                        errno: Errno(*errno),
                    };
                }
            }
            None => {}
        }
    }
    // systemd tells of the last run then; that nothing was run is the only sign.
    let nothing_ran = facts.active == "failed"
        && before.active == "failed"
        && (before.invocation == facts.invocation && before.exec_pid == facts.exec_pid);
    let limited = nothing_ran || facts.result == "start-limit-hit";
    let source = match error {
        ManagerError::Failed { .. } if limited => ManagerError::StartLimit {
            unit: target.unit.clone(),
        },
        ManagerError::Failed { .. } if facts.active == "failed" => ManagerError::NotStarted {
            unit: target.unit.clone(),
            reason: unit_state(facts).1,
        },
        other => other,
    };
    StartError::Manager {
        instance: spec.instance.clone(),
        source,
    }
}

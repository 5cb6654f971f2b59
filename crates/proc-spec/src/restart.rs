//! The restart policy and the stop of a service, from their tables.

use std::time::Duration;

use proc_core::StopSequence;
use proc_policy::{CrashLoop, ExitMatch, Jitter, Mode, Profile, RestartPolicy};

use crate::command::Command;
use crate::decode::{At, Cx};
use crate::raw::{CodeOrSignal, RawRestartTable, RawService, RawStop, RestartMode};
use crate::spec::StopSpec;
use crate::suggest::nearest;

/// How long a service must stay up to count as started unless it says otherwise.
pub(crate) const START_SECONDS: Duration = Duration::from_secs(1);

pub(crate) fn policy(raw: &RawService, scheduled: bool, cx: &mut Cx) -> RestartPolicy {
    let empty = RawRestartTable::default();
    let table = raw.restart.as_deref().map_or(&empty, |restart| &restart.0);
    let mut policy = cx.at("restart", |cx| base(table, cx));
    if scheduled && table.mode.is_none() && table.profile.is_none() {
        policy.mode = Mode::Never; // A run that failed waits for its next time.
    }
    // What ends before `start_seconds` never started.
    if let Some(seconds) = raw.start_seconds.as_deref()
        && table.startup_grace.is_none()
    {
        policy.startup_grace = policy.startup_grace.max(seconds.0);
    }
    if let Some(retries) = raw.start_retries.as_deref() {
        let interval = policy.retry_delay.unwrap_or(Duration::from_secs(1));
        policy.retry_starts(retries.0, Some(interval));
    }
    if let Some(interval) = raw.start_retry_interval.as_deref() {
        policy.retry_delay = Some(interval.0);
    }
    cx.at("restart", |cx| {
        let Some(at) = raw.restart.as_ref().map(|restart| restart.at) else {
            return;
        };
        if let Err(error) = policy.validate() {
            cx.fail(at, error.to_string());
        }
    });
    policy
}

fn base(table: &RawRestartTable, cx: &mut Cx) -> RestartPolicy {
    let mut policy = table
        .profile
        .as_ref()
        .and_then(|name| profile(name, cx))
        .unwrap_or_default();
    if let Some(mode) = table.mode.as_deref() {
        policy.mode = match mode {
            RestartMode::Never => Mode::Never,
            RestartMode::OnFailure => Mode::OnFailure,
            RestartMode::Always => Mode::Always,
            RestartMode::OnSuccess => Mode::OnSuccess,
            RestartMode::OnAbnormal => Mode::OnAbnormal,
            RestartMode::OnAbort => Mode::OnAbort,
            RestartMode::OnWatchdog => Mode::OnWatchdog,
        };
    }
    if let Some(max) = table.max.as_deref() {
        policy.limit_restarts(max.0);
    }
    if let Some(max) = table.startup_max.as_deref() {
        policy.startup_max = max.0;
    }
    if let Some(grace) = table.startup_grace.as_deref() {
        policy.startup_grace = grace.0;
    }
    if let Some(delay) = table.initial_delay.as_deref() {
        policy.initial_delay = delay.0;
        // A longer first delay than the default longest one asks for a longer longest one.
        if table.max_delay.is_none() {
            policy.max_delay = policy.max_delay.max(delay.0);
        }
    }
    if let Some(delay) = table.max_delay.as_deref() {
        policy.max_delay = delay.0.unwrap_or(Duration::MAX);
        // And a shorter longest one than the default first one cuts that.
        if table.initial_delay.is_none() {
            policy.initial_delay = policy.initial_delay.min(policy.max_delay);
        }
    }
    if let Some(factor) = table.factor.as_deref() {
        policy.factor = *factor;
    }
    if let Some(text) = &table.jitter
        && let Some(jitter) = jitter(text, cx)
    {
        policy.jitter = jitter;
    }
    if let Some(after) = table.reset_after.as_deref() {
        policy.reset_after = after.0;
    }
    if let Some(guard) = table.crash_loop.as_deref() {
        policy.crash_loop = guard.0.map(|guard| CrashLoop {
            count: guard.count,
            within: guard.within,
        });
    }
    if let Some(codes) = table.success_codes.as_deref() {
        policy.success_codes = codes
            .iter()
            .filter_map(|code| exit_code("success_codes", code, cx))
            .collect();
    }
    for matched in table.no_restart_on.as_deref().into_iter().flatten() {
        policy.no_restart_on.push(match matched.value {
            CodeOrSignal::Code(code) => ExitMatch::Code(code),
            CodeOrSignal::Signal(signal) => ExitMatch::Signal(signal.raw()),
            CodeOrSignal::Oom => ExitMatch::Oom,
        });
    }
    if let Some(time) = table.cool_down.as_deref() {
        policy.cool_down = Some(time.0);
    }
    policy
}

fn profile(name: &At<String>, cx: &mut Cx) -> Option<RestartPolicy> {
    match name.parse::<Profile>() {
        Ok(profile) => Some(profile.policy()),
        Err(error) => {
            let meant = nearest(name, Profile::ALL.iter().map(|profile| profile.as_str()));
            let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
            cx.at("profile", |cx| {
                cx.fail_hint(name.at, error.to_string(), hint)
            });
            None
        }
    }
}

fn jitter(text: &At<String>, cx: &mut Cx) -> Option<Jitter> {
    text.parse()
        .map_err(|_| {
            let message = format!("`{}` is not a jitter", text.escape_debug());
            let hint = Some(
                "expected \"none\", \"equal\", \"full\" or a percentage such as \"20%\"".to_owned(),
            );
            cx.at("jitter", |cx| cx.fail_hint(text.at, message, hint));
        })
        .ok()
}

fn exit_code(key: &str, code: &At<i32>, cx: &mut Cx) -> Option<i32> {
    if (0..=255).contains(&code.value) {
        return Some(code.value);
    }
    let message = format!("`{}` is not an exit code, expected 0 to 255", code.value);
    cx.at(key, |cx| cx.fail(code.at, message));
    None
}

pub(crate) fn stop(raw: &RawStop, cx: &mut Cx) -> StopSpec {
    let signal = raw
        .signal
        .as_deref()
        .map_or(StopSpec::SIGNAL, |signal| signal.0);
    let grace = raw
        .grace
        .as_deref()
        .map_or(Some(StopSpec::GRACE), |grace| grace.0);
    let mut steps = StopSequence::graceful(signal, grace);
    if let Some(texts) = &raw.steps {
        if let Some(signal) = &raw.signal {
            cx.at("signal", |cx| {
                cx.fail(signal.at, "goes into `steps` where there are any")
            });
        }
        if texts.is_empty() {
            cx.at("steps", |cx| cx.fail(texts.at, "has no step"));
        }
        steps.steps.clear();
        for (index, text) in texts.iter().enumerate() {
            match text.parse() {
                Ok(step) => steps.steps.push(step),
                Err(error) => cx.at("steps", |cx| {
                    cx.at_index(index, |cx| {
                        let message = format!("`{}` is not a step: {error}", text.escape_debug());
                        cx.fail_hint(
                            text.at,
                            message,
                            Some("write a signal and its time: \"TERM/5s\"".to_owned()),
                        );
                    });
                }),
            }
        }
    }
    if steps.steps.iter().any(|step| step.signal.raw() == 0) {
        cx.fail(
            raw.signal.as_ref().map_or_else(Default::default, |s| s.at),
            "signal 0 stops nothing",
        );
    }
    let command = raw.command.as_ref().and_then(|text| {
        Command::parse(text)
            .map_err(|error| cx.at("command", |cx| cx.fail(text.at, error.to_string())))
            .ok()
    });
    StopSpec {
        steps,
        command,
        grace,
    }
}

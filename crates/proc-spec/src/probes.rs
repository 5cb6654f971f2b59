//! Probes, detectors and hooks from their tables.

use std::collections::BTreeMap;
use std::str::FromStr;

use proc_hooks::{Hook, Hooks, Mode, OnFailure, Phase};
use proc_probe::{Detector, HttpProbe, Pattern, Probe, ProbeKind, Role};

use crate::decode::{At, Cx, Named, Scalar};
use crate::raw::{DetectorType, HookFailure, HookMode, RawDetector, RawHook, RawHooks, RawProbe};
use crate::source::Origin;

/// Makes a probe; `None` means that an error was reported.
pub(crate) fn probe(raw: &At<RawProbe>, role: Role, cx: &mut Cx) -> Option<Probe> {
    let kind = kind(raw, raw.at, cx)?;
    let mut probe = Probe::new(role, kind);
    probe.interval = raw
        .interval
        .as_deref()
        .map_or(probe.interval, |span| span.0);
    probe.timeout = raw.timeout.as_deref().map_or(probe.timeout, |span| span.0);
    probe.successes = raw
        .successes
        .as_deref()
        .map_or(probe.successes, |count| count.0.unsigned_abs());
    probe.failures = raw.failures.as_deref().copied().unwrap_or(probe.failures);
    probe.initial_delay = raw
        .initial_delay
        .as_deref()
        .map_or(probe.initial_delay, |span| span.0);
    for (key, span) in [("timeout", &raw.timeout), ("interval", &raw.interval)] {
        if let Some(span) = span.as_ref().filter(|span| span.0.is_zero()) {
            cx.at(key, |cx| cx.fail(span.at, "must not be 0"));
            return None;
        }
    }
    Some(probe)
}

fn kind(raw: &RawProbe, at: Origin, cx: &mut Cx) -> Option<ProbeKind> {
    let given: Vec<(&str, Origin)> = [
        ("http", raw.http.as_ref().map(|v| v.at)),
        ("tcp", raw.tcp.as_ref().map(|v| v.at)),
        ("exec", raw.exec.as_ref().map(|v| v.at)),
        ("log", raw.log.as_ref().map(|v| v.at)),
        ("file", raw.file.as_ref().map(|v| v.at)),
        ("notify", raw.notify.as_ref().map(|v| v.at)),
        ("notify_fd", raw.notify_fd.as_ref().map(|v| v.at)),
        ("delay", raw.delay.as_ref().map(|v| v.at)),
    ]
    .into_iter()
    .filter_map(|(key, at)| at.map(|at| (key, at)))
    .collect();
    let (key, key_at) = match given[..] {
        [one] => one,
        [] => {
            cx.fail(
                at,
                "has none of `http`, `tcp`, `exec`, `log`, `file`, `notify`, `notify_fd`, `delay`",
            );
            return None;
        }
        [(first, _), (second, second_at), ..] => {
            cx.fail(
                second_at,
                format!("has both `{first}` and `{second}`, a probe is one of them"),
            );
            return None;
        }
    };
    let mut fine = true;
    for (name, at) in [
        ("status", raw.status.as_ref().map(|v| v.at)),
        ("header", raw.header.as_ref().map(|v| v.at)),
        ("body", raw.body.as_ref().map(|v| v.at)),
        ("send", raw.send.as_ref().map(|v| v.at)),
    ] {
        if let Some(at) = at.filter(|_| key != "http") {
            cx.at(name, |cx| cx.fail(at, "is only known to `http` probes"));
            fine = false;
        }
    }
    let kind = cx.at(key, |cx| match key {
        "http" => http(raw, cx),
        "tcp" => parse(raw.tcp.as_ref()?, cx).map(ProbeKind::Tcp),
        "exec" => command(raw.exec.as_ref()?, cx).map(ProbeKind::Exec),
        "log" => pattern(raw.log.as_ref()?, key_at, cx).map(ProbeKind::Log),
        "file" => raw.file.as_deref().cloned().map(ProbeKind::File),
        "notify" => Some(ProbeKind::Notify),
        "notify_fd" => raw.notify_fd.as_deref().map(|fd| ProbeKind::NotifyFd(fd.0)),
        _ => raw.delay.as_deref().map(|delay| ProbeKind::Delay(delay.0)),
    })?;
    fine.then_some(kind)
}

fn http(raw: &RawProbe, cx: &mut Cx) -> Option<ProbeKind> {
    let mut http = HttpProbe::new(parse(raw.http.as_ref()?, cx)?);
    http.status = raw
        .status
        .as_deref()
        .and_then(|status| u16::try_from(status.0).ok());
    let Named(header) = raw.header.as_deref().cloned().unwrap_or_default();
    for (name, Scalar(text)) in header {
        let value = pattern(&text, name.at, cx)?;
        http.header.insert(name.value, value);
    }
    http.body = match &raw.body {
        Some(body) => Some(pattern(body, body.at, cx)?),
        None => None,
    };
    let Named(send) = raw.send.as_deref().cloned().unwrap_or_default();
    for (name, Scalar(value)) in send {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(token) || value.chars().any(char::is_control) {
            cx.fail(
                name.at,
                format!("`{}` is not a header that can be sent", name.escape_debug()),
            );
            return None;
        }
        http.send.insert(name.value, value);
    }
    Some(ProbeKind::Http(http))
}

fn parse<T: FromStr<Err: std::fmt::Display>>(text: &At<String>, cx: &mut Cx) -> Option<T> {
    text.parse()
        .map_err(|error: T::Err| cx.fail(text.at, error.to_string()))
        .ok()
}

fn pattern(text: &str, at: Origin, cx: &mut Cx) -> Option<Pattern> {
    Pattern::new(text)
        .map_err(|error| cx.fail(at, error.to_string()))
        .ok()
}

fn command(text: &At<String>, cx: &mut Cx) -> Option<String> {
    if text.trim().is_empty() {
        cx.fail(text.at, "the command is empty");
        return None;
    }
    Some(text.value.clone())
}

pub(crate) fn detector(raw: &At<RawDetector>, cx: &mut Cx) -> Option<Detector> {
    let Some(kind) = raw.r#type.as_deref() else {
        // A wrong type was reported when it was read.
        cx.fail_hint(
            raw.at,
            "has no `type`",
            Some("expected \"pidfile\", \"command\" or \"pid\"".to_owned()),
        );
        return None;
    };
    let missing = |key: &str, cx: &mut Cx| {
        cx.fail(
            raw.at,
            format!("a detector of type \"{}\" needs `{key}`", kind.as_str()),
        );
    };
    let extra = [
        (
            "path",
            raw.path.as_ref().map(|v| v.at),
            DetectorType::Pidfile,
        ),
        (
            "command",
            raw.command.as_ref().map(|v| v.at),
            DetectorType::Command,
        ),
        ("pid", raw.pid.as_ref().map(|v| v.at), DetectorType::Pid),
    ];
    for (key, at, owner) in extra {
        if let Some(at) = at.filter(|_| owner != *kind) {
            cx.at(key, |cx| {
                cx.fail(
                    at,
                    format!("is not known to the type \"{}\"", kind.as_str()),
                )
            });
            return None;
        }
    }
    match kind {
        DetectorType::Pidfile => match raw.path.as_deref() {
            Some(path) => Some(Detector::PidFile { path: path.clone() }),
            None => {
                missing("path", cx);
                None
            }
        },
        DetectorType::Command => match &raw.command {
            Some(text) => cx
                .at("command", |cx| command(text, cx))
                .map(|command| Detector::Command { command }),
            None => {
                missing("command", cx);
                None
            }
        },
        DetectorType::Pid => match raw.pid.as_deref() {
            Some(pid) => Some(Detector::Pid {
                pid: pid.0.unsigned_abs(),
            }),
            None => {
                missing("pid", cx);
                None
            }
        },
    }
}

/// Makes the hooks of a service and checks every rule of theirs.
pub(crate) fn hooks(raw: &RawHooks, cx: &mut Cx) -> Hooks {
    let mut hooks = Hooks::default();
    let lists = [
        (Phase::PreStart, &raw.pre_start),
        (Phase::PostStart, &raw.post_start),
        (Phase::PreStop, &raw.pre_stop),
        (Phase::PostStop, &raw.post_stop),
    ];
    let mut places: BTreeMap<(Phase, usize), &At<RawHook>> = BTreeMap::new();
    for (phase, list) in lists {
        for (index, raw) in list.as_deref().into_iter().flatten().enumerate() {
            places.insert((phase, index), raw);
            hooks.phase_mut(phase).push(hook(raw));
        }
    }
    for error in hooks.validate().err().unwrap_or_default() {
        let place = error
            .phase
            .zip(error.index)
            .and_then(|place| places.get(&place));
        let at = match (place, error.key) {
            (Some(hook), "name") => hook.name.as_ref().map_or(hook.at, |v| v.at),
            (Some(hook), "command") => hook.command.as_ref().map_or(hook.at, |v| v.at),
            (Some(hook), "cwd") => hook.cwd.as_ref().map_or(hook.at, |v| v.at),
            (Some(hook), "timeout") => hook.timeout.as_ref().map_or(hook.at, |v| v.at),
            (Some(hook), "retries") => hook.retries.as_ref().map_or(hook.at, |v| v.at),
            (Some(hook), "retry_delay") => hook.retry_delay.as_ref().map_or(hook.at, |v| v.at),
            (Some(hook), _) => hook.at,
            (None, _) => raw.pre_start.as_ref().map_or(Origin::default(), |v| v.at),
        };
        let depth = cx.path.len();
        cx.path
            .extend(error.phase.map(|phase| phase.as_str().to_owned()));
        cx.path
            .extend(error.index.map(|index| format!("[{index}]")));
        if !error.key.is_empty() {
            cx.path.push(error.key.to_owned());
        }
        cx.fail(at, error.problem.to_string());
        cx.path.truncate(depth);
    }
    hooks
}

fn hook(raw: &RawHook) -> Hook {
    let text = |text: &Option<At<String>>| text.as_deref().cloned().unwrap_or_default();
    let mut hook = Hook::new(text(&raw.name), text(&raw.command));
    hook.cwd = raw.cwd.as_deref().cloned();
    for (key, Scalar(value)) in raw.env.as_deref().map(|env| &*env.0).unwrap_or_default() {
        hook.env.insert(key.value.clone(), value.clone());
    }
    hook.timeout = raw.timeout.as_deref().map_or(hook.timeout, |span| span.0);
    hook.retries = raw.retries.as_deref().copied().unwrap_or(hook.retries);
    hook.retry_delay = raw
        .retry_delay
        .as_deref()
        .map_or(hook.retry_delay, |span| span.0);
    hook.on_failure = match raw.on_failure.as_deref() {
        Some(HookFailure::Ignore) => OnFailure::Ignore,
        Some(HookFailure::Retry) => OnFailure::Retry,
        Some(HookFailure::Fail) | None => OnFailure::Fail,
    };
    hook.mode = match raw.mode.as_deref() {
        Some(HookMode::Async) => Mode::Async,
        Some(HookMode::Blocking) | None => Mode::Blocking,
    };
    hook
}

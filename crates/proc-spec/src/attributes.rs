//! User, limits and the like, from their keys.

use proc_core::{Attributes, CgroupSpec, IoPriority, Limit, Resource, SessionMode};

use crate::decode::{At, Cx};
use crate::raw::{LimitText, RawService, Session};
use crate::suggest::nearest;
use crate::units::{parse_duration, parse_size};

/// How the kernel counts `cpu.max` unless told otherwise, in microseconds.
const PERIOD_US: u64 = 100_000;

pub(crate) fn attributes(raw: &RawService, cx: &mut Cx) -> Attributes {
    let mut attributes = Attributes {
        session: match raw.session.as_deref() {
            Some(Session::Session) => SessionMode::Session,
            _ => SessionMode::Group,
        },
        user: raw.user.as_ref().map(|user| user.0.clone()),
        group: raw.group.as_ref().map(|group| group.0.clone()),
        groups: raw
            .supplementary_groups
            .as_deref()
            .map(|groups| groups.iter().map(|group| group.0.clone()).collect())
            .unwrap_or_default(),
        umask: raw.umask.as_deref().map(|umask| umask.0),
        nice: raw.nice.as_deref().map(|nice| nice.0),
        io_priority: raw
            .io_priority
            .as_ref()
            .and_then(|text| io_priority(text, cx)),
        cpu_affinity: raw
            .cpu_affinity
            .as_deref()
            .map(|cpus| cpus.0.clone())
            .unwrap_or_default(),
        oom_score_adj: raw.oom_score_adj.as_deref().map(|score| score.0),
        no_new_privs: raw.no_new_privs.as_deref().copied().unwrap_or(false),
        close_fds: raw.close_fds.as_deref().copied().unwrap_or(true),
        ..Attributes::default()
    };
    for (name, value) in raw
        .limits
        .as_deref()
        .map(|limits| &*limits.0)
        .unwrap_or_default()
    {
        cx.path.push("limits".to_owned());
        cx.at(name, |cx| limit(name, value, &mut attributes, cx));
        cx.path.pop();
    }
    attributes
}

fn io_priority(text: &At<String>, cx: &mut Cx) -> Option<IoPriority> {
    text.parse()
        .map_err(|_| {
            let message = format!("`{}` is not an I/O priority", text.escape_debug());
            let hint = Some(
                "expected \"idle\", \"best-effort:0\" to \"best-effort:7\" or \"real-time:0\""
                    .to_owned(),
            );
            cx.at("io_priority", |cx| cx.fail_hint(text.at, message, hint));
        })
        .ok()
}

fn limit(name: &At<String>, value: &At<LimitText>, attributes: &mut Attributes, cx: &mut Cx) {
    if name.value == "cpu_max" {
        let Some(limit) = cpu_share(&value.0, value, cx) else {
            return;
        };
        let cgroup = attributes.cgroup.get_or_insert_with(CgroupSpec::default);
        cgroup.cpu_max_us = limit;
        cgroup.cpu_period_us = Some(PERIOD_US);
        return;
    }
    let Ok(resource) = name.parse::<Resource>() else {
        let known = || Resource::ALL.iter().map(|r| r.name()).chain(["cpu_max"]);
        let hint = match nearest(name, known()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known limits: {}", known().collect::<Vec<_>>().join(", ")),
        };
        return cx.fail_hint(
            name.at,
            format!("unknown limit `{}`", name.escape_debug()),
            Some(hint),
        );
    };
    let (soft, hard) = value.0.split_once(':').unwrap_or((&value.0, &value.0));
    let parsed = amount(resource, soft).and_then(|soft| Ok((soft, amount(resource, hard)?)));
    let (soft, hard) = match parsed {
        Ok(limits) => limits,
        Err(message) => return cx.fail(value.at, message),
    };
    if hard.is_some_and(|hard| soft.is_none_or(|soft| soft > hard)) {
        return cx.fail(
            value.at,
            format!(
                "the soft limit in `{}` is above the hard one",
                value.0.escape_debug()
            ),
        );
    }
    if attributes
        .limits
        .iter()
        .any(|limit| limit.resource == resource)
    {
        return cx.fail(name.at, format!("the limit `{resource}` is given twice"));
    }
    match resource {
        Resource::Memory => {
            attributes
                .cgroup
                .get_or_insert_with(CgroupSpec::default)
                .memory_max = hard
        }
        Resource::Pids => {
            attributes
                .cgroup
                .get_or_insert_with(CgroupSpec::default)
                .pids_max = hard
        }
        _ => {}
    }
    attributes.limits.push(Limit {
        resource,
        soft,
        hard,
    });
}

/// Reads a number in the resource's own unit; `None` is no limit.
fn amount(resource: Resource, text: &str) -> Result<Option<u64>, String> {
    let text = text.trim();
    if ["none", "unlimited", "infinity"].contains(&text.to_ascii_lowercase().as_str()) {
        return Ok(None);
    }
    match resource {
        Resource::Memory
        | Resource::Core
        | Resource::As
        | Resource::Data
        | Resource::Fsize
        | Resource::Memlock
        | Resource::Stack
        | Resource::Rss
        | Resource::Msgqueue => parse_size(text)
            .map(Some)
            .map_err(|error| error.to_string()),
        Resource::Cpu => match parse_duration(text) {
            Ok(limit) => {
                Ok(limit.map(|limit| limit.as_secs() + u64::from(limit.subsec_nanos() > 0)))
            }
            Err(error) => Err(error.to_string()),
        },
        _ => text
            .parse()
            .map(Some)
            .map_err(|_| format!("`{}` is not a number or \"none\"", text.escape_debug())),
    }
}

/// Microseconds of CPU time per period: `1.5` CPUs, or `150%`.
fn cpu_share(text: &str, at: &At<LimitText>, cx: &mut Cx) -> Option<Option<u64>> {
    if text == "none" {
        return Some(None);
    }
    let (number, scale) = text
        .strip_suffix('%')
        .map_or((text, 1.0), |number| (number, 100.0));
    match number.trim().parse::<f64>() {
        // The kernel takes 1 ms at least.
        Ok(cpus) if cpus.is_finite() && cpus / scale >= 0.01 && cpus / scale <= 8192.0 => {
            Some(Some((cpus / scale * PERIOD_US as f64).round() as u64))
        }
        _ => {
            cx.fail(
                at.at,
                format!(
                    "`{}` is not a number of CPUs such as 1.5 or \"150%\"",
                    text.escape_debug()
                ),
            );
            None
        }
    }
}

//! Where a policy cannot do what it says.

use std::time::Duration;

use crate::sim::{Ending, Exit, Timeline};
use crate::text::format_duration;
use crate::{ExitMatch, Mode, RestartPolicy};

/// Returns what in `policy` can never take effect, one sentence each; empty means nothing.
///
/// Budgets are judged by simulation: a service that fails at once, one that lives just past
/// `startup_grace`, and several that live longer. A budget that none of these trips is named, with
/// the one that trips instead.
pub fn warnings(policy: &RestartPolicy) -> Vec<String> {
    let mut found: Vec<String> = policy
        .validate()
        .err()
        .map(|e| e.to_string())
        .into_iter()
        .collect();
    found.extend(filters(policy));
    if policy.mode != Mode::Never {
        found.extend(budgets(policy));
    }
    found
}

/// Checks filters and times that contradict each other.
fn filters(policy: &RestartPolicy) -> Vec<String> {
    let mut found = Vec::new();
    if policy.success_codes.is_empty() {
        found.push("`success_codes` is empty: every exit is a failure".to_owned());
    }
    for entry in &policy.no_restart_on {
        if let ExitMatch::Code(code) = entry
            && policy.success_codes.contains(code)
            && policy.mode == Mode::OnFailure
        {
            found.push(format!(
                "`no_restart_on` names {code}, which is a success anyway"
            ));
        }
    }
    if policy.startup_max.is_some() && policy.startup_grace.is_zero() && !policy.early_exit_fails {
        found.push("`startup_max` counts failed starts only: `startup_grace` is 0".to_owned());
    }
    if policy
        .reset_after
        .is_some_and(|after| after <= policy.startup_grace)
    {
        found.push(
            "`reset_after` is not longer than `startup_grace`: every start resets the counts"
                .to_owned(),
        );
    }
    if policy.max.is_none() && policy.window.is_some() {
        found.push("`window` has no effect without `max`".to_owned());
    }
    found
}

/// The most exits that a simulation plays; budgets beyond it are not judged.
const PLAYED: u32 = 2_000;

/// Names the budgets that nothing trips.
fn budgets(policy: &RestartPolicy) -> Vec<String> {
    let ends: Vec<(String, Duration)> = lifetimes(policy)
        .into_iter()
        .map(|life| (play(policy, life), life))
        .collect();
    let mut found = Vec::new();
    for (name, marker, size) in [
        (
            "crash_loop",
            "crash loop",
            policy.crash_loop.map(|guard| guard.count),
        ),
        ("startup_max", "`startup_max`", policy.startup_max),
        ("max", "`max`", policy.max),
    ] {
        let judged = size.is_some_and(|size| size < PLAYED)
            && !(name == "startup_max" && policy.startup_grace.is_zero());
        if judged && !ends.iter().any(|(end, _)| end.contains(marker)) {
            found.push(format!("`{name}` can never trip: {}", instead(&ends)));
        }
    }
    found
}

/// Returns how long the simulated services live: every bound that a decision compares with, from
/// both sides.
fn lifetimes(policy: &RestartPolicy) -> Vec<Duration> {
    let tick = Duration::from_millis(1);
    let mut lives = vec![
        Duration::ZERO,
        policy.startup_grace,
        policy.startup_grace + tick,
    ];
    let windows = [
        policy.crash_loop.map(|guard| guard.within),
        policy.window,
        policy.reset_after,
    ];
    for bound in windows.into_iter().flatten() {
        lives.extend([bound.saturating_sub(tick), bound.saturating_add(tick)]);
    }
    lives
}

/// Plays a service that always fails after `life` and returns why it was given up, if so.
fn play(policy: &RestartPolicy, life: Duration) -> String {
    let exit = Exit {
        ending: Ending::Unknown,
        after: life,
        times: PLAYED,
    };
    let timeline = Timeline::play(policy, &[exit], |_| 0.0);
    timeline.given_up().unwrap_or_default().to_owned()
}

/// Says what happens instead of the budget.
fn instead(ends: &[(String, Duration)]) -> String {
    match ends.iter().find(|(end, _)| !end.is_empty()) {
        Some((end, life)) => {
            format!(
                "a service that lives {} ends by {end}",
                format_duration(*life)
            )
        }
        None => "delays and resets keep every count below it".to_owned(),
    }
}

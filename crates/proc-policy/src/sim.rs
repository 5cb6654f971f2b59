//! A policy played in virtual time: what `proc policy sim` prints.
//!
//! ```
//! use proc_policy::{RestartPolicy, sim::{Exit, Timeline}};
//!
//! let script: Vec<Exit> = ["1@100ms*10"].iter().map(|s| s.parse()).collect::<Result<_, _>>()?;
//! let timeline = Timeline::play(&RestartPolicy::default(), &script, |_| 0.0);
//! assert_eq!(timeline.runs(), 4);
//! assert!(timeline.given_up().is_some_and(|why| why.contains("startup_max")));
//! # Ok::<(), proc_policy::sim::ParseExitError>(())
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::format_duration;
use crate::{Counters, Decision, ExitFacts, RestartPolicy, StayState};

/// How a scripted run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// With an exit code.
    Code(i32),
    /// By a signal, by number.
    Signal(i32),
    /// By an out-of-memory kill.
    Oom,
    /// A failed start.
    StartFailed,
    /// Unknown: a failure that no filter matches.
    Unknown,
    /// On request.
    Stopped,
}

/// One step of a script: a run, and how it ends.
///
/// As text: `ENDING@LIFE*TIMES`, where the ending is an exit code, `signal:9`, `oom`,
/// `start-failed`, `unknown` or `stopped`; life defaults to 0 and times to 1: `1@100ms*5`,
/// `signal:9@2m`, `0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// How the run ends.
    pub ending: Ending,
    /// How long it lives.
    pub after: Duration,
    /// How many runs in a row do so.
    pub times: u32,
}

impl Exit {
    /// Returns the facts that a supervisor would report.
    pub fn facts(&self) -> ExitFacts {
        let mut facts = ExitFacts {
            runtime: self.after,
            ..ExitFacts::default()
        };
        match self.ending {
            Ending::Code(code) => facts.code = Some(code),
            Ending::Signal(signal) => facts.signal = Some(signal),
            Ending::Oom => (facts.oom, facts.signal) = (true, Some(9)),
            Ending::StartFailed => facts.start_failed = true,
            Ending::Unknown => {}
            Ending::Stopped => facts.stop_requested = true,
        }
        facts
    }
}

/// What happens at a moment of a [`Timeline`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// A run starts, counted from 1.
    Start {
        /// Which run.
        run: u32,
    },
    /// A run ends.
    Exit {
        /// How, such as `exit code 1`.
        how: String,
    },
    /// The decision about it.
    Decide(Decision),
}

/// A line of a [`Timeline`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Virtual time since the first start.
    pub at: Duration,
    /// What happens.
    pub moment: Moment,
}

/// What a policy makes of a script.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The lines, in order of time.
    pub lines: Vec<Line>,
    /// The counters at the end.
    pub counters: Counters,
}

impl Timeline {
    /// Plays `script` under `policy`. `random` is asked for a number from 0 to 1 for each decision,
    /// counted from 0. Ends with the script, or when the service stays down.
    pub fn play(
        policy: &RestartPolicy,
        script: &[Exit],
        mut random: impl FnMut(u32) -> f64,
    ) -> Self {
        let mut timeline = Self::default();
        let mut at = Duration::ZERO;
        let runs = script
            .iter()
            .flat_map(|exit| std::iter::repeat_n(exit, exit.times as usize));
        for (run, exit) in (0_u32..).zip(runs) {
            match timeline.run(policy, exit, run, at, random(run)) {
                Some(next) => at = next,
                None => return timeline,
            }
        }
        timeline
    }

    /// Plays one run that starts at `at` and returns when the next one does.
    fn run(
        &mut self,
        policy: &RestartPolicy,
        exit: &Exit,
        run: u32,
        at: Duration,
        random: f64,
    ) -> Option<Duration> {
        let facts = exit.facts();
        self.push(
            at,
            Moment::Start {
                run: run.saturating_add(1),
            },
        );
        let end = at.saturating_add(exit.after);
        self.push(
            end,
            Moment::Exit {
                how: facts.describe(),
            },
        );
        let decision = policy.on_exit(&mut self.counters, &facts, end, random);
        let next = match &decision {
            Decision::Restart { delay, .. } => Some(end.saturating_add(*delay)),
            Decision::Stay { retry_in, .. } => {
                retry_in.map(|cool_down| end.saturating_add(cool_down))
            }
        };
        if matches!(
            decision,
            Decision::Stay {
                retry_in: Some(_),
                ..
            }
        ) {
            self.counters.clear();
        }
        self.push(end, Moment::Decide(decision));
        next
    }

    fn push(&mut self, at: Duration, moment: Moment) {
        self.lines.push(Line { at, moment });
    }

    /// Returns how many runs were started.
    pub fn runs(&self) -> usize {
        self.lines
            .iter()
            .filter(|line| matches!(line.moment, Moment::Start { .. }))
            .count()
    }

    /// Returns when the runs started.
    pub fn starts(&self) -> Vec<Duration> {
        let started = |line: &&Line| matches!(line.moment, Moment::Start { .. });
        self.lines
            .iter()
            .filter(started)
            .map(|line| line.at)
            .collect()
    }

    /// Returns why it was given up (for the first time), if so.
    pub fn given_up(&self) -> Option<&str> {
        self.lines.iter().find_map(|line| match &line.moment {
            Moment::Decide(Decision::Stay {
                state: StayState::Failed,
                reason,
                ..
            }) => Some(reason.as_str()),
            _ => None,
        })
    }
}

impl fmt::Display for Timeline {
    /// Writes one line per moment: time, event, arithmetic.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10}  {}", format_duration(self.at), self.moment)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start { run } => write!(f, "start    run {run}"),
            Self::Exit { how } => write!(f, "exit     {how}"),
            Self::Decide(decision) => write!(f, "{decision}"),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart {
                delay,
                attempt,
                arithmetic,
            } => {
                write!(
                    f,
                    "backoff  {} (attempt {attempt}): {arithmetic}",
                    format_duration(*delay)
                )
            }
            Self::Stay {
                state,
                reason,
                retry_in,
            } => {
                let word = match state {
                    StayState::Exited => "exited ",
                    StayState::Failed => "failed ",
                };
                write!(f, "{word}  {reason}")?;
                retry_in.map_or(Ok(()), |after| {
                    write!(f, "; trying afresh in {}", format_duration(after))
                })
            }
        }
    }
}

/// Text that is no [`Exit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not of the form `ENDING@LIFE*TIMES`, such as `1@100ms*5`")]
pub struct ParseExitError(String);

impl FromStr for Exit {
    type Err = ParseExitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_exit(text.trim()).ok_or_else(|| ParseExitError(text.to_owned()))
    }
}

fn parse_exit(text: &str) -> Option<Exit> {
    let (rest, times) = match text.split_once('*') {
        Some((rest, times)) => (rest, times.parse().ok()?),
        None => (text, 1),
    };
    let (ending, after) = match rest.split_once('@') {
        Some((ending, life)) => (ending, parse_life(life)?),
        None => (rest, Duration::ZERO),
    };
    Some(Exit {
        ending: parse_ending(ending)?,
        after,
        times,
    })
}

fn parse_ending(text: &str) -> Option<Ending> {
    match text {
        "oom" => Some(Ending::Oom),
        "start-failed" => Some(Ending::StartFailed),
        "unknown" => Some(Ending::Unknown),
        "stopped" => Some(Ending::Stopped),
        _ => match text.strip_prefix("signal:") {
            Some(number) => number.parse().ok().map(Ending::Signal),
            None => text.parse().ok().map(Ending::Code),
        },
    }
}

/// Parses one number with one unit (`ms`, `s`, `m`, `h`, `d`; none is seconds).
fn parse_life(text: &str) -> Option<Duration> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * scale).ok()
}

//! The limits of a set of hooks; every broken one is reported, not just the first.

use std::collections::BTreeMap;
use std::path::Component;
use std::time::Duration;

use thiserror::Error;

use crate::hook::{Hook, Hooks};
use crate::phase::Phase;

/// The longest command line of a hook, in characters.
pub const MAX_COMMAND_CHARS: usize = 10_000;
/// The longest timeout, and the longest pause before a retry: one hour.
pub const MAX_TIMEOUT: Duration = Duration::from_secs(3600);
/// The most hooks of one phase.
pub const MAX_PER_PHASE: usize = 50;
/// The most hooks of one service.
pub const MAX_TOTAL: usize = 100;
/// The most retries of one hook.
pub const MAX_RETRIES: u32 = 1_000;

/// One broken rule and where it was broken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {problem}", self.place())]
pub struct HookError {
    /// The phase whose list holds the hook; `None` where the whole set is meant.
    pub phase: Option<Phase>,
    /// The position in that list, from 0; `None` where the list is meant.
    pub index: Option<usize>,
    /// The key of the hook that is wrong: `name`, `timeout` and so on; empty for the list.
    pub key: &'static str,
    /// What is wrong with it.
    pub problem: HookProblem,
}

impl HookError {
    fn place(&self) -> String {
        let mut place = String::from("hooks");
        if let Some(phase) = self.phase {
            place.push('.');
            place.push_str(phase.as_str());
        }
        if let Some(index) = self.index {
            place.push_str(&format!("[{index}]"));
        }
        if !self.key.is_empty() {
            place.push('.');
            place.push_str(self.key);
        }
        place
    }
}

/// What can be wrong with a hook.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HookProblem {
    /// The name is missing.
    #[error("a hook needs a name")]
    NameEmpty,
    /// The name has a character that would hurt in paths and logs.
    #[error("name `{name}` must not contain {character:?}")]
    NameCharacter {
        /// The name.
        name: String,
        /// The first forbidden character.
        character: char,
    },
    /// The name is used twice, in whatever phases.
    #[error("name `{name}` is already used by a hook of {other}")]
    NameTaken {
        /// The name.
        name: String,
        /// The phase of the hook that has it.
        other: Phase,
    },
    /// The command is missing.
    #[error("a hook needs a command")]
    CommandEmpty,
    /// The command is longer than [`MAX_COMMAND_CHARS`].
    #[error("the command has {chars} characters, at most {MAX_COMMAND_CHARS} are allowed")]
    CommandTooLong {
        /// How many there are.
        chars: usize,
    },
    /// A NUL byte, which no command line or environment can carry.
    #[error("a NUL byte is not allowed")]
    Nul,
    /// The timeout, or the pause before a retry, is longer than [`MAX_TIMEOUT`].
    #[error("{given:?} is more than the allowed hour")]
    TooLong {
        /// The given duration.
        given: Duration,
    },
    /// More retries than [`MAX_RETRIES`].
    #[error("{given} retries are more than the allowed {MAX_RETRIES}")]
    TooManyRetries {
        /// The given number.
        given: u32,
    },
    /// The directory climbs.
    #[error("`..` is not allowed in the working directory `{path}`")]
    CwdClimbs {
        /// The given directory.
        path: String,
    },
    /// A name that no environment can hold.
    #[error("`{key}` is not the name of a variable")]
    EnvKey {
        /// The given name.
        key: String,
    },
    /// A name that is ours to set.
    #[error("variable `{key}` cannot be set: names starting with `PROC_` are set by proc")]
    EnvReserved {
        /// The given name.
        key: String,
    },
    /// More hooks than [`MAX_PER_PHASE`].
    #[error("{count} hooks in one phase, at most {MAX_PER_PHASE} are allowed")]
    TooManyInPhase {
        /// How many there are.
        count: usize,
    },
    /// More hooks than [`MAX_TOTAL`].
    #[error("{count} hooks in all, at most {MAX_TOTAL} are allowed")]
    TooMany {
        /// How many there are.
        count: usize,
    },
}

impl Hooks {
    /// Checks every rule.
    ///
    /// # Errors
    /// Returns each broken rule with its place, in the order of the lists; never an empty list.
    pub fn validate(&self) -> Result<(), Vec<HookError>> {
        let mut errors = Vec::new();
        let mut names: BTreeMap<&str, Phase> = BTreeMap::new();
        let mut total = 0;
        for phase in Phase::ALL {
            let hooks = self.phase(phase);
            total += hooks.len();
            if hooks.len() > MAX_PER_PHASE {
                let problem = HookProblem::TooManyInPhase { count: hooks.len() };
                errors.push(HookError {
                    phase: Some(phase),
                    index: None,
                    key: "",
                    problem,
                });
            }
            for (index, hook) in hooks.iter().enumerate() {
                let mut add = |key, problem| {
                    errors.push(HookError {
                        phase: Some(phase),
                        index: Some(index),
                        key,
                        problem,
                    });
                };
                check(hook, &mut add);
                if let Some(&other) = names.get(hook.name.as_str()) {
                    add(
                        "name",
                        HookProblem::NameTaken {
                            name: hook.name.clone(),
                            other,
                        },
                    );
                } else {
                    names.insert(&hook.name, phase);
                }
            }
        }
        if total > MAX_TOTAL {
            let problem = HookProblem::TooMany { count: total };
            errors.push(HookError {
                phase: None,
                index: None,
                key: "",
                problem,
            });
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

fn check(hook: &Hook, add: &mut impl FnMut(&'static str, HookProblem)) {
    check_name(&hook.name, add);
    check_command(&hook.command, add);
    for (key, given) in [("timeout", hook.timeout), ("retry_delay", hook.retry_delay)] {
        if given > MAX_TIMEOUT {
            add(key, HookProblem::TooLong { given });
        }
    }
    if hook.retries > MAX_RETRIES {
        add(
            "retries",
            HookProblem::TooManyRetries {
                given: hook.retries,
            },
        );
    }
    if let Some(cwd) = &hook.cwd
        && cwd.components().any(|part| part == Component::ParentDir)
    {
        add(
            "cwd",
            HookProblem::CwdClimbs {
                path: cwd.display().to_string(),
            },
        );
    }
    for (key, value) in &hook.env {
        check_env(key, value, add);
    }
}

fn check_name(name: &str, add: &mut impl FnMut(&'static str, HookProblem)) {
    let forbidden = |c: char| c.is_whitespace() || c.is_control() || r#"/\<>:"?*|"#.contains(c);
    if name.is_empty() {
        add("name", HookProblem::NameEmpty);
    } else if let Some(character) = name.chars().find(|&c| forbidden(c)) {
        add(
            "name",
            HookProblem::NameCharacter {
                name: name.to_owned(),
                character,
            },
        );
    }
}

fn check_command(command: &str, add: &mut impl FnMut(&'static str, HookProblem)) {
    let chars = command.chars().count();
    if command.trim().is_empty() {
        add("command", HookProblem::CommandEmpty);
    } else if chars > MAX_COMMAND_CHARS {
        add("command", HookProblem::CommandTooLong { chars });
    } else if command.contains('\0') {
        add("command", HookProblem::Nul);
    }
}

fn check_env(key: &str, value: &str, add: &mut impl FnMut(&'static str, HookProblem)) {
    if key.is_empty() || key.contains(['=', '\0']) {
        add(
            "env",
            HookProblem::EnvKey {
                key: key.to_owned(),
            },
        );
    } else if key.starts_with("PROC_") {
        add(
            "env",
            HookProblem::EnvReserved {
                key: key.to_owned(),
            },
        );
    } else if value.contains('\0') {
        add("env", HookProblem::Nul);
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn problems(edit: impl FnOnce(&mut Hook)) -> Vec<String> {
        let mut hook = Hook::new("migrate", "./migrate");
        edit(&mut hook);
        let hooks = Hooks {
            pre_start: vec![hook],
            ..Hooks::default()
        };
        hooks
            .validate()
            .err()
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_plain_hook_is_fine() {
        assert_eq!(problems(|_| {}), Vec::<String>::new());
        assert_eq!(
            problems(|hook| hook.timeout = MAX_TIMEOUT),
            Vec::<String>::new()
        );
        assert_eq!(
            problems(|hook| hook.timeout = Duration::ZERO),
            Vec::<String>::new()
        );
        assert_eq!(
            problems(|hook| hook.command = "x".repeat(10_000)),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_limit_is_reported_with_its_place() {
        let table: [(&str, Vec<String>); 12] = [
            (
                "hooks.pre_start[0].name: a hook needs a name",
                problems(|h| h.name.clear()),
            ),
            ("must not contain ' '", problems(|h| h.name = "a b".into())),
            ("must not contain '/'", problems(|h| h.name = "a/b".into())),
            ("must not contain '|'", problems(|h| h.name = "a|b".into())),
            (
                "a hook needs a command",
                problems(|h| h.command = " \t".into()),
            ),
            (
                "10001 characters",
                problems(|h| h.command = "x".repeat(10_001)),
            ),
            (
                "hooks.pre_start[0].timeout: 3601s is more than the allowed hour",
                problems(|h| h.timeout = Duration::from_secs(3601)),
            ),
            (
                "`..` is not allowed",
                problems(|h| h.cwd = Some(PathBuf::from("a/../b"))),
            ),
            (
                "names starting with `PROC_`",
                problems(|h| drop(h.env.insert("PROC_X".into(), "1".into()))),
            ),
            (
                "is not the name of a variable",
                problems(|h| drop(h.env.insert("A=B".into(), "1".into()))),
            ),
            ("1001 retries", problems(|h| h.retries = 1001)),
            ("a NUL byte", problems(|h| h.command = "a\0b".into())),
        ];
        for (wanted, found) in table {
            assert_eq!(
                found.len(),
                1,
                "one problem for {wanted:?}, found {found:?}"
            );
            assert!(found[0].contains(wanted), "{wanted:?} in {found:?}");
        }
    }

    #[test]
    fn a_name_is_unique_over_all_phases() {
        let hooks = Hooks {
            pre_start: vec![Hook::new("a", "true")],
            post_stop: vec![Hook::new("a", "true")],
            ..Hooks::default()
        };
        let errors = hooks.validate().unwrap_err();
        assert_eq!(
            errors[0].to_string(),
            "hooks.post_stop[0].name: name `a` is already used by a hook of pre_start"
        );
    }

    #[test]
    fn fifty_a_phase_and_a_hundred_in_all() {
        let many = |prefix: &str, count: usize| -> Vec<Hook> {
            (0..count)
                .map(|i| Hook::new(format!("{prefix}{i}"), "true"))
                .collect()
        };
        let full = Hooks {
            pre_start: many("a", 50),
            post_start: many("b", 50),
            ..Hooks::default()
        };
        assert_eq!(full.validate(), Ok(()));
        let one_more = Hooks {
            pre_stop: many("c", 1),
            ..full.clone()
        };
        assert_eq!(
            one_more.validate().unwrap_err()[0].problem,
            HookProblem::TooMany { count: 101 }
        );
        let crowded = Hooks {
            pre_start: many("a", 51),
            ..Hooks::default()
        };
        assert_eq!(
            crowded.validate().unwrap_err()[0].problem,
            HookProblem::TooManyInPhase { count: 51 }
        );
    }
}

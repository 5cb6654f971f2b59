//! Checking a pipeline before anything starts, and the pure scheduler that runs it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use thiserror::Error;

use crate::environment::EnvironmentError;
use crate::pipeline::task::{Pipeline, Task};

/// A pipeline that cannot be run; nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// A task has no name.
    #[error("task number {0} has no name")]
    NoName(usize),
    /// Two tasks have one name.
    #[error("two tasks are named `{0}`")]
    Duplicate(String),
    /// A task has neither a command nor an argv, or both.
    #[error("task `{0}` needs either a `command` or an `argv`")]
    Command(String),
    /// A variable of a task is none.
    #[error("task `{task}`: {source}")]
    Environment {
        /// The task.
        task: String,
        /// What is wrong.
        source: EnvironmentError,
    },
    /// A task comes after one that does not exist.
    #[error("task `{task}` is after `{missing}`, which does not exist")]
    Missing {
        /// The task.
        task: String,
        /// What it names.
        missing: String,
    },
    /// Tasks wait for one another; the path begins and ends with the same one.
    #[error("tasks wait for one another: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl Pipeline {
    /// Checks tasks and makes a pipeline of them.
    ///
    /// # Errors
    /// Returns everything that is wrong, never an empty list; cycles are looked for once the rest
    /// is right.
    pub fn new(tasks: Vec<Task>) -> Result<Self, Vec<PipelineError>> {
        let mut errors = Vec::new();
        let mut index = HashMap::new();
        for (position, task) in tasks.iter().enumerate() {
            if task.name.is_empty() {
                errors.push(PipelineError::NoName(position + 1));
            } else if index.insert(task.name.as_str(), position).is_some() {
                errors.push(PipelineError::Duplicate(task.name.clone()));
            }
        }
        let mut commands = Vec::with_capacity(tasks.len());
        let mut needs = Vec::with_capacity(tasks.len());
        for task in &tasks {
            match task.to_command() {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => errors.push(PipelineError::Command(task.name.clone())),
                Err(source) => {
                    errors.push(PipelineError::Environment {
                        task: task.name.clone(),
                        source,
                    });
                }
            }
            let mut found: Vec<usize> = Vec::with_capacity(task.after.len());
            for name in &task.after {
                match index.get(name.as_str()) {
                    Some(&position) => found.push(position),
                    None => errors.push(PipelineError::Missing {
                        task: task.name.clone(),
                        missing: name.clone(),
                    }),
                }
            }
            found.sort_unstable();
            found.dedup();
            needs.push(found);
        }
        if errors.is_empty()
            && let Some(cycle) = cycle(&needs)
        {
            let names = cycle
                .into_iter()
                .map(|position| tasks[position].name.clone())
                .collect();
            errors.push(PipelineError::Cycle(names));
        }
        if errors.is_empty() {
            Ok(Pipeline {
                tasks,
                commands,
                needs,
            })
        } else {
            Err(errors)
        }
    }
}

/// Finds a cycle, as a path that ends where it begins.
fn cycle(needs: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        OnPath,
        Done,
    }
    let mut seen = vec![Seen::No; needs.len()];
    for start in 0..needs.len() {
        if seen[start] != Seen::No {
            continue;
        }
        // Depth first without recursion: a chain of 100,000 tasks must not end the stack.
        let mut path = vec![(start, 0)];
        seen[start] = Seen::OnPath;
        while let Some((node, next)) = path.last_mut() {
            let Some(&need) = needs[*node].get(*next) else {
                seen[*node] = Seen::Done;
                path.pop();
                continue;
            };
            *next += 1;
            match seen[need] {
                Seen::Done => {}
                Seen::No => {
                    seen[need] = Seen::OnPath;
                    path.push((need, 0));
                }
                Seen::OnPath => {
                    let from = path.iter().position(|&(node, _)| node == need)?;
                    let nodes = path[from..].iter().map(|&(node, _)| node);
                    return Some(nodes.chain([need]).collect());
                }
            }
        }
    }
    None
}

/// Which tasks may run: each as soon as everything it comes after is done.
#[derive(Debug)]
pub(crate) struct Schedule {
    waits: Vec<usize>,
    wanted_by: Vec<Vec<usize>>,
    /// Free tasks; the one given first comes first.
    free: BinaryHeap<Reverse<usize>>,
    /// Tasks that will not run any more, or have.
    settled: Vec<bool>,
}

impl Schedule {
    pub(crate) fn new(needs: &[Vec<usize>]) -> Self {
        let mut wanted_by = vec![Vec::new(); needs.len()];
        for (task, needed) in needs.iter().enumerate() {
            for &need in needed {
                wanted_by[need].push(task);
            }
        }
        let waits: Vec<usize> = needs.iter().map(Vec::len).collect();
        let free = (0..needs.len())
            .filter(|&task| waits[task] == 0)
            .map(Reverse)
            .collect();
        Schedule {
            settled: vec![false; needs.len()],
            waits,
            wanted_by,
            free,
        }
    }

    /// Takes the next task that may run.
    pub(crate) fn next(&mut self) -> Option<usize> {
        let Reverse(task) = self.free.pop()?;
        self.settled[task] = true;
        Some(task)
    }

    /// Frees the tasks that waited only for this one.
    pub(crate) fn passed(&mut self, task: usize) {
        for &wants in &self.wanted_by[task] {
            self.waits[wants] -= 1;
            if self.waits[wants] == 0 && !self.settled[wants] {
                self.free.push(Reverse(wants));
            }
        }
    }

    /// Gives up everything that comes after this one, and returns it with what it waited for.
    pub(crate) fn failed(&mut self, task: usize) -> Vec<(usize, usize)> {
        let mut skipped = Vec::new();
        let mut causes = vec![task];
        while let Some(cause) = causes.pop() {
            for &wants in &self.wanted_by[cause] {
                if !std::mem::replace(&mut self.settled[wants], true) {
                    skipped.push((wants, cause));
                    causes.push(wants);
                }
            }
        }
        skipped
    }

    /// Gives up everything that has not begun.
    pub(crate) fn give_up(&mut self) -> Vec<usize> {
        self.free.clear();
        let begun = |task: &usize| !self.settled[*task];
        let left: Vec<usize> = (0..self.settled.len()).filter(begun).collect();
        self.settled.fill(true);
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(tasks: Vec<Task>) -> Vec<String> {
        Pipeline::new(tasks)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn mistakes_are_all_found_before_anything_starts() {
        let found = errors(vec![
            Task::shell("a", "true").after(["nowhere"]),
            Task::shell("a", "true"),
            Task::shell("", "true"),
            Task::default(),
            Task {
                argv: vec!["x".into()],
                ..Task::shell("both", "true")
            },
        ]);
        assert_eq!(
            found,
            [
                "two tasks are named `a`",
                "task number 3 has no name",
                "task number 4 has no name",
                "task `a` is after `nowhere`, which does not exist",
                "task `` needs either a `command` or an `argv`",
                "task `both` needs either a `command` or an `argv`",
            ]
        );
    }

    #[test]
    fn circular_pipeline_is_a_failure() {
        // K19
        let found = errors(vec![
            Task::shell("a", "true").after(["c"]),
            Task::shell("b", "true").after(["a"]),
            Task::shell("c", "true").after(["b"]),
            Task::shell("d", "true").after(["c"]),
        ]);
        assert_eq!(found, ["tasks wait for one another: a -> c -> b -> a"]);
        let own = errors(vec![Task::shell("a", "true").after(["a"])]);
        assert_eq!(own, ["tasks wait for one another: a -> a"]);
    }

    #[test]
    fn a_long_chain_is_no_problem() {
        let needs: Vec<Vec<usize>> = (0..100_000_usize)
            .map(|task| task.checked_sub(1).into_iter().collect())
            .collect();
        assert_eq!(cycle(&needs), None);
        let mut schedule = Schedule::new(&needs);
        let mut done = 0;
        while let Some(task) = schedule.next() {
            schedule.passed(task);
            done += 1;
        }
        assert_eq!(done, 100_000);
        assert_eq!(Schedule::new(&needs).failed(0).len(), 99_999);
    }

    #[test]
    fn random_graphs_run_in_an_order_that_holds() {
        // A fixed generator: the same graphs every time.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % below as u64).unwrap()
        };
        for _ in 0..200 {
            let count = 1 + random(60);
            let needs: Vec<Vec<usize>> = (0..count)
                .map(|task| {
                    let mut needs: Vec<usize> = (0..random(4))
                        .filter(|_| task > 0)
                        .map(|_| random(task.max(1)))
                        .collect();
                    needs.sort_unstable();
                    needs.dedup();
                    needs
                })
                .collect();
            let fails = random(count);
            let mut schedule = Schedule::new(&needs);
            let (mut passed, mut skipped, mut running) =
                (vec![false; count], vec![false; count], Vec::new());
            loop {
                while let Some(task) = schedule.next() {
                    assert!(
                        needs[task].iter().all(|&need| passed[need]),
                        "its needs hold"
                    );
                    assert!(!skipped[task] && !passed[task], "once, or not at all");
                    running.push(task);
                }
                if running.is_empty() {
                    break;
                }
                let task = running.swap_remove(random(running.len()));
                if task == fails {
                    for (given_up, cause) in schedule.failed(task) {
                        assert!(
                            needs[given_up].contains(&cause),
                            "the reason is one of its needs"
                        );
                        assert!(!std::mem::replace(&mut skipped[given_up], true), "once");
                    }
                } else {
                    passed[task] = true;
                    schedule.passed(task);
                }
            }
            for task in 0..count {
                let settled = usize::from(passed[task]) + usize::from(skipped[task]);
                assert_eq!(
                    settled,
                    usize::from(task != fails),
                    "each has exactly one fate"
                );
            }
        }
    }
}

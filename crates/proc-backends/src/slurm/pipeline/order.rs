//! Who waits for whom: as Slurm is told, and as a failure spreads.

use proc_run::Task;

/// The edges between tasks, by position.
#[derive(Debug)]
pub(super) struct Order {
    /// For each task, those it waits for.
    pub(super) needs: Vec<Vec<usize>>,
}

/// One dependency as Slurm is told: on which task, and whether that may fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dependency {
    pub(super) on: usize,
    pub(super) may_fail: bool,
}

impl Order {
    /// Returns the tasks so that each comes after those it waits for; the one given first comes first.
    pub(super) fn submission(&self) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.needs.len());
        let mut placed = vec![false; self.needs.len()];
        // A pipeline has no cycle, so each round places one at least.
        while order.len() < self.needs.len() {
            for (task, needs) in self.needs.iter().enumerate() {
                if !placed[task] && needs.iter().all(|&need| placed[need]) {
                    placed[task] = true;
                    order.push(task);
                }
            }
        }
        order
    }

    /// Returns what Slurm is told of a task. One that may fail does not hold up others by failing, but does by never
    /// having run: so whoever waits for it waits for what it waited for as well.
    pub(super) fn dependencies(&self, task: usize, tasks: &[Task]) -> Vec<Dependency> {
        let mut found: Vec<Dependency> = Vec::new();
        let mut open = self.needs[task].clone();
        while let Some(on) = open.pop() {
            if found.iter().any(|dependency| dependency.on == on) {
                continue;
            }
            let may_fail = tasks[on].allow_failure;
            found.push(Dependency { on, may_fail });
            if may_fail {
                open.extend(&self.needs[on]);
            }
        }
        found.sort_unstable_by_key(|dependency| dependency.on);
        found
    }

    /// Returns everything that waits for a task, directly or not, each with what it waited for of that.
    pub(super) fn after(&self, task: usize) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut causes = vec![task];
        while let Some(cause) = causes.pop() {
            for (waits, needs) in self.needs.iter().enumerate() {
                if needs.contains(&cause) && found.iter().all(|(known, _)| *known != waits) {
                    found.push((waits, cause));
                    causes.push(waits);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_may_fail_hands_on_what_it_waited_for() {
        let tasks = [
            Task::shell("a", "true"),
            Task::shell("b", "false").after(["a"]).allow_failure(true),
            Task::shell("c", "false").after(["b"]).allow_failure(true),
            Task::shell("d", "true").after(["c"]),
        ];
        let order = Order {
            needs: vec![vec![], vec![0], vec![1], vec![2]],
        };
        let told = |on, may_fail| Dependency { on, may_fail };
        let expected = [told(0, false), told(1, true), told(2, true)];
        assert_eq!(order.dependencies(3, &tasks), expected);
        assert_eq!(order.dependencies(1, &tasks), [told(0, false)]);
        assert_eq!(order.after(1), [(2, 1), (3, 2)]);
    }

    #[test]
    fn tasks_are_submitted_after_what_they_wait_for() {
        let order = Order {
            needs: vec![vec![2], vec![], vec![1]],
        };
        assert_eq!(order.submission(), [1, 2, 0]);
    }
}

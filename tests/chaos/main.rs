//! Nothing is lost: supervisors and shims are killed at random instants, and the books must balance.
//!
//! Seeded; `PROC_TEST_SEED=N` repeats a run, `--full` runs the long sweep.

mod books;
mod supervisor_killed;

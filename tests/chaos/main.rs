//! Nothing is lost: supervisors and shims are killed at random instants, and the books must balance.
//!
//! Seeded, and the seed is printed; `PROC_TEST_SEED=N` repeats a run, `--full` runs the long sweep.

mod books;
mod faults;
mod formats;
mod killer;
mod racing;
mod rebooted;
mod shims_killed;
mod supervisor_killed;
mod upgraded;

//! The verbs: one file each, an `Args` struct and a `run`.

mod alive;
mod check;
mod completions;
mod identity;
mod man;
mod new;
mod policy;

use clap::Subcommand;

use crate::args::Globals;
use crate::context::Context;
use crate::error::Outcome;

/// What `proc` can be asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Validate the configuration
    Check(check::Args),
    /// Write a commented starter file
    New(new::Args),
    /// Restart policies: play one in virtual time
    Policy(policy::Args),
    /// Print the record by which a process is known later
    Identity(identity::Args),
    /// Ask whether a process lives, and is the same: exit code 0 or 3
    Alive(alive::Args),
    /// Write a shell's completions to stdout
    Completions(completions::Args),
    /// Write the manual pages into a directory
    Man(man::Args),
}

/// Runs one verb.
pub(crate) fn dispatch(globals: Globals, verb: Verb) -> Outcome {
    let context = &Context::new(globals)?;
    match verb {
        Verb::Check(args) => check::run(context, args),
        Verb::New(args) => new::run(context, args),
        Verb::Policy(args) => policy::run(context, args),
        Verb::Identity(args) => identity::run(args),
        Verb::Alive(args) => alive::run(&context.globals, args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
    }
}

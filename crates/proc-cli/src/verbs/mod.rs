//! The verbs: one file each, an `Args` struct and a `run`.

mod alive;
mod apply;
mod attach;
mod check;
mod completions;
mod count;
mod daemon;
mod doctor;
mod down;
mod enable;
mod escalation;
mod events;
mod exec;
mod export;
mod find;
mod foreground;
mod identity;
mod import;
mod init;
mod is;
mod kill;
mod logs;
mod man;
mod new;
mod pipeline;
mod plan;
mod policy;
mod reload;
mod restart;
mod run;
mod scale;
mod schema;
mod script;
mod send;
mod signal;
mod start;
mod status;
mod stop;
mod supervise;
mod tree;
pub(crate) mod up;
mod wait;
mod why;

use clap::Subcommand;

use crate::args::Globals;
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;

/// What `proc` can be asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start the supervisor and the services
    Up(up::Args),
    /// Stop everything, dependents first, then the supervisor
    Down(down::Args),
    /// Start services and what they need
    Start(start::Args),
    /// Stop services, dependents first
    Stop(stop::Args),
    /// Restart services
    Restart(restart::Args),
    /// Send services their reload signal
    Reload(reload::Args),
    /// Send a signal to services
    Signal(signal::Args),
    /// Change how many instances services have
    Scale(scale::Args),
    /// Write a line to a service's standard input
    Send(send::Args),
    /// Join this terminal to a service's input and output
    Attach(attach::Args),
    /// Run a command with a service's environment, directory and user
    Exec(exec::Args),
    /// Show what every service is doing
    #[command(visible_aliases = ["ps", "ls"])]
    Status(status::Args),
    /// Show what services wrote
    Logs(logs::Args),
    /// Show every transition with its number
    Events(events::Args),
    /// Wait until services are in a state
    Wait(wait::Args),
    /// Ask whether services are in a state: exit code 0 or 3
    Is(is::Args),
    /// Explain a service's state: who asked, what ended, what comes next
    Why(why::Args),
    /// Show what the changed configuration would do
    Plan(plan::Args),
    /// Make the changed configuration the running one
    Apply(apply::Args),
    /// Have systemd or launchd start the project at boot
    Enable(enable::Args),
    /// Take back what `enable` did
    Disable(enable::Whose),
    /// Show and tend the supervisors that run on this machine
    Daemon(daemon::Args),
    /// Validate the configuration
    Check(check::Args),
    /// Print the JSON Schema of proc.toml
    Schema(schema::Args),
    /// Say which kernel features are used here, and what falls back
    Doctor(doctor::Args),
    /// Write a commented starter file
    New(new::Args),
    /// Turn another tool's configuration into proc.toml
    Import(import::Args),
    /// Write the project for another supervisor
    Export(export::Args),
    /// Restart policies: play one in virtual time
    Policy(policy::Args),
    /// Run a bash script, and end what it leaves behind
    Script(script::Args),
    /// Run tasks that depend on one another
    Pipeline(pipeline::Args),
    /// Run one command in the foreground under a policy
    Run(Box<run::Args>),
    /// Be PID 1 of a container: reap, forward every signal, keep the exit code
    Init(init::Args),
    /// End processes and prove it
    Kill(kill::Args),
    /// Show processes under their parents
    Tree(tree::Args),
    /// Find processes by name
    Find(find::Args),
    /// Count processes by state
    Count(count::Args),
    /// Print the record by which a process is known later
    Identity(identity::Args),
    /// Ask whether a process lives, and is the same: exit code 0 or 3
    Alive(alive::Args),
    /// Write a shell's completions to stdout
    Completions(completions::Args),
    /// Write the manual pages into a directory
    Man(man::Args),
    /// Be the supervisor that `up -d` leaves behind
    #[command(name = "__supervise", hide = true)]
    Supervise(supervise::Args),
}

impl Verb {
    /// Returns whether its code is that of a command, and its own failures are told apart from it.
    fn runs_a_command(&self) -> bool {
        matches!(self, Verb::Run(_) | Verb::Script(_) | Verb::Init(_))
    }
}

/// Runs one verb.
pub(crate) fn dispatch(globals: Globals, verb: Verb) -> Outcome {
    let context = &Context::new(globals).map_err(|error| {
        let code = if verb.runs_a_command() {
            exit::NOT_RUN
        } else {
            exit::FAILED
        };
        CliError::new(code, format!("cannot begin: {error}"))
    })?;
    match verb {
        Verb::Up(args) => up::run(context, args),
        Verb::Down(args) => down::run(context, args),
        Verb::Start(args) => start::run(context, args),
        Verb::Stop(args) => stop::run(context, args),
        Verb::Restart(args) => restart::run(context, args),
        Verb::Reload(args) => reload::run(context, args),
        Verb::Signal(args) => signal::run(context, args),
        Verb::Scale(args) => scale::run(context, args),
        Verb::Send(args) => send::run(context, args),
        Verb::Attach(args) => attach::run(context, &args),
        Verb::Exec(args) => exec::run(context, args),
        Verb::Status(args) => status::run(context, args),
        Verb::Logs(args) => logs::run(context, args),
        Verb::Events(args) => events::run(context, args),
        Verb::Wait(args) => wait::run(context, args),
        Verb::Is(args) => is::run(context, args),
        Verb::Why(args) => why::run(context, args),
        Verb::Plan(args) => plan::run(context, args),
        Verb::Apply(args) => apply::run(context, args),
        Verb::Enable(args) => enable::run(context, args),
        Verb::Disable(whose) => enable::disable(context, &whose),
        Verb::Daemon(args) => daemon::run(context, args),
        Verb::Check(args) => check::run(context, args),
        Verb::Schema(args) => schema::run(args),
        Verb::Doctor(args) => doctor::run(context, args),
        Verb::New(args) => new::run(context, args),
        Verb::Import(args) => import::run(context, args),
        Verb::Export(args) => export::run(context, args),
        Verb::Policy(args) => policy::run(context, args),
        Verb::Script(args) => script::run(context, args),
        Verb::Pipeline(args) => pipeline::run(context, args),
        Verb::Run(args) => run::run(context, &args),
        Verb::Init(args) => init::run(context, args),
        Verb::Kill(args) => kill::run(context, args),
        Verb::Tree(args) => tree::run(context, args),
        Verb::Find(args) => find::run(context, args),
        Verb::Count(args) => count::run(context, args),
        Verb::Identity(args) => identity::run(args),
        Verb::Alive(args) => alive::run(&context.globals, args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
        Verb::Supervise(args) => supervise::run(context, args),
    }
}

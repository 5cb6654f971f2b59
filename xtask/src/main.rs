//! What people and CI run: `cargo xtask help`.
//!
//! One task, one file; a task is a list of commands and the reason for each.

mod bench;
mod ci;
mod components;
mod cross;
mod deny;
mod dist;
mod example;
mod launchctl;
mod outside;
mod python;
mod shell;
mod shims;
mod suites;
mod tidy;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "What people and CI run on this workspace"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything: format, lints, docs, unit tests, suites, layers, dependencies. Installs what it needs
    Test {
        /// Runs the long sweeps of the suites too
        #[arg(long)]
        full: bool,
    },
    /// The same as `test`, and a skipped suite is a failure
    Ci {
        #[arg(long)]
        full: bool,
    },
    /// The whole-program suites, or one of them
    TestIntegration {
        /// One suite by name; all without it
        suite: Option<String>,
        /// Runs the long sweeps too
        #[arg(long)]
        full: bool,
        /// Passed on to the test program after `--`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Replays the contract table of launchctl(1) on this Mac with scratch labels, and prints what differs
    LaunchctlContract {
        /// Against our own launchd instead, on any machine
        #[arg(long)]
        fake: bool,
    },
    /// Layers, arrows, headers: the checks no other tool makes
    Tidy,
    /// Static `proc` and `proc-shim` in `target/dist`
    Dist {
        /// The shim alone
        #[arg(long)]
        shim: bool,
    },
    /// Checks and lints for other targets (macOS, musl, ARM) and runs what can run; fetches a toolchain where one is missing
    Cross {
        /// Links the programs too
        #[arg(long)]
        link: bool,
        /// All that the project makes a claim about, without it
        targets: Vec<String>,
    },
    /// Programs outside of the workspace that use one crate each; with `--package`, every crate checked from its package too
    Outside {
        /// Packs every crate and checks what was packed
        #[arg(long)]
        package: bool,
    },
    /// Benchmarks, each printed as a ratio to a raw loop or a rival in the same run
    Bench {
        /// One of the benchmarks; all without it
        name: Option<String>,
    },
    /// Runs the example stack in the foreground: Redis, PostgreSQL and nginx under `proc up`
    Example,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Test { full } => ci::run(&suites::Run {
            full,
            strict: shell::strict(),
        }),
        Task::Ci { full } => ci::run(&suites::Run { full, strict: true }),
        Task::TestIntegration { suite, full, args } => {
            let run = suites::Run {
                full,
                strict: shell::strict(),
            };
            suites::run(suite.as_deref(), &run, &args)
        }
        Task::LaunchctlContract { fake } => launchctl::run(fake),
        Task::Tidy => tidy::run(),
        Task::Dist { shim } => dist::run(shim),
        Task::Cross { link, targets } => cross::run(&targets, link),
        Task::Outside { package } => {
            outside::run()?;
            if package {
                outside::package()?;
            }
            Ok(())
        }
        Task::Bench { name } => bench::run(name.as_deref()),
        Task::Example => example::run(),
    }
}

//! `proc pipeline FILE`: tasks that depend on one another, each run as soon as it may.

mod cluster;
mod file;
mod progress;

use std::path::PathBuf;
use std::time::Duration;

use proc_core::{Signal, StopSequence};
use proc_run::{PipelineMode, PipelineOptions, PipelineOutcome, TaskStatus};

use super::foreground::{self, Interrupt};
use crate::args::{Limit, limit};
use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

/// Time before KILL unless another is named.
const GRACE: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The file with `[[task]]` entries; `-` reads it from stdin
    #[arg(value_name = "FILE")]
    pipeline: PathBuf,
    /// One task after the other, in the file's order
    #[arg(long, group = "mode")]
    sequential: bool,
    /// All tasks, whatever they come after
    #[arg(long, group = "mode")]
    parallel: bool,
    /// How many tasks run at once
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,
    /// End everything at the first failure that is not allowed
    #[arg(long)]
    fail_fast: bool,
    /// What runs the tasks: this machine, or a Slurm cluster
    #[arg(long, value_enum, default_value_t = RunBy::Native)]
    backend: RunBy,
    /// What every job asks for, as in `slurm = { … }`: `partition=gpu`
    #[arg(long, value_name = "KEY=VALUE")]
    slurm: Vec<String>,
    /// Where jobs write their output, shared with the nodes; without it below the current directory, and removed
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Time before KILL when a task is ended; `none` is never
    #[arg(long, value_name = "DURATION", value_parser = limit)]
    grace: Option<Limit>,
}

/// What runs the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum RunBy {
    /// This machine.
    Native,
    /// A Slurm cluster.
    Slurm,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let loaded = file::load(&args.pipeline)?;
    if args.backend == RunBy::Slurm {
        return cluster::run(context, &args, loaded);
    }
    let told = !args.slurm.is_empty() || args.output_dir.is_some() || !loaded.slurm.is_empty();
    if told {
        let message = "`slurm`, --slurm and --output-dir are for --backend slurm";
        return Err(CliError::new(exit::USAGE, message));
    }
    let pipeline = loaded.pipeline;
    let options = options(&args);
    foreground::adopt_orphans()?;
    let mut progress = progress::Progress::new(&pipeline, &context.globals);
    let (outcome, signal) = context.block_on(async {
        let interrupt = Interrupt::new(false)?;
        let outcome = pipeline
            .run(&options, interrupt.came(), |event| progress.show(event))
            .await;
        Ok::<_, std::io::Error>((outcome, interrupt.signal()))
    })?;
    progress.finish();
    let survivors = foreground::end_orphans(&options.stop);
    tell(context, &outcome)?;
    for survivor in &survivors {
        render::error_line(&format!("survived: {survivor}"));
    }
    Ok(match signal {
        Some(signal) if outcome.cancelled => exit::of_command(None, Some(signal.raw())),
        _ if !survivors.is_empty() => exit::SURVIVORS,
        _ if outcome.success => exit::OK,
        _ => exit::FAILED,
    })
}

fn options(args: &Args) -> PipelineOptions {
    let defaults = PipelineOptions::default();
    let grace = args.grace.map_or(Some(GRACE), |grace| grace.0);
    PipelineOptions {
        mode: match (args.sequential, args.parallel) {
            (true, _) => PipelineMode::Sequential,
            (_, true) => PipelineMode::Parallel,
            _ => PipelineMode::Graph,
        },
        jobs: args.jobs.map_or(defaults.jobs, |jobs| {
            usize::try_from(jobs).unwrap_or(usize::MAX)
        }),
        fail_fast: args.fail_fast,
        stop: StopSequence::graceful(Signal::TERM, grace),
        ..defaults
    }
}

fn tell(context: &Context, outcome: &PipelineOutcome) -> Result<(), CliError> {
    if context.globals.json {
        return render::json(outcome);
    }
    if context.globals.quiet {
        return Ok(());
    }
    let mut table = render::Table::new(&["task", "status", "code", "time", "reason"]);
    for task in &outcome.tasks {
        let code = task
            .exit_code
            .map_or_else(|| "-".to_owned(), |code| code.to_string());
        let time = match task.status {
            TaskStatus::Skipped => "-".to_owned(),
            _ => render::duration_ms(millis(task.duration)),
        };
        let reason = task.reason.clone().unwrap_or_default();
        table.row([
            task.name.as_str(),
            progress::word(task),
            &code,
            &time,
            &reason,
        ]);
    }
    table.print()?;
    let PipelineOutcome {
        passed,
        failed,
        skipped,
        ..
    } = outcome;
    let time = render::duration_ms(millis(outcome.duration));
    render::note(&format!(
        "{passed} passed, {failed} failed, {skipped} skipped in {time}"
    ));
    Ok(())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

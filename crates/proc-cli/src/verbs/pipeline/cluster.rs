//! `proc pipeline --backend slurm`: the tasks as jobs of a cluster.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_backends::{SlurmOptions, SlurmPipelineOptions, run_pipeline};

use super::file::Loaded;
use super::foreground::Interrupt;
use super::{Args, options, progress, tell};
use crate::context::{Context, environment};
use crate::error::{CliError, Outcome};
use crate::exit;

pub(super) fn run(context: &Context, args: &Args, loaded: Loaded) -> Outcome {
    if args.jobs.is_some() {
        let message = "--jobs: how many jobs run at once is decided by Slurm";
        return Err(CliError::new(exit::USAGE, message));
    }
    let resources = resources(&args.slurm)?;
    let dir = Directory::make(args.output_dir.as_deref())?;
    let options = SlurmPipelineOptions {
        slurm: SlurmOptions::new(dir.path.clone(), environment()),
        run: options(args),
        dir: dir.path.clone(),
        resources,
        of_task: loaded.slurm,
    };
    let pipeline = loaded.pipeline;
    let mut progress = progress::Progress::new(&pipeline, &context.globals);
    let ended = context.block_on(async {
        let interrupt = Interrupt::new(false)?;
        let outcome = run_pipeline(&pipeline, &options, interrupt.came(), |event| {
            progress.show(event);
        })
        .await;
        Ok::<_, std::io::Error>((outcome, interrupt.signal()))
    });
    progress.finish();
    let (outcome, signal) = ended?;
    let outcome = outcome.map_err(|error| CliError::chain(exit::FAILED, &error))?;
    tell(context, &outcome)?;
    Ok(match signal {
        Some(signal) if outcome.cancelled => exit::of_command(None, Some(signal.raw())),
        _ if outcome.success => exit::OK,
        _ => exit::FAILED,
    })
}

fn resources(given: &[String]) -> Result<BTreeMap<String, String>, CliError> {
    let mut all = BTreeMap::new();
    for pair in given {
        let refuse = |why: String| CliError::new(exit::USAGE, format!("--slurm {pair}: {why}"));
        let Some((key, value)) = pair.split_once('=') else {
            return Err(refuse("is not KEY=VALUE".to_owned()));
        };
        match proc_spec::slurm_options(key, value) {
            Ok(options) => all.extend(options),
            Err(error) => {
                let refused = refuse(error.message);
                return Err(match error.hint {
                    Some(hint) => refused.hint(hint),
                    None => refused,
                });
            }
        }
    }
    Ok(all)
}

/// Where jobs write; one of ours goes when they are done.
struct Directory {
    path: PathBuf,
    ours: bool,
}

impl Directory {
    fn make(named: Option<&Path>) -> Result<Self, CliError> {
        let here = std::env::current_dir().map_err(|error| {
            CliError::new(exit::FAILED, format!("the current directory: {error}"))
        })?;
        let path = match named {
            Some(named) => here.join(named),
            None => here.join(format!(".proc-pipeline-{}", std::process::id())),
        };
        let made = match named {
            Some(_) => std::fs::create_dir_all(&path),
            // Nobody else may have put something there.
            None => std::fs::create_dir(&path),
        };
        made.map_err(|error| {
            CliError::new(exit::FAILED, format!("`{}`: {error}", path.display()))
        })?;
        Ok(Self {
            path,
            ours: named.is_none(),
        })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.ours {
            let _nothing_depends_on_it = std::fs::remove_dir_all(&self.path);
        }
    }
}

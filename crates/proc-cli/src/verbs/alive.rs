//! `proc alive`: does that very process live? A zombie does not, another process with its pid neither.

use std::io::Write;
use std::path::{Path, PathBuf};

use proc_core::{Identity, IdentityError, Liveness};
use proc_store::{PidFile, ReadPid};

use super::identity;
use crate::args::Globals;
use crate::error::{CliError, Outcome};
use crate::exit;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("whom").required(true)))]
pub(crate) struct Args {
    /// The record that `proc identity` printed
    #[arg(long, value_name = "JSON", value_parser = identity::parse, group = "whom")]
    identity: Option<Identity>,
    /// A PID file
    #[arg(long, value_name = "FILE", group = "whom")]
    pid_file: Option<PathBuf>,
    /// A process id, whoever has it now
    #[arg(long, value_name = "PID", group = "whom")]
    pid: Option<u32>,
}

pub(crate) fn run(globals: &Globals, args: Args) -> Outcome {
    let liveness = match (args.identity, args.pid_file, args.pid) {
        (Some(identity), _, _) => identity.liveness_with(identity::EVERY_FIELD),
        (_, Some(file), _) => by_pid_file(&file)?,
        (_, _, Some(pid)) => by_pid(pid),
        // The group of arguments is required.
        (None, None, None) => return Ok(exit::USAGE),
    };
    if globals.json {
        crate::render::json(&serde_json::json!({
            "alive": liveness.is_alive(), "reason": liveness.reason(),
        }))?;
    } else if !globals.quiet {
        let word = match liveness {
            Liveness::Alive { .. } => "alive",
            Liveness::Dead { .. } => "not alive",
            Liveness::Unknown { .. } => "unknown",
        };
        writeln!(anstream::stdout().lock(), "{word}: {}", liveness.reason())?;
    }
    Ok(if liveness.is_alive() {
        exit::OK
    } else {
        exit::NO
    })
}

fn by_pid(pid: u32) -> Liveness {
    match Identity::of(pid) {
        Ok(identity) => identity.liveness(),
        Err(error @ IdentityError::NotFound { .. }) => Liveness::Dead {
            reason: error.to_string(),
        },
        Err(error @ IdentityError::NotInspectable { .. }) => Liveness::Unknown {
            reason: error.to_string(),
        },
    }
}

fn by_pid_file(file: &Path) -> Result<Liveness, CliError> {
    let read = PidFile::read(file).map_err(|error| {
        CliError::new(
            exit::FAILED,
            format!("cannot read `{}`: {error}", file.display()),
        )
    })?;
    Ok(match read {
        ReadPid::Record(record) => record.liveness(),
        ReadPid::Absent => Liveness::Dead {
            reason: format!("there is no file `{}`", file.display()),
        },
        ReadPid::Garbage => Liveness::Unknown {
            reason: format!("`{}` names no process", file.display()),
        },
    })
}

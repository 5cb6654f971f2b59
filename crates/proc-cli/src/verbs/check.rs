//! `proc check`: validates the configuration and says what is in it.

use std::io::Write;

use proc_spec::Project;
use serde::Serialize;

use crate::context::{Context, honest};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// The answer of `proc check --json`.
#[derive(Serialize)]
struct Checked<'p> {
    project: &'p str,
    files: Vec<String>,
    services: Vec<&'p str>,
    warnings: Vec<String>,
}

pub(crate) fn run(context: &Context, _: Args) -> Outcome {
    let project = context.load()?;
    let weaker = honest(&project)?;
    let checked = Checked {
        project: &project.name,
        files: project
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        services: project
            .services
            .iter()
            .map(|service| service.name.as_str())
            .collect(),
        warnings: project
            .lint()
            .iter()
            .map(ToString::to_string)
            .chain(weaker)
            .collect(),
    };
    for warning in &checked.warnings {
        render::warning_line(warning);
    }
    if context.globals.json {
        render::json(&checked)?;
    } else if !context.globals.quiet {
        print(&project, &checked)?;
    }
    Ok(exit::OK)
}

fn print(project: &Project, checked: &Checked<'_>) -> Result<(), CliError> {
    let mut out = anstream::stdout().lock();
    let services = checked.services.join(", ");
    let name = render::escape(checked.project);
    writeln!(
        out,
        "{}: project {name}, valid",
        render::escape(&checked.files.join(", "))
    )?;
    writeln!(out, "services: {}", render::escape(&services))?;
    for (name, group) in &project.groups {
        writeln!(
            out,
            "@{}: {}",
            render::escape(name),
            render::escape(&group.members.join(", "))
        )?;
    }
    Ok(())
}

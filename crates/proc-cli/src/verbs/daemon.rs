//! `proc daemon`: the supervisors that run on this machine.

mod upgrade;

use std::io::Write;

use clap::Subcommand;
use proc_store::Daemon;
use serde_json::{Value, json};

use crate::context::{Context, keeper_socket};
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::keeper::Keeper;
use crate::registry::registry;
use crate::render::{self, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them
    #[command(visible_alias = "ls")]
    List,
    /// Show one in full
    Info {
        /// The project; without it the one of this directory
        #[arg(value_name = "PROJECT")]
        name: Option<String>,
    },
    /// Remove the entries of those that are dead
    Prune,
    /// Replace the supervisor's program without touching a service
    Upgrade(upgrade::Args),
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    match args.what {
        What::List => list(context),
        What::Info { name: Some(name) } => info(context, &name),
        What::Info { name: None } => info(context, &context.place()?.project),
        What::Prune => prune(context),
        What::Upgrade(args) => upgrade::run(context, &args),
    }
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::new(exit::FAILED, format!("cannot read the registry: {error}"))
}

fn document(daemon: &Daemon) -> Value {
    let mut document = serde_json::to_value(&daemon.registration).unwrap_or_default();
    if let Value::Object(fields) = &mut document {
        fields.insert("alive".to_owned(), daemon.liveness.is_alive().into());
        fields.insert("reason".to_owned(), daemon.liveness.reason().into());
    }
    document
}

/// Returns an entry with what only its keeper knows: how often the supervisor came back by itself.
fn full_document(daemon: &Daemon) -> Value {
    let mut document = document(daemon);
    let runtime = daemon.registration.runtime_dir.as_ref();
    let respawns = runtime.and_then(|dir| Keeper::respawns(&keeper_socket(dir)));
    if let Value::Object(fields) = &mut document {
        fields.insert("respawns".to_owned(), respawns.into());
    }
    document
}

fn list(context: &Context) -> Outcome {
    let listing = registry().list().map_err(|error| failed(&error))?;
    for (path, why) in &listing.unreadable {
        render::warning_line(&format!("`{}` is unreadable: {why}", path.display()));
    }
    if context.globals.json {
        render::json(&listing.daemons.iter().map(document).collect::<Vec<_>>())?;
        return Ok(exit::OK);
    }
    let mut table = Table::new(&["project", "pid", "alive", "version", "state directory"]);
    for daemon in &listing.daemons {
        let entry = &daemon.registration;
        let dash = || "-".to_owned();
        table.row([
            entry.project.clone().unwrap_or_else(|| entry.name.clone()),
            entry.identity.pid.to_string(),
            if daemon.liveness.is_alive() {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
            entry.version.clone().unwrap_or_else(dash),
            entry
                .state_dir
                .as_ref()
                .map_or_else(dash, |dir| dir.display().to_string()),
        ]);
    }
    table.print()?;
    Ok(exit::OK)
}

/// Shows every entry whose project, or key, has the name.
fn info(context: &Context, name: &str) -> Outcome {
    let listing = registry().list().map_err(|error| failed(&error))?;
    let named = |daemon: &&Daemon| {
        let entry = &daemon.registration;
        entry.project.as_deref() == Some(name) || entry.name == name
    };
    let found = listing.daemons.iter().filter(named);
    let found: Vec<_> = found.map(full_document).collect();
    match found.as_slice() {
        [] => {
            let text = format!("no daemon `{name}` is registered");
            return Err(CliError::new(exit::UNKNOWN, text).hint("proc daemon list"));
        }
        [one] if context.globals.json => render::json(one)?,
        many if context.globals.json => render::json(many)?,
        many => {
            let mut out = anstream::stdout().lock();
            for field in many.iter().filter_map(Value::as_object).flatten() {
                let (key, value) = field;
                let text = value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned);
                writeln!(out, "{key}: {}", render::escape(&text))?;
            }
        }
    }
    Ok(exit::OK)
}

fn prune(context: &Context) -> Outcome {
    let removed = registry().prune().map_err(|error| failed(&error))?;
    if context.globals.json {
        render::json(&json!({ "removed": removed }))?;
    } else if !context.globals.quiet {
        let mut out = anstream::stdout().lock();
        for entry in &removed {
            let name = entry.project.as_deref().unwrap_or(&entry.name);
            writeln!(
                out,
                "removed {} (pid {})",
                render::escape(name),
                entry.identity.pid
            )?;
        }
    }
    Ok(exit::OK)
}

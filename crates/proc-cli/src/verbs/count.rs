//! `proc count`: how many processes are in which state.

use proc_core::list;

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;
use crate::render::{self, Table};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _: Args) -> Outcome {
    let counts = list::count_by_state()
        .map_err(|error| CliError::new(exit::FAILED, format!("cannot list processes: {error}")))?;
    let total: usize = counts.values().sum();
    if context.globals.json {
        let mut document = serde_json::Map::new();
        for (state, count) in counts {
            document.insert(state.word().to_owned(), count.into());
        }
        document.insert("total".to_owned(), total.into());
        render::json(&document)?;
        return Ok(exit::OK);
    }
    let mut table = Table::new(&["state", "count"]);
    for (state, count) in counts {
        table.row([state.word(), &count.to_string()]);
    }
    table.row(["total", &total.to_string()]);
    table.print()?;
    Ok(exit::OK)
}

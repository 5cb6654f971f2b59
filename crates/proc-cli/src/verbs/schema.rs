//! `proc schema`: the JSON Schema of `proc.toml`.

use crate::error::Outcome;
use crate::exit;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args) -> Outcome {
    render::json(&proc_spec::schema())?;
    Ok(exit::OK)
}

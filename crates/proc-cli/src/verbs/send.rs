//! `proc send NAME TEXT`.

use std::io::Read;

use crate::context::Context;
use crate::error::{CliError, Outcome};
use crate::exit;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The service or instance; its `stdin` must be `pipe` or `pty`
    #[arg(value_name = "NAME")]
    name: String,
    /// What to write, a newline is added; `-` or nothing reads standard input as it is
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// Add no newline
    #[arg(long, short = 'n')]
    no_newline: bool,
    /// Close its standard input afterwards
    #[arg(long)]
    close: bool,
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let text = match args.text {
        Some(text) if text != "-" => text + if args.no_newline { "" } else { "\n" },
        _ => standard_input()?,
    };
    context.ask(async |client| client.send(&args.name, &text, args.close).await)?;
    Ok(exit::OK)
}

/// Reads what fits into one request.
fn standard_input() -> Result<String, CliError> {
    const LIMIT: u64 = 512 * 1024;
    let mut text = String::new();
    let input = std::io::stdin().lock();
    let read = input.take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(|error| CliError::new(exit::FAILED, format!("cannot read stdin: {error}")))?;
    if text.len() as u64 > LIMIT {
        let message = format!("standard input is larger than {LIMIT} bytes");
        return Err(CliError::new(exit::FAILED, message));
    }
    Ok(text)
}

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
    let send = |bytes: &[u8], close| {
        context.ask(async |client| client.send_bytes(&args.name, bytes, close).await)
    };
    match args.text {
        Some(text) if text != "-" => {
            let text = text + if args.no_newline { "" } else { "\n" };
            send(text.as_bytes(), args.close)?;
        }
        _ => {
            copy_input(|bytes| send(bytes, false))?;
            // Also where nothing came: whether there is such a service is to be told.
            send(b"", args.close)?;
        }
    }
    Ok(exit::OK)
}

/// Hands on what standard input has, as it comes and at most so much at once, until its end.
fn copy_input(mut send: impl FnMut(&[u8]) -> Result<(), CliError>) -> Result<(), CliError> {
    const PIECE: usize = 64 * 1024;
    let (mut input, mut piece) = (std::io::stdin().lock(), vec![0; PIECE]);
    loop {
        match input.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(read) => send(&piece[..read])?,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let text = format!("cannot read stdin: {error}");
                return Err(CliError::new(exit::FAILED, text));
            }
        }
    }
}

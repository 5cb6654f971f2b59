//! `proc scale NAME=N…`.

use proc_spec::MAX_INSTANCES;

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Instances per service, glob (`'web-*=2'`) or group (`@backend=2`); 0 keeps the service
    #[arg(required = true, value_name = "NAME=N", value_parser = count)]
    counts: Vec<(String, u32)>,
}

/// Reads `NAME=N`.
pub(crate) fn count(text: &str) -> Result<(String, u32), String> {
    let (name, number) = text
        .split_once('=')
        .ok_or("expected `NAME=N`, such as `web=3`")?;
    if name.is_empty() {
        return Err("the name before `=` is missing".to_owned());
    }
    let number = number
        .parse()
        .ok()
        .filter(|number| *number <= MAX_INSTANCES)
        .ok_or_else(|| {
            format!("`{number}` is not a number of instances, expected 0 to {MAX_INSTANCES}")
        })?;
    Ok((name.to_owned(), number))
}

pub(crate) fn run(context: &Context, args: Args) -> Outcome {
    let report = context.ask(async |client| client.scale(&args.counts).await)?;
    render::report(context, &report, "scaled")
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn counts_are_name_and_number() {
        assert_eq!(count("web=3"), Ok(("web".to_owned(), 3)));
        assert_eq!(count("web=0"), Ok(("web".to_owned(), 0)));
        for wrong in ["web", "=3", "web=", "web=-1", "web=x", "web=10001"] {
            assert!(count(wrong).is_err(), "{wrong}");
        }
    }
}

//! Colours: when to use them and which one means what.

use std::io::IsTerminal as _;

use anstyle::{AnsiColor, Style};

/// `--color`: what the user asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// `NO_COLOR`, then `CLICOLOR_FORCE`, then whether the stream is a terminal.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Makes `choice` the process's answer; `anstream` applies the environment's rules to `auto`.
pub(crate) fn set_color(choice: ColorChoice) {
    match choice {
        ColorChoice::Auto if is_forced_not() => anstream::ColorChoice::Never,
        ColorChoice::Auto => anstream::ColorChoice::Auto,
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
    }
    .write_global();
}

/// Returns whether `CLICOLOR_FORCE` is 0, which forces nothing, and no terminal asks for colours either;
/// `anstream` takes any value for a yes.
fn is_forced_not() -> bool {
    let terminals = std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value == "0") && !terminals
}

const PALETTE: [AnsiColor; 10] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightBlue,
];

/// Returns the colour of a name: always the same one for the same name (FNV-1a over its bytes).
pub(crate) fn paint_for(name: &str) -> Style {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let index = usize::try_from(hash % PALETTE.len() as u64).unwrap_or(0);
    Style::new().fg_color(Some(PALETTE[index].into()))
}

/// Returns the colour of a state word.
pub(crate) fn state_style(state: &str) -> Style {
    let color = match state {
        "running" => AnsiColor::Green,
        "starting" | "stopping" | "pending" | "scheduled" => AnsiColor::Cyan,
        "backoff" | "unattended" => AnsiColor::Yellow,
        "failed" => AnsiColor::Red,
        _ => return Style::new().dimmed(),
    };
    Style::new().fg_color(Some(color.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_colour() {
        assert_eq!(paint_for("web"), paint_for("web"));
        let different = ["web", "db", "cache", "worker"].map(paint_for);
        assert!(
            different.iter().any(|style| style != &different[0]),
            "one colour for all"
        );
    }
}

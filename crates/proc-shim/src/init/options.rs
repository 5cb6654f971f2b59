//! The command line of `init`, parsed without a library: the small binary carries none.

use std::ffi::OsString;
use std::time::Duration;

use proc_core::Signal;

/// How to run as `init`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitOptions {
    /// The program and its arguments; never empty.
    pub command: Vec<OsString>,
    /// Signals go to the command alone, and nothing is signalled when it ends.
    pub single: bool,
    /// Signals that become others on their way; `None` drops them.
    pub rewrite: Vec<(Signal, Option<Signal>)>,
    /// Exit codes that become 0.
    pub remap: Vec<i32>,
    /// What the kernel sends to `init` itself when its parent dies.
    pub pdeathsig: Option<Signal>,
    /// Adopts the orphans of its descendants, as PID 1 does anyway.
    pub subreaper: bool,
    /// How long what the command left behind has between TERM and KILL; `None` = for ever.
    pub grace: Option<Duration>,
    /// Says what is reaped.
    pub verbose: bool,
}

/// A command line that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

impl InitOptions {
    /// Returns the defaults for a command.
    #[must_use]
    pub fn new(command: Vec<OsString>) -> Self {
        Self {
            command,
            single: false,
            rewrite: Vec::new(),
            remap: Vec::new(),
            pdeathsig: None,
            subreaper: false,
            grace: Some(Duration::from_secs(5)),
            verbose: false,
        }
    }

    /// Reads `[OPTIONS] [--] CMD [ARG…]`; `--key=value` and `--key value` are the same.
    ///
    /// # Errors
    /// An unknown option, a bad value, or no command: named in the text.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut options = Self::new(Vec::new());
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--") => options.command.extend(args.by_ref()),
                Some(flag) if flag.starts_with('-') && flag.len() > 1 => {
                    options.flag(flag, &mut args)?
                }
                _ => {
                    options.command.push(arg);
                    options.command.extend(args.by_ref());
                }
            }
        }
        if options.command.is_empty() {
            return Err(UsageError("no command given".into()));
        }
        Ok(options)
    }

    /// Returns the command line that [`parse`](Self::parse) reads as these options.
    #[must_use]
    pub fn to_args(&self) -> Vec<OsString> {
        let switches = [
            ("--single", self.single),
            ("--subreaper", self.subreaper),
            ("-v", self.verbose),
        ];
        let given = switches.into_iter().filter(|(_, on)| *on);
        let mut args: Vec<String> = given.map(|(flag, _)| flag.to_owned()).collect();
        for (from, to) in &self.rewrite {
            let to = to.map_or_else(|| "0".to_owned(), Signal::name);
            args.push(format!("--rewrite={from}:{to}"));
        }
        args.extend(self.remap.iter().map(|code| format!("--remap={code}")));
        args.extend(
            self.pdeathsig
                .iter()
                .map(|signal| format!("--pdeathsig={signal}")),
        );
        args.push(match self.grace {
            Some(grace) => format!("--grace={}ms", grace.as_millis()),
            None => "--grace=none".to_owned(),
        });
        args.push("--".to_owned());
        args.into_iter()
            .map(OsString::from)
            .chain(self.command.iter().cloned())
            .collect()
    }

    fn flag(
        &mut self,
        flag: &str,
        args: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), UsageError> {
        let (name, inline) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        match (name, inline.is_some()) {
            ("--single", false) => self.single = true,
            ("--subreaper", false) => self.subreaper = true,
            ("-v" | "--verbose", false) => self.verbose = true,
            ("--rewrite" | "--remap" | "--pdeathsig" | "--grace", _) => {
                let next = || args.next().and_then(|value| value.into_string().ok());
                let value = inline
                    .or_else(next)
                    .ok_or_else(|| UsageError(format!("{name} needs a value")))?;
                self.value(name, &value)?;
            }
            _ => return Err(UsageError(format!("unknown option `{flag}`"))),
        }
        Ok(())
    }

    fn value(&mut self, name: &str, value: &str) -> Result<(), UsageError> {
        let bad = || UsageError(format!("{name}: `{value}` makes no sense here"));
        match name {
            "--rewrite" => {
                let (from, to) = value.split_once(':').ok_or_else(bad)?;
                let to = if to == "0" {
                    None
                } else {
                    Some(parse_signal(to).ok_or_else(bad)?)
                };
                self.rewrite.push((parse_signal(from).ok_or_else(bad)?, to));
            }
            "--remap" => self.remap.push(
                value
                    .parse()
                    .ok()
                    .filter(|code| (0..=255).contains(code))
                    .ok_or_else(bad)?,
            ),
            "--pdeathsig" => self.pdeathsig = Some(parse_signal(value).ok_or_else(bad)?),
            _ => self.grace = parse_grace(value).ok_or_else(bad)?,
        }
        Ok(())
    }
}

fn parse_signal(text: &str) -> Option<Signal> {
    text.parse().ok().filter(|signal| *signal != Signal::PROBE)
}

/// Reads `none`, or a number with `ms`, `s`, `m` or `h`; a bare number is seconds.
#[expect(
    clippy::option_option,
    reason = "outer: could it be read; inner: is there a limit"
)]
fn parse_grace(text: &str) -> Option<Option<Duration>> {
    if text == "none" {
        return Some(None);
    }
    let (number, unit) = text.split_at(
        text.find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(text.len()),
    );
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * factor).ok().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<InitOptions, UsageError> {
        InitOptions::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn reads_every_option_and_leaves_the_command_alone() {
        let options = parse(
            "--single --rewrite TERM:QUIT --rewrite=HUP:0 --remap 143 --remap=7 --pdeathsig kill --subreaper --grace 1500ms -v \
             -- cmd --single -v",
        )
        .expect("a full command line");
        assert_eq!(
            options.command,
            ["cmd", "--single", "-v"].map(OsString::from)
        );
        assert_eq!(
            options.rewrite,
            [(Signal::TERM, Some(Signal::QUIT)), (Signal::HUP, None)]
        );
        assert_eq!(options.remap, [143, 7]);
        assert_eq!(options.pdeathsig, Some(Signal::KILL));
        assert_eq!(options.grace, Some(Duration::from_millis(1500)));
        assert!(options.single && options.subreaper && options.verbose);
        assert_eq!(
            InitOptions::parse(options.to_args()),
            Ok(options),
            "written and read again"
        );
    }

    #[test]
    fn the_first_word_that_is_no_option_begins_the_command() {
        let options = parse("-v sleep --grace 3").expect("a command");
        assert_eq!(
            options.command,
            ["sleep", "--grace", "3"].map(OsString::from)
        );
        assert_eq!(options.grace, Some(Duration::from_secs(5)), "the default");
    }

    #[test]
    fn refuses_what_makes_no_sense_and_names_it() {
        let cases = [
            ("", "no command"),
            ("-v", "no command"),
            ("--bogus -- x", "--bogus"),
            ("--single=yes -- x", "--single=yes"),
            ("--rewrite TERM -- x", "TERM"),
            ("--rewrite NOPE:TERM -- x", "NOPE:TERM"),
            ("--remap 256 -- x", "256"),
            ("--grace -1 -- x", "-1"),
            ("--grace nan -- x", "nan"),
            ("--pdeathsig 0 -- x", "`0`"),
            ("--grace", "--grace needs a value"),
        ];
        for (line, names) in cases {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(names), "`{line}`: {error}");
        }
    }

    #[test]
    fn grace_takes_none_and_units() {
        let grace = |text: &str| parse(&format!("--grace {text} -- x")).expect(text).grace;
        assert_eq!(grace("none"), None);
        assert_eq!(grace("0"), Some(Duration::ZERO));
        assert_eq!(grace("2m"), Some(Duration::from_secs(120)));
    }
}

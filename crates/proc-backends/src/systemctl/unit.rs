//! The text of a unit of ours: everything of a spec that systemd can do, quoted so that it arrives as written.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use proc_spec::systemd::{account, escape, path, quote, stop, surroundings};

use crate::error::StartError;
use crate::spec::InstanceSpec;

/// The first line of a unit of ours; what follows it says whose.
pub(crate) const MARKER: &str = "# Written by proc for";

/// Returns the name of the unit of an instance.
pub(crate) fn name(spec: &InstanceSpec) -> String {
    format!("{}-{}.service", spec.project, spec.instance)
}

/// Returns the line that says whose a unit is.
pub(crate) fn marker(instance: &str, state_dir: &Path) -> String {
    format!(
        "{MARKER} {instance} of {}",
        escape(state_dir.as_os_str().as_bytes())
    )
}

/// A unit and its environment file.
#[derive(Debug)]
pub(crate) struct UnitText {
    pub(crate) unit: String,
    pub(crate) environment: String,
    /// What could not be passed on.
    pub(crate) downgrades: Vec<String>,
}

/// Writes the unit of an instance; `program` is its program's absolute path.
///
/// # Errors
/// A working directory that no unit file can hold.
pub(crate) fn render(
    spec: &InstanceSpec,
    program: &Path,
    environment: &Path,
    state_dir: &Path,
    user_scope: bool,
) -> Result<UnitText, StartError> {
    let mut downgrades = Vec::new();
    let mut text = marker(&spec.instance, state_dir);
    let unsupported = |field: &str| StartError::Unsupported {
        field: field.to_owned(),
        backend: super::NAME,
    };
    let cwd = path(&spec.cwd).ok_or_else(|| unsupported("cwd"))?;
    let file = path(environment).ok_or_else(|| unsupported("state_dir"))?;
    let mut line = |key: &str, value: &str| {
        let _infallible = writeln!(text, "{key}={value}");
    };
    line(
        "\n[Unit]\nDescription",
        &format!("{} of {}", spec.instance, spec.project),
    );
    // How often it may start is decided by the restart policy alone.
    line("StartLimitIntervalSec", "0");
    line("\n[Service]\nType", "exec");
    line("ExecStart", &exec_start(program, &spec.argv));
    line("WorkingDirectory", &cwd);
    line("EnvironmentFile", &file);
    line("Restart", "no");
    // A clean end would otherwise be forgotten by systemd before it can be asked about it.
    line("RemainAfterExit", "yes");
    line("StandardInput", "null");
    line("StandardOutput", "journal");
    line("StandardError", "journal");
    line("SyslogIdentifier", &name(spec).replace('%', "%%"));
    line("KillMode", "control-group");
    // A user's manager runs everything as that user; another one was refused before.
    let account = account(&spec.attributes).into_iter();
    let settings = stop(&spec.stop)
        .into_iter()
        .chain(account.filter(|_| !user_scope))
        .chain(surroundings(&spec.attributes));
    for (key, value) in settings {
        line(key, &value);
    }
    let environment = environment_file(&spec.env, &mut downgrades);
    Ok(UnitText {
        unit: text,
        environment,
        downgrades,
    })
}

/// `:` turns variables off, `@` lets `argv[0]` be what the configuration says.
fn exec_start(program: &Path, argv: &[std::ffi::OsString]) -> String {
    let mut words = vec![quote(program.as_os_str())];
    words.extend(argv.iter().map(|word| quote(word)));
    format!("@:{}", words.join(" "))
}

/// Writes the environment file. systemd passes on only names and values that it finds in order;
/// the others are listed.
fn environment_file(
    env: &[(std::ffi::OsString, std::ffi::OsString)],
    downgrades: &mut Vec<String>,
) -> String {
    let mut text = String::new();
    for (name, value) in env {
        let shown = name.to_string_lossy();
        let valid_name = name.to_str().is_some_and(|name| {
            let mut chars = name.chars();
            chars
                .next()
                .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        });
        let plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
        match value.to_str().filter(|value| value.chars().all(plain)) {
            Some(value) if valid_name => {
                let _infallible = write!(text, "{shown}=\"");
                for c in value.chars() {
                    if matches!(c, '"' | '\\' | '`' | '$') {
                        text.push('\\');
                    }
                    text.push(c);
                }
                text.push_str("\"\n");
            }
            _ => downgrades.push(format!(
                "env.{}: systemd does not pass on such a variable",
                shown.escape_debug()
            )),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    #[test]
    fn the_environment_keeps_what_systemd_takes_and_lists_the_rest() {
        let env: Vec<(OsString, OsString)> = [
            ("A", "1"),
            ("QUOTED", "say \"hi\" $HOME `x` \\ end"),
            ("LINES", "a\nb"),
            ("BASH_FUNC_x%%", "() { :; }"),
            ("ESC", "\u{1b}"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        let mut downgrades = Vec::new();
        let text = environment_file(&env, &mut downgrades);
        assert_eq!(
            text,
            "A=\"1\"\nQUOTED=\"say \\\"hi\\\" \\$HOME \\`x\\` \\\\ end\"\nLINES=\"a\nb\"\n"
        );
        assert_eq!(downgrades.len(), 2, "{downgrades:?}");
    }
}

//! Unit files of systemd.

mod exec;
mod specifiers;

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use exec::Exec;

use super::draft::{Draft, literal, name, put};
use super::ini::{Dialect, Item, parse};
use super::{ImportError, Imported, nothing, read_file};
use crate::units::format_duration;

pub(crate) fn import(path: &Path) -> Result<Imported, ImportError> {
    let mut draft = Draft::default();
    let files = units(path);
    let names: Vec<String> = files.iter().map(|file| unit_name(file)).collect();
    for (file, unit) in files.iter().zip(&names) {
        let text = read_file(file)?;
        let sections = parse(&text, Dialect::Systemd).map_err(|(line, message)| ImportError {
            file: file.clone(),
            line,
            message,
        })?;
        let mut import = Unit {
            file,
            service: defaults(),
            names: &names,
            hooks: 0,
            draft: &mut draft,
        };
        let mut no_start = None;
        for section in &sections {
            for item in &section.items {
                if let Err(why) = import.key(&section.name, item) {
                    if is_start(&section.name, item) {
                        no_start.get_or_insert((item.line, format!("`ExecStart=`: {why}")));
                    }
                    import.draft.lose(
                        file,
                        item.line,
                        format!("{}.{}", section.name, item.key),
                        why,
                    );
                }
            }
        }
        let service = import.service;
        if !service.contains_key("command") {
            let nothing = nothing(file, "`ExecStart=` in `[Service]`");
            let Some((line, message)) = no_start else {
                return Err(nothing);
            };
            return Err(ImportError {
                line,
                message,
                ..nothing
            });
        }
        draft.add(unit.clone(), service);
    }
    if draft.is_empty() {
        return Err(nothing(path, "`.service` file"));
    }
    Ok(draft.finish())
}

/// Tells whether the line names the command; an empty one only takes back those before.
fn is_start(section: &str, item: &Item) -> bool {
    section == "Service" && item.key == "ExecStart" && !item.value.is_empty()
}

fn units(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries
        .filter(|path| path.extension().is_some_and(|e| e == "service"))
        .collect();
    found.sort();
    found
}

/// What holds for a service whose unit does not say otherwise.
fn defaults() -> Table {
    let mut service = Table::new();
    put(&mut service, &["restart", "profile"], "systemd");
    put(&mut service, &["restart", "mode"], "never");
    put(&mut service, &["stop", "grace"], "90s");
    service
}

fn unit_name(path: &Path) -> String {
    name(&path.file_stem().unwrap_or_default().to_string_lossy())
}

struct Unit<'a> {
    file: &'a Path,
    service: Table,
    names: &'a [String],
    hooks: usize,
    draft: &'a mut Draft,
}

impl Unit<'_> {
    /// Carries one key over, or says why it cannot be.
    fn key(&mut self, section: &str, item: &Item) -> Result<(), String> {
        if item.value.is_empty() {
            return Err("an empty value, which resets a list, is not followed".to_owned());
        }
        let value = specifiers::resolve(&item.value, self.file)?;
        match section {
            "Unit" => self.unit(item, &value),
            "Service" => self.service(item, &value),
            _ => Err("has no counterpart".to_owned()),
        }
    }

    fn unit(&mut self, item: &Item, value: &str) -> Result<(), String> {
        match item.key.as_str() {
            "Description" => put(&mut self.service, &["description"], literal(value)),
            "Documentation" => {}
            "Requires" | "Wants" | "BindsTo" | "Requisite" => return self.others(value, true),
            "After" => return self.others(value, false),
            "StartLimitBurst" => put(&mut self.service, &["restart", "max"], number(value)?),
            "StartLimitIntervalSec" if ["0", "0s"].contains(&value) => {
                put(&mut self.service, &["restart", "max"], "none");
            }
            "StartLimitIntervalSec" if ["10", "10s"].contains(&value) => {}
            "StartLimitIntervalSec" => return Err("is 10 s here".to_owned()),
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    /// Other units: those that are imported too become needs or an order.
    fn others(&mut self, value: &str, needed: bool) -> Result<(), String> {
        let mut absent = Vec::new();
        for unit in value.split_whitespace() {
            let other = unit_name(Path::new(unit));
            if !unit.ends_with(".service") || !self.names.contains(&other) {
                absent.push(unit);
            } else if needed {
                put(&mut self.service, &["needs", &other], "started");
            } else {
                let list = self
                    .service
                    .entry("after")
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::from(other));
                }
            }
        }
        if absent.is_empty() {
            Ok(())
        } else {
            Err(format!("not imported: {}", absent.join(" ")))
        }
    }

    fn service(&mut self, item: &Item, value: &str) -> Result<(), String> {
        let table = &mut self.service;
        match item.key.as_str() {
            "ExecStart" if table.contains_key("command") => {
                return Err("a second command is not run".to_owned());
            }
            "ExecStart" => return command(table, &["command"], value),
            "ExecStop" => return command(table, &["stop", "command"], value),
            "ExecReload" => return self.reload(value),
            "ExecStartPre" => return self.hook("pre_start", value),
            "ExecStartPost" => return self.hook("post_start", value),
            "ExecStopPost" => return self.hook("post_stop", value),
            "Type" => return self.kind(value),
            "Restart" => {
                let mode = match value {
                    "no" => "never",
                    other => other,
                };
                put(table, &["restart", "mode"], mode);
            }
            "RestartSec" => {
                // The profile's delay does not grow: its longest is its first.
                put(table, &["restart", "initial_delay"], time(value)?);
                put(table, &["restart", "max_delay"], time(value)?);
            }
            "SuccessExitStatus" => {
                let codes: Result<Vec<i64>, String> =
                    value.split_whitespace().map(number).collect();
                let codes: Vec<i64> = [0].into_iter().chain(codes?).collect();
                put(table, &["restart", "success_codes"], codes);
            }
            "RestartPreventExitStatus" => {
                let entries = value
                    .split_whitespace()
                    .map(|v| number(v).map_or_else(|_| Value::from(v), Value::from));
                put(
                    table,
                    &["restart", "no_restart_on"],
                    entries.collect::<Vec<Value>>(),
                );
            }
            "TimeoutStartSec" => put(table, &["start_timeout"], time(value)?),
            "TimeoutStopSec" => put(table, &["stop", "grace"], time(value)?),
            "TimeoutSec" => {
                put(table, &["start_timeout"], time(value)?);
                put(table, &["stop", "grace"], time(value)?);
            }
            "KillSignal" => put(table, &["stop", "signal"], value),
            "KillMode" if value == "control-group" => {}
            "KillMode" if value == "process" => put(table, &["detached"], true),
            "WatchdogSec" => put(table, &["watchdog"], time(value)?),
            "User" => put(table, &["user"], value),
            "Group" => put(table, &["group"], value),
            "SupplementaryGroups" => {
                let groups: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                put(table, &["supplementary_groups"], groups);
            }
            "UMask" => put(table, &["umask"], value),
            "Nice" => put(table, &["nice"], number(value)?),
            "OOMScoreAdjust" => put(table, &["oom_score_adj"], number(value)?),
            "NoNewPrivileges" => put(
                table,
                &["no_new_privs"],
                ["yes", "true", "1", "on"].contains(&value),
            ),
            "WorkingDirectory" => put(table, &["cwd"], literal(value.trim_start_matches('-'))),
            "PIDFile" => put(table, &["pid_file"], literal(value)),
            "CPUAffinity" => put(table, &["cpu_affinity"], value.replace(' ', ",")),
            "MemoryMax" => put(table, &["limits", "memory"], limit(value)),
            "TasksMax" => put(table, &["limits", "pids"], limit(value)),
            "CPUQuota" => put(table, &["limits", "cpu_max"], value),
            "Environment" => return self.environment(value),
            "EnvironmentFile" if value.starts_with('-') => {
                return Err("a file that may be absent has no counterpart".to_owned());
            }
            "EnvironmentFile" => {
                let list = table
                    .entry("env_file")
                    .or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::from(literal(value)));
                }
            }
            "StandardOutput" | "StandardError" if ["journal", "inherit"].contains(&value) => {}
            key => match key.strip_prefix("Limit").map(str::to_ascii_lowercase) {
                Some(name) if name.parse::<proc_core::Resource>().is_ok() => {
                    put(table, &["limits", &name], limit(value));
                }
                _ => return Err("has no counterpart".to_owned()),
            },
        }
        Ok(())
    }

    fn kind(&mut self, value: &str) -> Result<(), String> {
        match value {
            "simple" | "exec" => {}
            "notify" => put(&mut self.service, &["ready", "notify"], "socket"),
            "oneshot" => put(&mut self.service, &["oneshot"], true),
            "notify-reload" => {
                put(&mut self.service, &["ready", "notify"], "socket");
                put(&mut self.service, &["reload_signal"], "HUP");
            }
            _ => {
                return Err(format!(
                    "`{value}` has no counterpart: run it in the foreground"
                ));
            }
        }
        Ok(())
    }

    fn reload(&mut self, value: &str) -> Result<(), String> {
        let words: Vec<&str> = value.split_whitespace().collect();
        let [kill, signal, "$MAINPID"] = words[..] else {
            return Err("only a signal can be sent: `kill -HUP $MAINPID`".to_owned());
        };
        if !kill.ends_with("kill") {
            return Err("only a signal can be sent".to_owned());
        }
        put(
            &mut self.service,
            &["reload_signal"],
            signal.trim_start_matches('-'),
        );
        Ok(())
    }

    fn hook(&mut self, phase: &str, value: &str) -> Result<(), String> {
        self.hooks += 1;
        let mut hook = Table::new();
        put(&mut hook, &["name"], format!("{phase}-{}", self.hooks));
        let exec = Exec::parse(value)?;
        put(&mut hook, &["command"], exec.command.as_str());
        if exec.may_fail {
            put(&mut hook, &["on_failure"], "ignore");
        }
        let hooks = self
            .service
            .entry("hooks")
            .or_insert_with(|| Value::Table(Table::new()));
        let list = hooks.as_table_mut().map(|hooks| {
            hooks
                .entry(phase)
                .or_insert_with(|| Value::Array(Vec::new()))
        });
        if let Some(Value::Array(list)) = list {
            list.push(Value::Table(hook));
        }
        exec.lost()
    }

    fn environment(&mut self, value: &str) -> Result<(), String> {
        let words = shlex::split(value).ok_or("a quote has no end")?;
        for word in words {
            let (key, value) = word
                .split_once('=')
                .ok_or_else(|| format!("`{word}` has no `=`"))?;
            put(&mut self.service, &["env", key], literal(value));
        }
        Ok(())
    }
}

/// Sets a command, and says what of it is lost.
fn command(table: &mut Table, key: &[&str], value: &str) -> Result<(), String> {
    let exec = Exec::parse(value)?;
    put(table, key, exec.command.as_str());
    exec.lost()
}

fn number(value: &str) -> Result<i64, String> {
    value
        .trim()
        .parse()
        .map_err(|_| format!("`{}` is not a number", value.escape_debug()))
}

fn limit(value: &str) -> String {
    if value == "infinity" {
        "none".to_owned()
    } else {
        value.to_owned()
    }
}

/// systemd's time: `1min 30s`, `90`, `infinity`.
fn time(value: &str) -> Result<String, String> {
    if value == "infinity" {
        return Ok("none".to_owned());
    }
    let short = value
        .replace("min", "m")
        .replace("sec", "s")
        .replace("hours", "h")
        .replace("hour", "h");
    let parsed = crate::units::parse_duration(&short).map_err(|error| error.to_string())?;
    Ok(parsed.map_or_else(|| "none".to_owned(), format_duration))
}

//! `supervisord.conf`.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::draft::{Draft, literal, name, put};
use super::ini::{Dialect, Item, Section, parse};
use super::{ImportError, Imported, nothing, read_file};

/// Keys that say what is so here anyway.
const IMPLIED: [&str; 6] = [
    "stopasgroup",
    "killasgroup",
    "process_name",
    "stdout_capture_maxbytes",
    "stderr_capture_maxbytes",
    "stdout_syslog",
];

pub(crate) fn import(path: &Path) -> Result<Imported, ImportError> {
    let mut draft = Draft::default();
    let mut files = vec![path.to_owned()];
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    while let Some(file) = files.pop() {
        let known = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
        if seen.contains(&known) {
            let message = "includes itself".to_owned();
            return Err(ImportError {
                file,
                line: 1,
                message,
            });
        }
        seen.push(known);
        let text = read_file(&file)?;
        let sections =
            parse(&text, Dialect::Supervisord).map_err(|(line, message)| ImportError {
                file: file.clone(),
                line,
                message,
            })?;
        for section in sections {
            match section.name.split_once(':') {
                Some(("program", program)) => self::program(&file, &section, program, &mut draft),
                Some(("group", group)) => {
                    let programs = section.items.iter().find(|item| item.key == "programs");
                    let members = programs
                        .map(|item| item.value.split(',').map(|m| name(m.trim())).collect());
                    groups.push((name(group), members.unwrap_or_default()));
                }
                Some((kind, _)) => draft.lose(
                    &file,
                    section.line,
                    &section.name,
                    format!("a {kind} has no counterpart"),
                ),
                None if section.name == "include" => {
                    files.extend(includes(&file, &section, &mut draft))
                }
                None => {}
            }
        }
    }
    if draft.is_empty() {
        return Err(nothing(path, "`[program:NAME]`"));
    }
    for (group, mut members) in groups {
        members.retain(|member| draft.has(member));
        draft.group(&group, members);
    }
    Ok(draft.finish())
}

fn includes(file: &Path, section: &Section, draft: &mut Draft) -> Vec<PathBuf> {
    let dir = file.parent().unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for item in section.items.iter().filter(|item| item.key == "files") {
        for pattern in item.value.split_whitespace() {
            let pattern = pattern.replace("%(here)s", &dir.display().to_string());
            let whole = dir.join(&pattern);
            let Some((parent, last)) = whole.parent().zip(whole.file_name()) else {
                continue;
            };
            let Ok(glob) = globset::Glob::new(&last.to_string_lossy()) else {
                draft.lose(
                    file,
                    item.line,
                    "include.files",
                    format!("`{pattern}` is not a glob"),
                );
                continue;
            };
            let matcher = glob.compile_matcher();
            let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
            found.extend(
                entries
                    .filter(|entry| matcher.is_match(entry.file_name()))
                    .map(|entry| entry.path()),
            );
        }
    }
    // Taken from the end, so that they are read in order.
    found.sort_by(|a, b| b.cmp(a));
    found
}

fn program(file: &Path, section: &Section, program: &str, draft: &mut Draft) {
    let mut service = Table::new();
    put(&mut service, &["restart", "profile"], "supervisord");
    for item in &section.items {
        let value = expressions(&item.value, program, file);
        if let Err(why) = key(item, &value, &mut service) {
            draft.lose(
                file,
                item.line,
                format!("{}.{}", section.name, item.key),
                why,
            );
        }
        if item.key != "process_name" && item.value.contains("%(process_num)") {
            let key = format!("{}.{}", section.name, item.key);
            draft.lose(file, item.line, key, NUMBERS);
        }
    }
    draft.add(name(program), service);
}

/// What is different about `%(process_num)02d`.
const NUMBERS: &str =
    "instances count 1, 2, …, not from `numprocs_start`, and without zeros before";

/// `%(program_name)s` and its like; `%(ENV_X)s` becomes `${X}`.
fn expressions(value: &str, program: &str, file: &Path) -> String {
    let here = file
        .parent()
        .unwrap_or(Path::new("."))
        .display()
        .to_string();
    let mut out = literal(value)
        .replace("%(program_name)s", program)
        .replace("%(group_name)s", program)
        .replace("%(here)s", &here)
        .replace("%(process_num)d", "${PROC_INSTANCE}")
        .replace("%(process_num)02d", "${PROC_INSTANCE}");
    while let Some(start) = out.find("%(ENV_") {
        let Some(length) = out[start..].find(")s") else {
            break;
        };
        let variable = format!("${{{}}}", &out[start + 6..start + length]);
        out.replace_range(start..start + length + 2, &variable);
    }
    out.replace("%%", "%")
}

/// Carries one key over, or says why it cannot be.
fn key(item: &Item, value: &str, service: &mut Table) -> Result<(), String> {
    let number = || {
        value
            .parse::<i64>()
            .map_err(|_| format!("`{value}` is not a number"))
    };
    let yes = ["true", "yes", "1", "on"].contains(&value.to_ascii_lowercase().as_str());
    match item.key.as_str() {
        // No shell ever: a pipe is an argument there.
        "command" => put(
            service,
            &["argv"],
            shlex::split(value).ok_or("a quote has no end")?,
        ),
        "directory" => put(service, &["cwd"], value),
        "user" => put(service, &["user"], value),
        "umask" => put(service, &["umask"], value),
        "priority" => put(service, &["priority"], number()?),
        "numprocs" => put(service, &["instances"], number()?),
        "autostart" => put(service, &["autostart"], yes),
        "autorestart" => {
            let mode = match value.to_ascii_lowercase().as_str() {
                "unexpected" => "on-failure",
                _ if yes => "always",
                _ => "never",
            };
            put(service, &["restart", "mode"], mode);
        }
        "startsecs" => {
            put(service, &["start_seconds"], number()?);
            put(service, &["restart", "startup_grace"], number()?);
        }
        "startretries" => put(service, &["restart", "startup_max"], number()?),
        "exitcodes" => {
            let codes: Result<Vec<i64>, _> =
                value.split(',').map(|code| code.trim().parse()).collect();
            put(
                service,
                &["restart", "success_codes"],
                codes.map_err(|_| "not a list of exit codes".to_owned())?,
            );
        }
        "stopsignal" => put(
            service,
            &["stop", "signal"],
            value.split(',').next().unwrap_or("TERM").trim(),
        ),
        "stopwaitsecs" => put(service, &["stop", "grace"], number()?),
        "environment" => put(service, &["env"], environment(value)?),
        "redirect_stderr" => put(service, &["log", "merge"], yes),
        "stdout_logfile" | "stderr_logfile" => return logfile(value, service),
        "stdout_logfile_maxbytes" | "stderr_logfile_maxbytes" => {
            let size = if value == "0" { "none" } else { value };
            put(service, &["log", "max_size"], size);
        }
        "stdout_logfile_backups" | "stderr_logfile_backups" => {
            put(service, &["log", "keep"], number()?)
        }
        implied if IMPLIED.contains(&implied) => {}
        _ => return Err("has no counterpart".to_owned()),
    }
    Ok(())
}

fn logfile(value: &str, service: &mut Table) -> Result<(), String> {
    match value {
        "AUTO" | "NONE" | "/dev/stdout" | "/dev/stderr" | "/dev/fd/1" | "/dev/fd/2" | "syslog" => {
            Err(format!(
                "`{value}` is not needed: output is kept in the state directory and shown by `proc logs`"
            ))
        }
        path => {
            let dir = Path::new(path)
                .parent()
                .filter(|dir| !dir.as_os_str().is_empty());
            if let Some(dir) = dir {
                put(service, &["log", "dir"], dir.display().to_string());
            }
            Err("the directory is kept, the file is named after the instance".to_owned())
        }
    }
}

/// `A="1",B='2',C=3`
fn environment(value: &str) -> Result<Value, String> {
    let mut table = Table::new();
    let words = shlex::split(value).ok_or("a quote has no end")?;
    for word in words {
        // Words end at blanks; commas between pairs stay at their ends, or join two pairs.
        let mut rest = word.as_str();
        while let Some((key, after)) = rest.split_once('=') {
            let next = after.char_indices().find(|(at, c)| {
                *c == ','
                    && after[at + 1..].split_once('=').is_some_and(|(key, _)| {
                        !key.is_empty()
                            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                    })
            });
            let (value, tail) =
                next.map_or((after, ""), |(at, _)| (&after[..at], &after[at + 1..]));
            table.insert(
                key.trim().to_owned(),
                Value::from(value.trim_end_matches(',')),
            );
            rest = tail;
        }
    }
    Ok(Value::Table(table))
}

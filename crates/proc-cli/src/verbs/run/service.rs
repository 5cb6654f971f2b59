//! The command line as a service: as a text of `proc.toml`, so that one reader checks every value.

use std::path::{Path, PathBuf};

use proc_core::StopSequence;
use proc_spec::{ConfigError, Loader, Project, check_name};
use toml::{Table, Value};

use super::{Args, Mode};
use crate::context::{Context, environment};
use crate::error::CliError;
use crate::exit;

/// Resolves the command line into a project of one service.
///
/// # Errors
///
/// Code 2 with every value that makes no sense.
pub(super) fn load(context: &Context, args: &Args) -> Result<Project, CliError> {
    let name = name(args)?;
    let service = table(args)?;
    let config = Table::from_iter([(
        "service".to_owned(),
        Value::from(Table::from_iter([(name.clone(), Value::from(service))])),
    )]);
    let loader = Loader {
        files: Vec::new(),
        project: Some(name),
        env: environment(),
        ..context.loader()?
    };
    let mut project = loader.load_text(&config.to_string()).map_err(|errors| {
        CliError::many(exit::USAGE, errors.errors.iter().map(in_words).collect())
    })?;
    for service in &mut project.services {
        // The shim goes by it when we are killed, and can no longer say how the command is to be stopped.
        service.stop.steps = StopSequence::graceful(args.signal, args.grace.0);
    }
    Ok(project)
}

/// Says what is wrong by key: the line and column are of a file that the user never wrote, unless it is an environment file.
fn in_words(error: &ConfigError) -> String {
    if error.file != Path::new("proc.toml") {
        return format!(
            "{}:{}:{}: {}",
            error.file.display(),
            error.at.line,
            error.at.column,
            error.message
        );
    }
    let key = error.key.splitn(3, '.').nth(2).unwrap_or(&error.key);
    match &error.hint {
        Some(hint) => format!("{key}: {} ({hint})", error.message),
        None => format!("{key}: {}", error.message),
    }
}

/// Returns the given name, or the program's as far as it can be one.
fn name(args: &Args) -> Result<String, CliError> {
    if let Some(name) = &args.name {
        return check_name(name)
            .map(|()| name.clone())
            .map_err(|error| CliError::chain(exit::USAGE, &error));
    }
    let program = Path::new(&args.command[0])
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let name: String = program
        .chars()
        .map(|c| if fits(c) { c } else { '_' })
        .take(60)
        .collect();
    Ok(if check_name(&name).is_ok() {
        name
    } else {
        "command".to_owned()
    })
}

fn table(args: &Args) -> Result<Table, CliError> {
    let mut service = Table::new();
    // Bytes that are no text reach the command by its console.
    let argv: Vec<Value> = args
        .command
        .iter()
        .map(|word| literal(&word.to_string_lossy()))
        .collect();
    service.insert("argv".into(), argv.into());
    service.insert(
        "cwd".into(),
        literal(&absolute(args.cwd.as_deref().unwrap_or(Path::new(".")))?),
    );
    environment_keys(args, &mut service)?;
    attribute_keys(args, &mut service);
    service.insert("restart".into(), restart(args).into());
    lifecycle_keys(args, &mut service);
    Ok(service)
}

/// A string in which nothing is expanded: the caller's shell did that.
fn literal(text: &str) -> Value {
    Value::String(text.replace('$', "$$"))
}

fn pairs(list: &[(String, String)]) -> Value {
    Table::from_iter(
        list.iter()
            .map(|(key, value)| (key.clone(), literal(value))),
    )
    .into()
}

fn absolute(path: &Path) -> Result<String, CliError> {
    let path: PathBuf = std::path::absolute(path).map_err(|error| {
        let text = format!("cannot find the working directory: {error}");
        CliError::new(exit::NOT_RUN, text).hint("proc run --cwd DIR -- …")
    })?;
    path.into_os_string().into_string().map_err(|path| {
        CliError::new(
            exit::USAGE,
            format!("`{}` is not UTF-8", path.to_string_lossy()),
        )
    })
}

fn environment_keys(args: &Args, service: &mut Table) -> Result<(), CliError> {
    let files: Vec<Value> = args
        .env_file
        .iter()
        .map(|file| absolute(file).map(|path| literal(&path)))
        .collect::<Result<_, _>>()?;
    service.insert("env_file".into(), files.into());
    service.insert("env".into(), pairs(&args.env));
    service.insert("clear_env".into(), args.clear_env.into());
    Ok(())
}

fn attribute_keys(args: &Args, service: &mut Table) {
    let mut text = |key: &str, value: &Option<String>| {
        if let Some(value) = value {
            service.insert(key.into(), literal(value));
        }
    };
    text("user", &args.user);
    text("group", &args.group);
    text("umask", &args.umask);
    text("start_seconds", &args.start_seconds);
    if let Some(nice) = args.nice {
        service.insert("nice".into(), i64::from(nice).into());
    }
    service.insert("limits".into(), pairs(&args.limit));
}

/// The restart policy: `--max-restarts` counts every restart, quick ones too, so it also replaces the startup budget and the
/// crash-loop guard; `--retry` is the startup budget alone, and without `--restart` nothing else is tried again.
fn restart(args: &Args) -> Table {
    let mut restart = Table::new();
    let mode = match (args.restart, args.retry) {
        (Mode::Never, None) => "never",
        (Mode::Never, Some(_)) | (Mode::OnFailure, _) => "on-failure",
        (Mode::Always, _) => "always",
    };
    restart.insert("mode".into(), mode.into());
    let mut text = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            restart.insert(key.into(), number_or_text(&value));
        }
    };
    text("max", args.max_restarts.clone());
    text("initial_delay", args.delay.clone());
    text("max_delay", args.max_delay.clone());
    text("jitter", args.no_jitter.then(|| "none".to_owned()));
    text("startup_grace", args.start_seconds.clone());
    text(
        "startup_max",
        args.retry
            .map(|n| n.to_string())
            .or(args.max_restarts.clone()),
    );
    text(
        "crash_loop",
        args.max_restarts.is_some().then(|| "none".to_owned()),
    );
    restart
}

fn number_or_text(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| literal(text), Value::from)
}

fn lifecycle_keys(args: &Args, service: &mut Table) {
    let ready = [
        ("tcp", &args.ready_tcp),
        ("http", &args.ready_http),
        ("exec", &args.ready_exec),
        ("log", &args.ready_log),
        ("file", &args.ready_file),
    ];
    if let Some((kind, value)) = ready
        .into_iter()
        .find_map(|(kind, value)| Some((kind, value.as_ref()?)))
    {
        service.insert(
            "ready".into(),
            Table::from_iter([(kind.to_owned(), literal(value))]).into(),
        );
    }
    if !args.listen.is_empty() {
        let sockets: Vec<Value> = args.listen.iter().map(|address| literal(address)).collect();
        service.insert("listen".into(), sockets.into());
    }
    service.insert("detached".into(), args.detach_allowed.into());
    service.insert("die_with_supervisor".into(), (!args.detach_allowed).into());
    if !args.hook.is_empty() {
        service.insert("hooks".into(), hooks(&args.hook).into());
    }
}

fn hooks(given: &[(String, String)]) -> Table {
    let mut hooks = Table::new();
    for (number, (phase, command)) in given.iter().enumerate() {
        let hook = Table::from_iter([
            (
                "name".to_owned(),
                Value::from(format!("{phase}-{}", number + 1)),
            ),
            ("command".to_owned(), literal(command)),
        ]);
        let list = hooks
            .entry(phase.clone())
            .or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(list) = list {
            list.push(hook.into());
        }
    }
    hooks
}

//! Reading a pipeline's file: every mistake with its line and column, before anything starts.

use std::collections::BTreeMap;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proc_run::{Pipeline, PipelineError, Task};
use serde::Deserialize;
use toml::Spanned;

use crate::error::CliError;
use crate::exit;

/// The longest file.
const MAX_FILE: u64 = 4 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    task: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: Spanned<String>,
    command: Option<String>,
    #[serde(default)]
    argv: Vec<String>,
    cwd: Option<PathBuf>,
    #[serde(default)]
    env: BTreeMap<String, Scalar>,
    #[serde(default)]
    after: Vec<Spanned<String>>,
    #[serde(default)]
    allow_failure: bool,
    timeout: Option<Spanned<Scalar>>,
    #[serde(default)]
    slurm: BTreeMap<Spanned<String>, Scalar>,
}

/// A pipeline, and what its tasks ask of a cluster: options of sbatch(1), by task.
pub(super) struct Loaded {
    pub(super) pipeline: Pipeline,
    pub(super) slurm: BTreeMap<String, BTreeMap<String, String>>,
}

/// A value that is text in the end.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Whole(i64),
    Number(f64),
    Flag(bool),
}

impl Scalar {
    fn text(&self) -> String {
        match self {
            Scalar::Text(text) => text.clone(),
            Scalar::Whole(number) => number.to_string(),
            Scalar::Number(number) => number.to_string(),
            Scalar::Flag(flag) => flag.to_string(),
        }
    }
}

/// Reads and checks a pipeline.
///
/// # Errors
///
/// Code 2 with every mistake's place.
pub(super) fn load(path: &Path) -> Result<Loaded, CliError> {
    let text = read(path)?;
    let source = Source { path, text: &text };
    let file: File =
        toml::from_str(&text).map_err(|error| source.error(error.span(), error.message()))?;
    if file.task.is_empty() {
        return Err(source.error(None, "there is no `[[task]]`"));
    }
    let mut tasks = Vec::with_capacity(file.task.len());
    let mut errors = Vec::new();
    let mut slurm = BTreeMap::new();
    for entry in &file.task {
        match entry.slurm() {
            Ok(options) if options.is_empty() => {}
            Ok(options) => {
                slurm.insert(entry.name.get_ref().clone(), options);
            }
            Err((span, message)) => errors.push(source.at(Some(span), &message)),
        }
        match entry.to_task() {
            Ok(task) => tasks.push(task),
            Err((span, message)) => errors.push(source.at(Some(span), &message)),
        }
    }
    if errors.is_empty() {
        match Pipeline::new(tasks) {
            Ok(pipeline) => return Ok(Loaded { pipeline, slurm }),
            Err(found) => errors.extend(
                found
                    .iter()
                    .map(|error| source.at(place(error, &file.task), &error.to_string())),
            ),
        }
    }
    Err(CliError::many(exit::USAGE, errors))
}

impl Entry {
    fn slurm(&self) -> Result<BTreeMap<String, String>, (Range<usize>, String)> {
        let mut all = BTreeMap::new();
        for (key, value) in &self.slurm {
            let options = proc_spec::slurm_options(key.get_ref(), &value.text());
            let options = options.map_err(|error| {
                let hint = error
                    .hint
                    .map(|hint| format!("; {hint}"))
                    .unwrap_or_default();
                (key.span(), format!("slurm: {}{hint}", error.message))
            })?;
            all.extend(options);
        }
        Ok(all)
    }

    fn to_task(&self) -> Result<Task, (Range<usize>, String)> {
        let timeout = match &self.timeout {
            None => None,
            Some(scalar) => proc_spec::parse_duration(&scalar.get_ref().text())
                .map_err(|error| (scalar.span(), format!("timeout: {error}")))?
                .filter(|timeout: &Duration| !timeout.is_zero()),
        };
        Ok(Task {
            name: self.name.get_ref().clone(),
            command: self.command.clone(),
            argv: self.argv.clone(),
            cwd: self.cwd.clone(),
            env: self
                .env
                .iter()
                .map(|(name, value)| (name.clone(), value.text()))
                .collect(),
            after: self
                .after
                .iter()
                .map(|name| name.get_ref().clone())
                .collect(),
            allow_failure: self.allow_failure,
            timeout,
        })
    }
}

/// Finds where in the file a mistake is.
fn place(error: &PipelineError, entries: &[Entry]) -> Option<Range<usize>> {
    let named = |name: &str| entries.iter().rfind(|entry| entry.name.get_ref() == name);
    match error {
        PipelineError::NoName(position) => entries
            .get(position.checked_sub(1)?)
            .map(|entry| entry.name.span()),
        PipelineError::Missing { task, missing } => entries
            .iter()
            .filter(|entry| entry.name.get_ref() == task)
            .flat_map(|entry| &entry.after)
            .find(|after| after.get_ref() == missing)
            .map(Spanned::span),
        PipelineError::Cycle(path) => path.first().and_then(|name| named(name)).map(span),
        PipelineError::Duplicate(name) | PipelineError::Command(name) => named(name).map(span),
        PipelineError::Environment { task, .. } => named(task).map(span),
        _ => None,
    }
}

fn span(entry: &Entry) -> Range<usize> {
    entry.name.span()
}

fn read(path: &Path) -> Result<String, CliError> {
    let refuse = |why: String| CliError::new(exit::USAGE, format!("{}: {why}", path.display()));
    let mut bytes = Vec::new();
    let mut take = |source: &mut dyn Read| source.take(MAX_FILE + 1).read_to_end(&mut bytes);
    let read = if path == Path::new("-") {
        take(&mut std::io::stdin().lock())
    } else {
        match std::fs::metadata(path) {
            Ok(meta) if !meta.is_file() => return Err(refuse("not a file".to_owned())),
            _ => std::fs::File::open(path).and_then(|mut file| take(&mut file)),
        }
    };
    read.map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(refuse("longer than 4 MiB".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| refuse(error.to_string()))
}

struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn error(&self, span: Option<Range<usize>>, message: &str) -> CliError {
        CliError::new(exit::USAGE, self.at(span, message))
    }

    /// Returns `file:line:column: message`.
    fn at(&self, span: Option<Range<usize>>, message: &str) -> String {
        let path = self.path.display();
        let message = message.trim_end();
        let Some(before) = span.and_then(|span| self.text.get(..span.start)) else {
            return format!("{path}: {message}");
        };
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        format!("{path}:{line}:{column}: {message}")
    }
}

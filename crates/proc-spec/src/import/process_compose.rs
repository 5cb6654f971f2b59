//! process-compose's YAML files.

use std::path::{Path, PathBuf};

use proc_core::Signal;
use toml::{Table, Value};

use super::draft::{Draft, literal, name, put};
use super::tree::{self, Tree, Value as Node};
use super::{ImportError, Imported, nothing};

/// Keys of the file that say what is so here anyway, or how it was shown.
const FILE_IMPLIED: [&str; 14] = [
    "version",
    "is_strict",
    "is_tui_disabled",
    "is_dotenv_disabled",
    "disable_env_expansion",
    "log_level",
    "log_length",
    "log_format",
    "ordered_shutdown",
    "extends",
    "include",
    "includes",
    "processes",
    "vars",
];

/// The deepest chain of `extends`.
const MAX_FILES: usize = 64;

pub(crate) fn import(path: &Path) -> Result<Imported, ImportError> {
    let mut files = Vec::new();
    let file = resolve(path, &mut Vec::new(), &mut files)?;
    let mut draft = Draft::default();
    draft.project("on_exit", "stop");
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (key, tree) in file.entries() {
        if let Err(why) = file_key(key, tree, &mut draft) {
            draft.lose(path, tree.line, key, why);
        }
    }
    let no_vars = Tree::new(1, Node::Null);
    let vars = file.get("vars").unwrap_or(&no_vars);
    let processes = file.get("processes").map(Tree::entries).unwrap_or_default();
    let names: Vec<&str> = processes.iter().map(|(name, _)| name.as_str()).collect();
    for (process, tree) in processes {
        let mut import = Process {
            path,
            process,
            tree,
            vars,
            names: &names,
            service: Table::new(),
            draft: &mut draft,
        };
        import.carry();
        if let Some(group) = tree.get("namespace").and_then(|tree| tree.text().ok()) {
            let member = name(process);
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, members)) => members.push(member),
                None => groups.push((group, vec![member])),
            }
        }
    }
    if draft.is_empty() {
        return Err(nothing(path, "`processes`"));
    }
    for (group, members) in groups {
        draft.group(&name(&group), members);
    }
    Ok(draft.finish())
}

/// Reads a file and lays it over those that it extends.
fn resolve(
    path: &Path,
    within: &mut Vec<PathBuf>,
    files: &mut Vec<PathBuf>,
) -> Result<Tree, ImportError> {
    let known = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let fault = |line, message: String| ImportError {
        file: path.to_owned(),
        line,
        message,
    };
    if within.contains(&known) {
        return Err(fault(1, "extends itself".to_owned()));
    }
    files.push(known.clone());
    if files.len() > MAX_FILES {
        return Err(fault(
            1,
            format!("more than {MAX_FILES} files are extended"),
        ));
    }
    let mut own = tree::read_yaml(path)?;
    if !matches!(own.value, Node::Map(_)) {
        return Err(nothing(path, "`processes`"));
    }
    within.push(known);
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut base: Option<Tree> = None;
    for key in ["extends", "include", "includes"] {
        let Some(list) = own.get(key) else { continue };
        let others = list
            .texts()
            .map_err(|why| fault(list.line, format!("`{key}` {why}")))?;
        for other in others.iter().filter(|other| !other.is_empty()) {
            let mut below = resolve(&dir.join(other), within, files)?;
            place(
                &mut below,
                Path::new(other).parent().unwrap_or(Path::new("")),
            );
            base = Some(match base {
                None => below,
                Some(base) => lay_over(base, below),
            });
        }
    }
    within.pop();
    if let Some(base) = base {
        own = lay_over(base, own);
    }
    Ok(own)
}

/// Gives the processes of a file in another directory their place.
fn place(file: &mut Tree, dir: &Path) {
    if dir.as_os_str().is_empty() {
        return;
    }
    let Node::Map(entries) = &mut file.value else {
        return;
    };
    let processes = entries.iter_mut().filter(|(key, _)| key == "processes");
    for (_, process) in processes
        .filter_map(|(_, tree)| match &mut tree.value {
            Node::Map(processes) => Some(processes),
            _ => None,
        })
        .flatten()
    {
        let Node::Map(keys) = &mut process.value else {
            continue;
        };
        if let Some((_, tree)) = keys.iter_mut().find(|(key, _)| key == "working_dir")
            && let Ok(text) = tree.text()
            && !text.starts_with(['$', '{'])
        {
            tree.value = Node::Text(dir.join(text).display().to_string());
        }
    }
}

/// Maps are joined key by key, lists of `K=V` too; for the rest the upper one wins.
fn lay_over(base: Tree, over: Tree) -> Tree {
    match (base.value, over.value) {
        (Node::Map(mut below), Node::Map(above)) => {
            for (key, tree) in above {
                match below.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, slot)) => {
                        let lower = std::mem::replace(slot, Tree::new(0, Node::Null));
                        *slot = lay_over(lower, tree);
                    }
                    None => below.push((key, tree)),
                }
            }
            Tree::new(over.line, Node::Map(below))
        }
        (Node::List(mut below), Node::List(above)) if below.iter().all(is_pair) => {
            below.extend(above); // of two pairs with one key the later one wins
            Tree::new(over.line, Node::List(below))
        }
        (_, value) => Tree::new(over.line, value),
    }
}

fn is_pair(tree: &Tree) -> bool {
    tree.text().is_ok_and(|text| text.contains('='))
}

fn file_key(key: &str, tree: &Tree, draft: &mut Draft) -> Result<(), String> {
    match key {
        "name" => draft.project("name", name(&tree.text()?)),
        "environment" => draft.project("env", environment(tree)?),
        "env_file" => draft.project("env_file", tree.texts()?),
        "log_location" => {
            return Err("output is kept in the state directory, a file for each".to_owned());
        }
        "shell" => {
            let shell = tree.get("shell_command").map(Tree::text).transpose()?;
            let shell = shell.unwrap_or_default();
            if !matches!(shell.rsplit('/').next(), Some("sh" | "bash" | "")) {
                return Err(format!("`{shell}` is not used: commands run under `sh`"));
            }
        }
        key if FILE_IMPLIED.contains(&key) || key.starts_with("x-") => {}
        _ => return Err("has no counterpart".to_owned()),
    }
    Ok(())
}

struct Process<'a> {
    path: &'a Path,
    process: &'a str,
    tree: &'a Tree,
    vars: &'a Tree,
    names: &'a [&'a str],
    service: Table,
    draft: &'a mut Draft,
}

impl Process<'_> {
    fn carry(&mut self) {
        put(&mut self.service, &["restart", "mode"], "never");
        for (key, tree) in self.tree.entries() {
            if matches!(tree.value, Node::Null) {
                continue;
            }
            if let Err(why) = self.key(key, tree) {
                self.lose(tree.line, key, why);
            }
        }
        if !self.service.contains_key("command") && !self.service.contains_key("argv") {
            self.lose(self.tree.line, "command", "left out: it has no command");
            return;
        }
        let service = std::mem::take(&mut self.service);
        self.draft.add(name(self.process), service);
    }

    fn lose(&mut self, line: usize, key: &str, why: impl Into<String>) {
        let key = format!("processes.{}.{key}", self.process);
        self.draft.lose(self.path, line, key, why);
    }

    /// Carries one key over, or says why it cannot be.
    fn key(&mut self, key: &str, tree: &Tree) -> Result<(), String> {
        match key {
            "command" => {
                let command = self.filled(&tree.text()?)?;
                // The shell sees what it saw there: one dollar of two.
                put(
                    &mut self.service,
                    &["command"],
                    literal(&command.replace("$$", "$")),
                );
            }
            "entrypoint" if self.tree.get("command").is_none() => {
                let words: Result<Vec<String>, String> = tree
                    .texts()?
                    .iter()
                    .map(|word| Ok(variables(&self.filled(word)?)))
                    .collect();
                put(&mut self.service, &["argv"], words?);
            }
            "description" => put(&mut self.service, &["description"], literal(&tree.text()?)),
            "working_dir" => {
                let dir = self.filled(&tree.text()?)?;
                put(&mut self.service, &["cwd"], variables(&dir));
            }
            "environment" => put(&mut self.service, &["env"], environment(tree)?),
            "env_file" => put(&mut self.service, &["env_file"], tree.texts()?),
            "replicas" => put(&mut self.service, &["instances"], tree.integer()?),
            "disabled" | "is_disabled" => {
                put(&mut self.service, &["autostart"], !tree.yes()?);
            }
            "is_tty" if tree.yes()? => put(&mut self.service, &["stdin"], "pty"),
            "is_daemon" if tree.yes()? => put(&mut self.service, &["detached"], true),
            "launch_timeout_seconds" => {
                put(&mut self.service, &["start_timeout"], tree.integer()?);
            }
            "availability" => return self.inner(key, tree, Process::availability),
            "shutdown" => return self.inner(key, tree, Process::shutdown),
            "depends_on" => return self.needs(tree),
            "readiness_probe" => return self.probe("ready", key, tree),
            "liveness_probe" => return self.probe("alive", key, tree),
            "ready_log_line" if self.tree.get("readiness_probe").is_some() => {
                return Err("a service has one readiness: its probe is kept".to_owned());
            }
            "ready_log_line" => {
                let line = regex_of(&tree.text()?);
                put(&mut self.service, &["ready", "log"], literal(&line));
            }
            "log_location" => return self.logfile(tree),
            "log_configuration" => return self.inner(key, tree, Process::log),
            "schedule" => return self.inner(key, tree, Process::schedule),
            "is_foreground" | "is_elevated" if tree.yes()? => {
                return Err("has no counterpart; see `user`, `stdin`".to_owned());
            }
            "namespace"
            | "vars"
            | "disable_ansi_colors"
            | "is_foreground"
            | "is_elevated"
            | "is_tty"
            | "is_daemon"
            | "is_dotenv_disabled" => {}
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    /// Carries the keys of a table within over.
    fn inner(
        &mut self,
        outer: &str,
        tree: &Tree,
        carry: fn(&mut Self, &str, &Tree) -> Result<(), String>,
    ) -> Result<(), String> {
        for (key, tree) in tree.entries() {
            if let Err(why) = carry(self, key, tree) {
                self.lose(tree.line, &format!("{outer}.{key}"), why);
            }
        }
        Ok(())
    }

    fn availability(&mut self, key: &str, tree: &Tree) -> Result<(), String> {
        let service = &mut self.service;
        match key {
            "restart" => match tree.text()?.as_str() {
                "no" | "false" | "" => {}
                "always" => put(service, &["restart", "mode"], "always"),
                "on_failure" => put(service, &["restart", "mode"], "on-failure"),
                "exit_on_failure" => put(service, &["exit_project"], "on-failure"),
                other => return Err(format!("`{other}` has no counterpart")),
            },
            "exit_on_end" if tree.yes()? => put(service, &["exit_project"], "always"),
            "exit_on_end" => {}
            "backoff_seconds" => {
                // A constant delay, at least a second.
                let seconds = tree.integer()?.max(1);
                put(service, &["restart", "initial_delay"], seconds);
                put(service, &["restart", "max_delay"], seconds);
                put(service, &["restart", "jitter"], "none");
            }
            "max_restarts" if tree.integer()? == 0 => put(service, &["restart", "max"], "none"),
            "max_restarts" => put(service, &["restart", "max"], tree.integer()?),
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    fn shutdown(&mut self, key: &str, tree: &Tree) -> Result<(), String> {
        match key {
            "command" => {
                let command = self.filled(&tree.text()?)?.replace("$$", "$");
                put(&mut self.service, &["stop", "command"], literal(&command));
            }
            "timeout_seconds" => put(&mut self.service, &["stop", "grace"], tree.integer()?),
            "signal" => {
                let number = i32::try_from(tree.integer()?).ok();
                let signal = number.and_then(Signal::from_raw);
                let signal = signal.filter(|signal| signal.raw() > 0);
                let signal = signal.ok_or("is no signal")?;
                put(&mut self.service, &["stop", "signal"], signal.name());
            }
            "parent_only" if tree.yes()? => {
                return Err("a stop means the whole tree".to_owned());
            }
            "parent_only" => {}
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    fn needs(&mut self, tree: &Tree) -> Result<(), String> {
        for (other, tree) in tree.entries() {
            let condition = tree.get("condition").map(Tree::text).transpose()?;
            let need = match condition.as_deref().unwrap_or("process_started") {
                "process_started" => "started",
                "process_healthy" | "process_log_ready" => "ready",
                "process_completed_successfully" => "completed",
                "process_completed" => "ended",
                unknown => {
                    let why = format!("`{unknown}` has no counterpart");
                    self.lose(tree.line, &format!("depends_on.{other}"), why);
                    continue;
                }
            };
            if self.names.contains(&other.as_str()) {
                put(&mut self.service, &["needs", &name(other)], need);
            } else {
                let why = "no process has this name";
                self.lose(tree.line, &format!("depends_on.{other}"), why);
            }
        }
        Ok(())
    }

    fn probe(&mut self, ours: &str, theirs: &str, tree: &Tree) -> Result<(), String> {
        for (key, value) in tree.entries() {
            if let Err(why) = self.probe_key(ours, key, value) {
                self.lose(value.line, &format!("{theirs}.{key}"), why);
            }
        }
        Ok(())
    }

    fn probe_key(&mut self, ours: &str, key: &str, tree: &Tree) -> Result<(), String> {
        match key {
            "exec" => {
                let command = tree.get("command").ok_or("has no `command`")?.text()?;
                let command = self.filled(&command)?.replace("$$", "$");
                put(&mut self.service, &[ours, "exec"], literal(&command));
                if tree.get("working_dir").is_some() {
                    return Err("`working_dir`: it runs in the directory of its service".to_owned());
                }
            }
            "http_get" => return self.http(ours, tree),
            "initial_delay_seconds" => {
                put(&mut self.service, &[ours, "initial_delay"], tree.integer()?);
            }
            "period_seconds" => put(&mut self.service, &[ours, "interval"], tree.integer()?),
            "timeout_seconds" => put(&mut self.service, &[ours, "timeout"], tree.integer()?),
            "success_threshold" => put(&mut self.service, &[ours, "successes"], tree.integer()?),
            "failure_threshold" => put(&mut self.service, &[ours, "failures"], tree.integer()?),
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    fn http(&mut self, ours: &str, tree: &Tree) -> Result<(), String> {
        let part = |key: &str, otherwise: &str| {
            let text = tree.get(key).map(Tree::text).transpose()?;
            let text = text.filter(|text| !text.is_empty());
            Ok::<_, String>(text.unwrap_or_else(|| otherwise.to_owned()))
        };
        let (scheme, host) = (part("scheme", "http")?, part("host", "127.0.0.1")?);
        let (port, path) = (part("port", "80")?, part("path", "/")?);
        if scheme.eq_ignore_ascii_case("https") {
            return Err("`https` is not spoken; an `exec` probe with curl is".to_owned());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = variables(&self.filled(&format!("http://{host}:{port}{slash}{path}"))?);
        put(&mut self.service, &[ours, "http"], url);
        if let Some(status) = tree.get("status_code") {
            put(&mut self.service, &[ours, "status"], status.integer()?);
        }
        for (header, value) in tree.get("headers").map(Tree::entries).unwrap_or_default() {
            put(
                &mut self.service,
                &[ours, "send", header],
                literal(&value.text()?),
            );
        }
        Ok(())
    }

    fn log(&mut self, key: &str, tree: &Tree) -> Result<(), String> {
        match key {
            "rotation" => self.inner("log_configuration.rotation", tree, Process::rotation),
            "add_timestamp" => {
                put(&mut self.service, &["log", "timestamps"], tree.yes()?);
                Ok(())
            }
            "fields_order" | "no_metadata" | "disable_json" | "no_color" | "flush_each_line"
            | "timestamp_format" => Ok(()),
            _ => Err("has no counterpart".to_owned()),
        }
    }

    fn rotation(&mut self, key: &str, tree: &Tree) -> Result<(), String> {
        let service = &mut self.service;
        match key {
            "max_size_mb" => put(
                service,
                &["log", "max_size"],
                format!("{}MiB", tree.integer()?),
            ),
            "max_age_days" => put(
                service,
                &["log", "max_age"],
                format!("{}d", tree.integer()?),
            ),
            "max_backups" => put(service, &["log", "keep"], tree.integer()?),
            "compress" => put(service, &["log", "compress"], tree.yes()?),
            "directory" => put(service, &["log", "dir"], tree.text()?),
            _ => return Err("the file is named after the instance".to_owned()),
        }
        Ok(())
    }

    fn logfile(&mut self, tree: &Tree) -> Result<(), String> {
        let text = tree.text()?;
        let dir = Path::new(&text).parent();
        if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
            let dir = variables(&dir.display().to_string());
            put(&mut self.service, &["log", "dir"], dir);
        }
        Err("the directory is kept, the file is named after the instance".to_owned())
    }

    fn schedule(&mut self, key: &str, tree: &Tree) -> Result<(), String> {
        match key {
            "cron" => {
                put(&mut self.service, &["schedule"], tree.text()?);
                put(&mut self.service, &["oneshot"], true);
                Ok(())
            }
            _ => Err("has no counterpart".to_owned()),
        }
    }

    /// Fills in `{{.NAME}}` from `vars`, the process's own first, and `{PC_REPLICA_NUM}`.
    fn filled(&self, text: &str) -> Result<String, String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            out.push_str(before);
            let (inner, tail) = after.split_once("}}").ok_or("`{{` has no end")?;
            let variable = inner.trim_matches(['-', ' ']).strip_prefix('.');
            let own = self.tree.get("vars").and_then(|vars| vars.get(variable?));
            let value = own.or_else(|| self.vars.get(variable?));
            let value =
                value.ok_or_else(|| format!("the template `{{{{{inner}}}}}` is not understood"))?;
            out.push_str(&value.text()?);
            rest = tail;
        }
        out.push_str(rest);
        if out.contains("PC_REPLICA_NUM") {
            return Err("PC_REPLICA_NUM counts from 0, PROC_INSTANCE from 1".to_owned());
        }
        Ok(out)
    }
}

/// `K=V` in a list, or a map.
fn environment(tree: &Tree) -> Result<Value, String> {
    let mut table = Table::new();
    for (key, value) in tree.entries() {
        table.insert(key.clone(), Value::from(variables(&value.text()?)));
    }
    if let Node::List(items) = &tree.value {
        for item in items {
            let text = item.text()?;
            let (key, value) = text
                .split_once('=')
                .ok_or_else(|| format!("`{text}` is not `K=V`"))?;
            table.insert(key.to_owned(), Value::from(variables(value)));
        }
    }
    Ok(Value::Table(table))
}

/// `$X` and `${X}` as process-compose expands them, an unset one being empty; `$$` is a dollar.
fn variables(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if let Some(tail) = after.strip_prefix('$') {
            out.push_str("$$");
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('{').and_then(|it| it.split_once('}'))
        {
            let default = if name.contains(':') { "" } else { ":-" };
            out.push_str(&format!("${{{name}{default}}}"));
            rest = tail;
        } else {
            let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
            let name = &after[..end];
            if name.is_empty() {
                out.push_str("$$");
            } else {
                out.push_str(&format!("${{{name}:-}}"));
            }
            rest = &after[end..];
        }
    }
    out.push_str(rest);
    out
}

/// A regular expression that matches a text.
fn regex_of(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if r"\.+*?()|[]{}^$#&-~".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

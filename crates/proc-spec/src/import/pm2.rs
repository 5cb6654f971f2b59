//! pm2's ecosystem files: JSON, YAML, and object literals in JavaScript that compute nothing.

use std::path::Path;

use toml::{Table, Value};

use super::draft::{Draft, name, put};
use super::tree::{self, Tree};
use super::{ImportError, Imported, nothing, tree::Value as Node};

/// Keys that say what is so here anyway.
const IMPLIED: [&str; 12] = [
    "script",
    "name",
    "interpreter",
    "exec_interpreter",
    "args",
    "interpreter_args",
    "node_args",
    "merge_logs",
    "combine_logs",
    "treekill",
    "vizion",
    "automation",
];

/// What runs a script, by its ending.
const INTERPRETERS: [(&str, &str); 8] = [
    ("sh", "bash"),
    ("py", "python"),
    ("rb", "ruby"),
    ("php", "php"),
    ("pl", "perl"),
    ("js", "node"),
    ("cjs", "node"),
    ("mjs", "node"),
];

pub(crate) fn import(path: &Path) -> Result<Imported, ImportError> {
    let file = tree::read(path)?;
    let mut draft = Draft::default();
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in file.entries() {
        if key == "deploy" {
            let why = "is of `pm2 deploy`; see `deploy` of a service";
            draft.lose(path, value.line, key, why);
        }
    }
    for app in apps(&file) {
        let Some(service) = service_name(app) else {
            return Err(ImportError {
                file: path.to_owned(),
                line: app.line,
                message: "an app has neither `name` nor `script`".to_owned(),
            });
        };
        if draft.has(&service) {
            draft.lose(path, app.line, &service, "a second app of this name");
            continue;
        }
        let mut import = App {
            path,
            app,
            service: Table::new(),
            name: &service,
            draft: &mut draft,
        };
        import.carry();
        if let Some(group) = app.get("namespace").and_then(|tree| tree.text().ok()) {
            match groups.iter_mut().find(|(known, _)| *known == group) {
                Some((_, members)) => members.push(service),
                None => groups.push((group, vec![service])),
            }
        }
    }
    if draft.is_empty() {
        return Err(nothing(path, "`apps`"));
    }
    for (group, members) in groups {
        draft.group(&name(&group), members);
    }
    Ok(draft.finish())
}

/// The apps: a list of them, `apps`, or one alone.
fn apps(file: &Tree) -> Vec<&Tree> {
    let list = file.get("apps").unwrap_or(file);
    match &list.value {
        Node::List(apps) => apps.iter().collect(),
        Node::Map(_) => vec![list],
        _ => Vec::new(),
    }
}

fn service_name(app: &Tree) -> Option<String> {
    let text = |key| app.get(key).and_then(|tree| tree.text().ok());
    let named = text("name").or_else(|| {
        let script = text("script")?;
        let program = script.split_whitespace().next()?;
        let stem = Path::new(program).file_stem()?;
        Some(stem.to_string_lossy().into_owned())
    });
    named
        .filter(|text| !text.is_empty())
        .map(|text| name(&text))
}

struct App<'a> {
    path: &'a Path,
    app: &'a Tree,
    service: Table,
    name: &'a str,
    draft: &'a mut Draft,
}

impl App<'_> {
    fn carry(&mut self) {
        put(&mut self.service, &["restart", "profile"], "pm2");
        put(&mut self.service, &["stop", "signal"], "INT");
        put(&mut self.service, &["stop", "grace"], "1600ms");
        if let Err(why) = self.command() {
            self.lose(self.app.line, "script", why);
        }
        for (key, value) in self.app.entries() {
            if matches!(value.value, Node::Null) {
                continue;
            }
            if let Err(why) = self.key(key, value) {
                self.lose(value.line, key, why);
            }
        }
        let service = std::mem::take(&mut self.service);
        self.draft.add(self.name.to_owned(), service);
    }

    fn lose(&mut self, line: usize, key: &str, why: impl Into<String>) {
        let key = format!("{}.{key}", self.name);
        self.draft.lose(self.path, line, key, why);
    }

    /// The command line as pm2 puts it together: interpreter, its arguments, script, arguments.
    fn command(&mut self) -> Result<(), String> {
        let script = self.app.get("script").ok_or("is missing")?.text()?;
        let args = self.words("args")?;
        let chosen = ["exec_interpreter", "interpreter"]
            .into_iter()
            .find_map(|key| self.app.get(key))
            .map(Tree::text)
            .transpose()?;
        // A script with blanks is a command line for the shell.
        if chosen.is_none() && script.contains(char::is_whitespace) {
            let mut line = script;
            for arg in &args {
                line.push(' ');
                line.push_str(&crate::command::join(std::slice::from_ref(arg)));
            }
            put(&mut self.service, &["command"], line);
            return Ok(());
        }
        let ending = Path::new(&script).extension().unwrap_or_default();
        let interpreter = chosen.or_else(|| {
            let known = INTERPRETERS.iter().find(|(known, _)| *known == ending);
            known.map(|(_, program)| (*program).to_owned())
        });
        let mut argv = Vec::new();
        if let Some(interpreter) = interpreter.filter(|program| program != "none") {
            argv.push(interpreter);
            argv.extend(self.words("interpreter_args")?);
            argv.extend(self.words("node_args")?);
        } else if !script.contains('/') && self.exists(&script) {
            argv.push(format!("./{script}"));
        }
        if argv
            .last()
            .is_none_or(|last| !last.ends_with(&format!("/{script}")))
        {
            argv.push(script);
        }
        argv.extend(args);
        put(&mut self.service, &["argv"], argv);
        Ok(())
    }

    fn exists(&self, script: &str) -> bool {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let cwd = self.app.get("cwd").and_then(|tree| tree.text().ok());
        dir.join(cwd.unwrap_or_default()).join(script).is_file()
    }

    /// Arguments: a list, or a text split at blanks.
    fn words(&self, key: &str) -> Result<Vec<String>, String> {
        let Some(tree) = self.app.get(key) else {
            return Ok(Vec::new());
        };
        match &tree.value {
            Node::List(_) => tree.texts(),
            _ => shlex::split(&tree.text()?).ok_or_else(|| "a quote has no end".to_owned()),
        }
    }

    /// Carries one key over, or says why it cannot be.
    fn key(&mut self, key: &str, value: &Tree) -> Result<(), String> {
        let service = &mut self.service;
        match key {
            "cwd" => put(service, &["cwd"], value.text()?),
            "instances" => put(service, &["instances"], instances(value)?),
            "exec_mode" if value.text()?.starts_with("cluster") => {
                return Err("instances share no port of themselves; see `listen`".to_owned());
            }
            "exec_mode" => {}
            "env" => put(service, &["env"], environment(value)?),
            "env_file" => put(service, &["env_file"], value.text()?),
            "autorestart" if !value.yes()? => put(service, &["restart", "mode"], "never"),
            "autorestart" => {}
            "autostart" => put(service, &["autostart"], value.yes()?),
            "restart_delay" => {
                put(service, &["restart", "initial_delay"], milliseconds(value)?);
                put(service, &["restart", "max_delay"], milliseconds(value)?);
            }
            "exp_backoff_restart_delay" => {
                put(service, &["restart", "initial_delay"], milliseconds(value)?);
                put(service, &["restart", "max_delay"], "15s");
                put(service, &["restart", "factor"], 1.5);
            }
            "max_restarts" => put(service, &["restart", "startup_max"], value.integer()?),
            "min_uptime" => {
                put(service, &["restart", "startup_grace"], milliseconds(value)?);
                put(service, &["start_seconds"], milliseconds(value)?);
            }
            "stop_exit_codes" => {
                let codes = value.texts()?;
                let codes: Result<Vec<i64>, _> = codes.iter().map(|code| code.parse()).collect();
                let codes = codes.map_err(|_| "is not a list of exit codes".to_owned())?;
                put(service, &["restart", "no_restart_on"], codes);
            }
            "kill_timeout" => put(service, &["stop", "grace"], milliseconds(value)?),
            "listen_timeout" => put(service, &["start_timeout"], milliseconds(value)?),
            "max_memory_restart" => put(service, &["max_memory"], memory(value)?),
            "uid" | "user" => put(service, &["user"], value.text()?),
            "gid" => put(service, &["group"], value.text()?),
            "watch" => return self.watch(value),
            "ignore_watch" => put(service, &["watch", "ignore"], globs(value)?),
            "watch_delay" => put(service, &["watch", "debounce"], milliseconds(value)?),
            "log_file" | "out_file" | "output" | "out" | "error_file" | "error" | "log" => {
                return self.logfile(value);
            }
            "log_date_format" | "time" => put(service, &["log", "timestamps"], true),
            "namespace" => {}
            "wait_ready" if !value.yes()? => {}
            "wait_ready" => {
                return Err("`process.send('ready')` is not heard; see `ready`".to_owned());
            }
            "cron_restart" | "cron" => {
                return Err("nothing restarts by the clock; see `max_age`".to_owned());
            }
            key if key.starts_with("env_") => {
                return Err("has no counterpart; see `proc -f`, which lays files over".to_owned());
            }
            key if IMPLIED.contains(&key) => {}
            _ => return Err("has no counterpart".to_owned()),
        }
        Ok(())
    }

    fn watch(&mut self, value: &Tree) -> Result<(), String> {
        let paths = match &value.value {
            Node::Bool(false) => return Ok(()),
            Node::Bool(true) => vec!["**/*".to_owned()],
            _ => globs(value)?,
        };
        put(&mut self.service, &["watch", "paths"], paths);
        Ok(())
    }

    fn logfile(&mut self, value: &Tree) -> Result<(), String> {
        let text = value.text()?;
        if matches!(text.as_str(), "/dev/null" | "NULL") {
            return Err("is kept in the state directory, bounded".to_owned());
        }
        let dir = Path::new(&text).parent();
        if let Some(dir) = dir.filter(|dir| !dir.as_os_str().is_empty()) {
            put(
                &mut self.service,
                &["log", "dir"],
                dir.display().to_string(),
            );
        }
        Err("the directory is kept, the file is named after the instance".to_owned())
    }
}

fn instances(value: &Tree) -> Result<i64, String> {
    let text = value.text()?;
    let count: i64 = if text == "max" {
        0
    } else {
        text.parse()
            .map_err(|_| format!("`{text}` is no number of instances"))?
    };
    if count > 0 {
        return Ok(count);
    }
    Err("goes by the number of CPUs: write the number".to_owned())
}

fn environment(value: &Tree) -> Result<Value, String> {
    let pairs = value.entries().iter().map(|(key, value)| {
        let text = value.text().map_err(|why| format!("`{key}` {why}"))?;
        Ok((key.clone(), Value::from(text)))
    });
    Ok(Value::Table(pairs.collect::<Result<Table, String>>()?))
}

/// Milliseconds, or a text such as `1h`.
fn milliseconds(value: &Tree) -> Result<String, String> {
    let text = value.text()?;
    match text.parse::<u64>() {
        Ok(number) => Ok(format!("{number}ms")),
        Err(_) => crate::units::parse_duration(&text)
            .map(|_| text)
            .map_err(|error| error.to_string()),
    }
}

/// Bytes, or a number with `K`, `M` or `G`.
fn memory(value: &Tree) -> Result<String, String> {
    let text = value.text()?;
    let (number, unit) = match text.trim_end_matches(['b', 'B']).split_at_checked(
        text.trim_end_matches(|c: char| c.is_ascii_alphabetic())
            .len(),
    ) {
        Some((number, "K" | "k")) => (number, "KiB"),
        Some((number, "M" | "m")) => (number, "MiB"),
        Some((number, "G" | "g")) => (number, "GiB"),
        Some((number, "")) => (number, "B"),
        _ => return Err(format!("`{text}` is not a size")),
    };
    if number.parse::<u64>().is_err() {
        return Err(format!("`{text}` is not a size"));
    }
    Ok(format!("{number}{unit}"))
}

/// Paths to watch: a directory means all below it.
fn globs(value: &Tree) -> Result<Vec<String>, String> {
    let globs = value.texts()?.into_iter().map(|text| {
        let is_glob = text.contains(['*', '?', '[']) || Path::new(&text).extension().is_some();
        if is_glob {
            text
        } else {
            format!("{}/**", text.trim_end_matches('/'))
        }
    });
    Ok(globs.collect())
}

//! What is submitted: a script that becomes the program, its environment in a file, and options.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use proc_run::shell_quote;

use crate::manager::ManagerError;

/// A job that is to be submitted.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// By which it is found again should the answer to its submission be lost.
    pub(crate) name: String,
    pub(crate) argv: Vec<OsString>,
    pub(crate) cwd: PathBuf,
    pub(crate) umask: Option<u32>,
    pub(crate) env: Vec<(OsString, OsString)>,
    pub(crate) stdout: PathBuf,
    /// Where standard error goes, if not to the same file.
    pub(crate) stderr: Option<PathBuf>,
    /// Long options of sbatch(1) without dashes; a switch is `true`.
    pub(crate) options: BTreeMap<String, String>,
    /// `afterok:12,afterany:13`.
    pub(crate) dependency: Option<String>,
}

/// The files of one submission; they go with it.
#[derive(Debug)]
pub(crate) struct Files {
    script: PathBuf,
    environment: PathBuf,
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.script, &self.environment] {
            let _may_not_have_been_written = std::fs::remove_file(path);
        }
    }
}

impl Job {
    /// Returns the arguments of sbatch(1), whose files lie in `dir` until the guard is dropped.
    pub(crate) fn prepare(&self, dir: &Path) -> Result<(Vec<String>, Files), ManagerError> {
        name_of_a_job(&self.name)?;
        let files = Files {
            script: dir.join(format!("{}.script", self.name)),
            environment: dir.join(format!("{}.env", self.name)),
        };
        private(&files.script, &self.script())?;
        private(&files.environment, &self.environment())?;
        let mut args = vec!["--parsable".to_owned()];
        let mut add = |name: &str, value: &str| args.push(format!("--{name}={value}"));
        add("job-name", &self.name);
        add("chdir", text("cwd", &self.cwd)?);
        add("output", &pattern(&self.stdout)?);
        if let Some(path) = &self.stderr {
            add("error", &pattern(path)?);
        }
        add("open-mode", "append");
        add("input", "/dev/null");
        add("export-file", text("state directory", &files.environment)?);
        if let Some(dependency) = &self.dependency {
            add("dependency", dependency);
            add("kill-on-invalid-dep", "yes");
        }
        for (name, value) in &self.options {
            without_controls("slurm", name)?;
            without_controls("slurm", value)?;
            match (name.as_str(), value.as_str()) {
                ("requeue", _) => {}
                (name, "true") => args.push(format!("--{name}")),
                (name, value) => args.push(format!("--{name}={value}")),
            }
        }
        let requeue = self
            .options
            .get("requeue")
            .is_none_or(|value| value == "true");
        args.push(if requeue { "--requeue" } else { "--no-requeue" }.to_owned());
        args.push(text("state directory", &files.script)?.to_owned());
        Ok((args, files))
    }

    /// The script becomes the program, so that a signal to the one reaches the other and its exit is the job's.
    /// Slurm goes elsewhere when a directory is missing; that must not pass for a start.
    fn script(&self) -> Vec<u8> {
        let mut script = b"#!/bin/sh\ncd -- ".to_vec();
        script.extend(shell_quote(self.cwd.as_os_str()).as_bytes());
        script.extend(b" || exit 125\n");
        if let Some(umask) = self.umask {
            script.extend(format!("umask {umask:04o}\n").bytes());
        }
        script.extend(b"exec");
        for word in &self.argv {
            script.push(b' ');
            script.extend(shell_quote(word).as_bytes());
        }
        script.push(b'\n');
        script
    }

    fn environment(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in self.env.iter().filter(|(name, _)| is_shell_name(name)) {
            bytes.extend(name.as_bytes());
            bytes.push(b'=');
            bytes.extend(value.as_bytes());
            bytes.push(0);
        }
        bytes
    }

    /// Returns the variables that a shell does not hand on.
    pub(crate) fn lost_variables(&self) -> Vec<String> {
        let odd = self.env.iter().filter(|(name, _)| !is_shell_name(name));
        odd.map(|(name, _)| name.to_string_lossy().escape_debug().to_string())
            .collect()
    }
}

fn is_shell_name(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    bytes.iter().all(letter) && bytes.first().is_some_and(|first| !first.is_ascii_digit())
}

/// Writes a file that nobody else can read.
fn private(path: &Path, bytes: &[u8]) -> Result<(), ManagerError> {
    let write = || -> std::io::Result<()> {
        let _left_by_a_crash = std::fs::remove_file(path);
        let mut options = std::fs::OpenOptions::new();
        let mut file = options
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(bytes)
    };
    write().map_err(|source| ManagerError::Write {
        path: path.display().to_string(),
        source,
    })
}

/// Refuses a name that a command line or a path would take for something else.
fn name_of_a_job(name: &str) -> Result<(), ManagerError> {
    let bad = |reason| ManagerError::BadName {
        key: "instance",
        value: name.escape_debug().to_string(),
        reason,
    };
    match without_controls("instance", name)? {
        "" => Err(bad("it is empty")),
        name if name.starts_with('-') => Err(bad("it starts with `-`, as an option does")),
        name if name.contains('/') => Err(bad("it contains `/`")),
        _ => Ok(()),
    }
}

fn without_controls<'a>(key: &'static str, text: &'a str) -> Result<&'a str, ManagerError> {
    if text.chars().any(char::is_control) {
        return Err(ManagerError::BadName {
            key,
            value: text.escape_debug().to_string(),
            reason: "it contains a control character",
        });
    }
    Ok(text)
}

fn text<'a>(key: &'static str, path: &'a Path) -> Result<&'a str, ManagerError> {
    match path.to_str() {
        Some(text) => without_controls(key, text),
        None => Err(ManagerError::BadName {
            key,
            value: path.to_string_lossy().escape_debug().to_string(),
            reason: "it is not UTF-8",
        }),
    }
}

/// Returns a file's name as sbatch(1) takes it literally: `%` begins a pattern, a backslash ends all of them.
fn pattern(path: &Path) -> Result<String, ManagerError> {
    let text = text("log", path)?;
    if text.contains('\\') {
        return Err(ManagerError::BadName {
            key: "log",
            value: text.escape_debug().to_string(),
            reason: "Slurm takes a backslash for something else",
        });
    }
    Ok(text.replace('%', "%%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: &str) -> Job {
        Job {
            name: name.to_owned(),
            argv: vec!["prog".into(), "it's".into(), "$HOME; x".into()],
            cwd: "/srv/a b".into(),
            umask: Some(0o27),
            env: vec![("A".into(), "1\n2".into()), ("B%%".into(), "x".into())],
            stdout: "/log/100%.log".into(),
            stderr: None,
            options: [
                ("partition", "gpu"),
                ("exclusive", "true"),
                ("requeue", "false"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            dependency: Some("afterok:7".into()),
        }
    }

    #[test]
    fn a_job_arrives_as_written_and_its_environment_on_no_command_line() {
        let dir = tempfile::tempdir().unwrap();
        let job = job("shop.web.1");
        let (args, files) = job.prepare(dir.path()).unwrap();
        let script = std::fs::read_to_string(&files.script).unwrap();
        let exec = "exec prog 'it'\\''s' '$HOME; x'\n";
        assert_eq!(
            script,
            format!("#!/bin/sh\ncd -- '/srv/a b' || exit 125\numask 0027\n{exec}")
        );
        assert_eq!(std::fs::read(&files.environment).unwrap(), b"A=1\n2\0");
        assert_eq!(job.lost_variables(), ["B%%"]);
        let mode = std::fs::metadata(&files.environment).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&mode) & 0o777, 0o600);
        for expected in [
            "--job-name=shop.web.1",
            "--chdir=/srv/a b",
            "--output=/log/100%%.log",
            "--open-mode=append",
            "--partition=gpu",
            "--exclusive",
            "--no-requeue",
            "--dependency=afterok:7",
        ] {
            assert!(
                args.iter().any(|arg| arg == expected),
                "{expected}: {args:?}"
            );
        }
        assert!(!args.join(" ").contains("A=1"), "{args:?}");
        let kept = files.environment.clone();
        drop(files);
        assert!(!kept.exists(), "the environment does not stay on the disk");
    }

    #[test]
    fn names_that_would_be_something_else_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["--wrap=x", "a\nb", "", "a/b"] {
            let refused = job("x");
            let refused = Job {
                name: name.to_owned(),
                ..refused
            };
            let error = refused.prepare(dir.path()).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
        let mut odd = job("x");
        odd.options.insert("partition".into(), "a\nb".into());
        let error = odd.prepare(dir.path()).unwrap_err().to_string();
        assert!(error.contains("control character"), "{error}");
        odd = job("x");
        odd.stdout = "/a\\b".into();
        let error = odd.prepare(dir.path()).unwrap_err().to_string();
        assert!(error.contains("backslash"), "{error}");
    }
}

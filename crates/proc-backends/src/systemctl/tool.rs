//! The command lines of systemctl(1) and journalctl(1), and what their refusals mean.

use std::path::PathBuf;
use std::time::Duration;

use super::bus::Place;
use super::dbus::Peer;
use super::facts::{PROPERTIES, UnitFacts};
use super::journal::{Source, shell_word};
use super::options::SystemctlOptions;
use super::target::Target;
use crate::call::{Answer, Call};
use crate::manager::ManagerError;

/// What is added to a unit's own start timeout before systemctl is given up on.
const SLACK: Duration = Duration::from_secs(15);

/// Runs systemctl(1) for one target.
#[derive(Debug, Clone)]
pub(crate) struct Tool<'a> {
    pub(crate) options: &'a SystemctlOptions,
    pub(crate) target: &'a Target,
}

impl Tool<'_> {
    fn call(&self, changes: bool, verb: &[&str], timeout: Duration) -> Call {
        let mut args: Vec<String> = Vec::new();
        let sudo = changes && self.target.sudo;
        let mut program = self.options.systemctl.clone();
        if sudo {
            args.extend(["-n".to_owned(), "--".to_owned(), program]);
            program = self.options.sudo.clone();
        }
        args.push(
            if self.target.user {
                "--user"
            } else {
                "--system"
            }
            .to_owned(),
        );
        args.extend(["--no-pager", "--no-ask-password"].map(str::to_owned));
        if let Some(host) = &self.target.host {
            args.push(format!("--host={host}"));
        }
        args.extend(verb.iter().map(|word| (*word).to_owned()));
        Call {
            program,
            args,
            env: self.options.env.clone(),
            timeout,
        }
    }

    async fn run(
        &self,
        changes: bool,
        verb: &[&str],
        timeout: Duration,
    ) -> Result<Answer, ManagerError> {
        let call = self.call(changes, verb, timeout);
        let answer = call.run().await?;
        if answer.code == 0 {
            return Ok(answer);
        }
        let command = format!("systemctl {}", verb.first().copied().unwrap_or_default());
        Err(refusal(&command, self.target, &answer))
    }

    /// Asks for the unit's state.
    pub(crate) async fn show(&self) -> Result<UnitFacts, ManagerError> {
        let properties = format!("--property={PROPERTIES}");
        let verb = [
            "show",
            &properties,
            "--timestamp=us+utc",
            "--",
            &self.target.unit,
        ];
        let answer = self.run(false, &verb, self.options.timeout).await?;
        UnitFacts::parse(&answer.stdout).map_err(|what| ManagerError::Garbage {
            command: "systemctl show".to_owned(),
            what,
        })
    }

    /// Starts the unit; waits until it counts as started, except for units that are meant to end.
    pub(crate) async fn start(&self, facts: &UnitFacts) -> Result<(), ManagerError> {
        let wait = facts.start_timeout.unwrap_or(self.options.start_timeout);
        let wait = wait.min(self.options.start_timeout).saturating_add(SLACK);
        let unit = self.target.unit.as_str();
        if facts.kind == "oneshot" {
            self.run(true, &["start", "--no-block", "--", unit], wait)
                .await?;
        } else {
            self.run(true, &["start", "--", unit], wait).await?;
        }
        Ok(())
    }

    /// Asks systemd to stop the unit, without waiting for it.
    pub(crate) async fn stop(&self) -> Result<(), ManagerError> {
        let verb = ["stop", "--no-block", "--", &self.target.unit];
        self.run(true, &verb, self.options.timeout).await.map(drop)
    }

    pub(crate) async fn reload(&self) -> Result<(), ManagerError> {
        let verb = ["reload", "--", &self.target.unit];
        self.run(true, &verb, self.options.timeout).await.map(drop)
    }

    /// Sends a signal to the main process or to every process of the unit.
    pub(crate) async fn kill(
        &self,
        signal: proc_core::Signal,
        all: bool,
    ) -> Result<(), ManagerError> {
        let signal = format!("--signal={}", signal.raw());
        let whom = if all {
            "--kill-who=all"
        } else {
            "--kill-who=main"
        };
        let verb = ["kill", whom, &signal, "--", &self.target.unit];
        self.run(true, &verb, self.options.timeout).await.map(drop)
    }

    pub(crate) async fn daemon_reload(&self) -> Result<(), ManagerError> {
        self.run(
            true,
            &["daemon-reload"],
            self.options.timeout.max(Duration::from_secs(90)),
        )
        .await
        .map(drop)
    }

    pub(crate) async fn reset_failed(&self) -> Result<(), ManagerError> {
        let verb = ["reset-failed", "--", &self.target.unit];
        self.run(true, &verb, self.options.timeout).await.map(drop)
    }

    /// Returns where changes of this manager's units can be heard.
    pub(crate) fn place(&self) -> Place {
        if let Some(host) = &self.target.host {
            return Place::Bridge(Box::new(
                self.ssh(host, &["systemd-stdio-bridge".to_owned()]),
            ));
        }
        let runtime = self.options.runtime_dir();
        if self.target.user {
            return Place::Local(vec![
                (runtime.join("systemd/private"), Peer::Manager),
                (runtime.join("bus"), Peer::Bus),
            ]);
        }
        Place::Local(vec![
            (PathBuf::from("/run/systemd/private"), Peer::Manager),
            (PathBuf::from("/run/dbus/system_bus_socket"), Peer::Bus),
        ])
    }

    fn ssh(&self, host: &str, words: &[String]) -> Call {
        let mut args: Vec<String> = ["-xT", "-oBatchMode=yes", "--"].map(str::to_owned).into();
        args.push(host.to_owned());
        args.extend(words.iter().map(|word| shell_word(word)));
        Call {
            program: self.options.ssh.clone(),
            args,
            env: self.options.env.clone(),
            timeout: self.options.timeout,
        }
    }

    /// Returns the unit's lines in the journal.
    pub(crate) fn journal(&self) -> Source {
        let unit = &self.target.unit;
        // What a unit of ours prints is known by its identifier, which never gets lost.
        let matches = match (self.target.own, self.target.user) {
            (true, _) => vec![
                format!("SYSLOG_IDENTIFIER={unit}"),
                "_TRANSPORT=stdout".to_owned(),
            ],
            (false, true) => vec![format!("_SYSTEMD_USER_UNIT={unit}")],
            (false, false) => vec![format!("_SYSTEMD_UNIT={unit}")],
        };
        let journalctl = match &self.target.host {
            Some(host) => self.ssh(host, &["journalctl".to_owned()]),
            None => Call {
                program: self.options.journalctl.clone(),
                args: Vec::new(),
                env: self.options.env.clone(),
                timeout: Duration::from_secs(2),
            },
        };
        Source {
            journalctl,
            matches,
            uid: self.target.user.then(|| rustix::process::getuid().as_raw()),
            sync: self.target.host.is_none() && rustix::process::geteuid().is_root(),
            quoted: self.target.host.is_some(),
        }
    }
}

/// What a text on standard error means; first match wins.
const REFUSALS: &[(&str, Kind)] = &[
    ("a password is required", Kind::Denied),
    ("is not in the sudoers", Kind::Denied),
    ("may not run sudo", Kind::Denied),
    ("Access denied", Kind::Denied),
    ("Interactive authentication required", Kind::Denied),
    ("Permission denied", Kind::Denied),
    ("Operation not permitted", Kind::Denied),
    ("Failed to connect to bus", Kind::NoManager),
    ("System has not been booted with systemd", Kind::NoManager),
    ("Transport endpoint is not connected", Kind::NoManager),
    ("Connection refused", Kind::NoManager),
    ("Could not resolve hostname", Kind::NoManager),
    ("attempted too often", Kind::StartLimit),
    ("start request repeated too quickly", Kind::StartLimit),
    ("Start request repeated too quickly", Kind::StartLimit),
    ("is masked", Kind::Masked),
    ("not found.", Kind::NoUnit),
    ("not loaded.", Kind::NoUnit),
];

#[derive(Clone, Copy)]
enum Kind {
    Denied,
    NoManager,
    StartLimit,
    Masked,
    NoUnit,
}

fn refusal(command: &str, target: &Target, answer: &Answer) -> ManagerError {
    let mut lines = answer
        .stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let message: String = lines
        .next()
        .unwrap_or("no message")
        .chars()
        .take(300)
        .collect();
    let message = message
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'");
    let kind = REFUSALS
        .iter()
        .find(|(text, _)| answer.stderr.contains(text))
        .map(|(_, kind)| *kind);
    let unit = target.unit.clone();
    match kind {
        Some(Kind::Denied) => ManagerError::Denied { message },
        Some(Kind::NoManager) => ManagerError::NoManager { message },
        Some(Kind::StartLimit) => ManagerError::StartLimit { unit },
        Some(Kind::Masked) => ManagerError::Barred {
            unit,
            how: "masked",
        },
        Some(Kind::NoUnit) => ManagerError::NoUnit { unit },
        None => ManagerError::Failed {
            command: command.to_owned(),
            code: answer.code,
            message,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target {
            unit: "x.service".into(),
            own: false,
            user: false,
            sudo: true,
            host: None,
        }
    }

    #[test]
    fn sudo_is_for_changes_only_and_never_asks() {
        let options = SystemctlOptions::new("/s".into(), Default::default());
        let target = target();
        let tool = Tool {
            options: &options,
            target: &target,
        };
        let stop = tool.call(true, &["stop", "--", "x.service"], Duration::ZERO);
        assert_eq!(stop.program, "sudo");
        assert_eq!(
            stop.args,
            [
                "-n",
                "--",
                "systemctl",
                "--system",
                "--no-pager",
                "--no-ask-password",
                "stop",
                "--",
                "x.service"
            ]
        );
        let show = tool.call(false, &["show"], Duration::ZERO);
        assert_eq!(
            (show.program.as_str(), show.args[0].as_str()),
            ("systemctl", "--system")
        );
        let remote = Target {
            host: Some("root@node".into()),
            ..target.clone()
        };
        let tool = Tool {
            options: &options,
            target: &remote,
        };
        let show = tool.call(false, &["show"], Duration::ZERO);
        assert!(
            show.args.contains(&"--host=root@node".to_owned()),
            "{show:?}"
        );
        assert!(
            tool.journal()
                .journalctl
                .args
                .ends_with(&["root@node".into(), "'journalctl'".into()])
        );
    }

    #[test]
    fn refusals_are_told_apart() {
        for (code, stderr, start) in [
            (
                1,
                "Failed to connect to bus: No such file or directory\n",
                "no service manager",
            ),
            (
                4,
                "System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed to connect to bus: Host is down",
                "no service manager",
            ),
            (1, "sudo: a password is required\n", "not allowed"),
            (
                1,
                "Failed to start x.service: Access denied\nSee system logs",
                "not allowed",
            ),
            (
                5,
                "Failed to start x.service: Unit x.service not found.\n",
                "`x.service` does not exist",
            ),
            (
                1,
                "Failed to start x.service: Unit x.service is masked.\n",
                "`x.service` is masked",
            ),
            (
                1,
                "\u{1b}[31mboom\n",
                "`systemctl start` failed with code 1: \\u{1b}[31mboom",
            ),
            (3, "", "`systemctl start` failed with code 3: no message"),
        ] {
            let answer = Answer {
                code,
                stdout: Vec::new(),
                stderr: stderr.into(),
            };
            let text = refusal("systemctl start", &target(), &answer).to_string();
            assert!(text.starts_with(start), "{text}");
        }
    }
}

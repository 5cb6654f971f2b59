//! `host = "user@node"`: units of another machine, through a real sshd.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use proc_backends::{Backend as _, RunState, SystemctlBackend, SystemctlOptions};
use proc_core::{Attributes, ProcessEnd, Signal, StopSequence};
use proc_output::LogOptions;

use crate::bed::{Machine, exit};
use crate::run;

/// Lets ssh(1) in: keys of their own, and an sshd(8) for each connection.
fn open(machine: &Machine) -> SystemctlOptions {
    let at = |name: &str| machine.path(name).display().to_string();
    for key in ["key", "hostkey"] {
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-N", "", "-f", &at(key)]);
        assert!(command.stdin(Stdio::null()).status().unwrap().success());
    }
    let write = |name: &str, text: &str| std::fs::write(machine.path(name), text).unwrap();
    let host = std::fs::read_to_string(machine.path("hostkey.pub")).unwrap();
    write("known", &format!("node {host}"));
    write(
        "sshd_config",
        &format!(
            "HostKey {}\nAuthorizedKeysFile {}\nPermitRootLogin prohibit-password\nUsePAM no\n\
             StrictModes no\nPidFile none\nLogLevel ERROR\nUseDNS no\n",
            at("hostkey"),
            at("key.pub")
        ),
    );
    write(
        "ssh_config",
        &format!(
            "Host node\n  User root\n  IdentityFile {}\n  IdentitiesOnly yes\n  UserKnownHostsFile {}\n\
             \x20 StrictHostKeyChecking yes\n  LogLevel ERROR\n  ProxyCommand {} /usr/sbin/sshd -i -f {}\n",
            at("key"),
            at("known"),
            at("bin/enter"),
            at("sshd_config")
        ),
    );
    write(
        "bin/ssh",
        &format!(
            "#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n",
            at("ssh_config")
        ),
    );
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(machine.path("bin/ssh"), mode).unwrap();
    let path = format!("{}:{}", at("bin"), std::env::var("PATH").unwrap());
    let env: BTreeMap<String, String> =
        [("PATH".to_owned(), path), ("HOME".to_owned(), at(""))].into();
    SystemctlOptions {
        ssh: at("bin/ssh"),
        ..SystemctlOptions::new(machine.path("state"), env)
    }
}

fn remote(dir: &Path, unit: &str, host: &str) -> proc_backends::InstanceSpec {
    let foreign = [("unit", unit), ("host", host)];
    proc_backends::InstanceSpec {
        project: "shop".into(),
        service: unit.into(),
        instance: unit.into(),
        index: 1,
        argv: Vec::new(),
        env: Vec::new(),
        cwd: dir.to_owned(),
        attributes: Attributes::default(),
        stdin: proc_backends::StdinMode::Null,
        log: LogOptions::default(),
        listen: Vec::new(),
        notify_fd: None,
        detached: false,
        die_with_supervisor: false,
        stop: StopSequence::default(),
        last_run: 0,
        foreign: foreign.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    }
}

#[test]
fn units_of_another_host_are_driven_through_ssh() {
    let Some(machine) = Machine::up() else { return };
    let options = open(&machine);
    let unit =
        |name: &str, text: &str| std::fs::write(machine.path("units").join(name), text).unwrap();
    unit(
        "web.service",
        "[Service]\nExecStart=/bin/sh -c 'echo from afar; exec sleep 1000'\n",
    );
    unit(
        "seven.service",
        "[Service]\nExecStart=/bin/sh -c 'read x < /run/go; exit 7'\n",
    );
    let inside = |words: &[&str]| {
        let mut command = Command::new(machine.path("bin/enter"));
        assert!(
            command
                .args(words)
                .stdin(Stdio::null())
                .status()
                .unwrap()
                .success()
        );
    };
    inside(&["systemctl", "daemon-reload"]);
    inside(&["mkfifo", "/run/go"]);
    run(async {
        let backend = SystemctlBackend::new(options);
        let mut events = backend.events().unwrap();
        let dir = machine.path("");
        let started = backend
            .start(remote(&dir, "web", "root@node"))
            .await
            .unwrap();
        assert!(
            started.pid > 0 && started.identity.boot_id.starts_with("host:"),
            "{started:?}"
        );
        let status = backend.status("web").await.unwrap();
        assert!(
            matches!(status.state, RunState::Running(_)) && status.degraded.is_empty(),
            "{status:?}"
        );
        backend.stop("web", StopSequence::default()).await.unwrap();
        let (ended, _) = exit(&mut events).await;
        // systemd forgets a unit that ended well, and no process of another host can be held on to.
        let known = ended
            .end
            .is_some_and(|end| end.signal() == Some(Signal::TERM));
        let told = ended.unknown.as_deref().unwrap_or_default();
        assert!(known || told.contains("no longer knows"), "{ended:?}");
        let log = std::fs::read_to_string(machine.path("state/log/web.log")).unwrap();
        assert_eq!(log, "from afar\n");

        // An end that nobody here caused is heard, too.
        backend
            .start(remote(&dir, "seven", "root@node"))
            .await
            .unwrap();
        inside(&["sh", "-c", "echo go > /run/go"]);
        let (ended, _) = loop {
            let (ended, before) = exit(&mut events).await;
            if ended.end.and_then(ProcessEnd::code).is_some() {
                break (ended, before);
            }
        };
        assert_eq!(ended.end, Some(ProcessEnd::Exited(7)));

        let error = backend
            .start(remote(&dir, "nosuch", "root@node"))
            .await
            .unwrap_err();
        assert!(format!("{error:?}").contains("NoUnit"), "{error:?}");
        let error = backend
            .start(remote(&dir, "far", "root@nowhere.invalid"))
            .await
            .unwrap_err();
        assert!(
            format!("{error:?}").contains("NoManager") || format!("{error:?}").contains("Failed"),
            "{error:?}"
        );
    });
}

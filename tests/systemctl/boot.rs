//! `proc enable`: the supervisor as a notify service of the user's manager, and `disable`, which takes it back.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use proc_tests::bin;
use serde_json::Value;

use crate::bed::Bed;

const UNIT: &str = "proc-shop.service";

/// A project in the bed, and `proc` with the environment of its user.
struct Shop<'b> {
    bed: &'b Bed,
    dir: PathBuf,
}

impl Shop<'_> {
    fn write(&self, text: &str) {
        let text = format!("[project]\nname = \"shop\"\n{text}");
        std::fs::write(self.dir.join("proc.toml"), text).unwrap();
    }

    fn proc(&self, args: &[&str]) -> Output {
        let mut command = Command::new(bin("proc"));
        command
            .args([
                "--state-dir",
                &self.bed.path("shop-state").display().to_string(),
            ])
            .args(args)
            .current_dir(&self.dir)
            .env_clear()
            .envs(self.bed.env())
            .stdin(Stdio::null());
        command.output().unwrap()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let output = self.proc(args);
        assert!(
            output.status.success(),
            "{args:?}: {output:?}\n{}",
            self.journal()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn journal(&self) -> String {
        let mut command = Command::new(self.bed.path("bin/journalctl"));
        let output = command
            .arg(format!("_SYSTEMD_USER_UNIT={UNIT}"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    #[track_caller]
    fn instance(&self, name: &str) -> Value {
        let status: Value = serde_json::from_str(&self.ok(&["status", "--json"])).unwrap();
        let services = status["services"].as_array().unwrap();
        let service = services.iter().find(|service| service["name"] == name);
        service.unwrap()["instances"][0].clone()
    }

    fn shown(&self, property: &str) -> String {
        let shown = self.bed.output(&["show", "--value", "-p", property, UNIT]);
        shown.trim().to_owned()
    }
}

const WEB: &str = "[service.web]\ncommand = \"sleep 1000\"\nstart_seconds = \"100ms\"\n";

#[test]
fn a_project_is_started_kept_reloaded_stopped_and_disabled() {
    let Some(bed) = Bed::up() else { return };
    let dir = bed.path("home/a shop");
    std::fs::create_dir_all(&dir).unwrap();
    let shop = Shop { bed: &bed, dir };
    shop.write(WEB);
    let told = shop.proc(&["enable", "--user", "--now"]);
    assert!(told.status.success(), "{told:?}\n{}", shop.journal());
    let file = bed.path("config/systemd/user").join(UNIT);
    assert!(file.is_file());
    assert_eq!(shop.shown("UnitFileState"), "enabled");
    // `enable --now` waited for READY=1, which is said when all is ready.
    let web = shop.instance("web");
    assert_eq!(
        (&web["state"], &web["ready"]),
        (&"running".into(), &true.into()),
        "{web}"
    );
    assert_eq!(
        (shop.shown("ActiveState"), shop.shown("StatusText")),
        ("active".into(), "all services are ready".into())
    );
    let status: Value = serde_json::from_str(&shop.ok(&["status", "--json"])).unwrap();
    let supervisor = bed.facts(UNIT).main_pid;
    assert_eq!(status["supervisor"]["pid"], supervisor);
    assert_eq!(shop.shown("WatchdogUSec"), "30s");

    // A supervisor that is killed is replaced; its services go on.
    assert_eq!(
        bed.systemctl(&["kill", "--kill-who=main", "--signal=KILL", UNIT]),
        0
    );
    bed.until(UNIT, |facts| {
        facts.active == "active" && facts.main_pid != supervisor && facts.main_pid > 0
    });
    assert_eq!(shop.shown("NRestarts"), "1");
    assert_eq!(
        shop.instance("web")["pid"],
        web["pid"],
        "the service was not touched"
    );
    assert!(
        !shop.proc(&["up", "-d"]).status.success(),
        "one supervisor is enough"
    );

    // A reload makes the changed configuration the running one; a broken one changes nothing.
    shop.write(&format!(
        "{WEB}[service.api]\ncommand = \"sleep 1000\"\nstart_seconds = \"100ms\"\n"
    ));
    assert_eq!(bed.systemctl(&["reload", UNIT]), 0);
    bed.until(UNIT, |facts| {
        facts.active == "active" && facts.sub == "running"
    });
    shop.ok(&["wait", "api", "--for", "ready", "--timeout", "60s"]);
    shop.write("[service.web]\ncomand = \"true\"\n");
    assert_ne!(bed.systemctl(&["reload", UNIT]), 0);
    shop.write(WEB);
    assert_eq!(shop.instance("web")["pid"], web["pid"]);

    // A stop is a stop: of the services first.
    assert_eq!(bed.systemctl(&["stop", UNIT]), 0);
    assert_eq!(shop.shown("Result"), "success", "{}", shop.journal());
    assert_eq!(shop.instance("web")["state"], "stopped");
    let procs = bed.output(&["show", "--value", "-p", "TasksCurrent", UNIT]);
    assert!(["[not set]", "0"].contains(&procs.trim()), "{procs}");

    // Disabling leaves what runs, and nothing else.
    assert_eq!(bed.systemctl(&["start", UNIT]), 0);
    let web = shop.instance("web");
    assert!(shop.proc(&["disable", "--user"]).status.success());
    assert!(!file.exists());
    let wants = bed
        .path("config/systemd/user/default.target.wants")
        .join(UNIT);
    assert!(std::fs::symlink_metadata(wants).is_err());
    assert_eq!(shop.instance("web")["pid"], web["pid"]);
    shop.ok(&["down"]);
    bed.until(UNIT, |facts| facts.active == "inactive");
    let again = shop.proc(&["disable", "--user"]);
    assert!(again.status.success(), "{again:?}");

    // A unit of somebody else is not touched.
    std::fs::write(&file, "[Service]\nExecStart=/bin/true\n").unwrap();
    for verb in ["enable", "disable"] {
        let refused = shop.proc(&[verb, "--user"]);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains("not ours"),
            "{refused:?}"
        );
    }
}

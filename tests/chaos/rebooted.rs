//! The machine was started again: what the records name belongs to another boot, whoever has its numbers now.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use proc_core::Identity;
use proc_shim::{RunRecord, ShimRecord};
use proc_tests::{Outcome, Project, is_root};
use serde_json::Value;

use crate::killer::{kill, leader, shim};

const CONFIG: &str = "[service.web]\nargv = [\"sleep\", \"infinity\"]\nstart_seconds = 0\n\
    [service.held]\nargv = [\"sleep\", \"infinity\"]\nstart_seconds = 0\n";

/// A project on the next boot: its verbs see another boot id, in a mount namespace of their own.
struct NextBoot<'a> {
    project: &'a Project,
    boot_id: PathBuf,
}

impl<'a> NextBoot<'a> {
    /// Makes another boot id; the error says why no namespace can be made here.
    fn of(project: &'a Project) -> Result<Self, String> {
        let boot_id = project.write("boot_id", "00000000-0000-4000-8000-000000000001\n");
        let boot = Self { project, boot_id };
        let seen = boot.within(&["cat", "/proc/sys/kernel/random/boot_id"]);
        let possible = seen.code == 0 && seen.stdout.starts_with("00000000-");
        possible.then_some(boot).ok_or(seen.stderr)
    }

    fn within(&self, argv: &[&str]) -> Outcome {
        self.unshared()
            .args(argv)
            .output()
            .expect("unshare can be started")
            .into()
    }

    fn unshared(&self) -> Command {
        let mut command = Command::new("unshare");
        command.args((!is_root()).then_some("--map-root-user"));
        command.args(["--mount", "--propagation", "private", "sh", "-c"]);
        command.arg("mount --bind \"$0\" /proc/sys/kernel/random/boot_id && exec \"$@\"");
        command.arg(&self.boot_id).stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let verb = self.project.command(args);
        let mut command = self.unshared();
        let env = verb
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        command
            .env_clear()
            .envs(env)
            .current_dir(self.project.dir());
        command.arg(verb.get_program()).args(verb.get_args());
        command.output().expect("unshare can be started").into()
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, 0, "proc {args:?}: {done:?}");
        done.stdout
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).expect("it is JSON")
    }
}

fn instance(status: &Value, name: &str) -> Value {
    let services = status["services"].as_array().into_iter().flatten();
    let found = services.into_iter().find(|service| service["name"] == name);
    found.expect("it is listed")["instances"][0].clone()
}

/// Takes everything away that a loss of power takes, but for the service itself: it stays as the stranger who, on the
/// next boot, has the same number and the same start time.
fn lose_power(project: &Project) {
    let own = project.state().join("supervisor");
    let keeper = ShimRecord::read(&own).expect("it is readable");
    let supervisor = RunRecord::read(&own).expect("it is readable");
    let keeper = keeper.expect("a detached supervisor has a shim").identity;
    let supervisor = supervisor.expect("a supervisor runs").running.identity;
    let shim = shim(project, "web").expect("it has a shim");
    for victim in [keeper, supervisor, shim] {
        assert!(kill(&victim), "{victim:?}");
        gone(&victim);
    }
}

/// Waits until a process has exited.
fn gone(identity: &Identity) {
    if let Ok(process) = identity.open() {
        process.wait(None).expect("a pidfd can be waited for");
    }
}

#[test]
fn after_another_boot_what_was_wanted_is_started_and_nobody_is_signalled() {
    let project = Project::with(CONFIG);
    let next = match NextBoot::of(&project) {
        Ok(next) => next,
        Err(why) => {
            eprintln!("SKIP another boot: {why}");
            return;
        }
    };
    project.ok(&["up", "-d"]);
    project.ok(&["stop", "held"]);
    let stranger = leader(&project, "web").expect("it runs");
    let since = project.last_seq();
    lose_power(&project);

    // On this boot it still is the service; on the next one it is nobody.
    let offline = next.json(&["status", "--json"]);
    assert_eq!(offline["supervisor"], Value::Null);
    assert_eq!(instance(&offline, "web")["pid"], Value::Null, "{offline:#}");
    let identity = serde_json::to_string(&stranger).expect("it is plain data");
    assert_eq!(next.run(&["alive", "--identity", &identity]).code, 3);

    next.ok(&["up", "-d"]);
    let status = next.json(&["status", "--json"]);
    let (web, held) = (instance(&status, "web"), instance(&status, "held"));
    assert_eq!(
        (&web["state"], &web["ready"]),
        (&"running".into(), &true.into())
    );
    assert_ne!(web["pid"], stranger.pid, "it was started anew");
    assert_eq!(held["state"], "stopped", "nobody wants it");
    let exit = &web["last_exit"];
    assert_eq!(
        (&exit["code"], &exit["signal"]),
        (&Value::Null, &Value::Null)
    );
    let why = next.ok(&["why", "web"]);
    assert!(why.contains("earlier boot"), "{why}");
    assert!(
        stranger.liveness().is_alive(),
        "the stranger was not touched"
    );

    let lines = next.ok(&["events", "--json"]);
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("an event is a JSON line"))
        .collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["seq"], number as u64 + 1, "a gap at {event}");
    }
    let exits = events[usize::try_from(since).expect("few")..]
        .iter()
        .filter(|event| event["service"] == "web" && !event["exit"].is_null());
    assert_eq!(exits.count(), 1, "its end is told once");
    next.ok(&["down"]);
    assert!(stranger.liveness().is_alive(), "nor by the end");
    assert!(kill(&stranger));
}

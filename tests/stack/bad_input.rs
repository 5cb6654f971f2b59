//! Bad input: exit 2 with the place and the key on stderr, and nothing started.

use std::path::PathBuf;
use std::process::Command;

use proc_tests::{Project, is_root};

/// A configuration that must be refused, and what the message must name.
struct Case {
    name: &'static str,
    config: &'static str,
    place: &'static str,
    names: &'static str,
}

const CASES: &[Case] = &[
    Case {
        name: "unknown key",
        config: "[service.a]\ncommand = \"true\"\ncomand = 1\n",
        place: "proc.toml:3:",
        names: "comand",
    },
    Case {
        name: "wrong type",
        config: "[service.a]\ncommand = \"true\"\ninstances = \"two\"\n",
        place: "proc.toml:3:",
        names: "instances",
    },
    Case {
        name: "cycle",
        config: "[service.a]\ncommand = \"true\"\nneeds = { b = \"ready\" }\n[service.b]\ncommand = \"true\"\nneeds = { a = \"ready\" }\n",
        place: "proc.toml:",
        names: "a -> b -> a",
    },
    Case {
        name: "missing need",
        config: "[service.a]\ncommand = \"true\"\nneeds = { ghost = \"ready\" }\n",
        place: "proc.toml:3:",
        names: "ghost",
    },
    Case {
        name: "unset variable",
        config: "[service.a]\ncommand = \"true\"\nenv = { A = \"${NOWHERE:?set it}\" }\n",
        place: "proc.toml:3:",
        names: "NOWHERE",
    },
    Case {
        name: "empty file",
        config: "",
        place: "proc.toml",
        names: "service",
    },
    Case {
        name: "duplicate names",
        config: "[service.a]\ncommand = \"true\"\n[service.a]\ncommand = \"true\"\n",
        place: "proc.toml:3:",
        names: "a",
    },
    Case {
        name: "slash in a name",
        config: "[service.\"a/b\"]\ncommand = \"true\"\n",
        place: "proc.toml:1:",
        names: "a/b",
    },
    Case {
        name: "parent as a name",
        config: "[service.\"..\"]\ncommand = \"true\"\n",
        place: "proc.toml:1:",
        names: "..",
    },
];

#[test]
fn refused_with_the_place_and_the_key() {
    for case in CASES {
        refused(
            &Project::with(case.config),
            case.name,
            case.place,
            case.names,
        );
    }
}

#[test]
fn refused_when_it_is_no_configuration_at_all() {
    let binary = Project::new();
    binary.write("proc.toml", [0x7f, b'E', b'L', b'F', 0, 0xff, 0xfe]);
    refused(&binary, "a binary", "proc.toml", "UTF-8");

    let huge = Project::new();
    huge.write("proc.toml", "# filler\n".repeat(10 * 1024 * 1024 / 9));
    refused(&huge, "10 MB", "proc.toml", "4MiB");

    let directory = Project::new();
    std::fs::create_dir(directory.dir().join("proc.toml")).expect("a directory can be made");
    refused(&directory, "a directory", "proc.toml", "");
}

fn refused(project: &Project, name: &str, place: &str, names: &str) {
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, 2, "{name}: {}", up.stderr);
    assert!(
        up.stderr.contains(place) && up.stderr.contains(names),
        "{name}: wanted `{place}` and `{names}` in {}",
        up.stderr
    );
    assert!(
        !project.state().join("run/control.sock").exists(),
        "{name}: nothing was started"
    );
}

#[test]
fn a_second_up_is_refused_with_the_first_ones_pid() {
    let project = Project::with("[service.a]\ncommand = \"sleep 1000\"\n");
    project.ok(&["up", "-d"]);
    let pid = project.status()["supervisor"]["pid"].to_string();
    let second = project.run(&["up", "-d"]);
    assert_eq!(second.code, 1, "{}", second.stderr);
    assert!(
        second.stderr.contains(&pid) && second.stderr.contains("proc apply"),
        "{}",
        second.stderr
    );
}

#[test]
fn a_full_disk_at_start_is_a_clear_error_and_leaves_nothing() {
    if !is_root() {
        eprintln!("SKIPPED a_full_disk_at_start: mounting a tmpfs needs root");
        assert!(
            std::env::var_os("CI").is_none(),
            "a skip is a failure in CI"
        );
        return;
    }
    let project = Project::with("[service.a]\ncommand = \"sleep 1000\"\n");
    let _disk = FullDisk::mount(project.state());
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, 1, "{}", up.stderr);
    assert!(
        up.stderr.contains("No space left on device"),
        "{}",
        up.stderr
    );
    assert!(
        !project.state().join("run/control.sock").exists(),
        "nothing was left running"
    );
}

/// A tmpfs of 64 KiB without a free byte.
struct FullDisk(PathBuf);

impl FullDisk {
    fn mount(at: PathBuf) -> Self {
        std::fs::create_dir_all(&at).expect("the scratch directory is writable");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k,mode=700", "none"])
            .arg(&at)
            .status();
        assert!(mount.expect("mount is there").success());
        let filler = std::fs::write(at.join("filler"), vec![1u8; 128 * 1024]);
        assert!(filler.is_err(), "the disk is full");
        Self(at)
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let unmount = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(unmount.expect("umount is there").success());
    }
}

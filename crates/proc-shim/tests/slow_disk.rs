//! A disk that takes nothing stops no service under `on_full = "drop"`, and every byte is kept or counted.
//!
//! The disk is an ext4 on a loop device, frozen in the middle, in a private mount namespace: that takes
//! root and a loop device. Elsewhere the test says that it was skipped.

#![expect(clippy::print_stderr, reason = "a skip is said aloud")]
#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use proc_core::ProcessEnd;
use proc_output::read::{LogReader, Query};
use proc_output::{LogOptions, OnFull, Stream};
use proc_shim::{LaunchOptions, StartSpec};
use support::{Shim, sh};

const MARK: &str = "PROC_SHIM_TEST_DISK";
const BYTES: u64 = 20_000_000;

/// Returns the disk, inside; outside runs the named test inside, and returns nothing.
fn disk(test: &str) -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os(MARK) {
        return Some(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let mount = r#"cd "$1" && mkdir disk && truncate -s 64M image && mkfs.ext4 -q image && mount -o loop image disk \
        && fsfreeze -f disk && fsfreeze -u disk || exit 77
        trap 'fsfreeze -u disk 2>/dev/null; umount disk' EXIT
        shift; "$@""#;
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", mount, "sh"])
        .arg(dir.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(MARK, dir.path().join("disk"))
        .output()
        .unwrap();
    let code = output.status.code();
    if code == Some(77) || output.stderr.starts_with(b"unshare:") {
        eprintln!("SKIPPED {test}: no disk that can be frozen here: {output:?}");
    } else {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}");
    }
    None
}

/// A frozen file system; thawed again whatever happens.
struct Frozen<'a>(&'a Path);

impl<'a> Frozen<'a> {
    fn new(disk: &'a Path) -> Self {
        assert!(
            Command::new("fsfreeze")
                .arg("-f")
                .arg(disk)
                .status()
                .unwrap()
                .success()
        );
        Self(disk)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").arg("-u").arg(self.0).status();
    }
}

#[test]
fn a_frozen_disk_stops_no_service() {
    let Some(disk) = disk("a_frozen_disk_stops_no_service") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let go = home.path().join("go");
    support::make_fifo(&go);
    let options = LaunchOptions {
        instance: "web".to_owned(),
        dir: home.path().join("instances"),
        socket: home.path().join("web.sock"),
        log_dir: disk.join("log"),
        keep_session: false,
        scratch: None,
    };
    let mut shim = Shim::launch(home, options);
    let script = r#"echo begin; read x < "$GO"; yes 0123456789 | head -c 20000000; exit 3"#;
    let mut spec = StartSpec {
        log: LogOptions {
            on_full: OnFull::Drop,
            compress: false,
            ..LogOptions::default()
        },
        ..sh(script)
    };
    spec.env.push(("GO".into(), go.clone().into()));
    shim.start(spec.clone());
    let dropped = {
        let _frozen = Frozen::new(&disk);
        std::fs::write(&go, "x\n").unwrap();
        // Nothing of its 20 MB can be written; all the same it is done, and its end is told.
        let exited = shim.exited();
        assert_eq!(exited.end, Some(ProcessEnd::Exited(3)));
        assert_eq!(shim.tree_empty(), 1);
        let dropped = shim.status().dropped_bytes;
        assert_eq!(exited.stdout_offset + dropped, 6 + BYTES);
        assert!(dropped > BYTES / 2, "{dropped}");
        dropped
    };
    // The disk is back, and so is the log of the next run.
    spec.argv[2] = "echo again".into();
    shim.start(spec);
    shim.exited();
    let mut reader = LogReader::new();
    reader.add(&shim.options.log_dir, "web").unwrap();
    let mut raw = Vec::new();
    let kept = reader.copy_raw(Stream::Stdout, &mut raw).unwrap();
    assert_eq!(kept + dropped, 6 + BYTES + 6);
    assert!(raw.starts_with(b"begin\n0123456789\n") && raw.ends_with(b"again\n"));
    let verified = &reader.verify().unwrap()[0];
    assert_eq!(
        (verified.dropped_bytes, &verified.problems),
        (dropped, &Vec::new())
    );
    // The hole stands where it is, and is as large as it is.
    let entries = reader.entries(&Query::default()).unwrap();
    let entries: Vec<_> = entries.map(Result::unwrap).collect();
    let missing: u64 = entries.iter().map(|entry| entry.dropped_bytes).sum();
    assert_eq!(missing, dropped);
    let gap = entries.iter().position(|entry| entry.is_gap()).unwrap();
    assert!(entries[..gap].iter().map(|e| e.bytes.len()).sum::<usize>() > 64 * 1024);
    assert_eq!(entries.last().unwrap().text(), b"again");
}

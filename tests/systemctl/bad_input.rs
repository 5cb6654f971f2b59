//! Whatever is wrong is said clearly, and nothing waits for ever.

use std::error::Error;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use proc_backends::{Backend as _, SystemctlBackend, SystemctlOptions};
use proc_core::StopSequence;

use crate::bed::{Bed, foreign, spec};
use crate::run;

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(next) = source {
        text.push_str(": ");
        text.push_str(&next.to_string());
        source = next.source();
    }
    text
}

async fn refusal(bed: &Bed, options: SystemctlOptions, unit: &str) -> String {
    let backend = SystemctlBackend::new(options);
    let error = backend.start(foreign(bed, "x", unit)).await.unwrap_err();
    let text = chain(&error);
    assert!(!text.contains('\n'), "{text:?}");
    text
}

fn fake(bed: &Bed, script: &str) -> SystemctlOptions {
    let path = bed.path("fake");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    SystemctlOptions {
        systemctl: path.display().to_string(),
        ..bed.options()
    }
}

#[test]
fn each_failure_has_a_text_of_its_own() {
    let Some(bed) = Bed::up() else { return };
    bed.units(&[
        ("bad.service", "[Service]\nType=frob\n"),
        ("dies.service", "[Service]\nType=notify\nExecStart=/bin/sh -c 'exit 7'\n"),
        ("limited.service", "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1000\n[Service]\nExecStart=/bin/false\n"),
    ]);
    bed.systemctl(&["mask", "--runtime", "hidden.service"]);
    bed.systemctl(&["start", "limited"]);
    bed.until("limited", |facts| facts.active == "failed");
    run(async {
        let mut nobus = bed.options();
        nobus
            .env
            .insert("XDG_RUNTIME_DIR".into(), "/nonexistent".into());
        let missing = SystemctlOptions {
            systemctl: "/nonexistent/systemctl".into(),
            ..bed.options()
        };
        let hanging = SystemctlOptions {
            timeout: Duration::from_millis(300),
            ..fake(&bed, "sleep 1000")
        };
        for (unit, options, says) in [
            ("nosuch", bed.options(), "`nosuch.service` does not exist"),
            ("hidden", bed.options(), "is masked"),
            ("bad", bed.options(), "cannot be loaded"),
            (
                "dies",
                bed.options(),
                "`dies.service` did not start: exited with code 7",
            ),
            (
                "limited",
                bed.options(),
                "systemctl reset-failed limited.service",
            ),
            ("--user", bed.options(), "starts with `-`"),
            ("a\nb", bed.options(), "unit `a\\nb` is not valid"),
            ("x.socket", bed.options(), "not a service"),
            ("web", nobus, "no service manager to talk to"),
            ("web", missing, "`/nonexistent/systemctl` not found"),
            ("web", hanging, "did not answer within 0.3s"),
        ] {
            let begun = Instant::now();
            let text = refusal(&bed, options, unit).await;
            assert!(text.contains(says), "{unit:?}: {text}");
            assert!(begun.elapsed() < Duration::from_secs(30), "{unit:?}");
        }
        for (script, says) in [
            ("head -c 100000 /dev/urandom", "makes no sense"),
            ("exit 0", "makes no sense"),
            (
                "echo 'Failed to start x: Access denied' >&2; exit 4",
                "not allowed",
            ),
            ("kill -9 $$", "code 137"),
        ] {
            let text = refusal(&bed, fake(&bed, script), "web").await;
            assert!(text.contains(says), "{script:?}: {text}");
        }
    });
}

#[test]
fn a_unit_of_somebody_else_is_not_overwritten() {
    let Some(bed) = Bed::up() else { return };
    let theirs = "[Service]\nExecStart=/bin/true\n";
    bed.units(&[("shop-web.service", theirs)]);
    run(async {
        let (backend, _events) = bed.backend();
        let error = backend
            .start(spec(&bed, "web", &["true"], &[]))
            .await
            .unwrap_err();
        assert!(
            chain(&error).contains("takes precedence"),
            "{}",
            chain(&error)
        );
        let path = bed.unit_file("shop-web.service");
        assert_eq!(std::fs::read_to_string(path).unwrap(), theirs);
        let error = backend
            .stop("never-heard-of", StopSequence::default())
            .await
            .unwrap_err();
        assert!(error.to_string().contains("not known"), "{error}");
        for (key, value, says) in [
            ("host", "-oProxyCommand=x", "host"),
            ("sudo", "true", "sudo"),
            ("label", "x", "label"),
        ] {
            let error = backend
                .start(spec(&bed, "y", &["true"], &[(key, value)]))
                .await
                .unwrap_err();
            assert!(chain(&error).contains(says), "{}", chain(&error));
        }
    });
}

//! Daemons on this machine: keys that never collide, and readers that never delete.

use std::fs;
use std::process::Command;

use proc_core::{Identity, Liveness};
use proc_store::{RegisterError, Registration, Registry};

fn registry(dir: &tempfile::TempDir) -> Registry {
    Registry::open(dir.path().join("registry")).unwrap()
}

fn me(namespace: &str, name: &str) -> Registration {
    Registration::current(namespace, name).unwrap()
}

/// A registration of a process that has ended.
fn dead(name: &str) -> Registration {
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let identity = Identity::of(child.id()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    Registration {
        identity,
        ..me("supervisor", name)
    }
}

#[test]
fn keys_never_collide() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(&dir);
    let long = "/very/long".repeat(400);
    let (longer, longest) = (format!("{long}/a"), format!("{long}/b"));
    let keys = [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a", "b.c"),
        ("a.b", "c"),
        ("a", "b/c"),
        ("a", "b%2Fc"),
        ("a", "b~1"),
        ("a", "b"),
        ("", ""),
        ("a", "../../../etc/passwd"),
        ("a", "é\n\0"),
        ("a", &longer),
        ("a", &longest),
    ];
    for (namespace, name) in keys {
        registry.register(&me(namespace, name)).unwrap();
        registry.register(&me(namespace, name)).unwrap();
    }
    let listing = registry.list().unwrap();
    assert_eq!(
        (listing.daemons.len(), listing.unreadable.len()),
        (keys.len(), 0)
    );
    for (namespace, name) in keys {
        let found = registry.info(namespace, name).unwrap().expect(name);
        assert_eq!(found.registration, me(namespace, name));
    }
    for (namespace, name) in keys {
        assert!(registry.unregister(&me(namespace, name)).unwrap());
        assert!(!registry.unregister(&me(namespace, name)).unwrap());
    }
    assert_eq!(registry.list().unwrap().daemons.len(), 0);
}

#[test]
fn readers_and_pruning_leave_alone_what_they_cannot_parse() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(&dir);
    registry.register(&me("supervisor", "/alive")).unwrap();
    registry.register(&dead("/dead")).unwrap();
    let place = dir.path().join("registry");
    let strange: &[(&str, &str)] = &[
        ("half.json", "{\"format\":1,\"namesp"),
        ("newer.json", "{\"format\":9,\"other\":true}"),
        ("supervisor.%2Ftaken.json", "not json"),
        ("notes.txt", "a human's"),
    ];
    for (name, text) in strange {
        fs::write(place.join(name), text).unwrap();
    }
    registry.register(&me("supervisor", "/taken")).unwrap();
    let listing = registry.list().unwrap();
    let alive = |name: &str| {
        let daemon = listing
            .daemons
            .iter()
            .find(|daemon| daemon.registration.name == name);
        daemon.map(|daemon| matches!(daemon.liveness, Liveness::Alive { .. }))
    };
    assert_eq!(
        (alive("/alive"), alive("/dead"), alive("/taken")),
        (Some(true), Some(false), Some(true))
    );
    assert_eq!(listing.unreadable.len(), 3, "{:?}", listing.unreadable);

    let pruned: Vec<String> = registry
        .prune()
        .unwrap()
        .into_iter()
        .map(|daemon| daemon.name)
        .collect();
    assert_eq!(pruned, ["/dead"]);
    for (name, text) in strange {
        assert_eq!(
            fs::read_to_string(place.join(name)).unwrap(),
            *text,
            "untouched"
        );
    }
    assert_eq!(registry.list().unwrap().daemons.len(), 2);
    assert!(registry.prune().unwrap().is_empty());
}

#[test]
fn only_ones_own_entry_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(&dir);
    let mut other = Command::new("sleep").arg("60").spawn().unwrap();
    let theirs = Registration {
        identity: Identity::of(other.id()).unwrap(),
        ..me("supervisor", "/shop")
    };
    registry.register(&theirs).unwrap();
    let refused = registry
        .register(&me("supervisor", "/shop"))
        .expect_err("it lives");
    assert!(matches!(refused, RegisterError::Taken { pid, .. } if pid == other.id()));
    assert!(!registry.unregister(&me("supervisor", "/shop")).unwrap());
    other.kill().unwrap();
    other.wait().unwrap();
    registry
        .register(&me("supervisor", "/shop"))
        .expect("a dead one's place is free");
    assert!(
        !registry.unregister(&theirs).unwrap(),
        "it is somebody else's now"
    );
    let found = registry.info("supervisor", "/shop").unwrap().unwrap();
    assert_eq!(found.registration.identity.pid, std::process::id());
}

#[test]
fn many_at_once_lose_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(&dir);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..10 {
                    registry
                        .register(&me("test", &format!("{thread}/{n}")))
                        .unwrap();
                    let listing = registry.list().unwrap();
                    assert!(listing.unreadable.is_empty(), "{:?}", listing.unreadable);
                    registry.prune().unwrap();
                }
            });
        }
    });
    assert_eq!(registry.list().unwrap().daemons.len(), 80);
}

#[test]
fn a_registry_that_does_not_exist_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    let registry = Registry::at(dir.path().join("nowhere"));
    assert!(registry.list().unwrap().daemons.is_empty());
    assert!(registry.prune().unwrap().is_empty());
    assert!(!dir.path().join("nowhere").exists());
}

//! A supervisor that goes and another that comes: nothing is counted twice, started twice or lost.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::*;
use proc_core::ProcessEnd;
use proc_supervisor::{
    Handle, InstanceStatus, RequestError, StartError, StartOptions, State, StopOptions, Supervisor,
    WaitFor, offline,
};

async fn settled(handle: &Handle) -> proc_supervisor::Report {
    handle.wait(vec![], WaitFor::Settled, None).await.unwrap()
}

async fn instance(handle: &Handle, name: &str) -> InstanceStatus {
    let status = handle.status().await.unwrap();
    let mut all = status
        .services
        .into_iter()
        .flat_map(|service| service.instances);
    all.find(|instance| instance.name == name).unwrap()
}

fn quick(name: &str) -> proc_spec::ServiceSpec {
    let mut spec = service(name);
    spec.start_seconds = ms(1);
    spec.restart.initial_delay = ms(10);
    spec
}

#[tokio::test]
async fn what_lives_is_taken_over_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let first = up(&fake, dir.path(), vec![quick("web")]).await;
    assert!(settled(&first).await.ok());
    let before = instance(&first, "web").await;
    first.leave().await.unwrap();
    assert!(matches!(first.status().await, Err(RequestError::Gone)));

    let offline = offline::status(dir.path()).unwrap();
    assert!(offline.supervisor.is_none());

    let second = resume(&fake, dir.path(), vec![quick("web")]).await;
    let after = instance(&second, "web").await;
    assert_eq!(
        (after.pid, after.state, after.ready),
        (before.pid, State::Running, true)
    );
    assert_eq!(fake.starts_of("web").len(), 1);
}

#[tokio::test]
async fn an_exit_in_between_is_counted_once_and_the_policy_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut web = quick("web");
    web.restart.initial_delay = ms(200);
    let first = up(&fake, dir.path(), vec![web.clone()]).await;
    assert!(settled(&first).await.ok());
    first.leave().await.unwrap();
    fake.end("web", ProcessEnd::Exited(3)).await;

    let second = resume(&fake, dir.path(), vec![web.clone()]).await;
    assert!(settled(&second).await.ok());
    let web_now = instance(&second, "web").await;
    assert_eq!(web_now.restarts, 1);
    assert_eq!(
        web_now.last_exit.as_ref().and_then(|exit| exit.code),
        Some(3)
    );
    second.leave().await.unwrap();
    assert!(fake.is_acknowledged("web", 1));

    let third = resume(&fake, dir.path(), vec![web]).await;
    assert_eq!(instance(&third, "web").await.restarts, 1);
    third
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    let events = offline::events(dir.path(), 0).unwrap();
    let exits = events.iter().filter_map(|event| event.exit.as_ref());
    let codes: Vec<_> = exits
        .map(|exit| (exit.run, exit.code, exit.signal))
        .collect();
    assert_eq!(codes, [(Some(1), Some(3), None), (Some(2), None, Some(15))]);
}

#[tokio::test]
async fn no_run_begins_before_the_exit_before_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut services = Vec::new();
    for name in ["a", "b", "c"] {
        let mut service = quick(name);
        service.restart.mode = proc_policy::Mode::Always;
        service.restart.initial_delay = ms(0);
        service.restart.startup_max = None;
        service.restart.max = None;
        service.restart.crash_loop = None;
        let mut ends: Vec<_> = (0..20).map(|n| (ms(n % 3), 7)).collect();
        ends.push((secs(3600), 0));
        fake.behaves(
            name,
            Behaviour {
                ends,
                ..Behaviour::default()
            },
        );
        services.push(service);
    }
    fake.check_records(dir.path());
    let handle = up(&fake, dir.path(), services).await;
    let mut events = handle.events(Some(0)).await.unwrap();
    let mut exits = 0;
    while exits < 60 {
        exits += u32::from(events.next().await.unwrap().exit.is_some());
    }
    assert!(settled(&handle).await.ok());
    assert_eq!(fake.unrecorded(), []);
}

#[tokio::test]
async fn stopped_stays_stopped_and_down_forgets_it() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let both = || vec![quick("a"), quick("b")];
    let first = up(&fake, dir.path(), both()).await;
    assert!(settled(&first).await.ok());
    first
        .stop(names(&["b"]), StopOptions::default(), me("stop"))
        .await
        .unwrap();
    first.leave().await.unwrap();

    let second = up(&fake, dir.path(), both()).await;
    assert_eq!(instance(&second, "b").await.state, State::Stopped);
    assert!(fake.is_live("a") && !fake.is_live("b"));
    second
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    assert!(!fake.is_live("a"));
    let offline = offline::status(dir.path()).unwrap();
    assert!(
        offline
            .services
            .iter()
            .all(|service| service.state == State::Stopped)
    );

    let third = up(&fake, dir.path(), both()).await;
    assert!(settled(&third).await.ok());
    assert!(
        fake.is_live("a") && fake.is_live("b"),
        "after a completed down everything is wanted"
    );
}

#[tokio::test]
async fn what_has_failed_stays_failed_unless_somebody_starts_it() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    fake.behaves(
        "web",
        Behaviour {
            not_found: true,
            ..Behaviour::default()
        },
    );
    let mut web = quick("web");
    web.restart.startup_max = Some(0);
    let first = up(&fake, dir.path(), vec![web.clone()]).await;
    assert!(!settled(&first).await.ok());
    first.leave().await.unwrap();
    fake.behaves("web", Behaviour::default());
    let second = resume(&fake, dir.path(), vec![web.clone()]).await;
    assert_eq!(instance(&second, "web").await.state, State::Failed);
    second.leave().await.unwrap();
    let third = up(&fake, dir.path(), vec![web]).await;
    assert!(settled(&third).await.ok());
}

#[tokio::test]
async fn removed_services_are_stopped_and_changed_ones_restarted() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let first = up(
        &fake,
        dir.path(),
        vec![quick("same"), quick("env"), quick("gone")],
    )
    .await;
    assert!(settled(&first).await.ok());
    first.leave().await.unwrap();
    let told_before = offline::events(dir.path(), 0).unwrap().len() as u64;
    let mut changed = quick("env");
    changed.env.0.insert("A".to_owned(), "1".to_owned());
    let second = resume(&fake, dir.path(), vec![quick("same"), changed]).await;
    let mut events = second.events(Some(0)).await.unwrap();
    let mut wanted = vec![("gone", State::Stopped), ("env", State::Starting)];
    while !wanted.is_empty() {
        let event = events.next().await.unwrap();
        let told = (event.service.unwrap_or_default(), event.to);
        // What the first supervisor told of its own start is in the journal too.
        let again = event.seq > told_before;
        wanted.retain(|(name, to)| !(again && told == ((*name).to_owned(), Some(*to))));
    }
    assert!(settled(&second).await.ok());
    assert!(!fake.is_live("gone"));
    assert_eq!((fake.run("same"), fake.run("env")), (1, 2));
}

#[tokio::test]
async fn an_unreadable_record_is_set_aside_and_stops_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let first = up(&fake, dir.path(), vec![quick("a"), quick("b")]).await;
    assert!(settled(&first).await.ok());
    first.leave().await.unwrap();
    std::fs::write(dir.path().join("services/a.json"), b"\0garbage").unwrap();
    let second = resume(&fake, dir.path(), vec![quick("a"), quick("b")]).await;
    assert!(settled(&second).await.ok());
    let status = second.status().await.unwrap();
    assert!(
        status.degraded.iter().any(|line| line.contains("a.json")),
        "{:?}",
        status.degraded
    );
    assert_eq!(
        (fake.run("a"), fake.run("b")),
        (1, 1),
        "both were taken over"
    );
}

#[tokio::test]
async fn a_second_supervisor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let _first = up(&fake, dir.path(), vec![quick("web")]).await;
    let second = Supervisor::start(options(&fake, dir.path(), vec![quick("web")])).await;
    let Err(StartError::Lock(error)) = second else {
        panic!("refused")
    };
    assert!(
        error.to_string().contains(&std::process::id().to_string()),
        "{error}"
    );
}

#[tokio::test]
async fn a_disk_that_refuses_is_told_and_nothing_is_touched_or_lost() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let handle = up(&fake, dir.path(), vec![quick("web")]).await;
    assert!(settled(&handle).await.ok());
    let (services, aside) = (dir.path().join("services"), dir.path().join("aside"));
    std::fs::rename(&services, &aside).unwrap();
    std::fs::write(&services, b"").unwrap();
    let mut events = handle.events(None).await.unwrap();
    fake.end("web", ProcessEnd::Exited(3)).await;
    assert!(settled(&handle).await.ok());
    loop {
        let status = handle.status().await.unwrap();
        if status
            .degraded
            .iter()
            .any(|line| line.starts_with("state: "))
        {
            break;
        }
        tokio::task::yield_now().await;
    }
    std::fs::remove_file(&services).unwrap();
    std::fs::rename(&aside, &services).unwrap();
    let exit = loop {
        let event = events.next().await.unwrap();
        if event.exit.is_some() {
            break event;
        }
    };
    assert_eq!(exit.exit.and_then(|exit| exit.code), Some(3));
    handle
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    let all = offline::events(dir.path(), 0).unwrap();
    let numbers: Vec<u64> = all.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

/// A supervisor has started `web` and is gone, and the next one cannot tell whether it lives.
async fn in_doubt(fake: &Fake, dir: &std::path::Path) -> Handle {
    let first = up(fake, dir, vec![quick("web")]).await;
    assert!(settled(&first).await.ok());
    first.leave().await.unwrap();
    fake.doubt("web", true);
    let second = resume(fake, dir, vec![quick("web")]).await;
    let report = settled(&second).await;
    let message = &report.outcomes[0].message;
    assert!(!report.ok(), "{report:?}");
    for part in ["failed", "cannot tell", "pid 7", "it is dark", "make light"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    second
}

async fn start(handle: &Handle) -> proc_supervisor::Report {
    let options = StartOptions::default();
    handle
        .start(names(&["web"]), options, me("start"))
        .await
        .unwrap()
}

/// Makes light, and waits until `web` runs.
async fn running_again(fake: &Fake, handle: &Handle) -> InstanceStatus {
    let mut events = handle.events(None).await.unwrap();
    fake.doubt("web", false);
    while events.next().await.unwrap().to != Some(State::Running) {}
    instance(handle, "web").await
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_over_what_cannot_be_told() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let handle = in_doubt(&fake, dir.path()).await;
    let web = instance(&handle, "web").await;
    assert_eq!((web.state, web.pid), (State::Failed, None));
    let status = handle.status().await.unwrap();
    let told = |line: &String| line.contains("cannot tell");
    assert!(status.degraded.iter().any(told), "{:?}", status.degraded);
    // Asked for by hand it is looked for, and not started either.
    let report = start(&handle).await;
    assert!(!report.ok(), "{report:?}");
    tokio::time::sleep(secs(100)).await;
    assert_eq!(
        (fake.starts_of("web").len(), fake.is_live("web")),
        (1, true)
    );
    // Nor is it said to be down.
    let report = handle
        .stop(names(&["web"]), StopOptions::default(), me("stop"))
        .await
        .unwrap();
    assert_eq!(report.survivors.len(), 1, "{report:?}");
    let reason = instance(&handle, "web").await.reason;
    assert!(reason.contains("it cannot be told"), "{reason}");
    let report = start(&handle).await;
    assert!(!report.ok(), "{report:?}");

    let web = running_again(&fake, &handle).await;
    assert_eq!((fake.run("web"), fake.starts_of("web").len()), (1, 1));
    assert!(web.pid.is_some() && web.survivors.is_empty());
    let status = handle.status().await.unwrap();
    assert_eq!(status.degraded, [""; 0]);
    handle
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    assert!(!fake.is_live("web"));
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_told_and_has_ended_goes_on_by_policy() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let handle = in_doubt(&fake, dir.path()).await;
    fake.end_unseen("web");
    let web = running_again(&fake, &handle).await;
    assert_eq!((fake.run("web"), web.restarts), (2, 1));
    handle.leave().await.unwrap();
    let events = offline::events(dir.path(), 0).unwrap();
    let exits = events.iter().filter_map(|event| event.exit.as_ref()?.run);
    assert_eq!(exits.collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_project_names_what_cannot_be_told() {
    let (dir, fake) = (tempfile::tempdir().unwrap(), Fake::new());
    let handle = in_doubt(&fake, dir.path()).await;
    let report = handle
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    assert_eq!(report.survivors.len(), 1, "{report:?}");
}

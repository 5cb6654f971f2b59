//! The driver on a virtual clock: what is asked of the backend, when, and what is answered.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod common;

use common::*;
use proc_core::ProcessEnd;
use proc_spec::{ExitProject, Need, OnExit};
use proc_supervisor::{
    Desired, Event, Handle, PlanAction, RequestError, RestartOptions, StartOptions, State,
    StopOptions, WaitFor,
};

async fn state(handle: &Handle, name: &str) -> State {
    let status = handle.status().await.unwrap();
    status
        .services
        .iter()
        .find(|service| service.name == name)
        .unwrap()
        .state
}

async fn settled(handle: &Handle) -> proc_supervisor::Report {
    handle.wait(vec![], WaitFor::Settled, None).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_service_is_ready_after_its_start_seconds() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let begin = tokio::time::Instant::now();
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(settled(&handle).await.ok());
    assert_eq!(begin.elapsed(), secs(1));
    let status = handle.status().await.unwrap();
    let web = &status.services[0];
    assert_eq!(
        (web.state, web.ready, web.desired),
        (State::Running, true, Desired::Up)
    );
    let instance = &web.instances[0];
    assert_eq!(
        (instance.name.as_str(), instance.index, instance.restarts),
        ("web", 1, 0)
    );
    assert!(instance.pid.is_some() && instance.identity.is_some());
    let env = fake.spec("web").unwrap().env;
    for (name, value) in [
        ("PROC_NAME", "web"),
        ("PROC_SERVICE", "web"),
        ("PROC_INSTANCE", "1"),
    ] {
        assert!(env.contains(&(name.into(), value.into())), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_always_fails_backs_off_by_the_documented_numbers() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    fake.behaves(
        "web",
        Behaviour {
            ends: vec![(ms(40), 3)],
            ..Behaviour::default()
        },
    );
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    let report = settled(&handle).await;
    assert!(!report.ok());
    assert!(
        report.outcomes[0].message.contains("exit code 3"),
        "{report:?}"
    );
    let starts = fake.starts_of("web");
    let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // startup_max 3: three restarts after 0.5, 1 and 2 s, then it is given up.
    assert_eq!(gaps, [ms(540), ms(1040), ms(2040)]);
    let status = handle.status().await.unwrap();
    let web = &status.services[0].instances[0];
    assert_eq!((web.state, web.restarts), (State::Failed, 3));
    let exit = web.last_exit.as_ref().unwrap();
    assert_eq!(
        (exit.code, exit.signal, exit.runtime_ms),
        (Some(3), None, 40)
    );
}

#[tokio::test(start_paused = true)]
async fn a_start_by_hand_clears_the_limits() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    fake.behaves(
        "web",
        Behaviour {
            not_found: true,
            ..Behaviour::default()
        },
    );
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(
        settled(&handle).await.outcomes[0]
            .message
            .contains("not found")
    );
    assert_eq!(state(&handle, "web").await, State::Failed);
    fake.behaves("web", Behaviour::default());
    let started = handle
        .start(names(&["web"]), StartOptions::default(), me("start"))
        .await;
    assert!(started.unwrap().ok());
    let status = handle.status().await.unwrap();
    assert_eq!(status.services[0].instances[0].restarts, 0);
}

#[tokio::test(start_paused = true)]
async fn needs_hold_before_a_start_and_stops_wait_on_every_edge() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut api = service("api");
    api.needs.insert("db".to_owned(), Need::Ready);
    let mut web = service("web");
    web.needs.insert("api".to_owned(), Need::Ready);
    web.after.push("db".to_owned());
    fake.behaves(
        "web",
        Behaviour {
            stop_takes: secs(3),
            ..Behaviour::default()
        },
    );
    fake.behaves(
        "api",
        Behaviour {
            stop_takes: secs(2),
            ..Behaviour::default()
        },
    );
    let handle = up(&fake, dir.path(), vec![web, api, service("db")]).await;
    assert_eq!(state(&handle, "web").await, State::Pending);
    assert!(settled(&handle).await.ok());
    let start = |name| fake.starts_of(name)[0];
    assert_eq!(start("api") - start("db"), secs(1));
    assert_eq!(start("web") - start("api"), secs(1));

    let begin = tokio::time::Instant::now();
    let report = handle
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    assert!(report.ok());
    assert_eq!(begin.elapsed(), secs(5));
    let mut asked = fake.asked_in_words();
    asked.retain(|words| !words.starts_with("start") && !words.starts_with("forget"));
    assert_eq!(
        asked,
        [
            "stop web",
            "stopped web",
            "stop api",
            "stopped api",
            "stop db",
            "stopped db"
        ]
    );
    assert_eq!(handle.finished().await.code, 0);
    assert!(matches!(handle.status().await, Err(RequestError::Gone)));
}

#[tokio::test(start_paused = true)]
async fn lower_priorities_start_first() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut services = Vec::new();
    for (name, priority) in [("c", 30), ("a", 10), ("b", 20)] {
        let mut spec = service(name);
        spec.priority = priority;
        services.push(spec);
    }
    let handle = up(&fake, dir.path(), services).await;
    assert!(settled(&handle).await.ok());
    assert_eq!(fake.asked_in_words(), ["start a", "start b", "start c"]);
}

#[tokio::test(start_paused = true)]
async fn a_need_that_can_never_hold_is_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut web = service("web");
    web.needs.insert("job".to_owned(), Need::Completed);
    let mut job = service("job");
    job.restart.mode = proc_policy::Mode::Never;
    fake.behaves(
        "job",
        Behaviour {
            ends: vec![(secs(3), 1)],
            ..Behaviour::default()
        },
    );
    let handle = up(&fake, dir.path(), vec![web, job]).await;
    let report = settled(&handle).await;
    assert!(!report.ok());
    let web = report
        .outcomes
        .iter()
        .find(|outcome| outcome.name == "web")
        .unwrap();
    assert!(web.message.contains("needs `job` completed"), "{web:?}");
    assert!(fake.starts_of("web").is_empty());
}

#[tokio::test(start_paused = true)]
async fn concurrent_restarts_join_and_each_caller_gets_a_new_process() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    fake.behaves(
        "web",
        Behaviour {
            stop_takes: secs(1),
            ..Behaviour::default()
        },
    );
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(settled(&handle).await.ok());
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let (handle, fake) = (handle.clone(), fake.clone());
        callers.spawn(async move {
            tokio::time::sleep(ms(n * 100)).await;
            let before = fake.run("web");
            let options = RestartOptions::default();
            let report = handle
                .restart(names(&["web"]), options, me("restart"))
                .await
                .unwrap();
            assert!(report.ok(), "{report:?}");
            assert!(fake.run("web") > before);
        });
    }
    callers.join_all().await;
    let restarts = fake.starts_of("web").len() - 1;
    assert!(
        (1..=3).contains(&restarts),
        "{restarts} restarts for 20 callers"
    );
    let status = handle.status().await.unwrap();
    assert_eq!(
        status.services[0].instances[0].restarts, 0,
        "none by policy"
    );
}

#[tokio::test(start_paused = true)]
async fn survivors_are_reported_and_failed() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    fake.behaves(
        "web",
        Behaviour {
            immortal: true,
            ..Behaviour::default()
        },
    );
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(settled(&handle).await.ok());
    let report = handle
        .stop(vec![], StopOptions::default(), me("stop"))
        .await
        .unwrap();
    assert!(!report.ok());
    assert_eq!(report.survivors[0].comm, "immortal");
    let status = handle.status().await.unwrap();
    let web = &status.services[0].instances[0];
    assert_eq!(web.state, State::Failed);
    assert!(web.reason.starts_with("survivors"), "{}", web.reason);
    assert_eq!(web.survivors.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_service_can_be_the_end_of_the_project() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    fake.behaves(
        "job",
        Behaviour {
            ends: vec![(secs(5), 7)],
            ..Behaviour::default()
        },
    );
    let mut job = service("job");
    job.restart.mode = proc_policy::Mode::Never;
    job.exit_project = ExitProject::Always;
    let handle = up(&fake, dir.path(), vec![job, service("web")]).await;
    let finished = handle.finished().await;
    assert_eq!(
        (finished.code, finished.service.as_deref()),
        (7, Some("job"))
    );
    assert!(!fake.is_live("web"));
}

#[tokio::test(start_paused = true)]
async fn a_project_can_end_when_everything_has() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    for (name, code) in [("a", 0), ("b", 0)] {
        fake.behaves(
            name,
            Behaviour {
                ends: vec![(secs(5), code)],
                ..Behaviour::default()
            },
        );
    }
    let mut options = options(&fake, dir.path(), vec![service("a"), service("b")]);
    options.project.on_exit = OnExit::Stop;
    let handle = proc_supervisor::Supervisor::start(options).await.unwrap();
    assert_eq!(handle.finished().await.code, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lost_keeper_shows_as_unattended_until_it_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(settled(&handle).await.ok());
    let mut events = handle.events(None).await.unwrap();
    fake.lose("web").await;
    let lost = events.next().await.unwrap();
    assert_eq!(
        (lost.to, lost.cause.kind.as_str()),
        (Some(State::Unattended), "lost")
    );
    assert_eq!(lost.cause.detail.as_deref(), Some("the shim was killed"));
    assert_eq!(state(&handle, "web").await, State::Unattended);
    fake.recover("web").await;
    assert_eq!(events.next().await.unwrap().to, Some(State::Running));
    assert_eq!(fake.starts_of("web").len(), 1, "never a second copy");
}

#[tokio::test(start_paused = true)]
async fn scaling_adds_and_removes_instances() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut web = service("web");
    web.instances = 2;
    let handle = up(&fake, dir.path(), vec![web]).await;
    assert!(settled(&handle).await.ok());
    let scale = |n| handle.scale(vec![("web".to_owned(), n)], me("scale"));
    assert!(scale(3).await.unwrap().ok());
    assert!(fake.is_live("web-3"));
    assert!(scale(1).await.unwrap().ok());
    assert!(fake.is_live("web-1") && !fake.is_live("web-2") && !fake.is_live("web-3"));
    assert!(scale(0).await.unwrap().ok());
    let status = handle.status().await.unwrap();
    assert_eq!(status.services[0].name, "web", "the service stays");
    assert!(matches!(
        handle
            .scale(vec![("nope".to_owned(), 1)], me("scale"))
            .await,
        Err(RequestError::NoSuch(_))
    ));
}

#[tokio::test(start_paused = true)]
async fn applying_a_configuration_touches_only_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let services = || ["same", "env", "tuned", "gone"].map(service).to_vec();
    let handle = up(&fake, dir.path(), services()).await;
    assert!(settled(&handle).await.ok());
    assert!(handle.plan(project(services())).await.unwrap().is_empty());

    let mut changed = services();
    changed.retain(|service| service.name != "gone");
    changed[1].env.0.insert("A".to_owned(), "1".to_owned());
    changed[2].priority = 5;
    changed.push(service("new"));
    let plan = handle.plan(project(changed.clone())).await.unwrap();
    let words: Vec<_> = plan
        .iter()
        .map(|e| (e.service.as_str(), e.action))
        .collect();
    assert_eq!(
        words,
        [
            ("new", PlanAction::Start),
            ("env", PlanAction::Restart),
            ("tuned", PlanAction::Keep),
            ("gone", PlanAction::Stop)
        ]
    );
    assert_eq!(plan[1].changed, ["env.A"]);
    let (applied, report) = handle
        .apply(project(changed.clone()), me("apply"))
        .await
        .unwrap();
    assert_eq!(applied, plan);
    assert!(report.ok(), "{report:?}");
    assert_eq!(fake.run("same"), 1);
    assert_eq!(fake.run("tuned"), 1);
    assert_eq!(fake.run("env"), 2);
    assert!(fake.is_live("new") && !fake.is_live("gone"));
    assert!(handle.plan(project(changed)).await.unwrap().is_empty());
    let status = handle.status().await.unwrap();
    let names: Vec<_> = status
        .services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["same", "env", "tuned", "new"]);
}

#[tokio::test(start_paused = true)]
async fn an_invalid_configuration_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let handle = up(&fake, dir.path(), vec![service("a"), service("b")]).await;
    let mut unit = service("a");
    unit.unit = Some("nginx".to_owned());
    let error = handle.plan(project(vec![unit.clone()])).await.unwrap_err();
    assert!(matches!(error, RequestError::Config(_)), "{error}");
    let error = handle.apply(project(vec![unit]), me("apply")).await;
    assert!(matches!(error, Err(RequestError::Config(_))), "{error:?}");
    let (mut a, mut b) = (service("a"), service("b"));
    a.needs.insert("b".to_owned(), Need::Started);
    b.needs.insert("a".to_owned(), Need::Started);
    let refused = handle.apply(project(vec![a, b]), me("apply")).await;
    assert!(matches!(refused, Err(RequestError::Refused(_))));
}

#[tokio::test]
async fn every_event_has_a_number_and_every_exit_one_event() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut web = service("web");
    web.restart.initial_delay = ms(10);
    web.start_seconds = ms(1);
    let handle = up(&fake, dir.path(), vec![web.clone()]).await;
    let mut events = handle.events(Some(0)).await.unwrap();
    assert!(settled(&handle).await.ok());
    fake.end("web", ProcessEnd::Exited(3)).await;
    let mut seen: Vec<Event> = Vec::new();
    while !seen.iter().any(|e| e.exit.is_some()) || seen.last().unwrap().to != Some(State::Running)
    {
        seen.push(events.next().await.unwrap());
    }
    let numbers: Vec<u64> = seen.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    let exits: Vec<&Event> = seen.iter().filter(|event| event.exit.is_some()).collect();
    assert_eq!(exits.len(), 1);
    assert_eq!(
        (exits[0].from, exits[0].to),
        (Some(State::Running), Some(State::Backoff))
    );
    assert_eq!(
        (exits[0].cause.kind.as_str(), exits[0].delay_ms),
        ("exit", Some(10))
    );
    let first = seen
        .iter()
        .find(|event| event.to == Some(State::Starting))
        .unwrap();
    assert_eq!(
        first.cause.by.as_ref().map(|who| who.verb.as_str()),
        Some("up")
    );

    let why = handle.why("web".to_owned(), 100).await.unwrap();
    let detail = why
        .events
        .iter()
        .find_map(|event| event.exit.as_ref().and(event.cause.detail.clone()));
    assert!(
        detail.unwrap().contains("exit code 3; min("),
        "the arithmetic"
    );
    handle.leave().await.unwrap();

    // The next supervisor goes on counting where this one ended.
    let last = *numbers.last().unwrap();
    let handle = resume(&fake, dir.path(), vec![web]).await;
    let mut events = handle.events(Some(last)).await.unwrap();
    assert_eq!(events.next().await.unwrap().seq, last + 1);
    handle
        .down(StopOptions::default(), me("down"))
        .await
        .unwrap();
    let all = proc_supervisor::offline::events(dir.path(), 0).unwrap();
    let numbers: Vec<u64> = all.iter().map(|event| event.seq).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
}

async fn roll(handle: &Handle) -> proc_supervisor::Report {
    let options = RestartOptions {
        rolling: true,
        no_wait: false,
    };
    let restarted = handle.restart(names(&["web"]), options, me("restart"));
    restarted.await.unwrap()
}

/// What `status` shows of `web`: a name, whether it is ready, and its pid, per instance.
async fn shown(handle: &Handle) -> Vec<(String, bool, u32)> {
    let status = handle.status().await.unwrap();
    let instances = status.services[0].instances.iter();
    instances
        .map(|i| (i.name.clone(), i.ready, i.pid.unwrap_or(0)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_rolling_restart_ends_the_old_only_when_the_new_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(settled(&handle).await.ok());
    let before = shown(&handle).await;
    let (report, during) = tokio::join!(roll(&handle), async {
        tokio::time::sleep(ms(500)).await;
        (
            shown(&handle).await,
            fake.is_live("web"),
            fake.is_live("web~b"),
        )
    });
    assert!(report.ok(), "{report:?}");
    let new = fake.starts_of("web~b")[0];
    let end = fake.asked().into_iter().find(|a| a.what == "stop").unwrap();
    assert_eq!((end.at - new, end.instance.as_str()), (secs(1), "web"));
    assert_eq!(
        during,
        (before.clone(), true, true),
        "one is shown: the one that serves"
    );
    let after = shown(&handle).await;
    assert_eq!(after.len(), 1);
    assert!(after[0].1 && after[0].0 == "web" && after[0].2 != before[0].2);
    assert!(!fake.is_live("web") && fake.is_live("web~b"));
    // Nobody who follows `web` sees it down, and no exit is counted twice.
    let events = proc_supervisor::offline::events(dir.path(), 0).unwrap();
    let mut exits = std::collections::BTreeSet::new();
    for event in &events {
        if event.instance.as_deref() == Some("web") {
            assert_ne!(event.to, Some(State::Stopped), "{event:?}");
        }
        if let Some(exit) = &event.exit {
            assert!(exits.insert(exit.run), "{event:?}");
        }
    }
    let why = handle.why("web".to_owned(), 50).await.unwrap();
    assert!(why.events.iter().any(|e| {
        e.cause.kind == "rolling"
            && e.cause
                .detail
                .as_deref()
                .is_some_and(|d| d.contains("replaces pid"))
    }));

    // And back again: the first key is free.
    assert!(roll(&handle).await.ok());
    assert!(fake.is_live("web") && !fake.is_live("web~b"));
    assert!(
        handle
            .stop(vec![], StopOptions::default(), me("stop"))
            .await
            .unwrap()
            .ok()
    );
    assert!(!fake.is_live("web") && !fake.is_live("web~b"));
}

#[tokio::test(start_paused = true)]
async fn a_new_instance_that_does_not_become_ready_leaves_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut web = service("web");
    web.instances = 3;
    let handle = up(&fake, dir.path(), vec![web]).await;
    assert!(settled(&handle).await.ok());
    let before = shown(&handle).await;
    let bad = Behaviour {
        ends: vec![(ms(300), 3)],
        ..Behaviour::default()
    };
    fake.behaves("web-2~b", bad);
    let report = roll(&handle).await;
    let ok: Vec<bool> = report.outcomes.iter().map(|outcome| outcome.ok).collect();
    assert_eq!(ok, [true, false, false], "{report:?}");
    assert!(
        report.outcomes[1].message.contains("exit code 3"),
        "{report:?}"
    );
    let after = shown(&handle).await;
    assert_ne!(before[0].2, after[0].2);
    assert_eq!(before[1..], after[1..], "as they were");
    assert_eq!(fake.starts_of("web-2~b").len(), 1, "given up at once");
    let why = handle.why("web-2".to_owned(), 50).await.unwrap();
    let kept = |detail: &str| detail.starts_with("kept:") && detail.contains("exit code 3");
    let details = why.events.iter().filter_map(|e| e.cause.detail.as_deref());
    assert!(details.into_iter().any(kept), "{why:?}");
    let reason = why.service.instances[1].reason.clone();
    assert!(kept(&reason), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_both_sides_of_a_rolling_restart() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let handle = up(&fake, dir.path(), vec![service("web")]).await;
    assert!(settled(&handle).await.ok());
    let (rolled, stopped) = tokio::join!(roll(&handle), async {
        tokio::time::sleep(ms(500)).await;
        let options = StopOptions::default();
        handle
            .stop(names(&["web"]), options, me("stop"))
            .await
            .unwrap()
    });
    assert!(stopped.ok(), "{stopped:?}");
    assert!(!rolled.ok(), "{rolled:?}");
    assert!(!fake.is_live("web") && !fake.is_live("web~b"));
    tokio::time::sleep(secs(60)).await;
    assert_eq!(state(&handle, "web").await, State::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_follows_ends_what_a_rolling_restart_left() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let web = || {
        let mut web = service("web");
        web.start_seconds = secs(1000);
        web
    };
    let handle = up(&fake, dir.path(), vec![web()]).await;
    assert!(settled(&handle).await.ok());
    assert!(roll(&handle).await.ok());
    let options = RestartOptions {
        rolling: true,
        no_wait: true,
    };
    handle
        .restart(names(&["web"]), options, me("restart"))
        .await
        .unwrap();
    tokio::time::sleep(secs(100)).await;
    assert!(fake.is_live("web") && fake.is_live("web~b"));
    let pid = shown(&handle).await[0].2;
    handle.leave().await.unwrap();
    let handle = resume(&fake, dir.path(), vec![web()]).await;
    assert!(settled(&handle).await.ok());
    tokio::time::sleep(secs(5)).await;
    assert_eq!(shown(&handle).await, [("web".to_owned(), true, pid)]);
    assert!(!fake.is_live("web") && fake.is_live("web~b"));
}

#[tokio::test(start_paused = true)]
async fn a_restart_budget_spreads_restarts_that_nobody_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let all: Vec<String> = (0..6).map(|n| format!("s{n}")).collect();
    let mut options = options(
        &fake,
        dir.path(),
        all.iter().map(|name| service(name)).collect(),
    );
    options.project.restart_budget = Some(proc_policy::BucketRate {
        burst: 2,
        every: secs(10),
    });
    let handle = proc_supervisor::Supervisor::start(options).await.unwrap();
    assert!(
        settled(&handle).await.ok(),
        "a start by hand needs no budget"
    );
    let begin = tokio::time::Instant::now();
    for name in &all {
        fake.end(name, ProcessEnd::Exited(1)).await;
    }
    tokio::time::sleep(secs(1)).await;
    let status = handle.status().await.unwrap();
    let waiting: Vec<_> = status
        .services
        .iter()
        .flat_map(|service| &service.instances)
        .filter(|instance| instance.state == State::Pending)
        .collect();
    assert_eq!(waiting.len(), 4);
    for instance in waiting {
        assert!(
            instance.reason.starts_with("restart budget of the project"),
            "{instance:?}"
        );
        assert!(instance.retry_at.is_some());
    }
    // A start by hand clears every limit.
    let by_hand = handle.start(names(&["s5"]), StartOptions::default(), me("start"));
    assert!(by_hand.await.unwrap().ok());
    assert!(settled(&handle).await.ok());
    let mut again: Vec<u64> = all
        .iter()
        .map(|name| (fake.starts_of(name)[1] - begin).as_millis())
        .map(|ms| u64::try_from(ms).unwrap())
        .collect();
    again.sort_unstable();
    assert_eq!(again, [500, 500, 1000, 10500, 20500, 30500]);
    let why = handle.why("s4".to_owned(), 50).await.unwrap();
    assert!(why.events.iter().any(|event| event.cause.kind == "budget"));
}

#[tokio::test(start_paused = true)]
async fn a_run_is_replaced_at_its_greatest_age() {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut web = service("web");
    web.max_age = Some(secs(100));
    let handle = up(&fake, dir.path(), vec![web]).await;
    tokio::time::sleep(secs(150)).await;
    let starts = fake.starts_of("web");
    assert_eq!(starts.len(), 2);
    assert_eq!(starts[1] - starts[0], secs(100));
    assert_eq!(state(&handle, "web").await, State::Running);
    let why = handle.why("web".to_owned(), 50).await.unwrap();
    assert!(why.events.iter().any(|event| event.cause.kind == "max_age"));
    assert_eq!(why.service.instances[0].restarts, 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_due_again_is_skipped_or_replaced() {
    use proc_spec::Overlap;
    for (overlap, more) in [(Overlap::Forbid, false), (Overlap::Replace, true)] {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::new();
        let mut job = service("job");
        job.schedule = Some("* * * * *".parse().unwrap());
        job.oneshot = true;
        job.overlap = overlap;
        // It starts at full minutes and never ends by itself.
        let _handle = up(&fake, dir.path(), vec![job]).await;
        tokio::time::sleep(secs(185)).await;
        let starts = fake.starts_of("job");
        assert_eq!(starts.len() > 2, more, "{overlap:?}");
        assert!(starts.windows(2).all(|pair| {
            let gap = pair[1] - pair[0];
            gap > ms(59_900) && gap < ms(60_100)
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn jobs_that_may_overlap_run_beside_each_other() {
    use proc_spec::Overlap;
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut job = service("job");
    job.schedule = Some("* * * * *".parse().unwrap());
    job.oneshot = true;
    job.overlap = Overlap::Allow;
    // Each takes two and a half minutes.
    for name in ["job", "job~2", "job~3", "job~4"] {
        let ends = vec![(secs(150), 0)];
        fake.behaves(
            name,
            Behaviour {
                ends,
                ..Behaviour::default()
            },
        );
    }
    let handle = up(&fake, dir.path(), vec![job]).await;
    tokio::time::sleep(secs(60 * 10 + 5)).await;
    let status = handle.status().await.unwrap();
    let running = |i: &&proc_supervisor::InstanceStatus| i.state == State::Running;
    let instances = &status.services[0].instances;
    assert!(
        (2..=3).contains(&instances.iter().filter(running).count()),
        "{instances:?}"
    );
    let all: Vec<_> = fake
        .asked()
        .into_iter()
        .filter(|a| a.what == "start")
        .collect();
    // Ten minutes and five seconds hold ten full minutes, or eleven.
    assert!((10..=11).contains(&all.len()), "one a minute: {all:?}");
    assert!(
        fake.asked().iter().any(|a| a.what == "forget"),
        "what has ended goes"
    );
    let report = handle.down(Default::default(), me("down")).await.unwrap();
    assert!(report.ok(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_depends_on_a_service_may_follow_its_restart() {
    use proc_spec::OnRestart;
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let dependent = |name: &str, on_restart| {
        let mut spec = service(name);
        spec.needs.insert("db".to_owned(), Need::Ready);
        spec.on_restart = on_restart;
        spec
    };
    let services = vec![
        service("db"),
        dependent("keeps", OnRestart::Keep),
        dependent("follows", OnRestart::Restart),
        dependent("stops", OnRestart::Stop),
    ];
    let handle = up(&fake, dir.path(), services).await;
    assert!(settled(&handle).await.ok());
    fake.end("db", ProcessEnd::Exited(1)).await;
    handle
        .wait(names(&["stops"]), WaitFor::Stopped, None)
        .await
        .unwrap();
    let wait = handle.wait(names(&["db", "keeps", "follows"]), WaitFor::Ready, None);
    assert!(wait.await.unwrap().ok());
    assert_eq!(
        (fake.run("keeps"), fake.run("follows"), fake.run("stops")),
        (1, 2, 1)
    );
    assert!(
        fake.starts_of("follows")[1] > fake.starts_of("db")[1],
        "after what it needs"
    );
}

/// OTP's `supervisor` manual: which of the children a, b, c begins anew when one ends.
#[tokio::test(start_paused = true)]
async fn group_strategies_follow_otps_truth_table() {
    use proc_spec::{Group, Strategy};
    let table = [
        (Strategy::OneForOne, "a", "a"),
        (Strategy::OneForOne, "b", "b"),
        (Strategy::OneForOne, "c", "c"),
        (Strategy::OneForAll, "a", "abc"),
        (Strategy::OneForAll, "b", "abc"),
        (Strategy::OneForAll, "c", "abc"),
        (Strategy::RestForOne, "a", "abc"),
        (Strategy::RestForOne, "b", "bc"),
        (Strategy::RestForOne, "c", "c"),
    ];
    for (strategy, ends, anew) in table {
        let dir = tempfile::tempdir().unwrap();
        let fake = Fake::new();
        let all = ["a", "b", "c"];
        let mut options = options(&fake, dir.path(), all.map(service).to_vec());
        let group = Group {
            members: names(&all),
            strategy,
            restart_budget: None,
        };
        options.project.groups.insert("all".to_owned(), group);
        let handle = proc_supervisor::Supervisor::start(options).await.unwrap();
        assert!(settled(&handle).await.ok());
        fake.end(ends, ProcessEnd::Exited(1)).await;
        tokio::time::sleep(secs(5)).await;
        assert!(settled(&handle).await.ok());
        for name in all {
            let runs = if anew.contains(name) { 2 } else { 1 };
            assert_eq!(fake.run(name), runs, "{strategy:?}: {ends} ends, {name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_has_a_budget_of_its_own() {
    use proc_spec::{Group, Strategy};
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let all = ["a", "b", "c", "other"];
    let mut options = options(&fake, dir.path(), all.map(service).to_vec());
    let group = Group {
        members: names(&["a", "b", "c"]),
        strategy: Strategy::OneForOne,
        restart_budget: Some(proc_policy::BucketRate {
            burst: 1,
            every: secs(20),
        }),
    };
    options.project.groups.insert("few".to_owned(), group);
    let handle = proc_supervisor::Supervisor::start(options).await.unwrap();
    assert!(settled(&handle).await.ok());
    let begin = tokio::time::Instant::now();
    for name in all {
        fake.end(name, ProcessEnd::Exited(1)).await;
    }
    tokio::time::sleep(secs(50)).await;
    let again = |name: &str| (fake.starts_of(name)[1] - begin).as_secs();
    let mut members = ["a", "b", "c"].map(again);
    members.sort_unstable();
    assert!(members[0] < 1 && again("other") < 1, "{members:?}");
    assert!(
        (20..21).contains(&members[1]) && (40..41).contains(&members[2]),
        "{members:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_can_restart_as_one() {
    use proc_spec::{Group, Strategy};
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::new();
    let mut options = options(&fake, dir.path(), ["a", "b", "c"].map(service).to_vec());
    let group = Group {
        members: names(&["a", "b", "c"]),
        strategy: Strategy::RestForOne,
        restart_budget: None,
    };
    options.project.groups.insert("all".to_owned(), group);
    let handle = proc_supervisor::Supervisor::start(options).await.unwrap();
    assert!(settled(&handle).await.ok());
    fake.end("b", ProcessEnd::Exited(1)).await;
    tokio::time::sleep(secs(5)).await;
    assert!(settled(&handle).await.ok());
    assert_eq!((fake.run("a"), fake.run("b"), fake.run("c")), (1, 2, 2));
    let stopped = handle
        .stop(names(&["@all"]), StopOptions::default(), me("stop"))
        .await;
    assert!(stopped.unwrap().ok());
    assert!(!fake.is_live("a") && !fake.is_live("b") && !fake.is_live("c"));
}

//! A program that always fails goes through `backoff` to `failed` by the documented numbers.

use proc_tests::Project;

#[test]
fn up_names_the_service_that_gave_up_with_its_last_lines() {
    let project = Project::with(
        r#"
        [service.broken]
        command = "echo cannot open the vault; exit 3"
        restart = { mode = "on-failure", initial_delay = "100ms", jitter = "none" }
        "#,
    );
    let up = project.run(&["up", "-d"]);
    assert_eq!(up.code, 1, "{}", up.stderr);
    assert!(
        up.stderr.contains("broken") && up.stderr.contains("cannot open the vault"),
        "{}",
        up.stderr
    );

    let broken = project.instance("broken");
    assert_eq!(broken["state"], "failed", "{broken:#}");
    assert_eq!(broken["last_exit"]["code"], 3, "{broken:#}");

    // Four fast failures give up: one start and startup_max = 3 restarts, 100 ms doubling.
    let events = project.events();
    let delays: Vec<u64> = events
        .iter()
        .filter(|e| e["to"] == "backoff")
        .filter_map(|e| e["delay_ms"].as_u64())
        .collect();
    assert_eq!(delays, [100, 200, 400], "{events:#?}");
    let exits = events.iter().filter(|e| e["exit"]["code"] == 3).count();
    assert_eq!(exits, 4, "exactly one event carries each exit: {events:#?}");
}

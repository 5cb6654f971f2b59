//! Runs a phase with a hook that fails and is ignored, and one that works.

use proc_hooks::{Hook, HookContext, Hooks, OnFailure, Phase, Runner};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hooks = Hooks {
        pre_start: vec![
            Hook {
                on_failure: OnFailure::Ignore,
                ..Hook::new("warm", "exit 3")
            },
            Hook::new("migrate", "test $PROC_HOOK_NAME = migrate"),
        ],
        ..Hooks::default()
    };
    assert!(hooks.validate().is_ok());
    let context = HookContext {
        name: "web-1".into(),
        cwd: "/".into(),
        env: std::env::vars_os().collect(),
    };
    let outcome = proc_hooks::block_on(async {
        let (runner, _outcomes) = Runner::new();
        let outcome = runner
            .run(Phase::PreStart, hooks.phase(Phase::PreStart), &context)
            .await;
        runner.finish().await;
        outcome
    })?;
    println!("{outcome}");
    assert!(outcome.success());
    Ok(())
}

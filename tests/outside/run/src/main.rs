//! Runs a command that takes too long, a bash script, and a pipeline.

use std::time::Duration;

use proc_run::{Command, Pipeline, PipelineOptions, Run, Script, Task};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    proc_run::block_on(async {
        let slow = Command::shell("echo begun; sleep 1000 & wait");
        let finished = Run::new(slow)
            .timeout(Duration::from_millis(300))
            .run()
            .await?;
        assert_eq!(finished.exit_code(), 124);
        let script = Script::text("false | true; echo not reached")
            .strict(true)
            .inline(true);
        assert!(!script.run().await?.success());
        let tasks = vec![
            Task::shell("build", "exit 1"),
            Task::shell("test", "true").after(["build"]),
        ];
        let pipeline = Pipeline::new(tasks).map_err(|errors| format!("{errors:?}"))?;
        let options = PipelineOptions::default();
        let outcome = pipeline.run(&options, std::future::pending(), |_| {}).await;
        assert_eq!((outcome.failed, outcome.skipped), (1, 1));
        Ok(())
    })?
}

//! The side of `proc`: one project with a service for each case.

use proc_tests::{Events, Project};

use crate::Rival;
use crate::case::{Case, End, Stage};

struct Ours {
    project: Project,
}

/// Starts every case under a profile of ours.
pub(crate) fn start(profile: &str, cases: &[Case]) -> (Box<dyn Rival>, Vec<Stage>) {
    let project = Project::new();
    let stages: Vec<Stage> = cases
        .iter()
        .map(|case| Stage::set(project.dir(), case))
        .collect();
    let services = cases.iter().zip(&stages).map(|(case, stage)| {
        let comma = if case.ours.is_empty() { "" } else { ", " };
        format!(
            "[service.{}]\nargv = [\"{}/run\"]\nrestart = {{ profile = \"{profile}\"{comma}{} }}\n",
            case.name,
            stage.dir().display(),
            case.ours
        )
    });
    project.write("proc.toml", services.collect::<String>());
    // Some of them fail, which `up` says with code 1.
    let up = project.run(&["up", "-d"]);
    assert!(matches!(up.code, 0 | 1), "{up:?}");
    (Box::new(Ours { project }), stages)
}

impl Rival for Ours {
    fn end_of(&mut self, case: &Case, stage: &Stage) -> End {
        if case.end == End::Stays {
            assert_eq!(stage.told(), "stays");
            return End::Stays;
        }
        let ends = |event: &serde_json::Value| {
            event["service"] == case.name
                && matches!(event["to"].as_str(), Some("exited" | "failed"))
        };
        let end = Events::after(&self.project, 0).find(ends);
        match end.expect("the events go on")["to"].as_str() {
            Some("exited") => End::Exited,
            _ => End::GaveUp,
        }
    }
}

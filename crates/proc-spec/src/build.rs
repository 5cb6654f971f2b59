//! Specs made by a program instead of a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::command::Command;
use crate::decode::Cx;
use crate::places::Places;
use crate::raw::{OnExit, RawService};
use crate::service::{Given, service};
use crate::source::Origin;
use crate::spec::{Environment, Format, Project, ServiceSpec};

impl ServiceSpec {
    /// Returns a service with every default that a `proc.toml` would give it.
    ///
    /// The name is not checked here; [`check_name`](crate::check_name) does.
    #[must_use]
    pub fn new(name: &str, command: Command, cwd: &Path) -> Self {
        let mut cx = Cx::default();
        // What is missing in an empty table (the command) is reported there, and filled in here.
        cx.sources.add(PathBuf::from("-"), String::new());
        let given = Given {
            name,
            at: Origin::default(),
            dir: cwd,
            env: BTreeMap::new(),
            port: None,
            scale: None,
        };
        let defaults = service(&RawService::default(), given, &mut cx);
        Self {
            command: Some(command),
            ..defaults
        }
    }
}

impl Project {
    /// Returns a project of one service, which it is named after.
    #[must_use]
    pub fn single(service: ServiceSpec) -> Self {
        Self {
            name: service.name.clone(),
            dir: service.cwd.clone(),
            files: Vec::new(),
            format: Format::Toml,
            env: Environment::default(),
            services: vec![service],
            groups: BTreeMap::new(),
            on_exit: OnExit::Stop,
            restart_budget: None,
            warnings: Vec::new(),
            places: Arc::new(Places::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Loader;

    #[test]
    fn a_built_service_is_the_one_a_file_would_give() {
        let dir = tempfile::tempdir().expect("a temp dir");
        std::fs::write(
            dir.path().join("proc.toml"),
            "[service.web]\ncommand = 'sleep 1'\n",
        )
        .expect("writable");
        let project = Loader::new(dir.path(), BTreeMap::new())
            .load()
            .expect("a good file");
        let loaded = project.service("web").expect("it is in the file");
        let command = Command::parse("sleep 1").expect("a good command");
        assert_eq!(ServiceSpec::new("web", command, &loaded.cwd), *loaded);
    }
}

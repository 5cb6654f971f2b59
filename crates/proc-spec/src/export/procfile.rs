//! Procfiles.

use super::{ExportLoss, Exported, losses};
use crate::command::{Command, join};
use crate::spec::Project;

pub(crate) fn export(project: &Project) -> Exported {
    let mut text = String::new();
    let mut lost = Vec::new();
    for service in &project.services {
        let mut lose = |key: &str, why: &str| {
            lost.push(ExportLoss {
                service: service.name.clone(),
                key: key.to_owned(),
                why: why.to_owned(),
            });
        };
        let line = match &service.command {
            Some(Command::Argv(argv)) => join(argv),
            Some(Command::Shell(line)) => line.clone(),
            Some(command @ Command::Script(_)) => join(&command.argv()),
            None => String::new(),
        };
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if line.is_empty() || line.contains('\n') {
            lose("command", "left out: a process is one line of a shell");
        } else if !service.name.bytes().all(good) {
            lose(
                "name",
                "left out: the name of a process has letters, digits, `_` and `-`",
            );
        } else {
            text.push_str(&format!("{}: {line}\n", service.name));
        }
        lost.extend(losses(
            service,
            &["restart.mode", "exit_project", "port"],
            "a Procfile has commands only",
        ));
    }
    Exported {
        files: vec![("Procfile".to_owned(), text)],
        losses: lost,
    }
}

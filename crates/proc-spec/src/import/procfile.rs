//! Procfiles.

use std::path::Path;

use toml::Table;

use super::draft::{Draft, literal, name, put};
use super::{ImportError, Imported, nothing, read_file};
use crate::decode::Cx;

pub(crate) fn import(path: &Path) -> Result<Imported, ImportError> {
    let text = read_file(path)?;
    let mut cx = Cx::default();
    let source = cx.sources.add(path.to_owned(), text);
    let (root, names) = crate::procfile::parse(source, &mut cx);
    if let Some(error) = cx.errors.into_iter().next() {
        return Err(ImportError {
            file: error.file,
            line: error.at.line,
            message: error.message,
        });
    }
    if names.is_empty() {
        return Err(nothing(path, "line of `name: command`"));
    }
    let mut draft = Draft::default();
    draft.project("on_exit", "stop");
    if path.parent().is_some_and(|dir| dir.join(".env").is_file()) {
        draft.project("env_file", vec![".env"]);
    }
    let services = root.get("service").and_then(|node| node.as_table());
    for (index, process) in (0_u16..).zip(&names) {
        let command =
            services.and_then(|table| table.get(process)?.as_table()?.get("command")?.as_str());
        let mut service = Table::new();
        put(
            &mut service,
            &["command"],
            literal(command.unwrap_or_default()),
        );
        let port = crate::procfile::BASE_PORT
            .saturating_add(crate::procfile::PORT_STEP.saturating_mul(index));
        put(&mut service, &["env", "PORT"], port.to_string());
        put(
            &mut service,
            &["env", "PS"],
            format!("{process}.${{PROC_INSTANCE}}"),
        );
        put(&mut service, &["restart", "mode"], "never");
        put(&mut service, &["exit_project"], "always");
        draft.add(name(process), service);
        if index == 0 {
            draft.lose(
                path,
                1,
                "PORT",
                "a fixed number here; in a Procfile each further instance adds 1",
            );
        }
    }
    Ok(draft.finish())
}

//! Procfiles: lines of `name: command`, as foreman reads them.

use crate::decode::Cx;
use crate::node::{Node, Table, Text, Value};
use crate::source::Origin;

/// The port of the first process unless the environment names another.
pub(crate) const BASE_PORT: u16 = 5000;
/// How far the ports of two processes are apart.
pub(crate) const PORT_STEP: u16 = 100;

/// Reads a Procfile already stored in the sources as the `service` table that a `proc.toml` would have. Lines that are
/// no process are ignored; returns the names in order.
pub(crate) fn parse(source: usize, cx: &mut Cx) -> (Table, Vec<String>) {
    let text = cx.sources.list[source].text.clone();
    let mut services = Table::default();
    let mut names = Vec::new();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let at = Origin { source, offset };
        offset += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        let Some((name, command)) = process(line) else {
            continue;
        };
        if services.entry(name).is_some() {
            cx.path = vec!["service".to_owned(), name.to_owned()];
            cx.fail(at, format!("`{name}` is already a process of this file"));
            cx.path.clear();
            continue;
        }
        names.push(name.to_owned());
        let command_at = Origin {
            offset: at.offset + (line.len() - command.len()),
            ..at
        };
        services.set(name, at, service(at, command, command_at));
    }
    let at = Origin { source, offset: 0 };
    let mut root = Table::default();
    root.set("service", at, Node::new(Value::Table(services), at));
    (root, names)
}

/// `^([A-Za-z0-9_-]+):\s*(.+)$`
fn process(line: &str) -> Option<(&str, &str)> {
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    let (name, command) = line.split_once(':')?;
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    let command = command.trim_start();
    (!name.is_empty() && name.bytes().all(good) && !command.is_empty()).then_some((name, command))
}

fn service(at: Origin, command: &str, command_at: Origin) -> Node {
    let text = |text: &str, at| Node {
        value: Value::String(text.to_owned()),
        at,
        text: Text::Literal,
    };
    let mut restart = Table::default();
    restart.set("mode", at, text("never", at));
    let mut table = Table::default();
    table.set("command", command_at, text(command, command_at));
    table.set("restart", at, Node::new(Value::Table(restart), at));
    table.set("exit_project", at, text("always", at));
    Node::new(Value::Table(table), at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        for (line, expected) in [
            ("web: ./web -p $PORT", Some(("web", "./web -p $PORT"))),
            ("web:./web", Some(("web", "./web"))),
            ("a_b-1:   x: y", Some(("a_b-1", "x: y"))),
            ("# web: x", None),
            ("web x", None),
            ("web:", None),
            ("web:   ", None),
            ("we b: x", None),
            (" web: x", None),
            ("", None),
        ] {
            assert_eq!(process(line), expected, "{line}");
        }
    }

    #[test]
    fn a_name_twice_is_an_error_with_its_line() {
        let mut cx = Cx::default();
        let source = cx
            .sources
            .add("Procfile".into(), "web: a\r\n\r\nweb: b\n".into());
        let (_, names) = parse(source, &mut cx);
        assert_eq!(names, ["web"]);
        assert_eq!(
            cx.errors[0].to_string(),
            "Procfile:3:1: service.web: `web` is already a process of this file"
        );
    }
}

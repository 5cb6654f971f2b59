//! The variables of a service, layer over layer: files below tables, the project below the service.

use std::path::Path;

use crate::decode::{At, Cx, Decode, Named, OneOrMore, Scalar};
use crate::env_file::parse_env_file;
use crate::expand::{Scope, expand_node};
use crate::interpolate::Syntax;
use crate::node::Table;
use crate::source::{Origin, read};

/// Lays the `env_file` and the `env` of a table over `scope`, and takes them out of the table.
pub(crate) fn add_layer(table: &mut Table, dir: &Path, scope: &mut Scope<'_>, cx: &mut Cx) {
    if let Some(mut entry) = table.remove("env_file") {
        cx.at("env_file", |cx| {
            expand_node(&mut entry.node, Syntax::Config, scope, cx);
            let files = OneOrMore::decode(&entry.node, cx).unwrap_or_default();
            for file in files.0 {
                add_file(&file, dir, scope, cx);
            }
        });
    }
    if let Some(mut entry) = table.remove("env") {
        cx.at("env", |cx| {
            let Named(pairs) = Named::<Scalar>::decode(&entry.node, cx).unwrap_or_default();
            let crate::node::Value::Table(table) = &mut entry.node.value else {
                return;
            };
            for (key, value) in pairs {
                cx.at(&key, |cx| {
                    check_key(&key, key.at, cx);
                    let Some(entry) = table
                        .entries
                        .iter_mut()
                        .find(|entry| entry.key == key.value)
                    else {
                        return;
                    };
                    expand_node(&mut entry.node, Syntax::Config, scope, cx);
                    let value = entry.node.as_str().map_or(value.0, str::to_owned);
                    scope.set.insert(key.value.clone(), value);
                });
            }
        });
    }
}

/// Checks that a variable can be set by a configuration.
pub(crate) fn check_key(key: &str, at: Origin, cx: &mut Cx) {
    if key.is_empty() || key.contains(['=', '\0']) {
        cx.fail(
            at,
            format!("`{}` is not the name of a variable", key.escape_debug()),
        );
    } else if key.starts_with("PROC_") {
        let hint = Some("names starting with `PROC_` are set by proc".to_owned());
        cx.fail_hint(
            at,
            format!("`{key}` cannot be set by a configuration"),
            hint,
        );
    }
}

fn add_file(file: &At<String>, dir: &Path, scope: &mut Scope<'_>, cx: &mut Cx) {
    if file.is_empty() {
        return cx.fail(file.at, "is empty, expected a path");
    }
    let shown = Path::new(&file.value);
    let source = match cx
        .sources
        .list
        .iter()
        .position(|source| source.shown == shown)
    {
        Some(source) => source,
        None => match read(&dir.join(shown), shown) {
            Ok(text) => cx.sources.add(shown.to_owned(), text),
            Err(error) => {
                let message = format!("environment file `{}` {}", shown.display(), error.message);
                return cx.fail(file.at, message);
            }
        },
    };
    let text = cx.sources.list[source].text.clone();
    match parse_env_file(&text, |name| scope.get(name)) {
        Ok(lines) => {
            for line in lines {
                check_key(
                    &line.key,
                    Origin {
                        source,
                        offset: line.offset,
                    },
                    cx,
                );
                scope.set.insert(line.key, line.value);
            }
        }
        Err(error) => cx.fail(
            Origin {
                source,
                offset: error.offset,
            },
            error.message,
        ),
    }
}

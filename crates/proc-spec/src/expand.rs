//! `${VAR}` in every string of a tree, with the place of what is missing.

use std::collections::BTreeMap;

use crate::decode::Cx;
use crate::interpolate::{ExpandError, Syntax, expand};
use crate::node::{Node, Table, Text, Value};
use crate::source::Origin;

/// The variables that a text sees: what the configuration has set so far, then the caller's.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    pub(crate) caller: &'a BTreeMap<String, String>,
    pub(crate) set: BTreeMap<String, String>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(caller: &'a BTreeMap<String, String>) -> Self {
        Self {
            caller,
            set: BTreeMap::new(),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.set
            .get(name)
            .or_else(|| self.caller.get(name))
            .cloned()
    }
}

/// Expands all strings of a table in place; errors go to `cx` and leave the text as it was.
pub(crate) fn expand_table(table: &mut Table, scope: &Scope<'_>, cx: &mut Cx) {
    // A hook's own variables are known to its command.
    let own = own_scope(table, scope, cx);
    let scope = own.as_ref().unwrap_or(scope);
    for entry in &mut table.entries {
        let syntax = syntax_of(&entry.key);
        cx.at(&entry.key, |cx| {
            expand_node(&mut entry.node, syntax, scope, cx)
        });
    }
}

fn own_scope<'a>(table: &mut Table, scope: &Scope<'a>, cx: &mut Cx) -> Option<Scope<'a>> {
    let entry = table.entries.iter_mut().find(|entry| entry.key == "env")?;
    let Value::Table(env) = &mut entry.node.value else {
        return None;
    };
    let mut own = scope.clone();
    for entry in &mut env.entries {
        cx.path.push("env".to_owned());
        cx.at(&entry.key, |cx| {
            expand_node(&mut entry.node, Syntax::Config, &own, cx)
        });
        cx.path.pop();
        if let Some(text) = entry.node.as_str() {
            own.set.insert(entry.key.clone(), text.to_owned());
        }
    }
    Some(own)
}

/// Texts that a shell may read later.
fn syntax_of(key: &str) -> Syntax {
    match key {
        "command" | "script" | "exec" | "steps" => Syntax::Shell,
        _ => Syntax::Config,
    }
}

/// Expands one value and everything in it.
pub(crate) fn expand_node(node: &mut Node, syntax: Syntax, scope: &Scope<'_>, cx: &mut Cx) {
    match &mut node.value {
        Value::Table(table) => expand_table(table, scope, cx),
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                cx.at_index(index, |cx| expand_node(item, syntax, scope, cx));
            }
        }
        Value::String(text) if node.text == Text::Raw && text.contains('$') => {
            match expand(text, syntax, &|name| scope.get(name)) {
                Ok(expansion) => {
                    warn_unset(&expansion.unset, text, syntax, node.at, cx);
                    *text = expansion.text;
                    node.text = if expansion.changed {
                        Text::Expanded
                    } else {
                        Text::Literal
                    };
                }
                Err(error) => {
                    let at = place(text, &error, node.at, cx);
                    cx.fail_hint(at, error.message, error.hint);
                    node.text = Text::Literal;
                }
            }
        }
        _ => {}
    }
}

/// Finds the variable in the file: the text may have begun after quotes, and escapes shift what follows.
fn place(text: &str, error: &ExpandError, at: Origin, cx: &Cx) -> Origin {
    let snippet: String = text[error.offset..]
        .chars()
        .take_while(|c| *c != '}')
        .take(40)
        .collect();
    let found = cx.sources.list.get(at.source).and_then(|source| {
        let before = text[..error.offset].matches(&snippet).count();
        source.text[at.offset..]
            .match_indices(&snippet)
            .nth(before)
            .map(|(offset, _)| offset)
    });
    Origin {
        offset: at.offset + found.unwrap_or(0),
        ..at
    }
}

fn warn_unset(unset: &[String], text: &str, syntax: Syntax, at: Origin, cx: &mut Cx) {
    for name in unset {
        // A shell's own variables: `for f in …`, `f=…`, `read f`.
        let own = syntax == Syntax::Shell
            && (text.contains(&format!("{name}="))
                || text.contains(&format!(" {name}"))
                || text.contains('\n'));
        if !own {
            cx.warn(at, format!("`{name}` is not set: it is empty"));
        }
    }
}

//! A `proc.toml` in the making.

use std::path::Path;

use toml::{Table, Value};

use super::{Imported, Loss};
use crate::names::{check_name, from_directory};

/// What has been understood so far.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    services: Vec<(String, Table)>,
    groups: Table,
    project: Table,
    losses: Vec<Loss>,
}

impl Draft {
    pub(crate) fn lose(
        &mut self,
        file: &Path,
        line: usize,
        key: impl Into<String>,
        why: impl Into<String>,
    ) {
        self.losses.push(Loss {
            file: file.to_owned(),
            line,
            key: key.into(),
            why: why.into(),
        });
    }

    pub(crate) fn project(&mut self, key: &str, value: impl Into<Value>) {
        self.project.insert(key.to_owned(), value.into());
    }

    pub(crate) fn group(&mut self, name: &str, members: Vec<String>) {
        self.groups.insert(name.to_owned(), Value::from(members));
    }

    pub(crate) fn add(&mut self, name: String, service: Table) {
        self.services.push((name, service));
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.services.iter().any(|(other, _)| other == name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// Writes the file: services in the order they came.
    pub(crate) fn finish(self) -> Imported {
        let mut parts = Vec::new();
        let mut part = |key: &str, table: Table| {
            if !table.is_empty() {
                let root = Table::from_iter([(key.to_owned(), Value::Table(table))]);
                parts.push(toml::to_string_pretty(&root).unwrap_or_default());
            }
        };
        part("project", self.project);
        part("groups", self.groups);
        for (name, service) in self.services {
            part("service", Table::from_iter([(name, Value::Table(service))]));
        }
        Imported {
            toml: parts.join("\n"),
            losses: self.losses,
        }
    }
}

/// A name as ours must be; another one where it has to be.
pub(crate) fn name(text: &str) -> String {
    if check_name(text).is_ok() {
        text.to_owned()
    } else {
        from_directory(text)
    }
}

/// A text whose dollar signs stay what they are: `${X}` is no variable of ours.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '$' && matches!(chars.peek(), Some('{' | '$')) {
            out.push('$');
        }
    }
    out
}

/// Sets a key of a table within, which is made where it is absent.
pub(crate) fn put(table: &mut Table, path: &[&str], value: impl Into<Value>) {
    match path {
        [] => {}
        [key] => {
            table.insert((*key).to_owned(), value.into());
        }
        [key, rest @ ..] => {
            let inner = table
                .entry((*key).to_owned())
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpolate::{Syntax, expand};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn literal_texts_stay_what_they_are(text in "[a${}]{0,12}") {
            for syntax in [Syntax::Config, Syntax::Shell] {
                let expanded = expand(&literal(&text), syntax, &|_| Some("no".to_owned())).unwrap();
                prop_assert_eq!(&expanded.text, &text);
            }
        }
    }
}

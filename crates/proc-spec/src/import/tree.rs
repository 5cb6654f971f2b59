//! A document as it was written: values with their lines, from YAML, JSON or an object literal.

use std::path::Path;

use super::{ImportError, read_file};
use super::{literals, yaml};

/// The deepest nesting that is read.
pub(crate) const MAX_DEPTH: usize = 128;
/// The most values, aliases followed: a small file can mean a very large one.
pub(crate) const MAX_NODES: usize = 200_000;

/// A value and the line it begins on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    pub(crate) line: usize,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

/// A document that cannot be understood: its line, and why.
pub(crate) type Fault = (usize, String);

/// Reads a file: YAML by its ending, else JSON or an object literal of JavaScript. Texts are as
/// they must stand in `proc.toml`.
pub(crate) fn read(path: &Path) -> Result<Tree, ImportError> {
    let text = read_file(path)?;
    let is_yaml = path
        .extension()
        .is_some_and(|ending| ending == "yaml" || ending == "yml");
    let tree = if is_yaml {
        yaml::parse(&text).map(Tree::literal)
    } else {
        literals::parse(&text)
    };
    tree.map_err(|(line, message)| ImportError {
        file: path.to_owned(),
        line,
        message,
    })
}

/// Reads a file as YAML, whatever its ending; texts are as they stand there.
pub(crate) fn read_yaml(path: &Path) -> Result<Tree, ImportError> {
    yaml::parse(&read_file(path)?).map_err(|(line, message)| ImportError {
        file: path.to_owned(),
        line,
        message,
    })
}

impl Tree {
    pub(crate) fn new(line: usize, value: Value) -> Self {
        Tree { line, value }
    }

    /// Makes every text mean itself where `${X}` would be a variable.
    fn literal(self) -> Self {
        let value = match self.value {
            Value::Text(text) => Value::Text(super::draft::literal(&text)),
            Value::List(items) => Value::List(items.into_iter().map(Tree::literal).collect()),
            Value::Map(entries) => Value::Map(
                entries
                    .into_iter()
                    .map(|(key, value)| (key, value.literal()))
                    .collect(),
            ),
            value => value,
        };
        Tree::new(self.line, value)
    }

    /// The value of a key, if this is a map that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Tree> {
        let (_, value) = self.entries().iter().find(|(name, _)| name == key)?;
        Some(value)
    }

    /// The entries of a map; nothing has none.
    pub(crate) fn entries(&self) -> &[(String, Tree)] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// A single value as text.
    pub(crate) fn text(&self) -> Result<String, String> {
        match &self.value {
            Value::Text(text) | Value::Number(text) => Ok(text.clone()),
            Value::Bool(yes) => Ok(yes.to_string()),
            Value::Null => Ok(String::new()),
            Value::List(_) | Value::Map(_) => Err("is not a single value".to_owned()),
        }
    }

    pub(crate) fn integer(&self) -> Result<i64, String> {
        let text = self.text()?;
        text.trim()
            .parse()
            .map_err(|_| format!("`{text}` is not a whole number"))
    }

    pub(crate) fn yes(&self) -> Result<bool, String> {
        match &self.value {
            Value::Bool(yes) => Ok(*yes),
            _ => match self.text()?.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Ok(true),
                "false" | "no" | "off" | "0" | "" => Ok(false),
                other => Err(format!("`{other}` is neither true nor false")),
            },
        }
    }

    /// A list of texts; a single text is a list of one.
    pub(crate) fn texts(&self) -> Result<Vec<String>, String> {
        match &self.value {
            Value::List(items) => items.iter().map(Tree::text).collect(),
            _ => Ok(vec![self.text()?]),
        }
    }
}

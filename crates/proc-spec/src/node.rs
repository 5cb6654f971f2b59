//! A configuration as a tree of values, each knowing where it was written.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{ConfigError, ConfigErrors};
use crate::source::{Origin, Sources};

/// The deepest nesting that is followed.
const MAX_DEPTH: usize = 128;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) value: Value,
    pub(crate) at: Origin,
    pub(crate) text: Text,
}

/// What became of the variables in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Text {
    /// They are still in it.
    #[default]
    Raw,
    /// They were put in, so `"2"` may stand for 2.
    Expanded,
    /// It has none, whatever it looks like (a Procfile).
    Literal,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    String(String),
    Integer { value: i64, octal: bool },
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
}

/// Keys in the order they were written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_at: Origin,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn new(value: Value, at: Origin) -> Self {
        Self {
            value,
            at,
            text: Text::Raw,
        }
    }

    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::String(_) => "a string",
            Value::Integer { .. } => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime(_) => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }

    pub(crate) fn is_expanded(&self) -> bool {
        self.text == Text::Expanded
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl Table {
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.remove(at))
    }

    pub(crate) fn set(&mut self, key: &str, key_at: Origin, node: Node) {
        self.remove(key);
        self.entries.push(Entry {
            key: key.to_owned(),
            key_at,
            node,
        });
    }
}

/// Parses TOML text already stored in `sources`.
pub(crate) fn parse(sources: &Sources, source: usize) -> Result<Table, Vec<ConfigError>> {
    let text = sources.list[source].text.as_str();
    // Spans count from the start of the text, a byte order mark included.
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let errors = errors.iter().take(ConfigErrors::MOST).map(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            let mut message = error.message().replace('\n', ", ");
            if message == "duplicate key"
                && let Some(key) = error.span().and_then(|span| text.get(span))
            {
                message = format!("duplicate key `{}`", key.escape_debug());
            }
            sources.error(
                Origin { source, offset },
                "",
                format!("not valid TOML: {message}"),
                None,
            )
        });
        return Err(errors.collect());
    }
    let mut errors = Vec::new();
    let table = convert_table(sources, source, table.get_ref(), 0, &mut errors);
    if errors.is_empty() {
        Ok(table)
    } else {
        Err(errors)
    }
}

fn convert_table(
    sources: &Sources,
    source: usize,
    table: &DeTable<'_>,
    depth: usize,
    errors: &mut Vec<ConfigError>,
) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_at: Origin {
                source,
                offset: key.span().start,
            },
            node: convert(sources, source, value, depth + 1, errors),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_at.offset);
    Table { entries }
}

fn convert(
    sources: &Sources,
    source: usize,
    value: &Spanned<DeValue<'_>>,
    depth: usize,
    errors: &mut Vec<ConfigError>,
) -> Node {
    let at = Origin {
        source,
        offset: value.span().start,
    };
    if depth > MAX_DEPTH {
        errors.push(sources.error(
            at,
            "",
            format!("nested deeper than {MAX_DEPTH} levels"),
            None,
        ));
        return Node::new(Value::Boolean(false), at);
    }
    let value = match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) => Value::Integer {
                value,
                octal: number.radix() == 8,
            },
            Err(_) => {
                errors.push(sources.error(
                    at,
                    "",
                    format!("`{number}` does not fit 64 bits"),
                    None,
                ));
                Value::Boolean(false)
            }
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(value) => Value::Float(value),
            Err(_) => {
                errors.push(sources.error(at, "", format!("`{number}` is not a number"), None));
                Value::Boolean(false)
            }
        },
        DeValue::Boolean(value) => Value::Boolean(*value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Array(values) => Value::Array(
            values
                .iter()
                .map(|value| convert(sources, source, value, depth + 1, errors))
                .collect(),
        ),
        DeValue::Table(table) => Value::Table(convert_table(sources, source, table, depth, errors)),
    };
    Node::new(value, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Table, Vec<ConfigError>> {
        let mut sources = Sources::default();
        let source = sources.add("t.toml".into(), text.to_owned());
        parse(&sources, source)
    }

    #[test]
    fn keeps_the_order_and_the_places() {
        let table = parsed("z = 1\na = 0o17\n[service.web]\ncommand = 'x'\n").unwrap();
        let keys: Vec<_> = table.entries.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(keys, ["z", "a", "service"]);
        assert_eq!(
            table.get("a").unwrap().value,
            Value::Integer {
                value: 15,
                octal: true
            }
        );
        let web = table
            .get("service")
            .unwrap()
            .as_table()
            .unwrap()
            .entry("web")
            .unwrap();
        assert_eq!(web.key_at.offset, 24);
    }

    #[test]
    fn syntax_errors_name_their_place() {
        for (text, place) in [
            ("a = \n", "1:5"),
            ("a = 1\na = 2\n", "2:1"),
            ("[a\nb = 1", "1:3"),
            ("x = 'abc", "1:"),
            ("[t]\n[t]\n", "2:2"),
            ("a = 99999999999999999999", "1:5"),
        ] {
            let errors = parsed(text).unwrap_err();
            let first = errors[0].to_string();
            assert!(
                first.starts_with(&format!("t.toml:{place}")),
                "{text:?}: {first}"
            );
        }
    }

    #[test]
    fn deep_nesting_is_an_error_not_a_crash() {
        for depth in [100, 1_000, 200_000] {
            assert!(parsed(&format!("a = {}{}", "[".repeat(depth), "]".repeat(depth))).is_err());
            assert!(parsed(&format!("{}a = 1", "a.".repeat(depth))).is_err());
            assert!(parsed(&format!("a = {}", "{a=".repeat(depth))).is_err());
        }
    }
}

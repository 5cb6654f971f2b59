//! From the tree of values to typed raw structs: every wrong key and type is collected, none stops the rest.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::error::{ConfigError, ConfigErrors};
use crate::node::{Node, Value};
use crate::source::{Origin, Sources};
use crate::suggest::nearest;
use crate::units;

/// What decoding needs to know and what it finds.
#[derive(Debug, Default)]
pub(crate) struct Cx {
    pub(crate) sources: Sources,
    pub(crate) path: Vec<String>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<ConfigError>,
}

/// More errors than this are not even looked at.
const MOST: usize = 2 * ConfigErrors::MOST;

impl Cx {
    /// The key path here: `service.api.env`, `service."a.b".argv[1]`.
    pub(crate) fn key(&self) -> String {
        let mut key = String::new();
        for part in &self.path {
            if !key.is_empty() && !part.starts_with('[') {
                key.push('.');
            }
            key.push_str(part);
        }
        key
    }

    pub(crate) fn fail(&mut self, at: Origin, message: impl Into<String>) {
        self.fail_hint(at, message, None);
    }

    pub(crate) fn fail_hint(
        &mut self,
        at: Origin,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if self.errors.len() < MOST {
            let error = self.sources.error(at, self.key(), message, hint);
            self.errors.push(error);
        }
    }

    pub(crate) fn warn(&mut self, at: Origin, message: impl Into<String>) {
        if self.warnings.len() < MOST {
            let warning = self.sources.error(at, self.key(), message, None);
            self.warnings.push(warning);
        }
    }

    /// Runs `inside` one key deeper.
    pub(crate) fn at<T>(&mut self, part: &str, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(quoted(part));
        let result = inside(self);
        self.path.pop();
        result
    }

    pub(crate) fn at_index<T>(&mut self, index: usize, inside: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(format!("[{index}]"));
        let result = inside(self);
        self.path.pop();
        result
    }

    pub(crate) fn wrong_type<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        self.fail(
            node.at,
            format!("expected {expected}, found {}", node.kind()),
        );
        None
    }

    /// Reports the keys of a table that are not known, with the one that was meant.
    pub(crate) fn unknown_keys(&mut self, node: &Node, known: &[&str]) {
        for entry in node.as_table().into_iter().flat_map(|table| &table.entries) {
            if known.contains(&entry.key.as_str()) || self.errors.len() >= MOST {
                continue;
            }
            let hint = match nearest(&entry.key, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known keys: {}", known.join(", ")),
            };
            self.at(&entry.key, |cx| {
                cx.fail_hint(
                    entry.key_at,
                    format!("unknown key `{}`", entry.key.escape_debug()),
                    Some(hint),
                );
            });
        }
    }
}

/// A key as TOML would write it in a dotted path.
pub(crate) fn quoted(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if bare {
        key.to_owned()
    } else {
        format!("\"{}\"", key.escape_debug())
    }
}

/// What can be read from a value.
pub(crate) trait Decode: Sized {
    /// Reads the value; `None` means that an error was reported.
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self>;
}

/// A decoded value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) at: Origin,
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Decode> Decode for At<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        T::decode(node, cx).map(|value| At { value, at: node.at })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// Declares a raw table: the struct, its schema and how it is read.
macro_rules! table {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident $(as $key:literal)? : $ty:ty, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        $vis struct $name {
            $( $(#[$field_meta])* $( #[schemars(rename = $key)] )? pub $field: Option<$crate::decode::At<$ty>>, )*
        }

        impl $name {
            /// The keys of this table.
            pub(crate) const KEYS: &'static [&'static str] = &[$( $crate::decode::key!($field $($key)?) ),*];
        }

        impl $crate::decode::Decode for $name {
            fn decode(node: &$crate::node::Node, cx: &mut $crate::decode::Cx) -> Option<Self> {
                let Some(table) = node.as_table() else {
                    return cx.wrong_type(node, "a table");
                };
                cx.unknown_keys(node, Self::KEYS);
                Some($name {
                    $( $field: table.get($crate::decode::key!($field $($key)?)).and_then(|node| {
                        cx.at($crate::decode::key!($field $($key)?), |cx| $crate::decode::Decode::decode(node, cx))
                    }), )*
                })
            }
        }
    };
}

/// Declares a raw choice of words: the enum, its schema and how it is read.
macro_rules! choice {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, schemars::JsonSchema)]
        $vis enum $name {
            $( $(#[$variant_meta])* #[schemars(rename = $word)] $variant, )*
        }

        impl $name {
            /// The words, in order.
            $vis const WORDS: &'static [&'static str] = &[$( $word ),*];

            /// Returns the word for this choice, as it is written in `proc.toml`.
            #[must_use]
            $vis fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            /// Returns the choice that `word` names.
            #[must_use]
            $vis fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <String as serde::Deserialize>::deserialize(deserializer)?;
                Self::from_word(&word).ok_or_else(|| serde::de::Error::unknown_variant(&word, Self::WORDS))
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(node: &$crate::node::Node, cx: &mut $crate::decode::Cx) -> Option<Self> {
                let word = $crate::decode::one_word(node, cx, Self::WORDS)?;
                Self::from_word(&word)
            }
        }
    };
}

/// The name a field has in TOML.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(crate) use {choice, key, table};

/// Reads a string that is one of `words`.
pub(crate) fn one_word(node: &Node, cx: &mut Cx, words: &[&str]) -> Option<String> {
    let list = words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ");
    let Some(text) = node.as_str() else {
        return cx.wrong_type(node, &format!("one of {list}"));
    };
    if words.contains(&text) {
        return Some(text.to_owned());
    }
    let hint = nearest(text, words.iter().copied()).map(|meant| format!("did you mean `{meant}`?"));
    cx.fail_hint(
        node.at,
        format!("`{}` is not one of {list}", text.escape_debug()),
        hint,
    );
    None
}

impl Decode for String {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::String(text) if text.contains('\0') => {
                cx.fail(node.at, "has a NUL byte");
                None
            }
            Value::String(text) => Some(text.clone()),
            _ => cx.wrong_type(node, "a string"),
        }
    }
}

impl Decode for PathBuf {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let text = String::decode(node, cx)?;
        if text.is_empty() {
            cx.fail(node.at, "is empty, expected a path");
            return None;
        }
        Some(PathBuf::from(text))
    }
}

impl Decode for bool {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Boolean(value) => Some(*value),
            Value::String(text) if node.is_expanded() && text == "true" => Some(true),
            Value::String(text) if node.is_expanded() && text == "false" => Some(false),
            _ => cx.wrong_type(node, "true or false"),
        }
    }
}

fn integer(node: &Node, cx: &mut Cx) -> Option<i64> {
    match &node.value {
        Value::Integer { value, .. } => Some(*value),
        Value::String(text) if node.is_expanded() => match text.trim().parse() {
            Ok(value) => Some(value),
            Err(_) => {
                cx.fail(
                    node.at,
                    format!("`{}` is not an integer", text.escape_debug()),
                );
                None
            }
        },
        _ => cx.wrong_type(node, "an integer"),
    }
}

macro_rules! integers {
    ($($ty:ty),*) => { $(
        impl Decode for $ty {
            fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
                let value = integer(node, cx)?;
                match <$ty>::try_from(value) {
                    Ok(value) => Some(value),
                    Err(_) => {
                        cx.fail(node.at, format!("`{value}` is out of range, expected {} to {}", <$ty>::MIN, <$ty>::MAX));
                        None
                    }
                }
            }
        }
    )* };
}
integers!(i32, u16, u32, u64);

impl Decode for f64 {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let value = match &node.value {
            Value::Integer { value, .. } => *value as f64,
            Value::Float(value) => *value,
            Value::String(text) if node.is_expanded() && text.trim().parse::<f64>().is_ok() => {
                text.trim().parse().unwrap_or_default()
            }
            _ => return cx.wrong_type(node, "a number"),
        };
        if value.is_finite() {
            return Some(value);
        }
        cx.fail(node.at, "is not a finite number");
        None
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Value::Array(values) = &node.value else {
            return cx.wrong_type(node, "an array");
        };
        let items: Vec<Option<T>> = values
            .iter()
            .enumerate()
            .map(|(index, node)| cx.at_index(index, |cx| T::decode(node, cx)))
            .collect();
        items.into_iter().collect()
    }
}

/// A table with keys of the user's choosing, in the order written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named<T>(pub(crate) Vec<(At<String>, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Decode> Decode for Named<T> {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let Some(table) = node.as_table() else {
            return cx.wrong_type(node, "a table");
        };
        let items: Vec<Option<(At<String>, T)>> = table
            .entries
            .iter()
            .map(|entry| {
                let value = cx.at(&entry.key, |cx| T::decode(&entry.node, cx))?;
                Some((
                    At {
                        value: entry.key.clone(),
                        at: entry.key_at,
                    },
                    value,
                ))
            })
            .collect();
        Some(Named(items.into_iter().flatten().collect()))
    }
}

impl<T: JsonSchema> JsonSchema for Named<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("NamedOf{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, T>::json_schema(generator)
    }
}

/// Declares a type whose schema is a fixed piece of JSON.
macro_rules! inline_schema {
    ($name:ident, $json:tt) => {
        impl ::schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!($json)
            }
        }
    };
}
pub(crate) use inline_schema;

/// A duration that may be `none`: no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Limit(pub(crate) Option<Duration>);
inline_schema!(Limit, {
    "type": ["string", "number"], "minimum": 0,
    "examples": ["500ms", "10s", "1h30m", "none"]
});

impl Decode for Limit {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        duration(node, cx, units::parse_duration).map(Limit)
    }
}

/// A duration that must be one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span(pub(crate) Duration);
inline_schema!(Span, {
    "type": ["string", "number"], "minimum": 0, "examples": ["500ms", "10s", "1h30m"]
});

impl Decode for Span {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        duration(node, cx, |text| units::parse_span(text).map(Some))?.map(Span)
    }
}

type ParseDuration = fn(&str) -> Result<Option<Duration>, units::UnitError>;

fn duration(node: &Node, cx: &mut Cx, parse: ParseDuration) -> Option<Option<Duration>> {
    let result = match &node.value {
        Value::String(text) => parse(text),
        Value::Integer { value, .. } => parse(&value.to_string()),
        Value::Float(value) if value.is_infinite() && *value > 0.0 => parse("none"),
        Value::Float(value) => units::duration_from_seconds(*value).map(Some),
        _ => return cx.wrong_type(node, "a duration such as \"10s\""),
    };
    result
        .map_err(|error| cx.fail(node.at, error.to_string()))
        .ok()
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bytes(pub(crate) u64);
inline_schema!(Bytes, { "type": ["string", "integer"], "minimum": 0, "examples": ["64KiB", "10MB"] });

impl Decode for Bytes {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let result = match &node.value {
            Value::String(text) => units::parse_size(text),
            Value::Integer { value, .. } => units::parse_size(&value.to_string()),
            _ => return cx.wrong_type(node, "a size such as \"10MiB\""),
        };
        result
            .map(Bytes)
            .map_err(|error| cx.fail(node.at, error.to_string()))
            .ok()
    }
}

/// A number of bytes or `none`: no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BytesLimit(pub(crate) Option<u64>);
inline_schema!(BytesLimit, {
    "type": ["string", "integer"], "minimum": 0, "examples": ["64KiB", "10MB", "none"]
});

impl Decode for BytesLimit {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match is_none(node) {
            true => Some(BytesLimit(None)),
            false => Bytes::decode(node, cx).map(|size| BytesLimit(Some(size.0))),
        }
    }
}

/// A count or `none`: no limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CountLimit(pub(crate) Option<u32>);
inline_schema!(CountLimit, {
    "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "none" }]
});

impl Decode for CountLimit {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match is_none(node) {
            true => Some(CountLimit(None)),
            false => u32::decode(node, cx).map(|count| CountLimit(Some(count))),
        }
    }
}

pub(crate) fn is_none(node: &Node) -> bool {
    node.as_str().is_some_and(|text| {
        ["none", "unlimited", "infinity"].contains(&text.trim().to_ascii_lowercase().as_str())
    })
}

/// One string, or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct OneOrMore(pub(crate) Vec<At<String>>);
inline_schema!(OneOrMore, {
    "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }]
});

impl Decode for OneOrMore {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::String(_) => Some(OneOrMore(vec![At::decode(node, cx)?])),
            Value::Array(_) => Vec::decode(node, cx).map(OneOrMore),
            _ => cx.wrong_type(node, "a string or an array of strings"),
        }
    }
}

/// A value of an environment variable: a string, a number or a boolean, kept as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar(pub(crate) String);
inline_schema!(Scalar, { "type": ["string", "integer", "number", "boolean"] });

impl Decode for Scalar {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::String(_) => String::decode(node, cx).map(Scalar),
            Value::Integer { value, .. } => Some(Scalar(value.to_string())),
            Value::Float(value) => Some(Scalar(value.to_string())),
            Value::Boolean(value) => Some(Scalar(value.to_string())),
            _ => cx.wrong_type(node, "a string"),
        }
    }
}

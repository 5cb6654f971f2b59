//! Files whose change restarts a service.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::decode::{At, Cx, Decode, OneOrMore, Span, table};
use crate::node::{Node, Value};

table! {
    /// Files whose change restarts a service.
    pub(crate) struct RawWatchTable {
        /// Globs, relative to the working directory.
        paths: OneOrMore,
        /// Globs that are left out.
        ignore: OneOrMore,
        /// Changes within this time are one. Default 300ms.
        debounce: Span,
    }
}

/// Globs, or a table.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawWatch(pub(crate) RawWatchTable);

impl Decode for RawWatch {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match node.value {
            Value::Table(_) => RawWatchTable::decode(node, cx).map(RawWatch),
            _ => {
                let paths = Some(At::decode(node, cx)?);
                Some(RawWatch(RawWatchTable {
                    paths,
                    ..RawWatchTable::default()
                }))
            }
        }
    }
}

impl JsonSchema for RawWatch {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Watch".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawWatchTable>();
        let globs = generator.subschema_for::<OneOrMore>();
        json_schema!({ "anyOf": [globs, table] })
    }
}

//! The project, its groups and its budgets.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::decode::{At, Cx, Decode, Named, OneOrMore, Scalar, Span, choice, table};
use crate::node::{Node, Value};

table! {
    /// The project itself.
    pub(crate) struct RawProject {
        /// The project's name; the directory's name unless given.
        name: String,
        /// Variables for every service.
        env: Named<Scalar>,
        /// Environment files for every service, in docker compose's grammar; later ones win.
        env_file: OneOrMore,
        /// What the project does when all services have ended.
        on_exit: OnExit,
        /// The most restarts of all services together within a time; further ones wait.
        restart_budget: RawGuard,
    }
}

choice! {
    /// What a project does when all its services have ended.
    pub enum OnExit {
        /// The supervisor stays.
        Keep = "keep",
        /// The supervisor ends, and with it the project.
        Stop = "stop",
    }
}

table! {
    /// A number of events within a sliding time.
    pub(crate) struct RawBudget {
        /// How many.
        count: u32,
        /// Within which time.
        within: Span,
    }
}

/// A crash-loop guard, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RawGuard(pub(crate) Option<Guard>);

/// So many events within so long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Guard {
    pub(crate) count: u32,
    pub(crate) within: std::time::Duration,
}

impl Decode for RawGuard {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if crate::decode::is_none(node) {
            return Some(RawGuard(None));
        }
        let raw = RawBudget::decode(node, cx)?;
        match (raw.count.as_deref(), raw.within.as_deref()) {
            (Some(0), _) => {
                cx.at("count", |cx| cx.fail(node.at, "must be at least 1"));
                None
            }
            (Some(count), Some(within)) => Some(RawGuard(Some(Guard {
                count: *count,
                within: within.0,
            }))),
            (count, _) => {
                // What is there but wrong was reported when it was read.
                let key = if count.is_none() { "count" } else { "within" };
                if node
                    .as_table()
                    .is_some_and(|table| table.get(key).is_none())
                {
                    cx.fail(
                        node.at,
                        format!("needs `{key}`: {{ count = 5, within = \"30s\" }}"),
                    );
                }
                None
            }
        }
    }
}

impl JsonSchema for RawGuard {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Guard".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawBudget>();
        json_schema!({ "anyOf": [table, { "const": "none" }] })
    }
}

/// A group: a list of services, or a table with a strategy.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct RawGroup {
    pub(crate) members: Vec<At<String>>,
    pub(crate) strategy: Option<Strategy>,
    pub(crate) budget: Option<At<RawGuard>>,
}

table! {
    /// A group with a strategy.
    pub(crate) struct RawGroupTable {
        /// The services in the group.
        members: Vec<At<String>>,
        /// What the restart of one member means for the others.
        strategy: Strategy,
        /// The most restarts of the members together within a time.
        restart_budget: RawGuard,
    }
}

choice! {
    /// What the restart of one member of a group means for the others, as in Erlang/OTP.
    pub enum Strategy {
        /// Nothing.
        OneForOne = "one_for_one",
        /// All members restart.
        OneForAll = "one_for_all",
        /// The members listed after it restart.
        RestForOne = "rest_for_one",
    }
}

impl Decode for RawGroup {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        match &node.value {
            Value::Array(_) => Some(RawGroup {
                members: Vec::decode(node, cx)?,
                ..RawGroup::default()
            }),
            Value::Table(_) => {
                let table = RawGroupTable::decode(node, cx)?;
                let members = table
                    .members
                    .map(|members| members.value)
                    .unwrap_or_default();
                let strategy = table.strategy.map(|strategy| strategy.value);
                Some(RawGroup {
                    members,
                    strategy,
                    budget: table.restart_budget,
                })
            }
            _ => cx.wrong_type(node, "an array of service names"),
        }
    }
}

impl JsonSchema for RawGroup {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Group".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<RawGroupTable>();
        json_schema!({
            "description": "A list of services, or a table with a strategy.",
            "anyOf": [{ "type": "array", "items": { "type": "string" } }, table]
        })
    }
}

//! Where each key was written, for errors that are found after loading.

use std::collections::BTreeMap;

use crate::decode::quoted;
use crate::error::ConfigError;
use crate::node::{Node, Table, Value};
use crate::source::{Origin, Sources};

/// The places of all keys of a project.
#[derive(Debug, Default)]
pub(crate) struct Places {
    sources: Sources,
    keys: BTreeMap<String, Origin>,
}

impl Places {
    pub(crate) fn new(sources: Sources, services: &[(String, Origin, Table)]) -> Self {
        let mut places = Self {
            sources,
            keys: BTreeMap::new(),
        };
        for (name, at, table) in services {
            let key = format!("service.{}", quoted(name));
            places.keys.insert(key.clone(), *at);
            places.walk(&key, table);
        }
        places
    }

    fn walk(&mut self, prefix: &str, table: &Table) {
        for entry in &table.entries {
            let key = format!("{prefix}.{}", quoted(&entry.key));
            self.node(key, entry.key_at, &entry.node);
        }
    }

    fn node(&mut self, key: String, at: Origin, node: &Node) {
        match &node.value {
            Value::Table(table) => self.walk(&key, table),
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.node(format!("{key}[{index}]"), item.at, item);
                }
            }
            _ => {}
        }
        self.keys.insert(key, at);
    }

    /// Makes an error at `key`, or at the longest known beginning of it.
    pub(crate) fn error(&self, key: &str, message: String) -> ConfigError {
        let mut part = key;
        loop {
            if let Some(at) = self.keys.get(part) {
                return self.sources.error(*at, key, message, None);
            }
            match part.rfind(['.', '[']) {
                Some(end) => part = &part[..end],
                None => return self.sources.error(Origin::default(), key, message, None),
            }
        }
    }
}

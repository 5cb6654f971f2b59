//! Putting one table over another: later files over earlier ones, a service over `[defaults]`.

use std::collections::HashMap;

use crate::node::{Node, Table, Value};

/// Keys of which a table has one: setting one over another replaces it.
const RIVALS: [&[&str]; 3] = [
    &["command", "argv", "script"],
    &[
        "http",
        "tcp",
        "exec",
        "log",
        "file",
        "notify",
        "notify_fd",
        "delay",
    ],
    &["signal", "steps"],
];

/// Lays `over` on `base`: tables are merged, everything else is replaced.
pub(crate) fn merge(base: &mut Table, over: Table) {
    drop_rivals(base, &over);
    let mut at: HashMap<String, usize> = base
        .entries
        .iter()
        .enumerate()
        .map(|(at, entry)| (entry.key.clone(), at))
        .collect();
    for entry in over.entries {
        match at.get(&entry.key) {
            Some(&at) => {
                let old = &mut base.entries[at];
                match (&mut old.node.value, entry.node.value) {
                    (Value::Table(old), Value::Table(new)) => merge(old, new),
                    (_, value) => {
                        old.node = Node {
                            value,
                            ..entry.node
                        };
                        old.key_at = entry.key_at;
                    }
                }
            }
            None => {
                at.insert(entry.key.clone(), base.entries.len());
                base.entries.push(entry);
            }
        }
    }
}

/// Takes out of `base` what a rival key in `over` replaces. What is only true of a certain kind of probe goes
/// with it.
fn drop_rivals(base: &mut Table, over: &Table) {
    for rivals in RIVALS {
        let has = |table: &Table| rivals.iter().any(|key| table.entry(key).is_some());
        if !has(base) || !has(over) {
            continue;
        }
        // A service has a table `log` of its own and no other key of the probes.
        let only_log = |table: &Table| {
            rivals.contains(&"log")
                && table
                    .get("log")
                    .is_some_and(|node| node.as_table().is_some())
        };
        if only_log(base) || only_log(over) {
            continue;
        }
        base.entries.retain(|entry| {
            !rivals.contains(&entry.key.as_str()) || over.entry(&entry.key).is_some()
        });
        if rivals.contains(&"http") && over.entry("http").is_none() {
            base.entries
                .retain(|e| !["status", "header", "body", "send"].contains(&e.key.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Sources;

    fn table(text: &str) -> Table {
        let mut sources = Sources::default();
        let source = sources.add("t".into(), text.to_owned());
        crate::node::parse(&sources, source).unwrap()
    }

    fn keys(table: &Table) -> Vec<String> {
        let mut keys = Vec::new();
        for entry in &table.entries {
            match entry.node.as_table() {
                Some(inner) => {
                    keys.extend(
                        self::keys(inner)
                            .into_iter()
                            .map(|key| format!("{}.{key}", entry.key)),
                    );
                }
                None => keys.push(entry.key.clone()),
            }
        }
        keys
    }

    #[test]
    fn tables_merge_and_rivals_give_way() {
        for (base, over, result) in [
            ("a=1\nb=2", "b=3\nc=4", vec!["a", "b", "c"]),
            ("t={x=1}", "t={y=2}", vec!["t.x", "t.y"]),
            ("command='a'\ncwd='x'", "argv=['b']", vec!["cwd", "argv"]),
            (
                "ready={http='h',interval=1,status=200}",
                "ready={tcp='t'}",
                vec!["ready.interval", "ready.tcp"],
            ),
            (
                "ready={http='h',status=200}",
                "ready={http='i'}",
                vec!["ready.http", "ready.status"],
            ),
            (
                "stop={signal='INT',grace=1}",
                "stop={steps=['KILL']}",
                vec!["stop.grace", "stop.steps"],
            ),
            ("log={keep=1}", "log={dir='x'}", vec!["log.keep", "log.dir"]),
            ("a=[1]", "a=[2,3]", vec!["a"]),
            ("a={x=1}", "a=1", vec!["a"]),
        ] {
            let mut merged = table(base);
            merge(&mut merged, table(over));
            assert_eq!(keys(&merged), result, "{base} + {over}");
        }
    }
}

//! YAML, as far as configurations use it: anchors, aliases and merge keys included.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle};

use super::tree::{Fault, MAX_DEPTH, MAX_NODES, Tree, Value};

/// A collection that is being read.
enum Open {
    List {
        line: usize,
        anchor: usize,
        items: Vec<Tree>,
    },
    Map {
        line: usize,
        anchor: usize,
        entries: Vec<(String, Tree)>,
        key: Option<(String, usize)>,
    },
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    anchors: BTreeMap<usize, Tree>,
    document: Option<Tree>,
    nodes: usize,
}

/// Reads the first document of a text; an empty one is nothing.
pub(crate) fn parse(text: &str) -> Result<Tree, Fault> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            (
                error.marker().line(),
                format!("is no YAML: {}", error.info()),
            )
        })?;
        let line = span.start.line().max(1);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                builder.add(anchor, Tree::new(line, scalar(&text, style)))?;
            }
            Event::SequenceStart(anchor, _) => builder.begin(Open::List {
                line,
                anchor,
                items: Vec::new(),
            })?,
            Event::MappingStart(anchor, _) => builder.begin(Open::Map {
                line,
                anchor,
                entries: Vec::new(),
                key: None,
            })?,
            Event::SequenceEnd | Event::MappingEnd => builder.end(line)?,
            Event::Alias(anchor) => {
                let known = builder.anchors.get(&anchor).cloned();
                let tree = known.ok_or((line, "an alias of nothing".to_owned()))?;
                builder.nodes += size(&tree);
                builder.add(0, tree)?;
            }
            Event::DocumentEnd => break,
            _ => {}
        }
    }
    Ok(builder.document.unwrap_or(Tree::new(1, Value::Null)))
}

impl Builder {
    fn begin(&mut self, open: Open) -> Result<(), Fault> {
        let line = match &open {
            Open::List { line, .. } | Open::Map { line, .. } => *line,
        };
        if self.open.len() >= MAX_DEPTH {
            return Err((line, format!("is nested deeper than {MAX_DEPTH} levels")));
        }
        // A collection cannot be a key.
        if let Some(Open::Map { key: None, .. }) = self.open.last() {
            return Err((line, "a key is not a single value".to_owned()));
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self, line: usize) -> Result<(), Fault> {
        match self.open.pop() {
            Some(Open::List {
                line,
                anchor,
                items,
            }) => self.add(anchor, Tree::new(line, Value::List(items))),
            Some(Open::Map {
                line,
                anchor,
                entries,
                ..
            }) => self.add(anchor, Tree::new(line, Value::Map(merged(entries)?))),
            None => Err((line, "ends what never began".to_owned())),
        }
    }

    fn add(&mut self, anchor: usize, tree: Tree) -> Result<(), Fault> {
        let line = tree.line;
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err((line, format!("has more than {MAX_NODES} values")));
        }
        if anchor != 0 {
            self.anchors.insert(anchor, tree.clone());
        }
        match self.open.last_mut() {
            None => self.document = Some(tree),
            Some(Open::List { items, .. }) => items.push(tree),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => {
                    let name = tree.text().map_err(|why| (line, format!("a key {why}")))?;
                    *key = Some((name, line));
                }
                // A value is where its key is: a block of text begins below it.
                Some((name, line)) => {
                    if name != "<<" && entries.iter().any(|(other, _)| *other == name) {
                        return Err((line, format!("`{name}` stands twice")));
                    }
                    entries.push((name, Tree { line, ..tree }));
                }
            },
        }
        Ok(())
    }
}

/// Puts what `<<` names behind what is written out, which wins.
fn merged(entries: Vec<(String, Tree)>) -> Result<Vec<(String, Tree)>, Fault> {
    if entries.iter().all(|(key, _)| key != "<<") {
        return Ok(entries);
    }
    let (merges, mut entries): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|(key, _)| key == "<<");
    for (_, tree) in merges {
        let line = tree.line;
        let maps = match tree.value {
            Value::List(items) => items,
            value => vec![Tree::new(line, value)],
        };
        for map in maps {
            let Value::Map(more) = map.value else {
                return Err((line, "`<<` needs a map".to_owned()));
            };
            for (key, value) in more {
                if entries.iter().all(|(other, _)| *other != key) {
                    entries.push((key, value));
                }
            }
        }
    }
    Ok(entries)
}

fn size(tree: &Tree) -> usize {
    1 + match &tree.value {
        Value::List(items) => items.iter().map(size).sum(),
        Value::Map(entries) => entries.iter().map(|(_, value)| size(value)).sum(),
        _ => 0,
    }
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if !matches!(style, ScalarStyle::Plain) {
        return Value::Text(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if text.parse::<f64>().is_ok() && text.bytes().any(|b| b.is_ascii_digit()) => {
            Value::Number(text.to_owned())
        }
        _ => Value::Text(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(text: &str) -> String {
        fn write(tree: &Tree, out: &mut String) {
            match &tree.value {
                Value::Null => out.push('~'),
                Value::Bool(yes) => out.push_str(&yes.to_string()),
                Value::Number(text) => out.push_str(text),
                Value::Text(text) => out.push_str(&format!("{text:?}")),
                Value::List(items) => {
                    out.push('[');
                    items.iter().for_each(|item| {
                        write(item, out);
                        out.push(' ');
                    });
                    out.push(']');
                }
                Value::Map(entries) => {
                    out.push('{');
                    entries.iter().for_each(|(key, value)| {
                        out.push_str(&format!("{key}@{}:", value.line));
                        write(value, out);
                        out.push(' ');
                    });
                    out.push('}');
                }
            }
        }
        let mut out = String::new();
        match parse(text) {
            Ok(tree) => write(&tree, &mut out),
            Err((line, why)) => out = format!("{line}: {why}"),
        }
        out
    }

    #[test]
    fn values_keep_their_lines() {
        let text =
            "a: 1\nb:\n  - x\n  - 'true'\n  - ~\nc: |\n  two\n  lines\nd: {e: yes, f: true}\n";
        assert_eq!(
            show(text),
            r#"{a@1:1 b@2:["x" "true" ~ ] c@6:"two\nlines\n" d@9:{e@9:"yes" f@9:true } }"#
        );
        assert_eq!(show(""), "~");
    }

    #[test]
    fn anchors_aliases_and_merges() {
        let text = "base: &b {x: 1, y: 2}\none:\n  <<: *b\n  y: 3\n";
        assert_eq!(show(text), "{base@1:{x@1:1 y@1:2 } one@2:{y@4:3 x@1:1 } }");
        assert_eq!(show("a: *nothing\n").split(':').next(), Some("1"));
    }

    #[test]
    fn mistakes_and_monsters_are_refused_with_their_line() {
        assert_eq!(show("a: 1\na: 2\n"), "2: `a` stands twice");
        assert!(show("a: [1\nb: 2\n").contains("is no YAML"));
        let deep = "[".repeat(500);
        assert!(show(&deep).contains("is no YAML: recursion limit"));
        let deep = format!("{}x", "a: {".repeat(130));
        let fault = show(&deep);
        assert!(
            fault.contains("deeper") || fault.contains("recursion limit"),
            "{fault}"
        );
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..10 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            laughs.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(show(&laughs).contains("more than"), "bounded");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-c:\\-\\[\\]{}&*<|>#'\" \n?,!%@~0-9]{0,60}") {
            let _either = parse(&text);
        }
    }
}

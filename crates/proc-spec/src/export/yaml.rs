//! YAML, written so that every parser reads the same.

use serde_json::Value;

/// Writes a document; every text is in double quotes unless it is a plain word.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::from("---\n");
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&"  ".repeat(depth));
                out.push_str(&scalar(key));
                out.push(':');
                nested(value, depth + 1, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&"  ".repeat(depth));
                out.push('-');
                // The first key stands beside the dash, the others below it.
                let mut text = String::new();
                block(item, depth + 1, &mut text);
                out.push(' ');
                out.push_str(text.trim_start());
            }
        }
        value => {
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
}

fn nested(value: &Value, depth: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        out.push('\n');
        block(value, depth, out);
    } else {
        out.push_str(&format!(" {}\n", inline(value)));
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A word that no YAML takes for something else stays plain; the rest is JSON, which is YAML.
fn scalar(text: &str) -> String {
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_./-".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
            .contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_never_taken_for_something_else() {
        let value = serde_json::json!({"a": ["x", "no", "1", "", "a: b", {"k": "\n", "l": []}], "b": {}, "c": 1});
        assert_eq!(
            document(&value),
            "---\na:\n  - x\n  - \"no\"\n  - \"1\"\n  - \"\"\n  - \"a: b\"\n  - k: \"\\n\"\n    l: []\nb: {}\nc: 1\n"
        );
    }
}

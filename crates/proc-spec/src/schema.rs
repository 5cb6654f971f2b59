//! The JSON Schema of `proc.toml`, and a file to start from.

use serde_json::{Map, Value, json};

use crate::raw::RawFile;

/// Returns the JSON Schema of `proc.toml`, for editors.
#[must_use]
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawFile).to_value();
    drop_null(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("title".to_owned(), json!("proc.toml"));
        root.insert(
            "description".to_owned(),
            json!("Services that run together under one supervisor."),
        );
    }
    schema
}

/// TOML has no null: an absent key is absent.
fn drop_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_null),
        Value::Object(object) => {
            object.values_mut().for_each(drop_null);
            drop_null_type(object);
        }
        _ => {}
    }
}

fn drop_null_type(object: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            object.insert("type".to_owned(), one);
        }
    }
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| *choice != json!({ "type": "null" }));
    if let [Value::Object(_)] = choices.as_slice()
        && let Some(Value::Array(mut choices)) = object.remove("anyOf")
        && let Some(Value::Object(only)) = choices.pop()
    {
        for (key, value) in only {
            object.entry(key).or_insert(value);
        }
    }
}

/// Returns a commented `proc.toml` to start from; it loads as it is.
#[must_use]
pub fn starter() -> &'static str {
    include_str!("starter.toml")
}

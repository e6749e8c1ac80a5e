//! A small subset of JSON Schema, to validate the client's output.
//!
//! Supported: `type` (one or a list), `enum`, `minimum`, `items`, `properties`, `required`, `additionalProperties:
//! false`. Anything else in a schema is an error, since a rule that is not checked must not look as if it were.

use serde_json::Value;

/// The violations of a value, each with its path; empty if it is valid.
pub fn violations(schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(schema, value, "$", &mut found);
    found
}

fn check(schema: &Value, value: &Value, place: &str, found: &mut Vec<String>) {
    let rules = schema.as_object().unwrap_or_else(|| panic!("{place}: a schema is an object"));
    for (rule, wanted) in rules {
        let fits = match rule.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match wanted {
                Value::Array(types) => types.iter().any(|name| has_type(name, value)),
                name => has_type(name, value),
            },
            "enum" => wanted.as_array().is_some_and(|values| values.contains(value)),
            "minimum" => value.as_i64().is_none_or(|number| Some(number) >= wanted.as_i64()),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(wanted, item, &format!("{place}[{index}]"), found);
                }
                true
            }
            "properties" => {
                let named = wanted.as_object().into_iter().flatten();
                for (key, property) in named.filter_map(|(key, rule)| Some((key, (rule, value.get(key)?)))) {
                    check(property.0, property.1, &format!("{place}.{key}"), found);
                }
                true
            }
            "required" => {
                let keys = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                let missing = keys.filter(|key| value.is_object() && value.get(key).is_none());
                found.extend(missing.map(|key| format!("{place}.{key} is missing")));
                true
            }
            "additionalProperties" => {
                assert_eq!(wanted, &Value::Bool(false), "{place}: only `false` is understood");
                let keys = value.as_object().into_iter().flatten().map(|(key, _)| key);
                let unknown = keys.filter(|key| schema["properties"].get(key.as_str()).is_none());
                found.extend(unknown.map(|key| format!("{place}.{key} is not in the schema")));
                true
            }
            unknown => panic!("{place}: the rule {unknown:?} is not understood"),
        };
        if !fits {
            found.push(format!("{place} is {value}, which does not fit {rule:?}: {wanted}"));
        }
    }
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => panic!("{name} is not a type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn violations_are_found_at_their_places() {
        let schema = json!({
            "type": "object",
            "required": ["a", "b"],
            "properties": {
                "a": { "type": ["integer", "null"], "minimum": 0 },
                "b": { "type": "array", "items": { "enum": ["x", "y"] } }
            },
            "additionalProperties": false
        });
        assert_eq!(violations(&schema, &json!({ "a": null, "b": ["x"] })), Vec::<String>::new());
        assert_eq!(violations(&schema, &json!({ "b": [] })), ["$.a is missing"]);
        assert_eq!(violations(&schema, &json!({ "a": -1, "b": ["z"], "c": 1 })).len(), 3);
        assert_eq!(violations(&schema, &json!([])).len(), 1);
    }
}

//! The JSON Schema of a sweep file, which TOML editors use to complete, explain and check it. Pure; built from both tables
//! of keys and the sweep's defaults.

use serde_json::{Map, Value, json};

use super::{
    DEFAULTS,
    file::KEYS,
    keys::{CHOICE, LOG_UNIFORM, UNIFORM},
};
use crate::config::{
    json_schema::{Notes, document, property, settings},
    schema::{Key, required},
};

const DESCRIPTION: &str = "A sweep: many trials of one experiment. Omitted keys have the values that \
    `runner sweep --defaults` prints; `runner sweep --dry-run` finds problems that a schema cannot.";

/// Draft 7, pretty-printed.
pub(crate) fn json_schema() -> String {
    let notes = Notes::of(DEFAULTS);
    let properties: Map<String, Value> = KEYS
        .iter()
        .map(|key| {
            let property = match key.name {
                "set" => settings(Key::is_for_sweeps, Value::clone),
                "axes" => settings(Key::is_for_sweeps, axis),
                _ => property(key, &notes),
            };
            (key.name.to_owned(), notes.explained(key.name, property))
        })
        .collect();
    let required: Vec<&str> = required(KEYS).collect();
    let ends =
        json!({ "type": "array", "items": { "type": "number" }, "minItems": 2, "maxItems": 2 });
    let object = json!({
        "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        "definitions": {
            CHOICE: distribution(CHOICE, &json!({ "type": "array", "minItems": 1 })),
            UNIFORM: distribution(UNIFORM, &ends),
            LOG_UNIFORM: distribution(LOG_UNIFORM, &ends),
        },
    });
    document("runner sweep", DESCRIPTION, object)
}

fn distribution(name: &str, values: &Value) -> Value {
    json!({ "type": "object", "properties": { name: values }, "required": [name], "additionalProperties": false })
}

/// The schema of a key in `[axes]` whose values have the schema `value`.
fn axis(value: &Value) -> Value {
    let drawn = [CHOICE, UNIFORM, LOG_UNIFORM]
        .map(|name| json!({ "$ref": format!("#/definitions/{name}") }));
    let mut forms = vec![json!({ "type": "array", "items": value, "minItems": 1 })];
    forms.extend(drawn);
    json!({ "description": value["description"], "anyOf": forms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_takes_values_of_its_key_and_a_phase_goes_by_its_name() {
        let schema: Value = serde_json::from_str(&json_schema()).unwrap();
        let axes = &schema["properties"]["axes"]["properties"];
        let rate = &axes["optimizer"]["properties"]["lr"];
        assert_eq!(rate["anyOf"][0]["items"]["exclusiveMinimum"], json!(0.0));
        assert!(rate["description"].as_str().unwrap().len() > 5);
        let phase = &axes["phase"]["additionalProperties"]["properties"];
        assert_eq!(phase["epochs"]["anyOf"].as_array().unwrap().len(), 4);
        let set = &schema["properties"]["set"]["properties"];
        let epochs = &set["phase"]["additionalProperties"]["properties"]["epochs"];
        assert_eq!(epochs["type"], json!("integer"));
        for refused in ["name", "runs_dir", "extends"] {
            assert!(set.get(refused).is_none() && axes.get(refused).is_none());
        }
        assert_eq!(schema["properties"]["method"]["default"], json!("grid"));
        assert!(schema["properties"]["base"]["description"].is_string());
    }
}

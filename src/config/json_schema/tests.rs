use super::*;

fn parsed() -> Value {
    serde_json::from_str(&json_schema()).unwrap()
}

/// Calls `check` with every key of the table and what the schema says of it.
fn walk(path: &str, object: &Value, keys: &[Key], check: &mut impl FnMut(&str, &Key, &Value)) {
    assert_eq!(object["additionalProperties"], json!(false), "{path}");
    let required = (path == "phase").then(|| json!(["name", "epochs", "trainable"]));
    assert_eq!(object.get("required"), required.as_ref(), "{path}");
    let properties = object["properties"].as_object().unwrap();
    assert_eq!(properties.len(), keys.len(), "{path}");
    for key in keys {
        let path = join(path, key.name);
        let property = properties.get(key.name).unwrap_or_else(|| panic!("{path}"));
        check(&path, key, property);
        match &key.kind {
            KeyKind::Table(keys) => walk(&path, property, keys, check),
            KeyKind::Tables(keys) => walk(&path, &property["items"], keys, check),
            _ => {}
        }
    }
}

#[test]
fn every_key_of_the_table_is_there_and_explained() {
    let mut n_keys = 0;
    walk("", &parsed(), schema::TOP, &mut |path, _, property| {
        n_keys += 1;
        let description = property["description"].as_str().unwrap_or_default();
        assert!(description.len() > 5, "{path}: {description:?}");
        assert!(!description.contains("below."), "{path}: {description}");
    });
    assert!(n_keys > 60, "{n_keys}");
}

#[test]
fn every_default_of_the_file_is_there() {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let mut n_defaults = 0;
    walk("", &parsed(), schema::TOP, &mut |path, _, property| {
        let mut value = defaults.get(path);
        if let Some((section, name)) = path.split_once('.') {
            value = defaults.get(section).and_then(|table| table.get(name));
        }
        if let Some(value) = value.filter(|value| !value.is_table()) {
            n_defaults += 1;
            let value = serde_json::to_value(value).unwrap();
            assert_eq!(property["default"], value, "{path}");
        }
    });
    assert!(n_defaults > 20, "{n_defaults}");
}

#[test]
fn what_kinds_agree_on_is_a_default_and_what_they_do_not_is_told() {
    let schema = parsed();
    let optimizer = &schema["properties"]["optimizer"]["properties"];
    assert_eq!(optimizer["eps"]["default"], json!(1e-8));
    assert!(optimizer["weight_decay"].get("default").is_none());
    let description = optimizer["weight_decay"]["description"].as_str().unwrap();
    assert!(description.contains("0.01 with adamw"), "{description}");
    let phase = &schema["properties"]["phase"]["items"]["properties"];
    assert_eq!(phase["keep_optimizer"]["default"], json!(false));
    let schedule = &phase["schedule"]["properties"];
    assert_eq!(schedule["kind"]["default"], json!("constant"));
    assert_eq!(schedule["step_epochs"]["default"], json!(3));
    assert!(schema["properties"]["name"].get("default").is_none());
}

#[test]
fn limits_and_lengths_are_those_of_the_table() {
    let schema = parsed();
    let key = |table: &str, name: &str| {
        let mut key = schema["properties"][table]["properties"][name].clone();
        let map = key.as_object_mut().unwrap();
        map.remove("description");
        map.remove("default");
        key
    };
    let side = json!({"type": "integer", "minimum": 32, "maximum": 4096});
    let resize = json!({"type": "array", "items": side, "minItems": 2, "maxItems": 2});
    assert_eq!(key("transforms", "resize"), resize);
    let part = json!({"type": "number", "exclusiveMinimum": 0.0, "exclusiveMaximum": 1.0});
    assert_eq!(key("split", "valid"), part);
    let method = json!({"type": "string", "enum": ["auto", "random", "stratified", "file"]});
    assert_eq!(key("split", "method"), method);
    let batch_size = json!({"type": "integer", "minimum": 1, "maximum": 1_000_000});
    assert_eq!(key("data", "batch_size"), batch_size);
    assert_eq!(schema["properties"]["phase"]["minItems"], json!(1));
}

#[test]
fn the_text_is_pretty_and_ends_with_one_newline() {
    let text = json_schema();
    assert!(text.starts_with("{\n  \"$schema\": \"http://json-schema.org/draft-07/schema#\""));
    assert!(text.ends_with("\n}\n"));
}

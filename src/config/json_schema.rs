//! The JSON Schema of an experiment file, by which TOML editors complete, explain and check it.
//! Pure; made from the one table of keys and the defaults file, and knows no key of its own. What two keys mean to each other is
//! left to `runner check`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    DEFAULTS,
    commented::{Line, from_afar, lines},
    schema::{self, End, Key, Kind, Range},
    walk::join,
};

const DESCRIPTION: &str = "One training run of `runner`. Keys left out have the values that \
    `runner config --defaults` prints; `runner check` finds what a schema cannot.";

const TITLE: &str = "runner experiment";

/// Whether this program wrote the text, in whichever version.
pub(crate) fn is_our_schema(text: &str) -> bool {
    serde_json::from_str(text).is_ok_and(|schema: Value| schema["title"] == TITLE)
}

/// Draft 7, pretty-printed. No key is required but those of a phase: each may come from the file that `extends` names.
pub(crate) fn json_schema() -> String {
    let mut schema = object("", schema::TOP, &notes());
    schema.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    schema.insert("title".to_owned(), json!(TITLE));
    schema.insert("description".to_owned(), json!(DESCRIPTION));
    let mut schema = Value::Object(schema);
    // Whether maps keep their order is up to the features of other crates.
    schema.sort_all_objects();
    format!("{schema:#}\n")
}

/// What the defaults file says about one key.
#[derive(Default)]
struct Note<'a> {
    comments: Vec<&'a str>,
    /// `name = value`, and the kind that brings it, empty for a default of every experiment.
    defaults: Vec<(&'a str, &'a str)>,
}

type Notes<'a> = BTreeMap<String, Note<'a>>;

fn notes() -> Notes<'static> {
    let mut notes = Notes::new();
    let (mut section, mut kind) = ("", "");
    let mut above = Vec::new();
    for line in lines(DEFAULTS) {
        let (path, comment) = match line {
            Line::Blank => {
                above.clear();
                continue;
            }
            Line::Prose(comment) => {
                above.push(comment);
                continue;
            }
            Line::Header { path, note, .. } => {
                if let Some(name) = path.strip_prefix("kinds.") {
                    (section, kind) = (home(note), name);
                    above.clear();
                    continue;
                }
                (section, kind) = (path, "");
                (path.to_owned(), note)
            }
            Line::Key { name, note, .. } => (join(section, name), note),
        };
        let note = notes.entry(path).or_default();
        note.comments.append(&mut above);
        note.comments
            .extend(Some(comment).filter(|it| !it.is_empty()));
        if let Line::Key {
            code,
            is_active: true,
            ..
        } = line
        {
            note.defaults.push((kind, code));
        }
    }
    notes
}

/// The path of the table that the comment behind a `[kinds]` header names: `[[phase]]`, or words for the top.
fn home(note: &str) -> &str {
    match note.strip_prefix('[') {
        Some(path) => path
            .trim_start_matches('[')
            .split(']')
            .next()
            .unwrap_or_default(),
        None => "",
    }
}

fn object(path: &str, keys: &[Key], notes: &Notes<'_>) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in keys {
        let path = join(path, key.name);
        let mut property = value(&path, &key.kind, notes);
        // A phase's own schedule has the keys of [schedule], and its defaults.
        let general = path.strip_prefix("phase.").unwrap_or_default();
        if let Some(note) = notes.get(&path).or_else(|| notes.get(general)) {
            explain(&mut property, note);
        }
        properties.insert(key.name.to_owned(), Value::Object(property));
    }
    let mut object = typed("object");
    object.insert("properties".to_owned(), Value::Object(properties));
    object.insert("additionalProperties".to_owned(), json!(false));
    object
}

fn explain(property: &mut Map<String, Value>, note: &Note<'_>) {
    let mut sentences: Vec<String> = note.comments.iter().map(|it| from_afar(it)).collect();
    if let Some((_, code)) = note.defaults.first() {
        if note.defaults.iter().all(|(_, other)| other == code) {
            property.extend(default(code).map(|value| ("default".to_owned(), value)));
        } else {
            let values: Vec<String> = note
                .defaults
                .iter()
                .filter_map(|(kind, code)| {
                    Some(format!("{} with {kind}", code.split_once(" = ")?.1))
                })
                .collect();
            sentences.push(format!("Left out, it is {}", values.join(", ")));
        }
    }
    if !sentences.is_empty() {
        property.insert("description".to_owned(), json!(running_text(&sentences)));
    }
}

/// Lines of which some end a sentence, and some go on in the next.
fn running_text(lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let goes_on = !text.ends_with('.') && line.starts_with(char::is_lowercase);
        match text.as_str() {
            "" => {}
            _ if goes_on => text.push(' '),
            whole => text = format!("{}. ", whole.trim_end_matches('.')),
        }
        text.push_str(line);
    }
    format!("{}.", text.trim_end_matches('.'))
}

fn default(code: &str) -> Option<Value> {
    let table: toml::Table = code.parse().ok()?;
    let (_, value) = table.into_iter().next()?;
    serde_json::to_value(value).ok()
}

fn value(path: &str, kind: &Kind, notes: &Notes<'_>) -> Map<String, Value> {
    match kind {
        Kind::Text => typed("string"),
        Kind::Flag => typed("boolean"),
        Kind::Count { min, max } => count(*min, *max),
        Kind::Number(range) => number(*range),
        Kind::Choice(choices) => {
            let mut choice = typed("string");
            choice.insert("enum".to_owned(), json!(choices()));
            choice
        }
        Kind::Texts => array(typed("string"), None),
        Kind::Counts { len, min, max } => array(count(*min, *max), Some(*len)),
        Kind::Numbers { len, range } => array(number(*range), Some(*len)),
        Kind::Factors(range) => factors(*range),
        Kind::Table(keys) => object(path, keys, notes),
        Kind::Tables(keys) => {
            let mut table = object(path, keys, notes);
            // An array replaces the one it extends, so each of its tables is whole.
            table.insert("required".to_owned(), json!(schema::REQUIRED_IN_PHASE));
            let mut tables = array(table, None);
            tables.insert("minItems".to_owned(), json!(1));
            tables
        }
    }
}

fn typed(name: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), json!(name))])
}

fn count(min: u64, max: u64) -> Map<String, Value> {
    let mut count = typed("integer");
    count.insert("minimum".to_owned(), json!(min));
    // TOML itself ends there, and editors that count in floats would round it up.
    if max < schema::MAX {
        count.insert("maximum".to_owned(), json!(max));
    }
    count
}

fn number(range: Range) -> Map<String, Value> {
    let mut number = typed("number");
    let (low, high) = range.ends();
    let mut limit = |end: End, included: &str, excluded: &str| match end {
        End::Free => {}
        End::Included(value) => {
            number.insert(included.to_owned(), json!(value));
        }
        End::Excluded(value) => {
            number.insert(excluded.to_owned(), json!(value));
        }
    };
    limit(low, "minimum", "exclusiveMinimum");
    limit(high, "maximum", "exclusiveMaximum");
    number
}

fn array(element: Map<String, Value>, len: Option<usize>) -> Map<String, Value> {
    let mut array = typed("array");
    array.insert("items".to_owned(), Value::Object(element));
    if let Some(len) = len {
        array.insert("minItems".to_owned(), json!(len));
        array.insert("maxItems".to_owned(), json!(len));
    }
    array
}

/// `{ "features[24:]" = 0.1 }` or `[["features[24:]", 0.1]]`.
fn factors(range: Range) -> Map<String, Value> {
    let mut table = typed("object");
    table.insert(
        "additionalProperties".to_owned(),
        Value::Object(number(range)),
    );
    let mut pair = typed("array");
    pair.insert("items".to_owned(), json!([typed("string"), number(range)]));
    pair.insert("minItems".to_owned(), json!(2));
    pair.insert("maxItems".to_owned(), json!(2));
    Map::from_iter([("anyOf".to_owned(), json!([table, array(pair, None)]))])
}

#[cfg(test)]
mod tests {
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
                Kind::Table(keys) => walk(&path, property, keys, check),
                Kind::Tables(keys) => walk(&path, &property["items"], keys, check),
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
        let method = json!({"type": "string", "enum": ["random", "stratified", "file"]});
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
}

//! The JSON Schema of an experiment file, with which TOML editors complete, explain and check it.
//! Pure; made from the table of keys and the defaults file, and knows no key itself. Rules between keys are left to
//! `runner check`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    DEFAULTS,
    commented::{Line, from_afar, home, lines},
    schema::{self, End, Key, KeyKind, Range, required},
    walk::join,
};

const DESCRIPTION: &str = "An experiment: one training run of `runner`. Omitted keys have the values that \
    `runner config --defaults` prints; `runner check` finds problems that a schema cannot.";

const TITLE: &str = "runner experiment";

/// Whether any version of this program wrote the text.
pub(crate) fn is_our_schema(text: &str) -> bool {
    serde_json::from_str(text).is_ok_and(|schema: Value| schema["title"] == TITLE)
}

/// The schema in draft 7, pretty-printed. Only keys of phases are required: all others may come from the file that `extends` names.
pub(crate) fn json_schema() -> String {
    let schema = object("", schema::TOP, &Notes::of(DEFAULTS));
    document(TITLE, DESCRIPTION, Value::Object(schema))
}

/// The text of a schema file.
pub(crate) fn document(title: &str, description: &str, mut schema: Value) -> String {
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    schema["description"] = json!(description);
    // Whether maps keep their order depends on the features that other crates enable.
    schema.sort_all_objects();
    format!("{schema:#}\n")
}

/// The keys that `--set` takes and `is_known` accepts, as nested tables. `leaf` turns the schema of a value into the schema that is
/// used instead.
pub(crate) fn settings(is_known: fn(&Key) -> bool, leaf: fn(&Value) -> Value) -> Value {
    nested("", schema::TOP, is_known, &Notes::of(DEFAULTS), leaf)
}

fn nested(
    path: &str,
    keys: &[Key],
    is_known: fn(&Key) -> bool,
    notes: &Notes<'_>,
    leaf: fn(&Value) -> Value,
) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let path = join(path, key.name);
        let property = match &key.kind {
            _ if !is_known(key) => continue,
            KeyKind::Table(keys) => nested(&path, keys, is_known, notes, leaf),
            KeyKind::Tables(keys) => {
                let by_name = nested(&path, keys, is_known, notes, leaf);
                json!({ "type": "object", "additionalProperties": by_name })
            }
            kind => leaf(&notes.explained(&path, Value::Object(value(&path, kind, notes)))),
        };
        properties.insert(key.name.to_owned(), property);
    }
    // A quoted key may have dots in it.
    json!({
        "type": "object", "properties": properties, "patternProperties": { "\\.": {} }, "additionalProperties": false,
    })
}

/// The comments and defaults of one key in a defaults file.
#[derive(Default)]
struct Note<'a> {
    comments: Vec<&'a str>,
    /// The kind that has the default, empty for a default of every experiment, and the code `name = value`.
    defaults: Vec<(&'a str, &'a str)>,
}

/// The notes of a defaults file by key.
pub(crate) struct Notes<'a>(BTreeMap<String, Note<'a>>);

impl<'a> Notes<'a> {
    /// Reads the text of a defaults file.
    pub(crate) fn of(defaults: &'a str) -> Self {
        Self(notes(defaults))
    }

    /// The schema of a key with its description and its default.
    pub(crate) fn explained(&self, path: &str, mut property: Value) -> Value {
        // The schedule of a phase has the keys of [schedule], with the same notes.
        let general = path.strip_prefix("phase.").unwrap_or_default();
        let note = self.0.get(path).or_else(|| self.0.get(general));
        if let Some((note, property)) = note.zip(property.as_object_mut()) {
            explain(property, note);
        }
        property
    }
}

fn notes(defaults: &str) -> BTreeMap<String, Note<'_>> {
    let mut notes: BTreeMap<String, Note<'_>> = BTreeMap::new();
    let (mut section, mut kind) = ("", "");
    let mut above = Vec::new();
    for line in lines(defaults) {
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

fn object(path: &str, keys: &[Key], notes: &Notes<'_>) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in keys {
        let path = join(path, key.name);
        let property = Value::Object(value(&path, &key.kind, notes));
        properties.insert(key.name.to_owned(), notes.explained(&path, property));
    }
    let mut object = typed("object");
    object.insert("properties".to_owned(), Value::Object(properties));
    object.insert("additionalProperties".to_owned(), json!(false));
    object
}

fn explain(property: &mut Map<String, Value>, note: &Note<'_>) {
    let mut sentences: Vec<String> = note.comments.iter().map(|it| from_afar(it)).collect();
    let value = |code: &str| code.split_once(" = ").map(|(_, value)| value.to_owned());
    let of_kinds = |defaults: &[(&str, &str)]| -> Vec<String> {
        let values = defaults
            .iter()
            .map(|(kind, code)| Some((kind, value(code)?)));
        let values = values.flatten();
        values
            .map(|(kind, value)| format!("{value} with {kind}"))
            .collect()
    };
    match note.defaults.as_slice() {
        [] => {}
        [(_, code), others @ ..] if others.iter().all(|(_, other)| other == code) => {
            property.extend(default(code).map(|value| ("default".to_owned(), value)));
        }
        // A default of every experiment, which some kinds replace.
        [("", code), others @ ..] => {
            property.extend(default(code).map(|value| ("default".to_owned(), value)));
            sentences.push(format!("The default is {}", of_kinds(others).join(", ")));
        }
        defaults => sentences.push(format!("The default is {}", of_kinds(defaults).join(", "))),
    }
    if !sentences.is_empty() {
        property.insert("description".to_owned(), json!(running_text(&sentences)));
    }
}

/// The lines as running text: a line that starts in lower case continues the one before.
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

/// The schema of a key at the top of a document.
pub(crate) fn property(key: &Key, notes: &Notes<'_>) -> Value {
    Value::Object(value(key.name, &key.kind, notes))
}

fn value(path: &str, kind: &KeyKind, notes: &Notes<'_>) -> Map<String, Value> {
    match kind {
        KeyKind::Text => typed("string"),
        KeyKind::Flag => typed("boolean"),
        KeyKind::Count { min, max } => count(*min, *max),
        KeyKind::Number(range) => number(*range),
        KeyKind::Choice(_, choices) => {
            let mut choice = typed("string");
            choice.insert("enum".to_owned(), json!(choices()));
            choice
        }
        KeyKind::Texts => array(typed("string"), None),
        KeyKind::CountList { min, max } => array(count(*min, *max), None),
        KeyKind::Counts { len, min, max } => array(count(*min, *max), Some(*len)),
        KeyKind::Numbers { len, range } => array(number(*range), Some(*len)),
        KeyKind::Factors(range) => factors(*range),
        KeyKind::Table(keys) => object(path, keys, notes),
        KeyKind::Settings => typed("object"),
        KeyKind::Tables(keys) => {
            let mut table = object(path, keys, notes);
            // An array replaces the one that it extends, so that each of its tables must be complete.
            let required: Vec<&str> = required(keys).collect();
            table.insert("required".to_owned(), json!(required));
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
    // TOML has no larger integers, and editors that count in floats would round the limit up.
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

/// The schema of `{ "features[24:]" = 0.1 }` or `[["features[24:]", 0.1]]`.
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
mod tests;

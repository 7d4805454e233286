//! `--json`: every line of every command is an object that `docs/json.schema.json` describes.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

use crate::program::Case;

/// What the schema uses of JSON Schema: `type`, `enum`, `required`, `properties` and `items`.
fn check(value: &Value, schema: &Value, place: &str) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = |wanted: &Value| wanted == kind || wanted == "number" && kind == "integer";
    match &schema["type"] {
        Value::Null => {}
        Value::Array(kinds) => assert!(kinds.iter().any(is_kind), "{place} is {kind}: {value}"),
        one => assert!(is_kind(one), "{place} is {kind}: {value}"),
    }
    if let Value::Array(choices) = &schema["enum"] {
        assert!(choices.contains(value), "{place} is {value}");
    }
    let required = schema["required"].as_array().filter(|_| value.is_object());
    for name in required.into_iter().flatten() {
        let name = name.as_str().unwrap();
        assert!(
            value.get(name).is_some(),
            "{place} has no `{name}`: {value}"
        );
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = value.get(name) {
            check(value, inner, &format!("{place}.{name}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        if schema.get("items").is_some() {
            check(item, &schema["items"], &format!("{place}[]"));
        }
    }
}

#[test]
fn every_line_of_every_command_is_an_object_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let case = Case::new("");
    let sweep = "base = \"small.toml\"\n[axes]\noptimizer.kind = [\"adam\", \"sgd\"]\n";
    fs::write(case.path("sweep.toml"), sweep).unwrap();
    let mut events = BTreeSet::new();
    for command in [
        "small.toml",
        "small.toml --set seed=7",
        "check small.toml",
        "plan small.toml",
        "samples small.toml",
        "config small.toml",
        "config small.toml --origin",
        "config --defaults",
        "sweep --defaults",
        "sweep sweep.toml --dry-run",
        "sweep sweep.toml --dry-run --launcher slurm",
        "sweep sweep.toml --emit out",
        "sweep sweep.toml",
        "sweep sweep.toml --status",
        "sweep sweep.toml --watch",
        "sweep sweep.toml --cancel",
        "trial out/trials/sweep-kind_adam",
        "list",
        "show latest:small",
        "evaluate latest:small",
        "evaluate latest:small --set seed=3",
        "predict latest:small data",
        "predict latest:small data nothing.jpg --top 2 --threshold 0.9",
        "predict latest:small data -o predicted.csv --embeddings predicted.npy",
        "compare runs",
        "report latest:small",
        "verify latest:small",
        "explain latest:small data/Cat -o maps",
        "export latest:small whole.safetensors",
        "export latest:small whole.onnx",
        "resume latest:small",
        "resume latest:small --set phase.features24.epochs=3",
        "cache list",
        "cache verify",
        "cache prune --all",
        "models",
        "models nothing",
        "fetch",
        "fetch nothing",
        "init somewhere",
        "schema",
        "schema --sweep",
        "man",
        "completions bash",
        "sample-data drawn --per-class 2",
        "check small.toml --set optimizer.learning_rate=3",
        "check missing.toml",
        "check small.toml --set data.root=nowhere",
        "show nothing",
        "nonsense",
        "rm --yes latest:small",
    ] {
        let words: Vec<&str> = ["--json"].into_iter().chain(command.split(' ')).collect();
        let output = case.run(&words);
        let stdout = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{command}: {line}")))
            .collect();
        assert!(!lines.is_empty(), "{command} says nothing");
        for line in &lines {
            let event = line["event"].as_str().unwrap();
            let known = &schema["definitions"][event];
            assert!(known.is_object(), "{command}: {event} is not in the schema");
            check(line, known, &format!("{command}: {event}"));
            events.insert(event.to_owned());
        }
        let last = lines.last().unwrap();
        let failed = !output.status.success();
        assert_eq!(last["event"] == "error", failed, "{command}: {last}");
    }
    for event in [
        "finished",
        "error",
        "config",
        "defaults",
        "trial",
        "sweep",
        "epoch",
        "emitted",
        "cancelled",
    ] {
        assert!(events.contains(event), "{event} was never printed");
    }
}

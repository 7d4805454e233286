//! What to type instead: keys that other tools call otherwise, and values in the form that a key takes. Pure.

use toml::de::{DeInteger, DeValue};

/// What users of other tools write, and the key that means it, in any table that has it.
const SYNONYMS: [(&str, &str); 16] = [
    ("learning_rate", "lr"),
    ("wd", "weight_decay"),
    ("name", "kind"),
    ("type", "kind"),
    ("optimizer", "kind"),
    ("name", "arch"),
    ("architecture", "arch"),
    ("backbone", "arch"),
    ("pretrained", "weights"),
    ("batch", "batch_size"),
    ("num_workers", "workers"),
    ("n_epochs", "epochs"),
    ("num_epochs", "epochs"),
    ("path", "root"),
    ("dir", "root"),
    ("size", "resize"),
];

/// The key of `keys` that is meant by the name that another tool gives it.
pub(super) fn synonym<'a>(name: &str, keys: &[&'a str]) -> Option<&'a str> {
    let mut meant = SYNONYMS.iter().filter(|(other, _)| *other == name);
    meant.find_map(|(_, key)| keys.iter().find(|known| *known == key).copied())
}

/// A value that is not what its key takes, as the line to type: `expected` is what the key takes in the words of the message,
/// `len` the length of its array.
pub(super) fn right_form(
    path: &str,
    value: &DeValue<'_>,
    expected: &str,
    len: Option<usize>,
) -> Option<String> {
    let key = path.rsplit('.').next().filter(|key| !key.contains('['))?;
    let write = |value: &str| Some(format!("write `{key} = {value}`"));
    let plain = describe(value);
    let is_number = matches!(value, DeValue::Integer(_) | DeValue::Float(_));
    match value {
        DeValue::String(text) if expected == "an array of texts" => write(&format!("[{text:?}]")),
        DeValue::String(text)
            if text.trim().parse::<f64>().is_ok() || matches!(text.as_ref(), "true" | "false") =>
        {
            Some(format!("write `{key} = {}`, without quotes", text.trim()))
        }
        _ if is_number && expected.starts_with("an array of") => {
            let values = vec![plain; len.unwrap_or(1)];
            write(&format!("[{}]", values.join(", ")))
        }
        DeValue::Integer(integer) if expected.starts_with("`true`") => match integer.as_str() {
            "0" => write("false"),
            "1" => write("true"),
            _ => None,
        },
        DeValue::Boolean(_) if expected == "a number" => {
            Some(format!("write a number, such as `{key} = 0.5`"))
        }
        DeValue::Boolean(_) if expected == "a whole number" => {
            Some(format!("write a whole number, such as `{key} = 1`"))
        }
        DeValue::Boolean(_) if expected.starts_with("one of `") => {
            let first = expected.split('`').nth(1)?;
            Some(format!(
                "write one of them in quotes, such as `{key} = \"{first}\"`"
            ))
        }
        _ if expected == "a text in quotes"
            && (is_number || matches!(value, DeValue::Boolean(_))) =>
        {
            write(&format!("\"{plain}\""))
        }
        _ => None,
    }
}

pub(crate) fn parse_integer(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

pub(super) fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{text:?}"),
        DeValue::Integer(integer) => integer.as_str().to_owned(),
        DeValue::Float(float) => float.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(_) => "[..]".to_owned(),
        DeValue::Table(_) => "{..}".to_owned(),
    }
}

pub(crate) fn describe_kind(value: &DeValue<'_>) -> String {
    let kind = match value {
        DeValue::String(_) => "the text",
        DeValue::Integer(_) => "the whole number",
        DeValue::Float(_) => "the number",
        DeValue::Boolean(_) => "the flag",
        DeValue::Datetime(_) => "the date",
        DeValue::Array(_) => return "an array".to_owned(),
        DeValue::Table(_) => return "a table".to_owned(),
    };
    format!("{kind} `{}`", describe(value))
}

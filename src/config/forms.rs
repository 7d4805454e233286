//! Keys by the names that other tools give them, and values of the wrong type in the form that a key takes. Pure.

use std::fmt;

use toml::de::{DeInteger, DeValue};

use crate::text::suggest::list;

/// Names that other tools use, and the key that they mean in a table that has it.
const SYNONYMS: [(&str, &str); 17] = [
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
    ("devices", "gpus"),
];

/// Names that other tools give to the devices that one model is trained on.
const SEVERAL_DEVICES: [&str; 7] = [
    "devices",
    "num_devices",
    "gpus",
    "n_gpu",
    "n_gpus",
    "num_gpus",
    "device_ids",
];

/// The help for several devices where one is expected.
pub(super) const ONE_DEVICE: &str = "training one run on several GPUs is not supported; run one trial per GPU with `gpus = [0, 1]` in \
    the [launcher] table of a sweep file";

/// The help for a key of another tool that no experiment has an equivalent of.
pub(super) fn unsupported(name: &str) -> Option<&'static str> {
    SEVERAL_DEVICES.contains(&name).then_some(ONE_DEVICE)
}

/// The key among `keys` that another tool calls `name`.
pub(super) fn synonym<'a>(name: &str, keys: &[&'a str]) -> Option<&'a str> {
    let mut meant = SYNONYMS.iter().filter(|(other, _)| *other == name);
    meant.find_map(|(_, key)| keys.iter().find(|known| *known == key).copied())
}

/// The values that a key accepts. Its text is what follows "expected".
#[derive(Clone, Copy)]
pub(crate) enum Expected<'a> {
    String,
    Boolean,
    Integer,
    Number,
    OneOf(&'a [&'a str]),
    Strings,
    IntegerList,
    Integers {
        len: usize,
    },
    Numbers {
        len: usize,
    },
    Table,
    Tables,
    /// A pair of selector and factor.
    Pair,
    /// A table of selector to factor.
    Factors,
    /// The values of an axis of a sweep.
    Choices,
    /// The ends of an interval that an axis of a sweep draws from.
    Interval,
}

/// More choices than this would bury what else the message says.
const MOST_LISTED: usize = 12;

impl fmt::Display for Expected<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("a string"),
            Self::Boolean => f.write_str("a boolean"),
            Self::Integer => f.write_str("an integer"),
            Self::Number => f.write_str("a number"),
            Self::OneOf(choices @ [_, _]) => f.write_str(&list(choices, "or")),
            Self::OneOf(choices @ [first, ..]) if choices.len() > MOST_LISTED => {
                write!(f, "one of {} names, such as `{first}`", choices.len())
            }
            Self::OneOf(choices) => write!(f, "one of {}", list(choices, "or")),
            Self::Strings => f.write_str("an array of strings"),
            Self::IntegerList => f.write_str("an array of integers"),
            Self::Integers { len } => write!(f, "an array of {len} integers"),
            Self::Numbers { len } => write!(f, "an array of {len} numbers"),
            Self::Table => f.write_str("a table"),
            Self::Tables => f.write_str("an array of tables"),
            Self::Pair => f.write_str("a pair of selector and factor"),
            Self::Factors => f.write_str("a table of `selector = factor`"),
            Self::Choices => f.write_str("an array of values"),
            Self::Interval => f.write_str("an array of two numbers"),
        }
    }
}

/// The line to type instead of a value of the wrong type, if it is clear what was meant.
pub(super) fn right_form(
    path: &str,
    value: &DeValue<'_>,
    expected: Expected<'_>,
) -> Option<String> {
    let key = path.rsplit('.').next().filter(|key| !key.contains('['))?;
    let write = |value: &str| Some(format!("write `{key} = {value}`"));
    let example = |value: &str| Some(format!("write `{key} = {value}`, for example"));
    let plain = describe(value);
    match (value, expected) {
        (DeValue::Array(_), Expected::String) if path == "device" => Some(ONE_DEVICE.to_owned()),
        (DeValue::String(text), Expected::Strings) => write(&format!("[{text:?}]")),
        (DeValue::String(text), _)
            if text.trim().parse::<f64>().is_ok() || matches!(text.as_ref(), "true" | "false") =>
        {
            Some(format!("write `{key} = {}` without quotes", text.trim()))
        }
        (DeValue::Integer(_), Expected::IntegerList) => write(&format!("[{plain}]")),
        (DeValue::Integer(_) | DeValue::Float(_), Expected::Strings) => {
            write(&format!("[{plain}]"))
        }
        (
            DeValue::Integer(_) | DeValue::Float(_),
            Expected::Integers { len } | Expected::Numbers { len },
        ) => write(&format!("[{}]", vec![plain; len].join(", "))),
        (DeValue::Integer(integer), Expected::Boolean) => match integer.as_str() {
            "0" => write("false"),
            "1" => write("true"),
            _ => None,
        },
        (DeValue::Boolean(_), Expected::Number) => example("0.5"),
        (DeValue::Boolean(_), Expected::Integer) => example("1"),
        (DeValue::Boolean(_), Expected::OneOf([first, ..])) => example(&format!("\"{first}\"")),
        (DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_), Expected::String) => {
            write(&format!("\"{plain}\""))
        }
        _ => None,
    }
}

/// The integer in any base; `None` if it does not fit into 64 bits.
pub(crate) fn parse_integer(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok()
}

/// The value as it is quoted in messages.
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

/// The value with its type, as it follows "found".
pub(crate) fn describe_kind(value: &DeValue<'_>) -> String {
    let kind = match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "float",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "datetime",
        DeValue::Array(_) => return "an array".to_owned(),
        DeValue::Table(_) => return "a table".to_owned(),
    };
    format!("{kind} `{}`", describe(value))
}

//! The experiment file that `runner init` writes: the defaults file with its defaults commented out and the required keys filled
//! in. Pure; writes no file. Knows which keys are required, and no default.

use std::fmt::Write as _;

use super::{
    DEFAULTS,
    commented::{Line, from_afar, lines},
    schema,
};

/// The column of comments after code, as in the defaults file.
const NOTE_COLUMN: usize = 36;

/// The name of the schema file beside the experiment.
pub(crate) const SCHEMA_FILE: &str = "experiment.schema.json";

const INTRO: &str = "\
# An experiment. `runner plan` shows what it would do, `runner train` runs it.
#
# A line `# key = value` is a default: remove the `# ` and change the value. A line `#? key = value` is an example of a key without
# a default: remove the `#? `, also from the header of its table. `runner config --defaults` lists all defaults.
#
";

const SECOND_PHASE: &str = "
# A second phase that also trains the last block of convolutions, slowly enough to keep what they have learned.
#? [[phase]]
#? name = \"features24\"
#? epochs = 5
#? trainable = [\"classifier\", \"features[24:]\"]
#? lr = 1e-5
";

/// How a line of code appears in the template.
#[derive(Clone, Copy)]
enum Marker {
    Active,
    Default,
    /// An example of a key without a default; without its table or another key it may be an error.
    Optional,
}

/// A commented experiment with these keys of `[data]`, `root` among them, and one phase. It means the same as a file with only these
/// lines.
pub(crate) fn template(data: &[(&str, &str)]) -> String {
    const SPLITS: &str = "the defaults are tested to have an introduction, keys and kinds";
    let (intro, body) = DEFAULTS.split_once("\n\n").expect(SPLITS);
    let (_, paths) = intro.rsplit_once("\n#\n").expect(SPLITS);
    let (body, _kinds) = body.split_once("\n# ----").expect(SPLITS);
    let mut text = format!("#:schema ./{SCHEMA_FILE}\n{INTRO}{paths}\n\n");
    let required: Vec<&str> = schema::required(schema::keys_of("phase")).collect();
    let mut section = "";
    for line in lines(body) {
        match line {
            Line::Blank => text.push('\n'),
            Line::Prose("") => text.push_str("#\n"),
            Line::Prose(comment) => {
                text.push_str("# ");
                text.push_str(&from_afar(comment));
                text.push('\n');
            }
            Line::Header {
                code,
                path,
                note,
                is_active,
            } => {
                section = path;
                // Under a header that is commented out, a default would become a key of the table above.
                let marker = if is_active || path == "phase" {
                    Marker::Active
                } else {
                    Marker::Optional
                };
                push_code(&mut text, marker, code, note);
            }
            Line::Key {
                code,
                name,
                note,
                is_active,
            } => {
                let given = data
                    .iter()
                    .find(|(key, _)| section == "data" && *key == name);
                if let Some((key, value)) = given {
                    let code = format!("{key} = {}", toml::Value::from(*value));
                    push_code(&mut text, Marker::Active, &code, note);
                    continue;
                }
                let is_required = section == "phase" && required.contains(&name);
                let marker = match (is_required, is_active) {
                    (true, _) => Marker::Active,
                    (false, true) => Marker::Default,
                    (false, false) => Marker::Optional,
                };
                push_code(&mut text, marker, code, note);
            }
        }
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text.push_str(SECOND_PHASE);
    text
}

fn push_code(text: &mut String, marker: Marker, code: &str, note: &str) {
    let marker = match marker {
        Marker::Active => "",
        Marker::Default => "# ",
        Marker::Optional => "#? ",
    };
    let code = format!("{marker}{code}");
    if note.is_empty() {
        text.push_str(&code);
    } else {
        let width = NOTE_COLUMN - 2;
        let note = from_afar(note);
        write!(text, "{code:<width$}  # {note}").expect("a String takes all text");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::read;

    /// The resolved experiment of a file with this text, which does not depend on the directory of the file.
    fn resolve(text: &str) -> Result<toml::Table, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("experiment.toml");
        fs::write(&file, text).unwrap();
        let loaded = read(&file, &[], &[]).map_err(|error| error.to_string())?;
        Ok(loaded.resolved)
    }

    /// The template with each line as `change` has it.
    fn changed(change: impl Fn(&str) -> String) -> String {
        template(&[("root", "photos")])
            .lines()
            .map(|line| change(line) + "\n")
            .collect()
    }

    fn is_default(line: &str) -> bool {
        matches!(
            lines(line).as_slice(),
            [Line::Key {
                is_active: false,
                ..
            }]
        )
    }

    #[test]
    fn the_template_means_what_its_required_keys_mean_alone() {
        let minimal = "data.root = \"photos\"\n[[phase]]\nname = \"head\"\nepochs = 10\ntrainable = [\"classifier\"]\n";
        assert_eq!(resolve(&template(&[("root", "photos")])), resolve(minimal));
        assert!(resolve(minimal).is_ok());
    }

    #[test]
    fn each_default_can_be_uncommented_alone_and_changes_nothing() {
        let before = resolve(&template(&[("root", "photos")])).unwrap();
        let text = template(&[("root", "photos")]);
        let defaults: Vec<&str> = text.lines().filter(|line| is_default(line)).collect();
        assert!(defaults.len() > 20, "{defaults:?}");
        for default in defaults {
            let uncomment = |line: &str| line.strip_prefix("# ").unwrap().to_owned();
            let text = changed(|line| {
                if line == default {
                    uncomment(line)
                } else {
                    line.to_owned()
                }
            });
            assert_eq!(resolve(&text).as_ref(), Ok(&before), "{default}");
        }
    }

    #[test]
    fn every_active_line_of_the_defaults_is_there() {
        let defaults: toml::Table = DEFAULTS.parse().unwrap();
        let uncommented: toml::Table = changed(|line| {
            let code = line.strip_prefix("# ").filter(|_| is_default(line));
            code.unwrap_or(line).to_owned()
        })
        .parse()
        .unwrap();
        for (key, value) in defaults.iter().filter(|(key, _)| *key != "kinds") {
            match value.as_table() {
                Some(table) => {
                    for (name, value) in table {
                        assert_eq!(uncommented[key].get(name), Some(value), "{key}.{name}");
                    }
                }
                None => assert_eq!(uncommented.get(key), Some(value), "{key}"),
            }
        }
    }

    /// The optional keys contradict each other, but each of them is known in its table.
    #[test]
    fn every_optional_line_is_a_known_key_of_its_table() {
        let text = changed(|line| match line.strip_prefix("#? ") {
            Some(code) => code.replace("extends = \"other.toml\"", ""),
            None => line.to_owned(),
        });
        let error = resolve(&text).unwrap_err();
        assert!(error.contains("split.file"), "{error}");
        assert!(!error.contains("unknown key"), "{error}");
        assert!(!error.contains("expected a"), "{error}");
    }

    #[test]
    fn the_second_phase_resolves_once_it_is_uncommented() {
        let (first, second) = (
            template(&[("root", "photos")]),
            SECOND_PHASE.replace("#? ", ""),
        );
        let text = first.replace(SECOND_PHASE, &second);
        let resolved = resolve(&text).unwrap();
        let phases = resolved["phase"].as_array().unwrap();
        assert_eq!(phases.len(), 2);
        assert_eq!(phases[1]["name"].as_str(), Some("features24"));
    }

    #[test]
    fn a_root_with_quotes_and_backslashes_is_read_back() {
        for root in ["C:\\photos", "it's \"mine\"", "a # b"] {
            let table: toml::Table = template(&[("root", root)]).parse().unwrap();
            assert_eq!(table["data"]["root"].as_str(), Some(root));
        }
    }

    #[test]
    fn nothing_is_said_of_kinds_that_are_not_there() {
        let text = template(&[("root", "photos")]);
        assert!(text.starts_with("#:schema ./experiment.schema.json\n"));
        assert!(!text.contains("\n[kinds") && !text.contains("] below"));
        for line in text.lines().filter(|line| line.contains("[kinds")) {
            assert!(line.contains("] of `runner config --defaults`"), "{line}");
        }
    }
}

//! A model card: a `README.md` as the Hugging Face Hub shows it, with front matter that its search reads.

use std::{fmt::Write as _, path::Path};

use serde_json::{Value, json};

use super::{Exported, Format, PartScores, interval};
use crate::{
    config::experiment::{Geometry, ImageSize, Normalize, Weights},
    data::split::Part,
    model::families::{Arch, Source},
    rundir::records::ClassScores,
    text::{
        plain::{for_a_line, is_harmful},
        table::{Align, Table, counted, markdown_text, percent},
    },
};

/// The name of the file that the Hub reads.
pub(crate) const FILE: &str = "README.md";
/// The classes that are named in a sentence; a table has all of them.
const MOST_NAMED: usize = 12;

/// What a card describes.
pub(crate) struct Card<'a> {
    pub(crate) exported: &'a Exported<'a>,
    pub(crate) format: Format,
    /// The name of the exported file, which is in the folder of the card.
    pub(crate) file: &'a str,
    /// The images of each class in each [`Part`]; empty if the split of the run cannot be read.
    pub(crate) counts: Vec<[usize; 3]>,
}

/// The whole card.
pub(crate) fn text(card: &Card) -> String {
    let parts = [
        front_matter(card),
        introduction(card),
        data(card),
        scores(card.exported),
        usage(card),
        LIMITS.to_owned(),
        origin(card),
    ];
    parts.join("\n")
}

/// Limits that every classifier has.
const LIMITS: &str = "\
## Limits

- Every photo gets one of the classes above, also one that shows none of them.
- The scores hold for photos like those of the data set. Other cameras, places and subjects can do worse.
- The probabilities are the softmax of the network's output. They were not calibrated.
- Choose a license that the licenses of the photos and of the pretrained weights allow.
";

/// YAML for the Hub: <https://github.com/huggingface/hub-docs/blob/main/modelcard.md>. Texts are JSON strings, which YAML reads.
fn front_matter(card: &Card) -> String {
    let exported = card.exported;
    let arch = exported.experiment.model.arch.name();
    let library = library(card.format);
    let name = quoted(&exported.manifest.name);
    let mut text = format!(
        "---\n\
         # Choose a license: https://huggingface.co/docs/hub/repositories-licenses\n\
         # license: apache-2.0\n\
         library_name: {library}\n\
         pipeline_tag: image-classification\n\
         tags:\n- image-classification\n- {}\n- {arch}\n\
         metrics:\n- accuracy\n",
        card.format.extension(),
    );
    if !exported.scores.is_empty() {
        let _ = write!(text, "model-index:\n- name: {name}\n  results:\n");
    }
    for scores in &exported.scores {
        let _ = write!(
            text,
            "  - task:\n      type: image-classification\n    \
             dataset:\n      type: imagefolder\n      name: {}\n      split: {}\n    \
             metrics:\n    - type: accuracy\n      value: {:.4}\n    - type: loss\n      value: {:.4}\n",
            quoted(&data_name(exported)),
            hub_split(scores.part),
            scores.accuracy,
            scores.loss,
        );
    }
    text + "---\n"
}

fn library(format: Format) -> &'static str {
    match format {
        Format::Safetensors => "torchvision",
        Format::Onnx => "onnx",
    }
}

fn hub_split(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Valid => "validation",
        Part::Test => "test",
    }
}

/// The name of the data folder, without the folders that it is in.
fn data_name(exported: &Exported) -> String {
    let root = &exported.experiment.data.root;
    let name = root.file_name().map(|name| name.to_string_lossy());
    name.unwrap_or_else(|| "photos".into()).into_owned()
}

fn introduction(card: &Card) -> String {
    let exported = card.exported;
    let classes = &exported.manifest.classes;
    let mut names: Vec<String> = classes
        .iter()
        .take(MOST_NAMED)
        .map(|it| shown(it))
        .collect();
    if classes.len() > MOST_NAMED {
        names.push(format!("and {} more", classes.len() - MOST_NAMED));
    }
    format!(
        "# {}\n\nAn image classifier that tells {} classes apart: {}.\n\n\
         It is a `{}`, {}, trained with `runner` {}.\n",
        shown(&exported.manifest.name),
        classes.len(),
        names.join(", "),
        exported.experiment.model.arch.name(),
        beginning(exported),
        exported.manifest.runner_version,
    )
}

/// What the training began with. Of a file of weights only the name is told, as its folders concern nobody.
fn beginning(exported: &Exported) -> String {
    let manifest = exported.manifest;
    if let Some(parent) = &manifest.parent {
        let run = Path::new(&parent.run).file_name().unwrap_or_default();
        return format!("starting from the run {}", shown(&run.to_string_lossy()));
    }
    match &exported.experiment.model.weights {
        Weights::None => "starting from random parameters".to_owned(),
        Weights::Known(published) => format!("starting from the weights `{}`", published.name),
        Weights::File(path) => {
            let name = path.file_name().unwrap_or_default();
            format!(
                "starting from the weights in {}",
                shown(&name.to_string_lossy())
            )
        }
    }
}

fn data(card: &Card) -> String {
    let exported = card.exported;
    let manifest = exported.manifest;
    let mut text = format!(
        "## Data\n\n{} from the folder {}. SHA-256 of the names and contents: `{}`.\n\n",
        counted(
            manifest.n_train + manifest.n_valid + manifest.n_test,
            "photo"
        ),
        shown(&data_name(exported)),
        manifest.data_sha256,
    );
    let mut table = Table::new(&[
        ("class", Align::Left),
        ("training", Align::Right),
        ("validation", Align::Right),
        ("test", Align::Right),
    ]);
    for (class, counts) in manifest.classes.iter().zip(&card.counts) {
        let counts = counts.iter().map(usize::to_string);
        table.row(std::iter::once(class.clone()).chain(counts).collect());
    }
    let counts = [manifest.n_train, manifest.n_valid, manifest.n_test];
    let counts = counts.iter().map(usize::to_string);
    table.row(std::iter::once("all".to_owned()).chain(counts).collect());
    text.push_str(&table.markdown());
    text
}

fn scores(exported: &Exported) -> String {
    if exported.scores.is_empty() {
        return "## Scores\n\nThe run has not recorded the scores of this checkpoint.\n".to_owned();
    }
    let mut table = Table::new(&[
        ("photos", Align::Left),
        ("number", Align::Right),
        ("accuracy", Align::Right),
        ("95 % interval", Align::Right),
        ("loss", Align::Right),
    ]);
    for scores in &exported.scores {
        table.row(vec![
            hub_split(scores.part).to_owned(),
            scores.images.to_string(),
            percent(scores.accuracy),
            range(scores.interval()),
            format!("{:.4}", scores.loss),
        ]);
    }
    let mut text = format!("## Scores\n\n{}", table.markdown());
    text.push_str(
        "\nThe checkpoint was chosen by its scores on the validation photos, which are therefore slightly optimistic.\n",
    );
    for scores in exported.scores.iter().filter(|it| !it.classes.is_empty()) {
        let _ = write!(text, "\n{}", class_table(scores));
    }
    text
}

/// The scores of each class on one part. The interval of the recall shows how little a few photos tell.
fn class_table(scores: &PartScores) -> String {
    let mut table = Table::new(&[
        ("class", Align::Left),
        (hub_split(scores.part), Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("95 % interval", Align::Right),
    ]);
    let shown = |fraction: Option<f64>| fraction.map_or_else(|| "-".to_owned(), percent);
    for class in &scores.classes {
        let ClassScores {
            name,
            images,
            precision,
            recall,
            ..
        } = class;
        let interval = recall.map(|recall| interval(recall, *images));
        table.row(vec![
            name.clone(),
            images.to_string(),
            shown(*precision),
            shown(*recall),
            interval.map_or_else(|| "-".to_owned(), range),
        ]);
    }
    table.markdown()
}

fn range((low, high): (f64, f64)) -> String {
    format!("{:.1} to {:.1} %", low * 100.0, high * 100.0)
}

fn usage(card: &Card) -> String {
    let experiment = card.exported.experiment;
    let transforms = &experiment.transforms;
    let ImageSize { height, width } = transforms.size();
    let Normalize { mean, std } = transforms.normalize;
    let rotate = if experiment.data.exif_orientation {
        "Rotate the photo as its EXIF tag says, and convert it to RGB."
    } else {
        "Convert the photo to RGB, as it is stored: its EXIF orientation is ignored."
    };
    let filter = transforms.interpolation.name();
    let resize = match transforms.geometry {
        Geometry::Squash(_) => format!("Resize it to {height} x {width} (height x width) pixels"),
        Geometry::ShorterThenCrop { shorter, .. } => format!(
            "Resize its shorter side to {shorter} pixels, the other one in proportion, and cut {height} x {width} pixels from the center"
        ),
    };
    let [input, example] = match card.format {
        Format::Onnx => [
            "The input `image` is `[batch, 3, height, width]` with values from 0 to 1. The graph normalizes it. The outputs are `logits` and `probabilities`.".to_owned(),
            format!(
                "import json, onnxruntime\n\n\
                 session = onnxruntime.InferenceSession({})\n\
                 classes = json.loads(session.get_modelmeta().custom_metadata_map[\"classes\"])\n\
                 probabilities = session.run([\"probabilities\"], {{\"image\": pixels}})[0]\n",
                json!(card.file)
            ),
        ],
        Format::Safetensors if !is_in_torchvision(experiment.model.arch) => [
            normalization(mean, std),
            format!(
                "import safetensors.torch\n\n\
                 # torchvision does not have this architecture.\n\
                 state = safetensors.torch.load_file({})\n",
                json!(card.file)
            ),
        ],
        Format::Safetensors => [
            normalization(mean, std),
            format!(
                "import safetensors.torch, torchvision\n\n\
                 model = torchvision.models.get_model({}, num_classes={})\n\
                 model.load_state_dict(safetensors.torch.load_file({}))\n\
                 model.eval()\n",
                json!(experiment.model.arch.name()),
                card.exported.manifest.classes.len(),
                json!(card.file)
            ),
        ],
    };
    format!(
        "## Use\n\n1. {rotate}\n\
         2. {resize}, with an antialiased {filter} filter, as 32-bit floats and without rounding to 8 bits.\n\
         3. {input}\n\n\
         ```python\n{example}```\n\n\
         The metadata of the file has all of this for programs.\n"
    )
}

fn normalization(mean: [f32; 3], std: [f32; 3]) -> String {
    format!(
        "Scale the values to 0 to 1, and normalize them: `(value - mean) / std` with `mean = {mean:?}` and `std = {std:?}`."
    )
}

/// Whether torchvision builds the architecture: it publishes weights for all that it has.
fn is_in_torchvision(arch: Arch) -> bool {
    let mut weights = arch.weights().iter();
    weights.any(|published| matches!(published.source, Source::File { .. }))
}

fn origin(card: &Card) -> String {
    let exported = card.exported;
    let rows: [(&str, Value); 6] = [
        ("run", json!(exported.run)),
        ("checkpoint", json!(exported.which.name())),
        ("epoch", json!(exported.epoch)),
        ("SHA-256 of the model", json!(exported.model_sha256)),
        (
            "SHA-256 of the weights",
            json!(exported.manifest.weights_sha256),
        ),
        (
            "SHA-256 of the split",
            json!(exported.manifest.split_sha256),
        ),
    ];
    let mut table = Table::new(&[("origin", Align::Left), ("", Align::Left)]);
    for (key, value) in rows {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        table.row(vec![key.to_owned(), value]);
    }
    format!("## Origin\n\n{}", table.markdown())
}

/// A name from outside as a string of YAML, which allows fewer characters in one than JSON.
fn quoted(name: &str) -> String {
    let mut text = String::new();
    for letter in json!(name).to_string().chars() {
        if is_harmful(letter) {
            let _ = write!(text, "\\u{:04x}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text
}

/// A name from outside, safe in a line of Markdown.
fn shown(name: &str) -> String {
    markdown_text(&for_a_line(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_their_string_and_their_line() {
        assert_eq!(
            quoted("a\"b: \u{9b}\u{202e}\n"),
            "\"a\\\"b: \\u009b\\u202e\\n\""
        );
        assert_eq!(shown("a|b\n# c <i>"), "a\\|b\\\\n# c &lt;i&gt;");
    }
}

//! `runner models`: the architectures and their published weights, one line each, to choose from.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    commands::context::Context,
    console::answer_width,
    error::{Error, Result},
    fetch::catalog::{self, CatalogItem},
    model::{
        families::{Arch, Published, Source},
        paper::TensorSpec,
        weights,
    },
    text::{
        suggest::nearest,
        table::{Align, Table, shown, size},
    },
};

#[derive(Debug, clap::Args)]
pub(crate) struct ModelsArgs {
    /// List only models whose architecture or weights contain this text
    #[arg(value_name = "TEXT")]
    pub(crate) filter: Option<String>,
}

/// The classes of ImageNet, and the height and width of images, that parameters and multiplications are counted for.
const CLASSES: usize = 1000;
const SIDE: usize = 224;

/// Published weights of an architecture.
pub(super) struct ModelRow {
    arch: Arch,
    published: &'static Published,
    /// The download; `None` for weights in this binary.
    item: Option<CatalogItem>,
    presence: Presence,
    n_parameters: usize,
    n_multiplications: usize,
}

/// Whether weights can be used without a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    /// They are part of this binary.
    Embedded,
    /// The file is there and has the published size. Its hash is not compared, because reading all files takes too long.
    Downloaded,
    /// A file of another size has the name.
    WrongSize,
    Missing,
}

pub(crate) fn run(args: &ModelsArgs, cx: &Context) -> Result<()> {
    let filter = args.filter.as_deref().unwrap_or_default();
    let rows: Vec<ModelRow> = rows(|name| name.contains(filter)).collect();
    if rows.is_empty() {
        return Err(nothing_matches(filter));
    }
    let models: Vec<Value> = rows.iter().map(ModelRow::fields).collect();
    let mut table = table(&rows);
    fit(&mut table);
    let fields = json!({ "models": models });
    cx.console.answer("models", fields, table.text().trim_end());
    cx.console.note(
        "set `model.arch` and `model.weights` to use a model; \
         `runner fetch ARCHITECTURE/WEIGHTS` downloads its weights",
    );
    Ok(())
}

/// The published weights whose name, such as `resnet50/imagenet1k_v2`, satisfies a condition, in the order of the families.
pub(super) fn rows(is_wanted: impl Fn(&str) -> bool) -> impl Iterator<Item = ModelRow> {
    let all =
        Arch::all().flat_map(|arch| arch.weights().iter().map(move |weights| (arch, weights)));
    let wanted = all.filter(move |(arch, published)| is_wanted(&arch.name_with_weights(published)));
    wanted.map(|(arch, published)| ModelRow::new(arch, published))
}

/// A table of models for people.
pub(super) fn table(rows: &[ModelRow]) -> Table {
    let mut table = Table::new(&[
        ("architecture", Align::Left),
        ("weights", Align::Left),
        ("parameters", Align::Right),
        ("GMAC", Align::Right),
        ("top-1", Align::Right),
        ("size", Align::Right),
        ("downloaded", Align::Left),
    ]);
    for row in rows {
        table.row(vec![
            row.arch.name().to_owned(),
            row.published.name.to_owned(),
            format!("{:.1} M", row.n_parameters as f64 / 1e6),
            format!("{:.2}", row.n_multiplications as f64 / 1e9),
            shown(row.published.top1.map(|top1| format!("{top1:.1} %"))),
            size(row.published.size().0),
            row.presence.cell().to_owned(),
        ]);
    }
    table
}

/// Drops columns of a table of models that a narrow terminal has no room for. The size of the file tells the number of parameters.
pub(super) fn fit(table: &mut Table) {
    let least = ["downloaded", "GMAC", "parameters"];
    table.fit(answer_width(), &least, "architecture");
}

fn nothing_matches(filter: &str) -> Error {
    let names: Vec<&str> = Arch::all().map(Arch::name).collect();
    let error = Error::usage(format!("no model matches `{filter}`"));
    let error = match nearest(filter, &names) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None => error,
    };
    error.help("run `runner models` to list all models")
}

impl ModelRow {
    fn new(arch: Arch, published: &'static Published) -> Self {
        let paper = arch.paper(CLASSES, SIDE, SIDE);
        Self {
            arch,
            published,
            item: catalog::weights(arch, published),
            presence: Presence::of(published, &weights::torch_checkpoints()),
            n_parameters: paper.parameters().map(TensorSpec::n_elements).sum(),
            n_multiplications: paper.multiplications(paper.steps.len()),
        }
    }

    pub(super) fn is_download(&self) -> bool {
        self.item.is_some()
    }

    /// The row as JSON. What only downloads have is null for weights in this binary.
    pub(super) fn fields(&self) -> Value {
        let item = self.item.as_ref();
        let path = item.map(|item| weights::torch_checkpoints().join(item.file));
        json!({
            "name": self.arch.fetch_name(self.published),
            "arch": self.arch.name(),
            "weights": self.published.name,
            "parameters": self.n_parameters,
            "multiplications": self.n_multiplications,
            "top1": self.published.top1,
            "bytes": self.published.size().0,
            "state": self.presence.name(),
            "is_here": matches!(self.presence, Presence::Embedded | Presence::Downloaded),
            "path": path.map(|path| path.to_string_lossy().into_owned()),
            "url": item.map(|item| &item.url),
            "terms": item.map(|item| item.terms),
        })
    }
}

impl Presence {
    fn of(published: &Published, folder: &Path) -> Self {
        let Source::File { name, .. } = published.source else {
            return Self::Embedded;
        };
        let Ok(metadata) = fs::metadata(folder.join(name)) else {
            return Self::Missing;
        };
        let (bytes, tolerance) = published.size();
        if metadata.is_file() && metadata.len().abs_diff(bytes) <= tolerance {
            Self::Downloaded
        } else {
            Self::WrongSize
        }
    }

    fn cell(self) -> &'static str {
        match self {
            Self::Embedded => "built in",
            Self::Downloaded => "yes",
            Self::WrongSize => "wrong size",
            Self::Missing => "",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Downloaded => "downloaded",
            Self::WrongSize => "wrong_size",
            Self::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn row(name: &str) -> ModelRow {
        let mut rows = rows(|found| found == name);
        rows.next().unwrap()
    }

    #[test]
    fn models_have_the_parameters_and_multiplications_of_torchvision() {
        // torchvision's `num_params`, and its `_ops` (GMAC at 224 x 224).
        for (name, n_parameters, gmac) in [
            ("resnet18/imagenet1k_v1", 11_689_512, 1.814),
            ("resnet50/imagenet1k_v2", 25_557_032, 4.089),
            ("resnext101_64x4d/imagenet1k_v1", 83_455_272, 15.460),
            ("wide_resnet101_2/imagenet1k_v2", 126_886_696, 22.753),
            ("squeezenet1_1/imagenet1k_v1", 1_235_496, 0.349),
            ("vgg16_bn/imagenet1k_v1", 138_365_992, 15.470),
        ] {
            let row = row(name);
            assert_eq!(row.n_parameters, n_parameters, "{name}");
            let difference = row.n_multiplications as f64 / 1e9 - gmac;
            assert!(difference.abs() < 0.001, "{name}: {difference}");
        }
    }

    #[test]
    fn a_file_counts_as_downloaded_if_it_has_the_published_size() {
        let folder = tempfile::tempdir().unwrap();
        let presence = |name: &str| Presence::of(row(name).published, folder.path());
        let resize = |name: &str, bytes: u64| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_len(bytes).unwrap();
        };
        assert_eq!(presence("vgg16_slim/drawings_v1"), Presence::Embedded);
        let (known, rounded) = ("resnet18/imagenet1k_v1", "resnet101/imagenet1k_v2");
        assert_eq!(presence(known), Presence::Missing);
        resize("resnet18-f37072fd.pth", 46_830_571);
        assert_eq!(presence(known), Presence::Downloaded);
        resize("resnet18-f37072fd.pth", 46_830_570);
        assert_eq!(presence(known), Presence::WrongSize);
        // 170.53 MiB are 178 813 665 bytes, give or take.
        for (bytes, expected) in [
            (178_813_100, Presence::Downloaded),
            (178_814_200, Presence::Downloaded),
            (178_800_000, Presence::WrongSize),
            (0, Presence::WrongSize),
        ] {
            resize("resnet101-cd907fc2.pth", bytes);
            assert_eq!(presence(rounded), expected, "{bytes}");
        }
    }
}

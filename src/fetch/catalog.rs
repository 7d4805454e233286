//! The catalog of files that can be downloaded by name: where they are published, their sizes and hashes. Reads and writes
//! nothing.

use std::path::Path;

use crate::model::families::{Arch, Published, Source};

/// The URL below which torchvision's weights are published.
const TORCH_DOWNLOADS: &str = "https://download.pytorch.org/models";

/// Names that earlier versions used.
const ALIASES: [(&str, &str); 1] = [("vgg16_features", "vgg16/imagenet1k_features")];

/// Number of SHA-256 digits in the file names of torchvision's weights.
const HASH_DIGITS_IN_NAME: usize = 8;

/// A file as its publisher describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CatalogItem {
    pub(crate) name: String,
    /// The file name to save it under.
    pub(crate) file: &'static str,
    pub(crate) url: String,
    /// The whole hash, or its first digits.
    pub(crate) sha256: &'static str,
    /// The exact size, if the publisher states it.
    pub(crate) bytes: Option<u64>,
    pub(crate) about_bytes: u64,
    /// The license or terms of use.
    pub(crate) terms: &'static str,
    pub(crate) kind: DownloadKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DownloadKind {
    Weights,
    /// A zip archive in which `folder` contains one folder per class.
    Archive {
        folder: &'static str,
    },
}

impl CatalogItem {
    /// The size beyond which a download cannot be this file.
    pub(crate) fn at_most(&self) -> u64 {
        // Published sizes are rounded, hence the margin of 1 %.
        self.bytes
            .unwrap_or(self.about_bytes + self.about_bytes / 100)
    }

    /// The disk space needed until everything is unpacked. An archive of photos is about as large as its contents.
    pub(crate) fn bytes_with_contents(&self) -> u64 {
        match self.kind {
            DownloadKind::Weights => self.about_bytes,
            DownloadKind::Archive { .. } => 2 * self.about_bytes,
        }
    }
}

/// The folder in which archives are unpacked by default.
pub(crate) const ARCHIVES: &str = "data";

/// All files that can be downloaded, in the order of the help text.
pub(crate) fn items() -> Vec<CatalogItem> {
    let weights = Arch::all()
        .flat_map(|arch| arch.weights().iter().map(move |weights| (arch, weights)))
        .filter_map(|(arch, published)| weights(arch, published));
    std::iter::once(cats_vs_dogs()).chain(weights).collect()
}

pub(crate) fn find(name: &str) -> Option<CatalogItem> {
    let aliases = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = aliases.map_or(name, |(_, name)| name);
    items().into_iter().find(|item| item.name == name)
}

/// The folder that holds the images of the first archive after unpacking it in the default place.
pub(crate) fn usual_root() -> String {
    match cats_vs_dogs().kind {
        DownloadKind::Archive { folder } => format!("{ARCHIVES}/{folder}"),
        DownloadKind::Weights => ARCHIVES.to_owned(),
    }
}

/// Finds the archive whose folder of classes would be at `root`, and the folder to unpack it in.
pub(crate) fn archive_that_makes(root: &Path) -> Option<(String, &Path)> {
    items().into_iter().find_map(|item| match item.kind {
        DownloadKind::Archive { folder } if root.ends_with(folder) => {
            Some((item.name, root.parent()?))
        }
        DownloadKind::Archive { .. } | DownloadKind::Weights => None,
    })
}

/// The option with which `runner fetch` unpacks in `folder`, such as ` --to photos`; empty for the default folder.
pub(crate) fn option_to(folder: &Path) -> String {
    if folder == Path::new(ARCHIVES) {
        String::new()
    } else {
        format!(" --to {}", folder.display())
    }
}

/// Describes a weights file of torchvision, whose name contains the beginning of its hash.
fn weights(arch: Arch, published: &Published) -> Option<CatalogItem> {
    let Source::File {
        name: file,
        mebibytes,
        pinned,
    } = published.source
    else {
        return None;
    };
    let (sha256, bytes) = pinned.unzip();
    Some(CatalogItem {
        name: arch.fetch_name(published),
        file,
        url: format!("{TORCH_DOWNLOADS}/{file}"),
        sha256: sha256.unwrap_or_else(|| hash_in_name(file)),
        bytes,
        about_bytes: bytes.unwrap_or((mebibytes * f64::from(1 << 20)) as u64),
        terms: "BSD-3-Clause (torchvision); trained on ImageNet",
        kind: DownloadKind::Weights,
    })
}

/// Describes Microsoft's archive, with the size and hash that TensorFlow Datasets records in `url_checksums/cats_vs_dogs.txt`.
fn cats_vs_dogs() -> CatalogItem {
    CatalogItem {
        name: "cats-vs-dogs".to_owned(),
        file: "kagglecatsanddogs_5340.zip",
        url: "https://download.microsoft.com/download/3/E/1/3E1C3F21-ECDB-4869-8368-6DEBA77B919F/\
              kagglecatsanddogs_5340.zip"
            .to_owned(),
        sha256: "b7974bd00a84a99921f36ee4403f089853777b5ae8d151c76a86e64900334af9",
        bytes: Some(824_887_076),
        about_bytes: 824_887_076,
        terms: "Microsoft's (see the license in the archive)",
        kind: DownloadKind::Archive {
            folder: "PetImages",
        },
    }
}

/// The hash between the last `-` and the extension, which `torch.hub` checks too; empty if there is none.
fn hash_in_name(file: &'static str) -> &'static str {
    file.rsplit_once('.')
        .and_then(|(stem, _)| stem.rsplit_once('-'))
        .map(|(_, digits)| digits)
        .filter(|digits| {
            digits.len() >= HASH_DIGITS_IN_NAME
                && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_item_has_a_name_of_its_own_a_url_and_a_hash() {
        let items = items();
        let names: HashSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names.len(), items.len());
        for item in items {
            assert!(item.url.starts_with("https://"), "{}", item.url);
            assert!(
                item.url.ends_with(&format!("/{}", item.file)),
                "{}",
                item.url
            );
            assert!(matches!(item.sha256.len(), 8 | 64), "{}", item.name);
            assert!(
                item.sha256.starts_with(hash_in_name(item.file)),
                "{}",
                item.name
            );
        }
    }

    #[test]
    fn every_architecture_that_torchvision_has_can_be_fetched() {
        for arch in Arch::all().filter(|arch| arch.name() != "vgg16_slim") {
            let item = find(arch.name()).unwrap();
            assert!(item.file.starts_with(&format!("{}-", arch.name())));
            // Four bytes a parameter, or two in the first files of the wide networks, and little else.
            let bytes_per_value = if arch.name().starts_with("wide") {
                2
            } else {
                4
            };
            let tensors = arch.tensors(1000).into_iter();
            let n_values: usize = tensors.map(|tensor| tensor.n_elements()).sum();
            let (bytes, at_least) = (item.about_bytes, n_values as u64 * bytes_per_value);
            assert!((at_least..at_least + (1 << 20)).contains(&bytes), "{bytes}");
            assert!(item.at_most() >= bytes && item.at_most() < bytes * 11 / 10);
        }
        let archive = find("cats-vs-dogs").unwrap();
        assert_eq!(Some(archive.at_most()), archive.bytes);
    }

    #[test]
    fn the_hash_of_weights_is_what_stands_before_the_extension() {
        assert_eq!(find("vgg11").unwrap().sha256, "8a719046");
        let features = find("vgg16_features").unwrap();
        assert_eq!(features.sha256, "88682ab5");
        assert_eq!(
            features.url,
            "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth"
        );
        assert_eq!(hash_in_name("model-final.pth"), "");
    }

    #[test]
    fn an_unknown_name_is_not_found() {
        assert_eq!(find("vgg17"), None);
    }
}

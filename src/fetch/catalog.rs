//! The catalog of files that can be downloaded by name: where they are published, their sizes and hashes. Reads and writes
//! nothing.

use std::path::Path;

use crate::model::families::{Arch, Published, Source};

/// The URL below which torchvision's weights are published.
const TORCH_DOWNLOADS: &str = "https://download.pytorch.org/models";

/// The license or terms of use of torchvision's weights.
pub(crate) const TERMS_OF_WEIGHTS: &str = "BSD-3-Clause (torchvision); trained on ImageNet";

/// Names that earlier versions used.
const ALIASES: [(&str, &str); 1] = [("vgg16_features", "vgg16/imagenet1k_features")];

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

/// The archives of images that can be downloaded.
pub(crate) fn archives() -> Vec<CatalogItem> {
    vec![cats_vs_dogs()]
}

pub(crate) fn find(name: &str) -> Option<CatalogItem> {
    let mut archives = archives().into_iter();
    archives.find(|item| item.name == name).or_else(|| {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let (arch, published) = Arch::find_weights(alias.map_or(name, |(_, name)| name))?;
        weights(arch, published)
    })
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
    archives().into_iter().find_map(|item| match item.kind {
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

/// Describes a weights file of torchvision; `None` for weights that are not a file.
pub(crate) fn weights(arch: Arch, published: &Published) -> Option<CatalogItem> {
    let Source::File {
        name: file, pinned, ..
    } = published.source
    else {
        return None;
    };
    Some(CatalogItem {
        name: arch.fetch_name(published),
        file,
        url: format!("{TORCH_DOWNLOADS}/{file}"),
        sha256: published.sha256(),
        bytes: pinned.map(|(_, bytes)| bytes),
        about_bytes: published.size().0,
        terms: TERMS_OF_WEIGHTS,
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn items() -> Vec<CatalogItem> {
        let weights = Arch::all()
            .flat_map(|arch| arch.weights().iter().map(move |weights| (arch, weights)))
            .filter_map(|(arch, published)| weights(arch, published));
        archives().into_iter().chain(weights).collect()
    }

    #[test]
    fn every_item_is_found_by_a_name_of_its_own_and_has_a_url_and_a_hash() {
        let items = items();
        let names: HashSet<&str> = items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names.len(), items.len());
        for item in items {
            assert_eq!(find(&item.name).as_ref(), Some(&item));
            assert!(item.url.starts_with("https://"), "{}", item.url);
            let file = format!("/{}", item.file);
            assert!(item.url.ends_with(&file), "{}", item.url);
            assert!(matches!(item.sha256.len(), 8 | 10 | 64), "{}", item.name);
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
    fn weights_are_found_by_their_names_in_full_and_by_earlier_names() {
        let item = find("resnet50/imagenet1k_v2").unwrap();
        assert_eq!(item.file, "resnet50-11ad3fa6.pth");
        let v1 = find("resnet50/imagenet1k_v1").unwrap();
        assert_eq!(
            (v1.name.as_str(), &v1),
            ("resnet50", &find("resnet50").unwrap())
        );
        assert_eq!(find("vgg11").unwrap().sha256, "8a719046");
        let features = find("vgg16_features").unwrap();
        assert_eq!(features.name, "vgg16/imagenet1k_features");
        assert_eq!(
            features.url,
            "https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth"
        );
    }

    #[test]
    fn what_cannot_be_downloaded_is_not_found() {
        for name in [
            "vgg17",
            "vgg16_slim",
            "resnet50/",
            "resnet50/imagenet1k_v3",
            "/imagenet1k_v1",
        ] {
            assert_eq!(find(name), None, "{name}");
        }
    }
}

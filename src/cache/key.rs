//! The recipe of activations, which determines whether they are interchangeable, its hash, and the file that describes it to
//! humans. Must not know of segments.

use std::{fs::File, io::Read as _, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::slot::SlotLayout;
use crate::{
    disk::{files, hash},
    error::{Error, Result},
};

/// The version of keys, `about.toml` and segments. Must be raised with every change to their format, which makes new keys, so
/// that old entries are never opened.
pub(crate) const FORMAT: u32 = 1;
/// The file that describes an entry, beside its segments.
pub(super) const ABOUT: &str = "about.toml";
/// The description has some hundred bytes; a larger file was not written by the cache.
const MAX_ABOUT_BYTES: u64 = 64 << 10;
/// Hexadecimal digits of the key in the name of an entry's folder.
const N_NAME_DIGITS: usize = 16;

/// The SHA-256 of a photo's bytes, with whatever else the caller mixes in.
pub(crate) type ItemKey = [u8; 32];

/// The precision in which activations are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActivationPrecision {
    F32,
    F16,
}

/// Everything that an activation depends on, except the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) arch: String,
    /// The layers that computed it, such as `features[0..24]`.
    pub(crate) prefix: String,
    /// SHA-256 of the parameters of these layers.
    pub(crate) weights_sha256: String,
    pub(crate) transforms: String,
    /// Raised whenever the same file decodes to other pixels.
    pub(crate) decoder: u32,
    pub(crate) backend: String,
    /// Raised whenever the same layers compute other digits.
    pub(crate) kernels: u32,
    pub(crate) precision: ActivationPrecision,
    /// The shape of the activation of one image.
    pub(crate) shape: Vec<usize>,
}

impl Recipe {
    pub(crate) fn key(&self) -> RecipeKey {
        // JSON quotes strings, so that no two recipes have the same text. The fields are in the order of the struct, which must
        // therefore not change.
        let text = serde_json::to_string(&(FORMAT, self)).expect("a recipe has only text, numbers");
        RecipeKey(Sha256::digest(text).into())
    }

    /// The bytes that an item takes on the disk, for [`super::make_room`].
    pub(crate) fn bytes_per_item(&self) -> Result<u64> {
        SlotLayout::new(self)
            .map(|layout| layout.bytes_with_index())
            .map_err(|fact| Error::internal(format!("activation cache: {fact}")))
    }
}

/// The hash of a recipe.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RecipeKey([u8; 32]);

impl RecipeKey {
    /// All 64 hexadecimal digits.
    pub(crate) fn hex(&self) -> String {
        hash::hex(&self.0)
    }

    /// The name of the entry's folder.
    pub(crate) fn folder_name(&self) -> String {
        hash::hex(&self.0[..N_NAME_DIGITS / 2])
    }

    /// The seed of every checksum, so that a segment of another entry is not valid in this one.
    pub(super) fn seed(&self) -> u64 {
        let last = self.0.last_chunk().expect("32 bytes have a last 8");
        u64::from_le_bytes(*last)
    }
}

impl std::fmt::Debug for RecipeKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.hex())
    }
}

/// Whether an entry's folder could have this name.
pub(super) fn is_folder_name(name: &str) -> bool {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == N_NAME_DIGITS && name.bytes().all(is_digit)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    format: u32,
    key: String,
    recipe: Recipe,
}

/// The content of `about.toml`.
pub(super) enum Description {
    /// The file has not been written yet.
    Absent,
    /// The recipe, and the key that matches it.
    Sound(Recipe, RecipeKey),
    /// The description cannot be used, for the reason in this clause.
    Damaged(String),
}

pub(super) fn write_about(folder: &Path, recipe: &Recipe) -> Result<()> {
    let about = About {
        format: FORMAT,
        key: recipe.key().hex(),
        recipe: recipe.clone(),
    };
    let path = folder.join(ABOUT);
    let text = toml::to_string(&about).map_err(|error| {
        Error::internal(format!("cannot serialize a recipe: {error}")).at(&path)
    })?;
    let text =
        format!("# Activations of frozen layers; see `runner cache`. Safe to delete.\n{text}");
    files::write_atomic(&path, text.as_bytes())
}

/// Reads the description of an entry. Fails only if the disk does.
pub(super) fn read_about(folder: &Path) -> Result<Description> {
    let path = folder.join(ABOUT);
    let damaged = |fact: &str| Ok(Description::Damaged(format!("`{ABOUT}` {fact}")));
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Description::Absent);
        }
        Err(error) => return Err(Error::io("read", path)(error)),
        // Opening a pipe would block until somebody writes to it.
        Ok(metadata) if !metadata.is_file() => return damaged("is not a file"),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_ABOUT_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        // The entry was evicted in the meantime; inspecting one does not lock it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Description::Absent);
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    }
    if bytes.len() as u64 > MAX_ABOUT_BYTES {
        return damaged("is too large");
    }
    let Ok(text) = str::from_utf8(&bytes) else {
        return damaged("is not UTF-8 text");
    };
    let about: About = match toml::from_str(text) {
        Ok(about) => about,
        Err(error) => return damaged(&format!("is invalid: {}", error.message())),
    };
    let key = about.recipe.key();
    if about.format != FORMAT {
        return damaged(&format!("has format {}, expected {FORMAT}", about.format));
    }
    if about.key != key.hex() {
        return damaged("has a key that does not match its recipe");
    }
    if let Err(fact) = SlotLayout::new(&about.recipe) {
        return damaged(&format!("is invalid: {fact}"));
    }
    Ok(Description::Sound(about.recipe, key))
}

//! What makes two activations interchangeable, its hash, and the file that says so to humans. Must not know of segments.

use std::{fs::File, io::Read as _, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::slot::SlotLayout;
use crate::{
    disk::{files, hash},
    error::{Error, Result},
};

/// Of keys, `about.toml` and segments. Whoever changes the layout of any raises it: old entries are then never opened.
pub(crate) const FORMAT: u32 = 1;
/// Beside the segments of an entry.
pub(super) const ABOUT: &str = "about.toml";
/// Ours has some hundred bytes; a larger file is not ours.
const MAX_ABOUT_BYTES: u64 = 64 << 10;
/// Hexadecimal digits of the key in the name of an entry's folder.
const N_NAME_DIGITS: usize = 16;

/// The SHA-256 of a photo's bytes, with whatever else the caller mixes in.
pub(crate) type ItemKey = [u8; 32];

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActivationPrecision {
    F32,
    F16,
}

/// All that an activation depends on, but for the photo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) arch: String,
    /// The layers that made it, as in `features[0..24]`.
    pub(crate) prefix: String,
    /// Of the parameters of these layers.
    pub(crate) weights_sha256: String,
    pub(crate) transforms: String,
    /// Raised whenever the same file decodes to other pixels.
    pub(crate) decoder: u32,
    pub(crate) backend: String,
    /// Raised whenever the same layers compute other digits.
    pub(crate) kernels: u32,
    pub(crate) precision: ActivationPrecision,
    /// Of one photo's activation.
    pub(crate) shape: Vec<usize>,
}

impl Recipe {
    pub(crate) fn key(&self) -> RecipeKey {
        // JSON quotes, so that no two recipes have one text; the order of the fields is that of the struct.
        let text = serde_json::to_string(&(FORMAT, self)).expect("a recipe has only text, numbers");
        RecipeKey(Sha256::digest(text).into())
    }

    /// What an item takes on the disk, for [`super::make_room`].
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
    /// All 64 digits.
    pub(crate) fn hex(&self) -> String {
        hash::hex(&self.0)
    }

    /// Of the entry's folder.
    pub(crate) fn folder_name(&self) -> String {
        hash::hex(&self.0[..N_NAME_DIGITS / 2])
    }

    /// Goes into every checksum, so that a segment of another entry does not count in this one.
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

/// What `about.toml` says of an entry.
pub(super) enum Description {
    /// Nobody has written it yet.
    Absent,
    /// With a key that fits it.
    Sound(Recipe, RecipeKey),
    /// Why it cannot be believed.
    Damaged(String),
}

pub(super) fn write_about(folder: &Path, recipe: &Recipe) -> Result<()> {
    let about = About {
        format: FORMAT,
        key: recipe.key().hex(),
        recipe: recipe.clone(),
    };
    let path = folder.join(ABOUT);
    let text = toml::to_string(&about)
        .map_err(|error| Error::internal(format!("{}: {error}", path.display())))?;
    let text =
        format!("# Activations of frozen layers; see `runner cache`. Safe to delete.\n{text}");
    files::write_atomic(&path, text.as_bytes())
}

/// Fails only where the disk does.
pub(super) fn read_about(folder: &Path) -> Result<Description> {
    let path = folder.join(ABOUT);
    let damaged = |fact: String| Ok(Description::Damaged(format!("{ABOUT}: {fact}")));
    match path.metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Description::Absent);
        }
        Err(error) => return Err(Error::io("read", path)(error)),
        // Opening a pipe would wait for somebody to write.
        Ok(metadata) if !metadata.is_file() => return damaged("not a file".to_owned()),
        Ok(_) => {}
    }
    let mut bytes = Vec::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_ABOUT_BYTES + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        // Evicted since, from under somebody who only looks.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Description::Absent);
        }
        Err(error) => return Err(Error::io("read", &path)(error)),
    }
    if bytes.len() as u64 > MAX_ABOUT_BYTES {
        return damaged("too long".to_owned());
    }
    let Ok(text) = str::from_utf8(&bytes) else {
        return damaged("not text".to_owned());
    };
    let about: About = match toml::from_str(text) {
        Ok(about) => about,
        Err(error) => return damaged(error.message().to_owned()),
    };
    let key = about.recipe.key();
    if about.format != FORMAT {
        return damaged(format!("format {}, not {FORMAT}", about.format));
    }
    if about.key != key.hex() {
        return damaged("its key is not that of its recipe".to_owned());
    }
    if let Err(fact) = SlotLayout::new(&about.recipe) {
        return damaged(fact);
    }
    Ok(Description::Sound(about.recipe, key))
}

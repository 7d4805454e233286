//! Activations of frozen layers on the disk, one entry per recipe, shared by all processes of the machine. Knows bytes,
//! floats, hashes and files; must not know of models, tensors, images or the screen.

mod index;
mod key;
mod lease;
mod own;
mod record;
mod room;
mod segment;
mod shelf;
mod slot;
mod store;
#[cfg(test)]
mod tests;

pub(crate) use key::{ActivationPrecision, ItemKey, Recipe};
pub(crate) use own::Trust;
pub(crate) use room::make_room;
pub(crate) use shelf::{EntryInfo, Prune, list, prune, verify};
pub(crate) use store::{Lookup, Store, obstacle};

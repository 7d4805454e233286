//! Networks: their architectures (`layout`), the selection of parameters (`select`), the sources of their values (`weights`,
//! `init`, `state`) and the Burn module itself (`vgg`).

mod batch_norm;
mod conv;
pub(crate) mod front;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod layout;
pub(crate) mod linear;
mod operation;
pub(crate) mod preset;
pub(crate) mod select;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod torch_cache;
mod transpose;
pub(crate) mod vgg;
pub(crate) mod weights;

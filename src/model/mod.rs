//! Networks: on paper (`paper`, `families`), the selection of parameters (`select`), the sources of their values (`weights`,
//! `init`, `start`, `state`, `tensor_file`) and the Burn module (`network`).

mod activation;
pub(crate) mod attribution;
mod batch_norm;
mod conv;
pub(crate) mod families;
mod forward;
pub(crate) mod front;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod linear;
pub(crate) mod network;
mod operation;
#[cfg(test)]
mod operation_tests;
pub(crate) mod paper;
pub(crate) mod parameters;
mod pool;
pub(crate) mod preset;
#[cfg(test)]
mod published_tests;
pub(crate) mod select;
pub(crate) mod start;
pub(crate) mod state;
pub(crate) mod tensor_file;
#[cfg(test)]
mod tests;
mod torch_cache;
pub(crate) mod transpose;
pub(crate) mod weights;

//! Getting files that somebody else publishes: what there is, bringing it here, unpacking it. Knows no experiment.

pub(crate) mod catalog;
pub(crate) mod download;
mod part;
mod reply;
pub(crate) mod unpack;

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;

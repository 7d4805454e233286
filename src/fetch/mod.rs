//! Downloads and unpacks published files: the catalog, HTTP downloads that resume, zip archives. Knows no experiment.

pub(crate) mod catalog;
mod certificates;
mod connection;
pub(crate) mod download;
pub(crate) mod part;
mod reply;
pub(crate) mod room;
pub(crate) mod unpack;

#[cfg(test)]
mod server;
#[cfg(test)]
mod tests;

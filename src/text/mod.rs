//! Text for people: tables, sizes, moments, and what must be made harmless before a terminal shows it.

pub(crate) mod moment;
pub(crate) mod plain;
pub(crate) mod suggest;
pub(crate) mod table;

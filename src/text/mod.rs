//! Text for people: tables, sizes, times, suggestions, and text from elsewhere made safe for a terminal.

pub(crate) mod moment;
pub(crate) mod plain;
pub(crate) mod suggest;
pub(crate) mod table;

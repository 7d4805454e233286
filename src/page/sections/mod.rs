//! The sections of pages, one file each. A function gets all values of a page and returns its section, or `None` if it has
//! nothing to show.

pub(super) mod calibration;
pub(super) mod classes;
pub(super) mod comparison;
pub(super) mod confusion;
pub(super) mod curves;
pub(super) mod data;
pub(super) mod groups;
pub(super) mod headline;
pub(super) mod lineage;
pub(super) mod settings;
pub(super) mod sweep;
pub(super) mod times;

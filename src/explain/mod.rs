//! Where a network looked: class activation maps, and their pictures. Pure; knows no tensors, files or runs.

mod maps;
mod overlay;

pub(crate) use self::{
    maps::{HeatMap, Method},
    overlay::overlay,
};

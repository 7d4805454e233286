//! The program's operations, and networks of them.

#[path = "../../../src/model/activation.rs"]
mod activation;
#[path = "../../../src/model/batch_norm.rs"]
mod batch_norm;
#[path = "../../../src/model/conv.rs"]
mod conv;
#[path = "../../../src/model/host.rs"]
mod host;
pub(crate) mod layers;
#[path = "../../../src/model/operation.rs"]
mod operation;
#[path = "../../../src/model/paper/geometry.rs"]
mod paper;
#[path = "../../../src/model/pool.rs"]
mod pool;

/// What `host` needs of the program's state dicts.
mod state {
    pub(crate) struct HostTensor {
        pub(crate) shape: Vec<usize>,
        pub(crate) values: Vec<f32>,
    }
}

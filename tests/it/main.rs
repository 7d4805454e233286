//! The program as its users meet it: one module per subject.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod asha;
mod bombs;
mod cache;
#[cfg(target_os = "linux")]
mod cluster;
mod compare;
mod config;
#[cfg(unix)]
mod damage;
mod data;
mod disk;
mod documented;
#[cfg(unix)]
mod emit;
mod evaluate;
mod explain;
mod export;
mod faults;
mod fetch;
#[cfg(unix)]
mod hostile;
mod json;
#[cfg(unix)]
mod limits;
mod memory;
mod metric;
mod models;
mod predict;
mod program;
mod python;
mod real;
mod remains;
mod report;
mod results;
mod resume;
mod run;
mod runs;
mod samples;
mod secrets;
#[path = "../../src/fetch/server.rs"]
#[expect(dead_code, reason = "the tests beside the source use the rest")]
mod server;
mod slim;
mod start;
mod sweep;
mod sweep_again;
mod tensorboard;
#[cfg(unix)]
mod together;
mod torture;
mod transforms;
mod voice;

//! The program as its users meet it: one module per subject.

#![expect(clippy::unwrap_used, reason = "tests may panic")]

mod config;
mod data;
mod program;
mod real;
mod resume;
mod run;

//! One integration binary, a module per topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod check;
mod crate_edges;
mod demo;
mod real;

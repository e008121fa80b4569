//! One integration binary, a module per topic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]

mod asking;
mod check;
mod crate_edges;
mod demo;
mod real;
mod serve;
mod stand_in;

//! One integration binary, a module per topic.

mod check;
mod crate_edges;
mod demo;
mod real;

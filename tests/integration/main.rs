//! One integration binary, a module per topic.

mod crate_edges;
mod demo;
mod real;

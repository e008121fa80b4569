//! The gate: which statements, and which plan nodes, may exist at all.
//!
//! Both are lists of what is allowed. What a new version of the parser or the planner learns to do is refused until
//! someone has thought about it.

mod plan;
mod size;
mod statement;

pub(crate) use plan::check_plan;
pub(crate) use statement::{Question, REFUSED_FUNCTIONS, parse};

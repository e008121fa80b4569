//! The commands, one module each.

pub(crate) mod check;
pub(crate) mod produce;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod token;

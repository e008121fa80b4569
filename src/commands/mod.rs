//! The commands, one module each.

pub(crate) mod access;
pub(crate) mod acl;
pub(crate) mod audit;
pub(crate) mod broker;
pub(crate) mod check;
pub(crate) mod init;
pub(crate) mod produce;
pub(crate) mod rebuild;
pub(crate) mod replay;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod status;
pub(crate) mod token;
pub(crate) mod trace;

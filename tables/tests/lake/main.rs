//! The crate from outside: contracts as files, tables in a local folder.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clinic;
mod contracts;
mod corrections;
mod duplicates;
mod evolution;
mod fencing;
mod maintenance;
mod reading;
mod rebuild;
mod upserts;
mod walking;
mod widening;

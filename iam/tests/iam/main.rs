//! Who asks and what they may see, from outside the crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod decisions;
mod folder;
mod levels_are_monotone;
mod oracle;
mod problems;
mod survey;
mod tokens;
mod who_sees_what;

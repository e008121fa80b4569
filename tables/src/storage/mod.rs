//! Where the tables stand: a local folder or S3-compatible storage, and the proof that it may be used.

mod config;
mod probe;
mod store;

pub use config::{Secret, StorageConfig, StorageUrl};

pub(crate) use store::Store;

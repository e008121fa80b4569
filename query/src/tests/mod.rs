//! The service as a whole, over a small chain of clinics in Parquet files.

mod attacks;
mod audited;
mod barrier;
mod errors;
mod house;
mod limits;
mod noninterference;
mod rows;
mod transparency;

//! The tests that need more than one crate, as one binary.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures of the parity tests, shown by --nocapture")]

mod cli;
#[cfg(unix)]
mod clients;
mod device;
mod hub;
mod library;
mod parity;
mod project;
mod resume;
mod shared_base;
mod training;
mod workers;

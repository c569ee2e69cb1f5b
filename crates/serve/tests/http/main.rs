//! The server over a real port, as clients meet it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod adapters;
mod bad_input;
mod classification;
mod clients;
mod description;
mod generation;
mod log_probabilities;
mod metrics;
mod protocol;
mod served;
mod stopping;
mod streams;

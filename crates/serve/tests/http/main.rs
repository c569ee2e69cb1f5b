//! The server over a real port, as clients meet it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod adapters;
mod bad_input;
#[cfg(unix)]
mod browser;
#[cfg(unix)]
mod chromium;
mod classification;
mod clients;
mod connections;
mod description;
mod generation;
mod log_probabilities;
mod metrics;
mod page;
mod protocol;
mod served;
mod stopping;
mod streams;
mod tools;

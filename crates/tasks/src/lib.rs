//! What a model is asked: how rows become examples, what the loss is, how good the answers are.
//!
//! [`metrics`] are the scores of an evaluation. This crate knows no runs, optimisers, terminals or HTTP.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod metrics;

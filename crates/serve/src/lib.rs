//! Trained models answer over HTTP: OpenAI's completions and chat, classification as vLLM and text-embeddings-inference have
//! it, adapters loaded and unloaded while it runs.
//!
//! [`Engine`] owns the models and answers requests; [`Server`] listens and speaks HTTP. Neither knows training, configuration
//! files or terminals: what there is to say goes to a [`Log`]. TLS is a proxy's work.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod access;
mod adapters;
mod answered;
mod app;
mod body;
mod choice;
mod classify;
mod connection;
mod engine;
mod fields;
mod head;
mod host;
mod id;
mod json;
mod log;
mod memory;
mod metrics;
mod openai;
mod openapi;
mod page;
mod places;
mod predict;
mod problem;
mod routes;
mod server;
mod settings;
mod stage;
mod tokens;

pub use access::{ApiKeys, KeyError, is_readable_by_all};
pub use engine::{Base, Engine, Error as EngineError, Limits, Model};
pub use log::Log;
pub use server::{Error, Server};
pub use settings::Settings;
pub use stage::Stop;

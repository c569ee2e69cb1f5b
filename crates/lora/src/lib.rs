//! Adapter methods on linear layers and embeddings, and PEFT's files.
//!
//! [`Linear`] and [`Embedding`] are the layers that every architecture is made of: a weight that is frozen or trained,
//! perhaps a bias, and perhaps an adapter. A [`Plan`] says which of these a module gets, by its path, and records what it said. This crate knows no
//! architecture; a path is a text to it.

mod analysis;
mod config;
mod embedding;
mod error;
mod linear;
mod methods;
pub mod peft;
mod plan;
mod suggest;
mod targets;
mod weight;

pub use analysis::{Spectrum, spectra, update_norms};
pub use config::{BiasMode, Init, LoraConfig, Names, Targets};
pub use embedding::Embedding;
pub use error::Error;
pub use linear::{Linear, Orientation, OutputLayer, Projection};
pub use methods::{Adapter, Lora, LoraEmbedding};
pub use plan::{Method, Parameter, Part, Plan, Replacement, Treatment, Update};
pub use suggest::{nearest, suggest};
pub use targets::{Kind, Selection, Selector, Settings, TargetError};
pub use weight::Weight;

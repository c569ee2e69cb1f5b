//! Adapter methods on linear layers, and PEFT's files.
//!
//! [`Linear`] is the layer that every architecture is made of: a weight that is frozen or trained, a bias, and perhaps an
//! adapter. A [`Plan`] says which of these a module gets, by its path, and records what it said. This crate knows no
//! architecture; a path is a text to it.

mod analysis;
mod config;
mod error;
mod linear;
mod methods;
pub mod peft;
mod plan;
mod suggest;
mod targets;
mod weight;

pub use analysis::update_norms;
pub use config::{BiasMode, Init, LoraConfig, Names, Targets};
pub use error::Error;
pub use linear::{Linear, TiedLinear};
pub use methods::{Adapter, Lora};
pub use plan::{Method, Parameter, Part, Plan, Treatment};
pub use suggest::{nearest, suggest};
pub use targets::{Kind, Selection, Selector, TargetError};
pub use weight::Weight;

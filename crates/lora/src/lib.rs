//! Adapter methods on linear layers and embeddings, and PEFT's files.
//!
//! [`Linear`] and [`Embedding`] are the layers that every architecture is made of: a weight that is frozen or trained,
//! perhaps a bias, and perhaps an adapter. A [`Plan`] says which of these a module gets, by its path, and records what it said. This crate knows no
//! architecture; a path is a text to it.

mod adapter_set;
mod analysis;
mod config;
mod embedding;
mod error;
mod factors;
mod files;
mod forward_context;
mod frozen_weight;
mod interruption;
mod linear;
mod method;
pub mod methods;
pub mod peft;
mod plan;
mod regular_file;
mod routes;
mod settings;
mod targets;
mod trained;
mod update;
mod weight;

pub use adapter_set::{AdapterSet, SharedBaseError};
pub use analysis::{UpdateSize, spectra, update_sizes};
pub use config::{BiasMode, Names, TargetConfig, Targets};
pub use embedding::Embedding;
pub use error::Error;
pub use factors::{
    Angles, Combination, CombineError, Cut, FactoredAdapter, Factors, FactorsError, LowRank, MajoritySign, Module,
    NewAdapter, Resized, Spectrum, ThinSvd, Weighted, approximated, combined, fill_up_experts, principal_angles,
};
pub use files::{Layout, Package, files};
pub use forward_context::ForwardContext;
pub use frozen_weight::FrozenWeight;
pub use linear::{Linear, Orientation, OutputLayer, Projection};
pub use method::{
    AdapterMethod, BackwardPass, Base, Built, Keeps, ParameterGroup, Place, Rate, ResidualSite, Site, Sublayer,
    TakenApart, UnreadKeys,
};
pub use methods::{Adapter, EmbeddingAdapter, Init, Known, Lora, LoraConfig, Method, ResidualAdapter};
pub use plan::{Plan, QuantisedSize, Treatment};
pub use regular_file::{check_regular, read_regular, read_regular_text};
pub use routes::Routes;
pub use settings::{Setting, SettingKind, settings, settings_of};
pub use targets::{Kind, LayersOfTargets, NameSetting, Selection, Selections, Selector, Settings, TargetError};
pub use trained::{Parameter, Part, Replacement, TrainedTensors};
pub use update::{Beyond, Expected, Fold, Form, Precision, ThinFactors, Update};
pub use weight::Weight;

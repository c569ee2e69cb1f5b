//! The parts that architectures share: what a linear layer, an embedding and a norm are made of is decided by the loader.

mod dropout;
mod layer_norm;
mod residual;
mod rms_norm;
mod rope;

pub(crate) use dropout::Dropout;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use residual::Residual;
pub(crate) use rms_norm::{RmsNorm, RmsNormConfig};
pub(crate) use rope::{Angles, Rope};

//! The adapter methods, one file each.

mod lora;

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::Pass;

pub use lora::Lora;
pub(crate) use lora::{initial_a, normal};

use crate::Weight;

/// What a layer carries besides its own weight.
#[derive(Module, Debug)]
pub enum Adapter {
    Lora(Lora),
}

impl Adapter {
    pub(crate) fn forward(&self, x: Tensor<2>, base: &Weight<2>, pass: &Pass) -> Tensor<2> {
        match self {
            Self::Lora(lora) => lora.forward(x, base, pass),
        }
    }
}

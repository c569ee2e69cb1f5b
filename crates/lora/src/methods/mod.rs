//! The adapter methods, one file each.

mod lora;

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::Pass;

pub use lora::{Lora, LoraEmbedding};
pub(crate) use lora::{initial_a, normal};

/// What a layer carries besides its own weight.
#[derive(Module, Debug)]
pub enum Adapter {
    Lora(Lora),
}

impl Adapter {
    /// `base: [d_output, d_input]`
    pub(crate) fn forward(&self, x: Tensor<2>, base: Tensor<2>, pass: &Pass) -> Tensor<2> {
        match self {
            Self::Lora(lora) => lora.forward(x, base, pass),
        }
    }
}

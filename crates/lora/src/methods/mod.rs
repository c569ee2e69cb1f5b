//! The adapter methods, one file each.

mod lora;

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::ForwardContext;

pub use lora::{Lora, LoraEmbedding};
pub(crate) use lora::{initial_a, normal};

/// What a layer carries besides its own weight.
#[derive(Module, Debug)]
pub enum Adapter {
    Lora(Lora),
}

impl Adapter {
    /// `weight: [d_output, d_input]`, `bias: [d_output]`, both frozen.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
        ctx: &ForwardContext,
    ) -> Tensor<2> {
        match self {
            Self::Lora(lora) => lora.forward(x, weight, bias, ctx),
        }
    }
}

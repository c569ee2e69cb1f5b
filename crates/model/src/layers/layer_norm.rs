//! LayerNorm with its weight and bias.

use burn::module::Module;
use burn::tensor::Tensor;
use lora::Weight;

#[derive(Module, Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Weight<1>,
    pub(crate) bias: Weight<1>,
    pub(crate) epsilon: f64,
}

impl LayerNorm {
    /// `[rows, d]` to `[rows, d]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::layer_norm(x, self.weight.value(), self.bias.value(), self.epsilon)
    }
}

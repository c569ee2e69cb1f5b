//! RMSNorm with its weight.

use burn::module::Module;
use burn::tensor::Tensor;
use lora::Weight;

#[derive(Module, Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Weight<1>,
    pub(crate) epsilon: f64,
}

impl RmsNorm {
    /// `[rows, d]` to `[rows, d]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::rms_norm(x, self.weight.value(), self.epsilon)
    }

    /// Of each head by itself: `[tokens, heads * d_head]` to the same, the norm being `d_head` wide.
    pub(crate) fn forward_heads(&self, x: Tensor<2>) -> Tensor<2> {
        let [tokens, width] = x.dims();
        let d_head = self.weight.value().dims()[0];
        self.forward(x.reshape([tokens * width / d_head, d_head])).reshape([tokens, width])
    }
}

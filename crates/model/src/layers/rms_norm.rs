//! RMSNorm with its weight.

use burn::module::Module;
use burn::tensor::Tensor;
use lora::Weight;

/// What a model's norms have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RmsNormConfig {
    pub(crate) epsilon: f64,
    /// Whether the factor is 1 + w, w being the weight, as in Gemma.
    pub(crate) plus_one: bool,
}

#[derive(Module, Debug)]
pub(crate) struct RmsNorm {
    pub(crate) weight: Weight<1>,
    #[module(skip)]
    pub(crate) config: RmsNormConfig,
}

impl RmsNorm {
    /// `[rows, d]` to `[rows, d]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (weight, epsilon) = (self.weight.value(), self.config.epsilon);
        match self.config.plus_one {
            true => kernels::unit_offset_rms_norm(x, weight, epsilon),
            false => kernels::rms_norm(x, weight, epsilon),
        }
    }

    /// Of each group of as many columns as the norm is wide by itself, such as the heads of attention:
    /// `[tokens, groups * d]` to the same.
    pub(crate) fn forward_groups(&self, x: Tensor<2>) -> Tensor<2> {
        let [tokens, width] = x.dims();
        let d = self.weight.value().dims()[0];
        self.forward(x.reshape([tokens * width / d, d])).reshape([tokens, width])
    }
}

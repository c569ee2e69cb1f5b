//! A bottleneck adapter as a layer. Reference: `Adapter` in `adapters.methods.modeling`.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use kernels::{Activation, Phase, trained_linear};

/// `y + up(f(down(x)))`, where y is what a sublayer gives.
#[derive(Module, Debug)]
pub struct Bottleneck {
    /// `[inner, d]`
    pub(super) down: Param<Tensor<2>>,
    /// `[inner]`
    down_bias: Param<Tensor<1>>,
    /// `[d, inner]`
    pub(super) up: Param<Tensor<2>>,
    /// `[d]`
    up_bias: Param<Tensor<1>>,
    /// Whether x is the norm of the sum with the residual, and not y itself.
    reads_sum: bool,
    #[module(skip)]
    activation: Activation,
}

type WithBias = (Param<Tensor<2>>, Param<Tensor<1>>);

impl Bottleneck {
    pub(super) fn new(down: WithBias, up: WithBias, activation: Activation, reads_sum: bool) -> Self {
        Self { down: down.0, down_bias: down.1, up: up.0, up_bias: up.1, reads_sum, activation }
    }

    /// `output` is what the sublayer gives and `residual` what it has read, `[rows, d]` each; `norm` follows their sum.
    pub(crate) fn forward(
        &self,
        output: Tensor<2>,
        residual: &Tensor<2>,
        norm: &dyn Fn(Tensor<2>) -> Tensor<2>,
        phase: Phase,
    ) -> Tensor<2> {
        let x = if self.reads_sum { norm(output.clone() + residual.clone()) } else { output.clone() };
        let inner = trained_linear(x, self.down.val(), Some(self.down_bias.val()), phase);
        output + trained_linear(self.activation.forward(inner), self.up.val(), Some(self.up_bias.val()), phase)
    }
}

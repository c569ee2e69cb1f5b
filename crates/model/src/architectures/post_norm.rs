//! What follows attention in the layers of BERT and DeBERTa: a projection and a feed-forward network, each followed by dropout, the
//! residual and a norm.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::Activation;
use lora::{ForwardContext, Linear, Sublayer};

use crate::Error;
use crate::layers::{LayerNorm, Residual};
use crate::loader::{Bias, Loader};

/// How wide these are, and what else `config.json` says of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct PostNormConfig {
    pub(super) hidden: usize,
    pub(super) inner: usize,
    pub(super) activation: Activation,
    pub(super) dropout: f64,
    pub(super) epsilon: f64,
}

/// `BertLayer` but for its attention.
#[derive(Module, Debug)]
pub(super) struct AfterAttention {
    attention_output: ResidualOutput,
    intermediate: Linear,
    output: ResidualOutput,
    #[module(skip)]
    activation: Activation,
}

impl AfterAttention {
    /// The loader is at the layer.
    pub(super) fn load(loader: &Loader<'_>, config: PostNormConfig) -> Result<Self, Error> {
        let PostNormConfig { hidden, inner, activation, .. } = config;
        Ok(Self {
            attention_output: ResidualOutput::load(loader, "attention.output", Sublayer::Attention, config)?,
            intermediate: loader.at("intermediate").linear("dense", hidden, inner, Bias::Yes)?,
            output: ResidualOutput::load(loader, "output", Sublayer::FeedForward, config)?,
            activation,
        })
    }

    /// What attention gives, and what it has read, `[rows, hidden]` each, to the same.
    pub(super) fn forward(&self, context: Tensor<2>, hidden: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let attended = self.attention_output.forward(context, hidden, ctx);
        let inner = self.activation.forward(self.intermediate.forward(attended.clone(), ctx));
        self.output.forward(inner, attended, ctx)
    }
}

/// `BertSelfOutput` and `BertOutput`
#[derive(Module, Debug)]
struct ResidualOutput {
    dense: Linear,
    residual: Residual,
    layer_norm: LayerNorm,
}

impl ResidualOutput {
    fn load(loader: &Loader<'_>, name: &str, sublayer: Sublayer, config: PostNormConfig) -> Result<Self, Error> {
        let (at, hidden) = (loader.at(name), config.hidden);
        let d_input = match sublayer {
            Sublayer::Attention => hidden,
            Sublayer::FeedForward => config.inner,
        };
        Ok(Self {
            dense: at.linear("dense", d_input, hidden, Bias::Yes)?,
            residual: loader.residual(name, sublayer, hidden, at.dropout("dropout", config.dropout))?,
            layer_norm: at.layer_norm("LayerNorm", hidden, config.epsilon)?,
        })
    }

    fn forward(&self, x: Tensor<2>, residual: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let norm = |sum| self.layer_norm.forward(sum);
        norm(self.residual.before(residual, self.dense.forward(x, ctx), &norm, ctx))
    }
}

//! The gated feed-forward network, alone or as one of many experts.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{Activation, gated_activation};
use lora::{ForwardContext, Linear};

use super::bias;
use super::config::{DecoderConfig, Projections};
use super::experts::SparseMoe;
use crate::Error;
use crate::loader::Loader;

/// Of one layer.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in each layer, and layers lie elsewhere anyway")]
pub(super) enum FeedForward {
    Dense(Mlp),
    Sparse(SparseMoe),
}

impl FeedForward {
    pub(super) fn load(loader: &Loader<'_>, config: &DecoderConfig, layer: usize) -> Result<Self, Error> {
        match config.experts.as_ref().filter(|experts| experts.layers[layer]) {
            Some(experts) => Ok(Self::Sparse(SparseMoe::load(loader, config, experts)?)),
            None => Ok(Self::Dense(Mlp::load(loader, config, config.inner)?)),
        }
    }

    /// `[rows, hidden]` to the same.
    pub(super) fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        match self {
            Self::Dense(mlp) => mlp.forward(x, ctx),
            Self::Sparse(experts) => experts.forward(x, ctx),
        }
    }
}

/// `LlamaMLP`
#[derive(Module, Debug)]
pub(super) struct Mlp {
    projections: GateUp,
    down_proj: Linear,
    inner: usize,
    #[module(skip)]
    activation: Activation,
}

#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one in each layer, and layers lie elsewhere anyway")]
enum GateUp {
    Apart(GateUpApart),
    /// `gate_up_proj`
    Joined(Linear),
}

#[derive(Module, Debug)]
struct GateUpApart {
    gate_proj: Linear,
    up_proj: Linear,
}

impl Mlp {
    pub(super) fn load(loader: &Loader<'_>, config: &DecoderConfig, inner: usize) -> Result<Self, Error> {
        let (hidden, has_bias) = (config.hidden, bias(config.feed_forward_bias));
        let projections = match config.projections {
            Projections::Apart => GateUp::Apart(GateUpApart {
                gate_proj: loader.linear("gate_proj", hidden, inner, has_bias)?,
                up_proj: loader.linear("up_proj", hidden, inner, has_bias)?,
            }),
            Projections::Joined => GateUp::Joined(loader.linear("gate_up_proj", hidden, 2 * inner, has_bias)?),
        };
        let down_proj = loader.linear("down_proj", inner, hidden, has_bias)?;
        Ok(Self { projections, down_proj, inner, activation: config.activation })
    }

    pub(super) fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let (gate, up) = match &self.projections {
            GateUp::Apart(GateUpApart { gate_proj, up_proj }) => {
                (gate_proj.forward(x.clone(), ctx), up_proj.forward(x, ctx))
            }
            GateUp::Joined(gate_up_proj) => {
                let joined = gate_up_proj.forward(x, ctx);
                (joined.clone().narrow(1, 0, self.inner), joined.narrow(1, self.inner, self.inner))
            }
        };
        self.down_proj.forward(gated_activation(gate, up, self.activation), ctx)
    }
}

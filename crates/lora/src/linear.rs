//! The linear layer all architectures are made of.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::Pass;

use crate::{Adapter, Weight};

/// How a weight lies in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// `[d_output, d_input]`, as in `torch.nn.Linear`.
    OutIn,
    /// `[d_input, d_output]`, as in the `Conv1D` of GPT-2.
    InOut,
}

/// `x·Wᵀ + b`, with what an adapter adds.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Weight<2>,
    bias: Option<Weight<1>>,
    adapter: Option<Adapter>,
    #[module(skip)]
    orientation: Orientation,
}

impl Linear {
    pub fn new(weight: Weight<2>, orientation: Orientation, bias: Option<Weight<1>>, adapter: Option<Adapter>) -> Self {
        Self { weight, bias, adapter, orientation }
    }

    /// `[rows, d_input]` to `[rows, d_output]`
    pub fn forward(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        apply(x, &self.weight, self.orientation, self.bias.as_ref(), self.adapter.as_ref(), pass)
    }
}

/// The output layer of a language model that is tied to the word embeddings: `x·Wᵀ + b` with their W. It owns no weight, its
/// forward borrows theirs, so that one parameter gets both gradients. An adapter is this end's alone, as in PEFT.
#[derive(Module, Debug)]
pub struct TiedLinear {
    bias: Option<Weight<1>>,
    adapter: Option<Adapter>,
}

impl TiedLinear {
    pub fn new(bias: Option<Weight<1>>, adapter: Option<Adapter>) -> Self {
        Self { bias, adapter }
    }

    /// `x: [rows, d]`, `embeddings: [vocabulary, d]`, output `[rows, vocabulary]`
    pub fn forward(&self, x: Tensor<2>, embeddings: &Weight<2>, pass: &Pass) -> Tensor<2> {
        apply(x, embeddings, Orientation::OutIn, self.bias.as_ref(), self.adapter.as_ref(), pass)
    }
}

fn apply(
    x: Tensor<2>,
    weight: &Weight<2>,
    orientation: Orientation,
    bias: Option<&Weight<1>>,
    adapter: Option<&Adapter>,
    pass: &Pass,
) -> Tensor<2> {
    let w = match orientation {
        Orientation::OutIn => weight.value(),
        Orientation::InOut => weight.value().transpose(),
    };
    let frozen = match bias {
        Some(Weight::Frozen(bias)) => Some(bias.clone()),
        _ => None,
    };
    let output = match (adapter, weight) {
        (Some(adapter), _) => adapter.forward(x, w, frozen, pass),
        (None, Weight::Frozen(_)) => kernels::linear(x, w, frozen, pass.precision()),
        // Its bias is trained with it, or frozen and a constant.
        (None, Weight::Trained(_)) => return kernels::trained_linear(x, w, bias.map(Weight::value)),
    };
    match bias {
        Some(Weight::Trained(bias)) => output + bias.val().unsqueeze(),
        _ => output,
    }
}

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
        self.projection().forward(x, pass)
    }

    pub fn projection(&self) -> Projection<'_> {
        Projection {
            weight: &self.weight,
            orientation: self.orientation,
            bias: self.bias.as_ref(),
            adapter: self.adapter.as_ref(),
        }
    }
}

/// The output layer of a language model that is tied to the word embeddings: `x·Wᵀ + b` with their W. It owns no weight, it
/// borrows theirs, so that one parameter gets both gradients. An adapter is this end's alone, as in PEFT.
#[derive(Module, Debug)]
pub struct TiedLinear {
    bias: Option<Weight<1>>,
    adapter: Option<Adapter>,
}

impl TiedLinear {
    pub fn new(bias: Option<Weight<1>>, adapter: Option<Adapter>) -> Self {
        Self { bias, adapter }
    }

    /// `embeddings: [vocabulary, d]`
    pub fn projection<'a>(&'a self, embeddings: &'a Weight<2>) -> Projection<'a> {
        Projection {
            weight: embeddings,
            orientation: Orientation::OutIn,
            bias: self.bias.as_ref(),
            adapter: self.adapter.as_ref(),
        }
    }
}

/// A linear layer with its weight at hand, its own or a borrowed one.
#[derive(Debug, Clone, Copy)]
pub struct Projection<'a> {
    weight: &'a Weight<2>,
    orientation: Orientation,
    bias: Option<&'a Weight<1>>,
    adapter: Option<&'a Adapter>,
}

impl Projection<'_> {
    /// `[rows, d_input]` to `[rows, d_output]`
    pub fn forward(&self, x: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let frozen = match self.bias {
            Some(Weight::Frozen(bias)) => Some(bias.clone()),
            _ => None,
        };
        let output = match (self.adapter, self.weight) {
            (Some(adapter), _) => adapter.forward(x, self.w(), frozen, pass),
            (None, Weight::Frozen(_)) => kernels::linear(x, self.w(), frozen, pass.precision()),
            // Its bias is trained with it, or frozen and a constant.
            (None, Weight::Trained(_)) => return kernels::trained_linear(x, self.w(), self.bias.map(Weight::value)),
        };
        match self.bias {
            Some(Weight::Trained(bias)) => output + bias.val().unsqueeze(),
            _ => output,
        }
    }

    /// Losses and margins of the rows, as [`kernels::linear_cross_entropy`] has them. The logits of all rows are held
    /// unless the layer [is frozen](Self::is_frozen).
    pub fn cross_entropy(&self, x: Tensor<2>, targets: &[usize], pass: &Pass) -> (Tensor<1>, Tensor<1>) {
        if self.is_frozen() {
            let bias = self.bias.map(Weight::value);
            return kernels::linear_cross_entropy(x, self.w(), bias, targets, pass.precision());
        }
        let logits = self.forward(x, pass);
        let margins = kernels::margins(logits.clone(), targets);
        (kernels::cross_entropy(logits, targets), margins)
    }

    /// Whether nothing of it is trained.
    pub fn is_frozen(&self) -> bool {
        matches!((self.weight, self.bias, self.adapter), (Weight::Frozen(_), None | Some(Weight::Frozen(_)), None))
    }

    /// `[d_output, d_input]`
    fn w(&self) -> Tensor<2> {
        match self.orientation {
            Orientation::OutIn => self.weight.value(),
            Orientation::InOut => self.weight.value().transpose(),
        }
    }
}

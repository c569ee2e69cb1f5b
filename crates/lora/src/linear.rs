//! The linear layer all architectures are made of.

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{ForwardContext, LogitsTransform};

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
    pub fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        self.projection().forward(x, ctx)
    }

    /// The layer with its weight at hand.
    pub fn projection(&self) -> Projection<'_> {
        Projection {
            weight: &self.weight,
            orientation: self.orientation,
            bias: self.bias.as_ref(),
            adapter: self.adapter.as_ref(),
            logits: LogitsTransform::default(),
        }
    }
}

/// The output layer of a language model, `x·Wᵀ + b`. One that is tied to the word embeddings owns no weight: it borrows
/// theirs, so that one parameter gets both gradients. An adapter is this end's alone, as in PEFT.
#[derive(Module, Debug)]
pub struct OutputLayer {
    /// Its own, `[vocabulary, d]`; `None` where it is tied.
    weight: Option<Weight<2>>,
    bias: Option<Weight<1>>,
    adapter: Option<Adapter>,
    #[module(skip)]
    logits: LogitsTransform,
}

impl OutputLayer {
    pub fn new(weight: Option<Weight<2>>, bias: Option<Weight<1>>, adapter: Option<Adapter>) -> Self {
        Self { weight, bias, adapter, logits: LogitsTransform::default() }
    }

    /// The same layer with a factor or a soft cap of its logits.
    pub fn with_logits(self, logits: LogitsTransform) -> Self {
        Self { logits, ..self }
    }

    /// Whether its weight is that of the word embeddings.
    pub fn is_tied(&self) -> bool {
        self.weight.is_none()
    }

    /// `embeddings: [vocabulary, d]`
    pub fn projection<'a>(&'a self, embeddings: &'a Weight<2>) -> Projection<'a> {
        Projection {
            weight: self.weight.as_ref().unwrap_or(embeddings),
            orientation: Orientation::OutIn,
            bias: self.bias.as_ref(),
            adapter: self.adapter.as_ref(),
            logits: self.logits,
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
    logits: LogitsTransform,
}

impl Projection<'_> {
    /// `[rows, d_input]` to `[rows, d_output]`
    pub fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let frozen = match self.bias {
            Some(Weight::Frozen(bias)) => Some(bias.clone()),
            _ => None,
        };
        let output = match (self.adapter, self.weight) {
            (Some(adapter), _) => adapter.forward(x, self.w(), frozen, ctx),
            (None, Weight::Frozen(_)) => kernels::linear(x, self.w(), frozen, ctx.precision()),
            // Its bias is trained with it, or frozen and a constant.
            (None, Weight::Trained(_)) => {
                let logits = kernels::trained_linear(x, self.w(), self.bias.map(Weight::value));
                return self.logits.apply(logits);
            }
        };
        let output = match self.bias {
            Some(Weight::Trained(bias)) => kernels::add_bias(output, bias.val()),
            _ => output,
        };
        self.logits.apply(output)
    }

    /// Losses and margins of the rows, as [`kernels::linear_cross_entropy`] has them. The logits of all rows are held
    /// unless the layer [is frozen](Self::is_frozen).
    pub fn cross_entropy(&self, x: Tensor<2>, targets: &[usize], ctx: &ForwardContext) -> (Tensor<1>, Tensor<1>) {
        if self.is_frozen() {
            let bias = self.bias.map(Weight::value);
            return kernels::linear_cross_entropy(x, self.w(), bias, targets, self.logits, ctx.precision());
        }
        let logits = self.forward(x, ctx);
        let margins = kernels::margins(logits.clone(), targets);
        (kernels::cross_entropy(logits, targets), margins)
    }

    /// Whether it is the base's alone: nothing of it trained, and no adapter.
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::module::Param;
    use burn::tensor::{Device, Distribution, Tolerance};
    use kernels::{Layout, Offsets};

    use super::*;
    use crate::Lora;

    #[test]
    fn cross_entropy_is_that_of_the_logits_whatever_is_trained() {
        let device = Device::flex().autodiff();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let trained = |tensor: Tensor<2>| Param::from_tensor(tensor.detach().require_grad());
        let ctx = ForwardContext::new(Arc::new(Layout::new(Offsets::new(&[0, 5]), 0)), None);
        let targets = [3, 0, 6, 6, 2];
        let capped = LogitsTransform { scale: 0.5, soft_cap: Some(0.8) };
        let cases = (0..12).flat_map(|case| [LogitsTransform::default(), capped].map(|transform| (case, transform)));
        for (case, transform) in cases {
            let weight = match case % 2 {
                0 => Weight::Frozen(random([7, 4])),
                _ => Weight::Trained(trained(random([7, 4]))),
            };
            let bias = random([1, 7]).squeeze_dim::<1>(0).detach();
            let bias = match case / 2 % 3 {
                0 => None,
                1 => Some(Weight::Frozen(bias)),
                _ => Some(Weight::Trained(Param::from_tensor(bias.require_grad()))),
            };
            let lora = || Adapter::Lora(Lora::new(trained(random([2, 4])), trained(random([7, 2])), 0.5, 0.0, 1));
            let adapter = (case / 6 == 1 && case % 2 == 0).then(lora);
            let layer = OutputLayer::new(None, bias, adapter).with_logits(transform);
            let projection = layer.projection(&weight);

            let x = random([5, 4]).require_grad();
            let (losses, margins) = projection.cross_entropy(x.clone(), &targets, &ctx);
            let logits = projection.forward(x.clone(), &ctx);
            let close = |left: Tensor<2>, right: Tensor<2>| {
                left.into_data().assert_approx_eq::<f32>(&right.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
            };
            close(margins.unsqueeze(), kernels::margins(logits.clone(), &targets).unsqueeze());
            let expected = kernels::cross_entropy(logits, &targets);
            close(losses.clone().inner().unsqueeze(), expected.clone().inner().unsqueeze());
            let (ours, composed) = (losses.sum().backward(), expected.sum().backward());
            close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
            let Weight::Trained(weight) = &weight else { continue };
            close(weight.val().grad(&ours).unwrap(), weight.val().grad(&composed).unwrap());
        }
    }
}

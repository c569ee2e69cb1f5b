//! The linear layer all architectures are made of.

use std::ops::Range;

use burn::module::Module;
use burn::tensor::Tensor;
use kernels::{LogitsTransform, hash_text};

use crate::{Adapter, ForwardContext, FrozenWeight, Weight};

/// How a weight lies in the checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    /// `[d_output, d_input]`, as in `torch.nn.Linear`.
    OutIn,
    /// `[d_input, d_output]`, as in the `Conv1D` of GPT-2.
    InOut,
}

impl Orientation {
    /// The matrix of a weight that lies so, as `[d_output, d_input]`.
    pub(crate) fn out_in(self, weight: Tensor<2>) -> Tensor<2> {
        match self {
            Self::OutIn => weight,
            Self::InOut => weight.transpose(),
        }
    }
}

/// `x·Wᵀ + b`, with what adapters make of it.
#[derive(Module, Debug)]
pub struct Linear {
    weight: Weight<2>,
    bias: Option<Weight<1>>,
    adapters: Vec<Adapter>,
    #[module(skip)]
    orientation: Orientation,
    /// The hash of its path, by which adapters beside those of the model are found.
    #[module(skip)]
    site: u64,
}

impl Linear {
    pub fn new(
        path: &str,
        weight: Weight<2>,
        orientation: Orientation,
        bias: Option<Weight<1>>,
        adapters: Vec<Adapter>,
    ) -> Self {
        Self { weight, bias, adapters, orientation, site: hash_text(path) }
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
            adapters: &self.adapters,
            site: Some(self.site),
        }
    }
}

/// The output layer of a language model, `x·Wᵀ + b`. One that is tied to the word embeddings owns no weight: it borrows
/// theirs, so that one parameter gets both gradients. Adapters are this end's alone, as in PEFT.
#[derive(Module, Debug)]
pub struct OutputLayer {
    /// Its own, `[vocabulary, d]`; `None` where it is tied.
    weight: Option<Weight<2>>,
    bias: Option<Weight<1>>,
    adapters: Vec<Adapter>,
    /// The hash of its path.
    #[module(skip)]
    site: u64,
}

impl OutputLayer {
    pub fn new(path: &str, weight: Option<Weight<2>>, bias: Option<Weight<1>>, adapters: Vec<Adapter>) -> Self {
        Self { weight, bias, adapters, site: hash_text(path) }
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
            adapters: &self.adapters,
            site: Some(self.site),
        }
    }
}

/// A linear layer with its weight at hand, its own or a borrowed one. To an adapter it is the operation below it: the
/// base with the adapters before it.
#[derive(Debug, Clone, Copy)]
pub struct Projection<'a> {
    weight: &'a Weight<2>,
    orientation: Orientation,
    bias: Option<&'a Weight<1>>,
    /// Each acts on what those before it give.
    adapters: &'a [Adapter],
    /// By which the adapters that some rows go through are found; `None` below them.
    site: Option<u64>,
}

impl Projection<'_> {
    /// `[rows, d_input]` to `[rows, d_output]`
    pub fn forward(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        let model = Self { site: None, ..*self };
        let mut routed = self.routed(ctx).peekable();
        if routed.peek().is_none() {
            return model.of_model(x, ctx);
        }
        let output = model.of_model(x.clone(), ctx);
        routed.fold(output, |output, (rows, adapter)| adapter.forward_rows(output, &x, rows, model, ctx))
    }

    /// The adapters that some rows go through, beside those of the model.
    fn routed<'c>(&self, ctx: &'c ForwardContext) -> impl Iterator<Item = (Range<usize>, &'c Adapter)> {
        self.site.into_iter().flat_map(|site| ctx.routes().linear(site))
    }

    /// What the model gives for all rows.
    fn of_model(&self, x: Tensor<2>, ctx: &ForwardContext) -> Tensor<2> {
        match (self.adapters.split_last(), self.weight) {
            (Some((adapter, before)), _) => adapter.forward(x, Self { adapters: before, ..*self }, ctx),
            (None, Weight::Frozen(weight)) => {
                let output = weight.linear(x, self.orientation, self.frozen_bias(), ctx.compute());
                self.with_trained_bias(output)
            }
            // Its bias is trained with it, or frozen and a constant.
            (None, Weight::Trained(weight)) => {
                let weight = self.orientation.out_in(weight.val());
                kernels::trained_linear(x, weight, self.bias.map(Weight::value), ctx.phase())
            }
        }
    }

    /// `output` with what an adapter gives for some rows of `x` in place of theirs, computed for these rows alone.
    pub(crate) fn replaced(
        output: Tensor<2>,
        x: &Tensor<2>,
        rows: Range<usize>,
        ctx: &ForwardContext,
        adapter: impl FnOnce(Tensor<2>, &ForwardContext) -> Tensor<2>,
    ) -> Tensor<2> {
        let ([_, d_input], [_, d_output]) = (x.dims(), output.dims());
        let of_rows = adapter(x.clone().slice([rows.clone(), 0..d_input]), &ctx.of_rows(rows.clone()));
        output.slice_assign([rows, 0..d_output], of_rows)
    }

    /// Whether no adapter is below, so that [`Self::fused`] can be asked.
    pub(crate) fn is_base(&self) -> bool {
        self.adapters.is_empty()
    }

    /// The output of an operation that takes the base's weight, its orientation and its bias, and computes more than their
    /// product at once. Of adapters below it would know nothing.
    pub(crate) fn fused(
        &self,
        operation: impl FnOnce(&FrozenWeight<2>, Orientation, Option<Tensor<1>>) -> Tensor<2>,
    ) -> Tensor<2> {
        let output = match self.weight {
            Weight::Frozen(weight) => operation(weight, self.orientation, self.frozen_bias()),
            Weight::Trained(weight) => {
                operation(&FrozenWeight::Float(weight.val()), self.orientation, self.frozen_bias())
            }
        };
        self.with_trained_bias(output)
    }

    /// The output with the base's own share of it changed: `operation` computes the base anew, from its weight, its orientation
    /// and its bias. What adapters below add stays.
    pub(crate) fn changed(
        &self,
        x: Tensor<2>,
        ctx: &ForwardContext,
        operation: impl FnOnce(Tensor<2>, &FrozenWeight<2>, Orientation, Option<Tensor<1>>) -> Tensor<2>,
    ) -> Tensor<2> {
        let base = Self { adapters: &[], ..*self };
        let changed = base.fused(|weight, orientation, bias| operation(x.clone(), weight, orientation, bias));
        match self.is_base() {
            true => changed,
            false => changed + self.forward(x.clone(), ctx) - base.forward(x, ctx),
        }
    }

    /// Losses and margins of the rows, of logits with this transform, as [`kernels::linear_cross_entropy`] has them. The
    /// logits of all rows are held unless the layer [is frozen](Self::is_frozen).
    pub fn cross_entropy(
        &self,
        x: Tensor<2>,
        targets: &[usize],
        transform: LogitsTransform,
        ctx: &ForwardContext,
    ) -> (Tensor<1>, Tensor<1>) {
        if let Weight::Frozen(weight) = self.weight
            && self.is_frozen()
            && self.routed(ctx).next().is_none()
        {
            let bias = self.bias.map(Weight::value);
            return weight.linear_cross_entropy(
                x,
                self.orientation,
                bias,
                (targets, transform),
                ctx.compute().precision,
            );
        }
        let logits = transform.apply(self.forward(x, ctx));
        let margins = kernels::margins(logits.clone(), targets);
        (kernels::cross_entropy(logits, targets), margins)
    }

    /// Whether it is the base's alone: nothing of it trained, and no adapter.
    pub fn is_frozen(&self) -> bool {
        let is_frozen = matches!((self.weight, self.bias), (Weight::Frozen(_), None | Some(Weight::Frozen(_))));
        is_frozen && self.adapters.is_empty()
    }

    /// `[d_output]`
    fn frozen_bias(&self) -> Option<Tensor<1>> {
        match self.bias {
            Some(Weight::Frozen(bias)) => Some(bias.float()),
            Some(Weight::Trained(_)) | None => None,
        }
    }

    fn with_trained_bias(&self, output: Tensor<2>) -> Tensor<2> {
        match self.bias {
            Some(Weight::Trained(bias)) => kernels::add_bias(output, bias.val()),
            Some(Weight::Frozen(_)) | None => output,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::module::Param;
    use burn::tensor::{Device, Distribution, Tolerance};
    use kernels::{Layout, Offsets, Quantisation, Quantised};

    use super::*;
    use crate::{AdapterSet, Lora, Routes};

    #[test]
    fn several_adapters_add_up() {
        let device = Device::flex();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let lora = |a: &Tensor<2>, b: &Tensor<2>| {
            let [a, b] = [a, b].map(|factor| Param::from_tensor(factor.clone()));
            Adapter::Lora(Lora::new(a, b, 0.5, 0.0, 1))
        };
        let ctx = ForwardContext::new(Arc::new(Layout::new(Offsets::new(&[0, 5]), 0)), None);
        let (w, x) = (random([7, 4]), random([5, 4]));
        let factors = [(random([2, 4]), random([7, 2])), (random([3, 4]), random([7, 3]))];
        let adapters = factors.iter().map(|(a, b)| lora(a, b)).collect();
        let layer = Linear::new("layer", Weight::frozen(w.clone()), Orientation::OutIn, None, adapters);
        let updated = factors.iter().fold(w, |w, (a, b)| w + b.clone().matmul(a.clone()) * 0.5);
        let expected = x.clone().matmul(updated.transpose());
        let found = layer.forward(x, &ctx);
        found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
    }

    #[test]
    fn rows_go_through_the_adapters_of_their_route_as_through_a_layer_that_has_them() {
        let device = Device::flex();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let bits = |tensor: Tensor<2>| tensor.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<_>>();
        let lora = |r| {
            let [a, b] = [random([r, 40]), random([56, r])].map(Param::from_tensor);
            Adapter::Lora(Lora::new(a, b, 0.5, 0.1, 1))
        };
        let set = |adapter: &Adapter| {
            let mut set = AdapterSet::default();
            set.add_linear("layer", adapter);
            Arc::new(set)
        };
        let (w, bias) = (random([56, 40]), random([1, 56]).squeeze_dim::<1>(0));
        let quantised = Quantised::of(&w.clone().into_data(), Quantisation::Int8, &device).unwrap();
        for (weight, orientation) in [
            (Weight::frozen(w.clone()), Orientation::OutIn),
            (Weight::frozen(w.transpose()), Orientation::InOut),
            (Weight::quantised(quantised), Orientation::OutIn),
        ] {
            let layer = |adapters| {
                Linear::new("layer", weight.clone(), orientation, Some(Weight::frozen(bias.clone())), adapters)
            };
            // Each range by itself has so many rows that its base is summed up as that of all.
            let (first, second) = (lora(3), lora(20));
            let sets = [Some(set(&first)), None, Some(set(&second)), Some(Arc::new(AdapterSet::default()))];
            let offsets = Offsets::new(&[0, 20, 41, 65, 90]);
            let ctx = ForwardContext::new(Arc::new(Layout::new(offsets.clone(), 0)), None);
            let routed = ctx.clone().with_routes(Routes::of_sequences(&offsets, sets.iter().map(Option::as_ref)));
            let x = random([90, 40]);
            let found = layer(vec![]).forward(x.clone(), &routed);
            for (sequence, adapters) in [vec![first], vec![], vec![second], vec![]].into_iter().enumerate() {
                let rows = offsets.range(sequence);
                let alone =
                    layer(adapters).forward(x.clone().narrow(0, rows.start, rows.len()), &ctx.of_rows(rows.clone()));
                assert!(
                    bits(found.clone().narrow(0, rows.start, rows.len())) == bits(alone),
                    "{orientation:?}, {sequence}"
                );
            }
            // Below another adapter of the model it is on top.
            let (below, above) = (lora(2), lora(4));
            let both = layer(vec![below.clone(), above.clone()]).forward(x.clone(), &ctx);
            let all = Routes::of_sequences(&Offsets::new(&[0, 90]), [Some(&set(&above))]);
            let found = layer(vec![below]).forward(x, &ctx.clone().with_routes(all));
            assert!(bits(found) == bits(both));
        }
    }

    #[test]
    fn cross_entropy_is_that_of_the_logits_whatever_is_trained() {
        let device = Device::flex().autodiff();
        let random = |shape| Tensor::<2>::random(shape, Distribution::Normal(0.0, 1.0), &device);
        let trained = |tensor: Tensor<2>| Param::from_tensor(tensor.detach().require_grad());
        let ctx = ForwardContext::new(Arc::new(Layout::new(Offsets::new(&[0, 5]), 0)), None);
        let targets = [3, 0, 6, 6, 2];
        for case in 0..36 {
            let weight = match case / 3 % 2 {
                0 => Weight::frozen(random([7, 4])),
                _ => Weight::Trained(trained(random([7, 4]))),
            };
            let bias = random([1, 7]).squeeze_dim::<1>(0).detach();
            let bias = match case / 3 / 2 % 3 {
                0 => None,
                1 => Some(Weight::frozen(bias)),
                _ => Some(Weight::Trained(Param::from_tensor(bias.require_grad()))),
            };
            let lora = || Adapter::Lora(Lora::new(trained(random([2, 4])), trained(random([7, 2])), 0.5, 0.0, 1));
            let adapters = (case / 18 == 1 && case / 3 % 2 == 0).then(lora).into_iter().collect();
            let layer = OutputLayer::new("head", None, bias, adapters);
            let projection = layer.projection(&weight);

            let x = random([5, 4]).require_grad();
            let transform = match case % 3 {
                0 => LogitsTransform::default(),
                _ => LogitsTransform { scale: 0.5, soft_cap: Some(1.5) },
            };
            let (losses, margins) = projection.cross_entropy(x.clone(), &targets, transform, &ctx);
            let logits = transform.apply(projection.forward(x.clone(), &ctx));
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

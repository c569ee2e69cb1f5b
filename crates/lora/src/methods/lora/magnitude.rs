//! DoRA (Liu et al. 2024, arXiv 2402.09353): LoRA gives the rows of a weight their direction, and a vector of magnitudes their
//! length. Reference: `DoraLinearLayer` in PEFT.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use kernels::{LowRank, RowNorms, dora_linear, row_norms};

use crate::trained::TrainedTensors;
use crate::{Error, FrozenWeight, Orientation, Site, TargetError, Weight};

/// What the name of the vector ends in.
pub(super) const MAGNITUDE: &str = ".lora_magnitude_vector";

/// The lengths that the rows of `W + scale * B·A` are brought to.
#[derive(Module, Debug)]
pub(super) struct Magnitude {
    /// `[d_output]`
    values: Param<Tensor<1>>,
    /// The lengths that they have.
    #[module(skip)]
    norms: RowNorms,
}

impl Magnitude {
    /// Those of the file that `tensors` come from, or at the start of training the lengths that the rows have: of the whole
    /// weight, also where the factors start as a part of it and the base is what is left.
    ///
    /// # Errors
    /// A layer without a weight of its own.
    pub(super) fn of(
        site: Site<'_>,
        name: &str,
        factors: [Tensor<2>; 2],
        scale: f64,
        tensors: &mut TrainedTensors,
    ) -> Result<Self, Error> {
        // An adapted weight is frozen.
        let Some(Weight::Frozen(weight)) = site.base else {
            let takes = "DoRA is on linear layers with a weight of their own, which a tied output layer has not";
            return Err(TargetError::UnsupportedModule { module: site.path.to_owned(), takes }.into());
        };
        // Not what the layer remembers: the weight that a start has left may yet be quantised.
        let of_now = RowNorms::default();
        let initial = || row_norms(weight.matrix(site.orientation), factors, scale as f32, &of_now).detach();
        let values = tensors.parameter(name, [site.d_output], site.device, initial)?;
        Ok(Self { values, norms: RowNorms::default() })
    }

    /// `[rows, d_input]` to `[rows, d_output]`: `x·(m / ‖W + scale * B·A‖ * (W + scale * B·A))ᵀ + bias`. The lengths are constants
    /// to the backward pass. With dropout, as in PEFT, the base sees all of `x`, and the difference from it what is kept.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        (weight, orientation, bias): (&FrozenWeight<2>, Orientation, Option<Tensor<1>>),
        [a, b]: [Tensor<2>; 2],
        options: LowRank,
    ) -> Tensor<2> {
        let matrix = weight.matrix(orientation);
        let norms = row_norms(matrix.clone(), [a.clone(), b.clone()], options.scale, &self.norms);
        dora_linear(x, matrix, bias, [a, b], self.values.val() / norms, options)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::tensor::{Device, Distribution, Tolerance};
    use kernels::{Layout, Offsets};

    use super::*;
    use crate::methods::Adapter;
    use crate::{ForwardContext, Linear, Lora};

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn lora([a, b]: [Tensor<2>; 2]) -> Lora {
        Lora::new(Param::from_tensor(a), Param::from_tensor(b), 0.5, 0.0, 1)
    }

    #[track_caller]
    fn close(found: Tensor<2>, expected: Tensor<2>) {
        found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-5, 1e-5));
    }

    #[test]
    fn rows_of_the_sum_get_their_magnitudes_and_what_adapters_below_add_stays() {
        let ctx = ForwardContext::new(Arc::new(Layout::new(Offsets::new(&[0, 5]), 0)), None);
        let (w, x, bias, lengths) = (random([7, 4]), random([5, 4]), random([7]), random([7]));
        let (factors, below) = ([random([2, 4]), random([7, 2])], [random([3, 4]), random([7, 3])]);
        let [a, b] = factors.clone();
        let sum = w.clone() + b.matmul(a) * 0.5;
        let norms = sum.clone().square().sum_dim(1).sqrt();
        let scaled = sum * (lengths.clone().unsqueeze_dim::<2>(1) / norms);
        let expected = x.clone().matmul(scaled.transpose()) + bias.clone().unsqueeze::<2>();
        for orientation in [Orientation::OutIn, Orientation::InOut] {
            let stored = match orientation {
                Orientation::OutIn => w.clone(),
                Orientation::InOut => w.clone().transpose(),
            };
            let layer = |adapters| {
                Linear::new(
                    "layer",
                    Weight::frozen(stored.clone()),
                    orientation,
                    Some(Weight::frozen(bias.clone())),
                    adapters,
                )
            };
            let magnitude = || Magnitude { values: Param::from_tensor(lengths.clone()), norms: RowNorms::default() };
            let dora = || Adapter::Lora(lora(factors.clone()).with_magnitude(magnitude()));
            close(layer(vec![dora()]).forward(x.clone(), &ctx), expected.clone());

            let [a, b] = below.clone();
            let added = x.clone().matmul(a.transpose()).matmul(b.transpose()) * 0.5;
            let both = layer(vec![Adapter::Lora(lora(below.clone())), dora()]);
            close(both.forward(x.clone(), &ctx), expected.clone() + added);
        }
    }
}

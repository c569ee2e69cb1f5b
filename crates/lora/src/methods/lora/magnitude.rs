//! DoRA (Liu et al. 2024, arXiv 2402.09353): LoRA gives the rows of a weight their direction, and a vector of magnitudes their
//! length. Reference: `DoraLinearLayer` in PEFT.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use kernels::{LowRank, RowNorms};

use crate::{FrozenWeight, Orientation};

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
    /// `norms` is what the initial values were made with, or new.
    pub(super) fn new(values: Param<Tensor<1>>, norms: RowNorms) -> Self {
        Self { values, norms }
    }

    /// The lengths of the rows of `W + scale * B·A`, with which training starts, `[d_output]`.
    pub(super) fn initial(
        weight: &FrozenWeight<2>,
        orientation: Orientation,
        factors: [Tensor<2>; 2],
        scale: f32,
        norms: &RowNorms,
    ) -> Tensor<1> {
        weight.row_norms(orientation, factors, scale, norms)
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
        let norms = weight.row_norms(orientation, [a.clone(), b.clone()], options.scale, &self.norms);
        weight.dora_linear(x, orientation, bias, [a, b], self.values.val() / norms, options)
    }
}

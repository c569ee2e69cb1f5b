//! LoRA's update added to some rows of what its base gives, so that one pass may go through many adapters: the base's product is
//! computed once for all rows. No gradient: several adapters at a time are for answers.

use std::ops::Range;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Dispatch, TensorMetadata};
use burn::tensor::{Slice, Tensor};

use crate::KernelBackend;

/// Which rows get an update, and what it is multiplied by.
#[derive(Debug, Clone, PartialEq)]
pub struct RowsUpdate {
    pub rows: Range<usize>,
    pub scale: f32,
}

pub(crate) fn composed<B: KernelBackend>(
    output: FloatTensor<B>,
    x: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    update: RowsUpdate,
) -> FloatTensor<B> {
    let RowsUpdate { rows, scale } = update;
    let of_rows = |tensor: FloatTensor<B>| {
        let width = tensor.shape()[1];
        let place = [Slice::from(rows.clone()), Slice::from(0..width)];
        (B::float_slice(tensor, &place), place)
    };
    let (x, _) = of_rows(x);
    let down = B::float_mul_scalar(B::float_matmul(x, B::float_transpose(a)), scale.into());
    let added = B::float_matmul(down, B::float_transpose(b));
    let (base, place) = of_rows(output.clone());
    B::float_slice_assign(output, &place, B::float_add(base, added))
}

/// What comes of it is a constant.
pub(crate) fn untracked<B: KernelBackend, C: CheckpointStrategy>(
    output: FloatTensor<Autodiff<B, C>>,
    x: FloatTensor<Autodiff<B, C>>,
    a: FloatTensor<Autodiff<B, C>>,
    b: FloatTensor<Autodiff<B, C>>,
    update: RowsUpdate,
) -> FloatTensor<Autodiff<B, C>> {
    let [output, x, a, b] = [output, x, a, b].map(|tensor| tensor.into_primitive());
    <Autodiff<B, C> as AutodiffBackend>::from_inner(B::add_low_rank(output, x, a, b, update))
}

/// `output` with `scale * (x·Aᵀ)·Bᵀ` added to some of its rows, in place where nobody else holds it. Where `output` is what
/// [`linear`](crate::linear) gives, these rows have the bits of [`lora_linear`](crate::lora_linear) on as many rows.
///
/// # Shapes
/// `output: [rows, d_output]`, `x: [rows, d_input]`, of which the rows of the update are read alone, `a: [r, d_input]`,
/// `b: [d_output, r]`. No gradient.
pub fn add_low_rank(output: Tensor<2>, x: Tensor<2>, [a, b]: [Tensor<2>; 2], update: RowsUpdate) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as KernelBackend>::add_low_rank(
        output.into_dispatch(),
        x.into_dispatch(),
        a.into_dispatch(),
        b.into_dispatch(),
        update,
    ))
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexTensor;
    use burn::tensor::{DType, Device, Distribution, Tolerance};

    use super::*;
    use crate::{Compute, FrozenMatrix, LowRank, Phase, Quantisation, Quantised, linear, lora_linear};

    fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn bits(tensor: Tensor<2>) -> Vec<u32> {
        tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
    }

    /// A matrix in every type that a frozen one is kept in, upright and turned.
    fn matrices([d_output, d_input]: [usize; 2]) -> Vec<(&'static str, FrozenMatrix)> {
        let weight = random([d_output, d_input]);
        let turned = weight.clone().transpose().into_data();
        let turned = Tensor::<2>::from_data(turned, &Device::flex()).transpose();
        let quantised = |quantisation| {
            let quantised = Quantised::of(&weight.clone().into_data(), quantisation, &Device::flex());
            FrozenMatrix::Quantised(quantised.expect("its values are finite"))
        };
        vec![
            ("f32", FrozenMatrix::Float(weight.clone())),
            ("f32, turned", FrozenMatrix::Float(turned.clone())),
            ("bf16", FrozenMatrix::Float(weight.clone().cast(DType::BF16))),
            ("bf16, turned", FrozenMatrix::Float(turned.transpose().cast(DType::BF16).transpose())),
            ("int8", quantised(Quantisation::Int8)),
            ("nf4", quantised(Quantisation::Nf4)),
        ]
    }

    #[test]
    fn an_update_of_some_rows_has_the_bits_of_the_layer_that_computes_base_and_update_at_once() {
        Device::flex().seed(3);
        // Of a few rows, of tiles over the edge, of more rows than a task has; ranks of one stretch and of several.
        for (rows, [d_output, d_input], r) in
            [(1, [96, 64], 8), (4, [70, 130], 3), (5, [200, 64], 70), (17, [33, 820], 8), (150, [128, 96], 16)]
        {
            let (above, below) = (3, 2);
            for (name, matrix) in matrices([d_output, d_input]) {
                for (bias, phase) in [None, Some(random([d_output]))]
                    .into_iter()
                    .flat_map(|bias| [Phase::Prefill, Phase::Decode].map(|phase| (bias.clone(), phase)))
                {
                    let compute = Compute { phase, ..Compute::default() };
                    let (x, a, b) = (random([rows, d_input]), random([r, d_input]), random([d_output, r]));
                    let options = LowRank { scale: 0.7, mask: None, compute };
                    let at_once = lora_linear(x.clone(), matrix.clone(), bias.clone(), a.clone(), b.clone(), options);
                    let (first, last) = (random([above, d_input]), random([below, d_input]));
                    let inputs = Tensor::cat(vec![first, x, last], 0);
                    let all = linear(inputs.clone(), matrix.clone(), bias, compute);
                    let whole = all.clone().slice_assign([above..above + rows, 0..d_output], at_once);
                    let update = RowsUpdate { rows: above..above + rows, scale: 0.7 };
                    let expected = bits(whole);
                    // Once beside another holder of the output, once in place.
                    let held = all.clone();
                    let beside = add_low_rank(all, inputs.clone(), [a.clone(), b.clone()], update.clone());
                    assert!(bits(beside) == expected, "{name}, {rows} rows, beside");
                    assert!(bits(add_low_rank(held, inputs, [a, b], update)) == expected, "{name}, {rows} rows");
                }
            }
        }
    }

    #[test]
    fn both_forms_add_to_the_rows_and_give_a_constant_to_autodiff() {
        let device = Device::flex();
        let (output, x, a, b) = (random([7, 30]), random([7, 40]), random([4, 40]), random([30, 4]));
        let update = RowsUpdate { rows: 2..6, scale: 0.5 };
        let of_rows = x.clone().narrow(0, 2, 4).matmul(a.clone().transpose()).matmul(b.clone().transpose()) * 0.5;
        let expected = output.clone().slice_assign([2..6, 0..30], output.clone().narrow(0, 2, 4) + of_rows);
        let close = |found: Tensor<2>| {
            found.into_data().assert_approx_eq::<f32>(&expected.clone().into_data(), Tolerance::rel_abs(1e-5, 1e-5));
        };
        close(add_low_rank(output.clone(), x.clone(), [a.clone(), b.clone()], update.clone()));
        let [o, x2, a2, b2] = [&output, &x, &a, &b].map(|tensor| FlexTensor::from_data(tensor.clone().into_data()));
        close(Tensor::from_data(composed::<Flex>(o, x2, a2, b2, update.clone()).into_data(), &device));
        let tracked = |tensor: Tensor<2>| Tensor::<2>::from_data(tensor.into_data(), &device.clone().autodiff());
        let [output, x, b] = [output, x, b].map(tracked);
        let a = tracked(a).require_grad();
        let found = add_low_rank(output, x, [a, b], update);
        assert!(!found.is_require_grad());
        close(found.inner());
    }
}

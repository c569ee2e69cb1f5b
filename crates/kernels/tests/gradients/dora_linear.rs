//! A linear layer with DoRA, and the lengths of the rows of its weight.

use burn::tensor::{DType, Tensor, Tolerance};
use kernels::{Compute, LowRank, RowNorms, dora_linear, row_norms};

use super::{device, factors, mask, random, same_sums_and_gradients};

#[test]
fn dora_linear_equals_the_composed_form_with_and_without_dropout_and_bias() {
    let device = device();
    for [rows, d_input, d_output, r] in
        [[1, 1, 1, 1], [5, 7, 3, 2], [63, 48, 96, 4], [2, 31, 130, 8], [40, 203, 150, 3]]
    {
        for (probability, dtype) in [(0.0, DType::F32), (0.1, DType::F32), (0.6, DType::F32), (0.1, DType::BF16)] {
            let x = random([rows, d_input], &device).require_grad();
            // As it lies in `torch.nn.Linear`, and as in GPT-2's `Conv1D`.
            for turned in [false, true] {
                let stored = if turned { [d_input, d_output] } else { [d_output, d_input] };
                let stored = random(stored, &device.clone().inner()).cast(dtype);
                let stored = if turned { stored.transpose() } else { stored };
                let weight = stored.clone().cast(DType::F32);
                let a = random([r, d_input], &device).require_grad();
                let b = random([d_output, r], &device).require_grad();
                let g = (random([1, d_output], &device) + 1.0).detach().require_grad();
                let mask = mask(rows, probability);
                let bias = random([1, d_output], &device.clone().inner());
                let kept = factors(&mask, [rows, d_input], &device);
                let minus = Tensor::from_inner(Tensor::<2>::ones([1, 1], &device.clone().inner()) * -1.0);
                let options = LowRank { scale: 0.7, mask, compute: Compute::default() };
                let of_row = Some(bias.clone().squeeze_dim(0));
                let factors = [a.clone(), b.clone()];
                let ours = dora_linear(x.clone(), stored, of_row, factors, g.clone().squeeze_dim(0), options);
                let formula = |[x, weight, bias, a, b, g, minus]: [Tensor<2>; 7]| {
                    let sum = weight.clone() + b.matmul(a) * 0.7;
                    let added = sum * g.transpose() + weight.clone() * minus;
                    let kept = Tensor::from_inner(kept.clone());
                    x.clone().matmul(weight.transpose()) + bias + (x * kept).matmul(added.transpose())
                };
                // Beside the sums that a path can go through: the bias, the scales, the mask.
                let depth = 2 * (rows + d_input + d_output + r) + 5;
                same_sums_and_gradients(ours, formula, [&x, &weight, &bias, &a, &b, &g, &minus], depth);
            }
        }
    }
}

#[test]
fn dora_linear_gives_no_gradient_to_what_needs_none() {
    let device = device();
    let x = random([4, 6], &device);
    let weight = random([5, 6], &device).require_grad();
    let a = random([2, 6], &device).require_grad();
    let b = random([5, 2], &device);
    let g = random([1, 5], &device).squeeze_dim::<1>(0).detach().require_grad();
    let options = LowRank { scale: 1.0, mask: None, compute: Compute::default() };
    let output = dora_linear(x.clone(), weight.clone(), None, [a.clone(), b.clone()], g.clone(), options);
    let gradients = output.sum().backward();
    assert!(a.grad(&gradients).is_some() && g.grad(&gradients).is_some());
    assert!(weight.grad(&gradients).is_none(), "a frozen weight has no gradient, tracked or not");
    assert!(x.grad(&gradients).is_none() && b.grad(&gradients).is_none());
}

#[test]
fn lengths_of_rows_are_constants() {
    let device = device();
    let (weight, a) = (random([5, 6], &device.clone().inner()), random([2, 6], &device).require_grad());
    let b = random([5, 2], &device).require_grad();
    let norms = row_norms(weight.clone(), [a.clone(), b.clone()], 2.0, &RowNorms::default());
    let sum = Tensor::from_inner(weight) + b.clone().matmul(a.clone()) * 2.0;
    let expected = sum.square().sum_dim(1).sqrt().squeeze_dim::<1>(1);
    let tolerance = Tolerance::rel_abs(1e-6, 1e-6);
    norms.clone().into_data().assert_approx_eq::<f32>(&expected.into_data(), tolerance);
    let gradients = (norms.sum() + b.clone().sum() * 5.0).backward();
    assert!(a.grad(&gradients).is_none());
    let of_b = b.grad(&gradients).expect("by the other term");
    assert_eq!(of_b.into_data(), Tensor::<2>::full([5, 2], 5.0, &device.inner()).into_data());
}

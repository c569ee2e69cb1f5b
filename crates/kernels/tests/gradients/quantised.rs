//! Operations with a quantised matrix against the same with the values that its codes stand for, gradients included.

use burn::tensor::{Distribution, Tensor};
use kernels::{Compute, LogitsTransform, LowRank, Precision, Quantisation, Quantised, RowNorms};
use kernels::{FrozenMatrix, dora_linear, linear, linear_cross_entropy, lora_linear, row_norms};

use super::{close, device, mask, plain_device, random, same_sums_and_gradients};

/// Whole blocks of nf4 in each row, and rows that begin in the middle of one, or of a byte.
const SHAPES: [[usize; 3]; 4] = [[1, 1, 1], [7, 5, 3], [64, 33, 17], [3, 128, 70]];

/// A matrix in int8 and in nf4, each with what it stands for.
fn matrices(shape: [usize; 2]) -> impl Iterator<Item = (FrozenMatrix, Tensor<2>)> {
    let weight = random(shape, &plain_device()).into_data();
    [Quantisation::Int8, Quantisation::Nf4].into_iter().map(move |quantisation| {
        let matrix = Quantised::of(&weight, quantisation, &device()).unwrap();
        let stands_for = matrix.widened().inner();
        (FrozenMatrix::Quantised(matrix), stands_for)
    })
}

fn low_rank(rows: usize, probability: f64) -> LowRank {
    LowRank { scale: 0.5, mask: mask(rows, probability), compute: Compute::default() }
}

#[test]
fn a_frozen_linear_gives_the_gradient_of_its_input() {
    for [rows, d_input, d_output] in SHAPES {
        let x = random([rows, d_input], &device()).require_grad();
        for (matrix, weight) in matrices([d_output, d_input]) {
            let ours = linear(x.clone(), matrix, None, Compute::default());
            let formula = |[x, weight]: [Tensor<2>; 2]| x.matmul(weight.transpose());
            same_sums_and_gradients(ours, formula, [&x, &weight], 4 + d_input + d_output);
        }
    }
}

#[test]
fn updates_beside_it_get_the_gradients_that_they_have_beside_its_values() {
    for [rows, d_input, d_output] in SHAPES {
        let tracked = |shape| random(shape, &device()).require_grad();
        let (x, a, b) = (tracked([rows, d_input]), tracked([2, d_input]), tracked([d_output, 2]));
        let factors = Tensor::<1>::random([d_output], Distribution::Normal(1.0, 0.1), &device()).require_grad();
        let upstream = random([rows, d_output], &device());
        for ((matrix, weight), probability) in
            matrices([d_output, d_input]).flat_map(|both| [0.0, 0.2].map(|probability| (both.clone(), probability)))
        {
            let results = [matrix, FrozenMatrix::Float(weight)].map(|weight| {
                let norms = row_norms(weight.clone(), [a.clone(), b.clone()], 0.5, &RowNorms::default());
                let options = || low_rank(rows, probability);
                let lora = lora_linear(x.clone(), weight.clone(), None, a.clone(), b.clone(), options());
                let dora =
                    dora_linear(x.clone(), weight, None, [a.clone(), b.clone()], factors.clone() / norms, options());
                let output = lora + dora;
                let gradients = (output.clone() * upstream.clone()).sum().backward();
                let [x, a, b] = [&x, &a, &b].map(|tensor| tensor.grad(&gradients).unwrap());
                [output.inner(), x, a, b, factors.grad(&gradients).unwrap().unsqueeze()]
            });
            let [ours, expected] = results;
            for (ours, expected) in ours.into_iter().zip(expected) {
                close(ours, expected, 2 * (4 + rows + d_input + d_output));
            }
        }
    }
}

#[test]
fn losses_of_a_quantised_output_layer_are_those_of_its_values() {
    for [rows, classes, width] in [[1, 1, 1], [4, 9, 5], [70, 2500, 64]] {
        let x = random([rows, width], &device()).require_grad();
        let targets: Vec<usize> = (0..rows).map(|row| row * 13 % classes).collect();
        for (matrix, weight) in matrices([classes, width]) {
            let [ours, expected] = [matrix, FrozenMatrix::Float(weight)].map(|weight| {
                let transform = LogitsTransform::default();
                let (losses, margins) =
                    linear_cross_entropy(x.clone(), weight, None, &targets, transform, Precision::F32);
                let gradient = x.grad(&losses.clone().sum().backward()).unwrap();
                [losses.inner().unsqueeze(), margins.inner().unsqueeze(), gradient]
            });
            for (ours, expected) in ours.into_iter().zip(expected) {
                close(ours, expected, 4 + width + classes);
            }
        }
    }
}

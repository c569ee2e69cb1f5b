//! Every operation with a backward pass of its own, against the same formula in burn's own tracked operations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attention;
#[path = "../../src/bounds.rs"]
mod bounds;
mod disentangled_attention;
mod dora_linear;
#[path = "../../src/every_form.rs"]
mod every_form;
mod linear;
mod quantised;

use std::sync::Arc;

use burn::tensor::{Device, Distribution, Tensor, activation};
use kernels::{Activation, DropoutMask, Gate, Layout, Noise, Offsets, Phase, Simd};
use kernels::{cross_entropy, dropout, gated_activation, joined_gated_activation, layer_norm, residual};
use kernels::{rms_norm, rotary, trained_linear, unit_offset_rms_norm};

fn numbers(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// What functions, norms and softmax make of sums of `depth` terms.
#[track_caller]
fn close(left: Tensor<2>, right: Tensor<2>, depth: usize) {
    assert_eq!(left.dims(), right.dims());
    bounds::assert_close(&numbers(left), &numbers(right), depth);
}

/// Sums of `depth` terms, and those of the terms' magnitudes.
#[track_caller]
fn same_sums(left: Tensor<2>, right: Tensor<2>, depth: usize, magnitudes: Tensor<2>) {
    assert_eq!(left.dims(), right.dims());
    bounds::assert_same_sums(&numbers(left), &numbers(right), depth, &numbers(magnitudes));
}

/// The same numbers without their signs.
fn abs(tensor: &Tensor<2>) -> Tensor<2> {
    let abs = tensor.clone().abs().detach();
    if tensor.is_require_grad() { abs.require_grad() } else { abs }
}

/// An output that is a sum of products of the inputs, `ours` and by its formula, and the gradients of those inputs that are
/// tracked; `depth` is at least the number of roundings on the way to any of them. The formula of what has no sign is the
/// sum of the magnitudes, and so are its gradients.
#[track_caller]
fn same_sums_and_gradients<const N: usize>(
    ours: Tensor<2>,
    formula: impl Fn([Tensor<2>; N]) -> Tensor<2>,
    inputs: [&Tensor<2>; N],
    depth: usize,
) {
    let unsigned = inputs.map(abs);
    let (composed, magnitudes) = (formula(inputs.map(Tensor::clone)), formula(unsigned.clone()));
    same_sums(ours.clone().inner(), composed.clone().inner(), depth, magnitudes.clone().inner());
    let upstream = random(ours.dims(), &device());
    let ours = (ours * upstream.clone()).sum().backward();
    let composed = (composed * upstream.clone()).sum().backward();
    let magnitudes = (magnitudes * upstream.abs()).sum().backward();
    for (input, unsigned) in inputs.into_iter().zip(&unsigned) {
        let of_input = input.grad(&ours);
        assert_eq!(of_input.is_some(), input.is_require_grad(), "a gradient for what is tracked, and for nothing else");
        if let Some(of_input) = of_input {
            same_sums(of_input, input.grad(&composed).unwrap(), depth, unsigned.grad(&magnitudes).unwrap());
        }
    }
}

#[test]
fn every_test_holds_with_every_kind_of_vectors_that_the_processor_has() {
    let others: Vec<&str> = Simd::available().into_iter().skip(1).map(Simd::name).collect();
    every_form::run_again(Simd::VARIABLE, &others, &[]);
}

fn device() -> Device {
    plain_device().autodiff()
}

/// What `KINDLING_TEST_DEVICE` names, which must be built in; the CPU backend if it is not set.
#[cfg_attr(
    any(feature = "ndarray", feature = "tch"),
    expect(deprecated, reason = "burn 0.23 drops ndarray and tch; until then they are served")
)]
fn plain_device() -> Device {
    match std::env::var("KINDLING_TEST_DEVICE").as_deref() {
        Err(_) | Ok("" | "flex") => Device::flex(),
        #[cfg(feature = "ndarray")]
        Ok("ndarray") => Device::ndarray(),
        #[cfg(feature = "tch")]
        Ok("tch") => Device::libtorch(),
        Ok(name) => panic!("KINDLING_TEST_DEVICE: `{name}` is not built into these tests"),
    }
}

fn random(shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.5), device)
}

fn layout(lengths: &[usize], first_row: usize) -> Arc<Layout> {
    let mut offsets = vec![0];
    for length in lengths {
        offsets.push(offsets[offsets.len() - 1] + length);
    }
    Arc::new(Layout::new(Offsets::new(&offsets), first_row))
}

fn mask(rows: usize, probability: f64) -> Option<DropoutMask> {
    layout(&vec![1; rows], 0).dropout_mask(Some(Noise { seed: 5, step: 9 }), probability, 77)
}

/// The factors that the mask stands for, `[rows, columns]`.
fn factors(mask: &Option<DropoutMask>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    dropout(Tensor::ones(shape, &device.clone().inner()), mask.clone())
}

#[test]
fn dropout_scales_its_gradient_by_the_same_factors() {
    let device = device();
    let close = |left, right| close(left, right, 1);
    let x = random([9, 11], &device).require_grad();
    let mask = mask(9, 0.3);
    let factors = factors(&mask, [9, 11], &device);
    let output = dropout(x.clone(), mask);
    close(output.clone().inner(), x.clone().inner() * factors.clone());
    let upstream = random([9, 11], &device);
    let gradients = (output * upstream.clone()).sum().backward();
    close(x.grad(&gradients).unwrap(), upstream.inner() * factors);
}

#[test]
fn a_residual_gives_its_gradient_to_both_and_drops_that_of_the_branch() {
    let device = device();
    let close = |left, right| close(left, right, 1);
    for probability in [0.0, 0.3] {
        let [x, branch] = [(); 2].map(|()| random([9, 11], &device).require_grad());
        let (mask, upstream) = (mask(9, probability), random([9, 11], &device));
        let ours = residual(x.clone(), branch.clone(), mask.clone());
        let composed = x.clone() + dropout(branch.clone(), mask);
        assert_eq!(ours.clone().into_data(), composed.clone().into_data(), "the same sums, hence the same bits");
        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        for tensor in [&x, &branch] {
            close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
        }
    }
}

#[test]
fn layer_norm_equals_its_formula_and_gives_all_three_gradients() {
    let device = device();
    for [rows, width] in [[1, 1], [3, 7], [65, 48], [33, 129]] {
        let close = |left, right| close(left, right, rows.max(width));
        let x = (random([rows, width], &device) * 3.0 + 1.0).detach().require_grad();
        let vector = || Tensor::<1>::random([width], Distribution::Normal(0.0, 1.0), &device).require_grad();
        let (weight, bias) = (vector(), vector());
        let upstream = random([rows, width], &device);

        let ours = layer_norm(x.clone(), weight.clone(), bias.clone(), 1e-5);
        let centred = x.clone() - x.clone().mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        let composed = centred / (variance + 1e-5).sqrt() * weight.clone().unsqueeze() + bias.clone().unsqueeze();
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
        for vector in [&weight, &bias] {
            close(vector.grad(&ours).unwrap().unsqueeze(), vector.grad(&composed).unwrap().unsqueeze());
        }
    }
}

#[test]
fn activations_and_their_derivatives_equal_burns() {
    let device = device();
    let close = |left, right| close(left, right, 1);
    let burns = |kind, x: Tensor<2>| match kind {
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Relu => activation::relu(x),
        Activation::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
        Activation::ReluSquared => activation::relu(x.clone()) * activation::relu(x),
        Activation::Silu => activation::silu(x),
        Activation::Tanh => x.tanh(),
    };
    for kind in Activation::NAMES.map(|name| name.parse::<Activation>().unwrap()) {
        for shape in [[1, 1], [3, 5], [130, 257]] {
            let x = (random(shape, &device) * 6.0).detach().require_grad();
            let upstream = random(shape, &device);
            let (ours, theirs) = (kind.forward(x.clone()), burns(kind, x.clone()));
            close(ours.clone().inner(), theirs.clone().inner());
            let ours = (ours * upstream.clone()).sum().backward();
            let theirs = (theirs * upstream).sum().backward();
            close(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap());
        }
    }
}

#[test]
fn rms_norm_equals_its_formula_and_gives_both_gradients() {
    let device = device();
    for [rows, width] in [[1, 1], [3, 7], [65, 48], [33, 129]] {
        let close = |left, right| close(left, right, rows.max(width));
        let x = (random([rows, width], &device) * 3.0 + 1.0).detach().require_grad();
        let weight = Tensor::<1>::random([width], Distribution::Normal(0.0, 1.0), &device).require_grad();
        let upstream = random([rows, width], &device);

        for (norm, offset) in [(rms_norm as fn(Tensor<2>, Tensor<1>, f64) -> _, 0.0), (unit_offset_rms_norm, 1.0)] {
            let ours: Tensor<2> = norm(x.clone(), weight.clone(), 1e-5);
            let square = (x.clone() * x.clone()).mean_dim(1);
            let composed = x.clone() / (square + 1e-5).sqrt() * (weight.clone() + offset).unsqueeze();
            close(ours.clone().inner(), composed.clone().inner());

            let ours = (ours * upstream.clone()).sum().backward();
            let composed = (composed * upstream.clone()).sum().backward();
            close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
            close(weight.grad(&ours).unwrap().unsqueeze(), weight.grad(&composed).unwrap().unsqueeze());
        }
    }
}

#[test]
fn rotary_turns_pairs_of_coordinates_and_its_gradient_back() {
    let device = device();
    let close = |left, right| close(left, right, 2);
    for [tokens, heads, d_head, pairs] in [[1, 1, 2, 1], [7, 3, 8, 4], [20, 2, 10, 3]] {
        let x = random([tokens, heads * d_head], &device).require_grad();
        let angles = random([tokens, pairs], &device.clone().inner());
        // A factor on both scales what is turned, as longrope does (Ding et al. 2024, arXiv 2402.13753).
        let (cosines, sines) = (angles.clone().cos() * 1.19, angles.sin() * 1.19);
        let upstream = random([tokens, heads * d_head], &device);

        let ours = rotary(x.clone(), cosines.clone(), sines.clone(), heads);
        let composed = (0..heads).map(|head| {
            let part = |from: usize, count: usize| x.clone().narrow(1, head * d_head + from, count);
            let (first, second) = (part(0, pairs), part(pairs, pairs));
            let [cosines, sines] = [&cosines, &sines].map(|table| Tensor::from_inner(table.clone()));
            let mut parts = vec![
                first.clone() * cosines.clone() - second.clone() * sines.clone(),
                second * cosines + first * sines,
            ];
            if 2 * pairs < d_head {
                parts.push(part(2 * pairs, d_head - 2 * pairs));
            }
            Tensor::cat(parts, 1)
        });
        let composed = Tensor::cat(composed.collect(), 1);
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
    }
}

#[test]
fn a_norm_that_is_made_again_for_the_layer_behind_it_changes_no_bit() {
    let plain = plain_device();
    let (x, of_norm, weight) = (random([9, 33], &plain), random([2, 33], &plain), random([5, 33], &plain));
    // A tensor of these values on a device.
    let on = |tensor: &Tensor<2>, device: &Device| Tensor::<2>::from_data(tensor.to_data(), device);
    let gradients = |device: Device, [is_trained, from_input]: [bool; 2]| {
        let weight = on(&weight, &device).require_grad();
        let x = on(&x, &device);
        let x = if from_input { x.require_grad() } else { x };
        let of_norm = on(&of_norm, if is_trained { &device } else { &plain });
        let of_norm = if is_trained { of_norm.require_grad() } else { of_norm };
        let [scale, bias] = [0, 1].map(|row| of_norm.clone().narrow(0, row, 1).squeeze_dim::<1>(0));
        // What is behind the first norm is an input of the second.
        let hidden = trained_linear(
            layer_norm(x.clone() * 2.0, scale.clone(), bias, 1e-5),
            weight.clone(),
            None,
            Phase::Prefill,
        );
        let scale = scale.narrow(0, 0, 5);
        let output =
            trained_linear(rms_norm(hidden, scale.clone(), 1e-5), weight.clone().transpose(), None, Phase::Prefill);
        let output = trained_linear(
            unit_offset_rms_norm(output, of_norm.clone().narrow(0, 1, 1).squeeze_dim(0), 1e-5),
            weight.clone(),
            None,
            Phase::Prefill,
        );
        let gradients = (output.clone() * output).sum().backward();
        [&x, &weight, &of_norm].map(|tensor| tensor.grad(&gradients).map(Tensor::into_data))
    };
    for tracked in [[false, true], [true, true], [true, false], [false, false]] {
        let kept = gradients(device(), tracked);
        assert!(kept[1].is_some() && [kept[2].is_some(), kept[0].is_some()] == tracked);
        assert_eq!(kept, gradients(device().gradient_checkpointing(), tracked));
    }
}

#[test]
fn cross_entropy_equals_log_softmax_of_the_target() {
    let device = device();
    for [rows, classes] in [[1, 1], [4, 9], [70, 1001]] {
        let close = |left, right| close(left, right, classes);
        let logits = (random([rows, classes], &device) * 8.0).detach().require_grad();
        let targets: Vec<usize> = (0..rows).map(|row| row * 13 % classes).collect();
        let indices: Vec<i32> = targets.iter().map(|target| *target as i32).collect();
        let indices = Tensor::<1, burn::tensor::Int>::from_ints(indices.as_slice(), &device).unsqueeze_dim(1);
        let upstream = Tensor::<1>::random([rows], Distribution::Normal(0.0, 1.0), &device);

        let ours = cross_entropy(logits.clone(), &targets);
        let composed = -activation::log_softmax(logits.clone(), 1).gather(1, indices).squeeze_dim::<1>(1);
        close(ours.clone().inner().unsqueeze(), composed.clone().inner().unsqueeze());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        close(logits.grad(&ours).unwrap(), logits.grad(&composed).unwrap());
    }
}

#[test]
fn joined_gated_activations_equal_those_of_their_halves_and_join_the_gradients() {
    let device = device();
    let close = |left, right| close(left, right, 1);
    for (kind, which) in [
        (Activation::Silu, Gate::First),
        (Activation::Gelu, Gate::First),
        (Activation::Gelu, Gate::Second),
        (Activation::GeluTanh, Gate::Second),
        (Activation::Relu, Gate::Second),
    ] {
        for [rows, columns] in [[1, 1], [3, 5], [130, 257]] {
            let joined = (random([rows, 2 * columns], &device) * 4.0).detach().require_grad();
            let upstream = random([rows, columns], &device);
            let ours = joined_gated_activation(joined.clone(), which, kind);
            let [first, second] = [0, columns].map(|start| joined.clone().narrow(1, start, columns));
            let (gate, up) = if which == Gate::First { (first, second) } else { (second, first) };
            let composed = kind.forward(gate) * up;
            close(ours.clone().inner(), composed.clone().inner());
            let ours = (ours * upstream.clone()).sum().backward();
            let composed = (composed * upstream).sum().backward();
            close(joined.grad(&ours).unwrap(), joined.grad(&composed).unwrap());
        }
    }
}

#[test]
fn gated_activations_equal_the_product_and_give_both_gradients() {
    let device = device();
    let close = |left, right| close(left, right, 1);
    for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        for shape in [[1, 1], [3, 5], [130, 257]] {
            let [gate, up] = [(); 2].map(|()| (random(shape, &device) * 4.0).detach().require_grad());
            let upstream = random(shape, &device);
            let ours = gated_activation(gate.clone(), up.clone(), kind);
            let composed = kind.forward(gate.clone()) * up.clone();
            close(ours.clone().inner(), composed.clone().inner());
            let ours = (ours * upstream.clone()).sum().backward();
            let composed = (composed * upstream).sum().backward();
            for tensor in [&gate, &up] {
                close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
            }
        }
    }
}

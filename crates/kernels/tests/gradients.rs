//! Every operation with a backward pass of its own, against the same formula in burn's own tracked operations.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use burn::module::{Lora, Module, ModuleMapper, Param};
use burn::nn::LinearConfig;
use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::{Device, Distribution, Tensor, Tolerance, activation};
use kernels::{Activation, Attention, Layout, LowRank, Mask, Noise, Offsets, Pass, Precision, Reach};
use kernels::{AdamWStep, adamw, attention, cross_entropy, dropout, gated_activation, layer_norm, linear, lora_linear};
use kernels::{rms_norm, rotary, trained_linear};

// Sums of at most a few hundred f32 products in another order.
fn close(left: Tensor<2>, right: Tensor<2>) {
    left.into_data().assert_approx_eq::<f32>(&right.into_data(), Tolerance::rel_abs(2e-5, 2e-5));
}

fn device() -> Device {
    Device::flex().autodiff()
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

fn mask(rows: usize, probability: f64) -> Option<Mask> {
    let pass = Pass::new(layout(&vec![1; rows], 0), Some(Noise { seed: 5, step: 9 }));
    pass.mask(probability, 77)
}

fn low_rank(scale: f32, mask: Option<Mask>) -> LowRank {
    LowRank { scale, mask, precision: Precision::F32 }
}

/// The factors that the mask stands for, `[rows, columns]`.
fn factors(mask: &Option<Mask>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    dropout(Tensor::ones(shape, &device.clone().inner()), mask.clone())
}

#[test]
fn a_frozen_linear_gives_the_gradient_of_its_input_alone() {
    let device = device();
    for [rows, d_input, d_output] in [[1, 1, 1], [7, 5, 3], [64, 33, 17]] {
        let x = random([rows, d_input], &device).require_grad();
        let weight = random([d_output, d_input], &device.clone().inner());
        let upstream = random([rows, d_output], &device);

        let bias = random([1, d_output], &device.clone().inner());
        let ours = linear(x.clone(), weight.clone(), Some(bias.clone().squeeze_dim(0)), Precision::F32);
        let composed = x.clone().matmul(weight.transpose()) + bias;
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
    }
}

#[test]
fn a_trained_linear_gives_all_three_gradients() {
    let device = device();
    for [rows, d_input, d_output] in [[1, 1, 1], [7, 5, 3], [64, 33, 17], [130, 96, 200]] {
        let x = random([rows, d_input], &device).require_grad();
        // As it lies in `torch.nn.Linear`, and as in GPT-2's `Conv1D`.
        for turned in [false, true] {
            let stored = if turned { [d_input, d_output] } else { [d_output, d_input] };
            let stored = random(stored, &device).require_grad();
            // A graph serves one backward pass.
            let weight = || if turned { stored.clone().transpose() } else { stored.clone() };
            let bias = Tensor::<1>::random([d_output], Distribution::Normal(0.0, 0.5), &device).require_grad();
            let upstream = random([rows, d_output], &device);
            for with_bias in [true, false] {
                let ours = trained_linear(x.clone(), weight(), with_bias.then(|| bias.clone()));
                let composed = x.clone().matmul(weight().transpose());
                let composed = if with_bias { composed + bias.clone().unsqueeze() } else { composed };
                close(ours.clone().inner(), composed.clone().inner());
                let ours = (ours * upstream.clone()).sum().backward();
                let composed = (composed * upstream.clone()).sum().backward();
                close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
                close(stored.grad(&ours).unwrap(), stored.grad(&composed).unwrap());
                let of_bias = [&ours, &composed].map(|gradients| bias.grad(gradients));
                match of_bias {
                    [Some(ours), Some(composed)] => close(ours.unsqueeze(), composed.unsqueeze()),
                    of_bias => assert!(!with_bias && of_bias.iter().all(Option::is_none)),
                }
            }
        }
    }
}

#[test]
fn a_step_of_adamw_is_that_of_burn() {
    let device = Device::flex();
    let (rate, decay) = (0.05, 0.1);
    let burns = AdamWConfig::new().with_beta_2(0.99).with_epsilon(1e-8).with_weight_decay(decay as f32).build();
    let start = random([3, 20_000], &device);
    let (mut ours, mut moments) = (start.clone(), [start.zeros_like(), start.zeros_like()]);
    let (mut theirs, mut state) = (start.clone(), None);
    for time in 1..=4 {
        let gradient = random([3, 20_000], &device);
        (theirs, state) = burns.step(rate, theirs, gradient.clone(), state);
        let step = AdamWStep {
            learning_rate: rate,
            betas: [0.9, 0.99],
            epsilon: 1e-8,
            weight_decay: f64::from(decay as f32),
            time,
        };
        (ours, moments) = adamw(ours, gradient, moments, step);
        close(ours.clone(), theirs.clone());
    }
    assert!((ours - start).abs().max().into_scalar::<f32>() > 0.1);
}

#[test]
fn lora_linear_equals_the_composed_form_with_and_without_dropout() {
    let device = device();
    for [rows, d_input, d_output, r] in [[1, 1, 1, 1], [5, 7, 3, 2], [63, 48, 96, 4], [2, 31, 13, 8]] {
        for probability in [0.0, 0.4] {
            let x = random([rows, d_input], &device).require_grad();
            let weight = random([d_output, d_input], &device.clone().inner());
            let a = random([r, d_input], &device).require_grad();
            let b = random([d_output, r], &device).require_grad();
            let upstream = random([rows, d_output], &device);
            let mask = mask(rows, probability);

            let bias = random([1, d_output], &device.clone().inner());
            let of_row = Some(bias.clone().squeeze_dim(0));
            let ours =
                lora_linear(x.clone(), weight.clone(), of_row, a.clone(), b.clone(), low_rank(0.7, mask.clone()));
            let kept = x.clone() * factors(&mask, [rows, d_input], &device);
            let composed = x.clone().matmul(weight.transpose())
                + bias
                + kept.matmul(a.clone().transpose()).matmul(b.clone().transpose()) * 0.7;
            close(ours.clone().inner(), composed.clone().inner());

            let ours = (ours * upstream.clone()).sum().backward();
            let composed = (composed * upstream).sum().backward();
            for tensor in [&x, &a, &b] {
                close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
            }
        }
    }
}

#[test]
fn lora_linear_gives_no_gradient_to_what_needs_none() {
    let device = device();
    let x = random([4, 6], &device);
    let weight = random([5, 6], &device).require_grad();
    let a = random([2, 6], &device).require_grad();
    let b = random([5, 2], &device);
    let gradients =
        lora_linear(x.clone(), weight.clone(), None, a.clone(), b.clone(), low_rank(1.0, None)).sum().backward();
    assert!(a.grad(&gradients).is_some());
    assert!(weight.grad(&gradients).is_none(), "a frozen weight has no gradient, tracked or not");
    assert!(x.grad(&gradients).is_none() && b.grad(&gradients).is_none());
}

/// burn's adapter starts with B = 0, which would hide the gradient of A.
struct FillZeros;

impl ModuleMapper for FillZeros {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| match tensor.clone().abs().max().into_scalar::<f32>() {
            0.0 => tensor.random_like(Distribution::Normal(0.0, 1.0)).detach().require_grad(),
            _ => tensor,
        })
    }
}

#[test]
fn lora_linear_equals_burns_apply_lora() {
    let device = device();
    let layer = LinearConfig::new(12, 9).with_bias(false).init(&device);
    let weight = layer.weight.val().inner().transpose();
    let layer = layer.apply_lora(Lora::new(3, 6.0)).map(&mut FillZeros);
    let adapter = layer.weight.adapter().expect("the layer was just adapted");
    let (a, b) = (adapter.a.val(), adapter.b.val());

    let x = random([6, 12], &device).require_grad();
    let upstream = random([6, 9], &device);
    let theirs = layer.forward(x.clone());
    let ours_a = a.clone().inner().transpose();
    let ours_b = b.clone().inner().transpose();
    let [ours_a, ours_b] = [ours_a, ours_b].map(|t| Tensor::from_inner(t).require_grad());
    let ours = lora_linear(x.clone(), weight, None, ours_a.clone(), ours_b.clone(), low_rank(2.0, None));
    close(ours.clone().inner(), theirs.clone().inner());

    let theirs = (theirs * upstream.clone()).sum().backward();
    let ours = (ours * upstream).sum().backward();
    close(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap());
    close(ours_a.grad(&ours).unwrap(), a.grad(&theirs).unwrap().transpose());
    close(ours_b.grad(&ours).unwrap(), b.grad(&theirs).unwrap().transpose());
}

#[test]
fn dropout_scales_its_gradient_by_the_same_factors() {
    let device = device();
    let x = random([9, 11], &device).require_grad();
    let mask = mask(9, 0.3);
    let factors = factors(&mask, [9, 11], &device);
    let output = dropout(x.clone(), mask);
    close(output.clone().inner(), x.clone().inner() * factors.clone());
    let upstream = random([9, 11], &device);
    let gradients = (output * upstream.clone()).sum().backward();
    close(x.grad(&gradients).unwrap(), upstream.inner() * factors);
}

fn both_ways(heads: usize, scale: f32, mask: Option<Mask>) -> Attention {
    Attention { heads, kv_heads: heads, scale, reach: Reach::Everything, mask }
}

/// Attention of one sequence, head by head, in burn's own tracked operations; `factors` are those of its probabilities.
fn plain_attention(
    q: Tensor<2>,
    k: Tensor<2>,
    v: Tensor<2>,
    heads: usize,
    scale: f32,
    factors: &[Tensor<2>],
) -> Tensor<2> {
    let d_head = q.dims()[1] / heads;
    let head = |x: &Tensor<2>, h: usize| x.clone().narrow(1, h * d_head, d_head);
    let outputs = (0..heads).map(|h| {
        let scores = head(&q, h).matmul(head(&k, h).transpose()) * scale;
        let p = activation::softmax(scores, 1);
        let p = match factors.get(h) {
            Some(factors) => p * factors.clone(),
            None => p,
        };
        p.matmul(head(&v, h))
    });
    Tensor::cat(outputs.collect(), 1)
}

#[test]
fn ragged_attention_equals_attention_of_each_sequence_alone() {
    let device = device();
    for (lengths, heads, d_head) in [(vec![1], 1, 1), (vec![3, 1, 7], 2, 5), (vec![13, 2, 17, 5], 4, 8)] {
        let (tokens, width) = (lengths.iter().sum::<usize>(), heads * d_head);
        let [q, k, v] = [(); 3].map(|()| random([tokens, width], &device).require_grad());
        let upstream = random([tokens, width], &device);
        let scale = 1.0 / (d_head as f32).sqrt();

        let options = both_ways(heads, scale, None);
        let ours = attention(q.clone(), k.clone(), v.clone(), &layout(&lengths, 0), options);
        let mut start = 0;
        let parts = lengths.iter().map(|length| {
            let part = |x: &Tensor<2>| x.clone().narrow(0, start, *length);
            let output = plain_attention(part(&q), part(&k), part(&v), heads, scale, &[]);
            start += length;
            output
        });
        let composed = Tensor::cat(parts.collect(), 0);
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        for tensor in [&q, &k, &v] {
            close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
        }
    }
}

#[test]
fn attention_dropout_acts_on_probabilities_and_not_on_how_sequences_are_batched() {
    let device = device();
    let (heads, d_head) = (2, 4);
    let noise = Some(Noise { seed: 1, step: 2 });
    let [q, k, v] = [(); 3].map(|()| random([9, heads * d_head], &device).require_grad());
    let run = |lengths: &[usize], first_row: usize, range: std::ops::Range<usize>| {
        let layout = layout(lengths, first_row);
        let mask = Pass::new(layout.clone(), noise).mask(0.5, 3);
        let part = |x: &Tensor<2>| x.clone().slice([range.clone()]);
        attention(part(&q), part(&k), part(&v), &layout, both_ways(heads, 0.5, mask))
    };
    let together = run(&[4, 5], 0, 0..9);
    let apart = Tensor::cat(vec![run(&[4], 0, 0..4), run(&[5], 1, 4..9)], 0);
    close(together.clone().inner(), apart.clone().inner());
    let without = attention(q.clone(), k.clone(), v.clone(), &layout(&[4, 5], 0), both_ways(heads, 0.5, None));
    let moved = (together.clone().inner() - without.inner()).abs().max().into_scalar::<f32>();
    assert!(moved > 0.05, "half of the probabilities are dropped");

    // The factors of one head, read through the operation itself: with equal keys every probability is 1/5, and with
    // v the identity the output row is the row of dropped probabilities.
    let layout = layout(&[5], 0);
    let single = |x: Tensor<2>| x.narrow(0, 4, 5);
    let mask = Pass::new(layout.clone(), noise).mask(0.5, 3);
    let identity = Tensor::<2>::eye(5, &device);
    let wide = Tensor::cat(vec![identity.clone(), identity], 1);
    let zeros = Tensor::<2>::zeros([5, 10], &device);
    let options = both_ways(2, 0.5, mask.clone());
    let dropped = attention(zeros.clone(), zeros, wide, &layout, options).inner() * 5.0;
    let factors: Vec<Tensor<2>> = (0..2).map(|h| dropped.clone().narrow(1, h * 5, 5)).collect();

    let options = both_ways(heads, 0.5, mask);
    let ours = attention(single(q.clone()), single(k.clone()), single(v.clone()), &layout, options);
    let composed = plain_attention(single(q.clone()), single(k.clone()), single(v.clone()), heads, 0.5, &factors);
    close(ours.clone().inner(), composed.clone().inner());
    let upstream = random([5, heads * d_head], &device);
    let ours = (ours * upstream.clone()).sum().backward();
    let composed = (composed * upstream).sum().backward();
    for tensor in [&q, &k, &v] {
        close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
    }
}

#[test]
fn half_precision_weights_compute_like_their_values_in_f32() {
    let device = device();
    for dtype in [burn::tensor::DType::F16, burn::tensor::DType::BF16] {
        let x = random([5, 40], &device).require_grad();
        let stored = random([30, 40], &device.clone().inner()).cast(dtype);
        let widened = stored.clone().cast(burn::tensor::DType::F32);
        let ours = linear(x.clone(), stored, None, Precision::F32);
        let reference = linear(x.clone(), widened, None, Precision::F32);
        assert_eq!(ours.clone().into_data(), reference.clone().into_data(), "the same values, hence the same bits");
        let (ours, reference) = (ours.sum().backward(), reference.sum().backward());
        assert_eq!(x.grad(&ours).unwrap().into_data(), x.grad(&reference).unwrap().into_data());
    }
}

#[test]
fn layer_norm_equals_its_formula_and_gives_all_three_gradients() {
    let device = device();
    for [rows, width] in [[1, 1], [3, 7], [65, 48], [33, 129]] {
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
    let burns = |kind, x: Tensor<2>| match kind {
        Activation::Gelu => activation::gelu(x),
        Activation::GeluTanh => activation::gelu_approximate(x),
        Activation::Relu => activation::relu(x),
        Activation::Silu => activation::silu(x),
        Activation::Tanh => x.tanh(),
    };
    for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Silu, Activation::Tanh] {
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

/// The formula of causal attention with shared heads of keys, in burn's own tracked operations.
fn plain_causal(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, options: &Attention, window: usize) -> Tensor<2> {
    let (tokens, d_head) = (q.dims()[0], q.dims()[1] / options.heads);
    let hidden: Vec<f32> = (0..tokens * tokens)
        .map(|i| (i / tokens, i % tokens))
        .map(|(query, key)| if key <= query && query - key < window { 0.0 } else { -1e9 })
        .collect();
    let hidden = Tensor::<1>::from_floats(hidden.as_slice(), &q.device()).reshape([tokens, tokens]);
    let head = |x: &Tensor<2>, h: usize| x.clone().narrow(1, h * d_head, d_head);
    let outputs = (0..options.heads).map(|h| {
        let shared = h * options.kv_heads / options.heads;
        let scores = head(&q, h).matmul(head(&k, shared).transpose()) * options.scale + hidden.clone();
        activation::softmax(scores, 1).matmul(head(&v, shared))
    });
    Tensor::cat(outputs.collect(), 1)
}

#[test]
fn causal_attention_with_shared_keys_and_a_window_equals_its_formula() {
    let device = device();
    for (lengths, [heads, kv_heads, d_head], window) in
        [(vec![1], [1, 1, 1], None), (vec![3, 71], [4, 2, 5], None), (vec![80, 2], [3, 1, 4], Some(9))]
    {
        let tokens = lengths.iter().sum::<usize>();
        let q = random([tokens, heads * d_head], &device).require_grad();
        let [k, v] = [(); 2].map(|()| random([tokens, kv_heads * d_head], &device).require_grad());
        let upstream = random([tokens, heads * d_head], &device);
        let options = Attention { heads, kv_heads, scale: 0.4, reach: Reach::Past { window }, mask: None };

        let ours = attention(q.clone(), k.clone(), v.clone(), &layout(&lengths, 0), options.clone());
        let mut start = 0;
        let parts = lengths.iter().map(|length| {
            let part = |x: &Tensor<2>| x.clone().narrow(0, start, *length);
            let output = plain_causal(part(&q), part(&k), part(&v), &options, window.unwrap_or(usize::MAX));
            start += length;
            output
        });
        let composed = Tensor::cat(parts.collect(), 0);
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        for tensor in [&q, &k, &v] {
            close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
        }
    }
}

#[test]
fn rms_norm_equals_its_formula_and_gives_both_gradients() {
    let device = device();
    for [rows, width] in [[1, 1], [3, 7], [65, 48], [33, 129]] {
        let x = (random([rows, width], &device) * 3.0 + 1.0).detach().require_grad();
        let weight = Tensor::<1>::random([width], Distribution::Normal(0.0, 1.0), &device).require_grad();
        let upstream = random([rows, width], &device);

        let ours = rms_norm(x.clone(), weight.clone(), 1e-5);
        let square = (x.clone() * x.clone()).mean_dim(1);
        let composed = x.clone() / (square + 1e-5).sqrt() * weight.clone().unsqueeze();
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
        close(weight.grad(&ours).unwrap().unsqueeze(), weight.grad(&composed).unwrap().unsqueeze());
    }
}

#[test]
fn rotary_turns_pairs_of_coordinates_and_its_gradient_back() {
    let device = device();
    for [tokens, heads, d_head, pairs] in [[1, 1, 2, 1], [7, 3, 8, 4], [20, 2, 10, 3]] {
        let x = random([tokens, heads * d_head], &device).require_grad();
        let angles = random([tokens, pairs], &device.clone().inner());
        let (cosines, sines) = (angles.clone().cos(), angles.sin());
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
fn cross_entropy_equals_log_softmax_of_the_target() {
    let device = device();
    for [rows, classes] in [[1, 1], [4, 9], [70, 1001]] {
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
fn gated_activations_equal_the_product_and_give_both_gradients() {
    let device = device();
    for kind in [Activation::Silu, Activation::GeluTanh, Activation::Relu] {
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

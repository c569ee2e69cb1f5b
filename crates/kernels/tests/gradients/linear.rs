//! Linear layers, frozen, trained and with a low-rank update, and a step of the optimiser that trains them.

use burn::module::{Lora, Module, ModuleMapper, Param};
use burn::nn::LinearConfig;
use burn::optim::{AdamWConfig, Optimizer};
use burn::tensor::{Distribution, Int, Tensor, activation};
use kernels::{AdamWStep, Compute, DropoutMask, LogitsTransform, LowRank, Phase, Precision};
use kernels::{adamw, add_bias, linear, linear_cross_entropy, lora_linear, margins, trained_linear};

use super::{close, device, factors, mask, plain_device, random, same_sums_and_gradients};

fn low_rank(scale: f32, mask: Option<DropoutMask>) -> LowRank {
    LowRank { scale, mask, compute: Compute::default() }
}

#[test]
fn a_frozen_linear_gives_the_gradient_of_its_input_alone() {
    let device = device();
    for [rows, d_input, d_output] in [[1, 1, 1], [7, 5, 3], [64, 33, 17]] {
        let x = random([rows, d_input], &device).require_grad();
        let weight = random([d_output, d_input], &device.clone().inner());
        let bias = random([1, d_output], &device.clone().inner());
        let ours = linear(x.clone(), weight.clone(), Some(bias.clone().squeeze_dim(0)), Compute::default());
        let formula = |[x, weight, bias]: [Tensor<2>; 3]| x.matmul(weight.transpose()) + bias;
        same_sums_and_gradients(ours, formula, [&x, &weight, &bias], 1 + d_input + d_output);
    }
}

#[test]
fn linear_cross_entropy_is_that_of_the_logits_it_never_holds() {
    let device = device();
    let as_it_is = LogitsTransform::default();
    let scaled = LogitsTransform { scale: 0.125, ..as_it_is };
    let capped = LogitsTransform { scale: 1.5, soft_cap: Some(0.8) };
    for ([rows, classes, width], transform) in [
        ([1, 1, 1], as_it_is),
        ([4, 9, 5], as_it_is),
        ([70, 5003, 33], as_it_is),
        ([1030, 40, 6], as_it_is),
        ([70, 5003, 33], scaled),
        ([4, 9, 5], capped),
        ([70, 5003, 33], capped),
    ] {
        let x = random([rows, width], &device).require_grad();
        let weight = random([classes, width], &device.clone().inner());
        let bias = random([1, classes], &device.clone().inner());
        let targets: Vec<usize> = (0..rows).map(|row| row * 13 % classes).collect();
        let indices: Vec<i32> = targets.iter().map(|target| *target as i32).collect();
        let indices = Tensor::<1, Int>::from_ints(indices.as_slice(), &device).unsqueeze_dim(1);
        let upstream = Tensor::<1>::random([rows], Distribution::Normal(0.0, 1.0), &device);

        // Logits of `width` products, then sums over the classes.
        let close = |left, right| close(left, right, width + classes);
        let of_class = Some(bias.clone().squeeze_dim(0));
        let (ours, our_margins) =
            linear_cross_entropy(x.clone(), weight.clone(), of_class, &targets, transform, Precision::F32);
        let logits = (x.clone().matmul(weight.transpose()) + bias) * transform.scale;
        let logits = transform.soft_cap.map_or(logits.clone(), |cap| (logits / cap).tanh() * cap);
        close(our_margins.inner().unsqueeze(), margins(logits.clone(), &targets).inner().unsqueeze());
        let composed = -activation::log_softmax(logits, 1).gather(1, indices).squeeze_dim::<1>(1);
        close(ours.clone().inner().unsqueeze(), composed.clone().inner().unsqueeze());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        close(x.grad(&ours).unwrap(), x.grad(&composed).unwrap());
    }
}

#[test]
fn transformed_logits_equal_their_formula_and_give_their_gradient() {
    let device = device();
    let close = |left, right| close(left, right, 1);
    for (scale, soft_cap) in [(1.0, None), (0.125, None), (1.0, Some(30.0)), (2.0, Some(0.7))] {
        for shape in [[1, 1], [3, 5], [70, 1003]] {
            let logits = (random(shape, &device) * 4.0).detach().require_grad();
            let upstream = random(shape, &device);
            let ours = LogitsTransform { scale, soft_cap }.apply(logits.clone());
            let scaled = logits.clone() * scale;
            let composed = soft_cap.map_or(scaled.clone(), |cap| (scaled / cap).tanh() * cap);
            close(ours.clone().inner(), composed.clone().inner());
            let ours = (ours * upstream.clone()).sum().backward();
            let composed = (composed * upstream).sum().backward();
            close(logits.grad(&ours).unwrap(), logits.grad(&composed).unwrap());
        }
    }
}

#[test]
fn a_trained_linear_gives_all_three_gradients() {
    let device = device();
    for [rows, d_input, d_output] in [[1, 1, 1], [7, 5, 3], [64, 33, 17], [130, 96, 200]] {
        let depth = 1 + rows + d_input + d_output;
        let x = random([rows, d_input], &device).require_grad();
        // As it lies in `torch.nn.Linear`, and as in GPT-2's `Conv1D`.
        for turned in [false, true] {
            let stored = if turned { [d_input, d_output] } else { [d_output, d_input] };
            let stored = random(stored, &device).require_grad();
            let weight = |stored: Tensor<2>| if turned { stored.transpose() } else { stored };
            let bias = random([1, d_output], &device).require_grad();

            let of_row = Some(bias.clone().squeeze_dim(0));
            let ours = trained_linear(x.clone(), weight(stored.clone()), of_row, Phase::Prefill);
            let formula = |[x, stored, bias]: [Tensor<2>; 3]| x.matmul(weight(stored).transpose()) + bias;
            same_sums_and_gradients(ours, formula, [&x, &stored, &bias], depth);

            let ours = trained_linear(x.clone(), weight(stored.clone()), None, Phase::Prefill);
            let formula = |[x, stored]: [Tensor<2>; 2]| x.matmul(weight(stored).transpose());
            same_sums_and_gradients(ours, formula, [&x, &stored], depth);
        }
    }
}

#[test]
fn a_bias_gives_its_gradient_to_both() {
    let device = device();
    for [rows, width] in [[1, 1], [9, 11]] {
        let x = random([rows, width], &device).require_grad();
        let bias = random([1, width], &device).require_grad();
        let ours = add_bias(x.clone(), bias.clone().squeeze_dim(0));
        let composed = x.clone() + bias.clone();
        assert_eq!(ours.clone().into_data(), composed.into_data(), "the same sums, hence the same bits");
        same_sums_and_gradients(ours, |[x, bias]: [Tensor<2>; 2]| x + bias, [&x, &bias], 1 + rows);
    }
}

#[test]
fn a_step_of_adamw_is_that_of_burn() {
    let device = plain_device();
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
        close(ours.clone(), theirs.clone(), 0);
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
            let mask = mask(rows, probability);
            let bias = random([1, d_output], &device.clone().inner());
            let of_row = Some(bias.clone().squeeze_dim(0));
            let ours =
                lora_linear(x.clone(), weight.clone(), of_row, a.clone(), b.clone(), low_rank(0.7, mask.clone()));
            let kept = factors(&mask, [rows, d_input], &device);
            let formula = |[x, weight, bias, a, b]: [Tensor<2>; 5]| {
                let update = (x.clone() * kept.clone()).matmul(a.transpose()).matmul(b.transpose());
                x.matmul(weight.transpose()) + bias + update * 0.7
            };
            // Beside the three sums that a path can go through: the bias, the scale, the mask.
            let depth = rows + d_input + d_output + r + 3;
            same_sums_and_gradients(ours, formula, [&x, &weight, &bias, &a, &b], depth);
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
    // Every sum is at most that deep, one after the other.
    let close = |left, right| close(left, right, 12 + 9 + 6 + 3);
    close(ours.clone().inner(), theirs.clone().inner());

    let theirs = (theirs * upstream.clone()).sum().backward();
    let ours = (ours * upstream).sum().backward();
    close(x.grad(&ours).unwrap(), x.grad(&theirs).unwrap());
    close(ours_a.grad(&ours).unwrap(), a.grad(&theirs).unwrap().transpose());
    close(ours_b.grad(&ours).unwrap(), b.grad(&theirs).unwrap().transpose());
}

#[test]
fn half_precision_weights_compute_like_their_values_in_f32() {
    let device = device();
    for dtype in [burn::tensor::DType::F16, burn::tensor::DType::BF16] {
        let x = random([5, 40], &device).require_grad();
        let stored = random([30, 40], &device.clone().inner()).cast(dtype);
        let widened = stored.clone().cast(burn::tensor::DType::F32);
        let ours = linear(x.clone(), stored, None, Compute::default());
        let reference = linear(x.clone(), widened, None, Compute::default());
        assert_eq!(ours.clone().into_data(), reference.clone().into_data(), "the same values, hence the same bits");
        let (ours, reference) = (ours.sum().backward(), reference.sum().backward());
        assert_eq!(x.grad(&ours).unwrap().into_data(), x.grad(&reference).unwrap().into_data());
    }
}

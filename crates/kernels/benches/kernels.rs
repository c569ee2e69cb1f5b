//! Each operation, forward and backward, beside the same formula in burn's own operations: `cargo bench -p kernels --profile dev`
//! (burn is built already in that profile).
//! Sizes are those of BERT-base with 8 sequences of 128 tokens.

use std::sync::Arc;

use burn::tensor::{DType, Device, Distribution, Int, Tensor, activation};
use divan::Bencher;
use kernels::{
    Activation, Attention, AttentionMask, Compute, DisentangledAttention, DropoutMask, Layout, LogitsTransform,
    LowRank, Noise, Offsets, Precision, RelativePositions,
};

const SEQUENCES: usize = 8;
const LENGTH: usize = 128;
const TOKENS: usize = SEQUENCES * LENGTH;
const WIDTH: usize = 768;
const INNER: usize = 3072;
const HEADS: usize = 12;
const RANK: usize = 8;
const VOCABULARY: usize = 30_522;

fn main() {
    divan::main();
}

fn device() -> Device {
    Device::flex().autodiff()
}

fn random(shape: [usize; 2]) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.5), &device())
}

/// A constant, as frozen weights are.
fn frozen<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 0.5), &device().inner())
}

fn layout() -> Arc<Layout> {
    let offsets: Vec<usize> = (0..=SEQUENCES).map(|sequence| sequence * LENGTH).collect();
    Arc::new(Layout::new(Offsets::new(&offsets), 0))
}

fn mask() -> Option<DropoutMask> {
    layout().dropout_mask(Some(Noise { seed: 1, step: 1 }), 0.1, 1)
}

/// The gradients of all inputs.
fn both_ways<const N: usize>(
    bencher: Bencher<'_, '_>,
    inputs: [Tensor<2>; N],
    operation: impl Fn([Tensor<2>; N]) -> Tensor<2>,
) {
    bencher.bench_local(|| operation(inputs.clone().map(Tensor::require_grad)).sum().backward());
}

mod linear {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let (weight, bias) = (frozen([INNER, WIDTH]), frozen([INNER]));
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| {
            kernels::linear(x, weight.clone(), Some(bias.clone()), Compute::default())
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let (weight, bias) = (frozen([INNER, WIDTH]), frozen::<1>([INNER]));
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| {
            x.matmul(Tensor::from_inner(weight.clone().transpose())) + Tensor::from_inner(bias.clone().unsqueeze())
        });
    }
}

/// Products in bf16 beside those in f32, of a weight that is stored in bf16. Only where the processor has them.
mod linear_in_bf16 {
    use super::*;

    fn in_precision(bencher: Bencher<'_, '_>, precision: Precision) {
        let weight = frozen([INNER, WIDTH]).cast(DType::BF16);
        let compute = Compute { precision, ..Compute::default() };
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| kernels::linear(x, weight.clone(), None, compute));
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        in_precision(bencher, if Precision::has_bf16() { Precision::Bf16 } else { Precision::F32 });
    }

    #[divan::bench]
    fn in_f32(bencher: Bencher<'_, '_>) {
        in_precision(bencher, Precision::F32);
    }
}

/// Rows of a pass that decodes with a weight that no cache holds, beside the same rows in a prompt.
mod decoding {
    use kernels::{FrozenMatrix, Phase, Quantisation, Quantised};

    use super::*;

    const ROWS: [usize; 4] = [1, 4, 16, 64];
    const OUTPUTS: usize = 1 << 16;
    const INPUTS: usize = 896;

    fn rows(bencher: Bencher<'_, '_>, rows: usize, phase: Phase, weight: FrozenMatrix) {
        let x = random([rows, INPUTS]).inner();
        let compute = Compute { phase, ..Compute::default() };
        bencher.bench_local(|| kernels::linear(x.clone(), weight.clone(), None, compute));
    }

    fn floats(dtype: DType) -> FrozenMatrix {
        FrozenMatrix::Float(frozen([OUTPUTS, INPUTS]).cast(dtype))
    }

    fn codes(how: Quantisation) -> FrozenMatrix {
        let weight = frozen::<2>([OUTPUTS, INPUTS]).into_data();
        FrozenMatrix::Quantised(Quantised::of(&weight, how, &device().inner()).expect("numbers are finite"))
    }

    #[divan::bench(args = ROWS, sample_count = 20)]
    fn f32(bencher: Bencher<'_, '_>, count: usize) {
        rows(bencher, count, Phase::Decode, floats(DType::F32));
    }

    #[divan::bench(args = ROWS, sample_count = 20)]
    fn bf16(bencher: Bencher<'_, '_>, count: usize) {
        rows(bencher, count, Phase::Decode, floats(DType::BF16));
    }

    #[divan::bench(args = ROWS, sample_count = 20)]
    fn int8(bencher: Bencher<'_, '_>, count: usize) {
        rows(bencher, count, Phase::Decode, codes(Quantisation::Int8));
    }

    #[divan::bench(args = ROWS, sample_count = 20)]
    fn nf4(bencher: Bencher<'_, '_>, count: usize) {
        rows(bencher, count, Phase::Decode, codes(Quantisation::Nf4));
    }

    #[divan::bench(args = ROWS, sample_count = 20)]
    fn f32_turned(bencher: Bencher<'_, '_>, count: usize) {
        let weight = FrozenMatrix::Float(frozen([INPUTS, OUTPUTS]).transpose());
        rows(bencher, count, Phase::Decode, weight);
    }

    #[divan::bench(args = ROWS, sample_count = 20)]
    fn f32_of_prompts(bencher: Bencher<'_, '_>, count: usize) {
        rows(bencher, count, Phase::Prefill, floats(DType::F32));
    }
}

mod lora_linear {
    use super::*;

    fn inputs() -> [Tensor<2>; 3] {
        [random([TOKENS, WIDTH]), random([RANK, WIDTH]), random([WIDTH, RANK])]
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let weight = frozen([WIDTH, WIDTH]);
        both_ways(bencher, inputs(), |[x, a, b]| {
            let options = LowRank { scale: 2.0, mask: mask(), compute: Compute::default() };
            kernels::lora_linear(x, weight.clone(), None, a, b, options)
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let weight = frozen([WIDTH, WIDTH]);
        both_ways(bencher, inputs(), |[x, a, b]| {
            let kept = burn::nn::DropoutConfig::new(0.1).init().forward(x.clone());
            x.matmul(Tensor::from_inner(weight.clone().transpose()))
                + kept.matmul(a.transpose()).matmul(b.transpose()) * 2.0
        });
    }
}

mod attention {
    use super::*;

    fn inputs() -> [Tensor<2>; 3] {
        [(); 3].map(|()| random([TOKENS, WIDTH]))
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |[q, k, v]| {
            let options = Attention {
                heads: HEADS,
                kv_heads: HEADS,
                scale: 0.125,
                soft_cap: None,
                mask: AttentionMask::Bidirectional { window: None },
                dropout: None,
            };
            kernels::attention(q, k, v, &layout(), options)
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |inputs| {
            let [q, k, v] = inputs.map(|x| x.reshape([SEQUENCES, LENGTH, HEADS, WIDTH / HEADS]).swap_dims(1, 2));
            let p = activation::softmax(q.matmul(k.transpose()) * 0.125, 3);
            p.matmul(v).swap_dims(1, 2).reshape([TOKENS, WIDTH])
        });
    }
}

mod disentangled_attention {
    use super::*;

    const BUCKETS: usize = 256;
    /// `1 / sqrt(3 * 64)`
    const SCALE: f32 = 0.072_168_78;

    fn inputs() -> [Tensor<2>; 5] {
        [TOKENS, TOKENS, TOKENS, 2 * BUCKETS, 2 * BUCKETS].map(|rows| random([rows, WIDTH]))
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |[q, k, v, pos_key, pos_query]| {
            let positions = RelativePositions { buckets: Some(BUCKETS), largest: 512 };
            let options = DisentangledAttention { heads: HEADS, scale: SCALE, positions, dropout: None };
            kernels::disentangled_attention(q, k, v, pos_key, pos_query, &layout(), options)
        });
    }

    /// As the reference: by gathering. Up to 128 tokens each distance has its own bucket.
    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let rows: Vec<i32> = (0..LENGTH * LENGTH).map(|at| (BUCKETS + at / LENGTH - at % LENGTH) as i32).collect();
        let rows = Tensor::<1, Int>::from_ints(rows.as_slice(), &device()).reshape([1, 1, LENGTH, LENGTH]);
        let of_keys = rows.clone().expand([SEQUENCES, HEADS, LENGTH, LENGTH]);
        let of_queries = rows.transpose().expand([SEQUENCES, HEADS, LENGTH, LENGTH]);
        both_ways(bencher, inputs(), |[q, k, v, pos_key, pos_query]| {
            let [q, k, v] = [q, k, v].map(|x| x.reshape([SEQUENCES, LENGTH, HEADS, WIDTH / HEADS]).swap_dims(1, 2));
            let [pos_key, pos_query] =
                [pos_key, pos_query].map(|x| x.reshape([1, 2 * BUCKETS, HEADS, WIDTH / HEADS]).swap_dims(1, 2));
            let to_position = q.clone().matmul(pos_key.transpose()).gather(3, of_keys.clone());
            let to_content = k.clone().matmul(pos_query.transpose()).gather(3, of_queries.clone());
            let scores = q.matmul(k.transpose()) + to_position + to_content.transpose();
            let p = activation::softmax(scores * SCALE, 3);
            p.matmul(v).swap_dims(1, 2).reshape([TOKENS, WIDTH])
        });
    }
}

mod joined_attention {
    use super::*;

    fn options() -> Attention {
        Attention {
            heads: HEADS,
            kv_heads: HEADS,
            scale: 0.125,
            soft_cap: None,
            mask: AttentionMask::Causal { window: None },
            dropout: None,
        }
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, [random([TOKENS, 3 * WIDTH])], |[joined]| {
            kernels::joined_attention(joined, &layout(), options())
        });
    }

    /// By parts that burn cuts out, and whose gradients it adds up.
    #[divan::bench]
    fn apart(bencher: Bencher<'_, '_>) {
        both_ways(bencher, [random([TOKENS, 3 * WIDTH])], |[joined]| {
            let [q, k, v] = [0, 1, 2].map(|part| joined.clone().narrow(1, part * WIDTH, WIDTH));
            kernels::attention(q, k, v, &layout(), options())
        });
    }
}

mod rotary {
    use super::*;

    const PAIRS: usize = WIDTH / HEADS / 2;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let [cosines, sines] = [(); 2].map(|()| frozen([TOKENS, PAIRS]));
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| kernels::rotary(x, cosines.clone(), sines.clone(), HEADS));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let [cosines, sines] = [(); 2].map(|()| Tensor::from_inner(frozen([TOKENS, PAIRS])).unsqueeze_dim::<3>(1));
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| {
            let x = x.reshape([TOKENS, HEADS, 2 * PAIRS]);
            let (first, second) = (x.clone().narrow(2, 0, PAIRS), x.narrow(2, PAIRS, PAIRS));
            let turned = [
                first.clone() * cosines.clone() - second.clone() * sines.clone(),
                second * cosines.clone() + first * sines.clone(),
            ];
            Tensor::cat(turned.to_vec(), 2).reshape([TOKENS, WIDTH])
        });
    }
}

mod gelu {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, [random([TOKENS, INNER])], |[x]| Activation::Gelu.forward(x));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        both_ways(bencher, [random([TOKENS, INNER])], |[x]| activation::gelu(x));
    }
}

mod gated_activation {
    use super::*;

    fn inputs() -> [Tensor<2>; 2] {
        [(); 2].map(|()| random([TOKENS, INNER]))
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |[gate, up]| kernels::gated_activation(gate, up, Activation::Silu));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |[gate, up]| activation::silu(gate) * up);
    }
}

mod layer_norm {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let (weight, bias) = (frozen([WIDTH]), frozen([WIDTH]));
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| {
            kernels::layer_norm(x, Tensor::from_inner(weight.clone()), Tensor::from_inner(bias.clone()), 1e-12)
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let layer = burn::nn::LayerNormConfig::new(WIDTH).init(&device());
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| layer.forward(x));
    }
}

mod rms_norm {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let weight = frozen([WIDTH]);
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| {
            kernels::rms_norm(x, Tensor::from_inner(weight.clone()), 1e-6)
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let layer = burn::nn::RmsNormConfig::new(WIDTH).init(&device());
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| layer.forward(x));
    }
}

mod cross_entropy {
    use super::*;

    /// As many as fit the logits that are held at once.
    const ROWS: usize = 512;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let targets = [7; ROWS];
        both_ways(bencher, [random([ROWS, VOCABULARY])], |[x]| kernels::cross_entropy(x, &targets).unsqueeze());
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let targets = Tensor::<2, Int>::full([ROWS, 1], 7, &device());
        both_ways(bencher, [random([ROWS, VOCABULARY])], |[x]| {
            activation::log_softmax(x, 1).gather(1, targets.clone()).neg()
        });
    }
}

mod linear_cross_entropy {
    use super::*;

    const ROWS: usize = 512;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let (weight, targets) = (frozen([VOCABULARY, WIDTH]), [7; ROWS]);
        both_ways(bencher, [random([ROWS, WIDTH])], |[x]| {
            kernels::linear_cross_entropy(x, weight.clone(), None, &targets, LogitsTransform::default(), Precision::F32)
                .0
                .unsqueeze()
        });
    }

    /// Our own products, and logits that are held.
    #[divan::bench]
    fn logits(bencher: Bencher<'_, '_>) {
        let (weight, targets) = (frozen([VOCABULARY, WIDTH]), [7; ROWS]);
        both_ways(bencher, [random([ROWS, WIDTH])], |[x]| {
            let logits = kernels::linear(x, weight.clone(), None, Compute::default());
            kernels::cross_entropy(logits, &targets).unsqueeze()
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let weight = frozen([VOCABULARY, WIDTH]);
        let targets = Tensor::<2, Int>::full([ROWS, 1], 7, &device());
        both_ways(bencher, [random([ROWS, WIDTH])], |[x]| {
            let logits = x.matmul(weight.clone().transpose());
            activation::log_softmax(logits, 1).gather(1, targets.clone()).neg()
        });
    }
}

mod dropout {
    use super::*;

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| kernels::dropout(x, mask()));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        both_ways(bencher, [random([TOKENS, WIDTH])], |[x]| burn::nn::DropoutConfig::new(0.1).init().forward(x));
    }
}

mod residual {
    use super::*;

    fn inputs() -> [Tensor<2>; 2] {
        [(); 2].map(|()| random([TOKENS, WIDTH]))
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |[x, branch]| kernels::residual(x, branch, mask()));
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        both_ways(bencher, inputs(), |[x, branch]| x + burn::nn::DropoutConfig::new(0.1).init().forward(branch));
    }
}

/// A step of the optimiser for one weight.
mod adamw {
    use super::*;

    const RATE: f64 = 1e-4;
    const BETAS: [f32; 2] = [0.9, 0.999];
    const DECAY: f64 = 0.01;

    /// Weight, gradient and both moments, which nobody else holds.
    fn inputs() -> [Tensor<2>; 4] {
        [(); 4].map(|()| frozen([INNER, WIDTH]).abs())
    }

    #[divan::bench]
    fn ours(bencher: Bencher<'_, '_>) {
        let step =
            kernels::AdamWStep { learning_rate: RATE, betas: BETAS, epsilon: 1e-8, weight_decay: DECAY, time: 3 };
        bencher.with_inputs(inputs).bench_local_values(|[weight, gradient, first, second]| {
            kernels::adamw(weight, gradient, [first, second], step)
        });
    }

    #[divan::bench]
    fn composed(bencher: Bencher<'_, '_>) {
        let [first_correction, second_correction] = BETAS.map(|beta| 1.0 - beta.powi(3));
        bencher.with_inputs(inputs).bench_local_values(|[weight, gradient, first, second]| {
            let first = first * BETAS[0] + gradient.clone() * (1.0 - BETAS[0]);
            let second = second * BETAS[1] + gradient.clone() * gradient * (1.0 - BETAS[1]);
            let deviation = (second.clone() / second_correction).sqrt() + 1e-8;
            let weight = weight * (1.0 - RATE * DECAY) - first.clone() / first_correction / deviation * RATE;
            (weight, first, second)
        });
    }
}

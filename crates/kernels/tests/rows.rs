//! What a row comes out as does not depend on the other rows of a pass, bit for bit: alone, among others, and where a prompt is cut.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../src/every_form.rs"]
mod every_form;

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{DType, Device, Distribution, Tensor};
use kernels::{
    Activation, Attention, AttentionMask, Compute, DisentangledAttention, FrozenMatrix, Gate, Layout, LowRank, Offsets,
    Phase, Quantisation, Quantised, RelativePositions, RowNorms, Simd,
};
use proptest::prelude::*;
use proptest::sample::select;

#[test]
fn every_test_holds_with_every_kind_of_vectors_that_the_processor_has() {
    let others: Vec<&str> = Simd::available().into_iter().skip(1).map(Simd::name).collect();
    every_form::run_again(Simd::VARIABLE, &others, &[]);
}

fn random(shape: [usize; 2]) -> Tensor<2> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn vector(length: usize) -> Tensor<1> {
    random([1, length]).squeeze_dim(0)
}

fn bits(tensor: Tensor<2>) -> Vec<u32> {
    tensor.into_data().try_to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn part(tensor: &Tensor<2>, rows: Range<usize>) -> Tensor<2> {
    tensor.clone().narrow(0, rows.start, rows.len())
}

/// Of all rows, and of those before a place, of those from it on, and of the one there.
fn assert_rows_are_their_own(x: &Tensor<2>, at: usize, operation: impl Fn(Tensor<2>) -> Tensor<2>) {
    let rows = x.dims()[0];
    let all = operation(x.clone());
    for of in [0..at, at..rows, at..at + 1] {
        if !of.is_empty() {
            assert!(bits(operation(part(x, of.clone()))) == bits(part(&all, of.clone())), "rows {of:?} of {rows}");
        }
    }
}

/// How a weight is kept.
#[derive(Debug, Clone, Copy)]
enum Kept {
    Float(DType),
    /// Its columns lie contiguous, as in the `Conv1D` of GPT-2.
    Turned(DType),
    Quantised(Quantisation),
}

impl Kept {
    fn weight(self, shape: [usize; 2]) -> FrozenMatrix {
        let [d_output, d_input] = shape;
        match self {
            Self::Float(dtype) => FrozenMatrix::Float(random(shape).cast(dtype)),
            Self::Turned(dtype) => FrozenMatrix::Float(random([d_input, d_output]).cast(dtype).transpose()),
            Self::Quantised(how) => {
                FrozenMatrix::Quantised(Quantised::of(&random(shape).into_data(), how, &Device::flex()).unwrap())
            }
        }
    }
}

fn kept() -> impl Strategy<Value = Kept> {
    const FLOATS: &[DType] = &[DType::F32, DType::BF16, DType::F16];
    prop_oneof![
        select(FLOATS).prop_map(Kept::Float),
        select(FLOATS).prop_map(Kept::Turned),
        select(&[Quantisation::Int8, Quantisation::Nf4][..]).prop_map(Kept::Quantised),
    ]
}

fn phase() -> impl Strategy<Value = Phase> {
    select(&[Phase::Prefill, Phase::Decode][..])
}

/// So many rows, and one of them.
fn rows() -> impl Strategy<Value = (usize, usize)> {
    (1..=70_usize).prop_flat_map(|rows| (Just(rows), 0..rows))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn of_linear_layers(
        (rows, at) in rows(),
        d_input in select(&[1_usize, 31, 64, 70, 128, 192, 320, 801, 1600][..]),
        d_output in select(&[1_usize, 5, 33, 48, 97, 130, 300][..]),
        kept in kept(),
        phase in phase(),
        has_bias in any::<bool>(),
    ) {
        let compute = Compute { phase, ..Compute::default() };
        let (x, weight) = (random([rows, d_input]), kept.weight([d_output, d_input]));
        let bias = has_bias.then(|| vector(d_output));
        assert_rows_are_their_own(&x, at, |x| kernels::linear(x, weight.clone(), bias.clone(), compute));
        if let (FrozenMatrix::Float(weight), Kept::Float(DType::F32) | Kept::Turned(DType::F32)) = (weight, kept) {
            assert_rows_are_their_own(&x, at, |x| kernels::trained_linear(x, weight.clone(), bias.clone(), phase));
        }
    }

    /// As an embedding's update is, whose A is picked from by columns.
    #[test]
    fn of_linear_layers_whose_input_lies_transposed((rows, at) in rows(), r in 1..20_usize, phase in phase()) {
        let (columns, weight) = (random([r, rows]), random([33, r]));
        let of = |rows: Range<usize>| {
            let x = columns.clone().narrow(1, rows.start, rows.len()) * 1.0;
            kernels::trained_linear(x.transpose(), weight.clone(), None, phase)
        };
        let all = of(0..rows);
        for part_of in [at..at + 1, at..rows] {
            prop_assert!(bits(of(part_of.clone())) == bits(part(&all, part_of.clone())), "rows {part_of:?} of {rows}");
        }
    }

    #[test]
    fn of_linear_layers_with_lora_and_dora(
        (rows, at) in rows(),
        d_input in select(&[1_usize, 64, 70, 192, 801][..]),
        d_output in select(&[1_usize, 48, 97, 130][..]),
        r in select(&[1_usize, 4, 8, 20][..]),
        kept in kept(),
        phase in phase(),
        has_bias in any::<bool>(),
    ) {
        let options = LowRank { scale: 0.3, mask: None, compute: Compute { phase, ..Compute::default() } };
        let (x, weight) = (random([rows, d_input]), kept.weight([d_output, d_input]));
        let [a, b] = [random([r, d_input]), random([d_output, r])];
        let bias = has_bias.then(|| vector(d_output));
        assert_rows_are_their_own(&x, at, |x| {
            kernels::lora_linear(x, weight.clone(), bias.clone(), a.clone(), b.clone(), options.clone())
        });
        let norms = kernels::row_norms(weight.clone(), [a.clone(), b.clone()], 0.3, &RowNorms::default());
        let factors = vector(d_output) / norms;
        assert_rows_are_their_own(&x, at, |x| {
            let update = [a.clone(), b.clone()];
            kernels::dora_linear(x, weight.clone(), bias.clone(), update, factors.clone(), options.clone())
        });
    }

    #[test]
    fn of_norms_activations_and_gates((rows, at) in rows(), width in select(&[1_usize, 7, 64, 129][..])) {
        let x = random([rows, 2 * width]);
        let [scale, shift] = [(); 2].map(|()| vector(2 * width));
        assert_rows_are_their_own(&x, at, |x| kernels::layer_norm(x, scale.clone(), shift.clone(), 1e-5));
        assert_rows_are_their_own(&x, at, |x| kernels::rms_norm(x, scale.clone(), 1e-5));
        for activation in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
            assert_rows_are_their_own(&x, at, |x| activation.forward(x));
            assert_rows_are_their_own(&x, at, |x| kernels::joined_gated_activation(x, Gate::First, activation));
        }
    }
}

const LENGTHS: [usize; 9] = [1, 2, 3, 30, 64, 65, 130, 800, 1600];

fn attention() -> impl Strategy<Value = Attention> {
    let masks = [
        AttentionMask::Bidirectional { window: None },
        AttentionMask::Bidirectional { window: Some(70) },
        AttentionMask::Causal { window: None },
        AttentionMask::Causal { window: Some(1) },
        AttentionMask::Causal { window: Some(100) },
        AttentionMask::Causal { window: Some(900) },
    ];
    let heads = [(1, 1), (2, 2), (4, 2), (3, 1)];
    (select(masks.to_vec()), select(heads.to_vec()), any::<bool>()).prop_map(|(mask, (heads, kv_heads), is_capped)| {
        Attention { heads, kv_heads, scale: 0.3, soft_cap: is_capped.then_some(2.0), mask, dropout: None }
    })
}

/// Queries, keys and values of so many tokens.
fn inputs(tokens: usize, options: &Attention, d_head: usize) -> [Tensor<2>; 3] {
    [options.heads, options.kv_heads, options.kv_heads].map(|heads| random([tokens, heads * d_head]))
}

fn whole(lengths: &[usize]) -> Layout {
    let mut offsets = vec![0];
    lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
    Layout::new(Offsets::new(&offsets), 0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn of_attention_in_sequences_alone_and_among_others(
        lengths in prop::collection::vec(select(&LENGTHS[..8]), 1..6),
        options in attention(),
        d_head in select(&[4_usize, 20, 64][..]),
    ) {
        let layout = Arc::new(whole(&lengths));
        let [q, k, v] = inputs(layout.queries().tokens(), &options, d_head);
        let together = kernels::attention(q.clone(), k.clone(), v.clone(), &layout, options.clone());
        for sequence in 0..lengths.len() {
            let tokens = layout.queries().range(sequence);
            let [q, k, v] = [&q, &k, &v].map(|all| part(all, tokens.clone()));
            let alone = kernels::attention(q, k, v, &Arc::new(whole(&[tokens.len()])), options.clone());
            prop_assert!(bits(alone) == bits(part(&together, tokens.clone())), "{tokens:?}");
        }
    }

    #[test]
    fn of_causal_attention_wherever_a_prompt_is_cut(
        length in select(&LENGTHS[..]),
        cuts in prop::collection::vec(0.0..1.0_f64, 0..5),
        options in attention().prop_filter("what comes later", |it| matches!(it.mask, AttentionMask::Causal { .. })),
        d_head in select(&[4_usize, 20][..]),
    ) {
        let [q, k, v] = inputs(length, &options, d_head);
        let at_once = kernels::attention(q.clone(), k.clone(), v.clone(), &Arc::new(whole(&[length])), options.clone());
        let mut places: Vec<usize> = cuts.iter().map(|cut| (cut * length as f64) as usize).chain([0, length]).collect();
        // The last token alone, as one that is chosen next.
        places.push(length - 1);
        places.sort_unstable();
        places.dedup();
        for piece in places.windows(2).map(|ends| ends[0]..ends[1]) {
            // Somewhere in a cache, with other things before it.
            let keys = 7..7 + piece.end;
            let layout = Arc::new(Layout::cached(Offsets::new(&[0, piece.len()]), std::slice::from_ref(&keys)));
            let kept = |all: &Tensor<2>| Tensor::cat(vec![random([7, all.dims()[1]]), all.clone()], 0);
            let found = kernels::attention(part(&q, piece.clone()), kept(&k), kept(&v), &layout, options.clone());
            prop_assert!(bits(found) == bits(part(&at_once, piece.clone())), "{piece:?} of {length}");
        }
    }

    #[test]
    fn of_disentangled_attention(lengths in prop::collection::vec(select(&LENGTHS[..7]), 1..5), heads in 1..3_usize) {
        let positions = RelativePositions { buckets: Some(8), largest: 64 };
        let options = DisentangledAttention { heads, scale: 0.2, positions, dropout: None };
        let layout = Arc::new(whole(&lengths));
        let width = heads * 20;
        let [q, k, v] = [(); 3].map(|()| random([layout.queries().tokens(), width]));
        let [pos_key, pos_query] = [(); 2].map(|()| random([2 * positions.span(), width]));
        let of = |[q, k, v]: [Tensor<2>; 3], layout: &Arc<Layout>| {
            kernels::disentangled_attention(q, k, v, pos_key.clone(), pos_query.clone(), layout, options.clone())
        };
        let together = of([q.clone(), k.clone(), v.clone()], &layout);
        for sequence in 0..lengths.len() {
            let tokens = layout.queries().range(sequence);
            let alone = of([&q, &k, &v].map(|all| part(all, tokens.clone())), &Arc::new(whole(&[tokens.len()])));
            prop_assert!(bits(alone) == bits(part(&together, tokens.clone())), "{tokens:?}");
        }
    }
}

//! Attention, with and without dropout, both ways and of the past alone, apart and joined.

use burn::tensor::{Tensor, activation};
use kernels::{Attention, AttentionMask, DropoutMask, Noise, attention, joined_attention};

use super::{close, device, layout, random};

pub(super) fn both_ways(heads: usize, scale: f32, mask: Option<DropoutMask>) -> Attention {
    let both = AttentionMask::Bidirectional { window: None };
    Attention { heads, kv_heads: heads, scale, soft_cap: None, mask: both, dropout: mask }
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
        let close = |left, right| close(left, right, tokens + d_head);
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
    let close = |left, right| close(left, right, 9 + d_head);
    let noise = Some(Noise { seed: 1, step: 2 });
    let [q, k, v] = [(); 3].map(|()| random([9, heads * d_head], &device).require_grad());
    let run = |lengths: &[usize], first_row: usize, range: std::ops::Range<usize>| {
        let layout = layout(lengths, first_row);
        let mask = layout.dropout_mask(noise, 0.5, 3);
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
    let mask = layout.dropout_mask(noise, 0.5, 3);
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

/// The formula of attention with a mask, a soft cap and shared heads of keys, in burn's own tracked operations.
fn masked(q: Tensor<2>, k: Tensor<2>, v: Tensor<2>, options: &Attention) -> Tensor<2> {
    let (tokens, d_head) = (q.dims()[0], q.dims()[1] / options.heads);
    let hidden: Vec<f32> = (0..tokens * tokens)
        .map(|i| (i / tokens, i % tokens))
        .map(|(query, key)| match options.mask {
            AttentionMask::Bidirectional { window } => window.is_none_or(|window| query.abs_diff(key) <= window),
            AttentionMask::Causal { window } => key <= query && window.is_none_or(|window| query - key < window),
        })
        .map(|is_seen| if is_seen { 0.0 } else { -1e9 })
        .collect();
    let hidden = Tensor::<1>::from_floats(hidden.as_slice(), &q.device()).reshape([tokens, tokens]);
    let head = |x: &Tensor<2>, h: usize| x.clone().narrow(1, h * d_head, d_head);
    let outputs = (0..options.heads).map(|h| {
        let shared = h * options.kv_heads / options.heads;
        let scores = head(&q, h).matmul(head(&k, shared).transpose()) * options.scale;
        let scores = options.soft_cap.map_or(scores.clone(), |cap| (scores / cap).tanh() * cap);
        activation::softmax(scores + hidden.clone(), 1).matmul(head(&v, shared))
    });
    Tensor::cat(outputs.collect(), 1)
}

#[test]
fn attention_with_masks_soft_caps_and_shared_keys_equals_its_formula() {
    let device = device();
    let (causal, both) = (|window| AttentionMask::Causal { window }, |window| AttentionMask::Bidirectional { window });
    for (lengths, [heads, kv_heads, d_head], mask, soft_cap) in [
        (vec![1], [1, 1, 1], causal(None), None),
        (vec![3, 71], [4, 2, 5], causal(None), Some(0.3)),
        (vec![80, 2], [3, 1, 4], causal(Some(9)), Some(50.0)),
        (vec![1], [1, 1, 1], both(Some(0)), None),
        (vec![3, 150], [4, 2, 5], both(Some(9)), None),
        (vec![70, 5], [2, 1, 3], both(None), Some(0.3)),
    ] {
        let tokens = lengths.iter().sum::<usize>();
        let close = |left, right| close(left, right, tokens * heads / kv_heads + d_head);
        let q = random([tokens, heads * d_head], &device).require_grad();
        let [k, v] = [(); 2].map(|()| random([tokens, kv_heads * d_head], &device).require_grad());
        let upstream = random([tokens, heads * d_head], &device);
        let options = Attention { heads, kv_heads, scale: 0.4, soft_cap, mask, dropout: None };

        let ours = attention(q.clone(), k.clone(), v.clone(), &layout(&lengths, 0), options.clone());
        let mut start = 0;
        let parts = lengths.iter().map(|length| {
            let part = |x: &Tensor<2>| x.clone().narrow(0, start, *length);
            let output = masked(part(&q), part(&k), part(&v), &options);
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
fn joined_attention_equals_that_of_its_parts_and_joins_their_gradients() {
    let device = device();
    let lengths = [3, 70, 1];
    for (heads, kv_heads, d_head) in [(2, 2, 5), (4, 2, 3)] {
        let widths = [heads, kv_heads, kv_heads].map(|heads| heads * d_head);
        let joined = random([74, widths.iter().sum()], &device).require_grad();
        let upstream = random([74, heads * d_head], &device);
        for probability in [0.0, 0.3] {
            let layout = layout(&lengths, 0);
            let mask = layout.dropout_mask(Some(Noise { seed: 1, step: 2 }), probability, 3);
            let causal = AttentionMask::Causal { window: None };
            let options = Attention { heads, kv_heads, scale: 0.4, soft_cap: None, mask: causal, dropout: mask };
            let ours = joined_attention(joined.clone(), &layout, options.clone());
            let part = |start: usize, width: usize| joined.clone().narrow(1, start, width);
            let (k, v) = (part(widths[0], widths[1]), part(widths[0] + widths[1], widths[2]));
            let composed = attention(part(0, widths[0]), k, v, &layout, options);
            assert_eq!(ours.clone().into_data(), composed.clone().into_data(), "the same tiles, hence the same bits");
            let ours = (ours * upstream.clone()).sum().backward();
            let composed = (composed * upstream.clone()).sum().backward();
            let close = |left, right| close(left, right, 74 * heads / kv_heads + d_head);
            close(joined.grad(&ours).unwrap(), joined.grad(&composed).unwrap());
        }
    }
}

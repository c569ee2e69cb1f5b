//! Attention with disentangled positions, against the reference's formula: gathers by relative position.

use burn::tensor::{Int, Tensor, activation};
use kernels::{DisentangledAttention, Noise, RelativePositions, disentangled_attention};

use super::{close, device, layout, random};

/// `make_log_bucket_position` of Transformers, clamped to the rows of a table.
fn row(distance: isize, positions: RelativePositions) -> usize {
    let span = positions.span() as isize;
    let bucket = match positions.buckets {
        Some(buckets) if distance.unsigned_abs() > buckets / 2 => {
            let middle = (buckets / 2) as f32;
            let share = (distance.abs() as f32 / middle).ln() / ((positions.largest - 1) as f32 / middle).ln();
            ((share * (middle - 1.0)).ceil() + middle) as isize * distance.signum()
        }
        _ => distance,
    };
    (bucket + span).clamp(0, 2 * span - 1) as usize
}

/// Attention of one sequence, head by head, in burn's own tracked operations.
fn plain([q, k, v, pos_key, pos_query]: [Tensor<2>; 5], options: &DisentangledAttention) -> Tensor<2> {
    let (tokens, d_head) = (q.dims()[0], q.dims()[1] / options.heads);
    let indices = |sign: isize| {
        let places = (0..tokens * tokens).map(|at| (at / tokens) as isize - (at % tokens) as isize);
        // Content to position looks up the distance, position to content that of the key from the query, turned.
        let rows: Vec<i32> = places.map(|distance| row(sign * distance, options.positions) as i32).collect();
        Tensor::<1, Int>::from_ints(rows.as_slice(), &q.device()).reshape([tokens, tokens])
    };
    let head = |x: &Tensor<2>, h: usize| x.clone().narrow(1, h * d_head, d_head);
    let outputs = (0..options.heads).map(|h| {
        let content = head(&q, h).matmul(head(&k, h).transpose());
        let to_position = head(&q, h).matmul(head(&pos_key, h).transpose()).gather(1, indices(1));
        let to_content = head(&k, h).matmul(head(&pos_query, h).transpose()).gather(1, indices(-1)).transpose();
        activation::softmax((content + to_position + to_content) * options.scale, 1).matmul(head(&v, h))
    });
    Tensor::cat(outputs.collect(), 1)
}

#[test]
fn disentangled_attention_equals_its_formula_and_gives_all_five_gradients() {
    let device = device();
    let buckets = |buckets, largest| RelativePositions { buckets, largest };
    for (lengths, heads, d_head, positions) in [
        (vec![1], 1, 1, buckets(Some(4), 8)),
        (vec![3, 1, 7], 2, 5, buckets(None, 4)),
        (vec![70, 5, 66], 2, 4, buckets(Some(16), 40)),
        (vec![2, 140], 3, 3, buckets(Some(32), 64)),
    ] {
        let (tokens, width) = (lengths.iter().sum::<usize>(), heads * d_head);
        let close = |left, right| close(left, right, 2 * tokens + d_head);
        let rows = [tokens, tokens, tokens, 2 * positions.span(), 2 * positions.span()];
        let inputs = rows.map(|rows| random([rows, width], &device).require_grad());
        let upstream = random([tokens, width], &device);
        let options = DisentangledAttention { heads, scale: 0.3, positions, dropout: None };

        let [q, k, v, pos_key, pos_query] = inputs.clone();
        let ours = disentangled_attention(q, k, v, pos_key, pos_query, &layout(&lengths, 0), options.clone());
        let mut start = 0;
        let parts = lengths.iter().map(|length| {
            let [q, k, v, pos_key, pos_query] = inputs.clone();
            let [q, k, v] = [q, k, v].map(|x| x.narrow(0, start, *length));
            start += length;
            plain([q, k, v, pos_key, pos_query], &options)
        });
        let composed = Tensor::cat(parts.collect(), 0);
        close(ours.clone().inner(), composed.clone().inner());

        let ours = (ours * upstream.clone()).sum().backward();
        let composed = (composed * upstream).sum().backward();
        for tensor in &inputs {
            close(tensor.grad(&ours).unwrap(), tensor.grad(&composed).unwrap());
        }
    }
}

#[test]
fn without_positions_disentangled_attention_is_attention_and_drops_as_it_does() {
    let device = device();
    let (lengths, heads, d_head) = ([9, 70], 2, 4);
    let positions = RelativePositions { buckets: Some(8), largest: 16 };
    let [q, k, v] = [(); 3].map(|()| random([79, heads * d_head], &device).require_grad());
    let upstream = random([79, heads * d_head], &device);
    let layout = layout(&lengths, 0);
    let dropout = layout.dropout_mask(Some(Noise { seed: 1, step: 2 }), 0.4, 3);
    let zeros = Tensor::<2>::zeros([16, heads * d_head], &device);
    let options = DisentangledAttention { heads, scale: 0.5, positions, dropout: dropout.clone() };
    let ours = disentangled_attention(q.clone(), k.clone(), v.clone(), zeros.clone(), zeros, &layout, options);
    let content = super::attention::both_ways(heads, 0.5, dropout);
    let expected = kernels::attention(q.clone(), k.clone(), v.clone(), &layout, content);
    let close = |left, right| close(left, right, 79 + d_head);
    close(ours.clone().inner(), expected.clone().inner());
    let ours = (ours * upstream.clone()).sum().backward();
    let expected = (expected * upstream).sum().backward();
    for tensor in [&q, &k, &v] {
        close(tensor.grad(&ours).unwrap(), tensor.grad(&expected).unwrap());
    }
}

//! Forms for burn's CPU backend, where they were measured to pay. Each is compared with its composed form below, its gradient with
//! burn's in `tests/gradients`, and gives the same bits for any number of threads: no sum crosses what one thread works on.

pub(crate) mod activation;
pub(crate) mod adamw;
pub(crate) mod attention;
mod columns;
pub(crate) mod cross_entropy;
mod decode;
pub(crate) mod disentangled_attention;
pub(crate) mod dora_linear;
pub(crate) mod dropout;
mod filled;
pub(crate) mod gated;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod linear_cross_entropy;
pub(crate) mod logits;
pub(crate) mod lora_linear;
mod matrix;
mod prefetch;
mod product;
pub(crate) mod quantised;
pub(crate) mod rms_norm;
pub(crate) mod rotary;
pub(crate) mod row_norms;
mod vector;
pub(crate) mod widen;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

use self::filled::mapped;
use self::matrix::Matrix;

/// Values that one thread works on at a time: 64 KiB, which stays in its cache.
const CHUNK: usize = 16 * 1024;

/// A contiguous f32 tensor of these values.
fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

/// What `change` makes of the values, in their own memory where nobody else holds it.
fn changed(tensor: FlexTensor, change: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut held = tensor.to_contiguous();
    // Or it would be a second holder.
    drop(tensor);
    let shape = held.layout().shape().clone();
    let is_whole = held.layout().start_offset() == 0 && held.storage::<f32>().len() == shape.num_elements();
    if is_whole && let Some(values) = held.try_storage_mut::<f32>() {
        change(values);
        return held;
    }
    let start = held.layout().start_offset();
    let values = &held.storage::<f32>()[start..start + shape.num_elements()];
    let mut values = mapped(values, CHUNK, |_, from, to| to.copy_from_slice(from));
    change(&mut values);
    self::tensor(values, shape)
}

/// With contiguous rows; a part of the columns of a wider tensor stays where it is.
fn with_rows(tensor: FlexTensor) -> FlexTensor {
    if Matrix::of(&tensor).is_some() { tensor } else { tensor.to_contiguous() }
}

/// Contiguous and in f32.
fn vector_of(tensor: FlexTensor) -> FlexTensor {
    widen::widen(tensor).to_contiguous()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use burn::backend::Flex;
    use burn::backend::ops::FloatTensorOps;
    use burn::tensor::TensorData;

    use super::*;
    use crate::FrozenPrimitive::Float;
    use crate::disentangled_attention::Inputs;
    use crate::{
        Activation, Attention, AttentionMask, Compute, DisentangledAttention, Gate, LogitsTransform, Noise, Offsets,
        Precision, RelativePositions, bounds, uniform,
    };

    /// Values between -4 and 4.
    fn values(shape: &[usize], key: u64) -> FlexTensor {
        within(4.0, shape, key)
    }

    pub(super) fn within(bound: f64, shape: &[usize], key: u64) -> FlexTensor {
        let count = shape.iter().product::<usize>() as u64;
        let values: Vec<f32> = (0..count).map(|i| (bound * (2.0 * uniform(key, i) - 1.0)) as f32).collect();
        FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
    }

    pub(super) fn numbers(tensor: FlexTensor) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    /// What functions, norms and softmax make of sums of `depth` terms.
    #[track_caller]
    pub(super) fn close(left: FlexTensor, right: FlexTensor, depth: usize) {
        assert_eq!(left.layout().shape(), right.layout().shape());
        bounds::assert_close(&numbers(left), &numbers(right), depth);
    }

    /// Sums of `depth` terms, and those of the terms' magnitudes.
    #[track_caller]
    fn same_sums(left: FlexTensor, right: FlexTensor, depth: usize, magnitudes: FlexTensor) {
        assert_eq!(left.layout().shape(), right.layout().shape());
        bounds::assert_same_sums(&numbers(left), &numbers(right), depth, &numbers(magnitudes));
    }

    fn abs(tensor: &FlexTensor) -> FlexTensor {
        <Flex as FloatTensorOps<Flex>>::float_abs(cast(tensor.clone(), DType::F32))
    }

    pub(super) fn cast(tensor: FlexTensor, dtype: DType) -> FlexTensor {
        <Flex as FloatTensorOps<Flex>>::float_cast(tensor, dtype.into())
    }

    /// The sums of a linear layer with the magnitude of each term in its place.
    #[derive(Clone, Copy)]
    struct Magnitudes<'a> {
        x: &'a FlexTensor,
        weight: &'a FlexTensor,
        bias: Option<&'a FlexTensor>,
    }

    impl Magnitudes<'_> {
        fn forward(self) -> FlexTensor {
            crate::linear::composed::<Flex>(abs(self.x), Float(abs(self.weight)), self.bias.map(abs))
        }

        /// Of the gradient of the input, where `x` is that of the output.
        fn backward(self) -> FlexTensor {
            crate::linear::composed_backward::<Flex>(abs(self.x), Float(abs(self.weight)))
        }
    }

    #[test]
    fn each_form_equals_the_composed_one() {
        for [rows, width] in [[1, 1], [2, 3], [31, 129], [70, 64]] {
            let (x, upstream) = (values(&[rows, width], 1), values(&[rows, width], 2));
            let close = |left, right| close(left, right, rows.max(width));
            for kind in [Activation::Gelu, Activation::GeluTanh, Activation::Silu] {
                close(activation::forward(x.clone(), kind), crate::activation::composed::<Flex>(x.clone(), kind));
                close(
                    activation::backward(x.clone(), upstream.clone(), kind),
                    crate::activation::composed_backward::<Flex>(x.clone(), upstream.clone(), kind),
                );
            }
            let (weight, bias) = (values(&[width], 3), values(&[width], 4));
            close(
                layer_norm::forward(x.clone(), weight.clone(), bias.clone(), 1e-5),
                crate::layer_norm::composed::<Flex>(x.clone(), weight.clone(), bias, 1e-5),
            );
            let ours = layer_norm::backward(x.clone(), weight.clone(), upstream.clone(), 1e-5);
            let composed = crate::layer_norm::composed_backward::<Flex>(x.clone(), weight, upstream.clone(), 1e-5);
            close(ours.0, composed.0);
            close(ours.1, composed.1);
            close(ours.2, composed.2);

            for kind in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
                let up = values(&[rows, width], 6);
                close(
                    gated::forward(x.clone(), up.clone(), kind),
                    crate::gated::composed::<Flex>(x.clone(), up.clone(), kind),
                );
                let ours = gated::backward(x.clone(), up.clone(), upstream.clone(), kind);
                let composed = crate::gated::composed_backward::<Flex>(x.clone(), up, upstream.clone(), kind);
                close(ours.0, composed.0.clone());
                close(ours.1, composed.1.clone());
                let joined = || values(&[rows, 2 * width], 7);
                for which in [Gate::First, Gate::Second] {
                    let expected = crate::gated::composed_joined::<Flex>(joined(), which, kind);
                    close(gated::joined_forward(joined(), which, kind), expected);
                    let expected =
                        crate::gated::composed_joined_backward::<Flex>(joined(), upstream.clone(), which, kind);
                    close(gated::joined_backward(joined(), upstream.clone(), which, kind), expected);
                }
                // Once beside other holders, once in place.
                let fresh = |key| values(&[rows, width], key);
                let ours = gated::backward(fresh(1), fresh(6), fresh(2), kind);
                close(ours.0, composed.0);
                close(ours.1, composed.1);
            }

            for probability in [0.0, 0.4] {
                let mask = layout(&vec![1; rows]).dropout_mask(Some(Noise { seed: 3, step: 4 }), probability, 5);
                let dropped = crate::residual::composed::<Flex>(x.clone(), upstream.clone(), mask.clone());
                for branch in [upstream.clone(), values(&[rows, width], 2)] {
                    close(dropout::residual(x.clone(), branch, mask.clone()), dropped.clone());
                }
                if let Some(mask) = mask {
                    let composed = crate::dropout::composed::<Flex>(x.clone(), &mask);
                    for x in [x.clone(), values(&[rows, width], 1)] {
                        close(dropout::dropout(x, &mask), composed.clone());
                    }
                }
            }

            let weight = values(&[width], 3);
            close(
                rms_norm::forward(x.clone(), weight.clone(), 1e-5),
                crate::rms_norm::composed::<Flex>(x.clone(), weight.clone(), 1e-5),
            );
            let ours = rms_norm::backward(x.clone(), weight.clone(), upstream.clone(), 1e-5);
            let composed = crate::rms_norm::composed_backward::<Flex>(x.clone(), weight, upstream, 1e-5);
            close(ours.0, composed.0);
            close(ours.1, composed.1);

            for transform in
                [(0.5, None), (1.5, Some(2.0))].map(|(scale, soft_cap)| LogitsTransform { scale, soft_cap })
            {
                let composed = crate::logits::composed::<Flex>(x.clone(), transform);
                close(logits::forward(x.clone(), transform), composed.clone());
                let upstream = values(&[rows, width], 2);
                close(
                    logits::backward(composed.clone(), upstream.clone(), transform),
                    crate::logits::composed_backward::<Flex>(composed, upstream, transform),
                );
            }

            let targets: Vec<u32> = (0..rows as u32).map(|row| row * 7 % width as u32).collect();
            let d_losses = values(&[rows], 5);
            close(
                cross_entropy::forward(x.clone(), &targets),
                crate::cross_entropy::composed::<Flex>(x.clone(), &targets),
            );
            // Once beside another holder of the logits, once in place.
            let composed = crate::cross_entropy::composed_backward::<Flex>(x.clone(), d_losses.clone(), &targets);
            close(cross_entropy::backward(x.clone(), d_losses.clone(), &targets), composed.clone());
            close(cross_entropy::backward(x, d_losses, &targets), composed);
        }
    }

    #[test]
    fn frozen_linears_equal_the_composed_form_in_every_type_and_for_few_and_many_rows() {
        for [rows, d_input, d_output] in
            [[1, 1, 1], [1, 70, 33], [3, 129, 65], [4, 32, 200], [9, 131, 300], [70, 20, 5]]
        {
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                let (x, upstream) = (within(1.0, &[rows, d_input], 1), within(1.0, &[rows, d_output], 2));
                let stored = cast(within(1.0, &[d_output, d_input], 3), dtype);
                let bias = within(1.0, &[d_output], 4);
                let magnitudes = Magnitudes { x: &x, weight: &stored, bias: Some(&bias) };
                // As it lies in `torch.nn.Linear`, and as in GPT-2's `Conv1D`.
                for stored in [stored.clone(), stored.clone().transpose(0, 1).to_contiguous().transpose(0, 1)] {
                    same_sums(
                        linear::forward(x.clone(), Float(stored.clone()), Some(bias.clone()), Compute::default()),
                        crate::linear::composed::<Flex>(x.clone(), Float(stored.clone()), Some(bias.clone())),
                        d_input + 1,
                        magnitudes.forward(),
                    );
                    same_sums(
                        linear::forward(x.clone(), Float(stored.clone()), None, Compute::default()),
                        crate::linear::composed::<Flex>(x.clone(), Float(stored), None),
                        d_input,
                        Magnitudes { bias: None, ..magnitudes }.forward(),
                    );
                }
                same_sums(
                    linear::backward(upstream.clone(), Float(stored.clone()), Precision::F32),
                    crate::linear::composed_backward::<Flex>(upstream.clone(), Float(stored.clone())),
                    d_output,
                    Magnitudes { x: &upstream, ..magnitudes }.backward(),
                );
            }
        }
    }

    #[test]
    fn products_in_bf16_are_those_of_rounded_factors_summed_in_f32() {
        for [rows, d_input, d_output] in [[1, 70, 50], [5, 1, 1], [9, 131, 300], [70, 64, 48], [17, 1701, 33]] {
            let x = within(1.0, &[rows, d_input], 1);
            let rounded = match Precision::has_bf16() {
                true => cast(cast(x.clone(), DType::BF16), DType::F32),
                false => x.clone(),
            };
            let weight = cast(within(1.0, &[d_output, d_input], 2), DType::BF16);
            let wide = cast(weight.clone(), DType::F32);
            // The weight as it is stored in bf16 and in f32, upright and turned.
            for weight in [weight, wide] {
                for weight in [weight.clone(), weight.transpose(0, 1).to_contiguous().transpose(0, 1)] {
                    let magnitudes = Magnitudes { x: &rounded, weight: &weight, bias: None };
                    same_sums(
                        linear::forward(
                            x.clone(),
                            Float(weight.clone()),
                            None,
                            Compute { precision: Precision::Bf16, ..Compute::default() },
                        ),
                        crate::linear::composed::<Flex>(rounded.clone(), Float(weight.clone()), None),
                        d_input,
                        magnitudes.forward(),
                    );
                    // The same product as that of the backward pass of a layer that is the other way round.
                    let turned = weight.transpose(0, 1);
                    same_sums(
                        linear::backward(x.clone(), Float(turned.clone()), Precision::Bf16),
                        crate::linear::composed_backward::<Flex>(rounded.clone(), Float(turned)),
                        d_input,
                        magnitudes.forward(),
                    );
                }
            }
        }
    }

    #[test]
    fn weight_gradients_and_steps_of_adamw_equal_the_composed_forms() {
        for [rows, d_input, d_output] in [[1, 1, 1], [70, 33, 129], [5, 200, 7]] {
            let (x, upstream) = (within(1.0, &[rows, d_input], 1), within(1.0, &[rows, d_output], 2));
            same_sums(
                linear::weight_gradient(x.clone(), upstream.clone()),
                crate::linear::composed_weight_gradient::<Flex>(x.clone(), upstream.clone()),
                rows,
                crate::linear::composed_weight_gradient::<Flex>(abs(&x), abs(&upstream)),
            );
        }
        for count in [1, 5, 3 * CHUNK + 7] {
            let of = |key| within(1.0, &[count], key);
            let step =
                crate::AdamWStep { learning_rate: 0.01, betas: [0.9, 0.95], epsilon: 1e-6, weight_decay: 0.1, time: 3 };
            let second = || <Flex as FloatTensorOps<Flex>>::float_abs(of(4));
            let held = [of(1), of(2), of(3), second()];
            let [w, g, m, v] = held.clone();
            let beside = adamw::step(w, g, m, v, step);
            let [w, g, m, v] = held;
            let composed = crate::adamw::composed::<Flex>(w, g, m, v, step);
            // Once beside other holders, once in place.
            for ours in [beside, adamw::step(of(1), of(2), of(3), second(), step)] {
                close(ours.0, composed.0.clone(), 0);
                close(ours.1, composed.1.clone(), 0);
                close(ours.2, composed.2.clone(), 0);
            }
        }
    }

    #[test]
    fn rotary_equals_the_composed_form_where_all_or_some_coordinates_turn() {
        for [tokens, heads, d_head, pairs] in [[1, 1, 2, 1], [5, 3, 8, 4], [33, 2, 10, 3]] {
            let x = values(&[tokens, heads * d_head], 1);
            let (cosines, sines) = (values(&[tokens, pairs], 2), values(&[tokens, pairs], 3));
            close(
                rotary::rotary(x.clone(), cosines.clone(), sines.clone(), heads),
                crate::rotary::composed::<Flex>(x, cosines, sines, heads),
                2,
            );
        }
    }

    /// Lengths of sequences, heads, heads of keys, width of a head, who sees what.
    fn attentions() -> Vec<(Vec<usize>, [usize; 3], AttentionMask)> {
        vec![
            (vec![1], [1, 1, 1], AttentionMask::Bidirectional { window: None }),
            (vec![3, 1, 130], [4, 2, 5], AttentionMask::Bidirectional { window: None }),
            (vec![2, 200, 70], [4, 2, 5], AttentionMask::Bidirectional { window: Some(33) }),
            (vec![9, 130], [2, 2, 3], AttentionMask::Bidirectional { window: Some(1) }),
            (vec![1, 67], [6, 2, 8], AttentionMask::Causal { window: None }),
            (vec![200, 5], [2, 1, 3], AttentionMask::Causal { window: Some(70) }),
            (vec![9], [2, 2, 4], AttentionMask::Causal { window: Some(1) }),
        ]
    }

    fn offsets(lengths: &[usize]) -> Offsets {
        let mut offsets = vec![0];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        Offsets::new(&offsets)
    }

    fn layout(lengths: &[usize]) -> Arc<crate::Layout> {
        Arc::new(crate::Layout::new(offsets(lengths), 0))
    }

    #[test]
    fn attention_and_its_gradients_equal_the_composed_forms() {
        for (lengths, [heads, kv_heads, d_head], attention_mask) in attentions() {
            for (dropout, soft_cap) in [(0.0, None), (0.3, None), (0.0, Some(0.2)), (0.3, Some(30.0))] {
                let layout = layout(&lengths);
                let tokens = layout.queries().tokens();
                // Over the keys of a query, the queries of a key in all heads that share it, and a head's coordinates.
                let depth = tokens * heads / kv_heads + d_head;
                let close = |left, right| close(left, right, depth);
                let mask = layout.dropout_mask(Some(Noise { seed: 3, step: 4 }), dropout, 5);
                let options = Attention { heads, kv_heads, scale: 0.3, soft_cap, mask: attention_mask, dropout: mask };
                let (q, upstream) =
                    (within(1.0, &[tokens, heads * d_head], 1), within(1.0, &[tokens, heads * d_head], 2));
                let (k, v) =
                    (within(1.0, &[tokens, kv_heads * d_head], 3), within(1.0, &[tokens, kv_heads * d_head], 4));
                close(
                    attention::forward(q.clone(), k.clone(), v.clone(), &layout, &options),
                    crate::attention::composed::<Flex>(q.clone(), k.clone(), v.clone(), &layout, &options),
                );
                let composed = crate::attention::composed_backward::<Flex>(
                    q.clone(),
                    k.clone(),
                    v.clone(),
                    upstream.clone(),
                    &layout,
                    &options,
                );
                let joined = <Flex as FloatTensorOps<Flex>>::float_cat(vec![q.clone(), k.clone(), v.clone()], 1);
                let ours = attention::backward(q, k, v, upstream.clone(), &layout, &options);
                close(ours.0, composed.0);
                close(ours.1, composed.1);
                close(ours.2, composed.2);
                close(
                    attention::joined_backward(joined.clone(), upstream.clone(), &layout, &options),
                    crate::attention::composed_joined_backward::<Flex>(joined, upstream, &layout, &options),
                );
            }
        }
    }

    #[test]
    fn attention_over_a_cache_equals_that_over_whole_sequences() {
        for (lengths, [heads, kv_heads, d_head], attention_mask) in attentions() {
            let whole = crate::Layout::new(offsets(&lengths), 0);
            let tokens = whole.queries().tokens();
            let close = |left, right| close(left, right, tokens + d_head);
            let options =
                Attention { heads, kv_heads, scale: 0.3, soft_cap: None, mask: attention_mask, dropout: None };
            let q = values(&[tokens, heads * d_head], 1);
            let (k, v) = (values(&[tokens, kv_heads * d_head], 3), values(&[tokens, kv_heads * d_head], 4));
            let all = attention::forward(q.clone(), k.clone(), v.clone(), &whole, &options);
            // The last tokens of each sequence alone, at most two.
            let last: Vec<usize> = lengths.iter().map(|length| (*length).min(2)).collect();
            let rows: Vec<i32> = (0..lengths.len())
                .flat_map(|s| whole.queries().range(s).rev().take(last[s]).collect::<Vec<_>>().into_iter().rev())
                .map(|row| row as i32)
                .collect();
            let count = rows.len();
            let indices = FlexTensor::from_data(TensorData::new(rows, [count]));
            let select = |x: FlexTensor| <Flex as FloatTensorOps<Flex>>::float_select(x, 0, indices.clone());
            let cached = crate::Layout::cached(offsets(&last), whole.keys());
            for attend in [attention::forward, crate::attention::composed::<Flex>] {
                close(attend(select(q.clone()), k.clone(), v.clone(), &cached, &options), select(all.clone()));
            }
        }
    }

    #[test]
    fn disentangled_attention_and_its_gradients_equal_the_composed_forms() {
        for (lengths, [heads, d_head], buckets) in [
            (vec![1], [1, 1], Some(4)),
            (vec![3, 1, 130], [3, 5], Some(32)),
            (vec![200, 65, 64, 2], [2, 3], Some(16)),
            (vec![4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2], [2, 4], None),
        ] {
            for dropout in [0.0, 0.3] {
                let layout = layout(&lengths);
                let (tokens, width) = (layout.queries().tokens(), heads * d_head);
                let dropout = layout.dropout_mask(Some(Noise { seed: 3, step: 4 }), dropout, 5);
                let positions = RelativePositions { buckets, largest: 64 };
                let options = DisentangledAttention { heads, scale: 0.3, positions, dropout };
                let of_table = |key| within(1.0, &[2 * positions.span(), width], key);
                let inputs = || Inputs {
                    q: within(1.0, &[tokens, width], 1),
                    k: within(1.0, &[tokens, width], 3),
                    v: within(1.0, &[tokens, width], 4),
                    pos_key: of_table(5),
                    pos_query: of_table(6),
                };
                let upstream = within(1.0, &[tokens, width], 2);
                // Over the keys of a query, the tokens at a distance, and a head's coordinates, three times.
                let close = |left, right| close(left, right, 2 * tokens + 3 * d_head);
                close(
                    disentangled_attention::forward(inputs(), &layout, &options),
                    crate::disentangled_attention::composed::<Flex>(inputs(), &layout, &options),
                );
                let ours = disentangled_attention::backward(inputs(), upstream.clone(), &layout, &options);
                let composed =
                    crate::disentangled_attention::composed_backward::<Flex>(inputs(), upstream, &layout, &options);
                close(ours.q, composed.q);
                close(ours.k, composed.k);
                close(ours.v, composed.v);
                close(ours.pos_key, composed.pos_key);
                close(ours.pos_query, composed.pos_query);
            }
        }
    }

    #[test]
    fn values_are_changed_where_they_lie_unless_somebody_else_holds_them() {
        let double = |values: &mut [f32]| values.iter_mut().for_each(|value| *value *= 2.0);
        let place = |tensor: &FlexTensor| tensor.storage::<f32>().as_ptr();
        let alone = values(&[3, 5], 1);
        let (before, expected) = (place(&alone), alone.storage::<f32>().iter().map(|x| 2.0 * x).collect::<Vec<_>>());
        let changed_alone = changed(alone, double);
        assert_eq!(place(&changed_alone), before);
        assert_eq!(changed_alone.storage::<f32>(), expected);

        let held = changed_alone.clone();
        let beside = changed(changed_alone, double);
        assert_ne!(place(&beside), before);
        assert_eq!(held.storage::<f32>(), expected, "what is held stays as it was");
    }

    #[test]
    fn tensors_that_are_views_are_read_through_their_strides() {
        let x = values(&[5, 9], 1);
        let (view, copy) = (x.transpose(0, 1), x.transpose(0, 1).to_contiguous());
        let forward = |x| activation::forward(x, Activation::Gelu).into_data();
        assert_eq!(forward(view), forward(copy));
    }
}

//! Rotary embedding in one pass, on all threads.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;

use super::filled::mapped;
use super::tensor;
use crate::wide::with_wide_vectors;

/// Tokens that one thread turns at a time.
const TOKENS: usize = 16;

pub(crate) fn rotary(x: FlexTensor, cosines: FlexTensor, sines: FlexTensor, heads: usize) -> FlexTensor {
    let [x, cosines, sines] = [x, cosines, sines].map(|tensor| tensor.to_contiguous());
    let slices = (x.as_slice::<f32>(), cosines.as_slice::<f32>(), sines.as_slice::<f32>());
    let (Some(values), Some(cosines_of), Some(sines_of)) = slices else {
        return crate::rotary::composed::<Flex>(x, cosines, sines, heads);
    };
    let (width, pairs) = (x.layout().shape()[1], cosines.layout().shape()[1]);
    let output = mapped(values, TOKENS * width, |block, values, output| {
        for (index, (values, output)) in values.chunks_exact(width).zip(output.chunks_exact_mut(width)).enumerate() {
            let angles = (block * TOKENS + index) * pairs..(block * TOKENS + index + 1) * pairs;
            turn(values, &cosines_of[angles.clone()], &sines_of[angles], width / heads, output);
        }
    });
    tensor(output, x.layout().shape().clone())
}

with_wide_vectors! {
    /// All heads of one token.
    fn turn(values: &[f32], cosines: &[f32], sines: &[f32], d_head: usize, output: &mut [f32]) {
        let pairs = cosines.len();
        for (head, output) in values.chunks_exact(d_head).zip(output.chunks_exact_mut(d_head)) {
            let (first, rest) = head.split_at(pairs);
            let (second, untouched) = rest.split_at(pairs);
            let (to_first, to_rest) = output.split_at_mut(pairs);
            let (to_second, to_untouched) = to_rest.split_at_mut(pairs);
            for i in 0..pairs {
                to_first[i] = first[i] * cosines[i] - second[i] * sines[i];
                to_second[i] = second[i] * cosines[i] + first[i] * sines[i];
            }
            to_untouched.copy_from_slice(untouched);
        }
    }
}

//! int8, symmetric, with a scale for each row (Dettmers et al. 2022, arXiv 2208.07339, section 2.1, without its outliers, which are of
//! activations). Reference: `Int8Params` and `int8_vectorwise_quant` in bitsandbytes: a value is `code * scale / 127`.

use half::f16;
use rayon::prelude::*;

use super::source::Source;

/// Codes row by row, and the largest magnitude of each row; `None` where a value is no finite number.
pub(super) fn quantise(source: Source<'_>, columns: usize) -> Option<(Vec<i8>, Vec<f32>)> {
    let rows = source.len() / columns.max(1);
    let (mut codes, mut scales) = (vec![0; source.len()], vec![0.0; rows]);
    let are_finite = codes
        .par_chunks_mut(columns.max(1))
        .zip(&mut scales)
        .enumerate()
        .map_init(
            || (Vec::new(), Vec::new()),
            |(wide, rounded), (row, (codes, scale))| {
                let values = source.part(row * columns..(row + 1) * columns, wide);
                *scale = row_of(values, rounded, codes);
                scale.is_finite()
            },
        )
        .reduce(|| true, |left, right| left && right);
    are_finite.then_some((codes, scales))
}

/// The scale of a row, which is no finite number where one of its values is none.
fn row_of(values: &[f32], rounded: &mut Vec<f32>, codes: &mut [i8]) -> f32 {
    // bitsandbytes has weights in f16. One that has values too large for it keeps its own type.
    rounded.clear();
    rounded.extend(values.iter().map(|value| f16::from_f32(*value).to_f32()));
    let values = if rounded.iter().all(|value| value.is_finite()) { &rounded[..] } else { values };
    if !values.iter().all(|value| value.is_finite()) {
        return f32::NAN;
    }
    let scale = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if scale == 0.0 {
        codes.fill(0);
        return scale;
    }
    let factor = 1.0 / scale * 127.0;
    codes.iter_mut().zip(values).for_each(|(code, value)| *code = (value * factor).round_ties_even() as i8);
    scale
}

//! nf4: 16 values that are equally likely of a normal distribution, with a scale for each block of 64 values of the flattened matrix,
//! and the scales quantised in turn (Dettmers et al. 2023, arXiv 2305.14314, section 3). Reference: `quantize_4bit` in bitsandbytes.

use rayon::prelude::*;

use super::dynamic_map;
use super::source::Source;

/// The values of nf4's codes.
pub const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Values that share a scale.
pub(crate) const BLOCK: usize = 64;

/// Scales that share a scale in turn.
pub(crate) const NESTED_BLOCK: usize = 256;

/// Values that one thread quantises at a time.
const CHUNK: usize = 64 * BLOCK;

/// A matrix in nf4. A value is `VALUES[code] * absmax`, and that `DYNAMIC_MAP[code] * nested + offset`.
#[derive(Debug, PartialEq)]
pub(super) struct Nf4 {
    /// Two to a byte, the first in its upper half; what lies beyond an odd number of them is the code of zero.
    pub codes: Vec<u8>,
    /// A code for each block.
    pub absmax: Vec<u8>,
    /// A scale for each [`NESTED_BLOCK`] blocks.
    pub nested: Vec<f32>,
    pub offset: f32,
}

/// `None` where a value is no finite number.
pub(super) fn quantise(source: Source<'_>) -> Option<Nf4> {
    let count = source.len();
    let mut codes = vec![0; count.div_ceil(2)];
    let mut absmax = vec![0.0; count.div_ceil(BLOCK)];
    let chunks = codes.par_chunks_mut(CHUNK / 2).zip(absmax.par_chunks_mut(CHUNK / BLOCK)).enumerate();
    chunks.for_each_init(Vec::new, |wide, (chunk, (codes, absmax))| {
        let values = source.part(chunk * CHUNK..count.min((chunk + 1) * CHUNK), wide);
        let blocks = values.chunks(BLOCK).zip(codes.chunks_mut(BLOCK / 2)).zip(absmax);
        blocks.for_each(|((values, codes), absmax)| *absmax = block(values, codes));
    });
    if !absmax.iter().all(|absmax| absmax.is_finite()) {
        return None;
    }
    let (absmax, nested, offset) = nested(&absmax);
    Some(Nf4 { codes, absmax, nested, offset })
}

/// The scale of a block, which is no finite number where one of its values is none.
fn block(values: &[f32], codes: &mut [u8]) -> f32 {
    const LEAST: f32 = 1e-38;
    if !values.iter().all(|value| value.is_finite()) {
        return f32::NAN;
    }
    let absmax = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    // The last block, where it is short, bitsandbytes divides, and has no scale of zero for it.
    let is_whole = values.len() == BLOCK;
    let factor = 1.0 / absmax.max(LEAST);
    let code = |value: &f32| nearest(if is_whole { value * factor } else { value / absmax.max(LEAST) });
    for (codes, values) in codes.iter_mut().zip(values.chunks(2)) {
        *codes = code(&values[0]) << 4 | values.get(1).map_or(ZERO, code);
    }
    if is_whole { absmax } else { absmax.max(LEAST) }
}

/// The code of zero.
const ZERO: u8 = 7;

/// The code of the nearest value; of two that are as near, the lower.
fn nearest(value: f32) -> u8 {
    (0..VALUES.len() - 1).filter(|code| value > (VALUES[*code] + VALUES[*code + 1]) / 2.0).count() as u8
}

/// Codes of the scales, their own scales, and the mean that was taken off before.
fn nested(absmax: &[f32]) -> (Vec<u8>, Vec<f32>, f32) {
    let sum: f64 = absmax.iter().map(|absmax| f64::from(*absmax)).sum();
    let offset = (sum / absmax.len().max(1) as f64) as f32;
    let mut scales = Vec::with_capacity(absmax.len().div_ceil(NESTED_BLOCK));
    let mut codes = Vec::with_capacity(absmax.len());
    for block in absmax.chunks(NESTED_BLOCK) {
        let rest = block.iter().map(|absmax| absmax - offset);
        let scale = rest.clone().fold(0.0_f32, |most, value| most.max(value.abs()));
        match scale {
            // Whatever the code, the mean is left.
            0.0 => codes.extend(rest.map(|_| 0)),
            _ => codes.extend(rest.map(|value| dynamic_map::code(value * (1.0 / scale)))),
        }
        scales.push(scale);
    }
    (codes, scales, offset)
}

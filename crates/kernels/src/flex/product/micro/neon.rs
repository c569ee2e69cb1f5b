//! ARM with vectors of 128 bits: tiles of 8 rows and up to 12 columns, 24 of the 32 registers being sums.

use std::arch::aarch64::{float32x4_t, vdupq_n_f32, vfmaq_f32, vld1q_f32, vst1q_f32};

use super::{Form, Tile, portable, tile};

pub(super) static FORM: Form =
    Form { rows: 8, lanes: 4, run: &[run::<1>, run::<2>, run::<3>], run_pairs: None, transpose: portable::transpose };

/// The order of arguments that the other processors have.
#[inline]
#[target_feature(enable = "neon")]
fn multiply_add(left: float32x4_t, right: float32x4_t, sum: float32x4_t) -> float32x4_t {
    vfmaq_f32(sum, left, right)
}

#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "vector instructions on the pointers of a tile, for which `Run` says what holds")]
unsafe fn run<const VECTORS: usize>(of: &Tile) {
    // SAFETY: the contract of `Run`.
    unsafe {
        tile!(of, 8, VECTORS, 4, vdupq_n_f32(0.0), vld1q_f32, vdupq_n_f32, multiply_add, vst1q_f32);
    }
}

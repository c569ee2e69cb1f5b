//! x86 with vectors of 256 bits and fused products: tiles of 6 rows and up to 16 columns, 12 of the 16 registers being sums. Of 4 rows
//! and 24 columns, which would need all registers, compilers keep some in memory.

use std::arch::x86_64::{
    _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::{Form, Tile, tile};

pub(super) static FORM: Form = Form { rows: 6, lanes: 8, run: &[run::<1>, run::<2>], run_pairs: None, transpose };

#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "vector instructions on the pointers of a tile, for which `Run` says what holds")]
unsafe fn run<const VECTORS: usize>(of: &Tile) {
    // SAFETY: the contract of `Run`.
    unsafe {
        tile!(
            of,
            6,
            VECTORS,
            8,
            _mm256_setzero_ps(),
            _mm256_loadu_ps,
            _mm256_set1_ps,
            _mm256_fmadd_ps,
            _mm256_storeu_ps
        );
    }
}

/// By pairs, by fours, by halves.
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "vector instructions on pointers, for which `Transpose` says what holds")]
pub(super) unsafe fn transpose(from: *const f32, step: usize, to: *mut f32, output_step: usize) {
    // SAFETY: the contract of `Transpose`.
    unsafe {
        let mut rows = [_mm256_setzero_ps(); 8];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm256_loadu_ps(from.add(i * step));
        }
        let mut pairs = rows;
        for i in 0..4 {
            pairs[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
            pairs[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
        }
        let mut fours = pairs;
        for i in 0..2 {
            let [a, b, c, d] = [pairs[4 * i], pairs[4 * i + 1], pairs[4 * i + 2], pairs[4 * i + 3]];
            fours[4 * i] = _mm256_shuffle_ps::<0x44>(a, c);
            fours[4 * i + 1] = _mm256_shuffle_ps::<0xee>(a, c);
            fours[4 * i + 2] = _mm256_shuffle_ps::<0x44>(b, d);
            fours[4 * i + 3] = _mm256_shuffle_ps::<0xee>(b, d);
        }
        for i in 0..4 {
            _mm256_storeu_ps(to.add(i * output_step), _mm256_permute2f128_ps::<0x20>(fours[i], fours[i + 4]));
            _mm256_storeu_ps(to.add((i + 4) * output_step), _mm256_permute2f128_ps::<0x31>(fours[i], fours[i + 4]));
        }
    }
}

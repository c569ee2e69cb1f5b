//! x86 with vectors of 512 bits: tiles of 8 rows and up to 48 columns, 24 of the 32 registers being sums.

use std::arch::x86_64::{
    __m512, __m512bh, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_storeu_ps,
};

use super::{Form, Tile, avx2, tile};

pub(super) static FORM: Form =
    Form { rows: 8, lanes: 16, run: &[run::<1>, run::<2>, run::<3>], run_pairs: None, transpose: avx2::transpose };

/// For processors that multiply pairs of bf16 and add both products to a sum in f32.
pub(super) static FORM_WITH_PAIRS: Form = Form {
    rows: 8,
    lanes: 16,
    run: &[run::<1>, run::<2>, run::<3>],
    run_pairs: Some(&[run_pairs::<1>, run_pairs::<2>, run_pairs::<3>]),
    transpose: avx2::transpose,
};

#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "vector instructions on the pointers of a tile, for which `Run` says what holds")]
unsafe fn run<const VECTORS: usize>(of: &Tile) {
    // SAFETY: the contract of `Run`.
    unsafe {
        tile!(
            of,
            8,
            VECTORS,
            16,
            _mm512_setzero_ps(),
            _mm512_loadu_ps,
            _mm512_set1_ps,
            _mm512_fmadd_ps,
            _mm512_storeu_ps
        );
    }
}

#[target_feature(enable = "avx512f,avx512bf16")]
#[expect(unsafe_code, reason = "as above")]
unsafe fn run_pairs<const VECTORS: usize>(of: &Tile) {
    // SAFETY: the contract of `Run`.
    unsafe {
        tile!(
            of,
            8,
            VECTORS,
            16,
            _mm512_setzero_ps(),
            _mm512_loadu_ps,
            _mm512_set1_ps,
            _mm512_fmadd_ps,
            _mm512_storeu_ps,
            multiply_add_pairs
        );
    }
}

/// Vectors of f32 that are pairs of bf16 in fact.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn multiply_add_pairs(left: __m512, right: __m512, sums: __m512) -> __m512 {
    // SAFETY: vectors of the same size, of which every bit pattern is a value.
    #[expect(unsafe_code, reason = "the same bits as another type; see SAFETY")]
    let [left, right] = [left, right].map(|vector| unsafe { std::mem::transmute::<__m512, __m512bh>(vector) });
    _mm512_dpbf16_ps(sums, left, right)
}

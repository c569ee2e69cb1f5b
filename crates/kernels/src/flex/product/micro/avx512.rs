//! x86 with vectors of 512 bits: tiles of 8 rows and up to 48 columns, 24 of the 32 registers being sums.

use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps};

use super::{Form, Tile, avx2, tile};

pub(super) static FORM: Form =
    Form { rows: 8, lanes: 16, run: [run::<1>, run::<2>, run::<3>], transpose: avx2::transpose };

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

//! x86 with vectors of 256 bits.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_loadl_epi64, _mm_loadu_si128, _mm256_add_ps, _mm256_and_si256, _mm256_castsi256_ps,
    _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu16_epi32, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_ps, _mm256_slli_epi32,
    _mm256_srli_epi16, _mm256_storeu_ps,
};

use half::bf16;

use super::form::{Form, Sums, sums};
use super::nf4;
use super::portable::widened;
use crate::flex::quantised::{Absmax, Scales, look_up, tables};
use crate::quantised::{BLOCK, DYNAMIC_MAP, NESTED_BLOCK};

pub(super) static FORM: Form = Form {
    f32: Sums { four: f32::<4, 1>, two: f32::<2, 2>, one: f32::<1, 4> },
    bf16: Sums { four: bf16::<4, 1>, two: bf16::<2, 2>, one: bf16::<1, 4> },
    int8: Sums { four: int8::<4, 1>, two: int8::<2, 2>, one: int8::<1, 4> },
    nf4: nf4::Dots { group: BLOCK, arrange, four: nf4::<4>, two: nf4::<2>, one: nf4::<1> },
};

#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "reads through a pointer into a slice, as far as the body of the loops goes")]
unsafe fn load_bf16(from: *const bf16) -> __m256 {
    // SAFETY: the caller has eight values there.
    let values = unsafe { _mm_loadu_si128(from.cast::<__m128i>()) };
    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(values)))
}

#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "as above")]
unsafe fn load_int8(from: *const i8) -> __m256 {
    // SAFETY: as above.
    let values = unsafe { _mm_loadl_epi64(from.cast::<__m128i>()) };
    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(values))
}

macro_rules! run {
    ($name:ident, $type:ty, $load:path, $value:path) => {
        #[target_feature(enable = "avx2")]
        #[expect(unsafe_code, reason = "pointers into slices of the same length, which the body asserts")]
        unsafe fn $name<const ROWS: usize, const VECTORS: usize>(
            left: [&[f32]; ROWS],
            weight: [&[$type]; 2],
        ) -> [[f32; 2]; ROWS] {
            // SAFETY: the body reads and writes within the slices.
            unsafe {
                sums!(
                    left,
                    weight,
                    ROWS,
                    VECTORS,
                    8,
                    _mm256_setzero_ps(),
                    _mm256_loadu_ps,
                    $load,
                    _mm256_mul_ps,
                    _mm256_add_ps,
                    _mm256_storeu_ps,
                    $value
                )
            }
        }
    };
}
run!(f32, f32, _mm256_loadu_ps, std::convert::identity);
run!(bf16, bf16, load_bf16, widened);
run!(int8, i8, load_int8, f32::from);

/// Block by block: first the values of even number, then the others, each 32 as [`look_up`] has them.
fn arrange(row: &[f32], to: &mut [f32]) {
    for (block, to) in row.chunks_exact(BLOCK).zip(to.chunks_exact_mut(BLOCK)) {
        for (at, to) in to.iter_mut().enumerate() {
            let (odd, vector, half, lane) = (at / 32, at % 32 / 8, at % 8 / 4, at % 4);
            *to = block[2 * (16 * half + 4 * vector + lane) + odd];
        }
    }
}

#[target_feature(enable = "avx2,fma")]
fn nf4<const ROWS: usize>(left: [&[f32]; ROWS], codes: &[u8], scales: &Scales<'_>, sums: &mut [[f32; ROWS]]) {
    let bytes = codes.len() / sums.len();
    let blocks = 2 * bytes / BLOCK;
    let of_weight = codes.chunks_exact(bytes).zip(sums).enumerate();
    match scales.absmax {
        Absmax::Plain(absmax) => {
            for (output, (codes, of_output)) in of_weight {
                let absmax = &absmax[scales.of_row(output, blocks).blocks];
                *of_output = of_row(left, codes, |block| _mm256_set1_ps(absmax[block]));
            }
        }
        // In between the shuffles, which is where a core has time for it; as vectors, for a value that comes from memory reaches all
        // lanes without another shuffle.
        Absmax::Nested { codes: nested, scales: of_nested, offset } => {
            let (map, offset) = (&*DYNAMIC_MAP, _mm256_set1_ps(offset));
            for (output, (codes, of_output)) in of_weight {
                let first = scales.of_row(output, blocks).blocks.start;
                *of_output = of_row(left, codes, |block| {
                    let value = _mm256_set1_ps(map[usize::from(nested[first + block])]);
                    let scale = _mm256_set1_ps(of_nested[(first + block) / NESTED_BLOCK]);
                    _mm256_add_ps(_mm256_mul_ps(value, scale), offset)
                });
            }
        }
    }
}

/// The products with one row of a weight; `scale` is told the block of the row.
#[inline]
#[target_feature(enable = "avx2,fma")]
#[expect(unsafe_code, reason = "pointers into slices, whose lengths are asserted")]
fn of_row<const ROWS: usize>(left: [&[f32]; ROWS], codes: &[u8], scale: impl Fn(usize) -> __m256) -> [f32; ROWS] {
    assert!(
        codes.len().is_multiple_of(BLOCK / 2) && left.iter().all(|row| row.len() == 2 * codes.len()),
        "left rows are laid out for these codes"
    );
    let (tables, nibble) = (tables(), _mm256_set1_epi8(0xf));
    let (codes, _) = codes.as_chunks::<{ BLOCK / 2 }>();
    let mut totals = [_mm256_setzero_ps(); ROWS];
    for (block, codes) in codes.iter().enumerate() {
        // SAFETY: the chunk has 32 bytes.
        let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast::<__m256i>()) };
        let mut halves = [[_mm256_setzero_ps(); ROWS]; 2];
        for (half, codes) in [_mm256_srli_epi16::<4>(codes), codes].into_iter().enumerate() {
            let [a, b, c, d] = look_up(&tables, _mm256_and_si256(codes, nibble));
            for row in 0..ROWS {
                let of_left = |vector: usize| {
                    let at = block * BLOCK + half * 32 + vector * 8;
                    // SAFETY: the block is one of the row's.
                    unsafe { _mm256_loadu_ps(left[row].as_ptr().add(at)) }
                };
                let first = _mm256_fmadd_ps(b, of_left(1), _mm256_mul_ps(a, of_left(0)));
                let second = _mm256_fmadd_ps(d, of_left(3), _mm256_mul_ps(c, of_left(2)));
                halves[half][row] = _mm256_add_ps(first, second);
            }
        }
        let scale = scale(block);
        for (row, total) in totals.iter_mut().enumerate() {
            let sum = _mm256_add_ps(halves[0][row], halves[1][row]);
            *total = _mm256_fmadd_ps(sum, scale, *total);
        }
    }
    totals.map(|total| {
        let mut lanes = [0.0_f32; 8];
        // SAFETY: eight values are written to as many.
        unsafe {
            _mm256_storeu_ps(lanes.as_mut_ptr(), total);
        }
        let [a, b, c, d, e, f, g, h] = lanes;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    })
}

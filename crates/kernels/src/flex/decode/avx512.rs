//! x86 with vectors of 512 bits. A value of nf4 is looked up among 16 by one instruction, which reads the low four bits of each word and
//! no others.

use std::arch::x86_64::{
    __m128i, __m256i, __m512, __m512i, _mm_loadu_si128, _mm256_loadu_si256, _mm512_add_ps, _mm512_castsi512_ps,
    _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps, _mm512_cvtepu16_epi32, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_loadu_si512, _mm512_mask_blend_ps, _mm512_mul_ps, _mm512_permutexvar_ps, _mm512_set1_ps, _mm512_setzero_ps,
    _mm512_slli_epi32, _mm512_srli_epi32, _mm512_storeu_ps,
};

use half::bf16;

use super::form::{Form, Sums, sums};
use super::nf4::{self, dots};
use super::portable::widened;
use crate::flex::quantised::{Absmax, Scales};
use crate::quantised::{DYNAMIC_MAP, NESTED_BLOCK, VALUES};

pub(super) static FORM: Form = Form {
    f32: Sums { four: f32::<4, 2>, two: f32::<2, 2>, one: f32::<1, 2> },
    bf16: Sums { four: bf16::<4, 2>, two: bf16::<2, 2>, one: bf16::<1, 2> },
    int8: Sums { four: int8::<4, 2>, two: int8::<2, 2>, one: int8::<1, 2> },
    nf4: nf4::Dots { group: 128, arrange: nf4::arrange::<16>, four: nf4::<4>, two: nf4::<2>, one: nf4::<1> },
};

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "reads through a pointer into a slice, as far as the body of the loops goes")]
unsafe fn load_bf16(from: *const bf16) -> __m512 {
    // SAFETY: the caller has 16 values there.
    let values = unsafe { _mm256_loadu_si256(from.cast::<__m256i>()) };
    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(values)))
}

#[inline]
#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "as above")]
unsafe fn load_int8(from: *const i8) -> __m512 {
    // SAFETY: as above.
    let values = unsafe { _mm_loadu_si128(from.cast::<__m128i>()) };
    _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(values))
}

macro_rules! run {
    ($name:ident, $type:ty, $load:path, $value:path) => {
        #[target_feature(enable = "avx512f")]
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
                    16,
                    _mm512_setzero_ps(),
                    _mm512_loadu_ps,
                    $load,
                    _mm512_mul_ps,
                    _mm512_add_ps,
                    _mm512_storeu_ps,
                    $value
                )
            }
        }
    };
}
run!(f32, f32, _mm512_loadu_ps, std::convert::identity);
run!(bf16, bf16, load_bf16, widened);
run!(int8, i8, load_int8, f32::from);

/// The codes of two blocks, or of the last one alone, beyond which left rows are zero.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_codes(codes: &[u8]) -> __m512i {
    let mut padded = [0; 64];
    let whole = match codes.as_array::<64>() {
        Some(whole) => whole,
        None => {
            padded[..codes.len()].copy_from_slice(codes);
            &padded
        }
    };
    // SAFETY: 64 bytes are read from as many.
    #[expect(unsafe_code, reason = "a load of a whole array; see SAFETY")]
    unsafe {
        _mm512_loadu_si512(whole.as_ptr().cast::<__m512i>())
    }
}

/// Of the lower eight words those of one block, of the others those of the next.
#[inline]
#[target_feature(enable = "avx512f")]
fn both(first: f32, second: f32) -> __m512 {
    _mm512_mask_blend_ps(0xff00, _mm512_set1_ps(first), _mm512_set1_ps(second))
}

/// The blocks of a group of a row; of an odd number the last stands in for another, beyond which left rows are zero.
#[inline]
fn blocks(scales: &Scales<'_>, group: usize) -> [usize; 2] {
    let first = scales.blocks.start + 2 * group;
    [first, (first + 1).min(scales.blocks.end - 1)]
}

#[target_feature(enable = "avx512f")]
#[expect(unsafe_code, reason = "pointers into slices, whose lengths the body asserts")]
unsafe fn nf4<const ROWS: usize>(left: [&[f32]; ROWS], codes: &[u8], scales: &Scales<'_>, sums: &mut [[f32; ROWS]]) {
    macro_rules! with_scale {
        ($scale:expr) => {
            dots!(
                left,
                codes,
                scales,
                sums,
                ROWS,
                16,
                _mm512_setzero_ps(),
                _mm512_loadu_ps,
                load_codes,
                |codes| _mm512_permutexvar_ps(codes, _mm512_loadu_ps(VALUES.as_ptr())),
                _mm512_srli_epi32::<4>,
                _mm512_fmadd_ps,
                _mm512_add_ps,
                $scale,
                _mm512_storeu_ps
            )
        };
    }
    // SAFETY: the body reads and writes within the slices.
    unsafe {
        match scales.absmax {
            Absmax::Plain(absmax) => with_scale!(|row, group| {
                let [first, second] = blocks(row, group).map(|block| absmax[block]);
                both(first, second)
            }),
            // As vectors, for a value that comes from memory reaches all lanes at once.
            Absmax::Nested { codes: nested, scales: of_nested, offset } => {
                let (map, offset) = (&*DYNAMIC_MAP, _mm512_set1_ps(offset));
                with_scale!(|row, group| {
                    let [first, second] = blocks(row, group);
                    let value = both(map[usize::from(nested[first])], map[usize::from(nested[second])]);
                    let scale = both(of_nested[first / NESTED_BLOCK], of_nested[second / NESTED_BLOCK]);
                    _mm512_add_ps(_mm512_mul_ps(value, scale), offset)
                })
            }
        }
    }
}

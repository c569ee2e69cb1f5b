//! x86 with vectors of 256 bits. A value of nf4 is looked up byte by byte: four tables of 16 bytes, and the bytes of 32 values are
//! interleaved to floats.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_loadl_epi64, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16,
    _mm_unpackhi_epi8, _mm_unpacklo_epi8, _mm256_add_ps, _mm256_and_si256, _mm256_broadcastsi128_si256,
    _mm256_castsi256_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_mul_ps, _mm256_set_m128i, _mm256_set1_epi8, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_storeu_ps, _mm256_storeu2_m128, _mm256_unpackhi_epi8,
    _mm256_unpackhi_epi16, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
};

use crate::flex::matrix::{Matrix, Stored};
use crate::quantised::{BLOCK, VALUES};

/// Values of nf4 that are unpacked at once.
const TOGETHER: usize = 32;

/// Byte `p` of every value.
const BYTES: [[u8; 16]; 4] = {
    let mut bytes = [[0; 16]; 4];
    let mut code = 0;
    while code < 16 {
        let of_value = VALUES[code].to_bits().to_le_bytes();
        let mut place = 0;
        while place < 4 {
            bytes[place][code] = of_value[place];
            place += 1;
        }
        code += 1;
    }
    bytes
};

#[inline]
#[target_feature(enable = "avx2")]
fn tables() -> [__m256i; 4] {
    BYTES.map(|bytes| {
        // SAFETY: 16 bytes are read from an array of as many.
        #[expect(unsafe_code, reason = "a load of a whole array; see SAFETY")]
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast::<__m128i>()) };
        _mm256_broadcastsi128_si256(bytes)
    })
}

/// Values of 32 codes: of those numbered `4i..4i + 4` and `16 + 4i..20 + 4i` in vector `i`.
#[inline]
#[target_feature(enable = "avx2")]
fn look_up(tables: &[__m256i; 4], codes: __m256i) -> [__m256; 4] {
    let [a, b, c, d] = tables.map(|table| _mm256_shuffle_epi8(table, codes));
    let (low, high) = (_mm256_unpacklo_epi8(a, b), _mm256_unpackhi_epi8(a, b));
    let (low_upper, high_upper) = (_mm256_unpacklo_epi8(c, d), _mm256_unpackhi_epi8(c, d));
    [
        _mm256_unpacklo_epi16(low, low_upper),
        _mm256_unpackhi_epi16(low, low_upper),
        _mm256_unpacklo_epi16(high, high_upper),
        _mm256_unpackhi_epi16(high, high_upper),
    ]
    .map(|values| _mm256_castsi256_ps(values))
}

/// Unpacks as many values as whole vectors hold, and says how many. The processor must have the vectors.
pub(super) fn unpack_nf4(codes: &[u8], absmax: f32, to: &mut [f32]) -> usize {
    #[target_feature(enable = "avx2")]
    fn unpack(codes: &[u8], absmax: f32, to: &mut [f32]) {
        let (tables, absmax, nibble) = (tables(), _mm256_set1_ps(absmax), _mm_set1_epi8(0xf));
        for (codes, to) in codes.chunks_exact(TOGETHER / 2).zip(to.chunks_exact_mut(TOGETHER)) {
            // SAFETY: a chunk has 16 bytes.
            #[expect(unsafe_code, reason = "a load of a whole chunk; see SAFETY")]
            let codes = unsafe { _mm_loadu_si128(codes.as_ptr().cast::<__m128i>()) };
            let even = _mm_and_si128(_mm_srli_epi16::<4>(codes), nibble);
            let odd = _mm_and_si128(codes, nibble);
            let codes = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
            for (at, values) in look_up(&tables, codes).into_iter().enumerate() {
                let place = to[4 * at..][..20].as_mut_ptr();
                // SAFETY: four values at the place and four at 16 beyond it lie within the slice.
                #[expect(unsafe_code, reason = "stores within a chunk; see SAFETY")]
                unsafe {
                    _mm256_storeu2_m128(place.add(16), place, _mm256_mul_ps(values, absmax));
                }
            }
        }
    }
    let count = to.len() / TOGETHER * TOGETHER;
    // SAFETY: the caller has asked whether the processor has the vectors.
    #[expect(unsafe_code, reason = "a function for certain processors; see SAFETY")]
    unsafe {
        unpack(&codes[..count / 2], absmax, &mut to[..count]);
    }
    count
}

/// A few left rows of products, for nf4 in the order in which [`look_up`] has values.
pub(super) struct Rows {
    values: Vec<f32>,
    columns: usize,
}

impl Rows {
    pub(super) fn new(x: Matrix<'_>, weight: &Stored<'_>) -> Option<Self> {
        let columns = x.columns();
        let arrange = match (weight.int8_row(0), weight.nf4()) {
            (Some(_), _) => |row: &[f32]| row.to_vec(),
            (None, Some(nf4)) => {
                nf4.blocks(0, columns, &mut Vec::new())?;
                |row: &[f32]| row.chunks(BLOCK).flat_map(arranged).collect()
            }
            (None, None) => return None,
        };
        Some(Self { values: (0..x.rows()).flat_map(|row| arrange(x.row(row))).collect(), columns })
    }

    pub(super) fn with(&self, weight: &Stored<'_>, index: usize, scales: &mut Vec<f32>, output: &mut [f32]) {
        let rows = output.iter_mut().zip(self.values.chunks_exact(self.columns));
        // SAFETY: rows are only made where the processor has the vectors.
        #[expect(unsafe_code, reason = "functions for certain processors; see SAFETY")]
        if let Some((codes, factor)) = weight.int8_row(index) {
            rows.for_each(|(output, x)| *output = factor * unsafe { dot_int8(x, codes) });
        } else if let Some(nf4) = weight.nf4()
            && let Some(codes) = nf4.blocks(index * self.columns, self.columns, scales)
        {
            rows.for_each(|(output, x)| *output = unsafe { dot_nf4(x, codes, scales) });
        }
    }
}

/// The values of a block: first those of even number, then the others, each 32 as [`look_up`] has them.
fn arranged(block: &[f32]) -> impl Iterator<Item = f32> {
    (0..BLOCK).map(|at| {
        let (odd, vector, half, lane) = (at / 32, at % 32 / 8, at % 8 / 4, at % 4);
        block[2 * (16 * half + 4 * vector + lane) + odd]
    })
}

#[target_feature(enable = "avx2,fma")]
fn dot_nf4(x: &[f32], codes: &[u8], scales: &[f32]) -> f32 {
    let (tables, nibble) = (tables(), _mm256_set1_epi8(0xf));
    let mut total = _mm256_setzero_ps();
    let blocks = x.chunks_exact(BLOCK).zip(codes.chunks_exact(BLOCK / 2)).zip(scales);
    for ((x, codes), scale) in blocks {
        // SAFETY: the chunk has 32 bytes.
        #[expect(unsafe_code, reason = "a load of a whole chunk; see SAFETY")]
        let codes = unsafe { _mm256_loadu_si256(codes.as_ptr().cast::<__m256i>()) };
        let even = look_up(&tables, _mm256_and_si256(_mm256_srli_epi16::<4>(codes), nibble));
        let odd = look_up(&tables, _mm256_and_si256(codes, nibble));
        let mut sums = [_mm256_setzero_ps(); 2];
        for at in 0..4 {
            sums[0] = _mm256_fmadd_ps(even[at], load(&x[8 * at..][..8]), sums[0]);
            sums[1] = _mm256_fmadd_ps(odd[at], load(&x[32 + 8 * at..][..8]), sums[1]);
        }
        total = _mm256_fmadd_ps(_mm256_add_ps(sums[0], sums[1]), _mm256_set1_ps(*scale), total);
    }
    sum(total)
}

#[target_feature(enable = "avx2,fma")]
fn dot_int8(x: &[f32], codes: &[i8]) -> f32 {
    let mut sums = [_mm256_setzero_ps(); 4];
    let (of_x, rest_x) = x.as_chunks::<32>();
    let (of_codes, rest) = codes.as_chunks::<32>();
    for (x, codes) in of_x.iter().zip(of_codes) {
        for (at, total) in sums.iter_mut().enumerate() {
            let codes = &codes[8 * at..][..8];
            // SAFETY: eight bytes are read from as many.
            #[expect(unsafe_code, reason = "a load of a whole slice; see SAFETY")]
            let codes = unsafe { _mm_loadl_epi64(codes.as_ptr().cast::<__m128i>()) };
            let codes = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
            *total = _mm256_fmadd_ps(codes, load(&x[8 * at..][..8]), *total);
        }
    }
    let [a, b, c, d] = sums;
    let whole = sum(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
    whole + rest_x.iter().zip(rest).map(|(x, code)| x * f32::from(*code)).sum::<f32>()
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(values: &[f32]) -> __m256 {
    assert!(values.len() == 8);
    // SAFETY: eight values are read from as many.
    #[expect(unsafe_code, reason = "a load of a whole slice; see SAFETY")]
    unsafe {
        _mm256_loadu_ps(values.as_ptr())
    }
}

/// In a fixed order.
#[inline]
#[target_feature(enable = "avx2")]
fn sum(vector: __m256) -> f32 {
    let mut lanes = [0.0_f32; 8];
    // SAFETY: eight values are written to as many.
    #[expect(unsafe_code, reason = "a store to a whole array; see SAFETY")]
    unsafe {
        _mm256_storeu_ps(lanes.as_mut_ptr(), vector);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

//! x86 with vectors of 256 bits. A value of nf4 is looked up byte by byte: four tables of 16 bytes, and the bytes of 32 values are
//! interleaved to floats.

use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_and_si128, _mm_loadu_si128, _mm_set1_epi8, _mm_srli_epi16, _mm_unpackhi_epi8,
    _mm_unpacklo_epi8, _mm256_broadcastsi128_si256, _mm256_castsi256_ps, _mm256_mul_ps, _mm256_set_m128i,
    _mm256_set1_ps, _mm256_shuffle_epi8, _mm256_storeu2_m128, _mm256_unpackhi_epi8, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
};

use crate::quantised::VALUES;

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

/// The tables of [`look_up`].
#[inline]
#[target_feature(enable = "avx2")]
pub(in crate::flex) fn tables() -> [__m256i; 4] {
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
pub(in crate::flex) fn look_up(tables: &[__m256i; 4], codes: __m256i) -> [__m256; 4] {
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

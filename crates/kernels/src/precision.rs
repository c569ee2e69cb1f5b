//! In what the products with frozen weights are computed.

use crate::Simd;

/// Of the factors of a product: sums are in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    #[default]
    F32,
    /// Both factors are rounded to bf16 where there are such products ([`Precision::has_bf16`]); elsewhere it is f32.
    Bf16,
}

impl Precision {
    /// Whether the vectors in use multiply in bf16.
    pub fn has_bf16() -> bool {
        Simd::current() == Simd::Avx512Bf16
    }
}

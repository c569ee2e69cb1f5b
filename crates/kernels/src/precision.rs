//! In what the products with frozen weights are computed.

/// Of the factors of a product: sums are in f32 always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    #[default]
    F32,
    /// Both factors are rounded to bf16 where the processor has such products ([`Precision::has_bf16`]); elsewhere it is f32.
    Bf16,
}

impl Precision {
    /// Whether this processor multiplies in bf16.
    pub fn has_bf16() -> bool {
        crate::flex::has_bf16()
    }
}

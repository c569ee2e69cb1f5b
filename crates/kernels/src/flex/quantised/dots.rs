//! Products of a few rows with the rows of a quantised matrix, each code of which is read once from memory for all of them.

use super::super::matrix::{Matrix, Stored};

/// The left rows, laid out as the codes are unpacked.
pub(in crate::flex) struct Dots {
    #[cfg(target_arch = "x86_64")]
    form: super::avx2::Rows,
}

#[cfg(target_arch = "x86_64")]
impl Dots {
    /// `None` where the processor has no vectors for it, or the matrix is not quantised or has blocks that reach beyond a row.
    pub(in crate::flex) fn new(x: Matrix<'_>, weight: &Stored<'_>) -> Option<Self> {
        let has_vectors = crate::Simd::current().has_avx2();
        Some(Self { form: super::avx2::Rows::new(x, weight).filter(|_| has_vectors)? })
    }

    /// The products of all left rows with row `index` of the matrix.
    pub(in crate::flex) fn with(&self, weight: &Stored<'_>, index: usize, scales: &mut Vec<f32>, output: &mut [f32]) {
        self.form.with(weight, index, scales, output);
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Dots {
    pub(in crate::flex) fn new(_x: Matrix<'_>, _weight: &Stored<'_>) -> Option<Self> {
        None
    }

    pub(in crate::flex) fn with(&self, _: &Stored<'_>, _index: usize, _scales: &mut Vec<f32>, _output: &mut [f32]) {}
}

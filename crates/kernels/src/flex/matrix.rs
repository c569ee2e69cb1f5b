//! Parts of tensors as matrices, and their products on the calling thread: the tiles of larger operations, which choose
//! their threads themselves.

use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use gemm::Parallelism;

/// A matrix whose rows lie `stride` values apart, read-only.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a> Matrix<'a> {
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride && last(rows, columns, stride) <= values.len(), "a matrix lies within its values");
        Self { values, rows, columns, stride }
    }

    /// A tensor of two dimensions in f32 whose rows are contiguous.
    pub(super) fn of(tensor: &'a FlexTensor) -> Option<Self> {
        let layout = tensor.layout();
        let (shape, strides) = (layout.shape(), layout.strides());
        let stride = usize::try_from(strides[0]).ok().filter(|stride| *stride >= shape[1] && strides[1] == 1)?;
        (tensor.dtype() == DType::F32)
            .then(|| Self::new(&tensor.storage::<f32>()[layout.start_offset()..], shape[0], shape[1], stride))
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    pub(super) fn columns(&self) -> usize {
        self.columns
    }

    pub(super) fn part(&self, rows: std::ops::Range<usize>, columns: std::ops::Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns, "a part lies within its matrix");
        let values = &self.values[rows.start * self.stride + columns.start..];
        Self::new(values, rows.len(), columns.len(), self.stride)
    }

    pub(super) fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.stride..][..self.columns]
    }
}

/// How many values it takes to hold a matrix.
fn last(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// A factor of a product, as it lies or transposed.
#[derive(Clone, Copy)]
pub(super) enum Factor<'a> {
    Plain(Matrix<'a>),
    Transposed(Matrix<'a>),
}

impl Factor<'_> {
    /// Rows, columns, and the distances between neighbours in either.
    fn shape(&self) -> (usize, usize, isize, isize) {
        match self {
            Self::Plain(m) => (m.rows, m.columns, m.stride as isize, 1),
            Self::Transposed(m) => (m.columns, m.rows, 1, m.stride as isize),
        }
    }

    fn values(&self) -> &[f32] {
        match self {
            Self::Plain(m) | Self::Transposed(m) => m.values,
        }
    }
}

/// What becomes of the values that stand where a product is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Replace,
    Add,
}

/// `output = factor * left·right`, or that added to it; the rows of `output` lie `stride` values apart.
pub(super) fn product(left: Factor<'_>, right: Factor<'_>, factor: f32, output: &mut [f32], stride: usize, into: Into) {
    let (m, k, left_rows, left_columns) = left.shape();
    let (inner, n, right_rows, right_columns) = right.shape();
    assert!(inner == k && n <= stride && last(m, n, stride) <= output.len(), "shapes of a product fit");
    let (values, right) = (left.values(), right.values());
    // SAFETY: a `Matrix` lies within its values, `output` is long enough by the line above, and being borrowed mutably it
    // overlaps neither factor.
    #[expect(unsafe_code, reason = "a call into gemm; see SAFETY")]
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            output.as_mut_ptr(),
            1,
            stride as isize,
            into == Into::Add,
            values.as_ptr(),
            left_columns,
            left_rows,
            right.as_ptr(),
            right_columns,
            right_rows,
            1.0,
            factor,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_definition_for_parts_and_transposes() {
        let values: Vec<f32> = (0..60).map(|i| ((i * 7) % 11) as f32 - 5.0).collect();
        let whole = Matrix::new(&values, 6, 10, 10);
        let (a, b) = (whole.part(1..4, 2..7), whole.part(0..5, 3..9));
        let mut output = vec![1.0; 3 * 8];
        product(Factor::Plain(a), Factor::Plain(b), 0.5, &mut output, 8, Into::Add);
        for i in 0..3 {
            for j in 0..6 {
                let sum: f32 = (0..5).map(|k| a.row(i)[k] * b.row(k)[j]).sum();
                assert_eq!(output[i * 8 + j], 1.0 + 0.5 * sum);
            }
            assert_eq!(output[i * 8 + 6..i * 8 + 8], [1.0, 1.0], "what lies between the rows stays");
        }
        let c = whole.part(0..3, 0..6);
        let mut output = vec![f32::NAN; 5 * 6];
        product(Factor::Transposed(a), Factor::Plain(c), 1.0, &mut output, 6, Into::Replace);
        let sum: f32 = (0..3).map(|k| a.row(k)[4] * c.row(k)[5]).sum();
        assert_eq!(output[29], sum);
    }
}

//! Quantised matrices on the CPU. A product widens them part by part, like those in half precision; a few rows are multiplied by the
//! codes where they lie.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod nf4;

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::{DType, Shape};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
pub(super) use self::avx2::{look_up, tables};
pub(super) use self::nf4::{Absmax, Nf4, Scales};
use super::matrix::{Factor, Stored};
use super::{CHUNK, tensor, widen};
use crate::wide::with_wide_vectors;
use crate::{FrozenPrimitive, quantised};

with_wide_vectors! {
    /// Values of a row in int8, whose scale is `127 * factor`.
    pub(super) fn widen_int8(from: &[i8], factor: f32, to: &mut [f32]) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = f32::from(*from) * factor;
        }
    }
}

/// The whole matrix in f32.
pub(crate) fn widened(matrix: FrozenPrimitive<Flex>) -> FlexTensor {
    if let FrozenPrimitive::Float(matrix) = matrix {
        return widen::widen(matrix);
    }
    match Factor::of_frozen(&matrix) {
        Some(Factor::Plain(stored)) => gathered(stored, stored.rows(), |row| row),
        Some(Factor::Transposed(_)) | None => quantised::widened::<Flex>(matrix),
    }
}

/// Rows of the matrix by index, in f32.
pub(crate) fn rows(matrix: FrozenPrimitive<Flex>, indices: FlexTensor) -> FlexTensor {
    let Some(Factor::Plain(stored)) = Factor::of_frozen(&matrix) else {
        return quantised::composed_rows::<Flex>(matrix, indices);
    };
    let indices: Vec<usize> = match indices.dtype() {
        DType::I32 => indices.to_contiguous().into_data().iter::<i32>().map(|index| index as usize).collect(),
        _ => indices.to_contiguous().into_data().iter::<i64>().map(|index| index as usize).collect(),
    };
    gathered(stored, indices.len(), |row| indices[row])
}

fn gathered(stored: Stored<'_>, count: usize, index: impl Fn(usize) -> usize + Sync) -> FlexTensor {
    let columns = stored.columns();
    let mut values = vec![0.0; count * columns];
    let at_once = (CHUNK / columns.max(1)).max(1);
    values.par_chunks_exact_mut(columns.max(1)).enumerate().with_min_len(at_once).for_each_init(
        || vec![0.0; columns],
        |wide, (row, values)| values.copy_from_slice(stored.row(index(row), 0..columns, wide)),
    );
    tensor(values, Shape::new([count, columns]))
}

#[cfg(test)]
mod tests;

//! Columns of a matrix that several threads write.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Some columns of a matrix whose rows are contiguous: nobody else has them as long as they are borrowed.
pub(super) struct Columns<'a> {
    /// The first row's first value.
    place: *mut f32,
    rows: usize,
    width: usize,
    stride: usize,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: as a `&mut [f32]` of each row, of which no other has any value.
#[expect(unsafe_code, reason = "values that one thread has at a time; see SAFETY")]
unsafe impl Send for Columns<'_> {}

impl<'a> Columns<'a> {
    /// All columns of a matrix with rows of `stride` values, `width` at a time, but for the last.
    pub(super) fn of(matrix: &'a mut [f32], stride: usize, width: usize) -> Vec<Self> {
        Self::from(matrix.as_mut_ptr(), matrix.len() / stride.max(1), stride, width)
    }

    fn from(place: *mut f32, rows: usize, stride: usize, width: usize) -> Vec<Self> {
        (0..stride)
            .step_by(width)
            .map(|first| Self {
                // SAFETY: the first row has more than `first` values, unless there is no row, which is then never asked for.
                #[expect(unsafe_code, reason = "a place within the first row; see SAFETY")]
                place: if rows == 0 { place } else { unsafe { place.add(first) } },
                rows,
                width: width.min(stride - first),
                stride,
                matrix: PhantomData,
            })
            .collect()
    }

    pub(super) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "a matrix has its rows alone");
        // SAFETY: the row lies within the matrix, which is borrowed for `'a`; its columns are of this value alone, which is
        // borrowed as long as the row.
        #[expect(unsafe_code, reason = "values of these columns; see SAFETY")]
        unsafe {
            std::slice::from_raw_parts_mut(self.place.add(row * self.stride), self.width)
        }
    }
}

/// Some columns of a matrix that is being made.
pub(super) struct NewColumns<'a>(Columns<'a>);

impl<'a> NewColumns<'a> {
    /// As [`Columns::of`].
    pub(super) fn of(matrix: &'a mut [MaybeUninit<f32>], stride: usize, width: usize) -> Vec<Self> {
        let rows = matrix.len() / stride.max(1);
        Columns::from(matrix.as_mut_ptr().cast::<f32>(), rows, stride, width).into_iter().map(Self).collect()
    }

    pub(super) fn row(&mut self, row: usize) -> &mut [MaybeUninit<f32>] {
        let Columns { place, rows, width, stride, .. } = self.0;
        assert!(row < rows, "a matrix has its rows alone");
        // SAFETY: the row lies within the matrix, which is borrowed for `'a`; its columns are of this value alone, which is
        // borrowed as long as the row.
        #[expect(unsafe_code, reason = "values of these columns; see SAFETY")]
        unsafe {
            std::slice::from_raw_parts_mut(place.add(row * stride).cast(), width)
        }
    }
}

#[cfg(test)]
mod tests {
    use rayon::prelude::*;

    use super::*;

    #[test]
    fn every_value_is_of_one_block_of_columns() {
        for (rows, stride, width) in [(0, 3, 2), (1, 1, 1), (4, 7, 3), (5, 6, 3), (3, 2, 8)] {
            let mut matrix = vec![0.0; rows * stride];
            Columns::of(&mut matrix, stride, width).par_iter_mut().enumerate().for_each(|(block, columns)| {
                for row in 0..rows {
                    for (column, value) in columns.row(row).iter_mut().enumerate() {
                        *value += (row * stride + block * width + column + 1) as f32;
                    }
                }
            });
            let expected: Vec<f32> = (1..=rows * stride).map(|value| value as f32).collect();
            assert_eq!(matrix, expected, "{rows} {stride} {width}");
            let mut made = vec![MaybeUninit::new(0.0); rows * stride];
            NewColumns::of(&mut made, stride, width).par_iter_mut().enumerate().for_each(|(block, columns)| {
                for row in 0..rows {
                    let from = row * stride + block * width;
                    columns.row(row).write_copy_of_slice(&expected[from..(from + width).min((row + 1) * stride)]);
                }
            });
            // SAFETY: they were zeros at first.
            #[expect(unsafe_code, reason = "values that have been written; see SAFETY")]
            let made: Vec<f32> = made.into_iter().map(|value| unsafe { value.assume_init() }).collect();
            assert_eq!(made, expected, "{rows} {stride} {width}");
        }
    }
}

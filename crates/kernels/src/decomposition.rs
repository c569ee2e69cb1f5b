//! Decompositions of a matrix that lies in memory row by row, by faer on one thread: what comes of it depends on the processor,
//! but not on the number of threads.

use faer::linalg::solvers::SvdError;
use faer::{Mat, MatRef};
use rayon::prelude::*;

/// The largest singular triplets of a matrix, `U·diag(S)·Vᵀ`.
#[derive(Debug, Clone)]
pub struct Svd {
    /// `[rows, rank]`
    pub u: Vec<f32>,
    /// `[rank]`, the largest first.
    pub s: Vec<f32>,
    /// `[rank, columns]`
    pub vt: Vec<f32>,
}

impl Svd {
    /// `None` if a value of it is not a finite number.
    fn new(u: MatRef<'_, f32>, s: &[f32], v: MatRef<'_, f32>) -> Option<Self> {
        let rank = s.len();
        let svd = Self { u: rows(u.get(.., ..rank)), s: s.to_vec(), vt: rows(v.get(.., ..rank).transpose()) };
        let is_finite = [&svd.u, &svd.s, &svd.vt].into_iter().flatten().all(|value| value.is_finite());
        is_finite.then_some(svd)
    }
}

/// The `rank` largest singular triplets of a `[rows, columns]` matrix, cut from its thin SVD; `None` where f32 has not the range
/// for it.
///
/// # Panics
/// If the rank is above the smaller side, or the matrix is of another size.
pub fn svd(matrix: &[f32], [height, width]: [usize; 2], rank: usize) -> Option<Svd> {
    assert!(rank <= height.min(width));
    thin_svd(MatRef::from_row_major_slice(matrix, height, width), rank)
}

fn thin_svd(matrix: MatRef<'_, f32>, rank: usize) -> Option<Svd> {
    let svd = matrix.thin_svd().map_err(|SvdError::NoConvergence| ()).ok()?;
    let s: Vec<f32> = svd.S().column_vector().iter().take(rank).copied().collect();
    Svd::new(svd.U(), &s, svd.V())
}

/// The same approximately, by `iterations` of the subspace that `test`, random values in the shape `[smaller side, rank]`, begins
/// (Halko, Martinsson and Tropp 2011, "Finding structure with randomness", algorithms 4.4 and 5.1). Reference:
/// `torch.svd_lowrank`.
///
/// # Panics
/// If the rank is above the smaller side, or the matrix is of another size.
pub fn svd_lowrank(matrix: &[f32], shape: [usize; 2], rank: usize, iterations: u32, test: &[f32]) -> Option<Svd> {
    let [height, width] = shape;
    assert!(rank <= height.min(width));
    let matrix = MatRef::from_row_major_slice(matrix, height, width);
    let is_tall = height >= width;
    let tall = if is_tall { matrix } else { matrix.transpose() };
    let test = MatRef::from_row_major_slice(test, height.min(width), rank);
    let mut basis = orthonormal(tall * test);
    for _ in 0..iterations {
        basis = orthonormal(tall.transpose() * basis);
        basis = orthonormal(tall * basis);
    }
    let small = thin_svd((basis.transpose() * tall).as_ref(), rank)?;
    let u = &basis * MatRef::from_row_major_slice(&small.u, rank, rank);
    let v = MatRef::from_row_major_slice(&small.vt, rank, height.min(width)).transpose();
    let (u, v) = if is_tall { (u.as_ref(), v) } else { (v, u.as_ref()) };
    Svd::new(u, &small.s, v)
}

/// The first `rank` columns of Q, `[rows, rank]`, and the first `rank` rows of R, `[rank, columns]`, of a QR decomposition. Those
/// of Q follow from as many columns of the matrix, and `R = Qᵀ·W`.
///
/// # Panics
/// If the rank is above the smaller side, or the matrix is of another size.
pub fn qr(matrix: &[f32], [height, width]: [usize; 2], rank: usize) -> [Vec<f32>; 2] {
    assert!(rank <= height.min(width));
    let matrix = MatRef::from_row_major_slice(matrix, height, width);
    let q = orthonormal(matrix.get(.., ..rank).to_owned());
    let r = q.transpose() * matrix;
    [rows(q.as_ref()), rows(r.as_ref())]
}

/// The Q of a QR decomposition.
fn orthonormal(matrix: Mat<f32>) -> Mat<f32> {
    matrix.qr().compute_thin_Q()
}

fn rows(matrix: MatRef<'_, f32>) -> Vec<f32> {
    (0..matrix.nrows()).flat_map(|row| matrix.row(row).iter().copied()).collect()
}

/// Takes `scale * left·right` out of a matrix of rows of `width`, `left: [rows, rank]`, `right: [rank, width]`: summed in f64 and
/// rounded once.
pub fn subtract_product(matrix: &mut [f32], width: usize, left: &[f32], right: &[f32], scale: f64) {
    let rank = right.len() / width.max(1);
    if rank == 0 {
        return;
    }
    matrix.par_chunks_mut(width).zip(left.par_chunks(rank)).for_each(|(row, left)| {
        let mut sums: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
        for (factor, right) in left.iter().zip(right.chunks(width)) {
            let factor = scale * f64::from(*factor);
            sums.iter_mut().zip(right).for_each(|(sum, value)| *sum -= factor * f64::from(*value));
        }
        row.iter_mut().zip(&sums).for_each(|(value, sum)| *value = *sum as f32);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uniform;

    /// Values of a fixed pattern, so that singular values lie apart.
    fn matrix([height, width]: [usize; 2], key: u64) -> Vec<f32> {
        (0..height * width).map(|i| (uniform(key, i as u64) - 0.5) as f32 / (1 + i % width) as f32).collect()
    }

    fn product(left: &[f32], right: &[f32], rank: usize, width: usize) -> Vec<f32> {
        let mut product = vec![0.0; left.len() / rank * width];
        subtract_product(&mut product, width, left, right, -1.0);
        product
    }

    /// Singular values as the roots of the eigenvalues of `WᵀW`, one after the other by the power method in f64.
    fn slowly(matrix: &[f32], width: usize, count: usize) -> Vec<f64> {
        let rows: Vec<Vec<f64>> = matrix.chunks(width).map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut found: Vec<(f64, Vec<f64>)> = Vec::new();
        for n in 0..count {
            let mut v: Vec<f64> = (0..width).map(|i| uniform(n as u64 + 77, i as u64) - 0.5).collect();
            let mut value = 0.0;
            for _ in 0..20_000 {
                let wv: Vec<f64> = rows.iter().map(|row| dot(row, &v)).collect();
                let mut next = vec![0.0; width];
                rows.iter().zip(&wv).for_each(|(row, f)| next.iter_mut().zip(row).for_each(|(sum, x)| *sum += f * x));
                for (_, before) in &found {
                    let along = dot(&next, before);
                    next.iter_mut().zip(before).for_each(|(x, b)| *x -= along * b);
                }
                value = dot(&next, &next).sqrt();
                v = next.iter().map(|x| x / value).collect();
            }
            found.push((value.sqrt(), v));
        }
        found.into_iter().map(|(value, _)| value).collect()
    }

    const SHAPES: [[usize; 2]; 4] = [[9, 9], [20, 7], [6, 17], [1, 5]];

    #[test]
    fn singular_values_are_those_of_the_power_method() {
        for shape in SHAPES {
            let matrix = matrix(shape, 3);
            let rank = shape[0].min(shape[1]).min(4);
            let expected = slowly(&matrix, shape[1], rank);
            let exact = svd(&matrix, shape, rank).unwrap();
            let test: Vec<f32> =
                (0..shape[0].min(shape[1]) * rank).map(|i| uniform(5, i as u64) as f32 - 0.5).collect();
            let approximate = svd_lowrank(&matrix, shape, rank, 60, &test).unwrap();
            for found in [&exact.s, &approximate.s] {
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((f64::from(*found) - expected).abs() <= 1e-4 * expected, "{shape:?}: {found} {expected}");
                }
            }
        }
    }

    #[test]
    fn all_triplets_come_to_the_matrix_and_vectors_are_orthonormal() {
        for shape in SHAPES {
            let [height, width] = shape;
            let matrix = matrix(shape, 4);
            let rank = height.min(width);
            let Svd { u, s, vt } = svd(&matrix, shape, rank).unwrap();
            let scaled: Vec<f32> = u.iter().enumerate().map(|(i, value)| value * s[i % rank]).collect();
            let close = |left: &[f32], right: &[f32]| left.iter().zip(right).all(|(l, r)| (l - r).abs() < 1e-5);
            assert!(close(&product(&scaled, &vt, rank, width), &matrix), "{shape:?}");
            let transposed = |m: &[f32], width: usize| -> Vec<f32> {
                (0..width).flat_map(|c| m.iter().skip(c).step_by(width).copied()).collect()
            };
            let identity: Vec<f32> = (0..rank * rank).map(|i| f32::from(u8::from(i % (rank + 1) == 0))).collect();
            assert!(close(&product(&transposed(&u, rank), &u, height, rank), &identity), "{shape:?}");
            assert!(close(&product(&vt, &transposed(&vt, width), width, rank), &identity), "{shape:?}");
        }
    }

    #[test]
    fn the_first_columns_and_rows_of_a_qr_decomposition_make_the_first_columns_of_the_matrix() {
        for shape in SHAPES {
            let [height, width] = shape;
            let matrix = matrix(shape, 6);
            let rank = height.min(width).min(3);
            let [q, r] = qr(&matrix, shape, rank);
            assert_eq!((q.len(), r.len()), (height * rank, rank * width));
            let product = product(&q, &r, rank, width);
            for (i, (found, expected)) in product.iter().zip(&matrix).enumerate().filter(|(i, _)| i % width < rank) {
                assert!((found - expected).abs() < 1e-5, "{shape:?} {i}: {found} {expected}");
            }
            // R is upper triangular.
            assert!((0..rank).all(|row| (0..row).all(|column| r[row * width + column].abs() < 1e-5)), "{shape:?}");
        }
    }

    #[test]
    fn values_beyond_the_range_of_f32_have_no_decomposition() {
        assert!(svd(&[3e38, 3e38, 3e38, 3e38], [2, 2], 1).is_none());
    }
}

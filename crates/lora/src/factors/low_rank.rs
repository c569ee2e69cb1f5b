//! A dense matrix as the product of two thin factors that comes nearest to it.

use burn::tensor::TensorData;
use kernels::Svd;

use crate::trained::normal;

/// Directions beyond the rank that the search of a subspace takes along, and its iterations (Halko, Martinsson and Tropp 2011).
const OVERSAMPLING: usize = 8;
const ITERATIONS: u32 = 4;

#[derive(Debug, Clone)]
pub struct LowRank {
    /// A, `[rank, d_input]`, and B, `[d_output, rank]`, in f32, to be added as they are.
    pub factors: [TensorData; 2],
    /// The share of the matrix's energy, its squared norm, that their product has.
    pub kept: f64,
    /// The Frobenius norm of the matrix.
    pub norm: f64,
}

/// Of a `[d_output, d_input]` matrix, by a randomised SVD where that is less work than the whole one; `key` is what its random
/// directions derive from. `None` where f32 has not the range for it.
///
/// # Panics
/// If the rank is above the smaller side, or the matrix is of another size.
pub fn approximated(matrix: &[f32], shape: [usize; 2], rank: usize, key: u64) -> Option<LowRank> {
    let [d_output, d_input] = shape;
    let side = d_output.min(d_input);
    let squares: f64 = matrix.iter().map(|value| f64::from(*value).powi(2)).sum();
    if squares == 0.0 {
        let factors = [[rank, d_input], [d_output, rank]].map(TensorData::zeros::<f32, _>);
        return Some(LowRank { factors, kept: 1.0, norm: 0.0 });
    }
    let wide = rank + OVERSAMPLING;
    let Svd { u, s, vt } = match 2 * wide < side {
        true => kernels::svd_lowrank(matrix, shape, wide, ITERATIONS, &normal((side * wide) as u64, 1.0, key))?,
        false => kernels::svd(matrix, shape, rank)?,
    };
    let found = s.len();
    let roots: Vec<f32> = s.iter().take(rank).map(|value| value.max(0.0).sqrt()).collect();
    let a: Vec<f32> = vt.iter().take(rank * d_input).enumerate().map(|(i, v)| roots[i / d_input] * v).collect();
    let b: Vec<f32> = u.chunks(found).flat_map(|row| row.iter().zip(&roots).map(|(u, root)| u * root)).collect();
    let energy: f64 = s.iter().take(rank).map(|value| f64::from(*value).powi(2)).sum();
    Some(LowRank {
        factors: [TensorData::new(a, [rank, d_input]), TensorData::new(b, [d_output, rank])],
        kept: (energy / squares).min(1.0),
        norm: squares.sqrt(),
    })
}

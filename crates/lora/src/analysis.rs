//! What an adapter learned, seen from its factors alone.

use std::collections::HashMap;

use burn::tensor::TensorData;

use crate::{Form, Update};

/// Sweeps of Jacobi's method: each squares what is left beside the diagonal, so that ten are more than any matrix needs.
const SWEEPS: usize = 30;

/// The singular values of `scale * B·A` of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    pub module: String,
    /// The largest first; as many as the rank.
    pub singular_values: Vec<f64>,
}

impl Spectrum {
    /// The square root of the sum of squares.
    pub fn frobenius(&self) -> f64 {
        self.singular_values.iter().map(|value| value * value).sum::<f64>().sqrt()
    }

    /// How many directions the update makes use of: e to the entropy of the singular values' shares (Roy and Vetterli
    /// 2007, "The effective rank"). 0 for an update of nothing, and the rank at most.
    pub fn effective_rank(&self) -> f64 {
        let sum: f64 = self.singular_values.iter().sum();
        if sum == 0.0 {
            return 0.0;
        }
        let shares = self.singular_values.iter().map(|value| value / sum).filter(|share| *share > 0.0);
        shares.map(|share| -share * share.ln()).sum::<f64>().exp()
    }
}

/// The spectra of all updates, without forming one: the squares of the singular values are the eigenvalues of
/// `BᵀB · AAᵀ`, two `r x r` matrices.
pub fn spectra(tensors: &HashMap<String, TensorData>, updates: &[Update]) -> Vec<Spectrum> {
    let spectrum = |update: &Update| {
        let ([a, b], scale) = update.form.factors()?;
        let [of_a, of_b] = grams(tensors, [a, b])?;
        // AAᵀ = V·D·Vᵀ; with R = V·√D the product has the eigenvalues of the symmetric Rᵀ·BᵀB·R.
        let (values, vectors) = eigen(of_a);
        let root: Square = vectors
            .iter()
            .map(|row| row.iter().zip(&values).map(|(entry, value)| entry * value.max(0.0).sqrt()).collect())
            .collect();
        let (squares, _) = eigen(product(&transposed(&root), &product(&of_b, &root)));
        let mut singular_values: Vec<f64> =
            squares.into_iter().map(|square| scale.abs() * square.max(0.0).sqrt()).collect();
        singular_values.sort_by(|left, right| right.total_cmp(left));
        let rank = tensors.get(a).map_or(0, |a| a.shape()[0]);
        singular_values.resize(rank, 0.0);
        Some(Spectrum { module: update.module.clone(), singular_values })
    };
    updates.iter().filter_map(spectrum).collect()
}

/// How far a module is moved.
#[derive(Debug, Clone, PartialEq)]
pub struct UpdateSize {
    pub module: String,
    /// Of an addition its Frobenius norm, also where lengths are set after it, whose share only the weight tells; of a scaling
    /// the root of the mean square of its values less one, which is a share of the weight already.
    pub norm: f64,
    pub is_relative: bool,
}

/// The sizes of all updates, without forming one.
pub fn update_sizes(tensors: &HashMap<String, TensorData>, updates: &[Update]) -> Vec<UpdateSize> {
    let size = |update: &Update| {
        let (norm, is_relative) = match &update.form {
            form @ (Form::LowRank { .. } | Form::Bottleneck { .. }) => {
                let (factors, scale) = form.factors()?;
                (scale.abs() * product_norm(grams(tensors, factors)?), false)
            }
            Form::Scaling { vector, .. } => {
                let values = tensors.get(vector)?;
                let squares: f64 = values.iter::<f64>().map(|value| (value - 1.0).powi(2)).sum();
                ((squares / values.num_elements().max(1) as f64).sqrt(), true)
            }
        };
        Some(UpdateSize { module: update.module.clone(), norm, is_relative })
    };
    updates.iter().filter_map(size).collect()
}

/// The Frobenius norm of B·A: its square is the sum over the entries of `BᵀB` times those of `AAᵀ`.
fn product_norm([of_a, of_b]: [Square; 2]) -> f64 {
    let squared: f64 = of_a.iter().flatten().zip(of_b.iter().flatten()).map(|(a, b)| a * b).sum();
    squared.max(0.0).sqrt()
}

/// A small matrix of rows as long as there are rows.
type Square = Vec<Vec<f64>>;

/// `AAᵀ` and `BᵀB`, which are as large as the smallest of rank, input and output; `None` where a factor is not there, or
/// where both are no factors of one update.
fn grams(tensors: &HashMap<String, TensorData>, [a, b]: [&String; 2]) -> Option<[Square; 2]> {
    let (a, b) = (tensors.get(a)?, tensors.get(b)?);
    let (&[rank, d_input], &[d_output, columns]) = (&a.shape()[..], &b.shape()[..]) else { return None };
    if columns != rank || rank * d_input * d_output == 0 {
        return None;
    }
    let a: Vec<f64> = a.iter::<f64>().collect();
    let b: Vec<f64> = b.iter::<f64>().collect();
    if rank <= d_input.min(d_output) {
        let rows_of_b = transposed_flat(&b, rank);
        return Some([gram(&a, d_input), gram(&rows_of_b, d_output)]);
    }
    // A rank that no update of this size has: the product is the smaller matrix, and one factor then is the identity.
    let mut product = vec![0.0; d_output * d_input];
    for (row, of_b) in product.chunks_mut(d_input).zip(b.chunks(rank)) {
        for (of_a, factor) in a.chunks(d_input).zip(of_b) {
            row.iter_mut().zip(of_a).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    Some(match d_input <= d_output {
        true => [identity(d_input), gram(&transposed_flat(&product, d_input), d_output)],
        false => [gram(&product, d_input), identity(d_output)],
    })
}

/// The products of all pairs of rows of this width.
fn gram(matrix: &[f64], width: usize) -> Square {
    let dot = |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(left, right)| left * right).sum();
    matrix.chunks(width).map(|left| matrix.chunks(width).map(|right| dot(left, right)).collect()).collect()
}

/// The columns of a matrix of rows of this width, one after the other.
fn transposed_flat(matrix: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|column| matrix.iter().skip(column).step_by(width).copied()).collect()
}

fn identity(n: usize) -> Square {
    (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect()
}

fn transposed(matrix: &Square) -> Square {
    (0..matrix.len()).map(|i| matrix.iter().map(|row| row[i]).collect()).collect()
}

fn product(left: &Square, right: &Square) -> Square {
    let columns = transposed(right);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum();
    left.iter().map(|row| columns.iter().map(|column| dot(row, column)).collect()).collect()
}

/// Eigenvalues of a symmetric matrix and its eigenvectors as columns, by Jacobi's cyclic rotations (Golub and Van Loan,
/// Matrix Computations, 8.5).
fn eigen(mut matrix: Square) -> (Vec<f64>, Square) {
    let n = matrix.len();
    let mut vectors = identity(n);
    let total: f64 = matrix.iter().flatten().map(|entry| entry * entry).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| matrix[i][j].powi(2)).sum();
        if off <= 1e-30 * total {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if matrix[p][q] == 0.0 {
                    continue;
                }
                let theta = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                let rotate = |x: &mut f64, y: &mut f64| (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
                for row in matrix.iter_mut().chain(vectors.iter_mut()) {
                    let (left, right) = row.split_at_mut(q);
                    rotate(&mut left[p], &mut right[0]);
                }
                let (above, below) = matrix.split_at_mut(q);
                above[p].iter_mut().zip(&mut below[0]).for_each(|(x, y)| rotate(x, y));
            }
        }
    }
    ((0..n).map(|i| matrix[i][i]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Side;

    fn tensors(a: Vec<f32>, b: Vec<f32>, rank: usize) -> HashMap<String, TensorData> {
        let (d_input, d_output) = (a.len() / rank, b.len() / rank);
        HashMap::from([
            ("a".to_string(), TensorData::new(a, [rank, d_input])),
            ("b".to_string(), TensorData::new(b, [d_output, rank])),
        ])
    }

    fn updates(scale: f64) -> [Update; 1] {
        [Update {
            module: "q".to_string(),
            form: Form::LowRank { a: "a".to_string(), b: "b".to_string(), scale, transposed: false, magnitude: None },
        }]
    }

    #[test]
    fn the_norm_is_that_of_the_product() {
        // B·A = [[1, 4.5, 3], [1, -0.5, -3]], whose squared norm is 40.5.
        let tensors = tensors(vec![1.0, 2.0, 0.0, -1.0, 0.5, 3.0], vec![2.0, 1.0, 0.0, -1.0], 2);
        let norms = update_sizes(&tensors, &updates(2.0));
        assert!((norms[0].norm - 2.0 * 40.5_f64.sqrt()).abs() < 1e-12, "{norms:?}");
    }

    #[test]
    fn the_size_of_a_scaling_is_its_distance_from_one() {
        let tensors = HashMap::from([("l".to_string(), TensorData::new(vec![1.0_f32, 1.5, 0.5, 1.0], [4, 1]))]);
        let form = Form::Scaling { vector: "l".to_string(), of: Side::Outputs, transposed: false };
        let updates = [Update { module: "k".to_string(), form }];
        let size = UpdateSize { module: "k".to_string(), norm: 0.125_f64.sqrt(), is_relative: true };
        assert_eq!(update_sizes(&tensors, &updates), [size]);
        assert!(spectra(&tensors, &updates).is_empty());
    }

    #[test]
    fn singular_values_are_those_of_numpy() {
        // B·A as above, of which `numpy.linalg.svd` gives 5.879626 and 2.435158.
        let tensors = tensors(vec![1.0, 2.0, 0.0, -1.0, 0.5, 3.0], vec![2.0, 1.0, 0.0, -1.0], 2);
        let spectrum = &spectra(&tensors, &updates(2.0))[0];
        for (found, expected) in spectrum.singular_values.iter().zip([2.0 * 5.879_626, 2.0 * 2.435_158]) {
            assert!((found - expected).abs() < 1e-5, "{spectrum:?}");
        }
        assert!((spectrum.frobenius() - 2.0 * 40.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_effective_rank_counts_directions() {
        let of = |values: &[f64]| Spectrum { module: "q".into(), singular_values: values.to_vec() }.effective_rank();
        assert_eq!(of(&[0.0, 0.0]), 0.0);
        assert!((of(&[3.0, 0.0, 0.0]) - 1.0).abs() < 1e-12);
        assert!((of(&[2.0, 2.0, 2.0]) - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_rank_beyond_the_size_of_the_update_asks_for_no_more_memory_than_the_factors() {
        // Squares of the rank would be 2^34 numbers. B·A is one number.
        const RANK: usize = 1 << 17;
        let tensors = tensors(vec![0.5; RANK], vec![0.25; RANK], RANK);
        let expected = 0.125 * RANK as f64;
        let spectrum = &spectra(&tensors, &updates(1.0))[0];
        assert_eq!((spectrum.singular_values.len(), spectrum.singular_values[1]), (RANK, 0.0));
        assert!((spectrum.frobenius() - expected).abs() < 1e-6 * expected, "{}", spectrum.frobenius());
        assert!((update_sizes(&tensors, &updates(1.0))[0].norm - expected).abs() < 1e-6 * expected);
    }

    #[test]
    fn factors_that_do_not_belong_together_have_no_spectrum() {
        let mut tensors = tensors(vec![1.0; 6], vec![1.0; 4], 2);
        tensors.insert("b".to_string(), TensorData::new(vec![1.0_f32; 3], [3, 1]));
        assert!(spectra(&tensors, &updates(1.0)).is_empty());
        tensors.insert("a".to_string(), TensorData::new(vec![1.0_f32; 6], [6]));
        assert!(update_sizes(&tensors, &updates(1.0)).is_empty());
    }

    proptest! {
        #[test]
        fn squares_add_up_to_the_squared_norm_and_there_are_as_many_as_the_rank(
            rank in 1..9_usize, d_input in 1..12_usize, d_output in 1..12_usize, seed in 0..1000_u64,
        ) {
            let values = |count: usize, key: u64| -> Vec<f32> {
                (0..count as u64).map(|i| kernels::uniform(key, i) as f32 - 0.5).collect()
            };
            let tensors = tensors(values(rank * d_input, seed), values(d_output * rank, seed + 7), rank);
            let (spectrum, norm) = (&spectra(&tensors, &updates(1.5))[0], update_sizes(&tensors, &updates(1.5))[0].norm);
            prop_assert_eq!(spectrum.singular_values.len(), rank);
            prop_assert!((spectrum.frobenius() - norm).abs() <= 1e-9 * norm.max(1e-3));
            let possible = rank.min(d_input).min(d_output);
            let noise = spectrum.singular_values[0] * 1e-6;
            prop_assert!(spectrum.singular_values.iter().skip(possible).all(|value| *value <= noise));
        }
    }
}

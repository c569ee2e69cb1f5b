//! What the singular values of an update say of it.

use faer::{Mat, Side};

/// What is left is noise of the factors' f32.
const ROUNDING: f64 = 1e-12;

/// The singular values of what is added to the weight of a module.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    pub module: String,
    /// The largest first; as many as the rank, or as the smaller side of a matrix of any rank.
    pub singular_values: Vec<f64>,
}

impl Spectrum {
    /// Of a `[height, width]` matrix of any rank: the roots of the eigenvalues of its smaller Gram matrix, in f64. Those below a
    /// hundred-millionth of the largest are noise. `None` for values that are not finite.
    ///
    /// # Panics
    /// If the matrix is of another size.
    pub fn of_matrix(module: &str, values: &[f32], [height, width]: [usize; 2]) -> Option<Self> {
        assert_eq!(values.len(), height * width, "a matrix of that size");
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let matrix = Mat::from_fn(height, width, |i, j| f64::from(values[i * width + j]));
        let gram = if height <= width { &matrix * matrix.transpose() } else { matrix.transpose() * &matrix };
        let eigenvalues = gram.self_adjoint_eigenvalues(Side::Lower).ok()?;
        let singular_values = eigenvalues.into_iter().rev().map(|value| value.max(0.0).sqrt()).collect();
        Some(Self { module: module.to_string(), singular_values })
    }

    /// The square root of the sum of squares.
    pub fn frobenius(&self) -> f64 {
        self.energy(usize::MAX).sqrt()
    }

    /// How many directions the update makes use of: e to the entropy of the singular values' shares (Roy and Vetterli
    /// 2007, "The effective rank: a measure of effective dimensionality"). 0 for an update of nothing, and the rank at most.
    pub fn effective_rank(&self) -> f64 {
        let sum: f64 = self.singular_values.iter().sum();
        if sum == 0.0 {
            return 0.0;
        }
        let shares = self.singular_values.iter().map(|value| value / sum).filter(|share| *share > 0.0);
        shares.map(|share| -share * share.ln()).sum::<f64>().exp()
    }

    /// The lowest rank whose truncation keeps this share of the energy, the sum of the squares of all singular values. 0 for an
    /// update of nothing.
    pub fn rank_of_energy(&self, share: f64) -> usize {
        let may_be_lost = (1.0 - share + ROUNDING) * self.energy(usize::MAX);
        let mut lost = 0.0;
        // From the smallest: a sum from the largest would swallow them.
        let cut = self.singular_values.iter().rev().take_while(|value| {
            lost += *value * *value;
            lost <= may_be_lost
        });
        self.singular_values.len() - cut.count()
    }

    /// The share of the energy that a truncation to this rank keeps; all of an update of nothing.
    pub fn kept(&self, rank: usize) -> f64 {
        let all = self.energy(usize::MAX);
        if all > 0.0 { self.energy(rank) / all } else { 1.0 }
    }

    /// Of the first `rank` singular values.
    fn energy(&self, rank: usize) -> f64 {
        self.singular_values.iter().take(rank).map(|value| value * value).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Spectrum {
        Spectrum { module: "q".into(), singular_values: values.to_vec() }
    }

    #[test]
    fn the_effective_rank_counts_directions() {
        assert_eq!(of(&[0.0, 0.0]).effective_rank(), 0.0);
        assert!((of(&[3.0, 0.0, 0.0]).effective_rank() - 1.0).abs() < 1e-12);
        assert!((of(&[2.0, 2.0, 2.0]).effective_rank() - 3.0).abs() < 1e-12);
    }

    #[test]
    fn a_matrix_has_the_singular_values_of_numpy_whichever_way_it_lies() {
        // `numpy.linalg.svd([[1, 4.5, 3], [1, -0.5, -3]])`
        let (rows, columns) = ([1.0, 4.5, 3.0, 1.0, -0.5, -3.0], [1.0, 1.0, 4.5, -0.5, 3.0, -3.0]);
        for (values, shape) in [(rows, [2, 3]), (columns, [3, 2])] {
            let found = Spectrum::of_matrix("q", &values, shape).unwrap().singular_values;
            assert_eq!(found.len(), 2);
            for (found, expected) in found.iter().zip([5.879_626, 2.435_158]) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
        assert!(Spectrum::of_matrix("q", &[f32::NAN], [1, 1]).is_none());
    }

    #[test]
    fn energy_is_the_share_of_squares() {
        // Squares 9, 4, 1 of 14.
        let spectrum = of(&[3.0, 2.0, 1.0]);
        assert_eq!(
            [0.5, 9.0 / 14.0, 0.65, 0.9, 0.93, 1.0].map(|share| spectrum.rank_of_energy(share)),
            [1, 1, 2, 2, 3, 3]
        );
        assert!((spectrum.kept(2) - 13.0 / 14.0).abs() < 1e-15);
        assert_eq!((spectrum.kept(3), spectrum.kept(9)), (1.0, 1.0));
        let nothing = of(&[0.0, 0.0]);
        assert_eq!((nothing.rank_of_energy(0.9), nothing.kept(1)), (0, 1.0));
        // Noise of rounding is no part of all.
        assert_eq!(of(&[1.0, 1e-8]).rank_of_energy(1.0), 1);
    }
}

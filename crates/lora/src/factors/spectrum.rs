//! What the singular values of an update say of it.

/// What is left is noise of the factors' f32.
const ROUNDING: f64 = 1e-12;

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

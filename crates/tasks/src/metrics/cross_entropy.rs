//! What the loss of a classification is, number by number: the reference that the loss on tensors is tested against, and
//! the weights of classes.

/// The sum of the losses and what it is divided by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropy {
    pub sum: f64,
    /// The weights of the targets' classes: the number of targets where there are no weights.
    pub divisor: f64,
}

impl CrossEntropy {
    pub fn mean(&self) -> f64 {
        self.sum / self.divisor
    }
}

/// `torch.nn.CrossEntropyLoss(weight, label_smoothing)`. With p the probabilities, w the weights (1 without), y the target
/// of a row, C the number of classes and e the smoothing, a row's loss is `-(1 - e) w_y ln p_y - e / C sum_c w_c ln p_c`;
/// `reduction="mean"` divides the sum by that of `w_y`, smoothed or not.
pub fn cross_entropy<'a>(
    rows: impl IntoIterator<Item = (&'a [f64], usize)>,
    weights: Option<&[f64]>,
    label_smoothing: f64,
) -> CrossEntropy {
    let weight = |class: usize| weights.map_or(1.0, |weights| weights[class]);
    let mut total = CrossEntropy { sum: 0.0, divisor: 0.0 };
    for (logits, target) in rows {
        let log_sum = log_sum_exp(logits);
        let loss = |class: usize| weight(class) * (log_sum - logits[class]);
        let spread = (0..logits.len()).map(loss).sum::<f64>() / logits.len() as f64;
        total.sum += (1.0 - label_smoothing) * loss(target) + label_smoothing * spread;
        total.divisor += weight(target);
    }
    total
}

pub(super) fn log_sum_exp(logits: &[f64]) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + logits.iter().map(|logit| (logit - largest).exp()).sum::<f64>().ln()
}

/// `compute_class_weight("balanced")` of scikit-learn: examples over classes times the class's examples. A class without
/// examples has no weight there; here 1, for it weighs nothing in a mean.
pub fn balanced_weights(examples: &[usize]) -> Vec<f64> {
    let total: usize = examples.iter().sum();
    let occurring = examples.iter().filter(|count| **count > 0).count();
    let weight = |count: &usize| if *count == 0 { 1.0 } else { total as f64 / (occurring * count) as f64 };
    examples.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [[f64; 3]; 4] = [[1.0, -0.5, 2.0], [0.2, 0.3, -1.0], [3.0, 1.0, 0.5], [-1.0, 0.0, 1.0]];
    const TARGETS: [usize; 4] = [2, 0, 1, 1];
    const WEIGHTS: [f64; 3] = [0.5, 2.0, 1.25];

    fn loss(weights: Option<&[f64]>, label_smoothing: f64) -> CrossEntropy {
        cross_entropy(LOGITS.iter().map(|row| &row[..]).zip(TARGETS), weights, label_smoothing)
    }

    #[test]
    fn losses_are_those_of_the_formula() {
        // numpy, by the formula in PyTorch's documentation of CrossEntropyLoss
        for (weights, smoothing, sum, mean) in [
            (None, 0.0, 4.853_996_457_354_761, 1.213_499_114_338_690_2),
            (None, 0.1, 4.957_329_790_688_094, 1.239_332_447_672_023_6),
            (Some(&WEIGHTS[..]), 0.0, 8.112_162_594_612_888, 1.410_810_886_019_632_7),
            (Some(&WEIGHTS[..]), 0.1, 8.096_862_558_987_612, 1.408_150_010_258_715),
        ] {
            let found = loss(weights, smoothing);
            assert!((found.sum - sum).abs() < 1e-12 && (found.mean() - mean).abs() < 1e-12, "{found:?}");
        }
        assert_eq!(loss(Some(&WEIGHTS), 0.1).divisor, 1.25 + 0.5 + 2.0 + 2.0);
    }

    #[test]
    fn balanced_weights_are_those_of_scikit_learn() {
        // compute_class_weight("balanced", classes=[0, 1, 2], y=[0] * 5 + [1] * 3 + [2] * 2)
        let found = balanced_weights(&[5, 3, 2]);
        let expected = [0.666_666_666_666_666_6, 1.111_111_111_111_111_2, 1.666_666_666_666_666_7];
        assert!(found.iter().zip(expected).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{found:?}");
        assert_eq!(balanced_weights(&[4, 0, 4]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn large_logits_do_not_overflow() {
        assert_eq!(log_sum_exp(&[1000.0, 1000.0]), 1000.0 + 2.0_f64.ln());
    }
}

//! What the model itself gives to tokens: the logarithms of its probabilities before temperature, penalties and choice, as
//! `logprobs` of OpenAI's API and `raw_logprobs` of vLLM are.

use std::cmp::Ordering;

/// Natural logarithms of probabilities, for one new token.
#[derive(Debug, Clone, PartialEq)]
pub struct LogProbabilities {
    pub chosen: f64,
    /// The most probable tokens, the first the most; of equally probable ones the lowest ids first.
    pub top: Vec<(u32, f64)>,
}

impl LogProbabilities {
    /// Of the token `chosen` and of the `count` most probable ones. Logits are finite.
    pub(crate) fn new(logits: &[f32], chosen: u32, count: usize) -> Self {
        let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let total = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum::<f64>().ln();
        let value = |logit: f32| f64::from(logit) - largest - total;
        let top = most_probable(logits, count).into_iter().map(|(id, logit)| (id, value(logit))).collect();
        Self { chosen: value(logits[chosen as usize]), top }
    }
}

fn most_probable(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let count = count.min(logits.len());
    if count == 0 {
        return Vec::new();
    }
    let mut ranked: Vec<(u32, f32)> = logits.iter().enumerate().map(|(id, logit)| (id as u32, *logit)).collect();
    ranked.select_nth_unstable_by(count - 1, by_rank);
    ranked.truncate(count);
    ranked.sort_unstable_by(by_rank);
    ranked
}

fn by_rank(a: &(u32, f32), b: &(u32, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_computed_by_hand() {
        // Of 8, 4, 2, 1 and 1 sixteenths.
        let logits = [1.0, 8.0, 4.0, 1.0, 2.0_f32].map(f32::ln);
        let found = LogProbabilities::new(&logits, 4, 4);
        let expected = [(1, 8.0), (2, 4.0), (4, 2.0), (0, 1.0)].map(|(id, part): (u32, f64)| (id, (part / 16.0).ln()));
        // The logits are logarithms rounded to f32.
        assert!((found.chosen - 0.125_f64.ln()).abs() < 1e-6, "{found:?}");
        assert_eq!(found.top.len(), 4);
        for ((id, value), (expected_id, expected)) in found.top.iter().zip(expected) {
            assert!(*id == expected_id && (value - expected).abs() < 1e-6, "{found:?}");
        }
    }

    #[test]
    fn probabilities_of_all_tokens_add_up_to_one_however_large_the_logits() {
        let logits: Vec<f32> = (0..300).map(|id| 1000.0 - (id % 7) as f32).collect();
        let found = LogProbabilities::new(&logits, 299, 400);
        let total: f64 = found.top.iter().map(|(_, value)| value.exp()).sum();
        assert!(found.top.len() == 300 && (total - 1.0).abs() < 1e-12, "{total}");
        assert_eq!(found.top[..2].iter().map(|(id, _)| *id).collect::<Vec<_>>(), [0, 7], "equals by their ids");
        assert!(LogProbabilities::new(&logits, 0, 0).top.is_empty());
    }
}

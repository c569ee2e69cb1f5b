//! What is done to logits before a token is chosen: biases, the repetition penalty of Transformers, and the penalties of
//! OpenAI's API, in the order of vLLM's sampler. Logits stay f32, so that two scores tie here when they tie there.

use std::borrow::Cow;
use std::collections::HashMap;

use super::Sampling;

impl Sampling {
    /// The scores of the tokens that may follow `prompt` and what was written after it. Ids beyond the logits are skipped.
    pub(super) fn penalised<'a>(&self, logits: &'a [f32], prompt: &[u32], written: &[u32]) -> Cow<'a, [f32]> {
        let biased = self.biased(logits);
        let repeated = self.less_repeated(biased, prompt, written);
        self.less_frequent(repeated, written)
    }

    fn biased<'a>(&self, logits: &'a [f32]) -> Cow<'a, [f32]> {
        if self.logit_bias.is_empty() {
            return Cow::Borrowed(logits);
        }
        let mut scores = logits.to_vec();
        for (id, bias) in &self.logit_bias {
            if let Some(score) = scores.get_mut(*id as usize) {
                *score += *bias as f32;
            }
        }
        Cow::Owned(scores)
    }

    fn less_repeated<'a>(&self, logits: Cow<'a, [f32]>, prompt: &[u32], written: &[u32]) -> Cow<'a, [f32]> {
        let penalty = self.repetition_penalty as f32;
        if penalty == 1.0 {
            return logits;
        }
        let mut scores = logits.to_vec();
        for id in prompt.iter().chain(written) {
            // From `logits`, since a token that occurred several times is penalised once.
            if let Some(logit) = logits.get(*id as usize) {
                scores[*id as usize] = if *logit < 0.0 { logit * penalty } else { logit / penalty };
            }
        }
        Cow::Owned(scores)
    }

    fn less_frequent<'a>(&self, logits: Cow<'a, [f32]>, written: &[u32]) -> Cow<'a, [f32]> {
        let (frequency, presence) = (self.frequency_penalty as f32, self.presence_penalty as f32);
        if frequency == 0.0 && presence == 0.0 {
            return logits;
        }
        let mut counts: HashMap<u32, u32> = HashMap::new();
        written.iter().for_each(|id| *counts.entry(*id).or_default() += 1);
        let mut scores = logits.into_owned();
        for (id, count) in counts {
            if let Some(score) = scores.get_mut(id as usize) {
                *score -= frequency * count as f32;
                *score -= presence;
            }
        }
        Cow::Owned(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(sampling: &Sampling, logits: &[f32], prompt: &[u32], written: &[u32]) -> Vec<f32> {
        sampling.penalised(logits, prompt, written).into_owned()
    }

    #[test]
    fn a_written_token_loses_the_presence_penalty_once_and_the_frequency_penalty_each_time() {
        // mu[j] - c[j] * alpha_frequency - float(c[j] > 0) * alpha_presence, as OpenAI's documentation has it.
        let sampling = Sampling { frequency_penalty: 0.5, presence_penalty: 0.25, ..Sampling::default() };
        let (logits, written) = ([1.0, -2.0, 3.0, 0.5], [2, 1, 2, 2, 40]);
        assert_eq!(scores(&sampling, &logits, &[0, 3], &written), [1.0, -2.75, 1.25, 0.5]);
        let more_likely = Sampling { frequency_penalty: -0.5, presence_penalty: -0.25, ..Sampling::default() };
        assert_eq!(scores(&more_likely, &logits, &[], &written), [1.0, -1.25, 4.75, 0.5]);
    }

    #[test]
    fn only_the_repetition_penalty_looks_at_the_prompt() {
        let sampling =
            Sampling { repetition_penalty: 2.0, frequency_penalty: 0.5, presence_penalty: 1.0, ..Sampling::default() };
        // 4 / 2; 4 / 2 - 0.5 - 1; -1 * 2 - 2 * 0.5 - 1.
        assert_eq!(scores(&sampling, &[4.0, 4.0, -1.0, 4.0], &[0], &[1, 2, 2]), [2.0, 0.5, -4.0, 4.0]);
    }

    #[test]
    fn biases_are_added_before_the_penalties() {
        let biased = Sampling { logit_bias: vec![(1, -100.0), (2, 3.5), (40, 1.0)], ..Sampling::default() };
        assert_eq!(scores(&biased, &[1.0, 2.0, -1.5], &[], &[]), [1.0, -98.0, 2.0]);
        let halved = Sampling { repetition_penalty: 2.0, ..biased };
        assert_eq!(scores(&halved, &[1.0, 2.0, -1.5], &[2], &[]), [1.0, -98.0, 1.0]);
        assert_eq!(halved.choose(&[1.0, 2.0, -1.5], &[], &[], 0), Ok(2));
    }
}

//! How a token is chosen from one row of logits. The steps, their order and their definitions are those of Transformers'
//! `RepetitionPenaltyLogitsProcessor`, `TemperatureLogitsWarper`, `TopKLogitsWarper`, `TopPLogitsWarper` and
//! `MinPLogitsWarper`; probabilities are computed in f64 where Transformers computes them in f32. What OpenAI's API has
//! beside these is in `penalties`, and `log_probabilities` are the model's own, before any of it. No generator is kept: a
//! random number is a hash of (seed, row, token), so a text does not depend on what else is generated beside it.

mod log_probabilities;
mod penalties;

use std::cmp::Ordering;
use std::ops::RangeInclusive;

use kernels::{mix, uniform};

pub use log_probabilities::LogProbabilities;

/// Of the frequency and the presence penalty, as OpenAI's API bounds them.
const PENALTIES: RangeInclusive<f64> = -2.0..=2.0;

/// Of biases, likewise.
const BIASES: RangeInclusive<f64> = -100.0..=100.0;

#[derive(Debug, Clone, PartialEq, thiserror::Error, miette::Diagnostic)]
pub enum SamplingError {
    #[error("the temperature is {value}, expected 0 or more")]
    #[diagnostic(help("0 always takes the most probable token, 1 draws from the model's own distribution"))]
    Temperature { value: f64 },
    #[error("top-k is 0, expected 1 or more")]
    #[diagnostic(help("leave it out to draw from all tokens"))]
    TopK,
    #[error("top-p is {value}, expected a number above 0, at most 1")]
    #[diagnostic(help("0.9 draws from the most probable tokens that have 90 % of the probability; 1 from all"))]
    TopP { value: f64 },
    #[error("min-p is {value}, expected a number from 0 to 1")]
    #[diagnostic(help("0.05 leaves out tokens less than 5 % as probable as the most probable one; 0 leaves out none"))]
    MinP { value: f64 },
    #[error("the repetition penalty is {value}, expected a number above 0")]
    #[diagnostic(help("1 is none, above 1 makes tokens that occurred less likely, below 1 more likely"))]
    RepetitionPenalty { value: f64 },
    #[error("the {name} penalty is {value}, expected a number from -2 to 2")]
    #[diagnostic(help("0 is none, above 0 makes tokens that were written before less likely, below 0 more likely"))]
    Penalty { name: &'static str, value: f64 },
    #[error("the bias of token {token} is {value}, expected a number from -100 to 100")]
    #[diagnostic(help("-100 keeps a token out, 100 leaves hardly any other"))]
    LogitBias { token: u32, value: f64 },
    #[error("new token {token} of text {row} cannot be chosen: the model's logits are not finite numbers")]
    #[diagnostic(help(
        "the weights of the model or of its adapter are damaged, or their values overflow the type they are computed in"
    ))]
    NotFinite { row: u64, token: u64 },
    #[error("new token {token} of text {row} cannot be chosen: none of the model's logits is a finite number")]
    #[diagnostic(help(
        "the weights of the model or of its adapter are damaged, or their values overflow the type they are computed in"
    ))]
    NothingToChoose { row: u64, token: u64 },
}

/// How tokens are chosen. The default takes the most probable token each time.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it. At 0 the most probable token is taken, and `top_k`, `top_p` and `min_p` have no effect.
    pub temperature: f64,
    /// Only the `top_k` most probable tokens; more where the last of them is as probable as others.
    pub top_k: Option<usize>,
    /// Only the smallest set of most probable tokens whose probabilities add up to `top_p` or more.
    pub top_p: Option<f64>,
    /// Only tokens at least `min_p` times as probable as the most probable one.
    pub min_p: Option<f64>,
    /// Of tokens that occurred before, positive logits are divided by it and negative ones multiplied; 1 is none.
    pub repetition_penalty: f64,
    /// Taken from the logit of a token once for each time that it was written; tokens of the prompt do not count. OpenAI's
    /// `frequency_penalty`.
    pub frequency_penalty: f64,
    /// Taken from the logit of each token that was written, however often. OpenAI's `presence_penalty`.
    pub presence_penalty: f64,
    /// Added to the logits of these tokens, before all else: OpenAI's `logit_bias`.
    pub logit_bias: Vec<(u32, f64)>,
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 42,
        }
    }
}

/// A token that may be drawn, with its probability up to a common factor.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    id: u32,
    weight: f64,
}

impl Sampling {
    pub fn check(&self) -> Result<(), SamplingError> {
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return Err(SamplingError::Temperature { value: self.temperature });
        }
        if self.top_k == Some(0) {
            return Err(SamplingError::TopK);
        }
        if let Some(value) = self.top_p.filter(|top_p| !(*top_p > 0.0 && *top_p <= 1.0)) {
            return Err(SamplingError::TopP { value });
        }
        if let Some(value) = self.min_p.filter(|min_p| !(0.0..=1.0).contains(min_p)) {
            return Err(SamplingError::MinP { value });
        }
        if !self.repetition_penalty.is_finite() || self.repetition_penalty <= 0.0 {
            return Err(SamplingError::RepetitionPenalty { value: self.repetition_penalty });
        }
        for (name, value) in [("frequency", self.frequency_penalty), ("presence", self.presence_penalty)] {
            if !PENALTIES.contains(&value) {
                return Err(SamplingError::Penalty { name, value });
            }
        }
        match self.logit_bias.iter().find(|(_, bias)| !BIASES.contains(bias)) {
            Some((token, value)) => Err(SamplingError::LogitBias { token: *token, value: *value }),
            None => Ok(()),
        }
    }

    /// The id of the token that follows the ids of the prompt and those written after it; ids beyond the logits are skipped.
    /// `row` is the text's number. Of equally probable tokens the lowest ids come first. A logit that is not finite stands for
    /// a token that cannot be chosen.
    ///
    /// # Errors
    /// `NothingToChoose` if no logit is finite.
    pub fn choose(&self, logits: &[f32], prompt: &[u32], written: &[u32], row: u64) -> Result<u32, SamplingError> {
        let token = written.len() as u64;
        let scores = self.penalised(logits, prompt, written);
        let chosen = if self.temperature == 0.0 {
            most_probable(&scores)
        } else {
            draw(&self.kept(&scores), uniform(mix(mix(self.seed) ^ row), token))
        };
        chosen.ok_or(SamplingError::NothingToChoose { row, token })
    }

    /// The tokens that may be drawn, in the order of their ids.
    fn kept(&self, scores: &[f32]) -> Vec<Candidate> {
        let mut finite: Vec<(u32, f32)> =
            scores.iter().enumerate().filter(|(_, score)| score.is_finite()).map(|(id, s)| (id as u32, *s)).collect();
        if let Some(top_k) = self.top_k {
            keep_largest(&mut finite, top_k);
        }
        let largest = finite.iter().map(|(_, score)| *score).fold(f32::NEG_INFINITY, f32::max);
        // In f64 and divided after the subtraction, so that no temperature, however small, gives infinity less infinity.
        let weight = |score: f32| ((f64::from(score) - f64::from(largest)) / self.temperature).exp();
        let mut kept: Vec<Candidate> =
            finite.into_iter().map(|(id, score)| Candidate { id, weight: weight(score) }).collect();
        if let Some(top_p) = self.top_p.filter(|top_p| *top_p < 1.0) {
            keep_mass(&mut kept, top_p);
        }
        // The most probable token has the weight 1, hence is never left out here.
        let min_p = self.min_p.unwrap_or(0.0);
        kept.retain(|candidate| candidate.weight >= min_p && candidate.weight > 0.0);
        kept
    }
}

fn most_probable(scores: &[f32]) -> Option<u32> {
    let finite = scores.iter().enumerate().filter(|(_, score)| score.is_finite());
    // `>` and not `>=`: the first of equals.
    finite.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(id, _)| id as u32)
}

/// Leaves the `count` largest scores, and those that equal the least of them.
fn keep_largest(scores: &mut Vec<(u32, f32)>, count: usize) {
    if count == 0 || count >= scores.len() {
        return;
    }
    let mut values: Vec<f32> = scores.iter().map(|(_, score)| *score).collect();
    let (_, least, _) = values.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a));
    let least = *least;
    scores.retain(|(_, score)| *score >= least);
}

/// Leaves the most probable candidates, up to the one with which they reach the share `top_p`.
///
/// They are ranked in blocks that grow, since as a rule a few dozen of a hundred thousand tokens have nearly all of the
/// probability.
fn keep_mass(candidates: &mut Vec<Candidate>, top_p: f64) {
    let wanted = top_p * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    let (mut ranked, mut block, mut mass) = (0, 64, 0.0);
    while ranked < candidates.len() && mass < wanted {
        let rest = &mut candidates[ranked..];
        if block < rest.len() {
            rest.select_nth_unstable_by(block - 1, by_rank);
        }
        let block_end = block.min(rest.len());
        rest[..block_end].sort_unstable_by(by_rank);
        for candidate in &rest[..block_end] {
            if mass >= wanted {
                break;
            }
            mass += candidate.weight;
            ranked += 1;
        }
        block *= 8;
    }
    candidates.truncate(ranked);
    candidates.sort_unstable_by_key(|candidate| candidate.id);
}

fn by_rank(a: &Candidate, b: &Candidate) -> Ordering {
    b.weight.total_cmp(&a.weight).then(a.id.cmp(&b.id))
}

/// The candidate in whose part of the total weight `at`, from (0, 1), lies. The parts are laid out by id and not by rank:
/// logits that differ in their last bits, as those of another batch size do, move each bound a little, where two nearly
/// equal tokens would change places in a ranking.
fn draw(candidates: &[Candidate], at: f64) -> Option<u32> {
    let mut left = at * candidates.iter().map(|candidate| candidate.weight).sum::<f64>();
    let chosen = candidates.iter().find(|candidate| {
        left -= candidate.weight;
        left < 0.0
    });
    // The last one where rounding leaves a remainder.
    chosen.or(candidates.last()).map(|candidate| candidate.id)
}

#[cfg(test)]
mod tests;

//! Scores of generated texts against references: exact match, BLEU, ROUGE-L.
//!
//! They are counted here and not by burn's `BleuScore` and `RougeLScore`: those average BLEU over batches where the usual
//! figure is one score of the whole corpus, know one reference per text, and read padded tensors of ids. A text and its
//! references are enough for what is here; a score does not depend on a tokenizer of the model.

mod bleu;
mod rouge;

use super::interval::{Interval, bootstrap, of_mean, wilson};
use super::{Better, Score, Span};

pub static EXACT_MATCH: Score = Score {
    key: "exact_match",
    name: "exact match",
    span: Span::Share,
    better: Better::Higher,
    hub: Some("exact_match"),
};
pub static BLEU: Score =
    Score { key: "bleu", name: "BLEU", span: Span::Hundred, better: Better::Higher, hub: Some("sacrebleu") };
pub static ROUGE_L: Score =
    Score { key: "rouge_l", name: "ROUGE-L", span: Span::Share, better: Better::Higher, hub: Some("rouge") };

/// A text and what it might have been, at least one.
#[derive(Debug, Clone, Copy)]
pub struct Generated<'a> {
    pub text: &'a str,
    pub references: &'a [String],
}

/// Each on the scale of the program that it is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GenerationScores {
    /// The share of texts that equal one of their references, white space at the ends aside: 0 to 1.
    pub exact_match: f64,
    /// Corpus BLEU as sacreBLEU computes it: 0 to 100.
    pub bleu: f64,
    /// The texts' mean ROUGE-L F-measure, as rouge_score's: 0 to 1.
    pub rouge_l: f64,
}

impl GenerationScores {
    /// In the order of [`Self::scores`].
    pub const ALL: [&'static Score; 3] = [&EXACT_MATCH, &BLEU, &ROUGE_L];

    /// All of them are 0 if there are no texts.
    pub fn of(generated: &[Generated<'_>]) -> Self {
        let mean =
            |score: fn(&Generated<'_>) -> f64| generated.iter().map(score).sum::<f64>() / generated.len().max(1) as f64;
        Self { exact_match: mean(exact_match), bleu: bleu::corpus_bleu(generated), rouge_l: mean(rouge::rouge_l) }
    }
}

impl GenerationScores {
    /// 95 % intervals, in the order of [`Self::scores`]: Wilson's for the exact matches, a bootstrap over the texts for BLEU,
    /// and the normal approximation for ROUGE-L, which is a mean.
    pub fn intervals(generated: &[Generated<'_>]) -> [Option<Interval>; 3] {
        let scores = Self::of(generated);
        let by_text = bleu::ByText::new(generated);
        let rouge: Vec<f64> = generated.iter().map(rouge::rouge_l).collect();
        [
            wilson(scores.exact_match, generated.len()),
            bootstrap(generated.len(), generated.len() * 10, |texts| by_text.bleu(texts)),
            of_mean(&rouge).map(|(low, high)| (low.max(0.0), high.min(1.0))),
        ]
    }

    pub fn scores(&self) -> [(&'static Score, f64); 3] {
        let values = [self.exact_match, self.bleu, self.rouge_l];
        std::array::from_fn(|n| (Self::ALL[n], values[n]))
    }
}

fn exact_match(generated: &Generated<'_>) -> f64 {
    let text = generated.text.trim();
    // Completions often begin with the space that parts them from their prompt.
    f64::from(generated.references.iter().any(|reference| reference.trim() == text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts with their references.
    type Corpus = &'static [(&'static str, &'static [&'static str])];

    /// With each corpus sacreBLEU 2.6.0's `corpus_bleu(..).score` and rouge_score 0.1.2's mean of
    /// `RougeScorer(["rougeL"]).score_multi(..)["rougeL"].fmeasure`.
    const CORPORA: &[(Corpus, f64, f64)] = &[
        (
            &[
                ("The cat is on the mat.", &["The cat sat on the mat."]),
                ("It's raining (again) in New-York, isn't it?", &["It is raining again in New York, isn't it?"]),
                ("He paid $1,234.50 for 3-4 items &amp; left.", &["He paid $1,234.50 for 3-4 items & left."]),
            ],
            64.188_085_114_051_38,
            0.895_238_095_238_095_3,
        ),
        // An empty text, and the brevity penalty.
        (
            &[
                ("the quick brown fox", &["the quick red fox"]),
                ("", &["an answer was expected"]),
                ("jumps over the lazy dog today", &["jumps over the lazy dog"]),
            ],
            44.049_314_947_917_736,
            0.553_030_303_030_303_1,
        ),
        // Two references.
        (
            &[
                (
                    "a restaurant near the river serves cheap Italian food",
                    &[
                        "there is a cheap Italian restaurant near the river",
                        "near the river a restaurant serves cheap Italian food",
                    ],
                ),
                (
                    "The Mill is a pub.",
                    &["The Mill is a family friendly pub near the centre.", "A pub called The Mill."],
                ),
            ],
            61.153_805_769_010_226,
            0.722_222_222_222_222_2,
        ),
        // One reference here, two there, and letters beyond ASCII.
        (
            &[
                ("Über 3.5% – naïve café; e.g. A.B. “quoted”..", &["Über 3,5% – naive café: e.g. A.B. “quoted”."]),
                ("x=1,y=2.\nz -\nend <skipped>!", &["x = 1, y = 2. z end!", "x is 1"]),
            ],
            72.949_134_651_617_78,
            0.890_109_890_109_890_1,
        ),
        // No 3-gram and no 4-gram in common: smoothed.
        (&[("a cat ate the fish today", &["the cat ate a fish yesterday"])], 20.412_414_523_193_146, 0.5),
        // No text of four words: 0, however right the texts are.
        (&[("yes", &["yes"]), ("no", &["yes"])], 0.0, 0.5),
        (&[("one two three", &["one two three"])], 0.0, 1.0),
        // Nothing in common is not smoothed.
        (&[("nothing in common here at all", &["completely different words follow instead"])], 0.0, 0.0),
    ];

    fn scores(corpus: Corpus) -> GenerationScores {
        let references: Vec<Vec<String>> =
            corpus.iter().map(|(_, references)| references.iter().map(ToString::to_string).collect()).collect();
        let generated: Vec<Generated<'_>> =
            corpus.iter().zip(&references).map(|((text, _), references)| Generated { text, references }).collect();
        GenerationScores::of(&generated)
    }

    #[test]
    fn bleu_and_rouge_l_are_those_of_sacrebleu_and_rouge_score() {
        for (corpus, bleu, rouge_l) in CORPORA {
            let scores = scores(corpus);
            assert!((scores.bleu - bleu).abs() < 1e-9, "{corpus:?}: BLEU {}, expected {bleu}", scores.bleu);
            assert!((scores.rouge_l - rouge_l).abs() < 1e-12, "{corpus:?}: {}, expected {rouge_l}", scores.rouge_l);
        }
    }

    #[test]
    fn an_exact_match_equals_any_reference_but_for_the_ends() {
        let corpus: Corpus =
            &[(" yes\n", &["no", "yes"]), ("yes", &[" yes"]), ("Yes", &["yes"]), ("", &["a"]), ("a  b", &["a b"])];
        assert_eq!(scores(corpus).exact_match, 0.4);
    }

    #[test]
    fn no_texts_have_no_score() {
        assert_eq!(scores(&[]), GenerationScores { exact_match: 0.0, bleu: 0.0, rouge_l: 0.0 });
    }
}

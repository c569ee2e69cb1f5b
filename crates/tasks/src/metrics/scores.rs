//! The scores of a classification over a whole file, from its confusion matrix: what is logged, compared and reported.

use std::fmt;

use burn::tensor::TensorReadError;
use burn::train::metric::ConfusionStatsInput;
use serde::{Deserialize, Serialize};

use super::GenerationScores;

/// By what the best adapter is chosen; `auto`: accuracy, ties by loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Best {
    Auto,
    Accuracy,
    Loss,
    F1Macro,
    Matthews,
}

impl Best {
    pub const NAMES: &[&str] = &["auto", "accuracy", "loss", "f1_macro", "matthews"];
}

impl fmt::Display for Best {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::F1Macro => "f1_macro",
            Self::Matthews => "matthews",
        })
    }
}

/// Counts of (true class, predicted class).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

/// How often a class was right, how often the data says it, and how often the model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfClass {
    pub correct: u64,
    pub examples: u64,
    pub predicted: u64,
}

/// What an evaluation comes to, as it stands in files.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scores {
    Classification(ClassificationScores),
    Language(LanguageScores),
}

/// As scikit-learn defines them: `accuracy_score`, `f1_score(average="macro")`, `matthews_corrcoef`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ClassificationScores {
    /// Mean over all targets.
    pub loss: f64,
    pub accuracy: f64,
    pub f1_macro: f64,
    pub matthews: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LanguageScores {
    /// Mean over all targets, in nats.
    pub loss: f64,
    /// `exp(loss)`
    pub perplexity: f64,
    /// The share of targets whose most probable token is the right one.
    pub token_accuracy: f64,
    /// Of answers that were written, where some were.
    #[serde(flatten)]
    pub generated: Option<GenerationScores>,
}

impl Scores {
    pub fn of_tokens(loss: f64, token_accuracy: f64) -> Self {
        Self::Language(LanguageScores { loss, perplexity: loss.exp(), token_accuracy, generated: None })
    }

    /// With those of answers that a language model wrote.
    pub fn with_generated(self, scores: GenerationScores) -> Self {
        match self {
            Self::Language(language) => Self::Language(LanguageScores { generated: Some(scores), ..language }),
            Self::Classification(_) => self,
        }
    }

    pub fn loss(&self) -> f64 {
        match self {
            Self::Classification(scores) => scores.loss,
            Self::Language(scores) => scores.loss,
        }
    }

    /// All of them with their names, for people.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        match self {
            Self::Classification(scores) => vec![
                ("loss", scores.loss),
                ("accuracy", scores.accuracy),
                ("F1 macro", scores.f1_macro),
                ("Matthews", scores.matthews),
            ],
            Self::Language(scores) => {
                let mut named = vec![
                    ("loss", scores.loss),
                    ("perplexity", scores.perplexity),
                    ("token accuracy", scores.token_accuracy),
                ];
                if let Some(generated) = &scores.generated {
                    named.extend(generated.named());
                }
                named
            }
        }
    }

    /// By the criterion with ties by loss; of equals the earlier stays.
    pub fn is_better(&self, best: Option<&Self>, criterion: Best) -> bool {
        let Some(best) = best else { return true };
        let (now, then) = (self.merit(criterion), best.merit(criterion));
        now > then || (now == then && self.loss() < best.loss())
    }

    /// What is compared to find the best, the larger the better.
    pub fn merit(&self, criterion: Best) -> f64 {
        match (self, criterion) {
            (_, Best::Loss) | (Self::Language(_), _) => -self.loss(),
            (Self::Classification(scores), Best::Auto | Best::Accuracy) => scores.accuracy,
            (Self::Classification(scores), Best::F1Macro) => scores.f1_macro,
            (Self::Classification(scores), Best::Matthews) => scores.matthews,
        }
    }
}

/// The values that a score can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// 0 to 1.
    Share,
    /// 0 to 100.
    Hundred,
    /// -1 to 1.
    Correlation,
    /// No end on one side or on both.
    Open,
}

/// Of the score that [`Scores::named`] calls so.
pub fn span(name: &str) -> Span {
    match name {
        "accuracy" | "F1 macro" | "token accuracy" | "exact match" | "ROUGE-L" => Span::Share,
        "BLEU" => Span::Hundred,
        "Matthews" => Span::Correlation,
        _ => Span::Open,
    }
}

/// `loss 0.4100, accuracy 0.9000, F1 macro 0.8900, Matthews 0.8000`
impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.named().iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        f.write_str(&shown.join(", "))
    }
}

impl Confusion {
    pub fn new(classes: usize) -> Self {
        Self { classes, counts: vec![0; classes * classes] }
    }

    pub fn add(&mut self, target: usize, predicted: usize) {
        self.counts[target * self.classes + predicted] += 1;
    }

    /// Of one batch, as burn hands it to its metrics.
    pub(super) fn of(batch: &ConfusionStatsInput, classes: usize) -> Result<Self, TensorReadError> {
        let predicted = batch.predictions.clone().argmax(1).try_into_vec_as::<i64>()?;
        let targets = batch.targets.clone().int().argmax(1).try_into_vec_as::<i64>()?;
        let mut confusion = Self::new(classes);
        for (target, predicted) in targets.into_iter().zip(predicted) {
            confusion.add(target as usize, predicted as usize);
        }
        Ok(confusion)
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
    }

    pub fn rows(&self) -> impl Iterator<Item = &[u64]> {
        self.counts.chunks(self.classes)
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The counts that the scores of a class are made of.
    pub fn class(&self, class: usize) -> OfClass {
        let count = |of: &dyn Fn(usize) -> usize| (0..self.classes).map(|other| self.counts[of(other)]).sum();
        OfClass {
            correct: self.counts[class * self.classes + class],
            examples: count(&|predicted| class * self.classes + predicted),
            predicted: count(&|truth| truth * self.classes + class),
        }
    }

    fn correct(&self, class: usize) -> f64 {
        self.counts[class * self.classes + class] as f64
    }

    fn of_class(&self, class: usize) -> f64 {
        self.counts[class * self.classes..][..self.classes].iter().sum::<u64>() as f64
    }

    fn predicted(&self, class: usize) -> f64 {
        self.counts.iter().skip(class).step_by(self.classes).sum::<u64>() as f64
    }

    pub fn accuracy(&self) -> f64 {
        let correct: f64 = (0..self.classes).map(|class| self.correct(class)).sum();
        ratio(correct, self.total() as f64)
    }

    /// The mean of the classes' F1. A class that neither occurs nor is predicted is left out, as in scikit-learn, which
    /// sees only the labels that occur.
    pub fn f1_macro(&self) -> f64 {
        let scores: Vec<f64> = (0..self.classes)
            .map(|class| (2.0 * self.correct(class), self.of_class(class) + self.predicted(class)))
            .filter(|(_, counted)| *counted > 0.0)
            .map(|(twice_correct, counted)| twice_correct / counted)
            .collect();
        ratio(scores.iter().sum(), scores.len() as f64)
    }

    /// Gorodkin 2004, the correlation of predictions and truth for any number of classes; 0 where it is undefined.
    pub fn matthews(&self) -> f64 {
        let total = self.total() as f64;
        let correct: f64 = (0..self.classes).map(|class| self.correct(class)).sum();
        let sum = |f: &dyn Fn(usize) -> f64| (0..self.classes).map(f).sum::<f64>();
        let covariance = correct * total - sum(&|k| self.of_class(k) * self.predicted(k));
        let of_truth = total * total - sum(&|k| self.of_class(k).powi(2));
        let of_predictions = total * total - sum(&|k| self.predicted(k).powi(2));
        ratio(covariance, (of_truth * of_predictions).sqrt())
    }

    pub fn scores(&self, loss: f64) -> Scores {
        let (accuracy, f1_macro, matthews) = (self.accuracy(), self.f1_macro(), self.matthews());
        Scores::Classification(ClassificationScores { loss, accuracy, f1_macro, matthews })
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_scikit_learn() {
        let truth = [0, 1, 2, 2, 1, 0, 2, 1, 1, 0];
        let predicted = [0, 2, 2, 2, 1, 1, 2, 1, 0, 0];
        let mut confusion = Confusion::new(3);
        truth.iter().zip(predicted).for_each(|(t, p)| confusion.add(*t, p));
        // scikit-learn 1.9: accuracy_score, f1_score(average="macro"), matthews_corrcoef
        assert!((confusion.accuracy() - 0.7).abs() < 1e-12);
        assert!((confusion.f1_macro() - 0.698_412_698_412_698_4).abs() < 1e-12, "{}", confusion.f1_macro());
        assert!((confusion.matthews() - 0.560_606_060_606_060_6).abs() < 1e-12, "{}", confusion.matthews());
    }

    #[test]
    fn the_best_is_by_accuracy_then_loss_then_the_earlier() {
        let scores = |accuracy, loss| {
            Scores::Classification(ClassificationScores { loss, accuracy, f1_macro: 0.0, matthews: 0.0 })
        };
        let best = Some(&scores(0.8, 0.5)).copied();
        let is_better = |scores: Scores, criterion| scores.is_better(best.as_ref(), criterion);
        assert!(scores(0.1, 9.0).is_better(None, Best::Auto));
        assert!(is_better(scores(0.9, 0.9), Best::Auto));
        assert!(is_better(scores(0.8, 0.4), Best::Auto));
        assert!(!is_better(scores(0.8, 0.5), Best::Auto));
        assert!(!is_better(scores(0.7, 0.1), Best::Auto));
        assert!(is_better(scores(0.7, 0.1), Best::Loss));
    }

    #[test]
    fn every_score_of_a_share_is_known_as_one() {
        let generated = GenerationScores { exact_match: 0.0, bleu: 0.0, rouge_l: 0.0 };
        let all = [Confusion::new(2).scores(0.0), Scores::of_tokens(0.0, 0.0).with_generated(generated)];
        let open: Vec<&str> =
            all.iter().flat_map(Scores::named).map(|(name, _)| name).filter(|name| span(name) == Span::Open).collect();
        assert_eq!(open, ["loss", "loss", "perplexity"]);
        assert_eq!((span("BLEU"), span("Matthews")), (Span::Hundred, Span::Correlation));
    }

    #[test]
    fn scores_are_read_back_as_what_they_were() {
        let language = Scores::of_tokens(2.0, 0.5);
        let text = serde_json::to_string(&language).unwrap();
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), language);
        let classes = Confusion::new(2).scores(0.7);
        let text = serde_json::to_string(&classes).unwrap();
        assert_eq!(text, r#"{"loss":0.7,"accuracy":0.0,"f1_macro":0.0,"matthews":0.0}"#);
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), classes);
    }

    #[test]
    fn one_predicted_class_correlates_with_nothing_and_absent_classes_do_not_count() {
        let mut confusion = Confusion::new(4);
        confusion.add(0, 0);
        confusion.add(1, 0);
        assert_eq!(confusion.matthews(), 0.0);
        // F1 of class 0 is 2/3, of class 1 it is 0; classes 2 and 3 do not occur.
        assert!((confusion.f1_macro() - 1.0 / 3.0).abs() < 1e-12);
    }
}

//! What an evaluation comes to: what is logged, compared and reported.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::score::LOSS;
use super::{Best, GenerationScores, Score};

/// The loss and the scores of a task, which stand in files as an object: their keys with their values.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Mean over all targets.
    loss: f64,
    /// The first is the one that the task is judged by.
    others: Vec<(&'static Score, f64)>,
}

impl Scores {
    /// The first of `others` is the one by which the best model is chosen unless somebody says otherwise; it is the loss
    /// where that is [`LOSS`] or there is no other.
    pub fn new(loss: f64, others: impl IntoIterator<Item = (&'static Score, f64)>) -> Self {
        Self { loss, others: others.into_iter().collect() }
    }

    /// With those of answers that a language model wrote.
    pub fn with_generated(mut self, scores: GenerationScores) -> Self {
        self.others.extend(scores.scores());
        self
    }

    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// `None`: it is none of them.
    pub fn get(&self, score: &Score) -> Option<f64> {
        self.all().find(|(other, _)| *other == score).map(|(_, value)| value)
    }

    /// All of them with their values, the loss first.
    pub fn all(&self) -> impl Iterator<Item = (&'static Score, f64)> + '_ {
        std::iter::once((&LOSS, self.loss)).chain(self.others.iter().copied())
    }

    /// All of them with their names, for people.
    pub fn named(&self) -> Vec<(&'static str, f64)> {
        self.all().map(|(score, value)| (score.name, value)).collect()
    }

    /// By the criterion with ties by loss; of equals the earlier stays.
    pub fn is_better(&self, best: Option<&Self>, criterion: Best) -> bool {
        let Some(best) = best else { return true };
        let (now, then) = (self.merit(criterion), best.merit(criterion));
        now > then || (now == then && self.loss < best.loss)
    }

    /// What is compared to find the best, the larger the better.
    fn merit(&self, criterion: Best) -> f64 {
        let asked = criterion.score().and_then(|score| Some((score, self.get(score)?)));
        let auto = || self.others.first().copied().filter(|(score, _)| crate::registry::judges(score));
        let (score, value) = asked.or_else(auto).unwrap_or((&LOSS, self.loss));
        score.merit(value)
    }
}

/// `loss 0.4100, accuracy 0.9000, F1 macro 0.8900, Matthews 0.8000`
impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<String> = self.named().iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
        f.write_str(&shown.join(", "))
    }
}

impl Serialize for Scores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (score, value) in self.all() {
            map.serialize_entry(score.key, &value)?;
        }
        map.end()
    }
}

/// Keys that are no scores are passed over: a line of `metrics.jsonl` has others.
impl<'de> Deserialize<'de> for Scores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Of;
        impl<'de> Visitor<'de> for Of {
            type Value = Scores;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scores, A::Error> {
                let (mut loss, mut others) = (None, Vec::new());
                while let Some(key) = map.next_key::<String>()? {
                    match Score::of_key(&key) {
                        Some(score) if *score == LOSS => loss = Some(map.next_value()?),
                        Some(score) => others.push((score, map.next_value()?)),
                        None => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                let loss = loss.ok_or_else(|| serde::de::Error::missing_field(LOSS.key))?;
                Ok(Scores { loss, others })
            }
        }
        deserializer.deserialize_map(Of)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ACCURACY, Confusion, F1_MACRO, MATTHEWS, Span, TOKEN_ACCURACY, of_tokens};
    use super::*;

    fn generated() -> GenerationScores {
        GenerationScores { exact_match: 0.0, bleu: 0.0, rouge_l: 0.0 }
    }

    #[test]
    fn the_best_is_by_accuracy_then_loss_then_the_earlier() {
        let scores = |accuracy, loss| Scores::new(loss, [(&ACCURACY, accuracy), (&F1_MACRO, 0.0), (&MATTHEWS, 0.0)]);
        let best = scores(0.8, 0.5);
        let is_better = |scores: Scores, criterion| scores.is_better(Some(&best), criterion);
        let by_loss = Best::named("loss").unwrap();
        assert!(scores(0.1, 9.0).is_better(None, Best::AUTO));
        assert!(is_better(scores(0.9, 0.9), Best::AUTO));
        assert!(is_better(scores(0.8, 0.4), Best::AUTO));
        assert!(!is_better(scores(0.8, 0.5), Best::AUTO));
        assert!(!is_better(scores(0.7, 0.1), Best::AUTO));
        assert!(is_better(scores(0.7, 0.1), by_loss));
    }

    #[test]
    fn a_language_model_is_judged_by_its_loss() {
        let best = of_tokens(1.0, 0.9).with_generated(generated());
        assert!(of_tokens(0.9, 0.1).is_better(Some(&best), Best::AUTO));
        assert!(!of_tokens(1.1, 1.0).is_better(Some(&best), Best::AUTO));
    }

    #[test]
    fn every_score_of_a_share_is_known_as_one() {
        let all = [Confusion::new(2).scores(0.0), of_tokens(0.0, 0.0).with_generated(generated())];
        let open = all.iter().flat_map(Scores::all).filter(|(score, _)| score.span == Span::Open);
        assert_eq!(open.map(|(score, _)| score.name).collect::<Vec<_>>(), ["loss", "loss", "perplexity"]);
        let span = |name: &str| Score::of_name(name).map(|score| score.span);
        assert_eq!((span("BLEU"), span("Matthews")), (Some(Span::Hundred), Some(Span::Correlation)));
        assert_eq!(Score::of_key("token_accuracy"), Some(&TOKEN_ACCURACY));
    }

    #[test]
    fn scores_are_read_back_as_what_they_were() {
        let language = of_tokens(2.0, 0.5).with_generated(generated());
        let text = serde_json::to_string(&language).unwrap();
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), language);
        let classes = Confusion::new(2).scores(0.7);
        let text = serde_json::to_string(&classes).unwrap();
        assert_eq!(text, r#"{"loss":0.7,"accuracy":0.0,"f1_macro":0.0,"matthews":0.0}"#);
        assert_eq!(serde_json::from_str::<Scores>(&text).unwrap(), classes);
        assert!(serde_json::from_str::<Scores>(r#"{"accuracy":0.5}"#).is_err(), "there is a loss always");
    }

    #[test]
    fn the_names_of_what_can_be_chosen_by_stand_once() {
        assert_eq!(
            Best::NAMES,
            ["auto", "accuracy", "loss", "f1_macro", "matthews", "f1", "pearson", "spearman", "f1_micro", "f1_samples"]
        );
    }
}

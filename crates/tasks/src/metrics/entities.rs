//! Scores of entities over a whole file, as seqeval counts them in its default mode: an entity is right where its type, its
//! first and its last word are.

use data::tagging::TagSet;

use super::interval::{Interval, bootstrap};
use super::{Better, Score, Scores, Span, TOKEN_ACCURACY};

/// Of all entities together, "micro" as scikit-learn calls it.
pub static F1: Score = share("f1", "F1", "f1");
pub static PRECISION: Score = share("precision", "precision", "precision");
pub static RECALL: Score = share("recall", "recall", "recall");

const fn share(key: &'static str, name: &'static str, hub: &'static str) -> Score {
    Score { key, name, span: Span::Share, better: Better::Higher, hub: Some(hub) }
}

/// Of one type of entities, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Found {
    /// In the data and in the answers, those of the answers, and those of the data.
    pub correct: usize,
    pub predicted: usize,
    pub support: usize,
}

impl Found {
    pub fn precision(&self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    pub fn recall(&self) -> f64 {
        ratio(self.correct, self.support)
    }

    pub fn f1(&self) -> f64 {
        ratio(2 * self.correct, self.predicted + self.support)
    }

    fn add(&mut self, other: &Self) {
        self.correct += other.correct;
        self.predicted += other.predicted;
        self.support += other.support;
    }

    /// Whether the type occurs in the data or in the answers: seqeval knows no others.
    fn occurs(&self) -> bool {
        self.predicted + self.support > 0
    }
}

/// What was counted, sentence by sentence.
#[derive(Debug, Clone)]
pub struct EntityCounts {
    types: Vec<String>,
    /// Each sentence's, by type.
    sentences: Vec<Vec<(usize, Found)>>,
    words: usize,
    correct_words: usize,
}

/// Precision, recall and F1: over all entities, and the means of the types that occur.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntityScores {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub precision_macro: f64,
    pub recall_macro: f64,
    pub f1_macro: f64,
    /// The share of words with the right tag: `accuracy_score` of seqeval.
    pub token_accuracy: f64,
}

impl EntityScores {
    /// With the loss, the scores of an evaluation; [`F1`] comes first.
    pub fn scores(&self, loss: f64) -> Scores {
        let of_entities = [(&F1, self.f1), (&PRECISION, self.precision), (&RECALL, self.recall)];
        Scores::new(loss, of_entities.into_iter().chain([(&TOKEN_ACCURACY, self.token_accuracy)]))
    }
}

impl EntityCounts {
    pub fn new(tags: &TagSet) -> Self {
        Self { types: tags.types().to_vec(), sentences: Vec::new(), words: 0, correct_words: 0 }
    }

    /// Adds a sentence, by the classes of its words in the data and in the answers: as many of these as of those.
    pub fn add(&mut self, tags: &TagSet, truth: &[usize], predicted: &[usize]) {
        self.words += truth.len();
        self.correct_words += truth.iter().zip(predicted).filter(|(truth, predicted)| truth == predicted).count();
        let (truth, predicted) = (tags.spans(truth), tags.spans(predicted));
        let mut found = vec![Found::default(); self.types.len()];
        truth.iter().for_each(|span| found[span.entity_type].support += 1);
        for span in &predicted {
            found[span.entity_type].predicted += 1;
            // Spans ascend and lie apart.
            found[span.entity_type].correct += usize::from(truth.binary_search(span).is_ok());
        }
        self.sentences.push(found.into_iter().enumerate().filter(|(_, found)| found.occurs()).collect());
    }

    /// Of each type that occurs, with its name, in the order of their code points.
    pub fn by_type(&self) -> Vec<(&str, Found)> {
        let all = self.sum(0..self.sentences.len());
        self.types.iter().map(String::as_str).zip(all).filter(|(_, found)| found.occurs()).collect()
    }

    pub fn scores(&self) -> EntityScores {
        let types: Vec<Found> = self.by_type().into_iter().map(|(_, found)| found).collect();
        let all = total(&types);
        let mean = |score: fn(&Found) -> f64| types.iter().map(score).sum::<f64>() / types.len().max(1) as f64;
        EntityScores {
            precision: all.precision(),
            recall: all.recall(),
            f1: all.f1(),
            precision_macro: mean(Found::precision),
            recall_macro: mean(Found::recall),
            f1_macro: mean(Found::f1),
            token_accuracy: ratio(self.correct_words, self.words),
        }
    }

    /// The bootstrapped interval of F1, drawing sentences.
    pub fn f1_interval(&self) -> Option<Interval> {
        bootstrap(self.sentences.len(), self.sentences.len(), self.f1_of())
    }

    /// F1 of some of the sentences, named by their indices.
    pub fn f1_of(&self) -> impl Fn(&[usize]) -> f64 + use<> {
        let all: Vec<Found> = self.sentences.iter().map(|types| total(types.iter().map(|(_, found)| found))).collect();
        move |drawn| total(drawn.iter().map(|sentence| &all[*sentence])).f1()
    }

    fn sum(&self, sentences: std::ops::Range<usize>) -> Vec<Found> {
        let mut sums = vec![Found::default(); self.types.len()];
        for (entity_type, found) in self.sentences[sentences].iter().flatten() {
            sums[*entity_type].add(found);
        }
        sums
    }
}

fn total<'a>(all: impl IntoIterator<Item = &'a Found>) -> Found {
    let mut sum = Found::default();
    all.into_iter().for_each(|found| sum.add(found));
    sum
}

/// As seqeval divides by nothing: 0.
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use data::tagging::Scheme;

    use super::*;

    const TAGS: [&str; 7] = ["O", "B-LOC", "I-LOC", "B-ORG", "I-ORG", "B-PER", "I-PER"];
    const TRUTH: [&str; 12] = [
        "I-PER O B-PER I-ORG",
        "O O I-ORG B-ORG I-PER B-LOC B-LOC I-ORG",
        "I-PER I-ORG I-LOC O B-LOC O I-PER",
        "O O O O B-ORG O",
        "B-ORG I-ORG I-LOC I-LOC I-LOC I-ORG O B-PER O",
        "O I-ORG B-LOC",
        "I-LOC B-ORG I-LOC I-PER I-LOC",
        "B-PER I-PER I-LOC B-LOC B-PER O B-ORG",
        "O B-PER I-PER O B-LOC B-ORG B-ORG",
        "O I-ORG I-ORG",
        "B-PER O I-LOC",
        "O B-ORG I-LOC I-LOC",
    ];
    const PREDICTED: [&str; 12] = [
        "O O I-LOC I-ORG",
        "O B-ORG I-ORG B-ORG I-PER B-LOC B-LOC I-LOC",
        "I-PER I-ORG I-LOC B-PER B-LOC I-LOC I-PER",
        "I-LOC O O O B-ORG I-PER",
        "B-ORG I-ORG I-LOC I-LOC I-PER I-ORG O B-PER O",
        "O I-ORG B-LOC",
        "I-LOC B-ORG I-LOC I-PER I-LOC",
        "B-PER I-PER I-LOC B-LOC B-ORG O B-ORG",
        "O B-PER I-PER B-ORG B-LOC B-ORG O",
        "O I-ORG I-ORG",
        "B-LOC O I-LOC",
        "O B-ORG I-LOC B-LOC",
    ];

    fn counted(truth: &[&str], predicted: &[&str]) -> EntityCounts {
        let tags = TagSet::new(&TAGS.map(str::to_owned), Scheme::Iob2);
        let classes = |sentence: &str| -> Vec<usize> {
            sentence.split(' ').map(|tag| TAGS.iter().position(|known| *known == tag).unwrap()).collect()
        };
        let mut counts = EntityCounts::new(&tags);
        truth
            .iter()
            .zip(predicted)
            .for_each(|(truth, predicted)| counts.add(&tags, &classes(truth), &classes(predicted)));
        counts
    }

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < 1e-12, "{found}, {wanted}");
    }

    #[test]
    fn scores_are_those_of_seqeval() {
        // seqeval 1.2.2 on random tags: precision_score, recall_score, f1_score with average="micro" and "macro", accuracy_score
        let scores = counted(&TRUTH, &PREDICTED).scores();
        close(scores.precision, 0.674_418_604_651_162_8);
        close(scores.recall, 0.725);
        close(scores.f1, 0.698_795_180_722_891_6);
        close(scores.precision_macro, 0.685_185_185_185_185_1);
        close(scores.recall_macro, 0.716_883_116_883_116_8);
        close(scores.f1_macro, 0.697_222_222_222_222_3);
        close(scores.token_accuracy, 0.787_878_787_878_787_8);
    }

    #[test]
    fn each_type_has_the_scores_of_seqevals_report() {
        let counts = counted(&TRUTH, &PREDICTED);
        let expected = [
            ("LOC", 0.555_555_555_555_555_6, 0.714_285_714_285_714_3, 0.625, 14),
            ("ORG", 0.8, 0.8, 0.8, 15),
            ("PER", 0.7, 0.636_363_636_363_636_4, 0.666_666_666_666_666_6, 11),
        ];
        for ((name, found), (wanted, precision, recall, f1, support)) in counts.by_type().into_iter().zip(expected) {
            assert_eq!((name, found.support), (wanted, support));
            close(found.precision(), precision);
            close(found.recall(), recall);
            close(found.f1(), f1);
        }
    }

    #[test]
    fn entities_that_truncation_cuts_in_iobes_count_as_in_seqeval() {
        const NAMES: [&str; 9] = ["O", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-PER", "I-PER", "E-PER", "S-PER"];
        // The last words of each are gone, in the middle of an entity in the first, fifth, seventh and eighth.
        let sentences = [
            ("B-PER I-PER E-PER O B-LOC I-LOC", "O I-PER E-PER O B-LOC O"),
            ("B-PER I-PER E-PER B-LOC I-LOC E-LOC", "B-PER I-PER I-LOC B-LOC I-LOC S-LOC"),
            ("O O O B-PER I-PER I-PER E-PER O O", "S-LOC I-LOC O B-PER I-PER I-PER E-PER O O"),
            ("O B-PER I-PER E-PER B-PER I-PER I-PER E-PER", "E-PER B-PER I-PER E-PER B-PER I-PER E-LOC E-PER"),
            ("B-LOC I-LOC E-LOC S-PER O O B-LOC", "B-LOC I-LOC E-LOC S-PER O O B-LOC"),
            ("B-PER I-PER I-PER E-PER O O O", "B-PER I-PER I-PER E-PER O O O"),
            ("B-PER I-PER I-PER E-PER B-LOC", "B-PER I-PER I-PER B-LOC B-LOC"),
            ("B-PER I-PER E-PER B-PER I-PER", "B-PER I-PER E-PER B-PER I-PER"),
        ];
        let tags = TagSet::new(&NAMES.map(str::to_owned), Scheme::Iobes);
        let classes = |sentence: &str| -> Vec<usize> {
            sentence.split(' ').map(|tag| NAMES.iter().position(|known| *known == tag).unwrap()).collect()
        };
        let mut counts = EntityCounts::new(&tags);
        sentences.iter().for_each(|(truth, predicted)| counts.add(&tags, &classes(truth), &classes(predicted)));
        let scores = counts.scores();
        // seqeval 1.2.2
        close(scores.precision, 0.391_304_347_826_087);
        close(scores.recall, 0.6);
        close(scores.f1, 0.473_684_210_526_315_76);
    }

    #[test]
    fn types_that_do_not_occur_do_not_count_and_nothing_found_is_zero() {
        // The same numbers from seqeval: one type right, one only in the data, one only in the answers.
        let scores = counted(&["B-LOC B-ORG O"], &["B-LOC O B-PER"]).scores();
        assert_eq!((scores.precision, scores.recall, scores.f1), (0.5, 0.5, 0.5));
        close(scores.f1_macro, 1.0 / 3.0);
        let scores = counted(&["O O"], &["O O"]).scores();
        assert_eq!((scores.f1, scores.f1_macro, scores.token_accuracy), (0.0, 0.0, 1.0));
    }

    #[test]
    fn the_interval_holds_the_score_and_needs_two_sentences() {
        let (low, high) = counted(&TRUTH, &PREDICTED).f1_interval().unwrap();
        assert!(low > 0.4 && low < 0.65 && high > 0.75 && high < 0.95, "{low}, {high}");
        assert_eq!(counted(&["B-LOC"], &["B-LOC"]).f1_interval(), None);
    }
}

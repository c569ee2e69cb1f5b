//! What became of each entity: found, found with another border or another type, missed, or made up.

use std::cmp::Reverse;

use data::tagging::Span;

/// What became of an entity, of the data's or of the answer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Correct,
    /// The other side has one of this type that overlaps it.
    WrongBoundary,
    /// The other side has the same words with another type.
    WrongType,
    /// The other side has one of another type that overlaps it.
    WrongBoth,
    /// The other side has none here: missed if it is the data's, spurious if it is the answer's.
    Alone,
}

/// The outcomes of the entities of a sentence, and which were taken for which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    pub truth: Vec<Outcome>,
    pub predicted: Vec<Outcome>,
    /// Of both sides, by their numbers, ascending.
    pub pairs: Vec<(usize, usize)>,
}

impl Outcomes {
    /// Each entity is paired with one of the other side at most: equal ones first, then those of the same words, then
    /// of the same type, and of these the largest overlaps. These are the kinds of error of SemEval 2013 task 9, but that
    /// what is wrong in both has a kind of its own.
    pub fn of(truth: &[Span], predicted: &[Span]) -> Self {
        let mut candidates = Vec::new();
        for (t, one) in truth.iter().enumerate() {
            for (p, other) in predicted.iter().enumerate() {
                let overlap = one.end.min(other.end).saturating_sub(one.start.max(other.start));
                if overlap > 0 {
                    let outcome = outcome(one, other);
                    let rank = match outcome {
                        Outcome::Correct => 0,
                        Outcome::WrongType => 1,
                        Outcome::WrongBoundary => 2,
                        Outcome::WrongBoth | Outcome::Alone => 3,
                    };
                    candidates.push((rank, Reverse(overlap), t, p, outcome));
                }
            }
        }
        candidates.sort_unstable_by_key(|(rank, overlap, t, p, _)| (*rank, *overlap, *t, *p));
        let (mut of_truth, mut of_predicted) =
            (vec![Outcome::Alone; truth.len()], vec![Outcome::Alone; predicted.len()]);
        let mut pairs = Vec::new();
        for (_, _, t, p, outcome) in candidates {
            if of_truth[t] == Outcome::Alone && of_predicted[p] == Outcome::Alone {
                (of_truth[t], of_predicted[p]) = (outcome, outcome);
                pairs.push((t, p));
            }
        }
        pairs.sort_unstable();
        Self { truth: of_truth, predicted: of_predicted, pairs }
    }

    pub fn errors(&self) -> usize {
        let wrong = |all: &[Outcome]| all.iter().filter(|outcome| **outcome != Outcome::Correct).count();
        let spurious = self.predicted.iter().filter(|outcome| **outcome == Outcome::Alone).count();
        wrong(&self.truth) + spurious
    }
}

fn outcome(one: &Span, other: &Span) -> Outcome {
    match (one.start == other.start && one.end == other.end, one.entity_type == other.entity_type) {
        (true, true) => Outcome::Correct,
        (false, true) => Outcome::WrongBoundary,
        (true, false) => Outcome::WrongType,
        (false, false) => Outcome::WrongBoth,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: usize, end: usize, entity_type: usize) -> Span {
        Span { start, end, entity_type }
    }

    #[test]
    fn every_entity_has_one_outcome_and_one_partner_at_most() {
        use Outcome::{Alone, Correct, WrongBoth, WrongBoundary, WrongType};
        let truth = [span(0, 2, 0), span(3, 6, 1), span(7, 8, 0), span(9, 11, 0), span(12, 13, 1)];
        let predicted = [span(0, 2, 0), span(3, 4, 1), span(5, 6, 1), span(7, 8, 1), span(10, 12, 1), span(20, 21, 0)];
        let found = Outcomes::of(&truth, &predicted);
        assert_eq!(found.truth, [Correct, WrongBoundary, WrongType, WrongBoth, Alone]);
        assert_eq!(found.predicted, [Correct, WrongBoundary, Alone, WrongType, WrongBoth, Alone]);
        assert_eq!(found.pairs, [(0, 0), (1, 1), (2, 3), (3, 4)]);
        assert_eq!(found.errors(), 6);
    }

    #[test]
    fn the_same_type_is_a_nearer_partner_than_a_larger_overlap_of_another() {
        let found = Outcomes::of(&[span(0, 5, 0)], &[span(0, 4, 1), span(4, 5, 0)]);
        assert_eq!(found.pairs, [(0, 1)]);
        assert_eq!(found.predicted, [Outcome::Alone, Outcome::WrongBoundary]);
    }
}

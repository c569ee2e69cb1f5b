//! What is left of an example that is longer than the model reads.

use std::ops::Range;

/// The tokens of an example, and those of its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) ids: Vec<u32>,
    /// Ascending and apart from each other.
    pub(super) answers: Vec<Range<usize>>,
    /// Answers that are not to be learned, likewise.
    pub(super) skipped: Vec<Range<usize>>,
    /// Tokens at the start that stay whatever is cut: the one that begins a text.
    pub(super) kept: usize,
    /// Of a very long text the tokens were left out that `fit` would take; it is longer than any sequence may be.
    pub(super) is_excerpt: bool,
}

impl Sequence {
    /// The number of tokens that must stand before the last answer: the one that begins a text or, where there is none,
    /// any, because the first token of a sequence is predicted from nothing.
    pub(super) fn context(&self) -> usize {
        self.kept.max(1).min(self.last_answer().start)
    }

    /// At most `max_length` tokens, which is more than `context`.
    ///
    /// What follows on the last answer goes first, then what stands before it, from the left but for the token that
    /// begins the text, then the end of the answer itself.
    pub(super) fn fit(mut self, max_length: usize) -> Self {
        let last = self.last_answer();
        self.keep_first(self.ids.len().min(max_length.max(last.end)));
        let excess = self.ids.len().saturating_sub(max_length);
        let context = self.context();
        let removable = (last.start - context).min(excess);
        // Where nothing begins the text, the tokens next to the answer are those that stay.
        let from = self.kept.min(context);
        self.remove(from..from + removable);
        self.keep_first(max_length.min(self.ids.len()));
        self
    }

    /// What is left of the tokens without the answers that are not to be learned.
    pub(super) fn all_but_skipped(&self) -> Vec<Range<usize>> {
        let starts = std::iter::once(0).chain(self.skipped.iter().map(|answer| answer.end));
        let ends = self.skipped.iter().map(|answer| answer.start).chain([self.ids.len()]);
        starts.zip(ends).map(|(start, end)| start..end).collect()
    }

    fn last_answer(&self) -> Range<usize> {
        self.answers.last().cloned().unwrap_or(0..0)
    }

    fn keep_first(&mut self, length: usize) {
        self.ids.truncate(length);
        self.move_answers(|at| at.min(length));
    }

    fn remove(&mut self, range: Range<usize>) {
        self.move_answers(|at| if at <= range.start { at } else { at.max(range.end) - range.len() });
        self.ids.drain(range);
    }

    fn move_answers(&mut self, moved: impl Fn(usize) -> usize) {
        for answers in [&mut self.answers, &mut self.skipped] {
            for answer in &mut *answers {
                *answer = moved(answer.start)..moved(answer.end);
            }
            answers.retain(|answer| !answer.is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(ids: std::ops::RangeInclusive<u32>, answers: &[Range<usize>], kept: usize, max_length: usize) -> Sequence {
        Sequence { ids: ids.collect(), answers: answers.to_vec(), skipped: Vec::new(), kept, is_excerpt: false }
            .fit(max_length)
    }

    #[test]
    fn the_prompt_is_cut_from_the_left_before_the_answer_is_touched() {
        let cut = fit(0..=9, &[6..10], 1, 7);
        assert_eq!((cut.ids, cut.answers), (vec![0, 4, 5, 6, 7, 8, 9], vec![3..7]));
        let without_beginning = fit(0..=9, &[6..10], 0, 7);
        assert_eq!(without_beginning.ids, [3, 4, 5, 6, 7, 8, 9]);
        let whole_answer = fit(0..=9, &[6..10], 1, 5);
        assert_eq!((whole_answer.ids, whole_answer.answers), (vec![0, 6, 7, 8, 9], vec![1..5]));
    }

    #[test]
    fn an_answer_that_is_too_long_loses_its_end_and_keeps_a_token_before_it() {
        let cut = fit(0..=9, &[6..10], 1, 3);
        assert_eq!((cut.ids, cut.answers), (vec![0, 6, 7], vec![1..3]));
        let without_beginning = fit(0..=9, &[6..10], 0, 3);
        assert_eq!((without_beginning.ids, without_beginning.answers), (vec![5, 6, 7], vec![1..3]));
        let text = fit(0..=9, &[0..10], 1, 4);
        assert_eq!((text.ids, text.answers), (vec![0, 1, 2, 3], vec![0..4]));
    }

    #[test]
    fn of_a_conversation_the_last_answer_stays() {
        let cut = fit(0..=11, &[2..5, 8..11], 1, 8);
        assert_eq!((cut.ids, cut.answers), (vec![0, 4, 5, 6, 7, 8, 9, 10], vec![1..2, 5..8]));
        let only_the_tail = fit(0..=11, &[2..5, 8..10], 1, 11);
        assert_eq!((only_the_tail.ids, only_the_tail.answers), ((0..=10).collect(), vec![2..5, 8..10]));
    }

    proptest! {
        #[test]
        fn what_is_left_is_in_order_as_long_as_allowed_and_has_its_answers(
            lengths in prop::collection::vec(1..6_usize, 2..9), kept in 0..2_usize, max_length in 2..30_usize,
        ) {
            // Prompts and answers by turns; the number of a token says where it was.
            let ends: Vec<usize> = lengths.iter().scan(0, |end, length| { *end += length; Some(*end) }).collect();
            let answers: Vec<Range<usize>> = ends.windows(2).step_by(2).map(|pair| pair[0]..pair[1]).collect();
            let whole = Sequence { ids: (0..*ends.last().unwrap() as u32).collect(), answers: answers.clone(), skipped: Vec::new(), kept, is_excerpt: false };
            let was_answer = |id: u32| answers.iter().any(|answer| answer.contains(&(id as usize)));
            let (last, length) = (answers.last().unwrap().clone(), whole.ids.len());

            let cut = whole.fit(max_length);
            prop_assert_eq!(cut.ids.len(), length.min(max_length));
            prop_assert!(cut.ids.is_sorted_by(|a, b| a < b));
            for (at, id) in cut.ids.iter().enumerate() {
                prop_assert_eq!(cut.answers.iter().any(|answer| answer.contains(&at)), was_answer(*id));
            }
            prop_assert_eq!(cut.ids[..kept].to_vec(), (0..kept as u32).collect::<Vec<_>>());
            let left = cut.ids.iter().filter(|id| last.contains(&(**id as usize))).count();
            prop_assert!(left == last.len() || left == max_length - 1, "the answer is cut only if it alone is too long");
        }
    }
}

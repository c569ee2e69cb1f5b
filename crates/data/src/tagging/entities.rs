//! Answers become entities with their places in the text.

use super::{TagSet, Words};

/// The class of a word and its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    pub class: usize,
    pub score: f64,
}

/// An entity that a model found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub label: String,
    /// Offsets in [`Words::text`], in Unicode code points, as Python counts; `end` is that after the last.
    pub start: usize,
    pub end: usize,
    pub text: String,
    pub score: f64,
}

/// The entities that a model's answers for the words mark; a word without a token has no answer, and belongs to an entity
/// where those around it do. Invalid sequences are repaired as [`TagSet::spans`] says.
///
/// As `aggregation_strategy="first"` of the token classification pipeline of Transformers: a word has the class of its
/// first token, and the score of an entity is the mean of its words' probabilities.
///
/// # Panics
/// If there are other numbers of words and answers.
pub fn entities(words: &Words, answers: &[Option<Answer>], tags: &TagSet) -> Vec<Found> {
    assert_eq!(words.len(), answers.len(), "each word has an answer, or none");
    let answered: Vec<(usize, Answer)> =
        answers.iter().enumerate().filter_map(|(word, answer)| Some((word, (*answer)?))).collect();
    let classes: Vec<usize> = answered.iter().map(|(_, answer)| answer.class).collect();
    let found = |span: super::Span| {
        let part = &answered[span.start..span.end];
        let (first, last) = (part[0].0, part[part.len() - 1].0);
        let (start, end) = (words.ranges()[first].start, words.ranges()[last].end);
        Found {
            label: tags.types()[span.entity_type].clone(),
            start,
            end,
            text: words.text().chars().skip(start).take(end - start).collect(),
            score: part.iter().map(|(_, answer)| answer.score).sum::<f64>() / part.len() as f64,
        }
    };
    tags.spans(&classes).into_iter().map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tagging::{Content, Scheme};
    use crate::tokenizer::tests::bytes;

    fn found(content: &Content, answers: &[Option<(usize, f64)>]) -> Vec<Found> {
        let tags = TagSet::new(&["B-PER", "I-PER", "B-LOC", "O"].map(str::to_owned), Scheme::Iob2);
        let words = Words::of(content, &bytes()).unwrap();
        let answers: Vec<Option<Answer>> =
            answers.iter().map(|it| it.map(|(class, score)| Answer { class, score })).collect();
        entities(&words, &answers, &tags)
    }

    fn entity(label: &str, start: usize, end: usize, text: &str, score: f64) -> Found {
        Found { label: label.to_owned(), start, end, text: text.to_owned(), score }
    }

    #[test]
    fn entities_have_offsets_in_code_points_and_the_mean_score() {
        let content = Content::Text { text: "😀 Änna Bé, Ulm".into(), entities: None };
        let answers = [(3, 0.9), (0, 0.5), (1, 1.0), (3, 1.0), (2, 0.75)].map(Some);
        let expected = [entity("PER", 2, 9, "Änna Bé", 0.75), entity("LOC", 11, 14, "Ulm", 0.75)];
        assert_eq!(found(&content, &answers), expected);
    }

    #[test]
    fn an_inside_tag_begins_an_entity_where_none_goes_before() {
        let content = Content::Words { words: ["a", "b", "c"].map(str::to_owned).into(), tags: None };
        let answers = [(1, 0.5), (3, 0.5), (1, 0.25)].map(Some);
        assert_eq!(found(&content, &answers), [entity("PER", 0, 1, "a", 0.5), entity("PER", 4, 5, "c", 0.25)]);
    }

    #[test]
    fn a_word_without_a_token_does_not_divide_an_entity() {
        let content = Content::Words { words: ["a", "", "c"].map(str::to_owned).into(), tags: None };
        let answers = [Some((0, 1.0)), None, Some((1, 0.5))];
        assert_eq!(found(&content, &answers), [entity("PER", 0, 4, "a  c", 0.75)]);
    }
}

//! What the page of a run of token classification shows: scores by type, what went wrong, and sentences with both sides'
//! entities.

use std::collections::BTreeMap;

use data::tagging::{self, Span, TagSet, Words};
use data::{Dataset, Tokenizer};

use crate::metrics::entities::{EntityCounts, Found};
use crate::metrics::entity_errors::{Outcome, Outcomes};
use crate::{Cell, KEPT, Line, Mark, Marked, Part, Parts, Rows, ShownRow, Table, beginning};

/// Sentences that are kept for the page.
const SENTENCES: usize = 60;
/// Of these, such without an error at least, if there are.
const RIGHT: usize = 4;
/// Pairs of types that were taken for one another.
const PAIRS: usize = 10;

/// A sentence as the data and as the model have it.
pub(crate) struct Sentence {
    pub(crate) loss: f64,
    truth: Vec<Span>,
    predicted: Vec<Span>,
    outcomes: Outcomes,
}

impl Sentence {
    pub(crate) fn new(tags: &TagSet, (truth, predicted): (&[usize], &[usize]), loss: f64) -> Self {
        let (truth, predicted) = (tags.spans(truth), tags.spans(predicted));
        Self { loss, outcomes: Outcomes::of(&truth, &predicted), truth, predicted }
    }
}

pub(crate) fn entities(counts: &EntityCounts, tags: &TagSet, sentences: &[Sentence]) -> Parts {
    let wrong = sentences.iter().filter(|sentence| sentence.outcomes.errors() > 0).count();
    let mut parts = vec![Part::Table(by_type(counts)), Part::Table(errors(tags, sentences))];
    parts.extend(confusions(tags, sentences).map(Part::Table));
    Parts {
        title: "Entities".to_string(),
        text: format!(
            "{wrong} of {} sentences have an entity that is missed, spurious or otherwise wrong.",
            sentences.len()
        ),
        parts,
    }
}

/// As `classification_report` of seqeval.
fn by_type(counts: &EntityCounts) -> Table {
    let scores = counts.scores();
    let all = counts.by_type();
    let support = all.iter().map(|(_, found)| found.support).sum::<usize>();
    let share = |value: f64, whole: usize| (whole > 0).then_some(value);
    let line = |(name, found): &(&str, Found)| Line {
        name: (*name).to_string(),
        cells: vec![
            Cell::Score(share(found.precision(), found.predicted)),
            Cell::Score(share(found.recall(), found.support)),
            Cell::Bar(Some(found.f1())),
            Cell::Count(found.support),
            Cell::Interval(None),
        ],
    };
    let mean = |name: &str, [precision, recall, f1]: [f64; 3], interval| Line {
        name: name.to_string(),
        cells: vec![
            Cell::Score(Some(precision)),
            Cell::Score(Some(recall)),
            Cell::Bar(Some(f1)),
            Cell::Count(support),
            Cell::Interval(interval),
        ],
    };
    let weighted = |score: fn(&Found) -> f64| {
        all.iter().map(|(_, found)| score(found) * found.support as f64).sum::<f64>() / support.max(1) as f64
    };
    Table {
        caption:
            "Entities of each type, as seqeval counts them: right are those with the type, the first and the last word \
                  of the data. The interval is of the micro F1, bootstrapped over sentences."
                .to_string(),
        columns: ["Type", "Precision", "Recall", "F1", "Support", "95 %"].map(str::to_string).to_vec(),
        lines: all.iter().map(line).collect(),
        footer: vec![
            mean("micro average", [scores.precision, scores.recall, scores.f1], counts.f1_interval()),
            mean("macro average", [scores.precision_macro, scores.recall_macro, scores.f1_macro], None),
            mean("weighted average", [weighted(Found::precision), weighted(Found::recall), weighted(Found::f1)], None),
        ],
    }
}

fn errors(tags: &TagSet, sentences: &[Sentence]) -> Table {
    let types = tags.types().len();
    let of_truth = |entity_type: usize, outcome: Outcome| {
        let is_wanted = |sentence: &&Sentence| {
            let spans = sentence.truth.iter().zip(&sentence.outcomes.truth);
            spans.filter(|(span, found)| span.entity_type == entity_type && **found == outcome).count()
        };
        sentences.iter().map(|sentence| is_wanted(&sentence)).sum::<usize>()
    };
    let spurious = |entity_type: usize| {
        let of = |sentence: &Sentence| {
            let spans = sentence.predicted.iter().zip(&sentence.outcomes.predicted);
            spans.filter(|(span, found)| span.entity_type == entity_type && **found == Outcome::Alone).count()
        };
        sentences.iter().map(of).sum::<usize>()
    };
    let line = |entity_type: usize| {
        let of = |outcome| of_truth(entity_type, outcome);
        let wrong = [Outcome::WrongBoundary, Outcome::WrongType, Outcome::WrongBoth, Outcome::Alone].map(of);
        let (right, spurious) = (of(Outcome::Correct), spurious(entity_type));
        let whole = right + wrong.iter().sum::<usize>();
        if whole + spurious == 0 {
            return None;
        }
        let mut cells = vec![Cell::Count(whole), Cell::Right { count: right, whole }];
        cells.extend(wrong.map(|count| Cell::Wrong { count, whole }));
        cells.push(Cell::Wrong { count: spurious, whole: whole.max(spurious) });
        Some(Line { name: tags.types()[entity_type].clone(), cells })
    };
    let columns = ["Type", "In the data", "Right", "Wrong boundary", "Wrong type", "Both", "Missed", "Spurious"];
    Table {
        caption:
            "What became of the entities of the data, and what the model found where none is (spurious). Shaded by the \
                  share of the type's entities."
                .to_string(),
        columns: columns.map(str::to_string).to_vec(),
        lines: (0..types).filter_map(line).collect(),
        footer: Vec::new(),
    }
}

/// The types that were most often taken for another; `None` where none was.
fn confusions(tags: &TagSet, sentences: &[Sentence]) -> Option<Table> {
    let mut counts: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for sentence in sentences {
        for (t, p) in &sentence.outcomes.pairs {
            let types = (sentence.truth[*t].entity_type, sentence.predicted[*p].entity_type);
            if types.0 != types.1 {
                *counts.entry(types).or_default() += 1;
            }
        }
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by_key(|(types, count)| (std::cmp::Reverse(*count), *types));
    let name = |entity_type: usize| &tags.types()[entity_type];
    let line = |((truth, predicted), count): ((usize, usize), usize)| Line {
        name: format!("{} as {}", name(truth), name(predicted)),
        cells: vec![Cell::Count(count)],
    };
    let lines: Vec<Line> = counts.into_iter().take(PAIRS).map(line).collect();
    (!lines.is_empty()).then(|| Table {
        caption: "Types most often taken for another.".to_string(),
        columns: ["Type in the data, as predicted", "Entities"].map(str::to_string).to_vec(),
        lines,
        footer: Vec::new(),
    })
}

/// Sentences with the entities of both sides, first those with errors, the highest loss first. `None` where the rows are not
/// those that were answered.
pub(crate) fn sentences(
    sentences: &[Sentence],
    tags: &TagSet,
    dataset: &Dataset,
    rows: &Rows,
    tokenizer: &Tokenizer,
) -> Option<Parts> {
    let Rows::Tagged(rows) = rows else { return None };
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by(|one, other| sentences[*other].loss.total_cmp(&sentences[*one].loss));
    let (wrong, right): (Vec<usize>, Vec<usize>) =
        order.into_iter().partition(|index| sentences[*index].outcomes.errors() > 0);
    // Of what is right, sentences with something to find say more.
    let right = || right.iter().filter(|index| !sentences[**index].truth.is_empty());
    let of_right = RIGHT.min(right().count());
    let chosen = wrong.iter().take(SENTENCES - of_right).chain(right().take(of_right));
    let numbers = dataset.rows();
    let shown: Vec<ShownRow> = chosen
        .filter_map(|index| {
            let row = rows.get(numbers[*index])?;
            let words = Words::of(&row.content, tokenizer).ok()?;
            Some(sentence(row, &words, &sentences[*index], tags))
        })
        .collect();
    (!shown.is_empty()).then(|| Parts {
        title: "Sentences".to_string(),
        text: "Sentences with errors, the highest loss first, then some without. Marked are the entities of the data and those \
               predicted, red where the other side does not have the same one. Words that truncation took have no entities."
            .to_string(),
        parts: vec![Part::Rows(shown)],
    })
}

fn sentence(row: &tagging::Row, words: &Words, sentence: &Sentence, tags: &TagSet) -> ShownRow {
    let ranges: Vec<_> = words.answered().map(|word| words.ranges()[word].clone()).collect();
    let marked = |name: &str, spans: &[Span], outcomes: &[Outcome]| {
        let mark = |(span, outcome): (&Span, &Outcome)| Mark {
            start: ranges[span.start].start,
            end: ranges[span.end - 1].end,
            label: tags.types()[span.entity_type].clone(),
            right: *outcome == Outcome::Correct,
        };
        let marks = spans.iter().zip(outcomes).map(mark).filter(|mark| mark.end <= KEPT).collect();
        Marked { name: name.to_string(), marks }
    };
    let Sentence { truth, predicted, outcomes, .. } = sentence;
    ShownRow {
        line: row.line,
        text: beginning(words.text()),
        text_pair: None,
        facts: Vec::new(),
        marked: vec![
            marked("in the data", truth, &outcomes.truth),
            marked("predicted", predicted, &outcomes.predicted),
        ],
    }
}

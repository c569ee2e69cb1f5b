//! What the page of a run of multi-label classification shows: how each label comes out with its fitted threshold and with
//! 0.5, and the texts whose labels are not those of the data.

use data::Example;

use crate::metrics::F1_MICRO;
use crate::metrics::multi_label::{LabelSetCounts, THRESHOLD, chosen, f1_micro_interval};
use crate::{Cell, Line, Part, Parts, Section, Sections, ShownRow, Table, beginning};

/// Rows that are kept for the page.
const ROWS: usize = 40;

/// All answers of an evaluation.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Of each text whether it has each label.
    pub(crate) truth: Vec<Vec<bool>>,
    pub(crate) probabilities: Vec<Vec<f64>>,
    pub(crate) losses: Vec<f32>,
}

impl Answered {
    fn predicted(&self, thresholds: &[f64]) -> Vec<Vec<bool>> {
        self.probabilities.iter().map(|row| chosen(row, thresholds)).collect()
    }

    fn counts(&self, predicted: &[Vec<bool>], labels: usize) -> LabelSetCounts {
        let mut counts = LabelSetCounts::new(labels);
        self.truth.iter().zip(predicted).for_each(|(truth, predicted)| counts.add(truth, predicted));
        counts
    }
}

/// `fitted` are the labels' thresholds, `texts` those of all rows, in their order.
pub(crate) fn sections(names: &[String], fitted: &[f64], answered: &Answered, texts: &[Example]) -> Sections {
    let at_plain = answered.predicted(&vec![THRESHOLD; fitted.len()]);
    let at_fitted = answered.predicted(fitted);
    let [plain, found] = [&at_plain, &at_fitted].map(|predicted| answered.counts(predicted, names.len()));
    let parts = [Some(labels(names, fitted, [&plain, &found])), errors(names, answered, &at_fitted, texts)];
    let interval = f1_micro_interval(&answered.truth, &at_plain).map(|ends| (&F1_MICRO, ends));
    Sections {
        sections: parts.into_iter().flatten().map(Section::Parts).collect(),
        intervals: interval.into_iter().collect(),
    }
}

fn labels(names: &[String], fitted: &[f64], [plain, found]: [&LabelSetCounts; 2]) -> Parts {
    let of_label = |(label, name): (usize, &String)| {
        let (at_plain, at_fitted) = (&plain.labels()[label], &found.labels()[label]);
        Line {
            name: name.clone(),
            cells: vec![
                Cell::Score(Some(fitted[label])),
                Cell::Score(Some(at_fitted.precision())),
                Cell::Score(Some(at_fitted.recall())),
                Cell::Bar(Some(at_fitted.f1())),
                Cell::Score(Some(at_plain.f1())),
                Cell::Count(at_fitted.support),
            ],
        }
    };
    let columns = ["Label", "Threshold", "Precision", "Recall", "F1", "F1 at 0.5", "Support"];
    let table = Table {
        caption: "Support is the number of validation texts with this label. Thresholds of labels that few texts \
                  have say little."
            .to_string(),
        columns: columns.map(str::to_string).to_vec(),
        lines: names.iter().enumerate().map(of_label).collect(),
        footer: Vec::new(),
    };
    let text = format!(
        "With a threshold of its own for each label, fitted on these texts, the F1 of all labels together is {:.3}; \
         with 0.5 for all, as in the evaluations above, it is {:.3}. predict and eval use the fitted thresholds.",
        found.f1_micro(),
        plain.f1_micro()
    );
    Parts { title: "Labels".to_string(), text, parts: vec![Part::Table(table)] }
}

/// `None` where all texts have the labels of the data.
fn errors(names: &[String], answered: &Answered, predicted: &[Vec<bool>], texts: &[Example]) -> Option<Parts> {
    let Answered { truth, probabilities, losses } = answered;
    let mut wrong: Vec<usize> = (0..texts.len().min(truth.len())).filter(|i| truth[*i] != predicted[*i]).collect();
    wrong.sort_by(|one, other| losses[*other].total_cmp(&losses[*one]));
    let row = |index: &usize| {
        let labels = |has: &[bool]| {
            let of = |label: usize| format!("{} ({:.2})", names[label], probabilities[*index][label]);
            let labels: Vec<String> = (0..names.len()).filter(|label| has[*label]).map(of).collect();
            if labels.is_empty() { "no label".to_string() } else { labels.join(", ") }
        };
        let facts = [("in the data", labels(&truth[*index])), ("predicted", labels(&predicted[*index]))];
        ShownRow {
            line: texts[*index].line,
            text: beginning(&texts[*index].text),
            text_pair: texts[*index].text_pair.as_deref().map(beginning),
            facts: facts.map(|(name, value)| (name.to_string(), value)).to_vec(),
            marked: Vec::new(),
        }
    };
    (!wrong.is_empty()).then(|| Parts {
        title: "Hardest errors".to_string(),
        text: format!(
            "{} of {} validation texts have other labels than in the data, by the fitted thresholds; the highest loss \
             first, each label with its probability. Wrong labels in the data gather here.",
            wrong.len(),
            truth.len()
        ),
        parts: vec![Part::Rows(wrong.iter().take(ROWS).map(row).collect())],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(answered: &Answered) -> Sections {
        let text = |line: usize| Example { line, text: format!("text {line}"), text_pair: None, label: None };
        let texts: Vec<Example> = (1..=answered.truth.len()).map(text).collect();
        sections(&["late", "broken"].map(str::to_string), &[0.5, 0.2], answered, &texts)
    }

    fn parts(sections: &Sections) -> Vec<&Parts> {
        let parts = sections.sections.iter().map(|section| match section {
            Section::Parts(parts) => parts,
            Section::Classification(_) | Section::Samples(_) => panic!("sets of labels have parts alone"),
        });
        parts.collect()
    }

    #[test]
    fn the_errors_by_the_fitted_thresholds_are_shown_the_highest_loss_first() {
        let answered = Answered {
            truth: vec![vec![true, false], vec![false, true], vec![true, true], vec![false, false]],
            probabilities: vec![vec![0.9, 0.1], vec![0.75, 0.1], vec![0.9, 0.3], vec![0.2, 0.4]],
            losses: vec![0.1, 1.8, 0.7, 0.4],
        };
        let found = found(&answered);
        let [labels, errors] = parts(&found)[..] else { panic!("two sections") };
        assert_eq!([labels.title.as_str(), errors.title.as_str()], ["Labels", "Hardest errors"]);
        assert!(errors.text.starts_with("2 of 4 validation texts have other labels"), "{}", errors.text);
        let Part::Rows(rows) = &errors.parts[0] else { panic!("rows") };
        let shown = rows.iter().map(|row| {
            let facts: Vec<String> = row.facts.iter().map(|(name, value)| format!("{name} {value}")).collect();
            (row.line, facts)
        });
        let expected = [
            (2, ["in the data broken (0.10)", "predicted late (0.75)"].map(str::to_string).to_vec()),
            (4, ["in the data no label", "predicted broken (0.40)"].map(str::to_string).to_vec()),
        ];
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn where_all_labels_are_right_there_is_no_list_of_errors() {
        let answered = Answered {
            truth: vec![vec![true, false], vec![false, true]],
            probabilities: vec![vec![0.9, 0.1], vec![0.1, 0.9]],
            losses: vec![0.1, 0.1],
        };
        assert_eq!(parts(&found(&answered)).len(), 1);
    }
}

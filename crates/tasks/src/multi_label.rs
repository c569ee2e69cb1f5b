//! Classification of texts, or of pairs of them, into several classes at once, or none. The loss is binary cross-entropy, as
//! that of Transformers' classifiers with `problem_type = "multi_label_classification"`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Tensor, TensorData};
use data::language::Purpose;
use data::{
    Batch, ColumnNames, Dataset, Example, ExampleTarget, LabelCell, LabelSetTally, Labelled, Labels, Record, Tally,
    Targets, Tokenizer,
};
use lora::peft::STANDARD_HEADS;
use model::Head;
use serde_json::{Map, Value, json};

use crate::evaluator::sum;
use crate::label_report::{self, Answered};
use crate::metrics::multi_label::{LabelCounts, LabelSetCounts, THRESHOLD, best_threshold, chosen, f1_micro_of};
use crate::metrics::{ACCURACY, ByClass, F1_MACRO, F1_MICRO, F1_SAMPLES, LOSS, OfClass, Scores, Shown, Unit};
use crate::{
    Answer, Classes, Columns, Definition, Encoding, Error, Evaluator, Expected, Fitted, Fitter, HostOutput, Judged,
    LabelFinder, Opening, Rows, Sections, Task, TrainableModel, Use, Validation, number,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "multi-label-classification",
    words: "multi-label classification",
    head: Head::SequenceClassification,
    vocabulary: false,
    classes: Classes::Several,
    usage: Use::Predict,
    keys: &["model.labels", "data.text_template", "data.text_pair", "data.label"],
    settings: &[],
    scores: &[&F1_MICRO, &F1_MACRO, &F1_SAMPLES, &ACCURACY],
    best: &[&F1_MICRO, &LOSS, &F1_MACRO, &F1_SAMPLES, &ACCURACY],
    peft_type: Some("SEQ_CLS"),
    problem: Some("multi_label_classification"),
    modules_to_save: &STANDARD_HEADS,
    auto_class: "AutoModelForSequenceClassification",
    pipeline: "text-classification",
    columns,
    finder: Some(|| Box::new(SetFinder::default())),
    open,
};

fn columns(file: &Path, first: &Record, names: &ColumnNames, purpose: Purpose) -> Result<Columns, data::Error> {
    let labelled = if purpose == Purpose::Training { Labelled::Yes } else { Labelled::No };
    let mut found = data::Columns::find(file, first, names, labelled)?;
    let labels = found.label.take();
    Ok(Columns::Sets(found, labels))
}

fn open(opening: Opening<'_>) -> Result<Arc<dyn Task>, Error> {
    let labels = opening.labels.expect("a task with classes is opened with their names");
    let threshold = |name: &String| opening.fitted.thresholds.get(name).copied().unwrap_or(THRESHOLD);
    let thresholds = labels.names().iter().map(threshold).collect();
    Ok(Arc::new(MultiLabelClassification { names: labels.names().into(), thresholds, labels }))
}

#[derive(Debug)]
struct MultiLabelClassification {
    labels: Labels,
    /// Theirs, for answers to keep.
    names: Arc<[String]>,
    /// Of each label.
    thresholds: Arc<[f64]>,
}

/// Numbers the different cells as they come: what divides the labels of one is known when all were seen.
#[derive(Debug, Default)]
struct SetFinder(LabelSetTally);

impl LabelFinder for SetFinder {
    fn encode(
        &mut self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        let (texts, cells) = sets(rows);
        let provisional = numbered(&mut self.0, file, texts, cells).into_iter().map(|cell| vec![cell]);
        add(file, texts, provisional, encoding, dataset)
    }

    fn labels(&self, name: &Path) -> Result<Labels, data::Error> {
        let mut labels = Tally::default();
        self.0.count(self.0.separator(None)?, &mut labels);
        labels.labels(name)
    }

    fn settle(&self, labels: &Labels, dataset: &mut Dataset) -> Result<(), data::Error> {
        let sets = self.0.sets(self.0.separator(Some(labels))?, labels)?;
        let set = |cell: usize| sets[cell].clone();
        dataset.settle(&|target| ExampleTarget::Set(target.classes().next().map_or_else(Vec::new, set)));
        Ok(())
    }
}

fn sets(rows: &Rows) -> (&[Example], &[Option<LabelCell>]) {
    match rows {
        Rows::Sets(texts, cells) => (texts, cells),
        Rows::Texts(_) | Rows::Values(..) | Rows::Language(_) | Rows::Tagged(_) => {
            unreachable!("rows are read by the columns of the task")
        }
    }
}

/// The number of each row's cell among the different ones.
fn numbered(tally: &mut LabelSetTally, file: &Path, texts: &[Example], cells: &[Option<LabelCell>]) -> Vec<usize> {
    let labelled = texts.iter().zip(cells).filter_map(|(text, cell)| Some((text.line, cell.clone()?)));
    labelled.map(|(line, cell)| tally.add(file, line, cell)).collect()
}

/// Adds rows with their sets; rows whose labels are not looked at have none.
fn add(
    file: &Path,
    texts: &[Example],
    sets: impl Iterator<Item = Vec<usize>>,
    encoding: &Encoding<'_>,
    dataset: &mut Dataset,
) -> Result<(), data::Error> {
    let mut targets: Vec<ExampleTarget> = sets.map(ExampleTarget::Set).collect();
    targets.resize(texts.len(), ExampleTarget::None);
    dataset.add_texts(file, texts, &targets, encoding)
}

static SHOWN: [Shown; 3] = [
    Shown { title: "F1 micro", score: &F1_MICRO, unit: Unit::None },
    Shown { title: "F1 macro", score: &F1_MACRO, unit: Unit::None },
    Shown { title: "Accuracy", score: &ACCURACY, unit: Unit::Percent },
];

impl Task for MultiLabelClassification {
    fn definition(&self) -> &'static Definition {
        &DEFINITION
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn encode(
        &self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        let (texts, cells) = sets(rows);
        let mut tally = LabelSetTally::default();
        let numbers = numbered(&mut tally, file, texts, cells);
        let known = tally.sets(tally.separator(Some(&self.labels))?, &self.labels)?;
        add(file, texts, numbers.into_iter().map(|cell| known[cell].clone()), encoding, dataset)
    }

    /// The mean over the labels of `(1 - y) x - ln sigmoid(x)`: `torch.nn.BCEWithLogitsLoss`, of each target.
    fn loss(&self, outputs: Tensor<2>, targets: &Targets) -> Tensor<1> {
        let absent: Vec<f32> =
            truths(targets, self.names.len()).flatten().map(|has| f32::from(u8::from(!has))).collect();
        let absent = Tensor::<2>::from_data(TensorData::new(absent, outputs.dims()), &outputs.device());
        (outputs.clone() * absent - log_sigmoid(outputs)).mean_dim(1).squeeze_dim(1)
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        let counts = LabelSetCounts::new(self.names.len());
        let (names, thresholds) = (self.names.clone(), self.thresholds.clone());
        Box::new(SetEvaluator { loss: 0.0, names, counts, thresholds })
    }

    fn fitter(&self) -> Option<Box<dyn Fitter>> {
        Some(Box::new(ThresholdFitter { names: self.names.clone(), answered: Answered::default() }))
    }

    fn shown(&self) -> &'static [Shown] {
        &SHOWN
    }

    fn compared(&self, output: &HostOutput, sequence: usize) -> Map<String, Value> {
        let truth = truths(&output.targets, self.names.len()).nth(sequence).map(|truth| ("label", self.named(&truth)));
        let row = output.rows().nth(sequence);
        let predicted = row.map(|row| ("predicted", self.named(&chosen(&sigmoids(row), &self.thresholds))));
        truth.into_iter().chain(predicted).map(|(key, value)| (key.to_string(), value)).collect()
    }

    fn judged(&self, lines: &[Map<String, Value>]) -> Judged {
        let sets = |key: &str| -> Vec<Vec<bool>> {
            let has = |line: &Map<String, Value>| {
                let set = line.get(key).and_then(Value::as_array);
                self.names.iter().map(|name| set.is_some_and(|set| set.iter().any(|one| one == &**name))).collect()
            };
            lines.iter().map(has).collect()
        };
        Box::new(f1_micro_of(&sets("label"), &sets("predicted")))
    }

    fn judged_otherwise(&self) -> Option<&'static str> {
        Some(
            "The scores are at thresholds of 0.5; intervals and differences are at the fitted thresholds, with which the models answer.",
        )
    }

    fn expected(&self, batch: &Batch, _: &Tokenizer) -> Expected {
        let first = truths(&batch.targets, self.names.len()).next().map_or_else(|| json!([]), |it| self.named(&it));
        let names = first.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        Expected::Beside(names, ("label", first))
    }

    /// How each label comes out with its fitted threshold and with 0.5, and the texts with other labels than in the data.
    fn sections(&self, model: &TrainableModel, validation: &Validation<'_>) -> Sections {
        let mut answered = Answered::default();
        validation.answers(model).for_each(|(_, output)| add_answers(&mut answered, &output));
        let thresholds = fit(&answered, &self.names).thresholds;
        let fitted: Vec<f64> = self.names.iter().map(|name| thresholds[name]).collect();
        label_report::sections(&self.names, &fitted, &answered, &(validation.rows)().texts())
    }

    fn answer(&self, outputs: &[f32]) -> Option<Answer> {
        let probabilities = sigmoids(outputs);
        let chosen = chosen(&probabilities, &self.thresholds);
        let (names, logits) = (self.names.clone(), outputs.to_vec());
        Some(Answer::Labels(LabelsAnswer { names, chosen, probabilities, logits }))
    }

    fn answer_names(&self, is_table: bool) -> Vec<String> {
        match is_table {
            true => cell_names(&self.names).collect(),
            false => ["labels", "label_ids", "probabilities", "logits"].map(str::to_string).to_vec(),
        }
    }
}

impl MultiLabelClassification {
    fn named(&self, has: &[bool]) -> Value {
        self.names.iter().zip(has).filter(|(_, has)| **has).map(|(name, _)| name.as_str()).collect()
    }
}

/// Of each target whether it has each of so many labels.
fn truths(targets: &Targets, labels: usize) -> impl Iterator<Item = Vec<bool>> + '_ {
    let sets: &[Vec<usize>] = match targets {
        Targets::Sets(sets) => sets,
        Targets::None | Targets::Classes(_) | Targets::Tokens(_) | Targets::Values(_) => &[],
    };
    sets.iter().map(move |set| (0..labels).map(|label| set.binary_search(&label).is_ok()).collect())
}

fn sigmoids(logits: &[f32]) -> Vec<f64> {
    logits.iter().map(|logit| 1.0 / (1.0 + (-f64::from(*logit)).exp())).collect()
}

#[derive(Debug)]
struct SetEvaluator {
    loss: f64,
    names: Arc<[String]>,
    counts: LabelSetCounts,
    thresholds: Arc<[f64]>,
}

impl Evaluator for SetEvaluator {
    fn add(&mut self, output: &HostOutput) {
        self.loss += sum(&output.losses);
        for (truth, row) in truths(&output.targets, self.thresholds.len()).zip(output.rows()) {
            self.counts.add(&truth, &chosen(&sigmoids(row), &self.thresholds));
        }
    }

    fn scores(&self) -> Scores {
        self.counts.scores(self.loss / self.targets().max(1) as f64)
    }

    fn targets(&self) -> usize {
        self.counts.rows()
    }

    fn by_class(&self) -> Option<ByClass> {
        let of_class = |(name, it): (&String, &LabelCounts)| {
            let [correct, examples, predicted] = [it.correct, it.support, it.predicted].map(|count| count as u64);
            (name.clone(), OfClass { correct, examples, predicted })
        };
        let classes = self.names.iter().zip(self.counts.labels()).map(of_class).collect();
        Some(ByClass { what: "label", classes })
    }
}

fn add_answers(answered: &mut Answered, output: &HostOutput) {
    answered.truth.extend(truths(&output.targets, output.width));
    answered.probabilities.extend(output.rows().map(sigmoids));
    answered.losses.extend(&output.losses);
}

/// Of each label the threshold of the greatest F1.
fn fit(answered: &Answered, names: &[String]) -> Fitted {
    let of_label = |(label, name): (usize, &String)| {
        let truth: Vec<bool> = answered.truth.iter().map(|row| row[label]).collect();
        let probabilities: Vec<f64> = answered.probabilities.iter().map(|row| row[label]).collect();
        (name.clone(), best_threshold(&truth, &probabilities))
    };
    let thresholds: BTreeMap<String, f64> = names.iter().enumerate().map(of_label).collect();
    Fitted { thresholds, ..Fitted::default() }
}

#[derive(Debug)]
struct ThresholdFitter {
    names: Arc<[String]>,
    answered: Answered,
}

impl Fitter for ThresholdFitter {
    fn add(&mut self, output: &HostOutput) {
        add_answers(&mut self.answered, output);
    }

    fn fit(&self) -> Fitted {
        fit(&self.answered, &self.names)
    }
}

/// The labels of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelsAnswer {
    names: Arc<[String]>,
    /// Whether the text has each label.
    chosen: Vec<bool>,
    /// Of each label by itself.
    pub probabilities: Vec<f64>,
    pub logits: Vec<f32>,
}

impl LabelsAnswer {
    /// The numbers of the labels that the text has.
    pub fn label_ids(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.chosen.len()).filter(|label| self.chosen[*label])
    }

    fn labels(&self) -> Value {
        self.label_ids().map(|label| self.names[label].as_str()).collect()
    }

    /// As `f32`, which the logits are.
    fn probabilities(&self) -> impl Iterator<Item = Value> + '_ {
        self.probabilities.iter().map(|probability| number(*probability as f32))
    }

    pub(crate) fn describe(&self) -> String {
        let label = |label: usize| format!("{} ({:.1} %)", self.names[label], 100.0 * self.probabilities[label]);
        let labels: Vec<String> = self.label_ids().map(label).collect();
        if labels.is_empty() { "no label".to_string() } else { labels.join(", ") }
    }

    pub(crate) fn object(&self, named: bool) -> Map<String, Value> {
        let probabilities = match named {
            true => self.names.iter().cloned().zip(self.probabilities()).collect::<Map<_, _>>().into(),
            false => self.probabilities().collect(),
        };
        let keys = [
            ("labels", self.labels()),
            ("label_ids", self.label_ids().collect()),
            ("probabilities", probabilities),
            ("logits", self.logits.iter().map(|logit| number(*logit)).collect()),
        ];
        keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    pub(crate) fn cells(&self) -> Map<String, Value> {
        cell_names(&self.names).zip([self.labels()].into_iter().chain(self.probabilities())).collect()
    }
}

fn cell_names(labels: &[String]) -> impl Iterator<Item = String> {
    std::iter::once("labels".to_string()).chain(labels.iter().map(|label| format!("p_{label}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_judged_by_the_micro_f1_of_the_lines_that_are_drawn() {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let labels = Labels::new(names.clone()).expect("different names");
        let task = MultiLabelClassification { labels, names: names.into(), thresholds: [THRESHOLD; 3].into() };
        let line = |label: Value, predicted: Value| {
            let keys = [("text", json!("")), ("label", label), ("predicted", predicted)];
            keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map<_, _>>()
        };
        let judged = task.judged(&[
            line(json!(["a", "b"]), json!(["b"])),
            line(json!([]), json!(["c"])),
            line(json!(["c", "a"]), json!(["a", "c"])),
            line(json!([]), json!([])),
        ]);
        // Twice the labels that are right, over those of the data and those of the answers.
        for (drawn, expected) in
            [(&[0, 1, 2, 3][..], 6.0 / 8.0), (&[0], 2.0 / 3.0), (&[2, 2, 3], 1.0), (&[0, 0, 1], 4.0 / 7.0)]
        {
            assert_eq!(judged(drawn), expected, "{drawn:?}");
        }
    }
}

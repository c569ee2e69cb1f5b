//! Classification of whole sequences, or of pairs of them.

use std::path::Path;
use std::sync::Arc;

use burn::train::InferenceStep;
use data::language::Purpose;
use data::{Batch, Dataset, Example, ExampleTarget, Labelled, Labels, Record, Tally, Tokenizer, Written};
use model::Head;
use serde_json::{Map, Value, json};

use crate::evaluator::sum;
use crate::metrics::{ACCURACY, Confusion, F1_MACRO, LOSS, MATTHEWS, OfClass, Scores, Shown, Unit};
use crate::{
    Answer, Classes, Classification, Columns, Definition, Encoding, Error, Evaluator, Expected, HostOutput,
    LabelFinder, Opening, Prediction, Rows, Sections, Task, TrainableModel, Use, Validation, beginning, host, largest,
    number,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "sequence-classification",
    words: "text classification",
    head: Head::SequenceClassification,
    vocabulary: false,
    classes: Classes::One,
    usage: Use::Predict,
    keys: &["model.labels", "data.text_template", "data.text_pair", "data.label"],
    settings: &[],
    scores: &[&ACCURACY, &F1_MACRO, &MATTHEWS],
    best: &[&ACCURACY, &LOSS, &F1_MACRO, &MATTHEWS],
    peft_type: Some("SEQ_CLS"),
    problem: Some("single_label_classification"),
    modules_to_save: &["classifier", "score"],
    auto_class: "AutoModelForSequenceClassification",
    pipeline: "text-classification",
    columns,
    finder: Some(|| Box::new(ClassFinder::default())),
    open,
};

fn columns(file: &Path, first: &Record, written: Written<'_>, purpose: Purpose) -> Result<Columns, data::Error> {
    let labelled = if purpose == Purpose::Training { Labelled::Yes } else { Labelled::No };
    data::Columns::find(file, first, written, labelled).map(Columns::Texts)
}

fn open(opening: Opening<'_>) -> Result<Arc<dyn Task>, Error> {
    let labels = opening.labels.expect("a task with classes is opened with their names");
    Ok(Arc::new(SequenceClassification::new(labels)))
}

#[derive(Debug)]
pub struct SequenceClassification {
    labels: Labels,
    /// Theirs, for answers to keep.
    names: Arc<[String]>,
}

impl SequenceClassification {
    pub fn new(labels: Labels) -> Self {
        Self { names: labels.names().into(), labels }
    }
}

/// Numbers labels as they come.
#[derive(Debug, Default)]
struct ClassFinder(Tally);

impl LabelFinder for ClassFinder {
    fn encode(
        &mut self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        add(file, rows, |example| self.0.add(file, example), encoding, dataset)
    }

    fn labels(&self, name: &Path) -> Result<Labels, data::Error> {
        self.0.labels(name)
    }

    fn settle(&self, labels: &Labels, dataset: &mut Dataset) -> Result<(), data::Error> {
        let numbers = self.0.numbers(labels)?;
        dataset
            .settle(&|target| target.class().map_or(ExampleTarget::None, |class| ExampleTarget::Class(numbers[class])));
        Ok(())
    }
}

fn add(
    file: &Path,
    rows: &Rows,
    mut class: impl FnMut(&Example) -> Result<usize, data::Error>,
    encoding: &Encoding<'_>,
    dataset: &mut Dataset,
) -> Result<(), data::Error> {
    let examples = rows.texts();
    let target = |example: &Example| class(example).map(ExampleTarget::Class);
    let targets: Vec<ExampleTarget> = examples.iter().map(target).collect::<Result<_, _>>()?;
    dataset.add_texts(file, &examples, &targets, (encoding.tokenizer, encoding.max_length), encoding.progress)
}

static SHOWN: [Shown; 3] = [
    Shown { title: "Accuracy", score: &ACCURACY, unit: Unit::Percent },
    Shown { title: "F1 macro", score: &F1_MACRO, unit: Unit::None },
    Shown { title: "Matthews", score: &MATTHEWS, unit: Unit::None },
];

/// Examples that are answered together for the page.
const BATCH: usize = 32;

impl Task for SequenceClassification {
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
        add(file, rows, |example| self.labels.index(file, example), encoding, dataset)
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        Box::new(ClassEvaluator { loss: 0.0, confusion: Confusion::new(self.names.len()) })
    }

    fn shown(&self) -> &'static [Shown] {
        &SHOWN
    }

    fn compared(&self, output: &HostOutput, sequence: usize) -> Map<String, Value> {
        let name = |class: usize| Value::from(self.names[class].as_str());
        let label = output.targets.numbers().get(sequence).map(|target| ("label", name(*target)));
        let predicted = output.rows().nth(sequence).map(|row| ("predicted", name(largest(row))));
        label.into_iter().chain(predicted).map(|(key, value)| (key.to_string(), value)).collect()
    }

    fn expected(&self, batch: &Batch, _: &Tokenizer) -> Expected {
        let names: Vec<String> = batch.targets.numbers().iter().map(|class| self.names[*class].clone()).collect();
        let label = json!(names.first());
        Expected::Beside(names, ("label", label))
    }

    /// All examples with their answers.
    fn sections(&self, model: &TrainableModel, validation: &Validation<'_>) -> Sections {
        let dataset = validation.dataset;
        let mut answered: Vec<(Vec<f32>, f64)> = Vec::with_capacity(dataset.len());
        for chunk in (0..dataset.len()).collect::<Vec<_>>().chunks(BATCH) {
            let input = (self as &dyn Task).evaluation(Batch::new(dataset, chunk, chunk[0]));
            let found = InferenceStep::step(model, input);
            let width = found.outputs.dims()[1];
            let (losses, logits) = (host(found.losses), host(found.outputs));
            answered.extend(logits.chunks(width).map(<[f32]>::to_vec).zip(losses.into_iter().map(f64::from)));
        }
        let targets = dataset.iter().map(|encoded| encoded.target().class().unwrap_or_default());
        let prediction = |((example, target), (logits, loss)): ((Example, usize), (Vec<f32>, f64))| {
            let text_pair = example.text_pair.as_deref().map(beginning);
            Prediction { line: example.line, text: beginning(&example.text), text_pair, target, logits, loss }
        };
        let predictions = (validation.texts)().into_iter().zip(targets).zip(answered).map(prediction).collect();
        let classification = Some(Classification { labels: self.names.to_vec(), predictions });
        Sections { classification, ..Sections::default() }
    }

    fn answer(&self, outputs: &[f32]) -> Option<Answer> {
        Some(Answer::Class(ClassAnswer::new(outputs.to_vec(), self.names.clone())))
    }

    fn answer_names(&self, is_table: bool) -> Vec<String> {
        match is_table {
            true => cell_names(&self.names).collect(),
            false => ["label", "label_id", "probabilities", "logits"].map(str::to_string).to_vec(),
        }
    }
}

#[derive(Debug)]
struct ClassEvaluator {
    loss: f64,
    confusion: Confusion,
}

impl Evaluator for ClassEvaluator {
    fn add(&mut self, output: &HostOutput) {
        self.loss += sum(&output.losses);
        for (row, target) in output.rows().zip(output.targets.numbers()) {
            self.confusion.add(*target, largest(row));
        }
    }

    fn scores(&self) -> Scores {
        self.confusion.scores(self.loss / self.targets().max(1) as f64)
    }

    fn targets(&self) -> usize {
        self.confusion.total() as usize
    }

    fn by_class(&self) -> Vec<OfClass> {
        (0..self.confusion.rows().len()).map(|class| self.confusion.class(class)).collect()
    }

    fn confusion(&self) -> Option<&Confusion> {
        Some(&self.confusion)
    }
}

/// The class of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassAnswer {
    names: Arc<[String]>,
    pub label_id: usize,
    /// Of each class.
    pub probabilities: Vec<f32>,
    pub logits: Vec<f32>,
}

impl ClassAnswer {
    fn new(logits: Vec<f32>, names: Arc<[String]>) -> Self {
        let label_id = largest(&logits);
        let top = logits[label_id];
        let exponentials: Vec<f32> = logits.iter().map(|logit| (logit - top).exp()).collect();
        let sum: f32 = exponentials.iter().sum();
        let probabilities = exponentials.iter().map(|value| value / sum).collect();
        Self { names, label_id, probabilities, logits }
    }

    /// The name of the most probable class.
    pub fn label(&self) -> &str {
        &self.names[self.label_id]
    }

    /// Its probability.
    pub fn probability(&self) -> f32 {
        self.probabilities[self.label_id]
    }

    pub(crate) fn describe(&self) -> String {
        format!("{} ({:.1} %)", self.label(), 100.0 * self.probability())
    }

    pub(crate) fn object(&self, named: bool) -> Map<String, Value> {
        let numbers = |values: &[f32]| values.iter().map(|value| number(*value)).collect::<Vec<_>>();
        let probabilities = match named {
            true => self.names.iter().cloned().zip(numbers(&self.probabilities)).collect::<Map<_, _>>().into(),
            false => Value::from(numbers(&self.probabilities)),
        };
        let keys = [
            ("label", json!(self.label())),
            ("label_id", json!(self.label_id)),
            ("probabilities", probabilities),
            ("logits", numbers(&self.logits).into()),
        ];
        keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    pub(crate) fn cells(&self) -> Map<String, Value> {
        let values = [json!(self.label()), number(self.probability())];
        let of_classes = self.probabilities.iter().map(|value| number(*value));
        cell_names(&self.names).zip(values.into_iter().chain(of_classes)).collect()
    }
}

fn cell_names(labels: &[String]) -> impl Iterator<Item = String> {
    ["label", "probability"].map(str::to_string).into_iter().chain(labels.iter().map(|label| format!("p_{label}")))
}

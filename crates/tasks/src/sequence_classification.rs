//! Classification of whole sequences, or of pairs of them.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Tensor, TensorData};
use data::language::Purpose;
use data::{Batch, ColumnNames, Dataset, Example, ExampleTarget, Labelled, Labels, Record, Tally, Targets, Tokenizer};
use lora::peft::STANDARD_HEADS;
use model::Head;
use serde_json::{Map, Value, json};

use crate::evaluator::sum;
use crate::metrics::calibration::Calibration;
use crate::metrics::cross_entropy::balanced_weights;
use crate::metrics::{ACCURACY, ByClass, Confusion, F1_MACRO, LOSS, MATTHEWS, Scores, Shown, Unit};
use crate::{
    Answer, Classes, Classification, Columns, Definition, Encoding, Error, Evaluator, Expected, Fitted, Fitter,
    HostOutput, Judged, LabelFinder, Opening, Prediction, Rows, Section, Sections, Task, TrainableModel, Use,
    Validation, beginning, largest, number,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "sequence-classification",
    words: "text classification",
    head: Head::SequenceClassification,
    vocabulary: false,
    classes: Classes::One,
    usage: Use::Predict,
    keys: &[
        "model.labels",
        "data.text_template",
        "data.text_pair",
        "data.label",
        "data.class_weights",
        "train.label_smoothing",
    ],
    settings: &[],
    scores: &[&ACCURACY, &F1_MACRO, &MATTHEWS],
    best: &[&ACCURACY, &LOSS, &F1_MACRO, &MATTHEWS],
    peft_type: Some("SEQ_CLS"),
    problem: Some("single_label_classification"),
    modules_to_save: &STANDARD_HEADS,
    auto_class: "AutoModelForSequenceClassification",
    pipeline: "text-classification",
    columns,
    finder: Some(|| Box::new(ClassFinder::default())),
    open,
};

fn columns(file: &Path, first: &Record, names: &ColumnNames, purpose: Purpose) -> Result<Columns, data::Error> {
    let labelled = if purpose == Purpose::Training { Labelled::Yes } else { Labelled::No };
    data::Columns::find(file, first, names, labelled).map(Columns::Texts)
}

fn open(opening: Opening<'_>) -> Result<Arc<dyn Task>, Error> {
    let labels = opening.labels.expect("a task with classes is opened with their names");
    let weights = match (opening.settings.get(CLASS_WEIGHTS), opening.training) {
        (Some(written), Some(training)) => class_weights(written, &labels, training)?,
        (None, _) | (_, None) => None,
    };
    let label_smoothing = opening.settings.get(LABEL_SMOOTHING).and_then(Value::as_f64).unwrap_or(0.0);
    Ok(Arc::new(SequenceClassification { weights, label_smoothing, ..SequenceClassification::new(labels) }))
}

const CLASS_WEIGHTS: &str = "class_weights";
const LABEL_SMOOTHING: &str = "label_smoothing";

/// `"balanced"`, by the rows of each class, or numbers by the names of classes, 1 for those that have none.
fn class_weights(written: &Value, labels: &Labels, training: &Dataset) -> Result<Option<Vec<f64>>, Error> {
    match written {
        Value::String(_) => Ok(Some(balanced_weights(&training.class_counts(labels.len())))),
        Value::Object(by_name) => {
            let mut weights = vec![1.0; labels.len()];
            for (name, weight) in by_name {
                let names = || labels.names().iter().map(String::as_str);
                let class = names().position(|known| known == name).ok_or_else(|| Error::NoSuchClass {
                    name: name.clone(),
                    suggestion: suggest::suggestion(name, names()),
                })?;
                weights[class] = weight.as_f64().unwrap_or(1.0);
            }
            Ok(Some(weights))
        }
        _ => Ok(None),
    }
}

#[derive(Debug)]
pub struct SequenceClassification {
    labels: Labels,
    /// Theirs, for answers to keep.
    names: Arc<[String]>,
    /// Of each class, in training; `None`: all are alike.
    weights: Option<Vec<f64>>,
    /// The share of a target that is spread over all classes, in training.
    label_smoothing: f64,
}

impl SequenceClassification {
    pub fn new(labels: Labels) -> Self {
        Self { names: labels.names().into(), labels, weights: None, label_smoothing: 0.0 }
    }

    fn weight(&self, class: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[class])
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
    dataset.add_texts(file, &examples, &targets, encoding)
}

static SHOWN: [Shown; 3] = [
    Shown { title: "Accuracy", score: &ACCURACY, unit: Unit::Percent },
    Shown { title: "F1 macro", score: &F1_MACRO, unit: Unit::None },
    Shown { title: "Matthews", score: &MATTHEWS, unit: Unit::None },
];

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

    /// `torch.nn.CrossEntropyLoss(weight, label_smoothing)` of each target: `-(1 - e) w_y ln p_y - e / C sum_c w_c ln p_c`.
    /// Without weights that is the loss of Transformers' `LabelSmoother`.
    fn training_loss(&self, outputs: Tensor<2>, targets: &Targets) -> Tensor<1> {
        if self.weights.is_none() && self.label_smoothing == 0.0 {
            return self.loss(outputs, targets);
        }
        let (classes, smoothing) = (self.names.len(), self.label_smoothing);
        let share = |target: usize, class: usize| {
            let own = if class == target { 1.0 - smoothing } else { 0.0 };
            (self.weight(class) * (own + smoothing / classes as f64)) as f32
        };
        let shares: Vec<f32> =
            targets.numbers().iter().flat_map(|target| (0..classes).map(move |class| share(*target, class))).collect();
        let shares = Tensor::<2>::from_data(TensorData::new(shares, outputs.dims()), &outputs.device());
        (log_softmax(outputs, 1) * shares).sum_dim(1).squeeze_dim(1).neg()
    }

    /// torch's `reduction="mean"` divides by the weights of the targets' classes, smoothed or not.
    fn divisor(&self, targets: &Targets) -> f64 {
        targets.numbers().iter().map(|target| self.weight(*target)).sum()
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        Box::new(ClassEvaluator { names: self.names.clone(), loss: 0.0, confusion: Confusion::new(self.names.len()) })
    }

    fn fitter(&self) -> Option<Box<dyn Fitter>> {
        Some(Box::new(TemperatureFitter::default()))
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

    fn judged(&self, lines: &[Map<String, Value>]) -> Judged {
        let right: Vec<bool> = lines.iter().map(|line| line.get("label") == line.get("predicted")).collect();
        Box::new(move |drawn| drawn.iter().filter(|index| right[**index]).count() as f64 / drawn.len().max(1) as f64)
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
        for (_, output) in validation.answers(model) {
            answered.extend(output.rows().map(<[f32]>::to_vec).zip(output.losses.iter().copied().map(f64::from)));
        }
        let targets = dataset.iter().map(|encoded| encoded.target().class().unwrap_or_default());
        let prediction = |((example, target), (logits, loss)): ((Example, usize), (Vec<f32>, f64))| {
            let text_pair = example.text_pair.as_deref().map(beginning);
            Prediction { line: example.line, text: beginning(&example.text), text_pair, target, logits, loss }
        };
        let texts = (validation.rows)().texts().into_owned();
        let predictions = texts.into_iter().zip(targets).zip(answered).map(prediction).collect();
        let classification = Classification { labels: self.names.to_vec(), predictions };
        Sections { sections: vec![Section::Classification(classification)], ..Sections::default() }
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
    names: Arc<[String]>,
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

    fn by_class(&self) -> Option<ByClass> {
        let classes = self.names.iter().enumerate().map(|(class, name)| (name.clone(), self.confusion.class(class)));
        Some(ByClass { what: "class", classes: classes.collect() })
    }

    fn confusion(&self) -> Option<&Confusion> {
        Some(&self.confusion)
    }
}

/// Keeps all logits of an evaluation: the temperature is that of all together.
#[derive(Debug, Default)]
struct TemperatureFitter {
    logits: Vec<Vec<f64>>,
    targets: Vec<usize>,
}

impl Fitter for TemperatureFitter {
    fn add(&mut self, output: &HostOutput) {
        self.logits.extend(output.rows().map(|row| row.iter().copied().map(f64::from).collect()));
        self.targets.extend(output.targets.numbers());
    }

    /// None where all answers are right, or no better than a guess: then the likelihood has no maximum.
    fn fit(&self) -> Fitted {
        let calibration = Calibration::fit(&self.logits, &self.targets).filter(Calibration::is_within_bounds);
        Fitted { temperature: calibration.map(|calibration| calibration.temperature), ..Fitted::default() }
    }
}

/// The class of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassAnswer {
    names: Arc<[String]>,
    /// The most probable class.
    pub label_id: usize,
    /// Whether it is not probable enough to be the answer.
    pub is_abstention: bool,
    /// Of each class.
    pub probabilities: Vec<f32>,
    pub logits: Vec<f32>,
}

impl ClassAnswer {
    fn new(logits: Vec<f32>, names: Arc<[String]>) -> Self {
        let label_id = largest(&logits);
        Self { names, label_id, is_abstention: false, probabilities: softmax(&logits, 1.0), logits }
    }

    pub(crate) fn calibrated(self, temperature: f64) -> Self {
        Self { probabilities: softmax(&self.logits, temperature as f32), ..self }
    }

    pub(crate) fn abstaining_below(self, min_confidence: f64) -> Self {
        Self { is_abstention: f64::from(self.probability()) < min_confidence, ..self }
    }

    /// The class that is the answer; `None`: the model abstains.
    fn answer(&self) -> Option<usize> {
        (!self.is_abstention).then_some(self.label_id)
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
        let most_probable = format!("{} ({:.1} %)", self.label(), 100.0 * self.probability());
        if self.is_abstention { format!("no answer, {most_probable}") } else { most_probable }
    }

    pub(crate) fn object(&self, named: bool) -> Map<String, Value> {
        let numbers = |values: &[f32]| values.iter().map(|value| number(*value)).collect::<Vec<_>>();
        let probabilities = match named {
            true => self.names.iter().cloned().zip(numbers(&self.probabilities)).collect::<Map<_, _>>().into(),
            false => Value::from(numbers(&self.probabilities)),
        };
        let keys = [
            ("label", json!(self.answer().map(|_| self.label()))),
            ("label_id", json!(self.answer())),
            ("probabilities", probabilities),
            ("logits", numbers(&self.logits).into()),
        ];
        keys.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
    }

    pub(crate) fn cells(&self) -> Map<String, Value> {
        let values = [json!(self.answer().map(|_| self.label())), number(self.probability())];
        let of_classes = self.probabilities.iter().map(|value| number(*value));
        cell_names(&self.names).zip(values.into_iter().chain(of_classes)).collect()
    }
}

/// Of logits that are divided by a temperature.
fn softmax(logits: &[f32], temperature: f32) -> Vec<f32> {
    let top = logits[largest(logits)];
    let exponentials: Vec<f32> = logits.iter().map(|logit| ((logit - top) / temperature).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter().map(|value| value / sum).collect()
}

fn cell_names(labels: &[String]) -> impl Iterator<Item = String> {
    ["label", "probability"].map(str::to_string).into_iter().chain(labels.iter().map(|label| format!("p_{label}")))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::metrics::cross_entropy::cross_entropy;

    #[test]
    fn the_loss_of_training_is_torchs_with_weights_and_smoothing_and_that_of_evaluations_has_neither() {
        let labels = || Labels::new(["a", "b", "c"].map(str::to_string).to_vec()).unwrap();
        let rows = [[1.0_f32, -0.5, 2.0], [0.2, 0.3, -1.0], [3.0, 1.0, 0.5], [-1.0, 0.0, 1.0]];
        let logits = Tensor::<2>::from_data(rows, &Device::flex());
        let targets = Targets::Classes(vec![2, 0, 1, 1]);
        let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.iter().copied().map(f64::from).collect()).collect();
        let reference = |weights: Option<&[f64]>, smoothing: f64| {
            cross_entropy(rows.iter().map(Vec::as_slice).zip([2, 0, 1, 1]), weights, smoothing)
        };
        for (weights, label_smoothing) in
            [(None, 0.0), (None, 0.1), (Some(vec![0.5, 2.0, 1.25]), 0.0), (Some(vec![0.5, 2.0, 1.25]), 0.1)]
        {
            let task = SequenceClassification {
                weights: weights.clone(),
                label_smoothing,
                ..SequenceClassification::new(labels())
            };
            let sum = |losses: Tensor<1>| f64::from(losses.sum().into_scalar::<f32>());
            let expected = reference(weights.as_deref(), label_smoothing);
            assert!((sum(task.training_loss(logits.clone(), &targets)) - expected.sum).abs() < 1e-5, "{expected:?}");
            assert_eq!(task.divisor(&targets), expected.divisor);
            assert!((sum(task.loss(logits.clone(), &targets)) - reference(None, 0.0).sum).abs() < 1e-5);
        }
    }
}

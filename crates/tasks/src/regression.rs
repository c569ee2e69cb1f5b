//! Regression: a number for each text, or for each pair of texts. The loss is the mean squared error, as that of
//! Transformers' classifiers with `problem_type = "regression"` and `num_labels = 1`.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};
use data::language::Purpose;
use data::{Batch, ColumnNames, Dataset, ExampleTarget, Labelled, Record, Targets, Tokenizer};
use lora::peft::STANDARD_HEADS;
use model::Head;
use serde_json::{Map, Value, json};

use crate::evaluator::sum;
use crate::metrics::regression::{RegressionScores, pearson_of};
use crate::metrics::{LOSS, MAE, PEARSON, RMSE, SPEARMAN, Scores, Shown, Unit};
use crate::{
    Answer, Classes, Columns, Definition, Encoding, Error, Evaluator, Expected, HostOutput, Judged, Opening, Rows,
    Sections, Task, TrainableModel, Use, Validation, number, value_report,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "regression",
    words: "regression",
    head: Head::SequenceClassification,
    vocabulary: false,
    classes: Classes::None,
    usage: Use::Predict,
    keys: &["data.text_template", "data.text_pair", "data.label"],
    settings: &[],
    scores: &[&PEARSON, &SPEARMAN, &MAE, &RMSE],
    best: &[&PEARSON, &LOSS, &SPEARMAN],
    peft_type: Some("SEQ_CLS"),
    modules_to_save: &STANDARD_HEADS,
    auto_class: "AutoModelForSequenceClassification",
    problem: Some(PROBLEM),
    pipeline: "text-classification",
    columns,
    finder: None,
    open: |_: Opening<'_>| -> Result<Arc<dyn Task>, Error> { Ok(Arc::new(Regression)) },
};

const PROBLEM: &str = "regression";

fn columns(file: &Path, first: &Record, names: &ColumnNames, purpose: Purpose) -> Result<Columns, data::Error> {
    let labelled = if purpose == Purpose::Training { Labelled::Yes } else { Labelled::No };
    let mut found = data::Columns::find(file, first, names, labelled)?;
    let value = found.label.take();
    Ok(Columns::Values(found, value))
}

#[derive(Debug)]
struct Regression;

static SHOWN: [Shown; 3] = [
    Shown { title: "Pearson", score: &PEARSON, unit: Unit::None },
    Shown { title: "Spearman", score: &SPEARMAN, unit: Unit::None },
    Shown { title: "MAE", score: &MAE, unit: Unit::None },
];

impl Task for Regression {
    fn definition(&self) -> &'static Definition {
        &DEFINITION
    }

    fn outputs(&self) -> usize {
        1
    }

    fn encode(
        &self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        let Rows::Values(texts, values) = rows else { unreachable!("rows are read by the columns of their task") };
        let target = |value: &Option<f32>| value.map_or(ExampleTarget::None, ExampleTarget::Value);
        let targets: Vec<ExampleTarget> = values.iter().map(target).collect();
        dataset.add_texts(file, texts, &targets, encoding)
    }

    /// The squared error of each target.
    fn loss(&self, outputs: Tensor<2>, targets: &Targets) -> Tensor<1> {
        let values = values(targets).to_vec();
        let targets = Tensor::<2>::from_data(TensorData::new(values, outputs.dims()), &outputs.device());
        let error = outputs - targets;
        (error.clone() * error).squeeze_dim(1)
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        Box::new(ValueEvaluator::default())
    }

    fn shown(&self) -> &'static [Shown] {
        &SHOWN
    }

    /// Predictions beside the data, their residuals, and the rows that are furthest off.
    fn sections(&self, model: &TrainableModel, validation: &Validation<'_>) -> Sections {
        let mut evaluator = ValueEvaluator::default();
        validation.answers(model).for_each(|(_, output)| evaluator.add(&output));
        let ValueEvaluator { truth, predicted, .. } = evaluator;
        match truth.is_empty() {
            true => Sections::default(),
            false => value_report::sections(&truth, &predicted, &(validation.rows)().texts()),
        }
    }

    fn compared(&self, output: &HostOutput, sequence: usize) -> Map<String, Value> {
        let value = values(&output.targets).get(sequence).map(|value| ("label", number(*value)));
        let predicted = output.outputs.get(sequence).map(|value| ("predicted", number(*value)));
        value.into_iter().chain(predicted).map(|(key, value)| (key.to_string(), value)).collect()
    }

    fn judged(&self, lines: &[Map<String, Value>]) -> Judged {
        // Lines have the digits of an `f32`: of answers that hardly differ, what these leave out would count.
        let exact = |value: f64| f64::from(value as f32);
        let value =
            |line: &Map<String, Value>, key: &str| line.get(key).and_then(Value::as_f64).map_or(f64::NAN, exact);
        let values = |key: &str| lines.iter().map(|line| value(line, key)).collect();
        Box::new(pearson_of(values("label"), values("predicted")))
    }

    fn expected(&self, batch: &Batch, _: &Tokenizer) -> Expected {
        let values: Vec<Value> = values(&batch.targets).iter().map(|value| number(*value)).collect();
        let first = json!(values.first());
        Expected::Beside(values.iter().map(Value::to_string).collect(), ("label", first))
    }

    fn answer(&self, outputs: &[f32]) -> Option<Answer> {
        outputs.first().map(|value| Answer::Value(*value))
    }

    fn answer_names(&self, _: bool) -> Vec<String> {
        vec!["value".to_string()]
    }

    /// As Transformers writes a model of one output; `num_labels` is not written by it, but follows from `id2label`.
    fn write_config(&self, config: &mut Map<String, Value>) {
        config.insert("problem_type".to_string(), json!(PROBLEM));
        config.insert("id2label".to_string(), json!({ "0": "LABEL_0" }));
        config.insert("label2id".to_string(), json!({ "LABEL_0": 0 }));
    }
}

fn values(targets: &Targets) -> &[f32] {
    match targets {
        Targets::Values(values) => values,
        Targets::None | Targets::Classes(_) | Targets::Tokens(_) | Targets::Sets(_) => &[],
    }
}

/// Keeps all numbers: ranks are those of a whole file.
#[derive(Debug, Default)]
struct ValueEvaluator {
    loss: f64,
    truth: Vec<f64>,
    predicted: Vec<f64>,
}

impl Evaluator for ValueEvaluator {
    fn add(&mut self, output: &HostOutput) {
        self.loss += sum(&output.losses);
        self.truth.extend(values(&output.targets).iter().copied().map(f64::from));
        self.predicted.extend(output.outputs.iter().copied().map(f64::from));
    }

    fn scores(&self) -> Scores {
        let scores = RegressionScores::of(&self.truth, &self.predicted);
        let others =
            [(&PEARSON, scores.pearson), (&SPEARMAN, scores.spearman), (&MAE, scores.mae), (&RMSE, scores.rmse)];
        Scores::new(self.loss / self.targets().max(1) as f64, others)
    }

    fn targets(&self) -> usize {
        self.truth.len()
    }
}

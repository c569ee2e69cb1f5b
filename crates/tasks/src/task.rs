//! What a task does, once what it needs to know of its data is known.

use std::fmt::Debug;
use std::path::Path;

use burn::tensor::Tensor;
use data::{Batch, Dataset, Labels, Targets, Tokenizer};
use kernels::{Noise, cross_entropy};
use serde_json::{Map, Value, json};

use crate::metrics::Shown;
use crate::{
    Answer, CausalLm, Definition, Encoding, Error, Evaluator, Fitter, HostOutput, MicroBatch, Question, Rows, Sections,
    TrainableModel, Validation,
};

/// A score of some of the examples of a file, named by their indices, of which one may be named several times.
pub type Judged = Box<dyn Fn(&[usize]) -> f64>;

/// A task with what it has to know of its data.
pub trait Task: Debug + Send + Sync {
    fn definition(&self) -> &'static Definition;

    /// The names of its classes; `None` for a task without.
    fn labels(&self) -> Option<&Labels> {
        None
    }

    /// What the head says of a target: so many numbers. 0 for a head over the vocabulary.
    fn outputs(&self) -> usize {
        self.labels().map_or(0, Labels::len)
    }

    /// The values of [`Definition::settings`], as `kindling.json` keeps them.
    fn settings(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Encodes rows of a file and adds them to a data set.
    fn encode(
        &self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error>;

    /// Whether examples can be trained on and scored.
    fn check(&self, _dataset: &Dataset, _tokenizer: &Tokenizer) -> Result<(), Error> {
        Ok(())
    }

    /// What the model is shown of a batch, and what it is asked. `noise` is what the draw derives from.
    fn present(&self, batch: Batch, _noise: Noise) -> Batch {
        batch
    }

    /// The loss of each target from what the head said of it, `[targets, outputs]` to `[targets]`. Of a head over the
    /// vocabulary [`TrainableModel`] makes loss and outputs in one, without it.
    fn loss(&self, outputs: Tensor<2>, targets: &Targets) -> Tensor<1> {
        cross_entropy(outputs, targets.numbers())
    }

    /// The same where a model is trained: weighted or smoothed, as evaluations are not, so that they compare between runs.
    fn training_loss(&self, outputs: Tensor<2>, targets: &Targets) -> Tensor<1> {
        self.loss(outputs, targets)
    }

    /// What the sum of the losses of an optimiser step is divided by: the number of targets, or the sum of their weights.
    fn divisor(&self, targets: &Targets) -> f64 {
        targets.len() as f64
    }

    fn evaluator(&self) -> Box<dyn Evaluator>;

    /// What is told the outputs of each evaluation on the validation data; that of the weights that are kept is fitted.
    /// `None` for a task that fits nothing.
    fn fitter(&self) -> Option<Box<dyn Fitter>> {
        None
    }

    /// The scores that burn's dashboard shows beside the loss.
    fn shown(&self) -> &'static [Shown];

    /// What stands in a line of `--per-example` for what was expected of a sequence and what was answered.
    fn compared(&self, _output: &HostOutput, _sequence: usize) -> Map<String, Value> {
        Map::new()
    }

    /// The score that the task is judged by, the first of [`Definition::best`], of some of the examples which lines of
    /// `--per-example` tell: by default the loss.
    fn judged(&self, lines: &[Map<String, Value>]) -> Judged {
        let number = |line: &Map<String, Value>, key: &str| line.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
        let sums: Vec<(f64, f64)> =
            lines.iter().map(|line| (number(line, "loss") * number(line, "tokens"), number(line, "tokens"))).collect();
        Box::new(move |drawn| {
            let (loss, tokens) =
                drawn.iter().fold((0.0, 0.0), |(loss, tokens), index| (loss + sums[*index].0, tokens + sums[*index].1));
            loss / tokens
        })
    }

    /// How [`Task::judged`] differs from the same score of an evaluation while a model is trained, in a sentence.
    fn judged_otherwise(&self) -> Option<&'static str> {
        None
    }

    /// What the model is to answer to the first sequence of a batch, for people and for programs.
    fn expected(&self, batch: &Batch, tokenizer: &Tokenizer) -> Expected;

    /// What the page of a run shows of the validation data.
    fn sections(&self, _model: &TrainableModel, _validation: &Validation<'_>) -> Sections {
        Sections::default()
    }

    /// What a model is asked about a row, which stands alone in `rows`.
    fn question(&self, file: &Path, rows: &Rows, encoding: &Encoding<'_>) -> Result<Question, data::Error> {
        let texts = rows.texts();
        let example = texts.first().expect("there is a row to ask about");
        let encoded = encoding.tokenizer.encode(&example.text, example.text_pair.as_deref(), encoding.max_length);
        Ok(Question::of_text(&example.text, encoded.map_err(|error| error.at(file, example.line))?))
    }

    /// What the head's outputs for a question say, `[Question::outputs, outputs]`; `None` for a task whose models do not
    /// answer so.
    fn answer_to(&self, _question: &Question, outputs: &[f32]) -> Option<Answer> {
        self.answer(outputs)
    }

    /// What the head's outputs for one row say; `None` for a task whose models do not answer so.
    fn answer(&self, _outputs: &[f32]) -> Option<Answer> {
        None
    }

    /// The names of an answer's columns in a table, or of its keys.
    fn answer_names(&self, _is_table: bool) -> Vec<String> {
        Vec::new()
    }

    /// What `config.json` of a checkpoint says of the task, for Transformers: of one with classes `id2label` and `label2id`,
    /// and of a classifier of sequences `problem_type`.
    fn write_config(&self, config: &mut Map<String, Value>) {
        if let Some(problem) = self.definition().problem {
            config.insert("problem_type".to_string(), json!(problem));
        }
        let Some(labels) = self.labels() else { return };
        let ids = labels.names().iter().enumerate();
        let by_id: Map<String, Value> = ids.clone().map(|(i, name)| (i.to_string(), json!(name))).collect();
        let by_name: Map<String, Value> = ids.map(|(i, name)| (name.clone(), json!(i))).collect();
        config.insert("id2label".to_string(), Value::Object(by_id));
        config.insert("label2id".to_string(), Value::Object(by_name));
    }

    /// Of a task whose models write texts.
    fn writes(&self) -> Option<&CausalLm> {
        None
    }
}

/// What a model is to answer to an example.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// Tokens of the text itself, those behind the batch's rows; with their names in the vocabulary.
    Within(Value),
    /// In words, and the key and value by which programs know it.
    Beside(Vec<String>, (&'static str, Value)),
}

impl Expected {
    /// The key and the value by which programs know it.
    pub fn document(self) -> (&'static str, Value) {
        match self {
            Self::Within(tokens) => ("targets", tokens),
            Self::Beside(_, document) => document,
        }
    }
}

impl dyn Task + '_ {
    /// Names of the classes; none for a task without.
    pub fn label_names(&self) -> &[String] {
        self.labels().map_or(&[], Labels::names)
    }

    /// A batch to evaluate. What is drawn is the same at every evaluation, in every run.
    pub fn evaluation(&self, batch: Batch) -> MicroBatch {
        MicroBatch::evaluation(self.present(batch, Noise { seed: 0, step: 0 }))
    }

    /// `config.json` of a checkpoint with this task's head, for Transformers: the base's with class and labels.
    pub fn model_config(&self, base: &Value, class: &str) -> Value {
        let mut config = base.clone();
        if let Value::Object(keys) = &mut config {
            keys.insert("architectures".to_string(), Value::from(vec![class]));
            self.write_config(keys);
        }
        config
    }
}

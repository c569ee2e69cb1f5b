//! Classification of words (named entities, parts of speech): the first token of a word carries its tag.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use data::language::Purpose;
use data::tagging::{self, Numbers, Scheme, TagSet, Tally};
use data::{Batch, Dataset, EncodedExample, ExampleTarget, Labelled, Labels, Record, Tokenizer, Written};
use model::Head;
use serde_json::{Map, Value, json};

use crate::evaluator::sum;
use crate::metrics::entities::{EntityCounts, F1, PRECISION, RECALL};
use crate::metrics::{LOSS, Scores, Shown, TOKEN_ACCURACY, Unit};
use crate::{
    Classes, Columns, Definition, Encoding, Error, Evaluator, Expected, HostOutput, LabelFinder, Opening, Rows, Task,
    Use, largest,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "token-classification",
    words: "token classification",
    head: Head::TokenClassification,
    vocabulary: false,
    classes: Classes::Several,
    usage: Use::Score,
    keys: &["model.labels", "data.tokens", "data.tags", "data.entities"],
    settings: &[],
    scores: &[&F1, &PRECISION, &RECALL, &TOKEN_ACCURACY],
    best: &[&F1, &LOSS],
    peft_type: Some("TOKEN_CLS"),
    problem: None,
    modules_to_save: &["classifier", "score"],
    auto_class: "AutoModelForTokenClassification",
    pipeline: "token-classification",
    columns,
    finder: Some(|| Box::new(TagFinder::default())),
    open,
};

/// What `kindling.json` keeps of the tags, whose names alone do not tell IOB1 from IOB2.
const SCHEME: &str = "scheme";

fn columns(file: &Path, first: &Record, written: Written<'_>, purpose: Purpose) -> Result<Columns, data::Error> {
    let labelled = if purpose == Purpose::Training { Labelled::Yes } else { Labelled::No };
    let Written { tokens, tags, text, entities, .. } = written;
    let written = tagging::Written { tokens, tags, text, entities };
    tagging::Columns::find(file, first, written, labelled).map(Columns::Tagged)
}

fn open(opening: Opening<'_>) -> Result<Arc<dyn Task>, Error> {
    let labels = opening.labels.expect("a task with classes is opened with their names");
    let of_names = || Scheme::of_names(labels.names().iter().map(String::as_str));
    let scheme = opening.settings.get(SCHEME).and_then(Value::as_str).and_then(Scheme::named).unwrap_or_else(of_names);
    Ok(Arc::new(TokenClassification { tags: Arc::new(TagSet::new(labels.names(), scheme)), labels }))
}

#[derive(Debug)]
pub struct TokenClassification {
    labels: Labels,
    tags: Arc<TagSet>,
}

/// Numbers tags as they come.
#[derive(Debug, Default)]
struct TagFinder(Tally);

impl LabelFinder for TagFinder {
    fn encode(
        &mut self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        tagged(rows).iter().for_each(|row| self.0.add(file, row));
        add(file, rows, (Numbers::Tally(&self.0), &self.0.provisional()), encoding, dataset)
    }

    fn labels(&self, name: &Path) -> Result<Labels, data::Error> {
        self.0.labels(name).map(|(labels, _)| labels)
    }

    fn settle(&self, labels: &Labels, dataset: &mut Dataset) -> Result<(), data::Error> {
        let settled = self.0.settled(labels)?;
        let first_error = RefCell::new(None);
        dataset.settle(&|target| {
            let ExampleTarget::TokenClasses(tokens) = target else { return target };
            let (positions, classes): (Vec<usize>, Vec<usize>) = tokens.into_iter().unzip();
            let classes = settled(&classes).unwrap_or_else(|error| {
                first_error.borrow_mut().get_or_insert(error);
                classes
            });
            ExampleTarget::TokenClasses(positions.into_iter().zip(classes).collect())
        });
        first_error.into_inner().map_or(Ok(()), Err)
    }

    fn settings(&self) -> Map<String, Value> {
        self.0.scheme().map(|scheme| (SCHEME.to_string(), json!(scheme.name()))).into_iter().collect()
    }
}

fn tagged(rows: &Rows) -> &[tagging::Row] {
    match rows {
        Rows::Tagged(rows) => rows,
        Rows::Texts(_) | Rows::Language(_) => unreachable!("rows are read by the columns of the task"),
    }
}

fn add(
    file: &Path,
    rows: &Rows,
    (numbers, tags): (Numbers<'_>, &TagSet),
    encoding: &Encoding<'_>,
    dataset: &mut Dataset,
) -> Result<(), data::Error> {
    let encode = |row: &tagging::Row| {
        let encoded = tagging::encode(file, row, numbers, tags, encoding.tokenizer, encoding.max_length)?;
        Ok([EncodedExample {
            line: row.line,
            encoded: encoded.encoded,
            target: ExampleTarget::TokenClasses(encoded.positions.into_iter().zip(encoded.classes).collect()),
            spans: Vec::new(),
            lost_targets: encoded.lost_targets,
        }])
    };
    dataset.in_parallel(file, tagged(rows), encode, encoding.progress)
}

static SHOWN: [Shown; 2] = [
    Shown { title: "F1", score: &F1, unit: Unit::Percent },
    Shown { title: "Token accuracy", score: &TOKEN_ACCURACY, unit: Unit::Percent },
];

impl Task for TokenClassification {
    fn definition(&self) -> &'static Definition {
        &DEFINITION
    }

    fn labels(&self) -> Option<&Labels> {
        Some(&self.labels)
    }

    fn settings(&self) -> Map<String, Value> {
        Map::from_iter([(SCHEME.to_string(), json!(self.tags.scheme().name()))])
    }

    fn encode(
        &self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        add(file, rows, (Numbers::Labels(&self.labels), &self.tags), encoding, dataset)
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        let counts = EntityCounts::new(&self.tags);
        Box::new(EntityEvaluator { tags: self.tags.clone(), loss: 0.0, targets: 0, counts })
    }

    fn shown(&self) -> &'static [Shown] {
        &SHOWN
    }

    /// The tags of the words, in the data and in the answer.
    fn compared(&self, output: &HostOutput, sequence: usize) -> Map<String, Value> {
        let names =
            |classes: Vec<usize>| classes.into_iter().map(|class| self.labels.names()[class].as_str()).collect();
        let (truth, predicted) = words(output, sequence);
        Map::from_iter([("tags".to_string(), names(truth)), ("predicted".to_string(), names(predicted))])
    }

    fn expected(&self, batch: &Batch, _: &Tokenizer) -> Expected {
        let first = batch.sequences_of_targets().iter().take_while(|sequence| **sequence == 0).count();
        let classes = &batch.targets.numbers()[..first];
        let names: Vec<String> = classes.iter().map(|class| self.labels.names()[*class].clone()).collect();
        let tags = json!(names);
        Expected::Beside(names, ("tags", tags))
    }
}

/// The classes of the words of a sequence in the data, and those that the model finds most probable.
fn words(output: &HostOutput, sequence: usize) -> (Vec<usize>, Vec<usize>) {
    let own = output.of_sequence(sequence);
    let predicted = output.rows().skip(own.start).take(own.len()).map(largest).collect();
    (output.targets.numbers()[own].to_vec(), predicted)
}

#[derive(Debug)]
struct EntityEvaluator {
    tags: Arc<TagSet>,
    loss: f64,
    targets: usize,
    counts: EntityCounts,
}

impl Evaluator for EntityEvaluator {
    fn add(&mut self, output: &HostOutput) {
        self.loss += sum(&output.losses);
        self.targets += output.targets.len();
        for sequence in 0..output.sequences.last().map_or(0, |last| last + 1) {
            let (truth, predicted) = words(output, sequence);
            self.counts.add(&self.tags, &truth, &predicted);
        }
    }

    fn scores(&self) -> Scores {
        self.counts.scores().scores(self.loss / self.targets.max(1) as f64)
    }

    fn targets(&self) -> usize {
        self.targets
    }
}

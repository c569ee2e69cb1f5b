//! Classification of words (named entities, parts of speech): the first token of a word carries its tag.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use data::language::Purpose;
use data::tagging::{self, Numbers, Scheme, TagSet, Tally, Words};
use data::{Batch, ColumnNames, Dataset, EncodedExample, ExampleTarget, Labelled, Labels, Record, Tokenizer};
use lora::peft::STANDARD_HEADS;
use model::Head;
use serde_json::{Map, Value, json};

use crate::entity_report::{self, Sentence};
use crate::evaluator::sum;
use crate::metrics::entities::{EntityCounts, F1, Found, PRECISION, RECALL};
use crate::metrics::interval::{Clusters, normal};
use crate::metrics::{ByClass, LOSS, OfClass, Scores, Shown, TOKEN_ACCURACY, Unit};
use crate::{
    Answer, Classes, Columns, Definition, Encoding, Error, Evaluator, Expected, HostOutput, Judged, LabelFinder,
    Opening, Question, Rows, Section, Sections, Sequence, Task, TrainableModel, Use, Validation, largest, number,
};

pub(crate) static DEFINITION: Definition = Definition {
    name: "token-classification",
    words: "token classification",
    head: Head::TokenClassification,
    vocabulary: false,
    classes: Classes::Several,
    usage: Use::Predict,
    keys: &["model.labels", "data.tokens", "data.tags", "data.entities"],
    settings: &[],
    scores: &[&F1, &PRECISION, &RECALL, &TOKEN_ACCURACY],
    best: &[&F1, &LOSS],
    peft_type: Some("TOKEN_CLS"),
    problem: None,
    modules_to_save: &STANDARD_HEADS,
    auto_class: "AutoModelForTokenClassification",
    pipeline: "token-classification",
    columns,
    finder: Some(|| Box::new(TagFinder::default())),
    open,
};

/// What `kindling.json` keeps of the tags, whose names alone do not tell IOB1 from IOB2.
const SCHEME: &str = "scheme";

/// Windows over a long row have this part of their tokens in common.
const OVERLAP: usize = 4;

fn columns(file: &Path, first: &Record, names: &ColumnNames, purpose: Purpose) -> Result<Columns, data::Error> {
    let found = match purpose {
        Purpose::Training => tagging::Columns::find(file, first, names, Labelled::Yes),
        Purpose::Prompts => tagging::Columns::find(file, first, &to_answer(first, names), Labelled::No),
    };
    found.map(Columns::Tagged)
}

/// Whatever it was trained on, a model answers rows of words and texts.
fn to_answer(first: &Record, names: &ColumnNames) -> ColumnNames {
    let ColumnNames { tokens, text, .. } = names;
    let has = |column: &Option<String>, key: &str| first.fields.contains_key(column.as_deref().unwrap_or(key));
    let named = |column: &Option<String>, key: &str| column.clone().or_else(|| Some(key.to_owned()));
    match !has(tokens, "tokens") && (has(text, "text") || tokens.is_none() && text.is_some()) {
        true => ColumnNames { text: named(text, "text"), ..ColumnNames::default() },
        false => ColumnNames { tokens: named(tokens, "tokens"), ..ColumnNames::default() },
    }
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
        Rows::Texts(_) | Rows::Values(..) | Rows::Sets(..) | Rows::Language(_) => {
            unreachable!("rows are read by the columns of the task")
        }
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
    dataset.in_parallel(file, tagged(rows), encode, encoding)
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

    /// Entities by type, and sentences with them.
    fn sections(&self, model: &TrainableModel, validation: &Validation<'_>) -> Sections {
        let dataset = validation.dataset;
        let (mut counts, mut clusters) = (EntityCounts::new(&self.tags), Clusters::default());
        let (mut loss, mut targets) = (0.0, 0);
        let mut sentences = Vec::with_capacity(dataset.len());
        for (examples, output) in validation.answers(model) {
            for sequence in 0..examples {
                let (truth, predicted) = words(&output, sequence);
                let losses = &output.losses[output.of_sequence(sequence)];
                let of_sentence = sum(losses);
                counts.add(&self.tags, &truth, &predicted);
                clusters.add(of_sentence, losses.len());
                (loss, targets) = (loss + of_sentence, targets + losses.len());
                let mean = of_sentence / losses.len().max(1) as f64;
                sentences.push(Sentence::new(&self.tags, (&truth, &predicted), mean));
            }
        }
        if sentences.is_empty() {
            return Sections::default();
        }
        let entities = entity_report::entities(&counts, &self.tags, &sentences);
        let rows = (validation.rows)();
        let shown = entity_report::sentences(&sentences, &self.tags, dataset, &rows, validation.tokenizer);
        let of_loss = clusters.standard_error().map(|error| (&LOSS, normal(loss / targets.max(1) as f64, error)));
        Sections {
            sections: [Some(entities), shown].into_iter().flatten().map(Section::Parts).collect(),
            intervals: counts.f1_interval().map(|interval| (&F1, interval)).into_iter().chain(of_loss).collect(),
        }
    }

    /// The tags of the words, in the data and in the answer.
    fn compared(&self, output: &HostOutput, sequence: usize) -> Map<String, Value> {
        let names =
            |classes: Vec<usize>| classes.into_iter().map(|class| self.labels.names()[class].as_str()).collect();
        let (truth, predicted) = words(output, sequence);
        Map::from_iter([("tags".to_string(), names(truth)), ("predicted".to_string(), names(predicted))])
    }

    fn judged(&self, lines: &[Map<String, Value>]) -> Judged {
        let names = self.labels.names();
        let classes = |line: &Map<String, Value>, key: &str| -> Vec<usize> {
            let tags = line.get(key).and_then(Value::as_array).into_iter().flatten();
            tags.filter_map(|tag| names.iter().position(|name| tag == name.as_str())).collect()
        };
        let mut counts = EntityCounts::new(&self.tags);
        lines.iter().for_each(|line| counts.add(&self.tags, &classes(line, "tags"), &classes(line, "predicted")));
        Box::new(counts.f1_of())
    }

    fn expected(&self, batch: &Batch, _: &Tokenizer) -> Expected {
        let first = batch.sequences_of_targets().iter().take_while(|sequence| **sequence == 0).count();
        let classes = &batch.targets.numbers()[..first];
        let names: Vec<String> = classes.iter().map(|class| self.labels.names()[*class].clone()).collect();
        let tags = json!(names);
        Expected::Beside(names, ("tags", tags))
    }

    /// A long row is asked about in several windows.
    fn question(&self, file: &Path, rows: &Rows, encoding: &Encoding<'_>) -> Result<Question, data::Error> {
        let row = tagged(rows).first().expect("there is a row to ask about");
        let at_row = |error: data::Error| error.at(file, row.line);
        let words = Words::of(&row.content, encoding.tokenizer).map_err(at_row)?;
        let max_length = encoding.max_length;
        let windows = tagging::windows(&words, encoding.tokenizer, max_length, max_length / OVERLAP).map_err(at_row)?;
        let answers = windows.into_iter().filter(|window| !window.words.is_empty());
        let sequences = answers.map(|window| Sequence { encoded: window.encoded, words: window.words }).collect();
        Ok(Question { text: words.text().to_owned(), sequences, is_truncated: false, words: Some(words) })
    }

    fn answer_to(&self, question: &Question, outputs: &[f32]) -> Option<Answer> {
        let words = question.words.as_ref()?;
        let mut answers: Vec<Option<tagging::Answer>> = vec![None; words.len()];
        let asked = question.sequences.iter().flat_map(|sequence| &sequence.words);
        for (word, logits) in asked.zip(outputs.chunks(self.labels.len())) {
            let class = largest(logits);
            let sum: f64 = logits.iter().map(|logit| f64::from(logit - logits[class]).exp()).sum();
            answers[word.word] = Some(tagging::Answer { class, score: 1.0 / sum });
        }
        let name = |answer: &Option<tagging::Answer>| {
            let class = answer.map(|answer| answer.class).or(self.tags.outside());
            class.map(|class| self.labels.names()[class].clone())
        };
        let tags = answers.iter().map(name).collect();
        Some(Answer::Entities(EntityAnswer { entities: tagging::entities(words, &answers, &self.tags), tags }))
    }

    fn answer_names(&self, _: bool) -> Vec<String> {
        ["entities", "tags"].map(str::to_string).to_vec()
    }
}

/// The classes of the words of a sequence in the data, and those that the model finds most probable.
fn words(output: &HostOutput, sequence: usize) -> (Vec<usize>, Vec<usize>) {
    let own = output.of_sequence(sequence);
    let predicted = output.rows().skip(own.start).take(own.len()).map(largest).collect();
    (output.targets.numbers()[own].to_vec(), predicted)
}

/// The entities of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityAnswer {
    pub entities: Vec<tagging::Found>,
    /// Of each word; `None` for one without a token, where no tag says that it belongs to no entity.
    pub tags: Vec<Option<String>>,
}

impl EntityAnswer {
    pub(crate) fn describe(&self) -> String {
        if self.entities.is_empty() {
            return "no entities".to_string();
        }
        let entity = |it: &tagging::Found| format!("{} ({}, {:.1} %)", it.text, it.label, 100.0 * it.score);
        self.entities.iter().map(entity).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn object(&self) -> Map<String, Value> {
        let entity = |it: &tagging::Found| {
            let score = number(it.score as f32);
            json!({ "label": it.label, "start": it.start, "end": it.end, "text": it.text, "score": score })
        };
        let entities: Value = self.entities.iter().map(entity).collect();
        Map::from_iter([("entities".to_string(), entities), ("tags".to_string(), json!(self.tags))])
    }
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

    fn by_class(&self) -> Option<ByClass> {
        let class = |(name, found): (&str, Found)| {
            let [correct, examples, predicted] = [found.correct, found.support, found.predicted].map(|n| n as u64);
            (name.to_string(), OfClass { correct, examples, predicted })
        };
        Some(ByClass { what: "type", classes: self.counts.by_type().into_iter().map(class).collect() })
    }

    fn scores(&self) -> Scores {
        self.counts.scores().scores(self.loss / self.targets.max(1) as f64)
    }

    fn targets(&self) -> usize {
        self.targets
    }
}

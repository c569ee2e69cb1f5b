//! The second step of a plan: the data of both splits, the classes in it, and the task that follows from them.

use std::sync::Arc;

use data::{Dataset, Digest, Finding, Labels};
use serde_json::{Map, Value};
use tasks::{Classes, Columns, Fitted, Opening, Task, TaskName, check_dataset};

use super::Error;
use super::examples::{check_classes, labels};
use super::same_files::have_same_files;
use super::splits::{Again, Parts, Reader, Split, findings, split_off};
use super::start::Start;
use crate::config::{Config, Loaded};
use crate::output::Output;
use crate::run::Questions;
use crate::workers::Workers;

/// What is trained on, and what it is evaluated on.
pub(super) struct TrainingData {
    pub(super) task: Arc<dyn Task>,
    pub(super) columns: Columns,
    pub(super) train: Dataset,
    pub(super) valid: Option<Dataset>,
    /// The validation data as text.
    pub(super) valid_texts: Option<Again>,
    /// What a causal language model is to answer at each evaluation.
    pub(super) questions: Option<Arc<Questions>>,
    /// What a look at the data showed, and the memory that it took.
    pub(super) findings: Vec<Finding>,
    pub(super) look_bytes: usize,
}

/// How a task is opened, before and after its classes are known.
struct Opener<'a> {
    loaded: &'a Loaded,
    start: &'a Start,
    definition: TaskName,
    settings: Map<String, Value>,
}

impl<'a> Opener<'a> {
    fn new(loaded: &'a Loaded, config: &Config, start: &'a Start) -> Self {
        let of_table = |table| if let Ok(Value::Object(keys)) = table { keys } else { Map::new() };
        let mut settings = of_table(serde_json::to_value(&config.data));
        settings.extend(of_table(serde_json::to_value(&config.train)));
        Self { loaded, start, definition: config.model.task, settings }
    }

    fn open(&self, labels: Option<Labels>, training: Option<&Dataset>) -> Result<Arc<dyn Task>, Error> {
        let directory = self.start.base.directory.as_path();
        let opening = Opening {
            tokenizer: &self.start.tokenizer,
            of_tokenizer: directory,
            directory,
            pretrained: &self.start.pretrained,
            labels,
            settings: &self.settings,
            fitted: &Fitted::default(),
            training,
        };
        (self.definition.open)(opening).map_err(|error| match error {
            tasks::Error::NoSuchClass { name, suggestion } => {
                Error::NoSuchClass { place: self.loaded.place("data.class_weights"), name, suggestion }
            }
            other => Error::Task(other),
        })
    }
}

impl TrainingData {
    pub(super) fn read(
        loaded: &Loaded,
        config: &Config,
        start: &Start,
        (workers, output): (&Workers, &Output),
    ) -> Result<Self, Error> {
        let mut opener = Opener::new(loaded, config, start);
        // What of the task does not depend on the data; classes do.
        let task = match config.model.task.finder {
            None => Some(opener.open(None, None)?),
            Some(_) => None,
        };
        let (tokenizer, max_length) = (&start.tokenizer, start.max_length);
        let alone = Workers::one();
        let workers = if have_same_files(config, &start.base.directory, workers)? { workers } else { &alone };
        let reader = Reader { config, tokenizer, task: task.as_deref(), max_length, workers };
        let mut train = reader.read(&config.data.train, None, output)?;
        let mut read_valid = match &config.data.valid {
            Some(files) => Some(reader.read(files, Some(&train.columns), output)?),
            None => None,
        };
        let labels = match &train.finder {
            None => None,
            Some(finder) => {
                opener.settings.extend(finder.settings());
                Some(classes((&mut train, read_valid.as_mut()), config, start)?)
            }
        };
        let (mut valid, mut parts, mut of_valid) = (None, None, None);
        if let Some(split) = read_valid {
            (valid, of_valid) = (Some(split.dataset), Some(split.digest));
        }
        if config.data.valid_fraction > 0.0 {
            let (dataset, of_both) = split_off(&mut train, config.data.valid_fraction, config.seed);
            (valid, parts) = (Some(dataset), Some(of_both));
        }
        if let Some(valid) = valid.as_ref().filter(|valid| valid.is_empty()) {
            let (file, place) = (valid.name(), loaded.place("data.valid_fraction"));
            return Err(Error::NothingToValidate { file, place });
        }
        let task = match task {
            Some(task) => task,
            None => opener.open(labels, Some(&train.dataset))?,
        };
        let look_bytes = train.digest.bytes() + of_valid.as_ref().map_or(0, Digest::bytes);
        let (columns, train, findings) = look(train, (valid.as_ref(), of_valid), parts.as_ref(), &*task, start)?;
        crate::ALLOCATOR.give_back();
        let valid_texts = valid.as_ref().map(|_| Again {
            files: config.data.valid.as_ref().unwrap_or(&config.data.train).clone(),
            columns: columns.clone(),
            part: parts.map(|parts| parts.valid),
        });
        let questions = questions(loaded, &*task, valid_texts.as_ref(), start)?;
        for dataset in [Some(&train), valid.as_ref()].into_iter().flatten() {
            check_dataset(dataset, &start.pretrained)?;
            task.check(dataset, &start.tokenizer)?;
        }
        Ok(Self { task, columns, train, valid, valid_texts, questions, findings, look_bytes })
    }

    /// Writes out which columns were found, and which classes.
    pub(super) fn fill_in(&self, config: &mut Config) {
        let task = config.model.task;
        // Masked language models have texts alone.
        config.data.columns = self.columns.names().only(|key| task.has(&format!("data.{key}")));
        if let Some(labels) = self.task.labels() {
            config.model.labels = Some(labels.names().to_vec());
        }
    }
}

/// The classes of a run, which the targets of both splits become.
fn classes((train, valid): (&mut Split, Option<&mut Split>), config: &Config, start: &Start) -> Result<Labels, Error> {
    let finder = train.finder.as_deref().expect("rows of a task with classes are read by its finder");
    let name = train.dataset.name();
    let labels = labels(config, start.adapter.as_ref(), &start.pretrained, (finder, &name))?;
    check_classes(start.adapter.as_ref(), &labels, config)?;
    for split in [Some(train), valid].into_iter().flatten() {
        if let Some(finder) = &split.finder {
            finder.settle(&labels, &mut split.dataset)?;
        }
    }
    Ok(labels)
}

/// What a look at both splits shows; what was remembered for it is dropped.
fn look(
    train: Split,
    (valid, of_valid): (Option<&Dataset>, Option<Digest>),
    parts: Option<&Parts>,
    task: &dyn Task,
    start: &Start,
) -> Result<(Columns, Dataset, Vec<Finding>), Error> {
    let Split { columns, dataset, digest, reading, unread, .. } = train;
    let digest = Arc::new(digest);
    let part = |of: fn(&Parts) -> &Vec<u32>| parts.map(|parts| of(parts).clone());
    let looked =
        |digest: &Arc<Digest>, part| data::Rows { digest: digest.clone(), part, truncation: None, reading: None };
    let of_valid = match of_valid {
        Some(of_valid) => looked(&Arc::new(of_valid), None),
        None => looked(&digest, part(|parts| &parts.valid)),
    };
    // The validation data is of the same kind: what is said of how one split is read need not be said of both.
    let of_train = data::Rows { reading: Some(reading), ..looked(&digest, part(|parts| &parts.train)) };
    let mut findings = findings(
        (of_train, &dataset),
        valid.map(|valid| (of_valid, valid)),
        // Of rows with several the digest has none.
        task.labels().filter(|_| task.definition().classes == Classes::One),
        (start.max_length, start.pretrained.max_positions()?),
    );
    findings.splice(..0, unread);
    Ok((columns, dataset, findings))
}

fn questions(
    loaded: &Loaded,
    task: &dyn Task,
    valid_texts: Option<&Again>,
    Start { tokenizer, pretrained, .. }: &Start,
) -> Result<Option<Arc<Questions>>, Error> {
    let count = loaded.config.train.eval_generate;
    let (Some(writes), Some(valid_texts), 1..) = (task.writes(), valid_texts, count) else { return Ok(None) };
    let questions = valid_texts.questions(writes, (tokenizer, pretrained), count)?;
    if questions.is_empty() {
        return Err(Error::NoQuestions { place: loaded.place("train.eval_generate") });
    }
    let stops = writes.encoder(tokenizer).stop_tokens().to_vec();
    Ok(Some(Arc::new(Questions::new(questions, tokenizer.clone(), stops, pretrained.max_positions()?))))
}

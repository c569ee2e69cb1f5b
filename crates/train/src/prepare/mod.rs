//! From a configuration to the plan of a run: everything that can be wrong is found here, before anything is trained or
//! written. What leaves this room is complete; no code after it asks what a setting meant.

mod examples;
mod method;
mod splits;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Device};
use data::{
    Dataset, Digest, Example, Finding, Labels, Sampler, SamplerConfig, TextSource, Tokenizer, language, pack, tagging,
};
use kernels::{Precision, Simd};
use lora::Method;
use miette::Diagnostic;
use model::hub::{HubError, Wanted};
use model::{Frozen, Pretrained, Values};
use serde_json::{Map, Value};

use crate::adapter::{self, Adapter, Sidecar};
use crate::config::{self, Compute, Dtype, Loaded, Weights};
use crate::device::{DeviceError, DeviceName};
use crate::hub::{Located, locate};
use crate::output::{Output, counted};
use crate::run::{Identity, Legs, NoSteps, Questions};
use examples::{check_classes, fingerprint, labels};
use method::method;
use splits::{Again, Parts, Reader, Split, findings, split_off};
use tasks::{Classes, Columns, Opening, Task, TaskName};

pub(crate) use examples::{check_dataset, check_vocabulary};
pub(crate) use splits::Question;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Error {
    #[error(transparent)]
    #[diagnostic(transparent)]
    Config(#[from] config::ConfigError),
    #[error("{place}: {error}")]
    Device {
        place: String,
        error: DeviceError,
        #[help]
        help: Option<String>,
    },
    #[error("{place}: {error}")]
    Hub {
        place: String,
        error: Box<HubError>,
        #[help]
        help: Option<String>,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] data::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Adapter(#[from] adapter::Error),
    #[error("{message}")]
    Target {
        message: String,
        #[help]
        help: Option<String>,
    },
    #[error("{place}: the adapter was started with MiCA, which trains A alone")]
    #[diagnostic(help("it can be used and merged, but not trained further: leave `adapter.init_from` out"))]
    FrozenB { place: String },
    #[error("{place}: {reason}")]
    #[diagnostic(help(
        "leave it out, or set it to \"f32\"; `model.dtype = \"bf16\"` alone keeps the base in half the memory"
    ))]
    Compute { place: String, reason: String },
    #[error("{place}: {value} is more than the model has positions for ({positions})")]
    #[diagnostic(help(
        "lower `data.max_length`, or leave it out: the default is the smallest of 512, the model's positions and the tokenizer's limit"
    ))]
    MaxLength { place: String, value: usize, positions: usize },
    #[error("the tokenizer gives the id {id}, the model has embeddings for {rows}")]
    #[diagnostic(help("tokenizer and checkpoint do not belong together: copy both from one place"))]
    Vocabulary { id: u32, rows: usize },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] tasks::Error),
    #[error("{place} leaves no validation example of {file}")]
    #[diagnostic(help("the file is too small to be split: give validation data with `data.valid`, or leave it out"))]
    NothingToValidate { place: String, file: String },
    #[error("the columns of {} differ from those of {}", file.display(), first.display())]
    #[diagnostic(help(
        "give all files of `data.train` or of `data.valid` the same columns, or name those that are read: `data.text`, `data.text_pair` and `data.label`, or `data.prompt`, `data.completion` and `data.messages`"
    ))]
    OtherColumns { file: PathBuf, first: PathBuf },
    #[error("{place}: no row of the validation data has an answer to compare with")]
    #[diagnostic(help("texts are not answers: it needs rows of `prompt` and `completion`, or of `messages`"))]
    NoQuestions { place: String },
    #[error("{place} is {written}, the adapter that `adapter.init_from` names has {found}")]
    #[diagnostic(help("remove the key: the adapter's own settings are used"))]
    InitFrom { place: String, written: String, found: String },
    #[error("{place}: the adapter was trained for {found}, the run is for {expected}")]
    #[diagnostic(help("set `model.task` to its task, or start without `adapter.init_from`"))]
    OtherTask { place: String, found: TaskName, expected: TaskName },
    #[error("{place}: {}", of_steps(*done, *end))]
    NoSteps {
        place: String,
        done: usize,
        end: Option<usize>,
        #[help]
        help: String,
    },
    #[error("{}: its head has {}, the run has {expected}", path.display(), counted(*found, "class", "classes"))]
    #[diagnostic(help("start from an adapter that was trained for the same labels, or without `adapter.init_from`"))]
    Classes { path: PathBuf, found: usize, expected: usize },
}

impl Error {
    /// Whether what the user gave is at fault, and not the network or the disk.
    pub(crate) fn is_of_input(&self) -> bool {
        match self {
            Self::Hub { error, .. } => error.is_of_input(),
            _ => true,
        }
    }

    /// What names a key of the configuration says where that was written.
    pub(crate) fn placed(self, loaded: &Loaded) -> Self {
        let Self::Model(model::Error::Adapter(lora::Error::Target(error))) = &self else { return self };
        let (message, help) = (error.to_string(), error.help().map(|help| help.to_string()));
        match message.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
            Some((key, rest)) => Self::Target { message: format!("{}{rest}", loaded.place(key)), help },
            None => Self::Target { message, help },
        }
    }
}

fn of_steps(done: usize, end: Option<usize>) -> String {
    let done = counted(done, "step", "steps");
    match end {
        Some(end) => format!("the run has completed {done} and would end after {end}"),
        None => format!("the run has done {done}, and would not end"),
    }
}

/// A leg without steps, by a key that asked for it: the length rather than what else was changed.
fn no_steps(error: &NoSteps, loaded: &Loaded) -> Error {
    let length = error.keys.iter().find(|key| ["epochs", "max_steps"].contains(key));
    let place = length.or(error.keys.first()).map_or("legs".to_string(), |key| format!("train.{key}"));
    let epochs = error.done / error.per_epoch.max(1) + 1;
    Error::NoSteps {
        place: loaded.place(&place),
        done: error.done,
        end: error.end,
        help: format!(
            "an epoch has {}: `--set train.epochs={epochs}` or more continues it, with `train.max_steps` 0 or above {}",
            counted(error.per_epoch, "step", "steps"),
            error.done
        ),
    }
}

/// A run, decided.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// Complete: what is left to its default is written out.
    pub(crate) config: config::Config,
    pub(crate) output_dir: PathBuf,
    pub(crate) device_name: DeviceName,
    pub(crate) device: Device,
    pub(crate) base: Located,
    pub(crate) pretrained: Pretrained,
    pub(crate) frozen: Frozen,
    /// Of products with frozen weights.
    pub(crate) precision: Precision,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) task: Arc<dyn Task>,
    pub(crate) method: Method,
    pub(crate) train: Arc<Dataset>,
    pub(crate) valid: Option<Arc<Dataset>>,
    /// The validation data as text.
    valid_texts: Option<Again>,
    /// What a causal language model is to answer at each evaluation.
    pub(crate) questions: Option<Arc<Questions>>,
    /// What a look at the data showed, and the memory that it took.
    pub(crate) findings: Vec<Finding>,
    pub(crate) look_bytes: usize,
    pub(crate) sampler: Arc<Sampler>,
    /// Optimiser steps in all.
    pub(crate) steps: usize,
    pub(crate) legs: Legs,
    /// The configuration file, an input that is never written to.
    pub(crate) config_file: Option<PathBuf>,
    /// The keys that it or `--set` wrote.
    pub(crate) written: BTreeSet<String>,
}

impl RunPlan {
    pub(crate) fn new(loaded: &Loaded, device: Option<&str>, output: &Output) -> Result<Self, Error> {
        let mut config = loaded.config.clone();
        if let Some(device) = device {
            config.train.device = device.to_string();
        }
        let of_device = |error: DeviceError| Error::Device {
            place: device.map_or_else(|| loaded.place("train.device"), |typed| format!("`--device {typed}`")),
            help: error.help().map(|help| help.to_string()),
            error,
        };
        let device_name = DeviceName::parse(&config.train.device).map_err(of_device)?;
        let device = device_name.open().map_err(of_device)?;
        let precision = precision(loaded, &device_name)?;
        let base = locate(&config.model.path, Wanted::Model, output).map_err(|error| Error::Hub {
            place: loaded.place("model.path"),
            help: error.help().map(|help| help.to_string()),
            error: Box::new(error),
        })?;
        config.model.path = base.pinned();
        let head = config.model.task.head;
        let mut pretrained = match config.model.weights {
            Weights::Pretrained => Pretrained::open(&base.directory, head)?,
            Weights::Random => Pretrained::untrained(&base.directory, head)?,
        };
        if let Some(problem) = config.model.task.problem {
            pretrained.check_problem(problem)?;
        }
        let tokenizer = Tokenizer::from_dir(&base.directory)?;
        let max_length = max_length(loaded, &pretrained, &tokenizer)?;

        let init_from = match &config.adapter.init_from {
            Some(path) => Some(Adapter::read(path, Some(&pretrained))?),
            None => None,
        };
        if let Some(adapter) = &init_from {
            pretrained.adopt_vocabulary(&adapter.tensors);
        }
        let expected = config.model.task;
        if let Some(found) = init_from.as_ref().and_then(|adapter| adapter.other_task(expected)) {
            return Err(Error::OtherTask { place: loaded.place("adapter.init_from"), found, expected });
        }
        let mut settings = match serde_json::to_value(&config.data) {
            Ok(Value::Object(settings)) => settings,
            _ => Map::new(),
        };
        let open = |labels: Option<Labels>, settings: &Map<String, Value>| {
            let (directory, of_tokenizer) = (base.directory.as_path(), base.directory.as_path());
            let (tokenizer, pretrained) = (&tokenizer, &pretrained);
            (expected.open)(Opening { tokenizer, of_tokenizer, directory, pretrained, labels, settings })
        };
        // What of the task does not depend on the data; classes do.
        let without_classes = match expected.finder {
            None => Some(open(None, &settings)?),
            Some(_) => None,
        };
        let task = without_classes.as_deref();
        let reader = Reader { config: &config, tokenizer: &tokenizer, task, max_length };
        let mut read = reader.read(&config.data.train, None, output)?;
        let mut read_valid = match &config.data.valid {
            Some(files) => Some(reader.read(files, Some(&read.columns), output)?),
            None => None,
        };
        let task = match (without_classes.clone(), &read.finder) {
            (Some(task), _) => task,
            (None, None) => unreachable!("rows of a task with classes are read by its finder"),
            (None, Some(finder)) => {
                let name = read.dataset.name();
                let labels = labels(&config, init_from.as_ref(), &pretrained, (&**finder, &name))?;
                check_classes(init_from.as_ref(), &labels, &config)?;
                settings.extend(finder.settings());
                for split in [Some(&mut read), read_valid.as_mut()].into_iter().flatten() {
                    if let Some(finder) = &split.finder {
                        finder.settle(&labels, &mut split.dataset)?;
                    }
                }
                open(Some(labels), &settings)?
            }
        };
        let mut parts = None;
        let mut valid = read_valid.as_mut().map(|valid| std::mem::take(&mut valid.dataset));
        if config.data.valid_fraction > 0.0 {
            let (dataset, of_both) = split_off(&mut read, config.data.valid_fraction, config.seed);
            (valid, parts) = (Some(dataset), Some(of_both));
        }
        if let Some(valid) = valid.as_ref().filter(|valid| valid.is_empty()) {
            let (file, place) = (valid.name(), loaded.place("data.valid_fraction"));
            return Err(Error::NothingToValidate { file, place });
        }
        let Split { columns, dataset: train, digest, reading, unread, .. } = read;
        let digest = Arc::new(digest);
        let part = |of: fn(&Parts) -> &Vec<u32>| parts.as_ref().map(|parts| of(parts).clone());
        let looked =
            |digest: &Arc<Digest>, part| data::Rows { digest: digest.clone(), part, truncation: None, reading: None };
        let look_bytes = digest.bytes() + read_valid.as_ref().map_or(0, |valid| valid.digest.bytes());
        let of_valid = match read_valid {
            Some(valid) => looked(&Arc::new(valid.digest), None),
            None => looked(&digest, part(|parts| &parts.valid)),
        };
        // The validation data is of the same kind: what is said of how one split is read need not be said of both.
        let of_train = data::Rows { reading: Some(reading), ..looked(&digest, part(|parts| &parts.train)) };
        let mut findings = findings(
            (of_train, &train),
            valid.as_ref().map(|valid| (of_valid, valid)),
            // Of rows with several the digest has none.
            task.labels().filter(|_| task.definition().classes == Classes::One),
            (max_length, pretrained.max_positions()?),
        );
        findings.splice(..0, unread);
        drop(digest);
        crate::ALLOCATOR.give_back();
        let again = valid.as_ref().map(|_| Again {
            files: config.data.valid.as_ref().unwrap_or(&config.data.train).clone(),
            columns: columns.clone(),
            part: parts.map(|parts| parts.valid),
        });
        let questions = match (task.writes(), &again) {
            (Some(writes), Some(again)) if config.train.eval_generate > 0 => {
                let questions = again.questions(writes, (&tokenizer, &pretrained), config.train.eval_generate)?;
                if questions.is_empty() {
                    return Err(Error::NoQuestions { place: loaded.place("train.eval_generate") });
                }
                let stops = writes.encoder(&tokenizer).stop_tokens().to_vec();
                Some(Arc::new(Questions::new(questions, tokenizer.clone(), stops, pretrained.max_positions()?)))
            }
            _ => None,
        };
        for dataset in [Some(&train), valid.as_ref()].into_iter().flatten() {
            check_dataset(dataset, &pretrained)?;
            task.check(dataset, &tokenizer)?;
        }
        let method = method(loaded, init_from.as_ref(), (&pretrained, task.outputs()), &mut config)?;

        let output_dir = config.output_dir.clone().unwrap_or_else(|| Path::new("runs").join(&loaded.name));
        config.output_dir = Some(output_dir.clone());
        if config.train.warmup_ratio.is_none() {
            config.train.warmup_steps.get_or_insert(0);
        }
        config.data.max_length = Some(max_length);
        fill_in(&mut config, &columns, task.labels());
        let sampler = sampler(&config, &train, max_length);
        let legs = Legs::new(&config, sampler.steps_per_epoch()).map_err(|error| no_steps(&error, loaded))?;
        Ok(Self {
            output_dir,
            frozen: frozen(config.model.dtype),
            precision,
            config,
            device_name,
            device,
            base,
            pretrained,
            tokenizer,
            task,
            method,
            train: Arc::new(train),
            valid: valid.map(Arc::new),
            valid_texts: again,
            look_bytes,
            questions,
            findings,
            sampler: Arc::new(sampler),
            steps: legs.steps(),
            legs,
            config_file: loaded.file.clone(),
            written: loaded.written.clone(),
        })
    }

    /// The rows of the validation data as texts, in their order.
    pub(crate) fn valid_examples(&self) -> Vec<Example> {
        match (&self.valid_texts, &self.valid) {
            (Some(again), Some(valid)) => again.texts(valid, &self.tokenizer),
            _ => Vec::new(),
        }
    }

    /// What must be the same for this run to be resumed. Reads samples of every tensor, so `--dry-run` does without.
    pub(crate) fn identity(&self) -> Identity {
        Identity { base: self.pretrained.fingerprint(), data: fingerprint(&self.train, self.valid.as_deref()) }
    }

    /// The plan of what is adapted, trained and frozen; reads the adapter to start from again, for each model takes its
    /// values.
    pub(crate) fn adapter_plan(&self) -> Result<lora::Plan, Error> {
        let values = match &self.config.adapter.init_from {
            Some(path) => Some(Adapter::read(path, Some(&self.pretrained))?.tensors),
            None => None,
        };
        let plan = lora::Plan::new(self.method.clone(), values, self.config.seed);
        Ok(plan.map_err(model::Error::from)?)
    }

    /// Puts the model together from headers alone: an error here is found before anything is written.
    pub(crate) fn shapes(&self) -> Result<model::Loaded, Error> {
        let (plan, device) = (self.adapter_plan()?, Device::flex());
        let (_, loaded) = self.pretrained.load(plan, self.task.outputs(), self.frozen, Values::ShapesOnly, &device)?;
        Ok(loaded)
    }

    /// Tokens that go through the model in an optimiser step, on average.
    pub(crate) fn tokens_of_step(&self) -> f64 {
        let tokens: usize = self.train.iter().map(|example| example.len()).sum();
        tokens as f64 / self.sampler.steps_per_epoch().max(1) as f64
    }

    /// How often the validation data is gone through after so many steps: when due, at the end, and once more for the report.
    pub(crate) fn evaluations_after(&self, done: usize) -> usize {
        if self.valid.is_none() {
            return 0;
        }
        let every = match self.config.train.eval_every {
            0 => self.sampler.steps_per_epoch(),
            every => every,
        };
        let every = every.max(1);
        self.steps.div_ceil(every) - done / every + 1
    }

    pub(crate) fn method_in_words(&self) -> String {
        match self.pretrained.has_weights() {
            true => self.method.describe(),
            false => "training from nothing".to_string(),
        }
    }

    pub(crate) fn sidecar(&self, identity: &Identity) -> Sidecar {
        Sidecar::new(
            &*self.task,
            adapter::Columns::of(&self.config.data),
            self.config.data.max_length.unwrap_or_default(),
            adapter::Base {
                path: self.base.name.clone(),
                revision: self.base.commit.clone(),
                fingerprint: identity.base.clone(),
            },
        )
    }
}

/// Writes out which columns were found, and which classes.
fn fill_in(config: &mut config::Config, columns: &Columns, labels: Option<&Labels>) {
    let column = |source: &TextSource| source.column().map(str::to_owned);
    let data = &mut config.data;
    match columns {
        Columns::Texts(columns) => {
            data.text = column(&columns.text);
            data.text_pair.clone_from(&columns.text_pair);
            data.label.clone_from(&columns.label);
        }
        Columns::Values(columns, value) => {
            data.text = column(&columns.text);
            data.text_pair.clone_from(&columns.text_pair);
            data.label.clone_from(value);
        }
        Columns::Language(language::Columns::Text(text)) => data.text = column(text),
        Columns::Language(language::Columns::Completion { prompt, completion }) => {
            data.prompt = column(prompt);
            data.completion = completion.as_ref().and_then(column);
        }
        Columns::Language(language::Columns::Messages(messages)) => data.messages = Some(messages.clone()),
        Columns::Tagged(tagging::Columns::Words { tokens, tags }) => {
            data.tokens = Some(tokens.clone());
            data.tags.clone_from(tags);
        }
        Columns::Tagged(tagging::Columns::Text { text, entities }) => {
            data.text = Some(text.clone());
            data.entities.clone_from(entities);
        }
    }
    if let Some(labels) = labels {
        config.model.labels = Some(labels.names().to_vec());
    } else if !config.model.task.has("data.label") {
        // Masked language models have texts alone.
        (config.data.text_pair, config.data.label) = (None, None);
    }
}

fn sampler(config: &config::Config, train: &Dataset, max_length: usize) -> Sampler {
    let lengths: Vec<usize> = train.iter().map(|example| example.len()).collect();
    let order = SamplerConfig {
        seed: config.seed,
        batch_size: config.train.batch_size,
        grad_accumulation: config.train.grad_accumulation,
        shuffle: config.train.shuffle,
        group_by_length: config.train.group_by_length,
    };
    match config.data.pack {
        true => Sampler::packed(pack(&lengths, max_length), &lengths, order),
        false => Sampler::new(lengths, order),
    }
}

/// The default is the smallest of 512, the model's positions and the tokenizer's limit.
fn max_length(loaded: &Loaded, pretrained: &Pretrained, tokenizer: &Tokenizer) -> Result<usize, Error> {
    let positions = pretrained.max_positions()?;
    match loaded.config.data.max_length {
        Some(value) if value > positions => {
            Err(Error::MaxLength { place: loaded.place("data.max_length"), value, positions })
        }
        Some(value) => Ok(value),
        None => Ok(default_max_length(positions, tokenizer)),
    }
}

pub(crate) fn default_max_length(positions: usize, tokenizer: &Tokenizer) -> usize {
    let limit = tokenizer.model_max_length().unwrap_or(positions);
    positions.min(limit).min(512)
}

fn frozen(dtype: Dtype) -> Frozen {
    match dtype {
        Dtype::Auto => Frozen::AsStored,
        Dtype::F32 => Frozen::As(DType::F32),
        Dtype::Bf16 => Frozen::As(DType::BF16),
        Dtype::F16 => Frozen::As(DType::F16),
    }
}

/// Products in bf16 are the CPU backend's, where the processor has them, and with frozen weights. Asked for elsewhere they are an
/// error, not f32 in silence.
fn precision(loaded: &Loaded, device: &DeviceName) -> Result<Precision, Error> {
    if loaded.config.train.compute != Compute::Bf16 {
        return Ok(Precision::F32);
    }
    let reason = if !device.is_flex() {
        format!("products in bf16 are supported on the device `cpu`, not yet on `{device}`")
    } else if !Precision::has_bf16() {
        match Simd::available().contains(&Simd::Avx512Bf16) {
            true => format!("`{}` chose vectors without products in bf16", Simd::VARIABLE),
            false => "this processor has no products in bf16 (AVX-512 BF16)".to_string(),
        }
    } else if loaded.config.adapter.method.trains_all() {
        let method = loaded.config.adapter.method.name();
        format!("products in bf16 are those with frozen weights, and `adapter.method = \"{method}\"` has none")
    } else {
        return Ok(Precision::Bf16);
    };
    Err(Error::Compute { place: loaded.place("train.compute"), reason })
}

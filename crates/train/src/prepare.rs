//! From a configuration to the plan of a run: everything that can be wrong is found here, before anything is trained or
//! written. What leaves this room is complete; no code after it asks what a setting meant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Device};
use data::{
    Columns, Dataset, Duplicates, Encoded, Example, Labels, Sampler, SamplerConfig, Tokenizer, duplicates, records,
    stratified,
};
use lora::{BiasMode, Init, LoraConfig, Method, Names, Targets};
use miette::Diagnostic;
use model::{Frozen, Pretrained, Values};

use crate::adapter::{self, Adapter, Sidecar};
use crate::config::{self, Bias, Dtype, Loaded, Modules};
use crate::device::{DeviceError, DeviceName};
use crate::output::Output;
use crate::run::{Identity, Schedule};

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
    #[error("{place}: {value} is more than the model has positions for ({positions})")]
    #[diagnostic(help(
        "lower `data.max_length`, or leave it out: the default is the smallest of 512, the model's positions and the tokenizer's limit"
    ))]
    MaxLength { place: String, value: usize, positions: usize },
    #[error("the tokenizer gives the id {id}, the model has embeddings for {rows}")]
    #[diagnostic(help("tokenizer and checkpoint do not belong together: copy both from one place"))]
    Vocabulary { id: u32, rows: usize },
    #[error("{place} is {written}, the adapter that `adapter.init_from` names has {found}")]
    #[diagnostic(help("remove the key: the adapter's own settings are used"))]
    InitFrom { place: String, written: String, found: String },
    #[error("{}: its head has {found} classes, the run has {expected}", path.display())]
    #[diagnostic(help("start from an adapter that was trained for the same labels, or without `adapter.init_from`"))]
    Classes { path: PathBuf, found: usize, expected: usize },
}

impl Error {
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

/// A run, decided.
#[derive(Debug)]
pub(crate) struct RunPlan {
    /// Complete: what is left to its default is written out.
    pub(crate) config: config::Config,
    pub(crate) output_dir: PathBuf,
    pub(crate) device_name: DeviceName,
    pub(crate) device: Device,
    pub(crate) pretrained: Pretrained,
    pub(crate) frozen: Frozen,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) labels: Labels,
    pub(crate) columns: Columns,
    pub(crate) method: Method,
    pub(crate) train: Arc<Dataset>,
    pub(crate) valid: Option<Arc<Dataset>>,
    pub(crate) duplicates: Duplicates,
    pub(crate) sampler: Arc<Sampler>,
    /// Optimiser steps in all.
    pub(crate) steps: usize,
    pub(crate) schedule: Schedule,
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
        let pretrained = Pretrained::open(&config.model.path)?;
        let tokenizer = Tokenizer::from_dir(&config.model.path)?;
        let max_length = max_length(loaded, &pretrained, &tokenizer)?;

        let (columns, examples) = read(&config.data.train, &config.data, None)?;
        let mut splits = Splits { train: examples, valid: None };
        if let Some(valid) = &config.data.valid {
            splits.valid = Some(read(valid, &config.data, Some(&columns))?.1);
        }
        let init_from = match &config.adapter.init_from {
            Some(path) => Some(Adapter::read(path, Some(&pretrained))?),
            None => None,
        };
        let labels = labels(&config, init_from.as_ref(), &pretrained, &splits.train)?;
        let method = method(loaded, init_from.as_ref(), &pretrained, &mut config)?;
        check_classes(init_from.as_ref(), &labels, &config)?;

        let encode = |file: &Path, examples: &[Example]| {
            let bar = output.bar(examples.len() as u64, "tokenising {bar:30} {pos}/{len}");
            let encoded =
                Dataset::encode(file, examples, &labels, &tokenizer, max_length, &|done| bar.inc(done as u64));
            bar.finish_and_clear();
            encoded
        };
        let mut train = encode(&config.data.train, &splits.train)?;
        let mut valid = match (&config.data.valid, &splits.valid) {
            (Some(file), Some(examples)) => Some(encode(file, examples)?),
            _ => None,
        };
        if config.data.valid_fraction > 0.0 {
            valid = Some(splits.split_off(&mut train, config.data.valid_fraction, config.seed));
        }
        let found = duplicates(&splits.train, splits.valid.as_deref().unwrap_or_default());
        for dataset in [Some(&train), valid.as_ref()].into_iter().flatten() {
            check_vocabulary(dataset.examples.iter().map(|example| &example.encoded), &pretrained)?;
        }

        let output_dir = config.output_dir.clone().unwrap_or_else(|| Path::new("runs").join(&loaded.name));
        config.output_dir = Some(output_dir.clone());
        config.data.text = Some(columns.text.clone());
        config.data.text_pair.clone_from(&columns.text_pair);
        config.data.label = Some(columns.label.clone());
        config.data.max_length = Some(max_length);
        config.model.labels = Some(labels.names().to_vec());

        let sampler = Sampler::new(
            train.examples.iter().map(|example| example.encoded.ids.len()).collect(),
            SamplerConfig {
                seed: config.seed,
                batch_size: config.train.batch_size,
                grad_accumulation: config.train.grad_accumulation,
                shuffle: config.train.shuffle,
                group_by_length: config.train.group_by_length,
            },
        );
        let steps = steps(&config.train, sampler.steps_per_epoch());
        let schedule = schedule(&config.train, steps);
        Ok(Self {
            output_dir,
            frozen: frozen(config.model.dtype),
            config,
            device_name,
            device,
            pretrained,
            tokenizer,
            labels,
            columns,
            method,
            train: Arc::new(train),
            valid: valid.map(Arc::new),
            duplicates: found,
            sampler: Arc::new(sampler),
            steps,
            schedule,
        })
    }

    /// What must be the same for this run to be gone on with. Reads samples of every tensor, so `--dry-run` does without.
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
        let (_, loaded) = self.pretrained.load(plan, self.labels.len(), self.frozen, Values::ShapesOnly, &device)?;
        Ok(loaded)
    }

    pub(crate) fn sidecar(&self, identity: &Identity) -> Sidecar {
        Sidecar::new(
            self.labels.names().to_vec(),
            adapter::Columns {
                text: self.columns.text.clone(),
                text_pair: self.columns.text_pair.clone(),
                label: self.columns.label.clone(),
            },
            self.config.data.max_length.unwrap_or_default(),
            adapter::Base { path: self.config.model.path.display().to_string(), fingerprint: identity.base.clone() },
        )
    }
}

struct Splits {
    train: Vec<Example>,
    valid: Option<Vec<Example>>,
}

impl Splits {
    /// Moves a share of each class from the training data to the validation data, here and in what was encoded.
    fn split_off(&mut self, encoded: &mut Dataset, fraction: f64, seed: u64) -> Dataset {
        let targets: Vec<usize> = encoded.examples.iter().map(|example| example.target).collect();
        let chosen = stratified(&targets, fraction, seed);
        let is_chosen = |index: usize| chosen.binary_search(&index).is_ok();
        let numbered = std::mem::take(&mut self.train).into_iter().enumerate();
        let (valid, train): (Vec<_>, Vec<_>) = numbered.partition(|(index, _)| is_chosen(*index));
        let examples = |part: Vec<(usize, Example)>| part.into_iter().map(|(_, example)| example).collect();
        (self.train, self.valid) = (examples(train), Some(examples(valid)));
        encoded.split_off(&chosen)
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

/// The examples of a file, by the columns of the configuration or those found in another file.
fn read(file: &Path, data: &config::DataConfig, as_in: Option<&Columns>) -> Result<(Columns, Vec<Example>), Error> {
    let mut records = records(file)?.peekable();
    let first = match records.peek() {
        Some(Ok(first)) => first.clone(),
        _ => match records.next() {
            Some(Err(error)) => return Err(error.into()),
            _ => return Err(data::Error::Empty { file: file.into() }.into()),
        },
    };
    let find = |text: Option<&str>, text_pair: Option<&str>, label: Option<&str>| {
        Columns::find(file, &first, text, text_pair, label, true)
    };
    let columns = match as_in {
        Some(columns) => {
            find(Some(&columns.text), columns.text_pair.as_deref(), Some(&columns.label))?;
            columns.clone()
        }
        None => find(data.text.as_deref(), data.text_pair.as_deref(), data.label.as_deref())?,
    };
    let mut examples = Vec::new();
    for record in records {
        examples.push(columns.example(file, &record?)?);
    }
    Ok((columns, examples))
}

/// `model.labels`, else those of `init_from`, else those of a base with a trained head, else from the training data.
fn labels(
    config: &config::Config,
    init_from: Option<&Adapter>,
    pretrained: &Pretrained,
    examples: &[Example],
) -> Result<Labels, Error> {
    if let Some(names) = &config.model.labels {
        return Ok(Labels::new(names.clone())?);
    }
    if let Some(sidecar) = init_from.and_then(|adapter| adapter.sidecar.as_ref()) {
        return Ok(Labels::new(sidecar.labels.clone())?);
    }
    match pretrained.labels()? {
        Some(names) => Ok(Labels::new(names)?),
        None => Ok(Labels::from_examples(&config.data.train, examples)?),
    }
}

fn check_classes(init_from: Option<&Adapter>, labels: &Labels, config: &config::Config) -> Result<(), Error> {
    let found = init_from.and_then(Adapter::classes);
    match (found, &config.adapter.init_from) {
        (Some(found), Some(path)) if found != labels.len() => {
            Err(Error::Classes { path: path.clone(), found, expected: labels.len() })
        }
        _ => Ok(()),
    }
}

/// The method with everything decided; with `init_from` the adapter's settings take the place of the keys.
fn method(
    loaded: &Loaded,
    init_from: Option<&Adapter>,
    pretrained: &Pretrained,
    config: &mut config::Config,
) -> Result<Method, Error> {
    // PEFT's heads for a sequence classifier, and a pooler that is new.
    let mut saved = vec!["classifier".to_string(), "score".to_string()];
    saved.extend(pretrained.new_modules());
    Ok(match config.adapter.method {
        config::Method::Full => Method::Full,
        config::Method::None => Method::Modules(saved),
        config::Method::Lora => match init_from {
            Some(adapter) => {
                compare_written(loaded, &adapter.config.lora)?;
                fill_in(&mut config.adapter, &adapter.config.lora);
                adapter.method.clone()
            }
            None => {
                for module in &config.adapter.modules_to_save {
                    if !saved.contains(module) {
                        saved.push(module.clone());
                    }
                }
                Method::Lora(Box::new(lora_config(&config.adapter, pretrained, saved)))
            }
        },
    })
}

fn lora_config(adapter: &config::AdapterConfig, pretrained: &Pretrained, modules_to_save: Vec<String>) -> LoraConfig {
    let names = |modules: &Modules| match modules {
        Modules::Names(list) => (!list.is_empty()).then(|| Names::List(list.clone())),
        Modules::Pattern(pattern) => Some(Names::Pattern(pattern.clone())),
    };
    LoraConfig {
        r: adapter.r,
        alpha: adapter.alpha,
        dropout: adapter.dropout,
        bias: match adapter.bias {
            Bias::None => BiasMode::None,
            Bias::All => BiasMode::All,
            Bias::LoraOnly => BiasMode::LoraOnly,
        },
        target_modules: match &adapter.target_modules {
            config::Targets::AllLinear => Targets::AllLinear,
            config::Targets::Auto => Targets::Names(Names::List(pretrained.default_targets())),
            config::Targets::Names(list) => Targets::Names(Names::List(list.clone())),
            config::Targets::Pattern(pattern) => Targets::Names(Names::Pattern(pattern.clone())),
        },
        exclude_modules: names(&adapter.exclude_modules),
        layers: adapter.layers.clone(),
        layers_pattern: adapter.layers_pattern.clone(),
        modules_to_save,
        rank_pattern: adapter.rank_pattern.clone(),
        alpha_pattern: adapter.alpha_pattern.clone(),
        use_rslora: adapter.use_rslora,
        init: match adapter.init {
            config::Init::Default => Init::Default,
            config::Init::Gaussian => Init::Gaussian,
        },
    }
}

/// A key that the user wrote must say what the adapter says.
fn compare_written(loaded: &Loaded, lora: &LoraConfig) -> Result<(), Error> {
    let mut filled = loaded.config.adapter.clone();
    fill_in(&mut filled, lora);
    let written = toml::Table::try_from(&loaded.config.adapter).unwrap_or_default();
    let found = toml::Table::try_from(&filled).unwrap_or_default();
    for key in loaded.written.iter().filter_map(|key| key.strip_prefix("adapter.")) {
        if let (Some(left), Some(right)) = (written.get(key), found.get(key))
            && left != right
        {
            let place = loaded.place(&format!("adapter.{key}"));
            return Err(Error::InitFrom { place, written: left.to_string(), found: right.to_string() });
        }
    }
    Ok(())
}

fn fill_in(adapter: &mut config::AdapterConfig, lora: &LoraConfig) {
    let list = |names: &Names| match names {
        Names::List(list) => Modules::Names(list.clone()),
        Names::Pattern(pattern) => Modules::Pattern(pattern.clone()),
    };
    adapter.r = lora.r;
    adapter.alpha = lora.alpha;
    adapter.dropout = lora.dropout;
    adapter.bias = match lora.bias {
        BiasMode::None => Bias::None,
        BiasMode::All => Bias::All,
        BiasMode::LoraOnly => Bias::LoraOnly,
    };
    adapter.target_modules = match &lora.target_modules {
        Targets::AllLinear => config::Targets::AllLinear,
        Targets::Names(names) => list(names).into(),
    };
    adapter.exclude_modules = lora.exclude_modules.as_ref().map_or(Modules::Names(Vec::new()), list);
    adapter.layers.clone_from(&lora.layers);
    adapter.layers_pattern.clone_from(&lora.layers_pattern);
    // The heads are always among them, and are not written by users.
    let own = |module: &&String| !["classifier", "score"].contains(&module.as_str());
    adapter.modules_to_save = lora.modules_to_save.iter().filter(own).cloned().collect();
    adapter.rank_pattern.clone_from(&lora.rank_pattern);
    adapter.alpha_pattern.clone_from(&lora.alpha_pattern);
    adapter.use_rslora = lora.use_rslora;
    adapter.init = match lora.init {
        Init::Default => config::Init::Default,
        Init::Gaussian => config::Init::Gaussian,
    };
}

fn frozen(dtype: Dtype) -> Frozen {
    match dtype {
        Dtype::Auto => Frozen::AsStored,
        Dtype::F32 => Frozen::As(DType::F32),
        Dtype::Bf16 => Frozen::As(DType::BF16),
        Dtype::F16 => Frozen::As(DType::F16),
    }
}

/// Every token has its row in the embedding.
pub(crate) fn check_vocabulary<'a>(
    encoded: impl Iterator<Item = &'a Encoded>,
    pretrained: &Pretrained,
) -> Result<(), Error> {
    let largest = encoded.flat_map(|encoded| &encoded.ids).max();
    match (largest, pretrained.vocabulary_size()) {
        (Some(id), Some(rows)) if *id as usize >= rows => Err(Error::Vocabulary { id: *id, rows }),
        _ => Ok(()),
    }
}

/// Training ends at whichever of epochs and steps comes first.
fn steps(train: &config::TrainConfig, per_epoch: usize) -> usize {
    let of_epochs = if train.epochs == 0 { usize::MAX } else { train.epochs * per_epoch };
    let limit = if train.max_steps == 0 { usize::MAX } else { train.max_steps };
    of_epochs.min(limit)
}

fn schedule(train: &config::TrainConfig, steps: usize) -> Schedule {
    let ratio = train.warmup_ratio.map(|ratio| (ratio * steps as f64).ceil() as usize);
    Schedule {
        shape: train.schedule,
        learning_rate: train.learning_rate,
        warmup: train.warmup_steps.or(ratio).unwrap_or(0),
        total: steps,
        taken: 0,
    }
}

/// SHA-256 over ids and targets of all examples.
fn fingerprint(train: &Dataset, valid: Option<&Dataset>) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for dataset in [Some(train), valid].into_iter().flatten() {
        hash.update((dataset.len() as u64).to_le_bytes());
        for example in &dataset.examples {
            hash.update((example.encoded.ids.len() as u64).to_le_bytes());
            example.encoded.ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
            hash.update((example.target as u64).to_le_bytes());
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

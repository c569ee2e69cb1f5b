//! An adapter's directory: PEFT's two files, the tokenizer, a model card, and `kindling.json` with what PEFT has no place
//! for. No file of it holds a time, so the same run writes the same bytes.

use std::collections::HashMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, TensorData};
use data::ColumnNames;
use lora::peft::{self, AdapterTensors, PeftConfig};
use lora::{Method, Plan, Update};
use model::{
    Frozen, Head, Pretrained, Quantisation, Values, disk, files_beside, is_of_tokenizer, is_output_weight,
    write_atomically,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use suggest::counted;
use tasks::{Fitted, Task, TaskName};

use crate::Error;
use crate::provenance::Provenance;
use crate::written::WrittenFiles;

/// The model card.
const CARD: &str = "README.md";

pub(crate) const SIDECAR: &str = "kindling.json";

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum AdapterError {
    #[error("there is no adapter at {}", path.display())]
    #[diagnostic(help(
        "an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it"
    ))]
    Missing { path: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}: {source}", path.display())]
    #[diagnostic(help("free space or make the place writable; nothing that existed was touched"))]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{}: {source}", path.display())]
    #[diagnostic(help("the file is not the one that kindling wrote: copy the adapter again"))]
    Sidecar { path: PathBuf, source: serde_json::Error },
    #[error("{} is not as it was written: {SIDECAR} beside it has another SHA-256", path.display())]
    #[diagnostic(help(
        "it is damaged, or its run ended while saving it: copy the directory again, or resume the run; if it was changed on purpose, \
         take its line out of `files` in {SIDECAR}"
    ))]
    Damaged { path: PathBuf },
    #[error("{}: the file `{name}` is outside of the adapter's directory", path.display())]
    #[diagnostic(help("`files` names files beside it: copy the adapter again, from where you trust it"))]
    Outside { path: PathBuf, name: String },
    #[error("{} was written by a newer kindling (format {found}, this version reads {known})", path.display())]
    #[diagnostic(help("update kindling"))]
    Newer { path: PathBuf, found: u32, known: u32 },
    #[error("{}: `max_length` is {length}, the model has positions for {positions}", path.display())]
    #[diagnostic(help("the adapter was trained on another model: open it with its own base"))]
    Positions { path: PathBuf, length: usize, positions: usize },
    #[error(
        "{} names {}, the head beside it has {}",
        path.display(), counted(*names, "label", "labels"), counted(*classes, "class", "classes")
    )]
    #[diagnostic(help("the two files do not belong together: copy them again, both from one place"))]
    Labels { path: PathBuf, names: usize, classes: usize },
    #[error("{} does not fit the model: {reason}", path.display())]
    Targets {
        path: PathBuf,
        reason: String,
        #[help]
        help: Option<String>,
    },
    #[error("{} cannot be used beside others on one base: {reason}", path.display())]
    Unshared {
        path: PathBuf,
        reason: String,
        #[help]
        help: Option<String>,
    },
    #[error("`ensure_weight_tying` in {}: true is not supported for an adapter on tied embeddings", path.display())]
    #[diagnostic(help("merge the adapter with PEFT, or train one without it"))]
    SharedByTies { path: PathBuf },
    #[error("what was written to {} reads otherwise than it was made, in {what}: it was not kept", path.display())]
    #[diagnostic(help("the disk may be at fault; if it happens again it is a fault of kindling: please report it"))]
    Verify { path: PathBuf, what: String },
    #[error("{}: {source}", path.display())]
    Serialise { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Format(#[from] lora::Error),
}

impl AdapterError {
    pub(crate) fn labels(directory: &Path, names: usize, classes: usize) -> Self {
        Self::Labels { path: directory.join(SIDECAR), names, classes }
    }

    pub(crate) fn positions(directory: &Path, length: usize, positions: usize) -> Self {
        Self::Positions { path: directory.join(SIDECAR), length, positions }
    }

    /// What is wrong with the targets of the adapter in `directory`, by the keys of its own file.
    pub(crate) fn targets(directory: &Path, error: &lora::TargetError) -> Self {
        Self::Targets {
            path: directory.join(peft::CONFIG_FILE),
            reason: error.message_with(&peft::setting),
            help: error.help_with(&peft::setting),
        }
    }

    pub fn is_of_input(&self) -> bool {
        !matches!(self, Self::Write { .. } | Self::Serialise { .. } | Self::Verify { .. })
    }
}

/// `kindling.json`: what an adapter or a model was trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    format_version: u32,
    kindling: String,
    pub task: TaskName,
    pub labels: Vec<String>,
    pub columns: ColumnNames,
    pub max_length: usize,
    /// The task's own keys.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
    /// To the validation data.
    #[serde(default, skip_serializing_if = "Fitted::is_empty")]
    pub fitted: Fitted,
    pub base: BaseRecord,
    /// What it came from, where training wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<Provenance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// A directory, or a repository of the Hub.
    pub path: String,
    /// Of a repository the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub fingerprint: String,
    /// How it was kept where its matrices were quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantised: Option<QuantisedBase>,
}

/// The kind of a base whose matrices are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantisedBase {
    #[serde(with = "by_name")]
    pub dtype: Quantisation,
    /// Whether the output layer of a language model is quantised too.
    #[serde(default)]
    pub output: bool,
    /// Whether it was quantised without what the adapter started with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub residual: bool,
}

impl QuantisedBase {
    /// `None`: nothing is quantised. `of_files`: how its files have the matrices.
    pub fn of(frozen: Frozen, of_files: Option<Quantisation>) -> Option<Self> {
        match frozen {
            Frozen::Quantised { quantisation, output } => Some(Self { dtype: quantisation, output, residual: false }),
            Frozen::AsStored | Frozen::As(_) => Some(Self { dtype: of_files?, output: false, residual: false }),
        }
    }

    pub fn frozen(self) -> Frozen {
        Frozen::Quantised { quantisation: self.dtype, output: self.output }
    }
}

impl fmt::Display for QuantisedBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dtype.name())?;
        f.write_str(if self.output { " with its output layer" } else { "" })
    }
}

mod by_name {
    use model::Quantisation;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
    pub(super) fn serialize<S: Serializer>(quantisation: &Quantisation, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(quantisation.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantisation, D::Error> {
        let name = String::deserialize(deserializer)?;
        Quantisation::named(&name).ok_or_else(|| D::Error::custom(format!("unknown type `{name}`")))
    }
}

const FORMAT_VERSION: u32 = 1;

impl Sidecar {
    pub fn new(task: &dyn Task, columns: ColumnNames, max_length: usize, base: BaseRecord) -> Self {
        let kindling = env!("CARGO_PKG_VERSION").to_string();
        let (name, labels, settings) = (task.definition().id(), task.label_names().to_vec(), task.settings());
        let (format_version, fitted, trained) = (FORMAT_VERSION, Fitted::default(), None);
        Self { format_version, kindling, task: name, labels, columns, max_length, settings, fitted, base, trained }
    }

    /// `None` where the directory has none: PEFT wrote it, or Transformers.
    pub fn read(directory: &Path) -> Result<Option<Self>, AdapterError> {
        Ok(WrittenFiles::read(directory)?.map(|written| written.sidecar))
    }

    /// With the text, and with the keys that are those of [`WrittenFiles`] among the settings.
    pub(crate) fn read_text(directory: &Path) -> Result<Option<(Self, String)>, AdapterError> {
        let path = directory.join(SIDECAR);
        if !path.exists() {
            return Ok(None);
        }
        let text =
            lora::read_regular_text(&path).map_err(|source| AdapterError::Read { path: path.clone(), source })?;
        let sidecar: Self =
            serde_json::from_str(&text).map_err(|source| AdapterError::Sidecar { path: path.clone(), source })?;
        match sidecar.format_version {
            FORMAT_VERSION => Ok(Some((sidecar, text))),
            found => Err(AdapterError::Newer { path, found, known: FORMAT_VERSION }),
        }
    }

    /// For what is made of an adapter: it did not itself come from what that came from.
    pub fn untrained(self) -> Self {
        Self { trained: None, ..self }
    }

    /// The version that wrote it.
    pub fn version(&self) -> &str {
        &self.kindling
    }

    /// Writes `kindling.json`, the last of the files of a directory, with the hashes of those called `names`.
    pub fn write(&self, directory: &Path, names: &[String]) -> Result<(), AdapterError> {
        WrittenFiles::write(self, directory, names)
    }
}

/// An adapter on disk.
#[derive(Debug)]
pub struct Adapter {
    pub config: PeftConfig,
    pub method: Method,
    pub tensors: AdapterTensors,
    pub sidecar: Option<Sidecar>,
    /// What is to be taken out of the base, once it is [as it was trained](Self::as_trained): for [`Plan::with_starts`].
    pub starts: HashMap<String, TensorData>,
}

impl Adapter {
    /// Reads the directory. `pretrained` is the base it is for: its architecture fills in targets that PEFT left to it.
    pub fn read(directory: &Path, pretrained: Option<&Pretrained>) -> Result<Self, AdapterError> {
        let mut config = read_config(directory)?;
        let written = WrittenFiles::read(directory)?;
        let changes = written.as_ref().map(|written| written.check(directory)).transpose()?.unwrap_or_default();
        let mut tensors = AdapterTensors::read(directory, &config.method).map_err(lora::Error::from)?;
        config.method = tensors.method().clone();
        changes.into_iter().for_each(|change| tensors.note(change));
        for note in std::mem::take(&mut config.notes) {
            tensors.note(format!("{}, {note}: it has no effect", peft::CONFIG_FILE));
        }
        if let Some(pretrained) = pretrained {
            tensors.add_prefix(pretrained.prefix(), pretrained.backbone());
            check_tied(&directory.join(peft::CONFIG_FILE), &config.method, &tensors, pretrained)?;
            config.method = resolved(&config.method, pretrained, config.method.modules_to_save());
        }
        let method = config.method.clone();
        let sidecar = written.map(|written| written.sidecar);
        Ok(Self { config, method, tensors, sidecar, starts: HashMap::new() })
    }

    /// For a base that is kept so. If the adapter was trained on what its start had left of the base, quantised in the same way, the
    /// start is to be taken out again before the rest is quantised, so that the model is the one that was trained.
    pub fn as_trained(mut self, base: &Pretrained, frozen: Frozen) -> Self {
        let trained_on = self.sidecar.as_ref().and_then(|sidecar| sidecar.base.quantised);
        let Some(quantised) = trained_on.filter(|quantised| quantised.residual) else { return self };
        let is_the_same =
            QuantisedBase::of(frozen, base.quantisation()).map(QuantisedBase::frozen) == Some(quantised.frozen());
        if is_the_same && let Some((method, starts)) = self.tensors.take_apart(&self.method) {
            (self.method, self.starts) = (method, starts);
        }
        self
    }

    /// SHA-256 over its files, which are those of `directory`, in hexadecimal.
    pub(crate) fn fingerprint(&self, directory: &Path) -> Result<String, AdapterError> {
        let mut hash = Sha256::new();
        for file in [directory.join(peft::CONFIG_FILE)].iter().map(PathBuf::as_path).chain(self.tensors.files()) {
            let read = std::fs::read(file).map_err(|source| AdapterError::Read { path: file.to_path_buf(), source });
            hash.update(read?);
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The plan of a model with this adapter, whose base is kept so.
    pub fn plan(self, base: &Pretrained, frozen: Frozen) -> Result<Plan, lora::Error> {
        let Self { method, tensors, starts, .. } = self.as_trained(base, frozen);
        Ok(Plan::new(method, Some(tensors), 0)?.with_starts(starts))
    }

    /// Reads the directory, and makes a plain adapter on the base as that is stored of one that started as a part of it (PiSSA, OLoRA
    /// as PEFT leaves them): the start is made again, for which the base is read.
    pub fn read_plain(directory: &Path, pretrained: &Pretrained) -> Result<Self, Error> {
        let adapter = Self::read(directory, Some(pretrained))?;
        if !adapter.method.changes_base() {
            return Ok(adapter);
        }
        let values = adapter.classes().unwrap_or(0);
        let plan = Plan::new(adapter.method, Some(adapter.tensors), 0).map_err(model::Error::from)?;
        let (_, loaded) = pretrained.load(plan, values, Frozen::AsStored, Values::Read, &Device::flex())?;
        let Self { config, method, tensors, sidecar, starts } = Self::read(directory, Some(pretrained))?;
        let (method, tensors) = loaded.plan.written(method, tensors);
        Ok(Self { config: PeftConfig { method: method.clone(), ..config }, method, tensors, sidecar, starts })
    }

    /// The updates of the adapter in a directory with how the weights of its base lie, which its files do not say of each.
    ///
    /// # Errors
    /// Files that cannot be read, or an adapter that is for another base.
    pub fn updates_on(directory: &Path, pretrained: &Pretrained) -> Result<Vec<Update>, Error> {
        let adapter = Self::read(directory, Some(pretrained))?;
        let values = adapter.classes().unwrap_or(0);
        let plan = adapter.plan(pretrained, Frozen::AsStored).map_err(model::Error::from)?;
        let (_, loaded) = pretrained.load(plan, values, Frozen::AsStored, Values::ShapesOnly, &Device::flex())?;
        Ok(loaded.plan.updates().to_vec())
    }

    /// What it was trained for: as its sidecar says, else as far as PEFT's file does.
    pub fn task(&self) -> Option<TaskName> {
        let of_head = || TaskName::of_head(self.classes().map(|_| Head::SequenceClassification)?);
        let of_peft = || self.config.task_type.as_deref().and_then(TaskName::of_peft).or_else(of_head);
        self.sidecar.as_ref().map(|sidecar| sidecar.task).or_else(of_peft)
    }

    /// What it was trained for, where that is not `expected`. PEFT's file alone does not tell tasks of one head apart.
    pub fn other_task(&self, expected: TaskName) -> Option<TaskName> {
        let differs = |found: &TaskName| match self.sidecar {
            Some(_) => *found != expected,
            None => found.head != expected.head,
        };
        self.task().filter(differs)
    }

    /// Classes of its head, by the shape of the last layer.
    pub fn classes(&self) -> Option<usize> {
        self.tensors.names().find(|(name, _)| is_output_weight(name)).and_then(|(_, shape)| shape.first().copied())
    }
}

/// A method with what depends on the base filled in; `heads` are trained in full whatever it says.
pub fn resolved(method: &Method, pretrained: &Pretrained, heads: &[String]) -> Method {
    let default_targets = pretrained.default_targets();
    let model_type = pretrained.config().get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default();
    let (class, shape) = (pretrained.class(), pretrained.activations());
    let (width, layers) = shape.map_or((0, 0), |shape| (shape.width, shape.layers));
    method.resolved(&lora::Base { model_type, class, width, layers, default_targets: &default_targets, heads })
}

/// `ensure_weight_tying` has an effect on an adapter of the word embeddings or the output layer alone.
fn check_tied(
    path: &Path,
    method: &Method,
    tensors: &AdapterTensors,
    pretrained: &Pretrained,
) -> Result<(), AdapterError> {
    let is_saved = |module: &&str| method.modules_to_save().iter().any(|entry| module.ends_with(entry));
    let is_adapted = |name: &str| {
        let module = method.module_of(name).or_else(|| name.strip_suffix(".weight").filter(is_saved));
        module.is_some_and(|module| pretrained.is_embedding(module))
    };
    match method.shares_ties() && tensors.names().any(|(name, _)| is_adapted(name)) {
        true => Err(AdapterError::SharedByTies { path: path.into() }),
        false => Ok(()),
    }
}

/// The base that an adapter says it was trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// A directory, or a repository of the Hub.
    pub path: String,
    /// Of a repository; where the sidecar has one, the path is a repository for sure.
    pub revision: Option<String>,
}

impl Recorded {
    /// Where a directory is looked for: a relative path is one in the working directory, as for PEFT, or is meant from the
    /// adapter.
    pub fn places(&self, adapter: &Path) -> [PathBuf; 2] {
        [PathBuf::from(&self.path), adapter.join(&self.path)]
    }

    /// The directory, where it is one that is there.
    pub fn directory(&self, adapter: &Path) -> Option<PathBuf> {
        self.places(adapter).into_iter().find(|place| self.revision.is_none() && place.is_dir())
    }
}

/// As it is named, with its revision.
impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        self.revision.iter().try_for_each(|revision| write!(f, "@{revision}"))
    }
}

/// As the sidecar of the adapter in `directory` records it, else as PEFT's file does, which may leave it out.
pub fn recorded_base(directory: &Path) -> Result<Option<Recorded>, AdapterError> {
    if let Some(BaseRecord { path, revision, .. }) = Sidecar::read(directory)?.map(|sidecar| sidecar.base) {
        return Ok(Some(Recorded { path, revision }));
    }
    let config = read_config(directory)?;
    let path = config.base_model.filter(|path| !path.trim().is_empty());
    // PEFT takes a directory of that name before it asks the Hub, whatever revision is written beside it.
    let of_hub = |path: &String| !Path::new(path).is_dir();
    Ok(path.map(|path| Recorded { revision: config.revision.filter(|_| of_hub(&path)), path }))
}

/// The method of the adapter in `directory`, as its configuration alone has it.
pub fn method_of(directory: &Path) -> Result<Method, AdapterError> {
    Ok(read_config(directory)?.method)
}

fn read_config(directory: &Path) -> Result<PeftConfig, AdapterError> {
    let path = directory.join(peft::CONFIG_FILE);
    if !path.exists() {
        return Err(AdapterError::Missing { path: directory.into() });
    }
    let text = lora::read_regular_text(&path).map_err(|source| AdapterError::Read { path: path.clone(), source })?;
    Ok(PeftConfig::from_json(&path, &text).map_err(lora::Error::from)?)
}

/// Writes the adapter that `plan` built into `model`, with its model card and the tokenizer that is in the directory
/// `tokenizer`, so that `PeftModel.from_pretrained` loads it.
pub fn write_adapter<M: Module>(
    directory: &Path,
    plan: &Plan,
    model: &M,
    sidecar: &Sidecar,
    card: &str,
    tokenizer: &Path,
) -> Result<(), AdapterError> {
    let config = PeftConfig {
        method: plan.method_written(),
        base_model: Some(sidecar.base.path.clone()),
        revision: sidecar.base.revision.clone(),
        task_type: sidecar.task.peft_type.map(str::to_string),
        peft_version: None,
        fan_in_fan_out: plan.has_conv1d(),
        auto_mapping: None,
        notes: Vec::new(),
    };
    let files =
        AdapterFiles { config, tensors: plan.tensors_written(model), sidecar: Some(sidecar.clone()), card, tokenizer };
    files.write(directory)
}

/// The files of an adapter.
#[derive(Debug)]
pub struct AdapterFiles<'a> {
    pub config: PeftConfig,
    /// By their names in the model, in f32.
    pub tensors: Vec<(String, TensorData)>,
    pub sidecar: Option<Sidecar>,
    /// The model card.
    pub card: &'a str,
    /// The directory that the tokenizer is copied from.
    pub tokenizer: &'a Path,
}

impl AdapterFiles<'_> {
    pub fn write(&self, directory: &Path) -> Result<(), AdapterError> {
        let write_error = |path: PathBuf| move |source| AdapterError::Write { path, source };
        disk::create_dir_all(directory).map_err(write_error(directory.into()))?;
        let labels = self.sidecar.as_ref().map_or(&[][..], |sidecar| &sidecar.labels);
        let files = lora::files(&self.config, labels, &self.tensors, self.config.fan_in_fan_out)
            .map_err(|source| AdapterError::Serialise { path: directory.into(), source: source.into() })?;
        let card = (CARD, self.card.as_bytes().to_vec());
        let mut names = Vec::new();
        for (name, content) in files.into_iter().chain([card]) {
            let path = directory.join(name);
            write_atomically(&path, |file| file.write_all(&content)).map_err(write_error(path.clone()))?;
            names.push(name.to_string());
        }
        names.retain(|name| name != CARD);
        let copied = copy_beside(directory, self.tokenizer, is_of_tokenizer)?;
        names.extend(copied.iter().map(|(_, path)| name_within(directory, path)));
        self.sidecar.as_ref().map_or(Ok(()), |sidecar| sidecar.write(directory, &names))
    }

    /// Reads what was written, and compares it with what was to be.
    ///
    /// # Errors
    /// The files cannot be read, or say something else.
    pub fn verify(&self, directory: &Path) -> Result<(), AdapterError> {
        let differs = |what: String| Err(AdapterError::Verify { path: directory.into(), what });
        let read = Adapter::read(directory, None)?;
        let (found, expected) = (read.method.to_peft(false), self.config.method.to_peft(false));
        if let Some(key) = expected.keys().find(|key| found.get(*key) != expected.get(*key)) {
            return differs(format!("`{key}`"));
        }
        if read.sidecar != self.sidecar {
            return differs(SIDECAR.to_string());
        }
        let is_there = |(name, data): &&(String, TensorData)| {
            let values = data.iter::<f32>();
            let found = read.tensors.values(name);
            found.is_some_and(|found| {
                found.len() == data.num_elements() && values.zip(found).all(|(v, f)| v.to_bits() == f.to_bits())
            })
        };
        if let Some((name, _)) = self.tensors.iter().find(|tensor| !is_there(tensor)) {
            return differs(format!("`{name}`"));
        }
        match read.tensors.names().count() == self.tensors.len() {
            true => Ok(()),
            false => differs("the number of tensors".to_string()),
        }
    }
}

/// The name of a file in a directory, with `/`.
pub fn name_within(directory: &Path, path: &Path) -> String {
    let name = path.strip_prefix(directory).unwrap_or(path);
    name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Copies files of a checkpoint beside an adapter or another checkpoint, those that `wanted` says yes to, byte for byte. Returns
/// where each is from and where it is.
pub fn copy_beside(
    directory: &Path,
    from: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(PathBuf, PathBuf)>, AdapterError> {
    let read_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| AdapterError::Read { path, source }
    };
    let mut copied = Vec::new();
    for name in files_beside(from, wanted).map_err(read_error(from))? {
        let (file, path) = (from.join(&name), directory.join(&name));
        let contents = std::fs::read(&file).map_err(read_error(&file))?;
        path.parent()
            .map_or(Ok(()), disk::create_dir_all)
            .and_then(|()| write_atomically(&path, |output| output.write_all(&contents)))
            .map_err(|source| AdapterError::Write { path: path.clone(), source })?;
        copied.push((file, path));
    }
    Ok(copied)
}

//! An adapter's directory: PEFT's two files, the tokenizer, a model card, and `kindling.json` with what PEFT has no place
//! for.

mod error;
mod sidecar;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, TensorData};
use lora::peft::{self, AdapterTensors, PeftConfig};
use lora::{Method, Plan, Update};
use model::{Frozen, Head, Loaded, Pretrained, Values, is_output_weight};
use sha2::{Digest, Sha256};
use tasks::TaskName;

use crate::Error;
use crate::written::WrittenFiles;

pub use error::AdapterError;
pub use sidecar::{BaseRecord, QuantisedBase, Sidecar};
pub use write::{AdapterFiles, copy_beside, name_within, write_adapter};

pub(crate) const SIDECAR: &str = "kindling.json";

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

    /// For a base that is kept so. If the adapter was trained on what its start had left of the base, in the same type, the
    /// start is to be taken out again before the rest is quantised, so that its layers are those that were trained.
    pub fn as_trained(mut self, base: &Pretrained, frozen: Frozen) -> Self {
        let trained_on = self.sidecar.as_ref().and_then(|sidecar| sidecar.base.quantised);
        let Some(quantised) = trained_on.filter(|quantised| quantised.residual) else { return self };
        let kept = QuantisedBase::of(frozen, base.quantisation());
        if kept.is_some_and(|kept| kept.dtype == quantised.dtype)
            && let Some((method, starts)) = self.tensors.take_apart(&self.method)
        {
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
        let classes = adapter.classes();
        let plan = Plan::new(adapter.method, Some(adapter.tensors), 0).map_err(model::Error::from)?;
        let loaded = loaded(pretrained, plan, classes, Values::Read)?;
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
        let classes = adapter.classes();
        let plan = adapter.plan(pretrained, Frozen::AsStored).map_err(model::Error::from)?;
        Ok(loaded(pretrained, plan, classes, Values::ShapesOnly)?.plan.updates().to_vec())
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

/// What comes of loading a base with an adapter whose head has so many classes; with the base's own head, or without one where neither
/// has it.
fn loaded(pretrained: &Pretrained, plan: Plan, classes: Option<usize>, values: Values) -> Result<Loaded, Error> {
    let device = Device::flex();
    let (_, loaded) = match classes.or_else(|| pretrained.head_classes()) {
        None if pretrained.is_backbone() => pretrained.load_backbone(plan, Frozen::AsStored, values, &device)?,
        // A language model has no classes, and a head that is lost is named whatever their number.
        classes => pretrained.load(plan, classes.unwrap_or(1), Frozen::AsStored, values, &device)?,
    };
    Ok(loaded)
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

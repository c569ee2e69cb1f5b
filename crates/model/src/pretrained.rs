//! A model's directory, looked at: what it is, what its files hold, and what would be new in it. Nothing but headers is
//! read until it is loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use lora::Plan;

use crate::Error;
use crate::architectures::{ARCHITECTURES, Architecture, SequenceClassifier};
use crate::checkpoint::{Checkpoint, Entry};
use crate::config::{Config, ConfigError};
use crate::loader::{Build, Loaded};

/// How the names of tensors begin in a checkpoint of a bare backbone.
const BACKBONE: [&str; 4] = ["embeddings.", "encoder.", "transformer.", "pooler."];

/// How frozen weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frozen {
    /// In the type of the file, on the CPU as views of it.
    AsStored,
    As(DType),
}

/// Whether a load reads the values of tensors or is content with their shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    Read,
    ShapesOnly,
}

#[derive(Debug)]
pub struct Pretrained {
    directory: PathBuf,
    config: Config,
    architecture: &'static Architecture,
    checkpoint: Checkpoint,
    /// From the names that Transformers gives to those in the files.
    names: HashMap<String, String>,
}

impl Pretrained {
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let config = Config::read(directory)?;
        let architecture = architecture(&config)?;
        config.check_task()?;
        (architecture.check)(&config)?;
        let checkpoint = Checkpoint::open(directory)?;
        let names = canonical_names(&checkpoint, architecture.prefix);
        Ok(Self { directory: directory.into(), config, architecture, checkpoint, names })
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `config.json` as it stands.
    pub fn config(&self) -> &serde_json::Value {
        self.config.values()
    }

    /// The reference's class, `BertForSequenceClassification`.
    pub fn class(&self) -> &str {
        self.architecture.class
    }

    /// The module of the model that holds the backbone, with a dot behind: `bert.`
    pub fn prefix(&self) -> &str {
        self.architecture.prefix
    }

    /// The modules at the top of the backbone, each with a dot behind.
    pub fn backbone(&self) -> &'static [&'static str] {
        &BACKBONE
    }

    /// PEFT's default targets for this architecture.
    pub fn default_targets(&self) -> Vec<String> {
        self.architecture.default_targets.iter().map(|name| name.to_string()).collect()
    }

    /// Tokens in the longest text the model has positions for.
    pub fn max_positions(&self) -> Result<usize, Error> {
        Ok((self.architecture.max_positions)(&self.config)?)
    }

    pub fn vocabulary_size(&self) -> Option<usize> {
        self.config.values().get("vocab_size")?.as_u64().map(|size| size as usize)
    }

    /// Names of the classes of a base that has a trained head; a head without names counts its classes.
    pub fn labels(&self) -> Result<Option<Vec<String>>, Error> {
        if self.new_parts().iter().any(|part| *part != self.architecture.pooler) {
            return Ok(None);
        }
        Ok(self.config.labels()?)
    }

    /// `id2label` of `config.json`, whether or not there is a head.
    pub fn config_labels(&self) -> Result<Option<Vec<String>>, Error> {
        Ok(self.config.labels()?)
    }

    /// Classes of the checkpoint's own head, by the shape of its last layer.
    pub fn head_classes(&self) -> Option<usize> {
        let mut layers = ["classifier.weight", "classifier.out_proj.weight"].into_iter();
        layers.find_map(|name| self.find(name)).map(|(_, entry)| entry.shape[0])
    }

    /// The parts that this checkpoint lacks and that a pretraining checkpoint never has: they start fresh in training.
    pub fn new_parts(&self) -> Vec<&'static str> {
        let parts = self.architecture.head.iter().chain(Some(&self.architecture.pooler).filter(|p| !p.is_empty()));
        parts.filter(|part| !self.names.keys().any(|name| lies_below(name, part))).copied().collect()
    }

    /// Modules trained in full besides PEFT's heads: a pooler that is new.
    pub fn new_modules(&self) -> Vec<String> {
        let parts = self.new_parts();
        let is_new = !self.architecture.pooler.is_empty() && parts.contains(&self.architecture.pooler);
        if is_new { vec!["pooler".to_string()] } else { Vec::new() }
    }

    /// SHA-256 over the headers and samples of all tensors.
    pub fn fingerprint(&self) -> String {
        self.checkpoint.fingerprint()
    }

    /// Bytes of the checkpoint's tensors.
    pub fn bytes(&self) -> usize {
        self.checkpoint
            .names()
            .filter_map(|name| self.checkpoint.entry(name))
            .map(|e| self.checkpoint.bytes(e).len())
            .sum()
    }

    /// Values in all of the checkpoint's tensors.
    pub fn elements(&self) -> usize {
        self.tensors().iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum()
    }

    /// Tensors by name and shape, under the names that Transformers gives them.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, String)> {
        let mut tensors: Vec<_> = self
            .names
            .iter()
            .filter_map(|(name, stored)| {
                let entry = self.checkpoint.entry(stored)?;
                Some((name.clone(), entry.shape.clone(), format!("{:?}", entry.dtype)))
            })
            .collect();
        tensors.sort();
        tensors
    }

    /// Builds the model as `plan` says, for `labels` classes.
    pub fn load(
        &self,
        plan: Plan,
        labels: usize,
        frozen: Frozen,
        values: Values,
        device: &Device,
    ) -> Result<(SequenceClassifier, Loaded), Error> {
        let build = Build::new(self, plan, frozen, values, device);
        let model = (self.architecture.load)(&build.root(), &self.config, labels)?;
        Ok((model, build.finish()?))
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    pub(crate) fn find(&self, name: &str) -> Option<(&str, &Entry)> {
        let stored = self.names.get(name)?;
        Some((stored, self.checkpoint.entry(stored)?))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter()
    }

    pub(crate) fn is_new(&self, tensor: &str) -> bool {
        let mut parts =
            self.architecture.head.iter().chain([&self.architecture.pooler]).filter(|part| !part.is_empty());
        parts.any(|part| lies_below(tensor, part))
    }

    pub(crate) fn passes_over(&self, name: &str) -> bool {
        let known = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern || name.ends_with(&format!(".{pattern}")),
        };
        self.architecture.passed_over.iter().any(known)
    }

    /// The standard deviation with which Transformers initialises weights.
    pub(crate) fn initializer_range(&self) -> f64 {
        self.config.values().get("initializer_range").and_then(serde_json::Value::as_f64).unwrap_or(0.02)
    }
}

fn lies_below(tensor: &str, module: &str) -> bool {
    tensor.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

fn architecture(config: &Config) -> Result<&'static Architecture, ConfigError> {
    let known: Vec<&str> = ARCHITECTURES.iter().flat_map(|a| a.model_types.iter().copied()).collect();
    let Some(model_type) = config.text("model_type") else {
        let help = format!("it says which architecture the model has; supported: {}", known.join(", "));
        return Err(config.wrong("`model_type` is missing".to_string(), &help));
    };
    ARCHITECTURES.iter().copied().find(|a| a.model_types.contains(&model_type)).ok_or_else(|| {
        let help = format!("supported architectures: {}", known.join(", "));
        config.wrong(format!("`model_type` is `{model_type}`, which this version does not support"), &help)
    })
}

/// The names that Transformers gives to the tensors of a checkpoint: those of old checkpoints are brought up to date, and
/// a bare backbone gets the prefix it has inside a model with a head.
fn canonical_names(checkpoint: &Checkpoint, prefix: &str) -> HashMap<String, String> {
    let modern = |name: &str| match name.rsplit_once('.') {
        Some((module, "gamma")) => format!("{module}.weight"),
        Some((module, "beta")) => format!("{module}.bias"),
        _ => name.to_string(),
    };
    let prefixed = checkpoint.names().any(|name| name.starts_with(prefix));
    checkpoint
        .names()
        .map(|stored| {
            let name = modern(stored);
            let bare = !prefixed && BACKBONE.iter().any(|module| name.starts_with(module));
            (if bare { format!("{prefix}{name}") } else { name }, stored.to_string())
        })
        .collect()
}

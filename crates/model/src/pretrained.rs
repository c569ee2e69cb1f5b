//! A model's directory, looked at: what it is, what its files hold, and what would be new in it. Nothing but headers is
//! read until it is loaded.

mod tensors;
mod ties;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use burn::module::ParamId;
use burn::tensor::{DType, Device};
use kernels::Quantisation;
use lora::{AdapterSet, Kind, Method, Plan};

use crate::architectures::{ARCHITECTURES, ActivationShape, AnyBackbone, Architecture, Exports, Variant};
use crate::checkpoint::Checkpoint;
use crate::config::{Config, ConfigError};
use crate::export::ExportError;
use crate::head::{Head, HeadLayers, Output, Pooling, Sizes};
use crate::loader::{Build, LoadError, Loaded, Loader};
use crate::model::Model;
use crate::routed::RoutedAdapter;
use crate::{Error, quantised};
use ties::Ties;

/// How frozen weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frozen {
    /// In the type of the file, on the CPU as views of it.
    AsStored,
    As(DType),
    /// The matrices of linear layers, and with `output` also the output layer of a language model, which may be tied to the word
    /// embeddings. Everything else, heads among it, is as stored.
    Quantised {
        quantisation: Quantisation,
        output: bool,
    },
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
    variant: &'static Variant,
    /// `None`: the model starts from nothing.
    checkpoint: Option<Checkpoint>,
    /// From the names that Transformers gives to those in the files.
    names: HashMap<String, String>,
    ties: Ties,
}

impl Pretrained {
    pub fn open(directory: &Path, head: Head) -> Result<Self, Error> {
        let mut pretrained = Self::untrained(directory, head)?;
        let checkpoint = Checkpoint::open(directory)?;
        quantised::check_tensors(directory, &checkpoint, &pretrained.config)?;
        pretrained.names = canonical_names(&checkpoint, pretrained.architecture);
        pretrained.checkpoint = Some(checkpoint);
        pretrained.look_at_ties()?;
        Ok(pretrained)
    }

    /// A model that starts from nothing: of its directory `config.json` alone is read.
    pub fn untrained(directory: &Path, head: Head) -> Result<Self, Error> {
        let config = Config::read(directory)?;
        let architecture = architecture(&config)?;
        quantised::check_config(directory, &config)?;
        (architecture.check)(&config)?;
        let variant = architecture.variant(head).ok_or_else(|| no_such_head(&config, architecture, head))?;
        let written = config.values().get("tie_word_embeddings").and_then(serde_json::Value::as_bool);
        let tied = variant.vocabulary().is_some() && written.unwrap_or(architecture.ties_by_default);
        let mut pretrained = Self {
            directory: directory.into(),
            config,
            architecture,
            variant,
            checkpoint: None,
            names: HashMap::new(),
            ties: Ties { tied, ..Ties::default() },
        };
        pretrained.look_at_ties()?;
        Ok(pretrained)
    }

    /// The head that the class named in `config.json` has; a backbone without one counts as a classifier to be.
    pub fn head_of(directory: &Path) -> Result<Head, Error> {
        let config = Config::read(directory)?;
        let class = config.values().get("architectures").and_then(|classes| classes.get(0)?.as_str());
        Ok(match class {
            Some(class) if class.ends_with("ForTokenClassification") => Head::TokenClassification,
            Some(class) if class.ends_with("ForMaskedLM") || class.ends_with("ForPreTraining") => Head::MaskedLm,
            Some(class) if class.ends_with("ForCausalLM") || class.ends_with("LMHeadModel") => Head::CausalLm,
            _ => Head::SequenceClassification,
        })
    }

    /// What a classifier was trained for, where `problem_type` of `config.json` says it.
    pub fn problem_of(directory: &Path) -> Result<Option<String>, Error> {
        let config = Config::read(directory)?;
        Ok(config.values().get("problem_type").and_then(serde_json::Value::as_str).map(str::to_owned))
    }

    pub fn head(&self) -> Head {
        self.variant.head
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The programs that a model of its architecture is exported for.
    pub(crate) fn exports(&self) -> &Exports {
        &self.architecture.exports
    }

    /// The complaint that its architecture is not among those that are exported to a format.
    pub(crate) fn no_export(&self, format: &'static str, is_exported: impl Fn(&Exports) -> bool) -> Error {
        let exported = ARCHITECTURES.iter().filter(|architecture| is_exported(&architecture.exports));
        let known: Vec<&str> = exported.flat_map(|architecture| architecture.model_types.iter().copied()).collect();
        let model_type = self.config.text("model_type").unwrap_or_default().to_string();
        let help = format!("exported to {format}: {}", known.join(", "));
        ExportError::Architecture { model_type, format, help }.into()
    }

    /// `config.json` to be asked further.
    pub(crate) fn parsed_config(&self) -> &Config {
        &self.config
    }

    /// `config.json` as it stands.
    pub fn config(&self) -> &serde_json::Value {
        self.config.values()
    }

    /// The reference's class, `BertForSequenceClassification`.
    pub fn class(&self) -> &str {
        self.variant.class
    }

    /// The module of the model that holds the backbone, with a dot after it: `bert.`
    pub fn prefix(&self) -> &str {
        self.architecture.prefix
    }

    /// The modules at the top of the backbone, each with a dot after it.
    pub fn backbone(&self) -> &'static [&'static str] {
        self.architecture.backbone
    }

    /// The complaint about a classifier that was trained for another problem than `expected`, by `problem_type` of its
    /// `config.json`; what that does not say may be anything.
    pub fn check_problem(&self, expected: &str) -> Result<(), Error> {
        Ok(self.config.check_problem(expected)?)
    }

    /// PEFT's default targets for this architecture.
    pub fn default_targets(&self) -> Vec<String> {
        self.architecture.default_targets.iter().map(|name| name.to_string()).collect()
    }

    /// Tokens in the longest text the model has positions for.
    pub fn max_positions(&self) -> Result<usize, Error> {
        Ok((self.architecture.max_positions)(&self.config)?)
    }

    /// What the memory of a backward pass depends on.
    pub fn activations(&self) -> Result<ActivationShape, Error> {
        Ok((self.architecture.activations)(&self.config)?)
    }

    pub fn vocabulary_size(&self) -> Option<usize> {
        self.config.values().get("vocab_size")?.as_u64().map(|size| size as usize)
    }

    /// Segments that the model tells apart; `None` where it does not look at them.
    pub fn segments(&self) -> Option<usize> {
        self.config.values().get("type_vocab_size")?.as_u64().map(|size| size as usize).filter(|segments| *segments > 1)
    }

    /// The type that the word embeddings are stored in: of a checkpoint that mixes types the one that is meant.
    pub fn dtype(&self) -> DType {
        let words = self.find(&self.word_embeddings());
        words.and_then(|(checkpoint, stored, entry)| checkpoint.dtype(stored, entry).ok()).unwrap_or(DType::F32)
    }

    /// Names of the classes of a base that has a trained head; a head without names counts its classes.
    pub fn labels(&self) -> Result<Option<Vec<String>>, Error> {
        let is_classifier = self.head().has_labels() && self.checkpoint.is_some();
        if !is_classifier || self.new_parts().iter().any(|part| *part != self.variant.pooler) {
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
        let Output::Values { module, .. } = self.variant.output else { return None };
        self.find(&format!("{module}.weight")).and_then(|(_, _, entry)| entry.shape.first().copied())
    }

    /// The parts that this checkpoint lacks and that a pretraining checkpoint never has: they start fresh in training.
    pub fn new_parts(&self) -> Vec<&'static str> {
        let parts = self.variant.modules.iter().chain(Some(&self.variant.pooler).filter(|p| !p.is_empty()));
        // A tied output layer has nothing that could lack.
        let is_tied =
            |part: &str| self.ties.tied && self.variant.vocabulary().is_some_and(|output| output.module == part);
        parts.filter(|part| !is_tied(part) && !self.names.keys().any(|name| lies_below(name, part))).copied().collect()
    }

    /// Modules trained in full besides PEFT's heads: a pooler that is new, by the last segment of its path.
    pub fn new_modules(&self) -> Vec<String> {
        let parts = self.new_parts();
        let pooler = self.variant.pooler;
        let is_new = !pooler.is_empty() && parts.contains(&pooler);
        let name = pooler.rsplit('.').next().filter(|_| is_new);
        name.map(str::to_string).into_iter().collect()
    }

    /// Builds the model as `plan` says; `labels` is how many values a classifier answers with, and nothing to a language model.
    pub fn load(
        &self,
        plan: Plan,
        labels: usize,
        frozen: Frozen,
        values: Values,
        device: &Device,
    ) -> Result<(Model, Loaded), Error> {
        self.check_quantisation(frozen)?;
        let build = Build::new(self, plan, frozen, values, device);
        let model = self.build(&build.root(), labels)?;
        Ok((model, build.finish()?))
    }

    /// The base that adapters share, with all of it frozen; without a head where the checkpoint has none. `labels` is how many values
    /// a classifier's own head answers with.
    pub fn load_base(&self, labels: usize, frozen: Frozen, device: &Device) -> Result<(Model, Loaded), Error> {
        let plan = Plan::new(Method::frozen(), None, 0)?;
        match self.has_head() {
            true => self.load(plan, labels, frozen, Values::Read, device),
            false => self.load_backbone(plan, frozen, Values::Read, device),
        }
    }

    /// Builds the model as `plan` says, without a head, whatever of one the checkpoint has.
    pub fn load_backbone(
        &self,
        plan: Plan,
        frozen: Frozen,
        values: Values,
        device: &Device,
    ) -> Result<(Model, Loaded), Error> {
        self.check_quantisation(frozen)?;
        let build = Build::new(self, plan, frozen, values, device);
        build.without_head();
        let backbone = self.build_backbone(&build.root())?;
        let pooling = (self.variant.describe)(&self.config)?.pooling;
        Ok((Model::new(backbone, None, pooling, self.variant.head), build.finish()?))
    }

    /// # Errors
    /// Matrices that the checkpoint has quantised are asked for in another kind, or in floats.
    fn check_quantisation(&self, frozen: Frozen) -> Result<(), LoadError> {
        let Some(stored) = self.quantisation() else { return Ok(()) };
        let asked = match frozen {
            Frozen::AsStored => return Ok(()),
            Frozen::Quantised { quantisation, .. } if quantisation == stored => return Ok(()),
            Frozen::Quantised { quantisation, .. } => quantisation.name(),
            Frozen::As(dtype) => dtype.name(),
        };
        Err(LoadError::OtherQuantisation { directory: self.directory.clone(), stored: stored.name(), asked })
    }

    /// Whether the checkpoint has all of the head that it was opened for.
    pub fn has_head(&self) -> bool {
        self.checkpoint.is_some() && self.new_parts().is_empty()
    }

    /// Whether the checkpoint is a backbone without a head, by its tensors and the class that `config.json` names. One that was opened
    /// for a vocabulary is none: its output layer may be its word embeddings.
    pub fn is_backbone(&self) -> bool {
        // Where the class has a head, its tensors are lost.
        let has_no_head = self.written_class().is_none_or(|class| !class.contains("For"));
        has_no_head && self.head().has_labels() && self.checkpoint.is_some() && !self.has_head()
    }

    /// The class that `config.json` names.
    pub(crate) fn written_class(&self) -> Option<&str> {
        self.config.values().get("architectures").and_then(|classes| classes.get(0)?.as_str())
    }

    /// The class with this head, where the architecture has one.
    pub(crate) fn class_with(&self, head: Head) -> Option<&'static str> {
        Some(self.architecture.variant(head)?.class)
    }

    /// An adapter for a base that is loaded already and stays as it is. Of the checkpoint's values those alone are read that belong
    /// to a classifier's head, which each adapter has of its own; a vocabulary's is the base's. `plan` has the adapter's tensors,
    /// and `frozen` is how the base is kept.
    ///
    /// # Errors
    /// An adapter that trains or replaces other tensors of the base, or changes them.
    pub fn load_adapter(
        &self,
        plan: Plan,
        labels: usize,
        frozen: Frozen,
        device: &Device,
    ) -> Result<(RoutedAdapter, Loaded), Error> {
        AdapterSet::check(&plan).map_err(lora::Error::from)?;
        let build = Build::new(self, plan.collecting(), frozen, Values::ShapesOnly, device);
        self.build_backbone(&build.root())?;
        let below_head = build.trained();
        let has_own_head = self.variant.vocabulary().is_none();
        if has_own_head {
            build.read(Values::Read);
        }
        let (head, pooling) = self.build_head(&build.root(), labels)?;
        let mut loaded = build.finish()?;
        let of_head: HashSet<ParamId> = match has_own_head {
            true => loaded.plan.parameters().iter().skip(below_head).map(|parameter| parameter.id).collect(),
            false => HashSet::new(),
        };
        let set = AdapterSet::of(&mut loaded.plan, |parameter| of_head.contains(&parameter.id));
        let set = set.map_err(lora::Error::from)?;
        Ok((RoutedAdapter::new(set, has_own_head.then_some((head, pooling)), self.variant.head), loaded))
    }

    fn build(&self, root: &Loader<'_>, values: usize) -> Result<Model, Error> {
        let backbone = self.build_backbone(root)?;
        let (head, pooling) = self.build_head(root, values)?;
        Ok(Model::new(backbone, Some(head), pooling, self.variant.head))
    }

    fn build_backbone(&self, root: &Loader<'_>) -> Result<AnyBackbone, Error> {
        (self.architecture.load)(&root.at(self.architecture.prefix.trim_end_matches('.')), &self.config)
    }

    fn build_head(&self, root: &Loader<'_>, values: usize) -> Result<(HeadLayers, Pooling), Error> {
        let ActivationShape { width, vocabulary, .. } = self.activations()?;
        let described = (self.variant.describe)(&self.config)?;
        let sizes = Sizes { hidden: width, vocabulary, values };
        Ok((HeadLayers::load(root, &described, self.variant.output, sizes)?, described.pooling))
    }

    /// The modules of the model, as `plan` is asked about them, whatever it makes of them.
    pub fn modules(&self, plan: Plan, labels: usize) -> Result<Vec<(String, Kind)>, Error> {
        let device = Device::flex();
        let build = Build::new(self, plan, Frozen::AsStored, Values::ShapesOnly, &device);
        self.build(&build.root(), labels)?;
        Ok(build.into_modules())
    }

    /// The tensor of the word embeddings.
    pub(crate) fn word_embeddings(&self) -> String {
        format!("{}{}.weight", self.architecture.prefix, self.architecture.word_embeddings)
    }

    pub(crate) fn ignores(&self, name: &str) -> bool {
        let known = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == *pattern || name.ends_with(&format!(".{pattern}")),
        };
        self.architecture.constants.iter().chain(self.variant.ignored_keys).any(known)
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

fn no_such_head(config: &Config, architecture: &Architecture, head: Head) -> ConfigError {
    let there: Vec<String> = architecture.variants.iter().map(|variant| format!("a {}", variant.head.noun())).collect();
    let there = match there.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => there.concat(),
    };
    let model_type = config.text("model_type").unwrap_or_default();
    let message = format!("a model of type `{model_type}` has no {}", head.noun());
    config.wrong(message, &format!("it can have {there}: choose another `model.task` or another model"))
}

/// The names that Transformers gives to the tensors of a checkpoint: those of old checkpoints are brought up to date, and
/// a bare backbone gets the prefix it has inside a model with a head.
fn canonical_names(checkpoint: &Checkpoint, architecture: &Architecture) -> HashMap<String, String> {
    let prefix = architecture.prefix;
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
            let bare = !prefixed && architecture.backbone.iter().any(|module| name.starts_with(module));
            (if bare { format!("{prefix}{name}") } else { name }, stored.to_string())
        })
        .collect()
}

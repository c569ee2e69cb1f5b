//! What the settings of several methods have in common: which modules they mean, and which biases they train. Names of
//! fields are PEFT's where they can be; deciding which modules are meant is the room `targets`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Which biases of the base are trained and saved with the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BiasMode {
    None,
    /// Every bias of the model, those of norms included.
    All,
    /// The biases of the adapted layers.
    LoraOnly,
}

impl BiasMode {
    pub const NAMES: &[&str] = &["none", "all", "lora_only"];
}

/// Modules as a configuration names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Names {
    /// Full paths or their last segments, without regular expressions.
    List(Vec<String>),
    /// One regular expression of Python's `re`, for the whole path.
    Pattern(String),
}

/// What is adapted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Names", into = "Names")]
pub enum Targets {
    /// Every linear layer except the output layer.
    AllLinear,
    /// PEFT's default for the architecture, which [`AdapterMethod::resolved`](crate::AdapterMethod::resolved) makes a list.
    Auto,
    Names(Names),
}

impl From<Names> for Targets {
    fn from(names: Names) -> Self {
        match names {
            // PEFT takes `all-linear` in any case.
            Names::Pattern(word) if word.eq_ignore_ascii_case("all-linear") => Self::AllLinear,
            Names::Pattern(word) if word == "auto" => Self::Auto,
            names => Self::Names(names),
        }
    }
}

impl From<Targets> for Names {
    fn from(targets: Targets) -> Self {
        match targets {
            Targets::AllLinear => Self::Pattern("all-linear".to_owned()),
            Targets::Auto => Self::Pattern("auto".to_owned()),
            Targets::Names(names) => names,
        }
    }
}

/// Which modules are adapted, and which are trained in full beside them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TargetConfig {
    pub target_modules: Targets,
    #[serde(serialize_with = "list_or_pattern", deserialize_with = "some_names")]
    pub exclude_modules: Option<Names>,
    /// The layers that are adapted, `layers_to_transform` in PEFT; none, or an empty list, for all.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_several")]
    pub layers: Option<Vec<usize>>,
    /// What stands before the layer's number in a path; empty for anything.
    pub layers_pattern: Vec<String>,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Vec<String>,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self {
            target_modules: Targets::AllLinear,
            exclude_modules: None,
            layers: None,
            layers_pattern: Vec::new(),
            modules_to_save: Vec::new(),
        }
    }
}

impl TargetConfig {
    /// With what depends on the base: PEFT's default targets for its architecture, and the modules that are trained in
    /// full whatever the settings say, first.
    pub(crate) fn resolved(&self, default_targets: &[String], heads: &[String]) -> Self {
        let mut resolved = self.clone();
        if self.target_modules == Targets::Auto {
            resolved.target_modules = Targets::Names(Names::List(default_targets.to_vec()));
        }
        resolved.modules_to_save = heads.to_vec();
        for module in &self.modules_to_save {
            if !resolved.modules_to_save.contains(module) {
                resolved.modules_to_save.push(module.clone());
            }
        }
        resolved
    }
}

/// `None` is an empty list.
fn list_or_pattern<S: Serializer>(names: &Option<Names>, serializer: S) -> Result<S::Ok, S::Error> {
    match names {
        Some(names) => names.serialize(serializer),
        None => Names::List(Vec::new()).serialize(serializer),
    }
}

fn some_names<'de, D: Deserializer<'de>>(names: D) -> Result<Option<Names>, D::Error> {
    let names = Names::deserialize(names)?;
    Ok((names != Names::List(Vec::new())).then_some(names))
}

pub(crate) fn one_or_several<'de, D: Deserializer<'de>>(layers: D) -> Result<Option<Vec<usize>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Layers {
        One(usize),
        Several(Vec<usize>),
    }
    Ok(Some(match Layers::deserialize(layers)? {
        Layers::One(layer) => vec![layer],
        Layers::Several(layers) => layers,
    }))
}

//! What the settings of several methods have in common: which modules they mean, and which biases they train. Names of
//! fields are PEFT's where they can be; deciding which modules are meant is the room `targets`.

use std::collections::BTreeSet;

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

    /// Targets of all `modules` that any of these mean and of no other; what is trained beside them is that of the first. Lists are
    /// joined, and expressions, as PEFT does; full names are written where that would mean more, or not all: with layers and exclusions
    /// that are another's.
    pub(crate) fn union<'a>(of: &[&Self], modules: impl Iterator<Item = &'a str>) -> Self {
        let is_bare = of.iter().all(|it| it.exclude_modules.is_none() && it.layers.as_ref().is_none_or(Vec::is_empty));
        let lists = |it: &&Self| match &it.target_modules {
            Targets::Names(Names::List(names)) => Some(names.clone()),
            _ => None,
        };
        let patterns = |it: &&Self| match &it.target_modules {
            Targets::Names(Names::Pattern(pattern)) => Some(format!("({pattern})")),
            _ => None,
        };
        let lists: Option<Vec<Vec<String>>> = of.iter().map(lists).collect();
        let patterns: Option<Vec<String>> = of.iter().map(patterns).collect();
        let names = match (lists, patterns) {
            (Some(lists), _) if is_bare => Names::List(sorted(lists.into_iter().flatten())),
            (_, Some(patterns)) if is_bare => Names::Pattern(patterns.join("|")),
            _ => Names::List(sorted(modules.map(str::to_owned))),
        };
        let modules_to_save = of[0].modules_to_save.clone();
        Self { target_modules: Targets::Names(names), modules_to_save, ..Self::default() }
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    const MODULES: [&str; 3] = ["l.0.k", "l.0.q", "l.1.q"];

    fn list(names: &[&str]) -> TargetConfig {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        TargetConfig { target_modules: Targets::Names(Names::List(names)), ..TargetConfig::default() }
    }

    fn pattern(text: &str) -> TargetConfig {
        TargetConfig { target_modules: Targets::Names(Names::Pattern(text.to_owned())), ..TargetConfig::default() }
    }

    #[test]
    fn lists_are_joined_and_so_are_expressions() {
        let union = |of: &[&TargetConfig]| TargetConfig::union(of, MODULES.into_iter());
        assert_eq!(union(&[&list(&["q", "v"]), &list(&["q", "k"])]), list(&["k", "q", "v"]));
        assert_eq!(union(&[&pattern(r".*\.q"), &pattern("l.0.k|v")]), pattern(r"(.*\.q)|(l.0.k|v)"));
    }

    #[test]
    fn what_joining_would_change_is_named_in_full() {
        let first_layer = TargetConfig { layers: Some(vec![0]), layers_pattern: vec!["l".to_owned()], ..list(&["k"]) };
        let without = TargetConfig { exclude_modules: Some(Names::List(vec!["l.2.q".to_owned()])), ..list(&["q"]) };
        for of in [[&first_layer, &list(&["q"])], [&list(&["k"]), &without], [&list(&["k"]), &pattern(".*q")]] {
            assert_eq!(TargetConfig::union(&of, MODULES.into_iter()), list(&MODULES), "{of:?}");
        }
        let with_head = TargetConfig { modules_to_save: vec!["classifier".to_owned()], ..first_layer };
        let union = TargetConfig::union(&[&with_head, &list(&["q"])], MODULES.into_iter());
        assert_eq!(union, TargetConfig { modules_to_save: vec!["classifier".to_owned()], ..list(&MODULES) });
    }
}

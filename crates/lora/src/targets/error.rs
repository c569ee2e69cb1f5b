//! What can be wrong with the choice of modules, by itself or for the model at hand.

use std::fmt;

use miette::Diagnostic;

/// Writes a setting of the method as messages call it: a configuration has other keys than `adapter_config.json`.
pub type NameSetting<'a> = &'a dyn Fn(&str) -> String;

/// The message is without the setting that is wrong, which is [`TargetError::key`]; the help of [`Diagnostic`] calls settings
/// by their own names.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TargetError {
    #[error("{found} is not {expected}")]
    Number { key: String, found: f64, expected: &'static str },
    #[error("{problem}")]
    Setting { key: &'static str, problem: String, help: fn(NameSetting<'_>) -> String },
    #[error("a name is empty")]
    EmptyName { key: &'static str },
    #[error("it names no module")]
    NoTargets,
    #[error("`{pattern}` is not a regular expression: {reason}")]
    BadPattern { key: &'static str, pattern: String, reason: String },
    #[error("more than {most} regular expressions")]
    TooManyPatterns { key: &'static str, most: usize },
    #[error("a regular expression of {bytes} bytes, where {most} are the most")]
    LongPattern { key: &'static str, bytes: usize, most: usize },
    #[error("`{pattern}` could not be matched against `{module}`")]
    Backtracking { key: &'static str, pattern: String, module: String, source: Box<fancy_regex::Error> },
    #[error("layers are chosen of targets in a list of names")]
    LayersWithoutNames { key: &'static str },
    #[error("no layers are chosen")]
    LayersPatternAlone,
    #[error("no module is named `{name}`")]
    UnknownModule { key: &'static str, name: String, suggestion: String },
    #[error("no module matches `{pattern}`")]
    UnmatchedPattern { key: &'static str, pattern: String, suggestion: String },
    #[error("no module that `{name}` stands for is adapted")]
    WithoutEffect { name: String, of_head: bool },
    #[error("the model has no linear layer to adapt")]
    NothingAdapted,
    #[error("no target is in a layer {layer}")]
    UnknownLayer { layer: usize, targets: LayersOfTargets },
    #[error("`{pattern}` matches no adapted module")]
    UnusedPattern { key: &'static str, pattern: String, suggestion: String },
    #[error("`{first}` and `{second}` both match `{module}` and disagree")]
    Overlap { key: &'static str, first: String, second: String, module: String },
    #[error(
        "{rank} is above the smaller side of `{module}`, which is {shape:?}, and `init = \"{init}\"` takes its parts from it"
    )]
    RankAboveSide { key: &'static str, rank: usize, init: String, module: String, shape: [usize; 2] },
    #[error("`{module}` is both a target and saved in full")]
    AdaptedAndSaved { module: String, entry: String },
    #[error("{takes}: not on `{module}`")]
    UnsupportedModule { module: String, takes: &'static str },
    #[error("an adapter on `{module}` needs one on the `{missing}` of every expert of its layer")]
    ExpertsInPart { module: String, missing: String },
    #[error("`{module}` is no expert's, and PEFT would take its adapter for one")]
    TakenForExpert { module: String },
}

/// In which layers the targets are.
#[derive(Debug, Clone)]
pub enum LayersOfTargets {
    Known(Vec<usize>),
    /// A path without the number of a layer.
    Unnumbered(String),
    /// They are full paths.
    Any,
}

impl TargetError {
    /// The setting that is wrong; `None` where none is by itself.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Number { key, .. } => Some(key),
            Self::Setting { key, .. }
            | Self::EmptyName { key }
            | Self::BadPattern { key, .. }
            | Self::TooManyPatterns { key, .. }
            | Self::LongPattern { key, .. }
            | Self::Backtracking { key, .. }
            | Self::LayersWithoutNames { key }
            | Self::UnknownModule { key, .. }
            | Self::UnmatchedPattern { key, .. }
            | Self::UnusedPattern { key, .. }
            | Self::Overlap { key, .. }
            | Self::RankAboveSide { key, .. } => Some(key),
            Self::LayersPatternAlone => Some("layers_pattern"),
            Self::UnknownLayer { .. } => Some("layers"),
            Self::NoTargets
            | Self::WithoutEffect { .. }
            | Self::NothingAdapted
            | Self::UnsupportedModule { .. }
            | Self::ExpertsInPart { .. }
            | Self::TakenForExpert { .. } => Some("target_modules"),
            Self::AdaptedAndSaved { .. } => None,
        }
    }

    /// The message after the setting that is wrong, which `name` writes.
    pub fn message_with(&self, name: NameSetting<'_>) -> String {
        self.key().map_or_else(|| self.to_string(), |key| format!("{}: {self}", name(key)))
    }

    /// What to do about it; `name` writes the settings in it.
    pub fn help_with(&self, name: NameSetting<'_>) -> Option<String> {
        let help = match self {
            Self::Number { .. } => return None,
            Self::Setting { help, .. } => help(name),
            Self::EmptyName { .. } => "remove it".to_owned(),
            Self::NoTargets => "name the modules to adapt, or write \"all-linear\"".to_owned(),
            Self::BadPattern { .. } => "the dialect is that of Python's `re`".to_owned(),
            Self::TooManyPatterns { .. } => "name modules by their paths, of which there may be more".to_owned(),
            Self::LongPattern { .. } => "write a list of names".to_owned(),
            Self::Backtracking { .. } => "write it without nested repetitions".to_owned(),
            Self::LayersWithoutNames { .. } => format!(
                "write {} as a list, such as [\"query\", \"value\"], or put the layers into the expression",
                name("target_modules")
            ),
            Self::LayersPatternAlone => format!("set {} to the numbers of the layers to adapt", name("layers")),
            Self::UnknownModule { suggestion, .. }
            | Self::UnmatchedPattern { suggestion, .. }
            | Self::UnusedPattern { suggestion, .. } => suggestion.clone(),
            Self::WithoutEffect { name: target, of_head: true } => format!(
                "it is the classification head, which is always trained in full and saved with the adapter: remove `{target}` from {}",
                name("target_modules")
            ),
            Self::WithoutEffect { .. } => format!(
                "each is excluded, saved in full ({}) or outside {}: remove one or the other",
                name("modules_to_save"),
                name("layers")
            ),
            Self::NothingAdapted => {
                format!("look at {} and {}", name("exclude_modules"), name("modules_to_save"))
            }
            Self::UnknownLayer { targets, .. } => targets.help(name),
            Self::Overlap { .. } => {
                "PEFT writes the keys sorted, so that another of them would decide once the adapter is saved: let one \
                 match only"
                    .to_owned()
            }
            Self::AdaptedAndSaved { module, entry } => format!(
                "`{entry}` of {} means every module whose path ends so; put `{module}` into {}, or narrow one of the two",
                name("modules_to_save"),
                name("exclude_modules")
            ),
            Self::RankAboveSide { shape, .. } => format!(
                "lower it to {} or less, or give this module a rank of its own in {}",
                shape[0].min(shape[1]),
                name("rank_pattern")
            ),
            Self::UnsupportedModule { .. } => format!(
                "narrow the targets to linear layers; {} trains another module in full",
                name("modules_to_save")
            ),
            Self::ExpertsInPart { .. } => {
                "PEFT joins the experts of a layer: name `gate_proj`, `up_proj` and `down_proj` of all of them, or \
                 `down_proj` alone"
                    .to_owned()
            }
            Self::TakenForExpert { module } => {
                format!("put `{module}` into {}, or adapt attention alone", name("exclude_modules"))
            }
        };
        Some(help)
    }
}

impl LayersOfTargets {
    fn help(&self, name: NameSetting<'_>) -> String {
        match self {
            Self::Known(layers) => {
                let layers: Vec<String> = layers.iter().map(usize::to_string).collect();
                format!("known: {}", layers.join(", "))
            }
            Self::Unnumbered(path) => format!(
                "no layer number was found in `{path}`: set {} to what stands before it",
                name("layers_pattern")
            ),
            Self::Any => "targets written as full paths are adapted whatever their layer".to_owned(),
        }
    }
}

impl Diagnostic for TargetError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.help_with(&|key| format!("`{key}`"))?))
    }
}

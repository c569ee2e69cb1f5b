//! What can be wrong with the choice of modules, by itself or for the model at hand.

use miette::Diagnostic;

#[derive(Debug, Clone, thiserror::Error, Diagnostic)]
pub enum TargetError {
    #[error("`adapter.{key}`: {found} is not {expected}")]
    Number { key: String, found: f64, expected: &'static str },
    #[error("`adapter.{key}`: {problem}")]
    Setting {
        key: &'static str,
        problem: String,
        #[help]
        help: String,
    },
    #[error("`adapter.{key}`: a name is empty")]
    #[diagnostic(help("remove it"))]
    EmptyName { key: &'static str },
    #[error("`adapter.target_modules` is empty")]
    #[diagnostic(help("name the modules to adapt, or write \"all-linear\""))]
    NoTargets,
    #[error("`adapter.{key}`: `{pattern}` is not a regular expression: {reason}")]
    #[diagnostic(help("the dialect is that of Python's `re`"))]
    BadPattern { key: &'static str, pattern: String, reason: String },
    #[error("`adapter.{key}`: `{pattern}` could not be matched against `{module}`")]
    #[diagnostic(help("write it without nested repetitions"))]
    Backtracking { key: &'static str, pattern: String, module: String, source: Box<fancy_regex::Error> },
    #[error("`adapter.{key}` needs a list of names in `adapter.target_modules`")]
    #[diagnostic(help(
        "write the names as a list, such as [\"query\", \"value\"], or put the layers into the expression"
    ))]
    LayersWithoutNames { key: &'static str },
    #[error("`adapter.layers_pattern` says nothing without `adapter.layers`")]
    #[diagnostic(help("set `adapter.layers` to the numbers of the layers to adapt"))]
    LayersPatternAlone,
    #[error("`adapter.{key}`: no module is named `{name}`")]
    UnknownModule {
        key: &'static str,
        name: String,
        #[help]
        suggestion: String,
    },
    #[error("`adapter.{key}`: no module matches `{pattern}`")]
    UnmatchedPattern {
        key: &'static str,
        pattern: String,
        #[help]
        suggestion: String,
    },
    #[error("`adapter.target_modules`: no module that `{name}` stands for is adapted")]
    #[diagnostic(help(
        "each is excluded, saved in full (`adapter.modules_to_save`) or outside `adapter.layers`: remove one or the other"
    ))]
    WithoutEffect { name: String },
    #[error("`adapter.target_modules`: the model has no linear layer to adapt")]
    #[diagnostic(help("look at `adapter.exclude_modules` and `adapter.modules_to_save`"))]
    NothingAdapted,
    #[error("`adapter.layers`: no target is in a layer {layer}")]
    UnknownLayer {
        layer: usize,
        #[help]
        suggestion: String,
    },
    #[error("`adapter.{key}`: `{pattern}` matches no adapted module")]
    UnusedPattern {
        key: &'static str,
        pattern: String,
        #[help]
        suggestion: String,
    },
    #[error("`adapter.{key}`: `{first}` and `{second}` both match `{module}` and disagree")]
    #[diagnostic(help(
        "PEFT writes the keys sorted, so that another of them would decide once the adapter is saved: let one match only"
    ))]
    Overlap { key: &'static str, first: String, second: String, module: String },
    #[error(
        "`adapter.{key}`: {rank} is above the smaller side of `{module}`, which is {shape:?}, and `init = \"{init}\"` takes its parts from it"
    )]
    #[diagnostic(help(
        "lower it to {} or less, or give this module a rank of its own in `adapter.rank_pattern`", shape[0].min(shape[1])
    ))]
    RankAboveSide { key: &'static str, rank: usize, init: String, module: String, shape: [usize; 2] },
    #[error("`{module}` is both a target and saved in full")]
    #[diagnostic(help(
        "`{entry}` of `adapter.modules_to_save` means every module whose path ends so; put `{module}` into `adapter.exclude_modules`, or narrow one of the two"
    ))]
    AdaptedAndSaved { module: String, entry: String },
    #[error("`adapter.target_modules`: {takes}: not on `{module}`")]
    #[diagnostic(help("narrow the targets to linear layers; `adapter.modules_to_save` trains another module in full"))]
    UnsupportedModule { module: String, takes: &'static str },
    #[error(
        "`adapter.target_modules`: an adapter on `{module}` needs one on the `{missing}` of every expert of its layer"
    )]
    #[diagnostic(help(
        "PEFT joins the experts of a layer: name `gate_proj`, `up_proj` and `down_proj` of all of them, or `down_proj` alone"
    ))]
    ExpertsInPart { module: String, missing: String },
    #[error("`adapter.target_modules`: `{module}` is no expert's, and PEFT would take its adapter for one")]
    #[diagnostic(help("put `{module}` into `adapter.exclude_modules`, or adapt attention alone"))]
    TakenForExpert { module: String },
}

impl TargetError {
    /// The message by the keys of `adapter_config.json` instead of those of a configuration.
    pub fn of_adapter(&self) -> String {
        in_adapter_config(&self.to_string())
    }

    /// The help likewise.
    pub fn help_of_adapter(&self) -> Option<String> {
        self.help().map(|help| in_adapter_config(&help.to_string()))
    }
}

fn in_adapter_config(text: &str) -> String {
    text.replace("`adapter.layers`", "`layers_to_transform`").replace("`adapter.", "`")
}

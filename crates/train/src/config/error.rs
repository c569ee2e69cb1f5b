//! What can be wrong with a configuration. The first word of a message is the place: the key with its
//! line in the file, or the `--set` it came from.

use std::fmt;
use std::io;

use super::keys::Key;
use super::words::{Best, Dtype, Task};

/// Where a key got its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// The file as typed, the line of the key, and the key itself where it was written under another name.
    File { file: String, line: usize, alias: Option<String> },
    /// The argument of `--set` as typed.
    Set(String),
    /// The argument of `--vary` as typed.
    Vary(String),
    /// One of the values of an option of `compare`, both as typed: `4` of `--vary adapter.r=4,8`.
    Choice { value: String, option: String },
}

impl Place {
    /// The place of `key` as messages begin with it.
    pub(super) fn of(&self, key: &str) -> String {
        match self {
            Self::File { file, line, alias } => {
                format!("`{}` in {file}, line {line}", alias.as_deref().unwrap_or(key))
            }
            Self::Set(argument) => format!("`--set {argument}`"),
            Self::Vary(argument) => format!("`--vary {argument}`"),
            Self::Choice { value, option } => format!("`{value}` of `{option}`"),
        }
    }
}

/// Line and column (from 1, in characters) of a byte of `text`.
pub(super) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.matches('\n').count();
    (line, 1 + before[start..].chars().count())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    File,
    Directory,
}

impl fmt::Display for PathKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Directory => "directory",
        })
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum ConfigError {
    #[error("no configuration `{file}`")]
    NoConfiguration {
        file: String,
        #[help]
        help: String,
    },

    #[error("{file}, line {line}, column {column}: not valid UTF-8")]
    #[diagnostic(help("save the file as UTF-8"))]
    NotText { file: String, line: usize, column: usize },

    #[error("cannot read the configuration `{file}`")]
    Read { file: String, source: io::Error },

    #[error("{file}, line {line}, column {column}: {message}")]
    Syntax {
        file: String,
        line: usize,
        column: usize,
        message: String,
        #[help]
        help: String,
    },

    #[error("`--set {argument}`: no `=`")]
    #[diagnostic(help("write `--set KEY=VALUE`, for example `--set train.epochs=3`"))]
    SetWithoutValue { argument: String },

    #[error("`--vary {argument}`: no `=`")]
    #[diagnostic(help("write `--vary KEY=VALUE,VALUE`, for example `--vary adapter.r=4,8,16`"))]
    VaryWithoutValues { argument: String },

    #[error("{place}: `{value}` is given twice")]
    #[diagnostic(help("name each value once"))]
    VaryTwice { place: String, value: String },

    #[error("{place}: {reason}")]
    VaryFixed {
        place: String,
        reason: &'static str,
        #[help]
        help: String,
    },

    #[error("{place}: unknown key")]
    UnknownKey {
        place: String,
        #[help]
        help: String,
    },

    #[error("{place}: found `{found}`, expected a table")]
    NotATable {
        place: String,
        found: String,
        #[help]
        help: String,
    },

    #[error("{place}: `{table}` is a table")]
    SetTable {
        place: String,
        table: String,
        #[help]
        help: String,
    },

    #[error("{place}: unknown {key} `{word}`")]
    UnknownWord {
        place: String,
        key: &'static str,
        word: String,
        #[help]
        suggestion: String,
    },

    #[error("{place}: found `{found}`, expected {expected}")]
    Value {
        place: String,
        found: String,
        expected: String,
        #[help]
        help: String,
    },

    #[error("`{key}` is missing in {file}")]
    Missing {
        key: String,
        file: String,
        #[help]
        help: String,
    },

    #[error("{place}: method `{method}` has no key `{name}`")]
    #[diagnostic(help("remove it, or set `adapter.method = \"{other}\"`"))]
    ForeignKey { place: String, method: &'static str, name: &'static str, other: &'static str },

    #[error("method `{method}` has no such keys:{}", places.iter().map(|place| format!("\n  {place}")).collect::<String>())]
    ForeignKeys {
        method: &'static str,
        places: Vec<String>,
        #[help]
        help: String,
    },

    #[error("{place}: task `{task}` has no key `{name}`")]
    #[diagnostic(help("remove it, or set a `model.task` that has it: {others}"))]
    ForeignToTask { place: String, task: Task, name: &'static str, others: String },

    #[error("{place}: task `{task}` has no score `{best}`")]
    #[diagnostic(help("choose by {}, or leave it at `auto`",
        task.best.iter().map(|score| format!("`{}`", score.key)).collect::<Vec<_>>().join(", ")
    ))]
    NoSuchScore { place: String, task: Task, best: Best },

    #[error("{place}: method `{method}` trains {trained}, and task `{task}` has none")]
    #[diagnostic(help("set `adapter.method` to `lora` or `full`"))]
    NothingToTrain { place: String, method: &'static str, trained: String, task: Task },

    #[error("{place}: an adapter on random weights could never be used again, for they are not kept")]
    #[diagnostic(help("set `adapter.method = \"full\"` to train a model from nothing"))]
    RandomBase { place: String },

    #[error("{place}: what is kept in {dtype} is frozen, and `adapter.method = \"full\"` trains it")]
    #[diagnostic(help(
        "set `adapter.method = \"lora\"` to train an adapter on it, or `model.dtype` to a float type, or leave `model.dtype` out"
    ))]
    TrainedQuantised { place: String, dtype: Dtype },

    #[error("{place}: `model.dtype` is \"{dtype}\", which quantises nothing")]
    #[diagnostic(help("set `model.dtype` to \"int8\" or \"nf4\", or leave `model.quantize_output` out"))]
    NothingQuantised { place: String, dtype: Dtype },

    #[error("{place}: random weights that are not trained stay random")]
    #[diagnostic(help("train all of them: remove `layers`, `last_layers` and `train_embeddings` from [adapter]"))]
    RandomFrozen { place: String },

    #[error("{place}: {other} is set too")]
    #[diagnostic(help("keep one of the two"))]
    Both { place: String, other: String },

    #[error("{place}: `adapter.layers` is not set")]
    #[diagnostic(help(
        "`layers_pattern` names the list whose indices `layers` are: set `layers`, for example `layers = [0, 1]`, or remove it"
    ))]
    PatternWithoutLayers { place: String },

    #[error("{place}: `adapter.{other}` is not set")]
    #[diagnostic(help(
        "`{name}` does nothing without it: set `{other}`, for example `{other} = {example}`, or remove `{name}`"
    ))]
    Alone { place: String, name: &'static str, other: &'static str, example: &'static str },

    #[error("{place}: `adapter.target_modules` is \"all-linear\", which means every layer")]
    #[diagnostic(help(
        "remove `layers`, or write `target_modules` as a list of names, for example `target_modules = [\"query\", \"value\"]`"
    ))]
    LayersWithAll { place: String },

    #[error("{place}: `adapter.target_modules` is a regular expression, which chooses the layers itself")]
    #[diagnostic(help(
        "remove `layers`, or write `target_modules` as a list of names, for example `target_modules = [\"query\", \"value\"]`"
    ))]
    LayersWithPattern { place: String },

    #[error("{place}: 0 epochs and no `train.max_steps` leave nothing to train")]
    #[diagnostic(help("set `train.epochs` or `train.max_steps` to 1 or more"))]
    NoLength { place: String },

    #[error("{place}: early stopping needs validation data")]
    #[diagnostic(help("set `data.valid` or `data.valid_fraction`, or leave it 0"))]
    NothingToStopBy { place: String },

    #[error("{place}: answers are written to validation data")]
    #[diagnostic(help("set `data.valid` or `data.valid_fraction`, or leave it 0"))]
    NothingToAnswer { place: String },

    #[error("{place}: standard input can be read only once, and training reads its data again")]
    #[diagnostic(help("write the data to a file and name that"))]
    StandardInput { place: String },

    #[error("{place}: no {kind} `{path}` (looked in {looked})")]
    NoPath {
        place: String,
        kind: PathKind,
        path: String,
        looked: String,
        #[help]
        help: String,
    },

    #[error("{place}: no file matches `{pattern}`")]
    #[diagnostic(help(
        "relative patterns start at {origin}; `*` stands for any part of a name, `**` for any directories"
    ))]
    NoMatch { place: String, pattern: String, origin: &'static str },

    #[error("{place}: `{pattern}` is no pattern: {reason}")]
    #[diagnostic(help("a `[`, `*` or `?` that is meant as such is written `[[]`, `[*]` or `[?]`"))]
    Pattern { place: String, pattern: String, reason: String },

    #[error("{place}: {file} is read twice")]
    #[diagnostic(help("its rows would weigh double: name it once, or narrow the pattern"))]
    FileTwice { place: String, file: String },

    #[error("{place}: no directory `{path}` (looked in {looked})")]
    #[diagnostic(help("did you mean `{near}`? a model of that name on the Hugging Face Hub is `{path}@main`"))]
    NoModel { place: String, path: String, looked: String, near: String },

    #[error("{place}: `{path}` holds control characters")]
    ControlCharacters {
        place: String,
        path: String,
        #[help]
        help: String,
    },

    #[error("{place}: the path {path} is not UTF-8")]
    #[diagnostic(help("run in a directory whose path is UTF-8"))]
    NotUtf8 { place: String, path: String },
}

impl ConfigError {
    /// `found` is the value as the user typed it.
    pub(super) fn value(place: String, key: &Key, found: &str, expected: String) -> Self {
        Self::Value { place, found: shortened(found), expected, help: key.example_help() }
    }

    /// `found` is the value as the user typed it.
    pub(super) fn not_a_table(place: String, found: &str, help: String) -> Self {
        let found = shortened(found);
        Self::NotATable { place, found, help }
    }
}

/// On one line, and not more of it than a message can bear.
fn shortened(found: &str) -> String {
    const LONGEST: usize = 60;
    let line = found.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...", &line[..cut]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        assert_eq!(line_and_column("", 0), (1, 1));
        assert_eq!(line_and_column("a\r\nöb\n", 5), (2, 2));
        assert_eq!(line_and_column("a\n", 2), (2, 1));
        assert_eq!(line_and_column("a", 9), (1, 2));
    }

    #[test]
    fn a_long_value_is_cut_and_put_on_one_line() {
        assert_eq!(shortened("[\n  1,\n  2\n]"), "[ 1, 2 ]");
        assert_eq!(shortened(&"ä".repeat(61)), format!("{}...", "ä".repeat(60)));
    }
}

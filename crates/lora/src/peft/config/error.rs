//! What can be wrong with an `adapter_config.json`.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConfigError {
    #[error("{}, line {line}, column {column}: malformed JSON: {reason}", file.display())]
    #[diagnostic(help("the file is not as PEFT wrote it: copy the adapter again"))]
    Syntax { file: PathBuf, line: usize, column: usize, reason: String },
    #[error("{} is not a JSON object", file.display())]
    #[diagnostic(help("the file is not as PEFT wrote it: copy the adapter again"))]
    NotAnObject { file: PathBuf },
    #[error("{} has no `peft_type`", file.display())]
    #[diagnostic(help("it was not written by PEFT; adapters of type {supported} are supported"))]
    NoType { file: PathBuf, supported: String },
    #[error("`peft_type` in {}: adapters of type {found} are not supported", file.display())]
    #[diagnostic(help("supported: {supported}"))]
    OtherType { file: PathBuf, found: String, supported: String },
    #[error("`{key}` in {}: {found} is not {expected}", file.display())]
    #[diagnostic(help("correct the value, or copy the adapter again"))]
    Value { file: PathBuf, key: String, found: String, expected: &'static str },
    #[error("`{key}` in {}: unknown value `{found}`", file.display())]
    UnknownWord {
        file: PathBuf,
        key: &'static str,
        found: String,
        #[help]
        suggestion: String,
    },
    #[error("`{key}` in {}: {found} is not supported", file.display())]
    Unsupported {
        file: PathBuf,
        key: String,
        found: String,
        #[help]
        reason: &'static str,
    },
    #[error("`{key}` in {}: unknown key with the value {found}", file.display())]
    #[diagnostic(help("it may change what the adapter computes; if it does not, remove it from the file"))]
    UnknownKey { file: PathBuf, key: String, found: String },
}

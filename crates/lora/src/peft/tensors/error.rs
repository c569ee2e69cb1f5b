//! What can be wrong with the tensors of an adapter.

use std::path::PathBuf;

use safetensors::SafeTensorError;

/// What is wrong with a safetensors file, in the words of one who has the file but not the crate's source.
pub fn damage(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::HeaderTooSmall => "it is too short for a header".to_string(),
        SafeTensorError::HeaderTooLarge => "it claims a header of more than 100 MB".to_string(),
        SafeTensorError::InvalidHeaderLength => "it ends within its header".to_string(),
        SafeTensorError::InvalidHeader(_) => "its header is not valid UTF-8".to_string(),
        SafeTensorError::InvalidHeaderDeserialization(source) | SafeTensorError::JsonError(source) => {
            format!("its header is no list of tensors ({source})")
        }
        SafeTensorError::InvalidOffset(name) => {
            format!("the tensor `{name}` overlaps another or leaves a gap before it")
        }
        SafeTensorError::TensorInvalidInfo | SafeTensorError::ValidationOverflow => {
            "the shape of a tensor is not that of its bytes".to_string()
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            "the tensors of its header do not end where the file ends".to_string()
        }
        other => other.to_string(),
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TensorError {
    #[error("{} has no `{file}`", directory.display())]
    NoFile {
        directory: PathBuf,
        file: &'static str,
        #[help]
        help: String,
    },
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{} is not a valid safetensors file: {reason}", file.display())]
    #[diagnostic(help("the file is damaged or was cut short: copy it again"))]
    Damaged { file: PathBuf, reason: String },
    #[error("{}: tensor `{tensor}` is {dtype}", file.display())]
    #[diagnostic(help("adapters are read in F32, F16, BF16 and F64"))]
    Dtype { file: PathBuf, tensor: String, dtype: String },
    #[error("{}: `{tensor}` has {found:?}, the model asks for {expected:?}", file.display())]
    #[diagnostic(help("the adapter was made for another model, or for another number of labels or tokens"))]
    Shape { file: PathBuf, tensor: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("{}: `{tensor}` has rank {found}, adapter_config.json says {expected}", file.display())]
    #[diagnostic(help(
        "the configuration and the tensors belong to different adapters: correct `r` or `rank_pattern`"
    ))]
    Rank { file: PathBuf, tensor: String, found: usize, expected: usize },
    #[error("{}: `{tensor}` has {found:?}, expected {expected}", file.display())]
    #[diagnostic(help("the file is not as PEFT wrote it: copy the adapter again, or save it again without sharding"))]
    Factor { file: PathBuf, tensor: String, found: Vec<usize>, expected: String },
    #[error("{}: `{tensor}` has a value that is not a finite number", file.display())]
    #[diagnostic(help("training went wrong, or the file is damaged: copy the adapter again, or train it again"))]
    NotFinite { file: PathBuf, tensor: String },
    #[error("{}: `{first}` and `{second}` differ, and to this model they are one tensor", file.display())]
    #[diagnostic(help(
        "the output layer of the model is tied to its word embeddings, that of the model the adapter was trained on was not: give that one"
    ))]
    NotTied { file: PathBuf, first: String, second: String },
    #[error("{} does not fit the model:{}{}", file.display(), list("missing", missing), list("not used by the model", unexpected))]
    Mismatch {
        file: PathBuf,
        missing: Vec<String>,
        unexpected: Vec<String>,
        #[help]
        help: String,
    },
}

fn list(title: &str, names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return String::new();
    }
    let mut text = format!("\n  {title}:");
    for name in names.iter().take(SHOWN) {
        text.push_str(&format!("\n    {name}"));
    }
    if names.len() > SHOWN {
        text.push_str(&format!("\n    ... and {} more", names.len() - SHOWN));
    }
    text
}

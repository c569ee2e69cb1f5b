//! What can be wrong with a task for a model and its data.

use std::path::PathBuf;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    #[error("the tokenizer of {} has no mask token", path.display())]
    #[diagnostic(help("masked language modelling needs the tokenizer of an encoder, such as BERT or RoBERTa"))]
    NoMask { path: PathBuf },
    #[error("{place}: the text has no token that could be masked")]
    #[diagnostic(help("remove the row, or write text into it"))]
    NothingToMask { place: String },
    #[error("the tokenizer gives the id {id}, the model has embeddings for {rows}")]
    #[diagnostic(help("tokenizer and checkpoint do not belong together: copy both from one place"))]
    Vocabulary { id: u32, rows: usize },
    #[error("the tokenizer gives the type {id} to a token, the model has embeddings for {segments}")]
    #[diagnostic(help("tokenizer and checkpoint do not belong together: copy both from one place"))]
    Segments { id: u32, segments: usize },
    #[error("no class is called `{name}`")]
    NoSuchClass {
        name: String,
        #[help]
        suggestion: String,
    },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Data(#[from] data::Error),
}

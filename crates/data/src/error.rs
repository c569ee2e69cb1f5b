//! Everything that files, rows and tokenizers can have wrong. The message says what and where, the help what to do.

use std::io;
use std::path::PathBuf;

use crate::place::{Place, name};

/// What is wrong with a file, a row of it, a label or a tokenizer.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum Error {
    // Files.
    #[error("{} does not exist", name(file))]
    NotFound {
        file: PathBuf,
        #[help]
        suggestion: String,
    },
    #[error("{} is a directory, not a file", name(file))]
    #[diagnostic(help("name a file in it"))]
    Directory { file: PathBuf },
    #[error("{} cannot be read", name(file))]
    Read { file: PathBuf, source: io::Error },
    #[error("{}: unknown file type{}", name(file), extension.as_ref().map(|it| format!(" `.{it}`")).unwrap_or_default())]
    #[diagnostic(help(
        "supported: .jsonl, .json, .csv, .tsv, each of them also with .gz, and - for JSON lines on standard input"
    ))]
    UnknownType { file: PathBuf, extension: Option<String> },
    #[error("{} holds no rows", name(file))]
    #[diagnostic(help("expected at least one row of data"))]
    Empty { file: PathBuf },
    #[error("{}: broken gzip data", name(file))]
    #[diagnostic(help("the copy or download may be incomplete: `gzip -t {}` checks it", name(file)))]
    Gzip { file: PathBuf, source: io::Error },

    // What stands in them.
    #[error("{place}: not valid UTF-8 (byte {byte} of the line)")]
    Utf8 {
        place: Place,
        byte: usize,
        #[help]
        help: String,
    },
    #[error("{place}, column {column}: malformed JSON: {reason}")]
    Json {
        place: Place,
        column: usize,
        reason: String,
        #[help]
        help: String,
    },
    #[error("{place}: expected a JSON object, found {found}")]
    #[diagnostic(help("a row reads {{\"text\": \"...\", \"label\": ...}}"))]
    NotAnObject { place: Place, found: &'static str },
    #[error("{}: expected an array of objects or an object with one under `data`, found {found}", name(file))]
    #[diagnostic(help("the file reads [{{\"text\": \"...\", \"label\": ...}}, ...]"))]
    NotAnArray { file: PathBuf, found: String },
    #[error("{place}: {found} cells where the header has {expected}")]
    #[diagnostic(help(
        "a cell that holds the separator or a line break stands in double quotes, a double quote in it is doubled"
    ))]
    Ragged { place: Place, expected: usize, found: usize },
    #[error("{place}: the double quote that opens here is never closed")]
    #[diagnostic(help("close it, or double each double quote of the cell and put the cell in double quotes"))]
    OpenQuote { place: Place },
    #[error("{}: two columns are named `{column}`", name(file))]
    #[diagnostic(help("rename one of them in the header"))]
    DuplicateColumn { file: PathBuf, column: String },

    // Columns.
    #[error("{} has no column `{column}` (columns: {columns})", name(file))]
    MissingColumn {
        file: PathBuf,
        column: String,
        columns: String,
        #[help]
        suggestion: String,
    },
    #[error("{place}: the row has no column `{column}` (columns: {columns})")]
    #[diagnostic(help("give the row the columns of the file's first row, or remove it"))]
    MissingField { place: Place, column: String, columns: String },
    #[error("{place}: column `{column}` is empty")]
    #[diagnostic(help("give the row a text, or remove it"))]
    EmptyText { place: Place, column: String },
    #[error("{place}: column `{column}` should be a string, found {found}")]
    #[diagnostic(help("put the value in double quotes, or choose another column with `data.{key}`"))]
    NotText { place: Place, column: String, key: &'static str, found: &'static str },

    // Labels.
    #[error("{place}: column `{column}` should be an integer or a string, found {found}")]
    #[diagnostic(help("classes are names or the integers 0, 1, 2, ...; another column is chosen with `data.label`"))]
    NotALabel { place: Place, column: String, found: String },
    #[error("{place}: the row has no label (absent, null or empty)")]
    #[diagnostic(help("give the row a label, or remove it"))]
    NoLabel { place: Place },
    #[error("{place}: unknown label `{label}`")]
    UnknownLabel {
        place: Place,
        label: String,
        #[help]
        suggestion: String,
    },
    #[error("{place}: the label {label} is negative")]
    #[diagnostic(help("number the classes 0, 1, 2, ..., or name them"))]
    NegativeLabel { place: Place, label: i64 },
    #[error("{}: labels go up to {largest}, but no row has the label {missing}", name(file))]
    #[diagnostic(help("number the classes 0, 1, 2, ... without a gap, or list their names in `model.labels`"))]
    LabelGap { file: PathBuf, largest: i64, missing: i64 },
    #[error("{}: every row has the label `{label}`", name(file))]
    #[diagnostic(help(
        "classification needs at least two classes; the column is chosen with `data.label`, classes without rows are listed in `model.labels`"
    ))]
    OneClass { file: PathBuf, label: String },
    #[error("{count} class names given")]
    #[diagnostic(help("classification needs at least two classes"))]
    TooFewNames { count: usize },
    #[error("the class name `{label}` is given twice")]
    #[diagnostic(help("each class needs a name of its own"))]
    DuplicateName { label: String },
    #[error("class name number {number} is empty")]
    #[diagnostic(help("each class needs a name"))]
    EmptyName { number: usize },

    // Tokenizers.
    #[error("{} has no tokenizer (looked for tokenizer.json and vocab.txt)", dir.display())]
    NoTokenizer {
        dir: PathBuf,
        #[help]
        help: String,
    },
    #[error("{}: broken tokenizer file", file.display())]
    #[diagnostic(help(
        "fetch the file again, or write it anew with `save_pretrained` of its tokenizer in Transformers"
    ))]
    BrokenTokenizer { file: PathBuf, source: tokenizers::Error },
    #[error("{} lacks the token `{token}`", file.display())]
    #[diagnostic(help(
        "a BERT vocabulary has [UNK], [CLS] and [SEP], one token a line; other tokenizers need a tokenizer.json"
    ))]
    MissingToken { file: PathBuf, token: &'static str },
    #[error("`data.max_length = {max_length}` leaves no room for text: the tokenizer adds {special} special tokens")]
    #[diagnostic(help("set `data.max_length` to more than {special}"))]
    MaxLength { max_length: usize, special: usize },
    #[error("{subject}: the tokenizer makes no token of the text")]
    #[diagnostic(help("give the row another text, or remove it"))]
    NoTokens { subject: String },
    #[error("the tokenizer failed")]
    #[diagnostic(help(
        "the text holds what this tokenizer has no token for; tokenizer.json may lack its unknown token"
    ))]
    Tokenizing { source: tokenizers::Error },

    // Vocabularies.
    #[error("the texts hold no words")]
    #[diagnostic(help("give at least one text that is not blank"))]
    NoWords,
    #[error(
        "a vocabulary of {size} has no room for {special} special token{} and {characters} characters",
        if *special == 1 { "" } else { "s" }
    )]
    #[diagnostic(help(
        "ask for more than {} entries, thousands for a language; rare characters can be taken out of the texts",
        special + characters
    ))]
    VocabularyTooSmall { size: usize, special: usize, characters: usize },
    #[error("the texts give a vocabulary of {reached} entries, not of {size}")]
    #[diagnostic(help("ask for at most {reached} entries, or give more text"))]
    TextsTooFew { size: usize, reached: usize },
}

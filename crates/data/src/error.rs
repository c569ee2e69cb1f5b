//! Everything that files, rows and tokenizers can have wrong. The message says what and where, the help what to do.

use std::io;
use std::path::{Path, PathBuf};

use json::TOO_MANY_VALUES;

use crate::Advice;
use crate::limits::{
    LINES_PER_BYTE, LONGEST_NAME, LONGEST_ROW, MOST_CELLS, MOST_COLUMNS, MOST_CONLL_COLUMNS, PACKED_LINES,
    UNPACKED_PER_BYTE,
};
use crate::place::{Place, name};

fn instead(extension: Option<&str>) -> &'static str {
    match extension {
        Some("xlsx" | "xls" | "xlsm" | "ods" | "numbers") => "save the sheet as CSV UTF-8 (.csv)",
        _ => {
            "supported: .jsonl (or .ndjson), .json, .csv, .tsv, .parquet, .conll (or .bio, .iob), .txt, each of them also with .gz, and - for JSON lines on standard input"
        }
    }
}

/// How a tokenizer that only Python packages read becomes one that is read here.
pub(crate) const MAKE_TOKENIZER_JSON: &str =
    "in Python, `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` of Transformers makes a tokenizer.json of it";

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
    #[diagnostic(help("{}", instead(extension.as_deref())))]
    UnknownType { file: PathBuf, extension: Option<String> },
    #[error("{} holds no rows", name(file))]
    #[diagnostic(help("expected at least one row of data"))]
    Empty { file: PathBuf },
    #[error("{}: broken gzip data", name(file))]
    #[diagnostic(help("the copy or download may be incomplete: `gzip -t {}` checks it", name(file)))]
    Gzip { file: PathBuf, source: io::Error },

    #[error("{place}: the row is longer than {} MB", LONGEST_ROW >> 20)]
    #[diagnostic(help(
        "a row is a line, or ends where its quotes do: is a quote never closed? Split a long plain text into lines"
    ))]
    LongRow { place: Place },
    #[error("{}: it unpacks to more than {UNPACKED_PER_BYTE} times its size", name(file))]
    #[diagnostic(help(
        "text does not compress this well: if you know what it is, unpack it first (`gunzip {}`)",
        name(file)
    ))]
    Unpacked { file: PathBuf },
    #[error("{}: it unpacks to more than {PACKED_LINES} lines and {LINES_PER_BYTE} for each of its bytes", name(file))]
    #[diagnostic(help(
        "text does not compress this well: if you know what it is, unpack it first (`gunzip {}`)",
        name(file)
    ))]
    UnpackedLines { file: PathBuf },
    #[error("{place}: more than {most} rows")]
    TooManyRows {
        place: Place,
        most: u64,
        #[help]
        help: String,
    },
    #[error("{place}: {TOO_MANY_VALUES}")]
    #[diagnostic(help(
        "each number, list and object in a row takes 72 bytes of memory and more: leave out the columns that are not needed"
    ))]
    TooManyValues { place: Place },
    #[error("{place}: a sentence of more than {MOST_CELLS} words and tags")]
    #[diagnostic(help("a blank line ends a sentence"))]
    LongSentence { place: Place },
    #[error("{place}: more than {MOST_CONLL_COLUMNS} columns")]
    #[diagnostic(help("a line is a word and its tags; a file of one text a line ends in .txt"))]
    ManyConllColumns { place: Place },
    #[error("{}: more than {MOST_COLUMNS} columns", name(file))]
    #[diagnostic(help("keep the columns that are needed"))]
    TooManyColumns { file: PathBuf },

    // What stands in them.
    #[error("{place}: not valid UTF-8 (byte {byte} of the line)")]
    Utf8 {
        place: Place,
        byte: usize,
        #[help]
        help: String,
    },
    #[error("{place}: not valid UTF-16")]
    #[diagnostic(help("the copy or download may be incomplete: fetch the file again, or save it as UTF-8"))]
    Utf16 { place: Place },
    #[error("{} is UTF-32", name(file))]
    #[diagnostic(help("save it as UTF-8, for example with `iconv -f utf-32 -t utf-8`"))]
    Utf32 { file: PathBuf },
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
    #[error("{place}: {found} cell{} where the header has {expected}", if *found == 1 { "" } else { "s" })]
    Ragged {
        place: Place,
        expected: usize,
        found: usize,
        #[help]
        help: String,
    },
    #[error("{place}: the double quote that opens here is never closed")]
    #[diagnostic(help("close it, or double each double quote of the cell and put the cell in double quotes"))]
    OpenQuote { place: Place },
    #[error("{place}: the double quote that opens here closes in line {closed} in the middle of a cell")]
    #[diagnostic(help(
        "the rows between them would be one cell: a cell that begins with a double quote stands in double quotes as a whole, with each double quote in it doubled"
    ))]
    TornQuote { place: Place, closed: usize },
    #[error("{place}: `sep={separator}` names no separator")]
    #[diagnostic(help("write a single character, as in `sep=;`, or remove the line"))]
    Separator { place: Place, separator: String },
    #[error("{}: a column's name has {length} bytes, more than {LONGEST_NAME}", name(file))]
    #[diagnostic(help("the first line names the columns: does the file lack it?"))]
    LongColumnName { file: PathBuf, length: usize },
    #[error("{}: two columns are named `{column}`", name(file))]
    #[diagnostic(help("rename one of them in the header"))]
    DuplicateColumn { file: PathBuf, column: String },
    #[error("{place}: {found} column{} where the first word has {expected}", if *found == 1 { "" } else { "s" })]
    RaggedColumns {
        place: Place,
        expected: usize,
        found: usize,
        #[help]
        help: String,
    },
    #[error("{place}: column {column} is empty")]
    #[diagnostic(help("a word and its tags a line, and a blank line between sentences"))]
    EmptyColumn { place: Place, column: usize },

    // Parquet.
    #[error("{} is not a Parquet file", name(file))]
    NotParquet {
        file: PathBuf,
        #[help]
        help: &'static str,
    },
    #[error("{subject}: broken Parquet data: {reason}")]
    #[diagnostic(help(
        "the copy or download may be incomplete: fetch the file again, or write it again without encrypted columns"
    ))]
    BrokenParquet { subject: String, reason: String },
    #[error("{}: {reason}", name(file))]
    #[diagnostic(help(
        "if the file is not damaged, write it again without compression, or in smaller files; or fetch it again"
    ))]
    ParquetSizes { file: PathBuf, reason: String },
    #[error("{place}: so far the rows hold more than {UNPACKED_PER_BYTE} times what the file does")]
    #[diagnostic(help("they repeat a few values: write the file again without the rows that occur often"))]
    ParquetRows { place: Place },
    #[error("{place}: column `{column}` holds a text of the type JSON that is not JSON: {reason}")]
    #[diagnostic(help("correct the text, or write the column as a plain string if it is not meant as JSON"))]
    ParquetJson { place: Place, column: String, reason: String },
    #[error("{} is encrypted", name(file))]
    #[diagnostic(help("write it again without encryption"))]
    EncryptedParquet { file: PathBuf },
    #[error("{}: column `{column}` {what}, which is not supported", name(file))]
    #[diagnostic(help("write the file again without this column, or its data in another way"))]
    UnsupportedParquet { file: PathBuf, column: String, what: &'static str },
    #[error("{place}: column `{column}` has the class {number}, which the file has no name for (names: {names})")]
    #[diagnostic(help(
        "the names are in the file's metadata under `huggingface`; correct the number, or write the file again with them"
    ))]
    NoClassName { place: Place, column: String, number: i64, names: String },

    // Columns.
    #[error("{} has no column `{column}` (columns: {columns})", name(file))]
    MissingColumn {
        file: PathBuf,
        column: String,
        columns: String,
        #[help]
        suggestion: Advice,
    },
    #[error("{place}: the row has no column `{column}` (columns: {columns})")]
    #[diagnostic(help("give the row the columns of the file's first row, or remove it"))]
    MissingField { place: Place, column: String, columns: String },
    #[error("{place}: column `{column}` is empty")]
    #[diagnostic(help("give the row a text, or remove it"))]
    EmptyText { place: Place, column: String },
    #[error("{place}: column `{column}` should be a string, found {found}")]
    NotText {
        place: Place,
        column: String,
        found: &'static str,
        #[help]
        advice: Advice,
    },

    #[error("{place}: `{key}` gives an empty text")]
    #[diagnostic(help("give the columns that it names a text, or remove the row"))]
    EmptyRendered { place: Place, key: String },

    // Templates.
    #[error("`{key}`, line {line}, column {column}: {reason}")]
    #[diagnostic(help("a column is written {{{{ text }}}}, a condition {{% if text %}} ... {{% endif %}}"))]
    TemplateSyntax { key: String, line: usize, column: usize, reason: String },
    #[error("{place}: {at}: {reason}")]
    TemplateRow {
        place: Place,
        /// Where in the template.
        at: String,
        reason: String,
        #[help]
        help: String,
    },
    #[error("`{key}` names no column: every row would have the same text")]
    #[diagnostic(help("a column is written {{{{ text }}}}"))]
    ConstantTemplate { key: String },

    // Labels.
    #[error("{place}: column `{column}` should be an integer or a string, found {found}")]
    NotALabel {
        place: Place,
        column: String,
        found: String,
        #[help]
        advice: Advice,
    },
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
    #[error("{place}: the label is the number {number}, in {at} it is the boolean {boolean}")]
    #[diagnostic(help("write all labels one way: true and false, the numbers 0 and 1, or names"))]
    MixedLabels { place: Place, number: i64, at: String, boolean: bool },
    #[error("{place}: the label {label} is negative")]
    #[diagnostic(help("number the classes 0, 1, 2, ..., or name them"))]
    NegativeLabel { place: Place, label: i64 },
    #[error("{place}: the label {label} is a fraction, and all labels are numbers, not classes")]
    #[diagnostic(help(
        "`model.task = \"regression\"` learns the numbers; for classes write names or whole numbers, or list classes that are named by fractions in `model.labels`"
    ))]
    FractionalLabel { place: Place, label: String },
    #[error("{}: labels go up to {largest}, but no row has the label {missing}", name(file))]
    #[diagnostic(help("number the classes 0, 1, 2, ... without a gap, or list their names in `model.labels`"))]
    LabelGap { file: PathBuf, largest: i64, missing: i64 },
    #[error("{}: every row has the label `{label}`", name(file))]
    #[diagnostic(help(
        "classification needs at least two classes; the column is chosen with `data.label`, classes without rows are listed in `model.labels`"
    ))]
    OneClass { file: PathBuf, label: String },
    #[error("{count} class name{} given", if *count == 1 { "" } else { "s" })]
    #[diagnostic(help("classification needs at least two classes"))]
    TooFewNames { count: usize },
    #[error("the class name `{label}` is given twice")]
    #[diagnostic(help("each class needs a name of its own"))]
    DuplicateName { label: String },
    #[error("class name number {number} is empty")]
    #[diagnostic(help("each class needs a name"))]
    EmptyName { number: usize },

    // Several labels, and numbers.
    #[error("{place}: the label `{label}` contains `{inside}`, and labels are divided by `{separator}` ({at})")]
    #[diagnostic(help(
        "divide all labels by one of them, or write lists in JSON: [\"first label\", \"second label\"]"
    ))]
    MixedSeparators { place: Place, label: String, inside: char, separator: char, at: String },
    #[error("{place}: the label `{label}` contains `{separator}`, which divides the labels of a cell")]
    #[diagnostic(help(
        "write lists in JSON, [\"first label\", \"second label\"], or divide labels by another of `,`, `;` and `|`"
    ))]
    SeparatorInLabel { place: Place, label: String, separator: char },
    #[error("{place}: column `{column}` {problem}")]
    NotAValue {
        place: Place,
        column: String,
        problem: String,
        #[help]
        advice: Advice,
    },

    // Words, tags and entities.
    #[error("{place}: the tag `{tag}` has no prefix, which most tags have")]
    NoTagOfScheme {
        place: Place,
        tag: String,
        #[help]
        help: String,
    },
    #[error("`data.{first}` and `data.{second}` are both set: a row is words with tags, or a text with entities")]
    #[diagnostic(help("remove one of them"))]
    WordsAndText { first: &'static str, second: &'static str },
    #[error("{}: no row has an entity", name(file))]
    #[diagnostic(help("give the rows that a model is to learn from entities, or list all tags in `model.labels`"))]
    NoEntities { file: PathBuf },
    #[error("{place}: {problem}")]
    Tagging {
        place: Place,
        problem: String,
        #[help]
        help: String,
    },

    // Rows for language models.
    #[error("{} has columns of several kinds of rows: {columns}", name(file))]
    SeveralKindsOfRow {
        file: PathBuf,
        columns: String,
        #[help]
        advice: Advice,
    },
    #[error("{} has neither `text`, nor `prompt` and `completion`, nor `messages` (columns: {columns})", name(file))]
    NoKindOfRow {
        file: PathBuf,
        columns: String,
        #[help]
        advice: Advice,
    },
    #[error(
        "`data.{first}` and `data.{second}` are both set: a row is a text, a prompt with its completion, or a conversation"
    )]
    #[diagnostic(help("remove one of them"))]
    ContradictoryColumns { first: &'static str, second: &'static str },
    #[error("{place}: {problem}")]
    Conversation {
        place: Place,
        problem: String,
        #[help]
        help: String,
    },
    #[error("{subject}: message {number} has the unknown role `{role}`")]
    UnknownRole {
        subject: String,
        number: usize,
        role: String,
        #[help]
        suggestion: String,
    },
    #[error("{subject}: no message is the assistant's")]
    #[diagnostic(help(
        "what the model is to learn stands in messages of the role `assistant`: add one, or remove the row"
    ))]
    NoAssistantTurn { subject: String },
    #[error("{subject}: no message of the assistant is to be learned")]
    #[diagnostic(help(
        "each has `weight: 0` or `train: false`, or belongs to the prompt: give one of them `weight: 1`, or remove the row"
    ))]
    NoLearnedTurn { subject: String },
    #[error(
        "{subject}: message {number} is not a target, but the chat template writes it differently once the conversation continues"
    )]
    RewrittenTurn {
        subject: String,
        number: usize,
        #[help]
        advice: Advice,
    },
    #[error("{subject}: the prompt is empty, and neither the tokenizer nor config.json has a token that begins a text")]
    #[diagnostic(help(
        "give it a prompt, for the first token is predicted from those before it; or set `bos_token_id` in config.json"
    ))]
    EmptyPrompt { subject: String },
    #[error("{subject}: no token of the row is a target")]
    #[diagnostic(help("a token is predicted from those before it: give the row a longer text, or remove it"))]
    NoTargets { subject: String },
    #[error("`data.max_length = {max_length}` leaves no room for a target after the first {context} token{}", if *context == 1 { "" } else { "s" })]
    #[diagnostic(help("set `data.max_length` to more than {context}"))]
    NoRoomForTargets { max_length: usize, context: usize },

    // Chat templates.
    #[error("{subject}: the row holds messages, but the checkpoint has no chat template")]
    #[diagnostic(help(
        "put one beside its tokenizer as chat_template.jinja, take a checkpoint that was made for conversations, or give rows of `prompt` and `completion`"
    ))]
    NoChatTemplate { subject: String },
    #[error("{}, line {line}, column {column}: {reason}", file.display())]
    #[diagnostic(help("the chat template is the checkpoint's: fetch the file again, or correct it there"))]
    ChatTemplateSyntax { file: PathBuf, line: usize, column: usize, reason: String },
    #[error("{subject}: {at}: {reason}")]
    ChatTemplateFailed {
        subject: String,
        /// Where in the template.
        at: String,
        reason: String,
        #[help]
        help: &'static str,
    },
    #[error("{subject}: the chat template refuses the conversation: {reason}")]
    #[diagnostic(help("change the messages to what the template asks for, or remove the row"))]
    ChatRefused { subject: String, reason: String },
    #[error("{subject}: the chat template does not write message {number} as a continuation of the messages before it")]
    #[diagnostic(help(
        "with it and without it, but with the generation prompt, the messages before it end in nothing alike: where the answer begins cannot be told; compare the two with `apply_chat_template` of Transformers"
    ))]
    InconsistentTemplate { subject: String, number: usize },
    #[error("{subject}: the chat template ends message {number} without a token at which generation stops")]
    #[diagnostic(help(
        "a model that learns from it never stops: let the template write the end token after what the assistant says"
    ))]
    NoEndOfTurn { subject: String, number: usize },

    // Tokenizers.
    #[error("the checkpoint has no end token, in which a text and a completion end")]
    #[diagnostic(help("set `eos_token` in its tokenizer_config.json, or `eos_token_id` in its config.json"))]
    NoEndToken,
    #[error("{} has no tokenizer (looked for tokenizer.json, vocab.txt and SentencePiece files)", dir.display())]
    NoTokenizer {
        dir: PathBuf,
        #[help]
        help: String,
    },
    #[error("{}: broken tokenizer file", file.display())]
    #[diagnostic(help(
        "fetch the file again, or write it again with `save_pretrained` of its tokenizer in Transformers"
    ))]
    BrokenTokenizer { file: PathBuf, source: tokenizers::Error },
    #[error("{}: a SentencePiece file, which this checkpoint's tokenizer class reads in a way that is not supported", file.display())]
    #[diagnostic(help("{MAKE_TOKENIZER_JSON}"))]
    ForeignPieces { file: PathBuf },
    #[error("{} lacks the token `{token}`", file.display())]
    #[diagnostic(help(
        "a BERT vocabulary has [UNK], [CLS] and [SEP], one token a line; other tokenizers need a tokenizer.json"
    ))]
    MissingToken { file: PathBuf, token: &'static str },
    #[error(
        "`data.max_length = {max_length}` leaves no room for text: the tokenizer adds {special} special token{}",
        if *special == 1 { "" } else { "s" }
    )]
    #[diagnostic(help("set `data.max_length` to more than {special}"))]
    MaxLength { max_length: usize, special: usize },
    #[error("{subject}: the tokenizer makes no token of the text")]
    #[diagnostic(help("give the row another text, or remove it"))]
    NoTokens { subject: String },
    #[error("the tokenizer failed")]
    #[diagnostic(help(
        "the cause says at what: a text with what it has no token for (tokenizer.json may lack its unknown token), or a part of \
         tokenizer.json that makes too much of a text; the checkpoint's own tokenizer.json, fetched again, has neither"
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

impl Error {
    /// What can be done, where the keys of a configuration may be part of it.
    pub fn advice(&self) -> Option<&Advice> {
        match self {
            Self::MissingColumn { suggestion: advice, .. }
            | Self::NotText { advice, .. }
            | Self::NotALabel { advice, .. }
            | Self::NotAValue { advice, .. }
            | Self::SeveralKindsOfRow { advice, .. }
            | Self::NoKindOfRow { advice, .. }
            | Self::RewrittenTurn { advice, .. } => Some(advice),
            _ => None,
        }
    }

    /// With the row that a text is of: the tokenizer knows the text alone.
    pub fn at(self, file: &Path, line: usize) -> Self {
        match self {
            Self::NoTokens { .. } => Self::NoTokens { subject: Place::new(file, line).to_string() },
            other => other,
        }
    }

    /// Of a row that cannot be read, where what follows can: its line.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Json { place, .. }
            | Self::TooManyValues { place }
            | Self::NotAnObject { place, .. }
            | Self::Utf8 { place, .. }
            | Self::Ragged { place, .. }
            | Self::NoClassName { place, .. } => Some(place.number()),
            _ => None,
        }
    }
}

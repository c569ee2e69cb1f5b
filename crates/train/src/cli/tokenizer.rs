//! `kindling tokenizer`: a vocabulary trained on texts, for a model that is trained from nothing.

use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use data::{Columns, Labelled, VocabularyKind, records, train_vocabulary};
use model::write_atomically;
use serde_json::json;

use super::Failure;
use super::open::column_names;
use crate::output::{Output, thousands};

/// Train a vocabulary, for a model that is trained from nothing
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling tokenizer corpus.txt --kind wordpiece --vocab-size 8000 -o models/small\n  kindling tokenizer reviews.csv --set data.text=review --kind bpe --vocab-size 16000 -o models/gpt"
)]
pub(super) struct Arguments {
    /// Texts: .txt (one a line), .jsonl .json .csv .tsv .parquet, each also with .gz, or - (JSON lines)
    data: PathBuf,
    /// Pieces of words as BERT has them, or bytes as GPT-2 has them
    #[arg(long, value_enum)]
    kind: Kind,
    /// Entries of the vocabulary, special tokens included
    #[arg(long, value_name = "N")]
    vocab_size: usize,
    /// Directory to write tokenizer.json and tokenizer_config.json into
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Override data.text or data.text_template (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// For encoders
    Wordpiece,
    /// For decoders
    Bpe,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    if let Some(taken) = ["tokenizer.json", "tokenizer_config.json"]
        .iter()
        .find(|name| arguments.output.join(name).symlink_metadata().is_ok())
    {
        let message = format!("{} has a {taken} already", arguments.output.display());
        return Err(Failure::usage(message, "name another directory with --output, or remove it"));
    }
    let kind = match arguments.kind {
        Kind::Wordpiece => VocabularyKind::WordPiece,
        Kind::Bpe => VocabularyKind::Bpe,
    };
    let bar = output.bar(0, "reading {spinner} {pos} texts");
    let columns: RefCell<Option<Columns>> = RefCell::new(None);
    let file = arguments.data.as_path();
    let names = column_names(&arguments.set, &["text", "text_template"])?;
    let texts = records(file)?.map(|record| {
        let record = record?;
        let mut columns = columns.borrow_mut();
        let columns = match &mut *columns {
            Some(columns) => columns,
            None => columns.insert(Columns::find(file, &record, &names, Labelled::No)?),
        };
        Ok(columns.example(file, &record)?.text)
    });
    let vocabulary = train_vocabulary(texts, kind, arguments.vocab_size, &|count| bar.inc(count as u64))?;
    bar.finish_and_clear();
    write(&arguments.output, vocabulary.files())?;
    if output.json() {
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "vocabulary": vocabulary.size(),
        }))?)?;
    } else {
        let (size, directory) = (thousands(vocabulary.size()), arguments.output.display());
        output.say(&format!("{size} entries in {}", output.bold(&directory.to_string())));
        output.say("beside it goes a config.json; a run with `model.weights = \"random\"` begins there");
    }
    Ok(ExitCode::SUCCESS)
}

fn write(directory: &Path, files: &[(&'static str, String)]) -> Result<(), Failure> {
    let written = std::fs::create_dir_all(directory).and_then(|()| {
        files.iter().try_for_each(|(name, text)| {
            write_atomically(&directory.join(name), |file| file.write_all(text.as_bytes()))
        })
    });
    written.map_err(|error| {
        let message = format!("cannot write {}: {error}", directory.display());
        Failure::usage(message, "name a directory in a place that can be written with --output")
    })
}

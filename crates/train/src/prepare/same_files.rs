//! Whether all workers have what examples are made of, so that each need encode a share of them alone.

use std::path::Path;

use model::{is_of_tokenizer, is_vocabulary};

use super::Error;
use crate::config::{Config, Files};
use crate::workers::{InputFile, Workers, difference};

/// The files of the data.
pub(crate) fn data_files(config: &Config) -> Vec<InputFile> {
    let mut files = InputFile::of_list("data.train", config.data.train.iter());
    files.extend(InputFile::of_list("data.valid", config.data.valid.iter().flat_map(Files::iter)));
    files
}

/// What token ids come from beside the data: vocabularies, templates, and the files that say which tokens are special.
pub(crate) fn tokenizer_files(base: &Path) -> Vec<InputFile> {
    let is_whole = base.join("tokenizer.json").is_file();
    let is_read = |path: &str| {
        let of_tokenizer = is_of_tokenizer(path) && !(is_whole && is_vocabulary(path));
        of_tokenizer || ["config.json", "generation_config.json"].contains(&path)
    };
    InputFile::of_directory("tokenizer", base, is_read)
}

/// False where there is one worker, and where a file cannot be read, or only once as a pipe: each encodes all rows then, and what
/// came of them is compared.
///
/// # Errors
/// A file that is another one on another worker.
pub(super) fn have_same_files(config: &Config, base: &Path, workers: &Workers) -> Result<bool, Error> {
    if !workers.are_several() {
        return Ok(false);
    }
    let data = workers.gather("hashes of the data", &data_files(config))?;
    let tokenizers = workers.gather("hashes of the tokenizer", &tokenizer_files(base))?;
    if data.iter().chain(&tokenizers).flatten().any(|file| !file.is_read()) {
        return Ok(false);
    }
    for (what, files) in [("data", data), ("base", tokenizers)] {
        if let Some(message) = (1..files.len()).find_map(|other| difference(&files, other, workers)) {
            return Err(Error::OtherFile { message, what });
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::threads::with_workers;

    /// A worker for each directory, with its data and its tokenizer there.
    fn found(directories: &[tempfile::TempDir]) -> Vec<Result<bool, String>> {
        with_workers(directories.len(), |workers| {
            let directory = directories[workers.rank()].path();
            let mut config = Config::default();
            config.data.train = directory.join("train.csv").into();
            have_same_files(&config, directory, workers).map_err(|error| error.to_string())
        })
    }

    fn directories(files: [&[(&str, &str)]; 2]) -> Vec<tempfile::TempDir> {
        let directory = |files: &[(&str, &str)]| {
            let directory = tempfile::tempdir().unwrap();
            files.iter().for_each(|(name, text)| std::fs::write(directory.path().join(name), text).unwrap());
            directory
        };
        files.map(directory).into()
    }

    #[test]
    fn what_examples_are_made_of_is_compared_and_nothing_else() {
        let same = [("train.csv", "a"), ("tokenizer.json", "{}")];
        let more = [("train.csv", "a"), ("tokenizer.json", "{}"), ("vocab.txt", "x"), ("README.md", "x")];
        assert_eq!(found(&directories([&same, &more])), [Ok(true), Ok(true)]);
        let other = directories([&same, &[("train.csv", "a"), ("tokenizer.json", "{ }")]]);
        let path = other[1].path().join("tokenizer.json");
        let expected = format!("{} on worker 1 on thread is not the file that worker 0 on thread has", path.display());
        assert_eq!(found(&other), [Err(expected.clone()), Err(expected)]);
    }

    #[test]
    fn rows_of_a_file_that_one_worker_cannot_read_are_not_shared() {
        assert_eq!(found(&directories([&[("train.csv", "a")], &[]])), [Ok(false), Ok(false)]);
    }
}

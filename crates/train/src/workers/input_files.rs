//! Whether all workers read the same files, each where it finds them.

use std::path::Path;

use model::{files_beside, sha256};
use serde::{Deserialize, Serialize};

use super::Workers;

/// A file that a worker reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct InputFile {
    /// What it is to the command, by which workers compare it: its path may be another one on every host.
    role: String,
    /// For messages.
    path: String,
    /// SHA-256; `None` where it cannot be read, or only once.
    hash: Option<String>,
}

impl InputFile {
    pub(crate) fn read(role: String, path: &Path) -> Self {
        let hash = if path.is_file() { sha256(path).ok() } else { None };
        Self { role, path: path.display().to_string(), hash }
    }

    /// Of what has a hash of its own.
    pub(crate) fn hashed(role: &str, path: &Path, hash: String) -> Self {
        Self { role: role.to_string(), path: path.display().to_string(), hash: Some(hash) }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.hash.is_some()
    }

    /// What it is, with its hash, wherever it lies.
    pub(crate) fn identity(&self) -> String {
        format!("{} {}", self.role, self.hash.as_deref().unwrap_or("unread"))
    }

    /// The files of a directory that `wanted` says yes to, and of the directory of chat templates in it, which are known by their
    /// paths there: nothing else below a model or an adapter is read.
    pub(crate) fn of_directory(what: &str, directory: &Path, wanted: impl Fn(&str) -> bool) -> Vec<Self> {
        let paths = files_beside(directory, wanted).unwrap_or_default();
        paths.iter().map(|path| Self::read(format!("{what}/{}", path.display()), &directory.join(path))).collect()
    }

    /// Files that were named one by one, which are known by their place among them.
    pub(crate) fn of_list<'a>(what: &str, files: impl IntoIterator<Item = &'a Path>) -> Vec<Self> {
        files.into_iter().enumerate().map(|(n, path)| Self::read(format!("{what} {n}"), path)).collect()
    }
}

/// What is said of the first file that another worker has not as the first one has it; `None` where all are the same.
pub(crate) fn difference(all: &[Vec<InputFile>], other: usize, workers: &Workers) -> Option<String> {
    let (first, theirs) = (&all[0], &all[other]);
    let (worker, of_first) = (workers.name(other), workers.name(0));
    let same = |files: &[InputFile], file: &InputFile| files.iter().find(|it| it.role == file.role).cloned();
    let of_one = |file: &InputFile| match same(theirs, file) {
        Some(other) if other.hash == file.hash => None,
        Some(other) => Some(format!("{} on {worker} is not the file that {of_first} has", other.path)),
        None => Some(format!("{worker} lacks the file {} of {of_first}", file.path)),
    };
    let more = || theirs.iter().find(|file| same(first, file).is_none());
    let of_more = |file: &InputFile| format!("{} on {worker} is a file that {of_first} lacks", file.path);
    first.iter().find_map(of_one).or_else(|| more().map(of_more))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::threads::with_workers;
    use super::*;

    #[test]
    fn files_are_compared_by_their_place_and_contents_and_not_by_their_paths() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        // The first two workers have the same in other directories, and the third one other validation data, of one name.
        let paths = [("a", "valid"), ("b", "valid"), ("c", "other")].map(|(host, valid)| {
            [write(&format!("{host}/train/data"), "train"), write(&format!("{host}/valid/data"), valid)]
        });
        let found = with_workers(3, |workers| {
            let own = &paths[workers.rank()];
            let all = workers.gather("files", &InputFile::of_list("data", own.iter().map(PathBuf::as_path))).unwrap();
            (difference(&all, 1, workers), difference(&all, 2, workers))
        });
        let path = paths[2][1].display();
        let expected = format!("{path} on worker 2 on thread is not the file that worker 0 on thread has");
        assert!(found.iter().all(|found| *found == (None, Some(expected.clone()))), "{found:?}");
    }

    #[test]
    fn chat_templates_below_a_directory_are_compared_by_their_paths_in_it() {
        let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (directory, template) in directories.iter().zip(["{{ tools }}", "{{ other }}"]) {
            let below = directory.path().join("additional_chat_templates");
            std::fs::create_dir(&below).unwrap();
            std::fs::write(below.join("tool_use.jinja"), template).unwrap();
            std::fs::write(directory.path().join("config.json"), "{}").unwrap();
        }
        let found = with_workers(2, |workers| {
            let own = InputFile::of_directory("adapter", directories[workers.rank()].path(), |_| true);
            difference(&workers.gather("files", &own).unwrap(), 1, workers)
        });
        let path = directories[1].path().join("additional_chat_templates/tool_use.jinja");
        let expected = format!("{} on worker 1 on thread is not the file that worker 0 on thread has", path.display());
        assert!(found.iter().all(|found| *found == Some(expected.clone())), "{found:?}");
    }

    #[test]
    fn a_file_more_or_less_is_named() {
        let file = |role: &str| InputFile { role: role.into(), path: format!("dir/{role}"), hash: None };
        let found = with_workers(2, |workers| {
            let (one, two) = (vec![file("a")], vec![file("a"), file("b")]);
            (difference(&[two.clone(), one.clone()], 1, workers), difference(&[one, two], 1, workers))
        });
        let less = "worker 1 on thread lacks the file dir/b of worker 0 on thread".to_string();
        let more = "dir/b on worker 1 on thread is a file that worker 0 on thread lacks".to_string();
        assert_eq!(found[0], (Some(less), Some(more)));
    }
}

//! `.kindling/run.json`: what makes a directory the directory of a run. It lists the files that the run has written, and
//! only files that are on this list are ever replaced or removed; everything else in the directory is somebody else's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use model::{disk, write_json};
use serde::{Deserialize, Serialize};

use crate::run::Error;

/// The directory in a run's that holds what is for kindling alone.
pub(super) const PRIVATE: &str = ".kindling";

/// In `PRIVATE`.
const RECORD: &str = "run.json";

const FORMAT: &str = "kindling run";
const FORMAT_VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: String,
    format_version: u32,
    /// The version that began the run.
    kindling: String,
    /// The complete configuration, as `config.toml` has it.
    pub(super) config: String,
    /// The run's files, relative to its directory, with `/` between names.
    pub(super) files: BTreeSet<String>,
    /// SHA-256 of files of the best result; empty while they are being written.
    #[serde(default)]
    pub(super) results: BTreeMap<String, String>,
    /// The files of an earlier run which those of this one are taking the place of; see `replace.rs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replacing: Option<BTreeSet<String>>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self::of(String::new(), BTreeSet::new())
    }

    /// Of a run with this configuration and these files.
    pub(super) fn of(config: String, files: BTreeSet<String>) -> Self {
        Self {
            format: FORMAT.to_string(),
            format_version: FORMAT_VERSION,
            kindling: env!("CARGO_PKG_VERSION").to_string(),
            config,
            files,
            results: BTreeMap::new(),
            replacing: None,
        }
    }

    /// The record of the run in `place`; `None` where there is none.
    pub(super) fn of_run(place: &Path) -> Result<Option<Self>, Error> {
        Self::read(&place.join(PRIVATE).join(RECORD))
    }

    pub(super) fn write_of_run(&self, place: &Path) -> Result<(), Error> {
        self.write(&place.join(PRIVATE).join(RECORD))
    }

    pub(super) fn read(path: &Path) -> Result<Option<Self>, Error> {
        let error = |reason: String| Error::Record { path: path.into(), reason };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(source) if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(source) => return Err(error(source.to_string())),
        };
        let record: Self = serde_json::from_str(&text).map_err(|_| error("it is not as a run writes it".into()))?;
        if record.format != FORMAT {
            return Err(error("it is not as a run writes it".to_string()));
        }
        if record.format_version != FORMAT_VERSION {
            let (found, known) = (record.format_version, FORMAT_VERSION);
            return Err(error(format!("its format is version {found}, this kindling knows version {known}")));
        }
        let files = record.files.iter().chain(record.replacing.iter().flatten());
        match files.into_iter().find(|name| !is_inside(name)) {
            Some(name) => Err(error(format!("it lists `{name}`, which is not in the directory"))),
            None => Ok(Some(record)),
        }
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        write_json(path, self).map_err(|source| Error::Write { path: path.into(), source })
    }

    /// Steps with a complete checkpoint, ascending; `find` says where a file lies.
    pub(super) fn checkpoints(&self, find: impl Fn(&str) -> PathBuf) -> Vec<usize> {
        let is_state = |name: &&String| name.ends_with("/state.json") && find(name).is_file();
        let mut steps: Vec<usize> = self.files.iter().filter(is_state).filter_map(|name| step_of(name)).collect();
        steps.sort_unstable();
        steps
    }
}

/// The step of the checkpoint that a file belongs to.
pub(super) fn step_of(name: &str) -> Option<usize> {
    name.strip_prefix("checkpoints/step-")?.split_once('/')?.0.parse().ok()
}

/// Names that lead out of the directory are no run's.
fn is_inside(name: &str) -> bool {
    !name.is_empty() && Path::new(name).components().all(|component| matches!(component, Component::Normal(_)))
}

/// Whether a listed file is still what the run wrote: a regular file in directories that are no links. What took its place
/// is somebody else's.
pub(super) fn is_own(place: &Path, name: &str) -> bool {
    let mut path = place.to_path_buf();
    let mut parts = name.split('/').peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        let Ok(found) = path.symlink_metadata() else { return false };
        let expected = if parts.peek().is_some() { found.is_dir() } else { found.is_file() };
        if !expected {
            return false;
        }
    }
    true
}

/// Removes files of a run, and the directories of the run that are empty then.
pub(super) fn remove<'a>(place: &Path, names: impl IntoIterator<Item = &'a String>) -> io::Result<()> {
    let mut directories = BTreeSet::new();
    for name in names {
        if is_own(place, name) {
            disk::remove_file(&place.join(name))?;
            directories.extend(Path::new(name).ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()));
        }
    }
    // The deepest first: `checkpoints/step-4` comes after `checkpoints`.
    for directory in directories.into_iter().rev() {
        // One that holds something else stays.
        let _ = disk::remove_dir(&place.join(directory));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_leads_out_of_the_directory_is_refused() {
        let place = tempfile::tempdir().unwrap();
        for name in ["../precious", "/etc/passwd", "a/../../b", ""] {
            let mut record = Record::new();
            record.files.insert(name.to_string());
            fs::create_dir_all(place.path().join(PRIVATE)).unwrap();
            record.write_of_run(place.path()).unwrap();
            assert!(Record::of_run(place.path()).is_err(), "{name}");
        }
    }

    #[test]
    fn only_what_is_listed_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("adapter")).unwrap();
        fs::create_dir_all(path("checkpoints/step-4")).unwrap();
        for name in ["adapter/a", "adapter/mine", "checkpoints/step-4/state.json"] {
            fs::write(path(name), "x").unwrap();
        }
        let listed = ["adapter/a", "adapter/gone", "checkpoints/step-4/state.json"].map(String::from);
        remove(place.path(), &listed).unwrap();
        assert!(path("adapter/mine").exists() && !path("adapter/a").exists() && !path("checkpoints").exists());
    }

    #[cfg(unix)]
    #[test]
    fn what_took_the_place_of_a_listed_file_is_left() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir(path("elsewhere")).unwrap();
        fs::write(path("elsewhere/a"), "x").unwrap();
        std::os::unix::fs::symlink("elsewhere", path("adapter")).unwrap();
        std::os::unix::fs::symlink("elsewhere/a", path("report.html")).unwrap();
        remove(place.path(), &["adapter/a", "report.html"].map(String::from)).unwrap();
        assert!(path("elsewhere/a").exists() && path("report.html").symlink_metadata().unwrap().is_symlink());
    }
}

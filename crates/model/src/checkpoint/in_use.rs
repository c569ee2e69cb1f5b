//! Whether the files that a checkpoint is mapped from are still what they were when it was opened. Whoever writes into one
//! changes the numbers of a model that is in use, and no error says so.

use std::fs::{File, Metadata};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::Checkpoint;

/// The files of a checkpoint with their states when it was opened.
#[derive(Debug, Clone, Default)]
pub struct FilesInUse(Vec<InUse>);

#[derive(Debug, Clone)]
struct InUse {
    path: PathBuf,
    /// The file itself, whatever has its name by now.
    file: Arc<Mutex<File>>,
    then: Metadata,
}

/// What has happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeInUse {
    Written,
    Replaced,
    Removed,
}

impl ChangeInUse {
    /// As in: the file was ...
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Written => "written to",
            Self::Replaced => "replaced",
            Self::Removed => "removed",
        }
    }
}

impl FilesInUse {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Self {
        let in_use = |shard: &super::Shard| InUse {
            path: shard.file.clone(),
            file: shard.opened.clone(),
            then: shard.found.clone(),
        };
        Self(checkpoint.shards.iter().map(in_use).collect())
    }

    /// The first file that is not what it was. By length and time alone: reading all of it would take as long as to load it.
    pub fn changed(&self) -> Option<(PathBuf, ChangeInUse)> {
        self.0.iter().find_map(|in_use| Some((in_use.path.clone(), in_use.change()?)))
    }
}

impl InUse {
    fn change(&self) -> Option<ChangeInUse> {
        let state = |found: &Metadata| (found.len(), found.modified().ok());
        // What cannot be asked any more, as over a network that is gone, is not known to have changed.
        if self
            .file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .metadata()
            .is_ok_and(|now| state(&now) != state(&self.then))
        {
            return Some(ChangeInUse::Written);
        }
        match std::fs::metadata(&self.path) {
            Ok(now) if !is_same(&now, &self.then) => Some(ChangeInUse::Replaced),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(ChangeInUse::Removed),
            Ok(_) | Err(_) => None,
        }
    }
}

#[cfg(unix)]
fn is_same(now: &Metadata, then: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    (now.dev(), now.ino()) == (then.dev(), then.ino())
}

#[cfg(not(unix))]
fn is_same(now: &Metadata, then: &Metadata) -> bool {
    now.len() == then.len() && now.modified().ok() == then.modified().ok()
}

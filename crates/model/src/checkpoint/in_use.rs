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

    /// The first file that somebody has written into: the numbers of a model that is in use are others now. One that was replaced or
    /// removed is still mapped as it was.
    pub fn written_to(&self) -> Option<PathBuf> {
        self.0.iter().find(|in_use| in_use.change() == Some(ChangeInUse::Written)).map(|in_use| in_use.path.clone())
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

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_happens_to_a_file_that_is_in_use_is_told() {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/bert-cls/model");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        let open = || {
            std::fs::copy(fixture.join("model.safetensors"), &path).unwrap();
            FilesInUse::of(&Checkpoint::open(directory.path()).unwrap())
        };
        let (bytes, other) =
            (std::fs::read(fixture.join("model.safetensors")).unwrap(), directory.path().join("other"));
        let same = open();
        assert_eq!((same.changed(), same.written_to()), (None, None));
        let replaced = open();
        std::fs::write(&other, &bytes).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(replaced.changed(), Some((path.clone(), ChangeInUse::Replaced)));
        assert_eq!(replaced.written_to(), None);
        let removed = open();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(removed.changed(), Some((path.clone(), ChangeInUse::Removed)));
        let written = open();
        File::options().write(true).open(&path).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(written.changed(), Some((path.clone(), ChangeInUse::Written)));
        assert_eq!(written.written_to(), Some(path));
    }
}

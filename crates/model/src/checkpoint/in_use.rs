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

    /// The first file that is not what it was. By length and times alone: reading all of it would take as long as to load it.
    pub fn changed(&self) -> Option<(PathBuf, ChangeInUse)> {
        self.0.iter().find_map(|in_use| Some((in_use.path.clone(), in_use.change()?)))
    }
}

impl InUse {
    fn change(&self) -> Option<ChangeInUse> {
        let state = |found: &Metadata| (found.len(), found.modified().ok());
        // What cannot be asked any more, as over a network that is gone, is not known to have changed.
        let own = self.file.lock().unwrap_or_else(PoisonError::into_inner).metadata().ok();
        if own.as_ref().is_some_and(|own| state(own) != state(&self.then)) {
            return Some(ChangeInUse::Written);
        }
        match std::fs::metadata(&self.path) {
            Ok(now) if !is_same(&now, &self.then) => Some(ChangeInUse::Replaced),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(ChangeInUse::Removed),
            Ok(_) if own.as_ref().is_some_and(|own| is_touched(own, &self.then)) => Some(ChangeInUse::Written),
            Ok(_) | Err(_) => None,
        }
    }
}

/// Whether the file was changed in a way that its length and the time of its contents do not tell, as by a writer who puts that time
/// back: the system alone sets the time of the change. Another link, other rights or another owner change it too, and no contents.
#[cfg(unix)]
fn is_touched(now: &Metadata, then: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;

    let time = |found: &Metadata| (found.ctime(), found.ctime_nsec());
    let others = |found: &Metadata| (found.nlink(), found.mode(), found.uid(), found.gid());
    time(now) != time(then) && others(now) == others(then)
}

#[cfg(not(unix))]
fn is_touched(_: &Metadata, _: &Metadata) -> bool {
    false
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

    #[test]
    fn a_time_that_is_put_back_hides_no_writing() {
        use std::io::Write;
        use std::os::unix::fs::PermissionsExt;

        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/bert-cls/model");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model.safetensors");
        std::fs::copy(fixture.join("model.safetensors"), &path).unwrap();
        let open = || {
            let files = FilesInUse::of(&Checkpoint::open(directory.path()).unwrap());
            // The system's clock of files may tick only a hundred times a second.
            std::thread::sleep(std::time::Duration::from_millis(50));
            files
        };
        let linked = open();
        std::fs::hard_link(&path, directory.path().join("link")).unwrap();
        assert_eq!((linked.changed(), linked.written_to()), (None, None));
        let opened_to_others = open();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        assert_eq!((opened_to_others.changed(), opened_to_others.written_to()), (None, None));
        let written = open();
        let mut file = File::options().write(true).open(&path).unwrap();
        let then = file.metadata().unwrap().modified().unwrap();
        file.write_all(&[0; 8]).unwrap();
        file.set_modified(then).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), then);
        assert_eq!(written.changed(), Some((path.clone(), ChangeInUse::Written)));
        assert_eq!(written.written_to(), Some(path));
    }
}

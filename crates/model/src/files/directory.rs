//! A directory that gets its name when all of its files are written.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{TEMPORARY, Unfinished, create_parents, disk, leftover, parent, sync_directory};

/// A directory that is being written under another name, and takes its own in [`finish`](Self::finish). Dropped before, it
/// is removed.
#[derive(Debug)]
pub struct OutputDirectory {
    path: PathBuf,
    temporary: TempDir,
    /// Holds the lock on it. `None` where a directory cannot be opened.
    _held: Option<File>,
    _unfinished: Unfinished,
}

impl OutputDirectory {
    /// Makes the temporary directory beside `path`, and the directories that lead there.
    ///
    /// # Errors
    /// If anything is at `path`, be it a link to nothing, or no directory on the way there.
    pub fn create(path: &Path) -> io::Result<Self> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        create_parents(path)?;
        leftover::remove(parent(path));
        let prefix = format!("{}{}", TEMPORARY.0, leftover::mark());
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix(&prefix).suffix(TEMPORARY.1).rand_bytes(leftover::RANDOM);
        let temporary = builder.tempdir_in(parent(path))?;
        let held = File::open(temporary.path()).inspect(leftover::hold).ok();
        let unfinished = Unfinished::new(temporary.path());
        Ok(Self { path: path.into(), temporary, _held: held, _unfinished: unfinished })
    }

    /// Where to write its files.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    pub fn finish(self) -> io::Result<()> {
        disk::rename(self.temporary.path(), &self.path)?;
        // It has another name now: there is nothing left to remove.
        let _ = self.temporary.keep();
        sync_directory(parent(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_appears_whole_or_not_at_all() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/merged");
        let dropped = OutputDirectory::create(&path).unwrap();
        fs::write(dropped.path().join("a"), "half").unwrap();
        drop(dropped);
        assert_eq!(fs::read_dir(place.path().join("new")).unwrap().count(), 0);
        let whole = OutputDirectory::create(&path).unwrap();
        fs::write(whole.path().join("a"), "whole").unwrap();
        assert!(!path.exists());
        whole.finish().unwrap();
        assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "whole");
        assert_eq!(fs::read_dir(place.path().join("new")).unwrap().count(), 1);
        let again = OutputDirectory::create(&path).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let below_a_file = OutputDirectory::create(&path.join("a/merged")).unwrap_err();
        assert_eq!(below_a_file.kind(), io::ErrorKind::NotADirectory);
    }

    #[cfg(unix)]
    #[test]
    fn it_has_the_rights_that_any_program_s_would_have() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let [ours, plain] = ["ours", "plain"].map(|name| place.path().join(name));
        OutputDirectory::create(&ours).unwrap().finish().unwrap();
        fs::create_dir(&plain).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}

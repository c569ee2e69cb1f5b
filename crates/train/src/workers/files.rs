//! Files of the first worker on their way to the others, which share no disk with it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::joined::Joined;
use super::{Elsewhere, Workers};

/// Bytes of a file that are sent at once.
const PIECE: usize = 16 << 20;

/// A file that could not be read or written, or a failure of another worker meanwhile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error("cannot read {} to send it to the other workers: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("cannot write {}, a copy of the first worker's file: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Elsewhere(#[from] Elsewhere),
}

impl Workers {
    /// The files that lie in a directory of the first worker, in one of every other's.
    pub(crate) fn copies(&self, from: &Path, names: &[String], to: &Path) -> Result<(), FilesError> {
        let Some(joined) = &self.joined else { return Ok(()) };
        for name in names {
            let path = if self.is_first() { from.join(name) } else { to.join(name) };
            let io = |source| match self.is_first() {
                true => FilesError::Read { path: path.clone(), source },
                false => FilesError::Write { path: path.clone(), source },
            };
            if let Some(parent) = path.parent().filter(|_| !self.is_first()) {
                fs::create_dir_all(parent).map_err(io)?;
            }
            let own = self.is_first().then(|| File::open(&path)).transpose().map_err(io)?;
            let length = own.as_ref().map(|file| file.metadata().map(|found| found.len())).transpose().map_err(io)?;
            let length = self.gather("the length of a file", &length)?[0].unwrap_or_default();
            joined.copy(own, length, &path).map_err(io)?;
        }
        Ok(())
    }
}

impl Joined {
    /// One file: read here by the first worker, written by the others.
    fn copy(&self, mut from: Option<File>, length: u64, path: &Path) -> io::Result<()> {
        let mut to = if from.is_none() { Some(File::create(path)) } else { None };
        let mut failed = None;
        let mut left = length;
        let mut piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
        while left > 0 {
            let count = piece.len().min(usize::try_from(left).unwrap_or(PIECE));
            if let Some(file) = &mut from
                && let Err(error) = file.read_exact(&mut piece[..count])
            {
                failed.get_or_insert(error);
            }
            // Whoever fails goes on until all have the file's bytes: the others wait for them.
            self.set_busy(Some("a file"));
            self.transport.broadcast(&mut piece[..count]);
            self.set_busy(None);
            if let Some(Ok(file)) = &mut to
                && let Err(error) = file.write_all(&piece[..count])
            {
                failed.get_or_insert(error);
            }
            left -= count as u64;
        }
        match (failed, to) {
            (Some(error), _) | (None, Some(Err(error))) => Err(error),
            (None, Some(Ok(_)) | None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::threads::with_workers;
    use super::*;

    #[test]
    fn files_of_the_first_worker_come_to_the_others() {
        let from = tempfile::tempdir().unwrap();
        let contents: Vec<u8> = (0..PIECE + 5).map(|n| (n % 251) as u8).collect();
        std::fs::write(from.path().join("a"), &contents).unwrap();
        std::fs::write(from.path().join("b"), []).unwrap();
        let copied = with_workers(3, |workers| {
            let to = tempfile::tempdir().unwrap();
            let names = ["a".to_string(), "b".to_string()];
            workers.copies(from.path(), &names, to.path()).unwrap();
            let read = |name: &str| std::fs::read(to.path().join(name)).ok();
            (read("a"), read("b"))
        });
        assert_eq!(copied[0], (None, None));
        assert!(copied[1..].iter().all(|copied| *copied == (Some(contents.clone()), Some(Vec::new()))));
    }

    #[test]
    fn a_copy_that_cannot_be_written_is_not_taken_for_a_file_that_cannot_be_read() {
        let from = tempfile::tempdir().unwrap();
        std::fs::write(from.path().join("a"), [1, 2, 3]).unwrap();
        let failed = with_workers(2, |workers| {
            let to = tempfile::tempdir().unwrap();
            // A directory is in its place.
            std::fs::create_dir(to.path().join("a")).unwrap();
            let copied = workers.copies(from.path(), &["a".to_string()], to.path());
            copied.map_err(|error| error.to_string())
        });
        assert_eq!(failed[0], Ok(()));
        assert!(failed[1].as_ref().unwrap_err().starts_with("cannot write "), "{failed:?}");
    }
}

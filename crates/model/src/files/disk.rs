//! Every operation by which a run changes what is on the disk: those of the standard library under their own names, each shown
//! to an observer before it is done. Without one, as outside of tests, they are nothing else. The tests' observer makes one of
//! them fail, leave half of what was to be written, or end the process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

/// An operation that is about to be done; for `Written` one that another library has just done.
#[derive(Debug)]
pub enum Operation<'a> {
    /// Of a file that is made or written to.
    Open(&'a Path),
    Write {
        path: &'a Path,
        file: &'a File,
        bytes: &'a [u8],
    },
    Written(&'a Path),
    SetLength(&'a Path),
    Sync(&'a Path),
    Rename(&'a Path),
    Remove(&'a Path),
    Lock(&'a Path),
    CreateDirectory(&'a Path),
}

/// An error is returned in the place of what would have been done.
pub type Observer = fn(&Operation<'_>) -> io::Result<()>;

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// From here on every operation of this process is shown to `observer`; the first one stays.
pub fn observe(observer: Observer) {
    let _ = OBSERVER.set(observer);
}

fn show(operation: &Operation<'_>) -> io::Result<()> {
    OBSERVER.get().map_or(Ok(()), |observer| observer(operation))
}

pub fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    show(&Operation::Open(path))?;
    options.open(path)
}

pub fn write_all(path: &Path, mut file: &File, bytes: &[u8]) -> io::Result<()> {
    show(&Operation::Write { path, file, bytes })?;
    file.write_all(bytes)
}

/// As [`fs::write`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = open(path, File::options().write(true).create(true).truncate(true))?;
    write_all(path, &file, bytes)
}

/// What another library has written to `path`, by its own means.
pub fn written<T, E: From<io::Error>>(path: &Path, write: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    show(&Operation::Open(path))?;
    let written = write()?;
    show(&Operation::Written(path))?;
    Ok(written)
}

pub fn set_len(path: &Path, file: &File, length: u64) -> io::Result<()> {
    show(&Operation::SetLength(path))?;
    file.set_len(length)
}

pub fn sync(path: &Path, file: &File) -> io::Result<()> {
    show(&Operation::Sync(path))?;
    file.sync_all()
}

pub fn try_lock(path: &Path, file: &File) -> Result<(), TryLockError> {
    show(&Operation::Lock(path)).map_err(TryLockError::Error)?;
    file.try_lock()
}

/// A rename is on the disk once its directory is.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    if cfg!(unix) { sync(directory, &File::open(directory)?) } else { Ok(()) }
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    show(&Operation::Rename(to))?;
    fs::rename(from, to)
}

pub fn remove_file(path: &Path) -> io::Result<()> {
    show(&Operation::Remove(path))?;
    fs::remove_file(path)
}

pub fn remove_dir(path: &Path) -> io::Result<()> {
    show(&Operation::Remove(path))?;
    fs::remove_dir(path)
}

pub fn remove_dir_all(path: &Path) -> io::Result<()> {
    show(&Operation::Remove(path))?;
    fs::remove_dir_all(path)
}

pub fn create_dir(path: &Path) -> io::Result<()> {
    show(&Operation::CreateDirectory(path))?;
    fs::create_dir(path)
}

pub fn create_dir_all(path: &Path) -> io::Result<()> {
    // Nothing is done where it is there.
    if !path.is_dir() {
        show(&Operation::CreateDirectory(path))?;
    }
    fs::create_dir_all(path)
}

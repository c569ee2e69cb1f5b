//! The cache on the disk, in the layout that `huggingface_hub` documents and Python shares with us: `blobs/` holds contents
//! by their hash, `snapshots/COMMIT/` the files of a commit as links to blobs, `refs/` the commit of each branch and tag.

use std::fs::{File, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest;

use super::source::is_commit;
use super::{HubError, HubId, Settings};

/// The part of the cache that belongs to one repository.
pub(super) struct Cache {
    repository: PathBuf,
    locks: PathBuf,
}

/// A content, by what the Hub says of it.
#[derive(Debug)]
pub(super) struct Blob {
    /// SHA-256 for files in LFS, otherwise git's hash, in hexadecimal.
    pub(super) hash: String,
    pub(super) size: u64,
}

impl Cache {
    pub(super) fn of(id: &HubId, settings: &Settings) -> Self {
        let folder = format!("models--{}", id.repository.replace('/', "--"));
        Self { repository: settings.cache.join(&folder), locks: settings.cache.join(".locks").join(folder) }
    }

    pub(super) fn repository(&self) -> &Path {
        &self.repository
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repository.join("snapshots").join(commit)
    }

    pub(super) fn has(&self, commit: &str, file: &str) -> bool {
        self.snapshot(commit).join(file).exists()
    }

    /// The commit of a revision when the Hub was last asked.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.into());
        }
        let commit = std::fs::read_to_string(self.reference(revision)).ok()?;
        Some(commit.trim().to_string()).filter(|commit| is_commit(commit))
    }

    pub(super) fn remember(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        let path = self.reference(revision);
        if is_commit(revision) || self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        // As Python writes it, in place. Whoever reads half of it sees no commit.
        create_parent(&path).and_then(|()| std::fs::write(&path, commit)).map_err(HubError::cache(path))
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.repository.join("refs").join(revision)
    }

    fn blob(&self, blob: &Blob) -> PathBuf {
        self.repository.join("blobs").join(&blob.hash)
    }

    /// Where a blob grows. Python writes to the same place, from the start to the end as we do, and each goes on with what
    /// the other has left.
    pub(super) fn partial(&self, blob: &Blob) -> PathBuf {
        self.repository.join("blobs").join(format!("{}.incomplete", blob.hash))
    }

    pub(super) fn holds(&self, blob: &Blob) -> bool {
        std::fs::metadata(self.blob(blob)).is_ok_and(|found| found.len() == blob.size)
    }

    /// Waits until no other process fetches this blob, by the lock that Python takes as well. `waiting` is told now and
    /// then how many bytes that process has. A file system without locks is used without: what two processes write into
    /// one file does not have the right hash, so the worst is a download for nothing.
    pub(super) fn lock(&self, blob: &Blob, waiting: impl Fn(u64)) -> Result<Option<File>, HubError> {
        let path = self.locks.join(format!("{}.lock", blob.hash));
        let file = create_parent(&path).and_then(|()| File::create(&path)).map_err(HubError::cache(&path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(file)),
                Err(TryLockError::WouldBlock) => {
                    waiting(size(&self.partial(blob)));
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(TryLockError::Error(_)) => return Ok(None),
            }
        }
    }

    /// The partial file of a blob, to be appended to.
    pub(super) fn grow(&self, blob: &Blob) -> Result<File, HubError> {
        let path = self.partial(blob);
        create_parent(&path)
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .map_err(HubError::cache(path))
    }

    /// Makes the partial file a blob if it has the right hash; the hash it has otherwise, and then it is gone.
    pub(super) fn accept(&self, blob: &Blob) -> Result<Result<(), String>, HubError> {
        let partial = self.partial(blob);
        let found = hash(&partial, blob).map_err(HubError::cache(&partial))?;
        if found != blob.hash {
            return std::fs::remove_file(&partial).map(|()| Err(found)).map_err(HubError::cache(partial));
        }
        let synced = File::open(&partial).and_then(|file| file.sync_all());
        let whole = self.blob(blob);
        synced.and_then(|()| std::fs::rename(&partial, &whole)).map(Ok).map_err(HubError::cache(whole))
    }

    /// Links `file` of a commit to its blob, whose lock the caller holds.
    pub(super) fn link(&self, commit: &str, file: &str, blob: &Blob) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(file);
        // From the file's place: a file in a directory of the repository lies deeper.
        let up = "../".repeat(2 + file.matches('/').count());
        let target = Path::new(&up).join("blobs").join(&blob.hash);
        create_parent(&pointer)
            .and_then(|()| {
                match link(&target, &self.blob(blob), &pointer) {
                    // A blob was deleted, and its link was not.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !pointer.exists() => {
                        std::fs::remove_file(&pointer).and_then(|()| link(&target, &self.blob(blob), &pointer))
                    }
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    other => other,
                }
            })
            .map_err(HubError::cache(pointer))
    }
}

#[cfg(unix)]
fn link(target: &Path, _blob: &Path, pointer: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

/// Windows lets only developers and administrators make symbolic links.
#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, pointer: &Path) -> io::Result<()> {
    std::fs::hard_link(blob, pointer).or_else(|_| std::fs::copy(blob, pointer).map(|_| ()))
}

pub(super) fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |found| found.len())
}

fn create_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)
}

/// The hash of a file by the rule by which the blob's was made.
fn hash(path: &Path, blob: &Blob) -> io::Result<String> {
    let file = File::open(path)?;
    if blob.hash.len() == 64 {
        return digest(sha2::Sha256::new(), file);
    }
    let header = format!("blob {}\0", file.metadata()?.len());
    digest(sha1::Sha1::new_with_prefix(header), file)
}

fn digest(mut hash: impl Digest, mut file: File) -> io::Result<String> {
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hash.update(&buffer[..count]),
        }
    }
}

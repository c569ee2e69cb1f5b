//! One file from the Hub into the cache. It goes on where an earlier attempt or an earlier process stopped, and what it
//! leaves behind as a blob has the hash that the Hub promised.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};

use super::cache::{Blob, Cache, size};
use super::remote::Remote;
use super::{HubError, HubId, Progress, Settings};

pub(super) struct Download<'a> {
    pub(super) id: &'a HubId,
    pub(super) settings: &'a Settings,
    pub(super) cache: &'a Cache,
    pub(super) remote: &'a Remote<'a>,
    pub(super) commit: &'a str,
    pub(super) progress: &'a dyn Fn(Progress<'_>),
}

impl Download<'_> {
    /// Sees to it that the snapshot has `file`.
    pub(super) fn file(&self, file: &str) -> Result<(), HubError> {
        if self.cache.has(self.commit, file) {
            return Ok(());
        }
        let blob = self.remote.describe(self.commit, file)?;
        let _lock = self.cache.lock(&blob, |done| self.report(file, done, &blob))?;
        // Another revision may have the same content, or whoever held the lock has brought it.
        if !self.cache.holds(&blob) {
            self.blob(file, &blob)?;
        }
        self.cache.link(self.commit, file, &blob)
    }

    fn blob(&self, file: &str, blob: &Blob) -> Result<(), HubError> {
        let mut left_over = size(&self.cache.partial(blob)) > 0;
        loop {
            self.complete(file, blob)?;
            match self.cache.accept(blob)? {
                Ok(()) => return Ok(()),
                // What an earlier process left need not be the beginning of this file: once more without it.
                Err(_) if left_over => left_over = false,
                Err(found) => {
                    let (repository, expected) = (self.id.repository.clone(), blob.hash.clone());
                    return Err(HubError::Damaged { repository, file: file.into(), expected, found });
                }
            }
        }
    }

    /// Lets the partial file grow to its full size, over as many connections as it takes while each brings something.
    fn complete(&self, file: &str, blob: &Blob) -> Result<(), HubError> {
        let mut partial = self.cache.grow(blob)?;
        let mut attempts = 0;
        loop {
            let before = size(&self.cache.partial(blob));
            let error = match self.append(file, blob, &mut partial) {
                Err(error) if error.is_passing() => error,
                other => return other,
            };
            let done = size(&self.cache.partial(blob));
            attempts = if done > before { 1 } else { attempts + 1 };
            match self.remote.pause(attempts, &error) {
                Some(pause) => std::thread::sleep(pause),
                None => return Err(self.given_up(file, blob, attempts, error)),
            }
        }
    }

    /// What one connection brings.
    fn append(&self, file: &str, blob: &Blob, partial: &mut File) -> Result<(), HubError> {
        let path = self.cache.partial(blob);
        let mut done = size(&path);
        if done > blob.size {
            partial.set_len(0).map_err(HubError::cache(&path))?;
            done = 0;
        }
        self.report(file, done, blob);
        if done == blob.size {
            return Ok(());
        }
        let (start, mut bytes) = self.remote.open(self.commit, file, done)?;
        if start < done {
            partial.set_len(start).map_err(HubError::cache(&path))?;
            done = start;
        }
        let mut buffer = vec![0; 1 << 16];
        while done < blob.size {
            let count = match bytes.read(&mut buffer) {
                Ok(0) => return Err(self.remote.broken(ErrorKind::UnexpectedEof.into())),
                Ok(count) => count.min((blob.size - done) as usize),
                Err(error) => return Err(self.remote.broken(error)),
            };
            partial.write_all(&buffer[..count]).map_err(HubError::cache(&path))?;
            done += count as u64;
            self.report(file, done, blob);
        }
        Ok(())
    }

    fn given_up(&self, file: &str, blob: &Blob, attempts: u32, error: HubError) -> HubError {
        match error {
            HubError::NoConnection { reason, .. } => HubError::Cut {
                repository: self.id.repository.clone(),
                file: file.into(),
                done: size(&self.cache.partial(blob)),
                total: blob.size,
                attempts,
                reason,
            },
            other => other,
        }
    }

    fn report(&self, file: &str, done: u64, blob: &Blob) {
        (self.progress)(Progress { file, done, total: blob.size });
    }
}

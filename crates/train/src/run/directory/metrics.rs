//! `metrics.jsonl`: lines at its end, one write each.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use model::disk;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::run::Error;

#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    file: File,
    /// Of all bytes so far.
    hash: Sha256,
}

impl Metrics {
    /// Cuts the file to `length` bytes, or makes an empty one.
    pub(super) fn open(path: PathBuf, length: u64) -> Result<Self, Error> {
        let open = || -> io::Result<(File, Sha256)> {
            let mut file = disk::open(&path, File::options().create(true).write(true).truncate(false))?;
            disk::set_len(&path, &file, length)?;
            file.seek(SeekFrom::End(0))?;
            Ok((file, hash_of(&path, length)?))
        };
        let (file, hash) = open().map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Self { path, file, hash })
    }

    pub(crate) fn append(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut write = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            self.hash.update(&text);
            disk::write_all(&self.path, &self.file, &text)
        };
        write().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// The length in bytes, all of them on the disk, and their SHA-256.
    pub(crate) fn sync(&mut self) -> Result<(u64, String), Error> {
        let synced = disk::sync(&self.path, &self.file).and_then(|()| self.file.stream_position());
        let length = synced.map_err(|source| Error::Write { path: self.path.clone(), source })?;
        Ok((length, hexadecimal(self.hash.clone())))
    }
}

/// SHA-256 of the first `length` bytes, in hexadecimal.
pub(in crate::run) fn sha256_of_beginning(path: &Path, length: u64) -> io::Result<String> {
    Ok(hexadecimal(hash_of(path, length)?))
}

fn hash_of(path: &Path, length: u64) -> io::Result<Sha256> {
    let (mut beginning, mut hash) = (File::open(path)?.take(length), Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match beginning.read(&mut buffer)? {
            0 => return Ok(hash),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

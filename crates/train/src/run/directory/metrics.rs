//! `metrics.jsonl`: lines at its end, one write each.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::PathBuf;

use model::disk;
use serde::Serialize;

use crate::run::Error;

#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
    /// Cuts the file to `length` bytes, or makes an empty one.
    pub(super) fn open(path: PathBuf, length: u64) -> Result<Self, Error> {
        let open = || -> io::Result<File> {
            let mut file = disk::open(&path, File::options().create(true).write(true).truncate(false))?;
            disk::set_len(&path, &file, length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    pub(crate) fn append(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            disk::write_all(&self.path, &self.file, &text)
        };
        write().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// The length in bytes, all of them on the disk.
    pub(crate) fn sync(&mut self) -> Result<u64, Error> {
        let synced = disk::sync(&self.path, &self.file).and_then(|()| self.file.stream_position());
        synced.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

//! `metrics.jsonl`: lines at its end, one write each.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::PathBuf;

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
            let mut file = File::options().create(true).write(true).truncate(false).open(&path)?;
            file.set_len(length)?;
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
            (&self.file).write_all(&text)
        };
        write().map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// The length in bytes, all of them on the disk.
    pub(crate) fn sync(&mut self) -> Result<u64, Error> {
        let synced = self.file.sync_all().and_then(|()| self.file.stream_position());
        synced.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

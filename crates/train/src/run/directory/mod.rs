//! The directory of a run: which files it has, who may write them, and what state it is in. Everything that a run writes
//! is written through here.

use std::fs::{File, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use model::write_atomically;
use serde::Serialize;

use super::Error;

/// Held by the process that trains; what tells a run's directory from any other.
const LOCK: &str = ".lock";

/// A run's directory, locked against other processes for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    root: PathBuf,
    _lock: File,
}

/// What an earlier process left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing to go on from.
    New,
    /// The newest complete checkpoint.
    Interrupted {
        step: usize,
    },
    Finished,
}

impl Directory {
    /// Creates the directory where there is none, and locks it. Left-over temporary files are removed.
    ///
    /// A directory that has files but none of a run's is refused, since a run replaces what lies there.
    pub(crate) fn open(root: &Path) -> Result<Self, Error> {
        let io = |source| Error::Directory { path: root.into(), source };
        let is_empty = std::fs::read_dir(root).map_or(true, |mut entries| entries.next().is_none());
        let is_run = root.join(LOCK).exists() || root.join("checkpoints").is_dir() && root.join("config.toml").exists();
        if !is_empty && !is_run {
            return Err(Error::NotARun { path: root.into() });
        }
        std::fs::create_dir_all(root.join("checkpoints")).map_err(io)?;
        let lock = File::create(root.join(LOCK)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: root.into() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let directory = Self { root: root.into(), _lock: lock };
        directory.remove_temporary().map_err(io)?;
        Ok(directory)
    }

    /// The state of what lies at `root`, without touching it.
    pub(crate) fn state(root: &Path) -> State {
        let finished = std::fs::read_to_string(root.join("metrics.jsonl"))
            .is_ok_and(|text| text.lines().last().is_some_and(|line| line.starts_with(r#"{"event":"end""#)));
        match checkpoints(root).last() {
            _ if finished => State::Finished,
            Some(step) => State::Interrupted { step: *step },
            None => State::New,
        }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The steps of complete checkpoints, ascending.
    pub(crate) fn checkpoints(&self) -> Vec<usize> {
        checkpoints(&self.root)
    }

    pub(crate) fn checkpoint(&self, step: usize) -> PathBuf {
        self.root.join("checkpoints").join(format!("step-{step}"))
    }

    /// Where a checkpoint is put together before it gets its name.
    pub(crate) fn unfinished_checkpoint(&self, step: usize) -> PathBuf {
        self.root.join("checkpoints").join(format!("step-{step}.tmp"))
    }

    /// Gives the unfinished checkpoint of `step` its name, then removes all but the newest `keep`.
    pub(crate) fn finish_checkpoint(&self, step: usize, keep: usize) -> io::Result<()> {
        let (from, to) = (self.unfinished_checkpoint(step), self.checkpoint(step));
        for entry in std::fs::read_dir(&from)? {
            File::open(entry?.path())?.sync_all()?;
        }
        sync_directory(&from)?;
        if to.exists() {
            std::fs::remove_dir_all(&to)?;
        }
        std::fs::rename(&from, &to)?;
        sync_directory(&self.root.join("checkpoints"))?;
        let steps = self.checkpoints();
        for old in steps.iter().take(steps.len().saturating_sub(keep)) {
            std::fs::remove_dir_all(self.checkpoint(*old))?;
        }
        Ok(())
    }

    /// Removes everything an earlier run wrote.
    pub(crate) fn clear(&self) -> Result<(), Error> {
        let io = |source| Error::Directory { path: self.root.clone(), source };
        for name in ["checkpoints", "adapter", "model"] {
            let path = self.root.join(name);
            if path.exists() {
                std::fs::remove_dir_all(&path).map_err(io)?;
            }
        }
        let names = ["metrics.jsonl", "config.toml", "train.log", "report.json", "report.html"];
        let events = super::events::files(&self.root).into_iter().map(|(path, _)| path);
        for path in names.map(|name| self.root.join(name)).into_iter().chain(events) {
            if path.exists() {
                std::fs::remove_file(&path).map_err(io)?;
            }
        }
        std::fs::create_dir_all(self.root.join("checkpoints")).map_err(io)
    }

    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), Error> {
        let path = self.root.join(name);
        write_atomically(&path, |file| file.write_all(contents)).map_err(|source| Error::Write { path, source })
    }

    /// The run's log, to be added to.
    pub(crate) fn log(&self) -> Result<File, Error> {
        let path = self.root.join("train.log");
        File::options().create(true).append(true).open(&path).map_err(|source| Error::Write { path, source })
    }

    /// `metrics.jsonl`, cut to `length` bytes.
    pub(crate) fn metrics(&self, length: u64) -> Result<Metrics, Error> {
        let path = self.root.join("metrics.jsonl");
        let open = || -> io::Result<File> {
            let mut file = File::options().create(true).write(true).truncate(false).open(&path)?;
            file.set_len(length)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = open().map_err(|source| Error::Write { path: path.clone(), source })?;
        Ok(Metrics { path, file })
    }

    fn remove_temporary(&self) -> io::Result<()> {
        for directory in
            [self.root.clone(), self.root.join("checkpoints"), self.root.join("adapter"), self.root.join("model")]
        {
            let Ok(entries) = std::fs::read_dir(&directory) else { continue };
            for entry in entries {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "tmp") {
                    if path.is_dir() { std::fs::remove_dir_all(&path)? } else { std::fs::remove_file(&path)? }
                }
            }
        }
        Ok(())
    }
}

fn checkpoints(root: &Path) -> Vec<usize> {
    let Ok(entries) = std::fs::read_dir(root.join("checkpoints")) else { return Vec::new() };
    let step =
        |entry: io::Result<std::fs::DirEntry>| entry.ok()?.file_name().to_str()?.strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<usize> = entries.filter_map(step).collect();
    steps.sort_unstable();
    steps
}

fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// `metrics.jsonl`: lines at its end, one write each.
#[derive(Debug)]
pub(crate) struct Metrics {
    path: PathBuf,
    file: File,
}

impl Metrics {
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

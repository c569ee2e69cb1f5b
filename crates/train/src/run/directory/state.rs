//! What lies where a run is to be written, found out without touching anything.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::record::{PRIVATE, Record};
use super::{Directory, LOCK, earlier, replace};
use crate::run::{Error, Start};

/// What lies in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing, or a run without a checkpoint: nothing to go on from and nothing to lose.
    New,
    /// A run and its newest checkpoint.
    Interrupted {
        step: usize,
    },
    Finished,
}

impl State {
    pub(super) fn of_run(place: &Path, record: &Record) -> Self {
        let exchanging = record.replacing.is_some();
        // A line that was cut off in the middle ends nothing.
        let is_whole = |text: &String| text.ends_with('\n');
        let is_end = |text: &String| text.lines().last().is_some_and(|line| line.starts_with(r#"{"event":"end""#));
        let ended = |text: String| is_whole(&text) && is_end(&text);
        if !exchanging && fs::read_to_string(place.join("metrics.jsonl")).is_ok_and(ended) {
            return Self::Finished;
        }
        let steps = record.checkpoints(|name| {
            let moved = replace::next(place).join(name);
            if exchanging && moved.exists() { moved } else { place.join(name) }
        });
        steps.last().map_or(Self::New, |step| Self::Interrupted { step: *step })
    }
}

/// Refuses what `train` would refuse of the directory, without touching it; otherwise what lies there.
pub(crate) fn check(place: &Path, start: Start) -> Result<State, Error> {
    if place.symlink_metadata().is_ok() && !place.is_dir() {
        return Err(Error::NotADirectory { path: place.into() });
    }
    if place.is_dir() {
        fs::read_dir(place).map_err(|source| Error::Directory { path: place.into(), source })?;
    }
    if find(place)?.is_none() && !is_empty(place) {
        return Err(Error::NotARun { path: place.into() });
    }
    let state = Directory::state(place);
    if is_locked(place) {
        return Err(Error::Locked { path: place.into() });
    }
    match (&state, start) {
        (State::Interrupted { .. }, Start::New) => {
            Err(Error::Exists { path: place.into(), what: "an interrupted run" })
        }
        (State::Finished, Start::New) => Err(Error::Exists { path: place.into(), what: "a finished run" }),
        _ => Ok(state),
    }
}

/// The record of the run that lies there, be it one of a version that kept none.
pub(super) fn find(place: &Path) -> Result<Option<Record>, Error> {
    Ok(Record::of_run(place)?.or_else(|| earlier::record(place)))
}

/// The configuration that the run there has recorded.
pub(crate) fn recorded_config(place: &Path) -> Result<String, Error> {
    find(place)?.map(|record| record.config).ok_or_else(|| Error::NotARun { path: place.into() })
}

/// Steps with a complete checkpoint, ascending, of the run there.
pub(in crate::run) fn recorded_checkpoints(place: &Path) -> Result<Vec<usize>, Error> {
    let record = find(place)?.ok_or_else(|| Error::NotARun { path: place.into() })?;
    Ok(record.checkpoints(|name| place.join(name)))
}

/// Whether nothing is there, or only what a run makes before its record.
pub(super) fn is_empty(place: &Path) -> bool {
    let names = |directory: &Path| -> Option<Vec<String>> {
        fs::read_dir(directory).ok()?.map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    };
    let is_beginning = |name: &String| name == LOCK || model::is_temporary(name);
    match names(place) {
        None => place.symlink_metadata().is_err(),
        Some(found) if found.is_empty() => true,
        Some(found) => {
            found == [PRIVATE] && names(&place.join(PRIVATE)).is_some_and(|found| found.iter().all(is_beginning))
        }
    }
}

fn is_locked(place: &Path) -> bool {
    let is_held =
        |path: PathBuf| File::open(path).is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    // The second is an earlier version's, looked at only where it can be one: opening a FIFO would wait.
    let earlier = place.join(".lock");
    is_held(place.join(PRIVATE).join(LOCK)) || earlier.is_file() && is_held(earlier)
}

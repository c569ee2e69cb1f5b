//! `--overwrite`: a run that takes the place of another. Until its first checkpoint it is written into `.kindling/next`, and
//! the run before stays as it is. Then its record becomes that of the directory, with the list of the files that are to go
//! away, and from that moment on the new run is the one that counts: whoever finds such a record finishes the exchange.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::disk;

use super::record::{PRIVATE, Record, remove};
use crate::run::Error;

/// Where a run lies that is to take the place of another.
pub(super) fn next(place: &Path) -> PathBuf {
    place.join(PRIVATE).join("next")
}

fn next_record(place: &Path) -> PathBuf {
    place.join(PRIVATE).join("next.json")
}

/// Writes down what lies in `next`, so that it can be removed if nothing comes of it.
pub(super) fn write_next(place: &Path, record: &Record) -> Result<(), Error> {
    record.write(&next_record(place))
}

/// Makes an interrupted exchange or an abandoned beginning good.
pub(super) fn repair(place: &Path, record: &mut Record) -> Result<(), Error> {
    let io = |source| Error::Directory { path: place.into(), source };
    if record.replacing.is_some() {
        return exchange(place, record);
    }
    if let Some(abandoned) = Record::read(&next_record(place))? {
        remove(&next(place), &abandoned.files).map_err(io)?;
    }
    forget_next(place).map_err(io)
}

/// Puts the files of the new run in the place of those of the run before, which `record.replacing` lists.
pub(super) fn exchange(place: &Path, record: &mut Record) -> Result<(), Error> {
    record.write_of_run(place)?;
    let before = record.replacing.take().unwrap_or_default();
    let io = |source| Error::Write { path: place.into(), source };
    remove(place, before.iter().filter(|name| !record.files.contains(*name))).map_err(io)?;
    for name in &record.files {
        let (from, to) = (next(place).join(name), place.join(name));
        // Those that are not there were moved by the process before this one.
        if from.is_file() {
            take_place(&from, &to).map_err(|source| Error::Write { path: to.clone(), source })?;
        }
    }
    record.write_of_run(place)?;
    remove(&next(place), &record.files).map_err(io)?;
    forget_next(place).map_err(io)
}

fn take_place(from: &Path, to: &Path) -> io::Result<()> {
    // A configuration that says the same may be the one that the command was given.
    let is_same = || Ok::<_, io::Error>(to.is_file() && fs::read(from)? == fs::read(to)?);
    if to.file_name() == Some("config.toml".as_ref()) && is_same()? {
        return Ok(());
    }
    disk::create_dir_all(to.parent().unwrap_or(Path::new("")))?;
    disk::rename(from, to)
}

/// What is left of `next` are directories, but for what somebody else has put there.
fn forget_next(place: &Path) -> io::Result<()> {
    remove_empty(&next(place));
    match disk::remove_file(&next_record(place)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove_empty(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_empty(&entry.path());
    }
    // Not an empty one: somebody else's file is in it.
    let _ = disk::remove_dir(directory);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    /// An old run in its place, the new one in `next`, and somebody else's file between them.
    fn two_runs(place: &Path) -> Record {
        let file = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        for name in ["config.toml", "adapter/a", "checkpoints/step-4/state.json"] {
            file(place.join(name), "old");
        }
        file(place.join("adapter/mine"), "mine");
        for name in ["config.toml", "adapter/a", "adapter/b", "checkpoints/step-2/state.json"] {
            file(next(place).join(name), "new");
        }
        let mut record = Record::of(
            String::new(),
            names(&["config.toml", "adapter/a", "adapter/b", "checkpoints/step-2/state.json"]),
        );
        write_next(place, &record).unwrap();
        record.replacing = Some(names(&["config.toml", "adapter/a", "checkpoints/step-4/state.json"]));
        record
    }

    fn assert_new(place: &Path) {
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert_eq!([read("config.toml"), read("adapter/a"), read("adapter/b")], ["new", "new", "new"]);
        assert_eq!(read("adapter/mine"), "mine");
        assert!(place.join("checkpoints/step-2/state.json").exists() && !place.join("checkpoints/step-4").exists());
        assert!(!next(place).exists() && !next_record(place).exists());
        assert_eq!(Record::of_run(place).unwrap().unwrap().replacing, None);
    }

    #[test]
    fn an_exchange_that_was_killed_anywhere_is_finished_by_the_next_process() {
        // Killed after so many of its moves and removals.
        for done in 0..4 {
            let place = tempfile::tempdir().unwrap();
            let place = place.path();
            let record = two_runs(place);
            record.write_of_run(place).unwrap();
            if done > 0 {
                remove(place, &names(&["checkpoints/step-4/state.json"])).unwrap();
            }
            for name in ["adapter/a", "adapter/b"].iter().take(done.max(1) - 1) {
                fs::rename(next(place).join(name), place.join(name)).unwrap();
            }
            let mut found = Record::of_run(place).unwrap().unwrap();
            repair(place, &mut found).unwrap();
            assert_new(place);
        }
    }

    #[test]
    fn a_run_that_came_to_nothing_is_removed_and_the_one_before_stays() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        two_runs(place);
        fs::write(next(place).join("somebody-else-s"), "mine").unwrap();
        let mut old = Record::of(String::new(), names(&["config.toml", "adapter/a", "checkpoints/step-4/state.json"]));
        repair(place, &mut old).unwrap();
        let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
        assert_eq!(
            [read("config.toml"), read("adapter/a"), read("checkpoints/step-4/state.json")],
            ["old", "old", "old"]
        );
        assert_eq!(fs::read_dir(next(place)).unwrap().count(), 1, "only what is somebody else's is left");
    }
}

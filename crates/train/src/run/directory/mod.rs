//! The directory of a run: which files it has, who may write them, and what state it is in. Everything that a run writes
//! is written through here. `.kindling/` in it is for kindling alone; of the rest the run owns what its record lists.

mod earlier;
mod metrics;
mod place;
mod record;
mod replace;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use model::{disk, sync_directory, write_atomically};

use super::{Error, checkpoint};
pub(super) use metrics::{Metrics, sha256_of_beginning};
pub(crate) use place::check_writable;
use record::{PRIVATE, Record, is_own, remove};
pub(super) use state::recorded_checkpoints;
pub(crate) use state::{State, check, recorded_config};

/// Held by the process that trains.
const LOCK: &str = "lock";

const CONFIG: &str = "config.toml";

/// Files that every run has, in the end: `kindling report` may write the page before.
const NAMES: [&str; 5] = [CONFIG, "metrics.jsonl", "train.log", "report.json", "report.html"];

/// A run's directory, locked against other processes for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Directory {
    place: PathBuf,
    books: Mutex<Books>,
    _lock: File,
}

#[derive(Debug)]
struct Books {
    record: Record,
    /// The run that lies in the directory until this one has a checkpoint.
    before: Option<Record>,
}

impl Directory {
    /// Creates the directory where there is none, locks it, and makes good what an earlier process left half done.
    ///
    /// A directory that has files but is no run's is refused.
    pub(crate) fn open(place: &Path) -> Result<Self, Error> {
        let io = |source| Error::Directory { path: place.into(), source };
        check(place, super::Start::Resume)?;
        disk::create_dir_all(&place.join(PRIVATE)).map_err(io)?;
        let options = File::options().create(true).write(true).truncate(false).clone();
        let path = place.join(PRIVATE).join(LOCK);
        let lock = disk::open(&path, &options).map_err(io)?;
        match disk::try_lock(&path, &lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: place.into() }),
            Err(TryLockError::Error(source)) => return Err(Error::Lock { path: place.into(), source }),
        }
        let mut record = state::find(place)?.unwrap_or_else(Record::new);
        replace::repair(place, &mut record)?;
        record.files.retain(|name| NAMES.contains(&name.as_str()) || is_own(place, name));
        record.write_of_run(place)?;
        let directory = Self { place: place.into(), books: Mutex::new(Books { record, before: None }), _lock: lock };
        directory.remove_temporary().map_err(io)?;
        Ok(directory)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.place
    }

    /// The state of what lies at `place`, without touching it; of a directory that is no run's, `New`. [`check`] refuses it.
    pub(crate) fn state(place: &Path) -> State {
        match state::find(place) {
            Ok(Some(record)) => State::of_run(place, &record),
            Ok(None) | Err(_) => State::New,
        }
    }

    /// The state of the run in this directory.
    pub(super) fn own_state(&self) -> State {
        State::of_run(&self.place, &self.books().record)
    }

    /// The names of the files that this run has.
    pub(super) fn files(&self) -> Vec<String> {
        self.books().record.files.iter().cloned().collect()
    }

    /// Where a file of this run lies now.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.base(&self.books()).join(name)
    }

    /// The run begins: nothing of an earlier one is used. Of one that can be resumed or that is finished every file stays
    /// until this one has its first checkpoint.
    pub(crate) fn begin(&self) -> Result<(), Error> {
        let io = |source| Error::Directory { path: self.place.clone(), source };
        let mut books = self.books();
        match State::of_run(&self.place, &books.record) {
            State::Interrupted { .. } | State::Finished => {
                books.before = Some(std::mem::replace(&mut books.record, Record::new()));
                self.write_record(&books)?;
            }
            State::New => {
                // The configuration is replaced, not removed: it may be the one that the command was given.
                let (config, others) = std::mem::take(&mut books.record.files).into_iter().partition(|it| it == CONFIG);
                let others: BTreeSet<String> = others;
                remove(&self.place, &others).map_err(io)?;
                let text = std::mem::take(&mut books.record.config);
                books.record = Record::of(text, config);
                self.write_record(&books)?;
            }
        }
        disk::create_dir_all(&self.base(&books).join("checkpoints")).map_err(io)
    }

    /// Refuses what would be in the way of files that the run writes, some of them at its end only.
    pub(super) fn check_names(&self, results: impl IntoIterator<Item = String>) -> Result<(), Error> {
        let books = self.books();
        let owner = books.before.as_ref().unwrap_or(&books.record);
        let checkpoints = self.place.join("checkpoints");
        let is_taken = checkpoints.symlink_metadata().is_ok() && !is_directory(&checkpoints);
        let mut names = NAMES.map(String::from).into_iter().chain(results);
        match is_taken.then_some(checkpoints).or_else(|| names.find_map(|name| in_the_way(&self.place, &name, owner))) {
            Some(path) => Err(Error::InTheWay { path }),
            None => Ok(()),
        }
    }

    /// Whether an earlier run is kept until the first checkpoint of this one.
    pub(crate) fn keeps_earlier_run(&self) -> bool {
        self.books().before.is_some()
    }

    /// The complete configuration of the run so far.
    pub(super) fn config(&self) -> String {
        self.books().record.config.clone()
    }

    /// Refuses to write `config.toml` over `given`, the configuration file of the command, which is an input. A `config.toml` that
    /// is as the run wrote it is the run's, whoever reads it.
    pub(super) fn check_config(&self, text: &str, given: Option<&Path>) -> Result<(), Error> {
        let path = self.place.join(CONFIG);
        let place = |path: &Path| path.canonicalize().ok();
        let is_given = given.and_then(place).is_some_and(|given| place(&path) == Some(given));
        let found = fs::read(&path).unwrap_or_default();
        let books = self.books();
        let written = &books.before.as_ref().unwrap_or(&books.record).config;
        match is_given && found != text.as_bytes() && found != written.as_bytes() {
            true => Err(Error::OwnConfig { path }),
            false => Ok(()),
        }
    }

    /// Writes `config.toml`, unless it says the same already.
    pub(super) fn write_config(&self, text: &str, given: Option<&Path>) -> Result<(), Error> {
        self.check_config(text, given)?;
        self.claim([CONFIG.to_string()])?;
        if fs::read(self.path(CONFIG)).unwrap_or_default() != text.as_bytes() {
            self.write(CONFIG, text.as_bytes())?;
        }
        let mut books = self.books();
        books.record.config = text.to_string();
        self.write_record(&books)
    }

    /// Replaces a file of the run by `contents`.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), Error> {
        self.claim([name.to_string()])?;
        let path = self.path(name);
        write_atomically(&path, |file| file.write_all(contents)).map_err(|source| Error::Write { path, source })
    }

    /// A file of the run, to be added to.
    pub(crate) fn append(&self, name: &str) -> Result<File, Error> {
        self.claim([name.to_string()])?;
        let path = self.path(name);
        disk::open(&path, File::options().create(true).append(true)).map_err(|source| Error::Write { path, source })
    }

    /// `metrics.jsonl`, cut to `length` bytes.
    pub(super) fn metrics(&self, length: u64) -> Result<Metrics, Error> {
        self.claim(["metrics.jsonl".to_string()])?;
        Metrics::open(self.path("metrics.jsonl"), length)
    }

    /// These files are the run's from here on. What lies there already and is not, is in the way.
    pub(crate) fn claim(&self, names: impl IntoIterator<Item = String>) -> Result<(), Error> {
        let mut books = self.books();
        let mut is_new = false;
        for name in names {
            let owner = books.before.as_ref().unwrap_or(&books.record);
            if let Some(path) = in_the_way(&self.place, &name, owner) {
                return Err(Error::InTheWay { path });
            }
            is_new |= books.record.files.insert(name);
        }
        if is_new { self.write_record(&books) } else { Ok(()) }
    }

    /// The files that every run has are this one's.
    pub(super) fn claim_names(&self) -> Result<(), Error> {
        self.claim(NAMES.map(String::from))
    }

    /// SHA-256 of files of the best result; empty while they are being written, for either may be on the disk then.
    pub(super) fn set_results(&self, hashes: BTreeMap<String, String>) -> Result<(), Error> {
        let mut books = self.books();
        books.record.results = hashes;
        self.write_record(&books)
    }

    pub(super) fn results(&self) -> BTreeMap<String, String> {
        self.books().record.results.clone()
    }

    /// Steps with a complete checkpoint, ascending.
    pub(super) fn checkpoints(&self) -> Vec<usize> {
        let books = self.books();
        let base = self.base(&books);
        books.record.checkpoints(|name| base.join(name))
    }

    pub(super) fn checkpoint(&self, step: usize) -> PathBuf {
        self.path(&format!("checkpoints/step-{step}"))
    }

    /// Where a checkpoint is put together before it gets its name.
    pub(super) fn unfinished_checkpoint(&self) -> PathBuf {
        self.place.join(PRIVATE).join("checkpoint")
    }

    /// Gives the unfinished checkpoint of `step` its name. Then the newest `keep` are kept up to this step: those behind it are of
    /// a future that is trained again. With its first checkpoint a run takes the place of the one before.
    pub(super) fn finish_checkpoint(&self, step: usize, keep: usize) -> Result<(), Error> {
        let to = self.checkpoint(step);
        let io = |source| Error::Write { path: to.clone(), source };
        let from = self.unfinished_checkpoint();
        let names = file_names(&from).map_err(io)?;
        let listed = names.iter().map(|name| format!("checkpoints/step-{step}/{name}"));
        self.claim(listed.clone())?;
        let listed: Vec<String> = listed.collect();
        let mut books = self.books();
        let base = self.base(&books);
        remove(&base, &listed).and_then(|()| settle(&from, &to, &names)).map_err(io)?;

        let steps = books.record.checkpoints(|name| base.join(name));
        let kept: Vec<usize> = steps.into_iter().filter(|it| *it <= step).rev().take(keep).collect();
        let is_old = |name: &String| record::step_of(name).is_some_and(|step| !kept.contains(&step));
        let old: Vec<String> = books.record.files.iter().filter(|name| is_old(name)).cloned().collect();
        if !old.is_empty() {
            // The states first: without it a checkpoint is none.
            remove(&base, old.iter().filter(|name| name.ends_with(checkpoint::STATE))).map_err(io)?;
            remove(&base, &old).map_err(io)?;
            books.record.files.retain(|name| !old.contains(name));
            self.write_record(&books)?;
        }
        self.replace_earlier_run(&mut books)
    }

    fn replace_earlier_run(&self, books: &mut Books) -> Result<(), Error> {
        let Some(before) = &books.before else { return Ok(()) };
        if let Some(path) = books.record.files.iter().find_map(|name| in_the_way(&self.place, name, before)) {
            return Err(Error::InTheWay { path });
        }
        books.record.replacing = Some(before.files.clone());
        replace::exchange(&self.place, &mut books.record)?;
        books.before = None;
        Ok(())
    }

    /// What a killed process left half written: by names that only kindling gives.
    fn remove_temporary(&self) -> io::Result<()> {
        self.clear_unfinished_checkpoint()?;
        let directories = ["", PRIVATE, "adapter", "model", "checkpoints"].map(|name| self.place.join(name));
        for directory in directories.iter().filter(|path| *path == &self.place || is_directory(path)) {
            let Ok(entries) = fs::read_dir(directory) else { continue };
            for entry in entries {
                let entry = entry?;
                if entry.file_type()?.is_file() && entry.file_name().to_str().is_some_and(model::is_temporary) {
                    disk::remove_file(&entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Makes room for the next one.
    pub(super) fn clear_unfinished_checkpoint(&self) -> io::Result<()> {
        match disk::remove_dir_all(&self.unfinished_checkpoint()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(&self, books: &Books) -> PathBuf {
        if books.before.is_some() { replace::next(&self.place) } else { self.place.clone() }
    }

    fn write_record(&self, books: &Books) -> Result<(), Error> {
        match books.before {
            Some(_) => replace::write_next(&self.place, &books.record),
            None => books.record.write_of_run(&self.place),
        }
    }
}

/// Where the files of the run lie that is being written at `place`.
pub(super) fn in_progress(place: &Path) -> PathBuf {
    let next = replace::next(place);
    if next.join(CONFIG).is_file() { next } else { place.into() }
}

/// What lies where a file of the run is to be, or on the way there, without being one of `owner`.
fn in_the_way(place: &Path, name: &str, owner: &Record) -> Option<PathBuf> {
    let path = place.join(name);
    let exists = |path: &Path| path.symlink_metadata().is_ok();
    if exists(&path) {
        let is_ours = owner.files.contains(name) && is_own(place, name);
        return (!is_ours).then_some(path);
    }
    let parents = Path::new(name).ancestors().skip(1).map(|parent| place.join(parent));
    parents.into_iter().find(|parent| parent != place && exists(parent) && !is_directory(parent))
}

/// A link to one is somebody else's.
fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

fn file_names(directory: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    fs::read_dir(directory)?.map(name).collect()
}

/// Moves a checkpoint whose files are all on the disk to its name. A directory that is still there holds somebody else's
/// files; then the state goes last, since it makes the checkpoint a complete one.
fn settle(from: &Path, to: &Path, names: &[String]) -> io::Result<()> {
    for name in names {
        let path = from.join(name);
        disk::sync(&path, &File::open(&path)?)?;
    }
    sync_directory(from)?;
    let parent = to.parent().unwrap_or(to);
    disk::create_dir_all(parent)?;
    if to.exists() {
        let mut names: Vec<&String> = names.iter().collect();
        names.sort_by_key(|name| name.as_str() == checkpoint::STATE);
        names.iter().try_for_each(|name| disk::rename(&from.join(name), &to.join(name)))?;
        sync_directory(to)?;
        disk::remove_dir(from)?;
    } else {
        disk::rename(from, to)?;
    }
    sync_directory(parent)
}

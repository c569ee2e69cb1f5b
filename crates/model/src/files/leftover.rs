//! What killed processes have left: temporary files and directories that nobody writes any more. Whoever writes beside them removes
//! them.
//!
//! A process holds a lock on each of its own, which the system takes away with it. A lock is certain to be seen within one running
//! system, and behind some networks no further: names tell in which system they were made.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

use super::random_part;

/// Hexadecimal digits in a name that tell the running system; as many zeros are of one that cannot tell.
const MARK: usize = 8;

/// Letters and digits of a name behind the mark.
pub(super) const RANDOM: usize = 6;

/// Between making a temporary file and locking it less time goes by than this.
const UNLOCKED: Duration = Duration::from_secs(10);

/// Whoever writes in another system changes something within this time.
const ELSEWHERE: Duration = Duration::from_secs(24 * 60 * 60);

/// What the names of this process's temporary files begin with.
pub(super) fn mark() -> String {
    own_mark().unwrap_or_else(|| "0".repeat(MARK))
}

/// `None` where the system does not tell itself from others.
fn own_mark() -> Option<String> {
    static OWN: OnceLock<Option<String>> = OnceLock::new();
    let read = || -> Option<String> {
        let boot = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        let hash = Sha256::digest(&boot);
        Some(hash.iter().take(MARK / 2).map(|byte| format!("{byte:02x}")).collect())
    };
    OWN.get_or_init(read).clone()
}

/// Locks a temporary file or directory of this process for as long as it is open. Where a file system has no locks nothing is removed.
#[cfg(unix)]
pub(super) fn hold(file: &File) {
    let _ = file.try_lock();
}

/// Elsewhere a lock keeps others from reading, and this process from reading again.
#[cfg(not(unix))]
pub(super) fn hold(_: &File) {}

/// Removes what was left in `directory`, once in a process. That something cannot be removed is no reason not to write.
pub(super) fn remove(directory: &Path) {
    static SEEN: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if cfg!(unix) && !seen.iter().any(|seen| seen == directory) {
        seen.push(directory.to_path_buf());
        drop(seen);
        remove_left(directory);
    }
}

fn remove_left(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let Some(mark) = name.to_str().and_then(mark_of) else { continue };
        let quiet = if own_mark().as_deref() == Some(mark) { UNLOCKED } else { ELSEWHERE };
        // Neither a link nor what would wait when it is opened.
        let Some(kind) = entry.file_type().ok().filter(|kind| kind.is_file() || kind.is_dir()) else { continue };
        if !last_change(&path).is_ok_and(|last| SystemTime::now().duration_since(last).is_ok_and(|age| age > quiet)) {
            continue;
        }
        let Ok(file) = File::options().read(true).write(kind.is_file()).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = if kind.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
    }
}

/// That of a name which this version or a later one gives; earlier ones have no locks.
fn mark_of(name: &str) -> Option<&str> {
    let random = random_part(name).filter(|random| random.len() == MARK + RANDOM)?;
    let mark = &random[..MARK];
    mark.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(mark)
}

/// The time of the last change of it, or of anything in it.
fn last_change(path: &Path) -> io::Result<SystemTime> {
    let found = fs::symlink_metadata(path)?;
    let mut last = found.modified()?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            last = last.max(last_change(&entry?.path())?);
        }
    }
    Ok(last)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::files::{OutputDirectory, OutputFile};

    fn age(path: &Path, by: Duration) {
        File::open(path).unwrap().set_modified(SystemTime::now() - by).unwrap();
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let here = mark();
        let file = |name: String, by: Duration| {
            let path = place.path().join(name);
            fs::write(&path, "half").unwrap();
            age(&path, by);
        };
        let directory = |name: String, by: Duration| {
            let path = place.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("model.safetensors"), "half").unwrap();
            age(&path.join("model.safetensors"), by);
            age(&path, 3 * ELSEWHERE);
        };
        file(format!(".kindling-{here}aaaaaa.tmp"), 2 * UNLOCKED);
        directory(format!(".kindling-{here}bbbbbb.tmp"), 2 * UNLOCKED);
        file(".kindling-00000000cccccc.tmp".to_string(), 2 * ELSEWHERE);
        let kept = [
            // Of one that may be about to lock it, of another system, of an earlier version, of nobody's.
            format!(".kindling-{here}dddddd.tmp"),
            format!(".kindling-{here}eeeeee.tmp"),
            ".kindling-00000000ffffff.tmp".to_string(),
            ".kindling-a1B2c3.tmp".to_string(),
            ".kindling-notes of mine!.tmp".to_string(),
        ];
        file(kept[0].clone(), Duration::ZERO);
        directory(kept[1].clone(), Duration::ZERO);
        file(kept[2].clone(), ELSEWHERE / 2);
        file(kept[3].clone(), 2 * ELSEWHERE);
        file(kept[4].clone(), 2 * ELSEWHERE);
        let output = OutputFile::create(&place.path().join("a.json")).unwrap();
        output.finish().unwrap();
        let mut expected = kept.to_vec();
        expected.push("a.json".to_string());
        expected.sort_unstable();
        assert_eq!(names(place.path()), expected);
    }

    #[test]
    fn what_is_being_written_is_left_however_long_it_takes() {
        let place = tempfile::tempdir().unwrap();
        let file = OutputFile::create(&place.path().join("a.json")).unwrap();
        let directory = OutputDirectory::create(&place.path().join("merged")).unwrap();
        let written = names(place.path());
        assert_eq!(written.len(), 2);
        for name in &written {
            age(&place.path().join(name), 3 * ELSEWHERE);
        }
        remove_left(place.path());
        assert_eq!(names(place.path()), written);
        file.finish().unwrap();
        directory.finish().unwrap();
        assert_eq!(names(place.path()), ["a.json", "merged"]);
    }
}

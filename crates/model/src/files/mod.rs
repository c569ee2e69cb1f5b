//! How files are written: to a temporary neighbour, synced, renamed. A reader sees the old file or the new one, and a
//! process that is killed or a disk that is full leaves the old one whole. Links are followed, an existing file keeps its
//! rights, a new one gets those of the umask; what is no regular file is written to as it is. Every file that is not
//! appended to goes through [`OutputFile`], a directory that is made as a whole through [`OutputDirectory`].

mod destination;
mod directory;
pub mod disk;
mod leftover;

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use destination::Destination;
pub use directory::OutputDirectory;
pub use disk::sync_directory;

/// The beginning and the end of every temporary file's name; between them are a mark of the running system and random letters and digits.
const TEMPORARY: (&str, &str) = (".kindling-", ".tmp");

/// A file that is being written and takes its place in [`finish`](Self::finish). Dropped before, it leaves what was there.
#[derive(Debug)]
pub struct OutputFile(Kind);

#[derive(Debug)]
enum Kind {
    Replacing {
        path: PathBuf,
        temporary: NamedTempFile,
        _unfinished: Unfinished,
    },
    /// What is no regular file.
    Open(File),
}

impl OutputFile {
    /// Opens `path` for writing, without changing what is there.
    ///
    /// # Errors
    /// If nothing can be written there: also for an existing file that is write-protected, although its directory would let
    /// it be replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        let (path, existing) = match Destination::of(path)? {
            Destination::Open(file) => return Ok(Self(Kind::Open(file))),
            Destination::Regular { path, existing } => (path, existing),
        };
        if existing.is_some() {
            File::options().write(true).open(&path)?;
        }
        leftover::remove(parent(&path));
        let temporary = temporary(parent(&path), existing.as_ref())?;
        leftover::hold(temporary.as_file());
        let unfinished = Unfinished::new(temporary.path());
        Ok(Self(Kind::Replacing { path, temporary, _unfinished: unfinished }))
    }

    /// The regular file that will be replaced or made, at the end of all links.
    pub fn replaces(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Replacing { path, .. } => Some(path),
            Kind::Open(_) => None,
        }
    }

    /// What was written so far, to be read from its beginning.
    ///
    /// # Errors
    /// If nothing can be read where it is written: to what is no regular file.
    pub fn read_again(&mut self) -> io::Result<File> {
        self.flush()?;
        match &self.0 {
            Kind::Replacing { temporary, .. } => File::open(temporary.path()),
            Kind::Open(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// What was written becomes the file.
    pub fn finish(self) -> io::Result<()> {
        match self.0 {
            Kind::Open(mut file) => file.flush(),
            Kind::Replacing { path, temporary, _unfinished } => {
                disk::sync(&path, temporary.as_file())?;
                // Not `persist`, which is a rename and nothing more: this one can be made to fail.
                disk::rename(temporary.path(), &path)?;
                // It has another name now: there is nothing left to remove.
                let _ = temporary.into_temp_path().keep();
                sync_directory(parent(&path))
            }
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Kind::Replacing { path, temporary, .. } => {
                disk::write_all(path, temporary.as_file(), bytes).map(|()| bytes.len())
            }
            Kind::Open(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Kind::Replacing { temporary, .. } => temporary.as_file_mut().flush(),
            Kind::Open(file) => file.flush(),
        }
    }
}

/// Replaces `path` by what `write` produces.
pub fn write_atomically(path: &Path, write: impl FnOnce(&mut OutputFile) -> io::Result<()>) -> io::Result<()> {
    let mut file = OutputFile::create(path)?;
    write(&mut file)?;
    file.finish()
}

/// Pretty-printed JSON with a newline at its end.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_atomically(path, |file| file.write_all(text.as_bytes()))
}

/// Whether a file of this name is one that a killed process left unfinished: no other program makes such names.
pub fn is_temporary(name: &str) -> bool {
    random_part(name).is_some()
}

/// What stands between the beginning and the end of such a name.
fn random_part(name: &str) -> Option<&str> {
    let random = name.strip_prefix(TEMPORARY.0)?.strip_suffix(TEMPORARY.1)?;
    (!random.is_empty() && random.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(random)
}

/// Removes the temporary files and directories of this process, which is about to exit without dropping its values.
pub fn remove_unfinished() {
    // Another thread may hold the list, and this one must not wait for it.
    let Ok(unfinished) = UNFINISHED.try_lock() else { return };
    for path in unfinished.iter() {
        let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    }
}

/// A temporary file for a new file, or for one that is there, whose owner and rights it takes.
fn temporary(directory: &Path, existing: Option<&Metadata>) -> io::Result<NamedTempFile> {
    let prefix = format!("{}{}", TEMPORARY.0, leftover::mark());
    let mut builder = tempfile::Builder::new();
    // Opened here and not by tempfile, whose files have mode 0600 and whose errors hide the system's.
    let file = builder.prefix(&prefix).suffix(TEMPORARY.1).rand_bytes(leftover::RANDOM).make_in(directory, |path| {
        let mut options = File::options();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        if existing.is_some() {
            // Until it has its own rights, nobody else's.
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        disk::open(path, &options)
    })?;
    #[cfg(unix)]
    if let Some(existing) = existing {
        use std::os::unix::fs::{MetadataExt, fchown};

        let made = file.as_file().metadata()?;
        if (made.uid(), made.gid()) != (existing.uid(), existing.gid()) {
            // Only root may give files away; for others the file becomes their own.
            let _ = fchown(file.as_file(), Some(existing.uid()), Some(existing.gid()));
        }
        file.as_file().set_permissions(existing.permissions())?;
    }
    Ok(file)
}

/// Makes the directories that lead to `path`.
pub(crate) fn create_parents(path: &Path) -> io::Result<()> {
    disk::create_dir_all(parent(path)).map_err(|error| match error.kind() {
        // Not `path` does, but what stands where a directory is to be.
        io::ErrorKind::AlreadyExists => io::ErrorKind::NotADirectory.into(),
        _ => error,
    })
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The temporary files and directories of this process.
static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// An entry of the list, for as long as the file is unfinished.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(path: &Path) -> Self {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).push(path.into());
        Self(path.into())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).retain(|path| *path != self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.json");
        write_json(&path, &1).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"half of it")?;
            Err(io::Error::other("disk full"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "disk full");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_names_that_kindling_makes_are_temporary() {
        let directory = tempfile::tempdir().unwrap();
        let file = OutputFile::create(&directory.path().join("a.json")).unwrap();
        let names = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.map(|name| name.into_string().unwrap()).all(|name| is_temporary(&name)));
        drop(file);
        for name in ["notes.tmp", "a.json.tmp", ".kindling-.tmp", ".kindling-my notes.tmp", ".kindling-a.txt"] {
            assert!(!is_temporary(name), "{name}");
        }
    }

    #[cfg(unix)]
    mod unix {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

        use super::*;

        fn mode(path: &Path) -> u32 {
            std::fs::metadata(path).unwrap().permissions().mode() & 0o777
        }

        #[test]
        fn a_link_stays_and_its_target_is_replaced_with_the_rights_it_has() {
            let directory = tempfile::tempdir().unwrap();
            let [target, first, second] = ["target", "first", "second"].map(|name| directory.path().join(name));
            std::fs::write(&target, "old").unwrap();
            std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
            let old = std::fs::metadata(&target).unwrap().ino();
            symlink("target", &first).unwrap();
            symlink(&first, &second).unwrap();
            write_atomically(&second, |file| file.write_all(b"new")).unwrap();
            assert_eq!(std::fs::read_to_string(&target).unwrap(), "new");
            assert_eq!(std::fs::read_link(&second).unwrap(), first);
            assert_eq!(std::fs::read_link(&first).unwrap(), Path::new("target"));
            assert_eq!(mode(&target), 0o640);
            assert_ne!(std::fs::metadata(&target).unwrap().ino(), old, "replaced as a whole, not written over");
        }

        #[test]
        fn a_link_to_nothing_gets_a_target() {
            let directory = tempfile::tempdir().unwrap();
            let link = directory.path().join("link");
            symlink("target", &link).unwrap();
            write_atomically(&link, |file| file.write_all(b"new")).unwrap();
            assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
            assert_eq!(std::fs::read_to_string(directory.path().join("target")).unwrap(), "new");
            let circle = directory.path().join("circle");
            symlink("circle", &circle).unwrap();
            assert!(write_atomically(&circle, |_| Ok(())).is_err());
        }

        #[test]
        fn a_new_file_has_the_rights_that_any_program_s_would_have() {
            let directory = tempfile::tempdir().unwrap();
            let [ours, plain] = ["ours", "plain"].map(|name| directory.path().join(name));
            write_atomically(&ours, |file| file.write_all(b"new")).unwrap();
            std::fs::write(&plain, "new").unwrap();
            assert_eq!(mode(&ours), mode(&plain));
        }

        #[test]
        fn a_device_is_written_to_and_stays_one() {
            use std::os::unix::fs::FileTypeExt;
            let file = OutputFile::create(Path::new("/dev/null")).unwrap();
            assert!(file.replaces().is_none());
            file.finish().unwrap();
            assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        }
    }
}

//! Where a path that is to be written leads: to a regular file, which is replaced as a whole, or to something that only
//! takes bytes, such as a device, a FIFO or a file that is open already.

use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

pub(super) enum Destination {
    /// A regular file at the end of all links, or the place where there is none yet.
    Regular { path: PathBuf, existing: Option<Metadata> },
    /// Open, to be written to as it is.
    Open(File),
}

/// As many as Linux follows.
const MAX_LINKS: usize = 40;

impl Destination {
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_encoded_bytes().last() == Some(&b'/') {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            let found = match fs::symlink_metadata(&path) {
                Ok(found) => found,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(Self::Regular { path, existing: None });
                }
                Err(error) => return Err(error),
            };
            if found.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            if let Some(file) = open_already(&path)? {
                return Ok(Self::Open(file));
            }
            if found.is_symlink() {
                let target = fs::read_link(&path)?;
                // Relative to the link's directory; an absolute target replaces it.
                path = path.parent().unwrap_or(Path::new("")).join(target);
            } else if found.is_file() {
                return Ok(Self::Regular { path, existing: Some(found) });
            } else {
                // A FIFO waits here for its reader, as it does in a shell.
                return Ok(Self::Open(File::options().write(true).open(&path)?));
            }
        }
        Err(io::Error::other("too many symbolic links"))
    }
}

/// The open file that `/dev/stdout`, `/dev/fd/3` and the like stand for. It may be a regular file that a shell has opened
/// and others write to as well: it has a position, and must not be replaced.
#[cfg(unix)]
fn open_already(path: &Path) -> io::Result<Option<File>> {
    use std::os::fd::AsFd;

    let Some(parent) = path.parent().and_then(|parent| fs::canonicalize(parent).ok()) else { return Ok(None) };
    let descriptors = parent.starts_with("/proc") && parent.ends_with("fd") || parent == Path::new("/dev/fd");
    if !descriptors {
        return Ok(None);
    }
    let own = fs::canonicalize("/proc/self").map_or(true, |own| parent.starts_with(own));
    let file = match path.file_name().and_then(|name| name.to_str()) {
        Some("1") if own => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        Some("2") if own => File::from(io::stderr().as_fd().try_clone_to_owned()?),
        _ => File::options().append(true).open(path)?,
    };
    Ok(Some(file))
}

#[cfg(not(unix))]
fn open_already(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

//! Whether a run can be written where it is to be, before anything of it is.

use std::fs;
use std::path::{Path, PathBuf};

use model::disk;

use crate::run::Error;

/// Refuses a place where no directory can be made, or none that can be written to. What it tries is gone again.
pub(crate) fn check_writable(place: &Path) -> Result<(), Error> {
    let found = existing(place);
    let tried = found.join(format!(".kindling-{}.tmp", std::process::id()));
    // Of what is no directory the first says so.
    let result = fs::read_dir(&found).and_then(|_| disk::create_dir(&tried)).and_then(|()| disk::remove_dir(&tried));
    result.map_err(|source| Error::Directory { path: place.into(), source })
}

/// The place itself, or what there is of the way to it.
fn existing(place: &Path) -> PathBuf {
    let absolute = std::path::absolute(place).unwrap_or_else(|_| place.into());
    let exists = |path: &&Path| fs::symlink_metadata(path).is_ok();
    absolute.ancestors().find(exists).map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_below_a_file_is_refused_and_nothing_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::write(path("file"), "mine").unwrap();
        check_writable(&path("new/run")).unwrap();
        check_writable(directory.path()).unwrap();
        let error = check_writable(&path("file/run")).unwrap_err();
        assert!(matches!(error, Error::Directory { .. }), "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}

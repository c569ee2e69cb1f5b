//! A directory of each thread for the files of an input, made anew for each.

use std::cell::OnceCell;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::corpus;

thread_local! {
    static PLACE: OnceCell<TempDir> = const { OnceCell::new() };
}

/// Gives `read` an empty directory.
///
/// # Panics
/// If none can be made.
pub(super) fn in_directory(read: impl FnOnce(&Path)) {
    PLACE.with(|place| {
        let place = place.get_or_init(|| tempfile::tempdir().expect("a temporary directory"));
        let directory = place.path().join("input");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).expect("a directory in one of our own");
        read(&directory);
    });
}

/// Gives `read` the path of a file of this name with these contents.
///
/// # Panics
/// If it cannot be written.
pub(super) fn with_file(name: &str, contents: &[u8], read: impl FnOnce(&Path)) {
    in_directory(|directory| {
        let path = directory.join(name);
        fs::write(&path, contents).expect("a file in a directory of our own");
        read(&path);
    });
}

/// Links the files of a case's model into a directory where it has none of that name. A name that is none of a case is that
/// of the first.
pub(super) fn link_model(case: &[u8], directory: &Path) {
    let known = str::from_utf8(case).ok().filter(|name| name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-'));
    let model = corpus::case(known.unwrap_or("bert-cls")).join("model");
    let Ok(entries) = fs::read_dir(&model) else { return };
    for entry in entries.flatten() {
        let _ = std::os::unix::fs::symlink(entry.path(), directory.join(entry.file_name()));
    }
}

//! Files of models and adapters, read only where they are files: one that waits for somebody to write into it, or never ends, is
//! none.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// # Errors
/// What is there, perhaps at the end of a link, is not a regular file.
pub fn check_regular(file: &Path) -> std::io::Result<()> {
    match std::fs::metadata(file)?.is_file() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// The contents of a regular file.
pub fn read_regular(file: &Path) -> std::io::Result<Vec<u8>> {
    check_regular(file)?;
    std::fs::read(file)
}

/// As [`read_regular`], of a text.
pub fn read_regular_text(file: &Path) -> std::io::Result<String> {
    check_regular(file)?;
    std::fs::read_to_string(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_and_links_to_them_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "text").unwrap();
        assert_eq!(read_regular_text(&file).unwrap(), "text");
        for other in [directory.path(), Path::new("/dev/zero")] {
            assert_eq!(read_regular(other).unwrap_err().to_string(), "it is not a regular file");
        }
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(read_regular(&link).unwrap(), b"text");
        assert_eq!(read_regular(&directory.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }
}

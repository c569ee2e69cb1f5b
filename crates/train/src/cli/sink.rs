//! Where lines of results go: to standard output as they come, or to a file that gets its name when it is whole. A terminal
//! is sent nothing in them that it would obey.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;

use model::OutputFile;

use super::Failure;
use crate::terminal;

pub(super) enum Sink {
    Standard,
    /// Another worker writes them.
    Nowhere,
    File(BufWriter<OutputFile>),
}

impl Sink {
    /// Before the work whose results it takes, so that a path that cannot be written costs no more than its message. `input`
    /// is what the work reads, which must not be replaced by its results.
    pub(super) fn open(path: Option<&Path>, input: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let refused =
            |reason: String, help: &str| Failure::usage(format!("cannot write {}: {reason}", path.display()), help);
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            return Err(refused("it is a directory".to_string(), "name a file in it"));
        }
        if !directory.is_dir() {
            let reason = format!("there is no directory {}", directory.display());
            return Err(refused(reason, "create it, or name a file elsewhere"));
        }
        let file = OutputFile::create(path).map_err(|error| {
            let help = match path.symlink_metadata().is_ok() {
                true => "make it writable, or name another file",
                false => "make the directory writable, or name a file elsewhere",
            };
            let reason = error.raw_os_error().map_or(error.to_string(), |_| error.kind().to_string());
            refused(reason, help)
        })?;
        let inputs = input.into_iter().chain([Path::new("/dev/stdin")]);
        if file.replaces().is_some_and(|output| inputs.into_iter().any(|input| is_same_file(input, output))) {
            return Err(refused("the input is read from there".to_string(), "name another file"));
        }
        Ok(Self::File(BufWriter::new(file)))
    }

    /// Whether a person reads the lines.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Standard) && io::stdout().is_terminal()
    }

    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Standard if self.is_terminal() => writeln!(io::stdout().lock(), "{}", terminal::escaped(line)),
            Self::Standard => writeln!(io::stdout().lock(), "{line}"),
            Self::Nowhere => Ok(()),
            Self::File(writer) => writeln!(writer, "{line}"),
        }
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Standard => io::stdout().flush(),
            Self::Nowhere => Ok(()),
            Self::File(writer) => writer.into_inner().map_err(io::IntoInnerError::into_error)?.finish(),
        }
    }
}

/// Bytes as they are, for what is no text.
impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard => io::stdout().write(bytes),
            Self::Nowhere => Ok(bytes.len()),
            Self::File(writer) => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard => io::stdout().flush(),
            Self::Nowhere => Ok(()),
            Self::File(writer) => writer.flush(),
        }
    }
}

/// Whether two paths lead to one file, by links of any kind.
fn is_same_file(left: &Path, right: &Path) -> bool {
    let same_path = || fs::canonicalize(left).ok().is_some_and(|left| fs::canonicalize(right).ok() == Some(left));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        let place = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        place(left).is_some() && place(left) == place(right) || same_path()
    }
    #[cfg(not(unix))]
    same_path()
}

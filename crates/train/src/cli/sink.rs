//! Where lines of results go: to standard output as they come, or to a file that gets its name when it is whole. A terminal
//! is sent nothing in them that it would obey.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use super::Failure;
use crate::terminal;

pub(super) enum Sink {
    Standard,
    File { path: PathBuf, writer: BufWriter<NamedTempFile> },
}

impl Sink {
    /// Before the work whose results it takes, so that a path that cannot be written costs no more than its message. `input`
    /// is what the work reads, which must not be replaced by its results.
    pub(super) fn open(path: Option<&Path>, input: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let refused =
            |reason: String, help: &str| Failure::usage(format!("cannot write {}: {reason}", path.display()), help);
        let place = |path: &Path| path.canonicalize().ok();
        if place(path).is_some() && place(path) == input.and_then(place) {
            return Err(refused("the input is read from there".to_string(), "name another file"));
        }
        if path.is_dir() {
            return Err(refused("it is a directory".to_string(), "name a file in it"));
        }
        if !directory.is_dir() {
            let reason = format!("there is no directory {}", directory.display());
            return Err(refused(reason, "create it, or name a file elsewhere"));
        }
        let file =
            tempfile::Builder::new().prefix(".kindling").suffix(".tmp").tempfile_in(directory).map_err(|error| {
                refused(error.kind().to_string(), "make the directory writable, or name a file elsewhere")
            })?;
        Ok(Self::File { path: path.into(), writer: BufWriter::new(file) })
    }

    /// Whether a person reads the lines.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Standard) && io::stdout().is_terminal()
    }

    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        match self {
            Self::Standard if self.is_terminal() => writeln!(io::stdout().lock(), "{}", terminal::escaped(line)),
            Self::Standard => writeln!(io::stdout().lock(), "{line}"),
            Self::File { writer, .. } => writeln!(writer, "{line}"),
        }
    }

    pub(super) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line(&serde_json::to_string(value)?)
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self {
            Self::Standard => io::stdout().flush(),
            Self::File { path, writer } => {
                let file = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
                file.as_file().sync_all()?;
                file.persist(path).map(|_| ()).map_err(|error| error.error)
            }
        }
    }
}

/// Bytes as they are, for what is no text.
impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Standard => io::stdout().write(bytes),
            Self::File { writer, .. } => writer.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Standard => io::stdout().flush(),
            Self::File { writer, .. } => writer.flush(),
        }
    }
}

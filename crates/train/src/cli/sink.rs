//! Where lines of results go: to standard output as they come, or to a file that gets its name when it is whole.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

pub(super) enum Sink {
    Standard,
    File { path: PathBuf, writer: BufWriter<NamedTempFile> },
}

impl Sink {
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(".kindling").suffix(".tmp").tempfile_in(directory)?;
        Ok(Self::File { path: path.into(), writer: BufWriter::new(file) })
    }

    /// Whether a person reads the lines.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Standard) && io::stdout().is_terminal()
    }

    pub(super) fn line(&mut self, line: &str) -> io::Result<()> {
        match self {
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

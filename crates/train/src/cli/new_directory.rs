//! A directory that a command makes: it has another name until all of it is written, so that a failure leaves nothing behind and
//! everything as it was.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use model::OutputDirectory;

use super::Failure;

pub(super) struct NewDirectory {
    directory: OutputDirectory,
    output: PathBuf,
}

impl NewDirectory {
    /// Before the work, so that a place that cannot be written costs no more than its message.
    pub(super) fn create(output: &Path) -> Result<Self, Failure> {
        let directory = OutputDirectory::create(output).map_err(|error| {
            let message = format!("cannot write {}: {error}", output.display());
            match error.kind() {
                ErrorKind::AlreadyExists => Failure::usage(
                    format!("{} already exists", output.display()),
                    "name a directory that does not exist yet with --output",
                ),
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                    Failure::with_help(message, "free space, or name a directory on another disk with --output")
                }
                _ => Failure::usage(message, "name a directory in a place that can be written with --output"),
            }
        })?;
        Ok(Self { directory, output: output.into() })
    }

    /// Where to write its files.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The name that it is to have.
    pub(super) fn output(&self) -> &Path {
        &self.output
    }

    /// What failed, with the name that the directory was to have.
    pub(super) fn named(&self, failure: Failure) -> Failure {
        let message = failure.to_string();
        let (temporary, output) = (self.path().display().to_string(), self.output.display().to_string());
        match message.contains(&temporary) {
            true => failure.renamed(message.replace(&temporary, &output)),
            false => failure,
        }
    }

    pub(super) fn finish(self) -> Result<(), Failure> {
        self.directory.finish().map_err(|error| unwritten(&self.output, &error))
    }
}

/// Something that came up while writing.
pub(super) fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot write {}: {error}", path.display());
    Failure::with_help(message, "free space or make the place writable; nothing that existed was touched")
}

//! Whether the base still is what was loaded. It is mapped: whoever writes into its files changes the numbers of a model that answers.

use std::sync::atomic::{AtomicBool, Ordering};

use model::FilesInUse;

/// What everybody is told then.
pub(crate) const CHANGED_BASE: &str =
    "the model's file was changed since it was loaded: the server has to be started again";

#[derive(Debug)]
pub(super) struct BaseFiles {
    files: FilesInUse,
    were_changed: AtomicBool,
}

impl BaseFiles {
    pub(super) fn new(files: FilesInUse) -> Self {
        Self { files, were_changed: AtomicBool::new(false) }
    }

    /// Whether somebody has written into them since. It stays so: nobody knows what else is another.
    pub(super) fn were_changed(&self) -> bool {
        if !self.were_changed.load(Ordering::Relaxed) && self.files.written_to().is_some() {
            self.were_changed.store(true, Ordering::Relaxed);
        }
        self.were_changed.load(Ordering::Relaxed)
    }
}

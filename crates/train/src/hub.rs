//! What a model or an adapter is named by: a directory, or an id of the Hugging Face Hub, which is fetched into the cache.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use model::hub::{self, HubError, Progress, Settings, Source, Wanted};

use crate::output::Output;
use crate::terminal;

/// Where a model or an adapter lies.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) directory: PathBuf,
    /// The directory as it was named, or the repository on the Hub.
    pub(crate) name: String,
    /// Of a repository the commit.
    pub(crate) commit: Option<String>,
}

impl Located {
    /// What names the same again, whatever becomes of a branch.
    pub(crate) fn pinned(&self) -> PathBuf {
        match &self.commit {
            Some(commit) => format!("{}@{commit}", self.name).into(),
            None => self.directory.clone(),
        }
    }
}

/// A path is taken as it is: whoever opens it complains. With an id what the cache lacks is downloaded, shown by bars.
pub(crate) fn locate(named: &Path, wanted: Wanted, output: &Output) -> Result<Located, HubError> {
    let id = match Source::parse(&named.to_string_lossy()) {
        Source::Directory(directory) => {
            return Ok(Located { name: directory.display().to_string(), directory, commit: None });
        }
        Source::Hub(id) => id,
    };
    let bars = Bars { output, current: RefCell::new(None) };
    let snapshot = hub::fetch(&id, wanted, &Settings::from_environment(), &|progress| bars.show(progress));
    bars.clear();
    let snapshot = snapshot?;
    if let Some(reason) = &snapshot.unconfirmed {
        output.warn(&format!("{reason}: {id} is taken from the cache as it is there"));
    }
    Ok(Located { directory: snapshot.directory, name: id.repository, commit: Some(snapshot.commit) })
}

/// A bar for the file that is on its way.
struct Bars<'a> {
    output: &'a Output,
    current: RefCell<Option<(String, ProgressBar)>>,
}

impl Bars<'_> {
    fn show(&self, progress: Progress<'_>) {
        let mut current = self.current.borrow_mut();
        if current.as_ref().is_none_or(|(file, _)| file != progress.file) {
            if let Some((_, done)) = current.take() {
                done.finish_and_clear();
            }
            let bar = self.output.bar(progress.total, "{msg} {bar:30} {bytes}/{total_bytes} · {bytes_per_sec}");
            bar.set_message(terminal::on_one_line(progress.file).into_owned());
            *current = Some((progress.file.to_string(), bar));
        }
        if let Some((_, bar)) = current.as_ref() {
            bar.set_position(progress.done);
        }
    }

    fn clear(&self) {
        if let Some((_, bar)) = self.current.take() {
            bar.finish_and_clear();
        }
    }
}

//! `kindling train` with data in the place of a configuration: what `init` would write is written beside the data, and
//! run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use toml::Table;

use tasks::TaskName;

use super::Failure;
use super::init::{self, Request, Target};
use crate::config::{self, Loaded};
use crate::output::Output;
use crate::shell::{program, typed};

/// Keys that a configuration made for data has from elsewhere.
const TAKEN: [(&str, &str); 3] =
    [("model.path", "name it with `--model`"), ("model.task", "name it with `--task`"), ("data.train", "leave it out")];

/// A configuration that was made, and the file that it is written to before it is run.
pub(super) struct Made {
    pub(super) loaded: Loaded,
    data: PathBuf,
    file: PathBuf,
    text: String,
    /// The file is there, and says the same.
    is_written: bool,
}

impl Made {
    /// Of `sets` those that name columns go into the configuration, the others are laid over it for this run.
    pub(super) fn of(
        data: &Path,
        model: Option<&Path>,
        task: Option<TaskName>,
        sets: &[String],
        output: &Output,
    ) -> Result<Self, Failure> {
        let target = Target::beside(data)?;
        let file = target.file.clone().unwrap_or_default();
        let (columns, sets): (Vec<String>, Vec<String>) = sets.iter().cloned().partition(|set| init::names_column(set));
        refuse_taken(&sets)?;
        let existing = existing(&file)?;
        // A resumed run keeps its model: nobody is asked for it again.
        let before = existing.as_deref().filter(|_| model.is_none()).and_then(|text| model_of(text, &file));
        let model = model.or(before.as_deref());
        let composed = init::compose(&Request { data, model, task, columns: &columns, runs: true }, &target, output)?;
        // Comments are for people.
        let says = |text: &str| text.parse::<Table>().ok();
        let is_written = existing.as_deref().is_some_and(|existing| says(existing) == says(&composed.text));
        if existing.is_some() && !is_written {
            let help = format!(
                "`{0} train {1}` runs it as it is, `{0} init {2} -o {1} --overwrite` replaces it",
                program(),
                typed(&file),
                typed(data)
            );
            let message =
                format!("{} is there already, and is not what `init` writes for {}", file.display(), data.display());
            return Err(Failure::usage(message, help));
        }
        let loaded = config::load_text(&composed.text, &file, &sets, &std::env::current_dir()?)?;
        Ok(Self { loaded, data: data.into(), file, text: composed.text, is_written })
    }

    /// Where it would be, for a run that is planned only.
    pub(super) fn say(&self, output: &Output) {
        if !self.is_written {
            output.say(&format!("{} would be written, and run:", output.bold(&self.file.display().to_string())));
        }
    }

    /// Writes the file, unless it is there.
    pub(super) fn write(&self, output: &Output) -> Result<(), Failure> {
        let file = output.bold(&self.file.display().to_string());
        if self.is_written {
            output.say(&format!("{file} is what `init` writes for this data, and is run"));
            return Ok(());
        }
        // Whatever came to be there meanwhile is somebody else's.
        let written = File::create_new(&self.file).and_then(|mut file| writeln!(file, "{}", self.text.trim_end()));
        written.map_err(|error| {
            let reason = match error.kind() {
                io::ErrorKind::AlreadyExists => "it already exists".to_owned(),
                kind => kind.to_string(),
            };
            let help = format!(
                "`{0} init {1} -o FILE` writes the configuration elsewhere, `{0} train FILE` runs it",
                program(),
                typed(&self.data)
            );
            Failure::usage(format!("cannot write {}: {reason}", self.file.display()), help)
        })?;
        output.say(&format!("wrote {file}, as `init` does for this data: running it"));
        Ok(())
    }
}

fn refuse_taken(sets: &[String]) -> Result<(), Failure> {
    let key = |set: &str| set.split('=').next().unwrap_or_default().trim().to_owned();
    for set in sets {
        if let Some((_, instead)) = TAKEN.iter().find(|(taken, _)| *taken == key(set)) {
            return Err(Failure::usage(format!("`--set {set}` cannot be used with a data file"), *instead));
        }
    }
    Ok(())
}

/// What lies where the configuration would be written.
fn existing(file: &Path) -> Result<Option<String>, Failure> {
    match fs::read(file) {
        // What is no text is no configuration, and is not replaced either.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let help = "move it away, or make it readable";
            Err(Failure::usage(format!("cannot read {}: {}", file.display(), error.kind()), help))
        }
    }
}

fn model_of(text: &str, file: &Path) -> Option<PathBuf> {
    let loaded = config::load_text(text, file, &[], &std::env::current_dir().ok()?).ok()?;
    Some(loaded.config.model.path)
}

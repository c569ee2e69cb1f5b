//! How a run begins, anew or where an earlier process left it. The first worker finds out and tells the others, who are sent the
//! checkpoint.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, RunState};
use super::directory::{Directory, State};
use super::{Error, Identity, Start, check_resumed, refuse_own_inputs, resume, save, say_beginning};
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::workers::Workers;

/// How the first worker finds that a run begins.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Beginning {
    NothingToDo,
    Anew,
    After(Box<RunState>),
}

/// Decides that, and writes the first files of a run.
pub(super) fn begin(
    plan: &RunPlan,
    (start, identity, save): (Start, &Identity, &save::Saver),
    directory: &Directory,
    output: &Output,
) -> Result<Beginning, Error> {
    if start != Start::Resume {
        refuse_own_inputs(plan)?;
    }
    // Another process may have trained here while this one looked at its data.
    if start == Start::New && directory.own_state() != State::New {
        return Err(Error::Exists { path: directory.root().into(), what: "another run by now" });
    }
    let resumed = match start {
        Start::Resume => resume::newest_state(plan, identity, directory, output)?,
        Start::New | Start::Overwrite => None,
    };
    directory.check_names(save.names())?;
    match &resumed {
        Some(state) if directory.own_state() == State::Finished && !plan.legs.go_on_after(state.step) => {
            return Ok(Beginning::NothingToDo);
        }
        Some(state) => check_resumed(plan, save, directory, state)?,
        None => {
            directory.begin()?;
            directory.write_config(&plan.config.to_toml(), plan.config_file.as_deref())?;
        }
    }
    directory.claim_names()?;
    output.log_to(directory.append("train.log")?);
    say_beginning(plan, resumed.as_ref(), directory, output);
    Ok(resumed.map_or(Beginning::Anew, |state| Beginning::After(Box::new(state))))
}

/// For what the first worker sends.
pub(super) fn temporary() -> Result<tempfile::TempDir, Error> {
    tempfile::tempdir().map_err(|source| Error::Temporary { path: std::env::temp_dir(), source })
}

/// A checkpoint where this worker can read it: the run's own, or a copy of it that goes when this value goes.
pub(super) enum Checkpoint {
    Own(PathBuf),
    Copy(PathBuf, #[expect(dead_code, reason = "the directory is removed when it is dropped")] tempfile::TempDir),
}

impl Checkpoint {
    pub(super) fn of(state: &RunState, directory: Option<&Directory>, workers: &Workers) -> Result<Self, Error> {
        let checkpoint = match directory {
            Some(directory) => Self::Own(directory.checkpoint(state.step)),
            None => {
                let temporary = temporary()?;
                Self::Copy(temporary.path().to_path_buf(), temporary)
            }
        };
        let path = checkpoint.path();
        workers.copies(path, &checkpoint::files(state), path).map_err(Error::of_files)?;
        Ok(checkpoint)
    }

    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Own(path) | Self::Copy(path, _) => path,
        }
    }
}

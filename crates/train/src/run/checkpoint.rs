//! Checkpoints of a run: burn's records of model, optimiser and schedule, and beside them what burn does not record. A
//! checkpoint is put together under a temporary name and renamed when every file is on the disk.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel};
use serde::{Deserialize, Serialize};

use super::Error;
use super::directory::Directory;
use crate::metrics::Scores;

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const SCHEDULE: &str = "schedule.bpk";
const STATE: &str = "state.json";

/// Everything of a run that is neither in a burn record nor a function of the step number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    pub(crate) step: usize,
    /// Bytes of `metrics.jsonl` up to and with this step.
    pub(crate) metrics_length: u64,
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) without_improvement: usize,
    /// Early stopping has ended the training.
    pub(crate) stopped: bool,
    /// What all processes of the run took until then.
    #[serde(default)]
    pub(crate) seconds: f64,
    pub(crate) identity: Identity,
}

/// The evaluation whose adapter is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    pub(crate) step: usize,
    pub(crate) scores: Option<Scores>,
    /// The standard error of its loss, a language model's.
    #[serde(default)]
    pub(crate) loss_error: Option<f64>,
    /// Logits of the probe batch at that step, to compare the saved adapter with.
    pub(crate) probe: Vec<f32>,
}

/// What must be the same for a run to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Fingerprint of the base.
    pub(crate) base: String,
    /// SHA-256 of the encoded examples.
    pub(crate) data: String,
}

/// burn's interface to the files of one record. A failure is kept for the strategy: burn's own way of reporting it is a
/// message on another thread.
#[derive(Clone)]
pub(super) struct RecordFile {
    directory: PathBuf,
    name: &'static str,
    failure: Failure,
}

/// The first failure of any of the three records.
pub(super) type Failure = Arc<Mutex<Option<String>>>;

/// The three files, to be given to the learner.
pub(super) fn record_files(directory: &Directory, failure: &Failure) -> [RecordFile; 3] {
    let root = directory.root().join("checkpoints");
    [MODEL, OPTIMIZER, SCHEDULE].map(|name| RecordFile { directory: root.clone(), name, failure: failure.clone() })
}

impl<R: Checkpoint> Checkpointer<R> for RecordFile {
    fn save(&self, step: usize, record: R) -> Result<(), CheckpointerError> {
        let path = self.directory.join(format!("step-{step}.tmp")).join(self.name);
        if let Err(error) = record.save(path) {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }
        Ok(())
    }

    /// Pruning is the directory's, which removes whole checkpoints.
    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        R::load(self.directory.join(format!("step-{step}")).join(self.name))
    }
}

/// Saves whenever it is asked. The deletion that follows is accepted by burn's checkpointing threads only once they have
/// finished saving, so it makes the asynchronous save a synchronous one.
pub(super) struct SaveAndWait;

impl CheckpointingStrategy for SaveAndWait {
    fn checkpointing(&mut self, _: usize, _: &EventStoreClient) -> Vec<CheckpointingAction> {
        vec![CheckpointingAction::Save, CheckpointingAction::Delete(usize::MAX)]
    }
}

/// Writes the state beside the records that were just saved, and makes the checkpoint whole.
pub(super) fn complete(directory: &Directory, state: &RunState, keep: usize, failure: &Failure) -> Result<(), Error> {
    let unfinished = directory.unfinished_checkpoint(state.step);
    let error = |reason: String| Error::Checkpoint { path: directory.checkpoint(state.step), reason };
    if let Some(reason) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // What cannot be removed now is removed at the next start.
        let _ = std::fs::remove_dir_all(&unfinished);
        return Err(error(reason));
    }
    let written = model::write_json(&unfinished.join(STATE), state);
    written.and_then(|()| directory.finish_checkpoint(state.step, keep)).map_err(|reason| error(reason.to_string()))
}

/// Makes room for the records of `step`.
pub(super) fn begin(directory: &Directory, step: usize) -> Result<(), Error> {
    let path = directory.unfinished_checkpoint(step);
    std::fs::create_dir_all(&path).map_err(|source| Error::Write { path, source })
}

/// The state of a complete checkpoint.
pub(crate) fn read_state(checkpoint: &Path) -> Result<RunState, Error> {
    let error = |reason: String| Error::Restore { path: checkpoint.into(), reason };
    let text = std::fs::read_to_string(checkpoint.join(STATE)).map_err(|source| error(source.to_string()))?;
    serde_json::from_str(&text).map_err(|_| error(format!("{STATE} is not as a run writes it")))
}

/// The learner as it was. The model's record goes first: it restores the identities by which the optimiser's finds its
/// parameters.
pub(super) fn restore<M: LearnerModel>(learner: &mut Learner<M>, checkpoint: &Path) -> Result<(), Error> {
    let error = |reason: CheckpointerError| Error::Restore { path: checkpoint.into(), reason: reason.to_string() };
    learner.load_model(<ModuleRecord as Checkpoint>::load(checkpoint.join(MODEL)).map_err(error)?);
    learner.load_optim(<OptimizerRecord as Checkpoint>::load(checkpoint.join(OPTIMIZER)).map_err(error)?);
    learner.load_scheduler(<LrSchedulerRecord as Checkpoint>::load(checkpoint.join(SCHEDULE)).map_err(error)?);
    Ok(())
}

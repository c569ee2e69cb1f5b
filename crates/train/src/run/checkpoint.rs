//! Checkpoints of a run: burn's records of model, optimiser and schedule, and beside them what burn does not record. A
//! checkpoint is put together under a temporary name and renamed when every file is on the disk. Its state has the hashes of
//! the other files and one of itself, so that a bit that has flipped is found before any of it is used.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::optim::OptimizerRecord;
use burn::optim::lr_scheduler::LrSchedulerRecord;
use burn::store::ModuleRecord;
use burn::tensor::TensorData;
use burn::train::checkpoint::{
    Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy,
};
use burn::train::metric::store::EventStoreClient;
use burn::train::{Learner, LearnerModel};
use inference::FileHash;
use model::{disk, seal, sealed, sha256};
use serde::{Deserialize, Serialize};

use super::Error;
use super::directory::Directory;
use ::tasks::metrics::Scores;

const MODEL: &str = "model.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const SCHEDULE: &str = "schedule.bpk";
const FILES: [&str; 3] = [MODEL, OPTIMIZER, SCHEDULE];
pub(super) const STATE: &str = "state.json";
/// What adapters took out of the base, of a run whose do: another processor would find slightly other values.
const START: &str = "start.safetensors";

/// Everything of a run that is neither in a burn record nor a function of the step number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunState {
    pub(crate) step: usize,
    /// Bytes of `metrics.jsonl` up to and with this step.
    pub(crate) metrics_length: u64,
    /// Of these bytes. Earlier versions had none.
    #[serde(default)]
    pub(crate) metrics_sha256: Option<String>,
    pub(crate) best: Option<Best>,
    /// Evaluations since the best one.
    pub(crate) without_improvement: usize,
    /// Early stopping has ended the training.
    pub(crate) stopped: bool,
    /// What all processes of the run took until then.
    #[serde(default)]
    pub(crate) seconds: f64,
    pub(crate) identity: Identity,
    /// Of the base's files, for what its fingerprint does not see. Earlier versions had none.
    #[serde(default)]
    pub(crate) base_files: Vec<FileHash>,
    /// SHA-256 of the other files of the checkpoint. Earlier versions had none.
    #[serde(default)]
    pub(crate) files: BTreeMap<String, String>,
}

impl RunState {
    /// Before the first step.
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            step: 0,
            metrics_length: 0,
            metrics_sha256: None,
            best: None,
            without_improvement: 0,
            stopped: false,
            seconds: 0.0,
            identity,
            base_files: Vec::new(),
            files: BTreeMap::new(),
        }
    }
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
    let directory = directory.unfinished_checkpoint();
    FILES.map(|name| RecordFile { directory: directory.clone(), name, failure: failure.clone() })
}

impl<R: Checkpoint> Checkpointer<R> for RecordFile {
    fn save(&self, _: usize, record: R) -> Result<(), CheckpointerError> {
        let path = self.directory.join(self.name);
        if let Err(error) = disk::written(&path, || record.save(path.clone()).map_err(io::Error::other)) {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error.to_string());
        }
        Ok(())
    }

    /// Pruning is the directory's, which removes whole checkpoints.
    fn delete(&self, _: usize) -> Result<(), CheckpointerError> {
        Ok(())
    }

    /// Never called: a checkpoint is looked at as a whole before any of it is used; see `restore` below.
    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        Err(CheckpointerError::Unknown(format!("step {step} is not restored by the learner")))
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
pub(super) fn complete(
    directory: &Directory,
    state: &mut RunState,
    keep: usize,
    failure: &Failure,
) -> Result<(), Error> {
    let unfinished = directory.unfinished_checkpoint();
    let path = directory.checkpoint(state.step);
    let error = |reason: String| Error::Checkpoint { path: path.clone(), reason };
    if let Some(reason) = failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // What cannot be removed now is removed at the next start.
        let _ = directory.clear_unfinished_checkpoint();
        return Err(error(reason));
    }
    let write = |source| Error::Write { path: path.clone(), source };
    let hash = |name: &str| Ok::<_, std::io::Error>((name.to_string(), sha256(&unfinished.join(name))?));
    let start = Some(START).filter(|name| unfinished.join(name).exists());
    state.files = FILES.into_iter().chain(start).map(hash).collect::<Result<_, _>>().map_err(write)?;
    let sealed = seal(state).map_err(|source| error(source.to_string()))?;
    model::write_json(&unfinished.join(STATE), &sealed).map_err(write)?;
    directory.finish_checkpoint(state.step, keep)
}

/// Makes room for the records of a step, beside what was taken out of the base.
pub(super) fn begin(directory: &Directory, starts: &HashMap<String, TensorData>) -> Result<(), Error> {
    let path = directory.unfinished_checkpoint();
    // Not `create_dir_all`: a run whose directory was removed has nowhere to go on.
    let cleared = directory.clear_unfinished_checkpoint().and_then(|()| disk::create_dir(&path));
    cleared.map_err(|source| Error::Write { path: path.clone(), source })?;
    if starts.is_empty() {
        return Ok(());
    }
    let tensors: Vec<(String, TensorData)> = starts.iter().map(|(name, data)| (name.clone(), data.clone())).collect();
    let path = path.join(START);
    let bytes = lora::peft::to_bytes(tensors.iter(), &lora::peft::LAYOUT)
        .map_err(|error| Error::Checkpoint { path: path.clone(), reason: error.to_string() })?;
    disk::write(&path, &bytes).map_err(|source| Error::Write { path, source })
}

/// What the run took out of the base when it began.
pub(super) fn starts(checkpoint: &Path, state: &RunState) -> Result<HashMap<String, TensorData>, Error> {
    if !state.files.contains_key(START) {
        return Ok(HashMap::new());
    }
    let path = checkpoint.join(START);
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    let tensors = read.and_then(|bytes| lora::peft::from_bytes(&bytes).map_err(|error| error.to_string()));
    tensors.map_err(|reason| Error::Restore { path, reason })
}

/// The names of what is read of a checkpoint, beside its state.
pub(super) fn files(state: &RunState) -> Vec<String> {
    let start = Some(START).filter(|name| state.files.contains_key(*name));
    FILES.into_iter().chain(start).map(String::from).collect()
}

/// The state of a complete checkpoint whose files are as they were written; what is wrong otherwise.
pub(super) fn read_state(checkpoint: &Path) -> Result<RunState, String> {
    let text = std::fs::read_to_string(checkpoint.join(STATE)).map_err(|error| format!("{STATE}: {error}"))?;
    let state = sealed(&text).ok_or_else(|| format!("{STATE} is not as it was written"))?;
    let state: RunState = serde_json::from_value(state).map_err(|_| format!("{STATE} is not as a run writes it"))?;
    for (name, expected) in &state.files {
        match sha256(&checkpoint.join(name)) {
            Ok(found) if found == *expected => {}
            Ok(_) => return Err(format!("{name} is not as it was written")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(format!("{name} is missing")),
            Err(error) => return Err(format!("{name}: {error}")),
        }
    }
    Ok(state)
}

/// The learner as it was. The model's record goes first: it restores the identities by which the optimiser's finds its
/// parameters.
pub(super) fn restore<M: LearnerModel>(learner: &mut Learner<M>, checkpoint: &Path) -> Result<(), Error> {
    let path = || checkpoint.to_path_buf();
    let load = || {
        learner.load_model(<ModuleRecord as Checkpoint>::load(checkpoint.join(MODEL))?);
        learner.load_optim(<OptimizerRecord as Checkpoint>::load(checkpoint.join(OPTIMIZER))?);
        learner.load_scheduler(<LrSchedulerRecord as Checkpoint>::load(checkpoint.join(SCHEDULE))?);
        Ok::<_, CheckpointerError>(())
    };
    // Checkpoints of versions that kept no hashes come here unchecked, and burn panics on records that lack a tensor.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(load));
    std::panic::set_hook(hook);
    match loaded {
        Ok(loaded) => loaded.map_err(|error| Error::Restore { path: path(), reason: error.to_string() }),
        Err(_) => Err(Error::Restore { path: path(), reason: "its records are not those of this model".to_string() }),
    }
}

//! What a run leaves behind: an adapter, or a full checkpoint. It is read back before the run calls itself finished.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Device, TensorData};
use data::Batch;
use kernels::Precision;
use lora::{Method, Plan};
use model::{
    FilesInUse, Frozen, Pretrained, ShardLayout, TensorHeader, Values, disk, files_beside, goes_with_weights,
    is_of_tokenizer, sha256, write_json,
};
use serde_json::{Value, json};

use super::Error;
use super::checkpoint::{Identity, RunState};
use super::directory::Directory;
use super::origins::{self, OriginsRead};
use crate::card::Card;
use crate::config::{Config, SaveDtype};
use crate::prepare::RunPlan;
use crate::terminal;
use ::tasks::metrics::Scores;
use inference::{Adapter, AdapterError, Provenance, Sidecar, copy_beside, name_within, write_adapter};
use tasks::{Fitted, MicroBatch, Task, TrainableModel, host};

/// Examples in the batch with which a saved model is compared.
const PROBES: usize = 8;

/// Logits kept of a probe: of a large vocabulary a sample is enough.
const PROBED: usize = 4096;

/// Logits of a few examples: the answer of a model, to be compared with that of its copy on disk.
#[derive(Debug, Clone)]
struct Probe(MicroBatch);

impl Probe {
    fn new(batch: Batch) -> Self {
        Self(MicroBatch::evaluation(Batch { rows: batch.last_tokens(), ..batch }))
    }

    fn logits(&self, model: &TrainableModel) -> Vec<f32> {
        let logits = host(model.logits(&self.0));
        let every = logits.len().div_ceil(PROBED).max(1);
        logits.into_iter().step_by(every).collect()
    }
}

/// The largest difference of two answers; infinite where one has values that are no numbers, or of another number.
pub(crate) fn difference(left: &[f32], right: &[f32]) -> f64 {
    if left.len() != right.len() {
        return f64::INFINITY;
    }
    let differences = left.iter().zip(right).map(|(left, right)| f64::from((left - right).abs()));
    differences.fold(0.0, |largest, one| if one.is_finite() { largest.max(one) } else { f64::INFINITY })
}

/// The evaluation for which a model is saved.
pub(super) struct Kept<'a> {
    pub(super) scores: &'a Scores,
    pub(super) fitted: Fitted,
}

/// Where and how a run's result is written.
#[derive(Debug)]
pub(super) struct Saver {
    sidecar: Sidecar,
    card: Card,
    base: PathBuf,
    base_config: Value,
    class: String,
    task: Arc<dyn Task>,
    frozen: Frozen,
    precision: Precision,
    device: Device,
    full: bool,
    /// The names of the adapter's own files.
    files: Vec<&'static str>,
    /// Of a full checkpoint: tensors that it has under a second name as well.
    written_twice: Option<(String, String)>,
    save_dtype: DType,
    probe: Probe,
    config: Config,
    examples: String,
    in_use: FilesInUse,
    /// `None` where nothing is saved.
    origins: Option<OriginsRead>,
}

impl Saver {
    pub(super) fn new(plan: &RunPlan, identity: &Identity) -> Self {
        let examples = plan.valid.as_ref().unwrap_or(&plan.train);
        let indices: Vec<usize> = (0..examples.len().min(PROBES)).collect();
        Self {
            sidecar: plan.sidecar(identity),
            card: Card::new(plan),
            base: plan.base.directory.clone(),
            base_config: plan.pretrained.config().clone(),
            class: plan.pretrained.class().to_string(),
            task: plan.task.clone(),
            frozen: plan.frozen,
            precision: plan.precision,
            device: plan.device.clone(),
            full: plan.method.saves_model(),
            files: plan.method.files(),
            written_twice: plan.pretrained.written_twice(),
            save_dtype: match plan.config.model.save_dtype {
                SaveDtype::F32 => DType::F32,
                SaveDtype::Bf16 => DType::BF16,
                SaveDtype::F16 => DType::F16,
            },
            probe: Probe::new(Batch::new(examples, &indices, 0)),
            config: plan.config.clone(),
            examples: identity.data.clone(),
            in_use: plan.pretrained.files_in_use(),
            origins: None,
        }
    }

    /// For a run that will save something: reads what it came from.
    pub(super) fn with_origins(self, plan: &RunPlan) -> Self {
        Self { origins: Some(OriginsRead::start(plan)), ..self }
    }

    /// Whether the files of the base are what they were when this process opened them.
    pub(super) fn check_in_use(&self) -> Result<(), Error> {
        base_unchanged(&self.in_use)
    }

    /// Refuses to save what was computed with a base whose files are not what they were when this process opened them, or when the
    /// run's other processes did.
    pub(super) fn check_base(&self, state: &mut RunState) -> Result<(), Error> {
        self.check_in_use()?;
        let Some(origins) = &self.origins else { return Ok(()) };
        let now = &origins.get().base;
        if state.base_files.is_empty() {
            state.base_files.clone_from(now);
        }
        match state.base_files.iter().zip(now).find(|(then, now)| then != now) {
            Some((then, now)) => {
                let [then_hash, now] = [then, now].map(|it| it.sha256.chars().take(12).collect());
                Err(Error::Changed { what: format!("the base model's {}", then.name), then: then_hash, now })
            }
            None => Ok(()),
        }
    }

    /// Of the weights after this step.
    fn provenance(&self, step: usize) -> Option<Provenance> {
        let origins = self.origins.as_ref()?.get().clone();
        let config = origins::fingerprint(&self.config, step);
        Some(Provenance { step, config, examples: self.examples.clone(), origins })
    }

    /// Writes `adapter/`, or `model/` for a full checkpoint; returns the model's answer to the probe.
    pub(super) fn save(
        &self,
        directory: &Directory,
        plan: &Plan,
        model: &TrainableModel,
        (step, kept): (usize, Option<Kept<'_>>),
    ) -> Result<Vec<f32>, Error> {
        directory.claim(self.names())?;
        directory.set_results(BTreeMap::new())?;
        let scores = kept.as_ref().map(|kept| (step, kept.scores));
        let mut sidecar = self.sidecar.clone();
        sidecar.trained = self.provenance(step);
        sidecar.fitted = kept.map(|kept| kept.fitted).unwrap_or_default();
        let saved = match self.full {
            false => {
                let card = self.card.text((plan.trainable_elements(), plan.base_elements()), scores);
                let path = directory.path("adapter");
                // People read the card in a terminal too, and labels are whatever the data held.
                write_adapter(&path, plan, model, &sidecar, &terminal::escaped(&card), &self.base).map_err(Error::from)
            }
            true => self.save_checkpoint(&directory.path("model"), (plan, model), &sidecar),
        };
        saved.map_err(Error::of_run)?;
        let mut hashes = BTreeMap::new();
        for name in self.names().into_iter().filter(|name| !name.ends_with("README.md")) {
            let path = directory.path(&name);
            let hash = sha256(&path).map_err(|source| Error::Write { path, source })?;
            hashes.insert(name, hash);
        }
        directory.set_results(hashes)?;
        Ok(self.probe.logits(model))
    }

    /// Whether what was saved is there as it was written, so that a run that cannot end does not begin.
    pub(super) fn check(&self, directory: &Directory, base: &Pretrained, step: usize) -> Result<(), Error> {
        let wrong = |path: PathBuf, reason: String| Error::Best { path, reason, step };
        let paths = self.names().into_iter().map(|name| directory.path(&name));
        // Not the model card, nor what the base may have got since.
        let needed = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let json = ["kindling.json", "config.json", "tokenizer.json"];
            json.contains(&name) || self.files.contains(&name) || name.ends_with(".safetensors")
        };
        if let Some(path) = paths.into_iter().find(|path| needed(path) && !path.is_file()) {
            return Err(wrong(path, "is missing".to_string()));
        }
        for (name, expected) in directory.results() {
            let path = directory.path(&name);
            match sha256(&path) {
                Ok(found) if found == expected => {}
                Ok(_) => return Err(wrong(path, "is not as it was written".to_string())),
                Err(error) => return Err(wrong(path, format!("cannot be read: {error}"))),
            }
        }
        let read = match self.full {
            false => match Adapter::read(&directory.path("adapter"), Some(base)) {
                // The process before ended while it was saving a later one: that is saved again.
                Err(AdapterError::Damaged { .. }) if directory.results().is_empty() => Ok(()),
                read => read.map(drop).map_err(|error| error.to_string()),
            },
            true => Pretrained::open(&directory.path("model"), self.task.definition().head)
                .map(drop)
                .map_err(|error| error.to_string()),
        };
        read.map_err(|reason| wrong(directory.path(self.result()), format!("cannot be read: {reason}")))
    }

    /// The directory of the result.
    fn result(&self) -> &'static str {
        if self.full { "model" } else { "adapter" }
    }

    /// The files of the result, relative to the run's directory.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names = vec!["kindling.json"];
        match self.full {
            false => names.extend(["README.md"].iter().chain(&self.files)),
            true => names.extend(["config.json", "model.safetensors"]),
        }
        // A base that cannot be read is an error where it is copied from.
        let copied = files_beside(&self.base, |file| self.is_companion(file)).unwrap_or_default();
        let copied = copied.into_iter().map(|name| name.to_string_lossy().into_owned());
        let names = names.into_iter().map(String::from).chain(copied);
        names.map(|name| format!("{}/{name}", self.result())).collect()
    }

    /// Whether a file of the base goes beside the result.
    fn is_companion(&self, file: &str) -> bool {
        is_of_tokenizer(file) || self.full && goes_with_weights(file)
    }

    fn save_checkpoint(
        &self,
        directory: &Path,
        (plan, model): (&Plan, &TrainableModel),
        sidecar: &Sidecar,
    ) -> Result<(), Error> {
        let write = |source| Error::Write { path: directory.into(), source };
        disk::create_dir_all(directory).map_err(write)?;
        let trained: HashMap<String, TensorData> = plan.tensors(model).into_iter().collect();
        // By the names that are written, what they are in the model; a tensor may be written twice.
        let mut sources: BTreeMap<String, &str> = BTreeMap::new();
        for name in trained.keys().chain(plan.frozen()) {
            sources.insert(name.clone(), name);
            if let Some((_, twin)) = self.written_twice.as_ref().filter(|(twice, _)| twice == name) {
                sources.insert(twin.clone(), name);
            }
        }
        let base = match plan.frozen().is_empty() {
            true => None,
            false => Some(Pretrained::open(&self.base, self.task.definition().head)?),
        };
        let shape = |name: &str| match (trained.get(name), &base) {
            (Some(data), _) => Some(data.shape().to_vec()),
            (None, Some(base)) => base.shape(name),
            (None, None) => None,
        };
        let header = |(name, source): (&String, &&str)| {
            shape(source).map(|shape| TensorHeader::new(name, self.save_dtype, &shape))
        };
        let layout = ShardLayout::new(sources.iter().filter_map(header).collect(), usize::MAX);
        layout.write(directory, |tensor, file| {
            let source = sources[&tensor.name];
            match (trained.get(source), &base) {
                (Some(data), _) => file.values(&data.iter::<f32>().collect::<Vec<_>>())?,
                (None, Some(base)) => base.write_frozen(source, self.frozen, file)?,
                (None, None) => {}
            }
            Ok::<(), model::Error>(())
        })?;
        let config = with_dtype(self.task.model_config(&self.base_config, &self.class), self.save_dtype);
        write_json(&directory.join("config.json"), &config).map_err(write)?;
        let mut names = ["config.json", "model.safetensors"].map(String::from).to_vec();
        let copied = copy_beside(directory, &self.base, |file| self.is_companion(file))?;
        names.extend(copied.iter().map(|(_, path)| name_within(directory, path)));
        Ok(sidecar.write(directory, &names)?)
    }

    /// Loads what was saved, as a user would, and compares its answer with that of the trained model, whose base
    /// `is_rounded` in part.
    pub(super) fn verify(
        &self,
        root: &Path,
        expected: &[f32],
        is_rounded: bool,
    ) -> Result<(TrainableModel, Plan), Error> {
        let (what, pretrained, plan, frozen) = match self.full {
            false => {
                let mut pretrained = Pretrained::open(&self.base, self.task.definition().head)?;
                let adapter = Adapter::read(&root.join("adapter"), Some(&pretrained))?;
                pretrained.adopt_vocabulary(&adapter.tensors);
                let plan = adapter.plan(&pretrained, self.frozen).map_err(model::Error::from)?;
                ("adapter", pretrained, plan, self.frozen)
            }
            true => {
                let plan = Plan::new(Method::frozen(), None, 0).map_err(model::Error::from)?;
                let pretrained = Pretrained::open(&root.join("model"), self.task.definition().head)?;
                ("model", pretrained, plan, Frozen::As(DType::F32))
            }
        };
        let (model, loaded) = pretrained.load(plan, self.task.outputs(), frozen, Values::Read, &self.device)?;
        let model = TrainableModel { precision: self.precision, ..TrainableModel::new(model, self.task.clone()) };
        let found = self.probe.logits(&model);
        let (difference, largest) = (difference(expected, &found), difference(expected, &vec![0.0; expected.len()]));
        // The same numbers through the same operations: on the CPU the difference is zero, and where a part of the base was
        // taken out, that of f32. A checkpoint rounded to half precision may move logits by some hundredths of their size, and
        // so may what is left of a base that was rounded to it.
        let allowed = match (self.full, self.save_dtype) {
            (true, DType::F16 | DType::BF16) => 0.05,
            _ if is_rounded => 0.05,
            _ => 1e-4,
        };
        match difference <= allowed * largest.max(1.0) {
            true => Ok((model, loaded.plan)),
            false => Err(Error::NotTheSame { what, difference }),
        }
    }
}

/// # Errors
/// Somebody has changed the files that the base's weights are read from.
pub(super) fn base_unchanged(files: &FilesInUse) -> Result<(), Error> {
    files.changed().map_or(Ok(()), |(path, change)| Err(Error::BaseChanged { path, change }))
}

/// `config.json` for tensors of this type.
pub(crate) fn with_dtype(mut config: Value, dtype: DType) -> Value {
    if let Value::Object(keys) = &mut config {
        let name = match dtype {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        keys.remove("torch_dtype");
        keys.insert("dtype".to_string(), json!(name));
    }
    config
}

//! The tensors of an opened model: by the names that Transformers gives them, what they are, where they lie, and their values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use burn::tensor::{DType, Device, TensorData};
use kernels::Quantisation;
use lora::Update;

use super::{Frozen, Pretrained, lies_below};
use crate::checkpoint::{Checkpoint, Entry, ShardLayout, TensorHeader, TensorWriter, panels};
use crate::{CheckpointError, Error, FilesInUse};

impl Pretrained {
    /// SHA-256 over the headers and samples of all tensors; `random` for a model that starts from nothing.
    pub fn fingerprint(&self) -> String {
        self.checkpoint.as_ref().map_or_else(|| "random".to_string(), Checkpoint::fingerprint)
    }

    /// The files that the weights are in, with `config.json`.
    pub fn files(&self) -> Vec<PathBuf> {
        let weights = self.checkpoint.iter().flat_map(Checkpoint::files);
        weights.map(Path::to_path_buf).chain([self.directory.join("config.json")]).collect()
    }

    /// What to watch the files of the weights by, which stay mapped while the model is in use.
    pub fn files_in_use(&self) -> FilesInUse {
        self.checkpoint.as_ref().map_or_else(FilesInUse::default, FilesInUse::of)
    }

    /// Bytes of the checkpoint's tensors.
    pub fn bytes(&self) -> usize {
        let Some(checkpoint) = &self.checkpoint else { return 0 };
        checkpoint.names().filter_map(|name| checkpoint.entry(name)).map(|e| checkpoint.bytes(e).len()).sum()
    }

    /// How the checkpoint's matrices are quantised in its files.
    pub fn quantisation(&self) -> Option<Quantisation> {
        self.checkpoint.as_ref().and_then(Checkpoint::any_quantisation)
    }

    /// Values in all of the checkpoint's tensors.
    pub fn elements(&self) -> usize {
        self.tensors().iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum()
    }

    /// Tensors by name and shape, under the names that Transformers gives them.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, String)> {
        let mut tensors: Vec<_> = self
            .names
            .iter()
            .filter_map(|(name, stored)| {
                let entry = self.checkpoint.as_ref()?.entry(stored)?;
                Some((name.clone(), entry.shape.clone(), format!("{:?}", entry.dtype)))
            })
            .collect();
        tensors.sort();
        tensors
    }

    /// The Frobenius norm of a module's weight, which is infinite or NaN where a value of it is; `None` if the checkpoint has none of
    /// that name.
    pub fn weight_norm(&self, module: &str) -> Result<Option<f64>, Error> {
        let Some((checkpoint, name, entry)) = self.find(&format!("{module}.weight")) else { return Ok(None) };
        if entry.shape.len() != 2 || checkpoint.quantisation(name).is_some() {
            return Ok(None);
        }
        let weight = checkpoint.tensor::<2>(name, entry, &Device::flex())?.cast(DType::F32);
        let norm = f64::from(weight.square().sum().sqrt().into_scalar::<f32>());
        if norm.is_finite() {
            return Ok(Some(norm));
        }
        // Squares of large values are beyond f32.
        let values = checkpoint.wide(entry)?.unwrap_or_default();
        Ok(Some(values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()))
    }

    /// The values of the tensor that Transformers calls `name`, in f32; `None` where there is none.
    pub fn values(&self, name: &str) -> Result<Option<TensorData>, Error> {
        let Some((checkpoint, stored, entry)) = self.find(name) else { return Ok(None) };
        // One that is not of floats has no place in a model.
        checkpoint.dtype(stored, entry)?;
        Ok(checkpoint.wide(entry)?.map(|values| TensorData::new(values, entry.shape.clone())))
    }

    /// The Frobenius norm of what an update changes of its module's weight, of one whose size [depends on
    /// that](lora::Form::depends_on_weight) or [is a share of it](lora::Form::is_relative); `None` if the weight or a tensor of the update is not there.
    pub fn moved(&self, update: &Update, adapter: &HashMap<String, TensorData>) -> Result<Option<f64>, Error> {
        let Some((checkpoint, _, entry)) = self.find(&update.weight()) else { return Ok(None) };
        let Some(weight) = checkpoint.wide(entry)? else { return Ok(None) };
        let merged = update.merged(TensorData::new(weight.clone(), entry.shape.clone()), adapter);
        let square = |(before, after): (&f32, f32)| (f64::from(after) - f64::from(*before)).powi(2);
        Ok(merged.map(|merged| weight.iter().zip(merged.iter::<f32>()).map(square).sum::<f64>().sqrt()))
    }

    /// Does `work` with a model that was loaded from this checkpoint, while the weights that it reads are given back a few
    /// milliseconds after: what is mapped counts as memory of the process only while it is used.
    pub fn sparingly<T>(&self, work: impl FnOnce() -> T) -> T {
        const INTERVAL: Duration = Duration::from_millis(5);
        let Some(checkpoint) = &self.checkpoint else { return work() };
        let result = std::thread::scope(|scope| {
            let (stop, stopped) = mpsc::channel::<()>();
            let release = move || {
                while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    checkpoint.release_pages();
                }
            };
            // Without a thread to spare it takes the memory.
            let _ = std::thread::Builder::new().spawn_scoped(scope, release);
            let result = work();
            drop(stop);
            result
        });
        checkpoint.release_pages();
        result
    }

    /// The shape of the tensor that Transformers calls `name`; `None` where there is none.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.find(name).map(|(_, _, entry)| entry.shape.clone())
    }

    /// Writes the values of the tensor that Transformers calls `name`, as a model that keeps frozen weights so has them.
    pub fn write_frozen(&self, name: &str, frozen: Frozen, file: &mut TensorWriter<'_>) -> Result<(), Error> {
        let Some((checkpoint, stored, entry)) = self.find(name) else { return Ok(()) };
        let of_file = checkpoint.dtype(stored, entry)?;
        let kept = match frozen {
            Frozen::As(kept) if entry.shape.len() > 1 => kept,
            Frozen::As(_) | Frozen::AsStored | Frozen::Quantised { .. } => of_file,
        };
        for panel in panels(&entry.shape) {
            let count = panel.len();
            let values = checkpoint.values(entry, panel)?.unwrap_or_default();
            let values = TensorData::new(values, [count]).convert_dtype(kept).convert_dtype(DType::F32);
            file.values(&values.iter::<f32>().collect::<Vec<_>>())?;
        }
        Ok(())
    }

    /// Whether there is a checkpoint, rather than a model that starts from nothing.
    pub fn has_weights(&self) -> bool {
        self.checkpoint.is_some()
    }

    /// The tensor that Transformers calls `name`: where it lies, and under which name.
    pub(crate) fn find(&self, name: &str) -> Option<(&Checkpoint, &str, &Entry)> {
        let name = self.ties.stand_ins.get(name).map_or(name, String::as_str);
        let (checkpoint, stored) = (self.checkpoint.as_ref()?, self.names.get(name)?);
        Some((checkpoint, stored, checkpoint.entry(stored)?))
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let mut names: Vec<&str> = self.names.keys().map(String::as_str).collect();
        names.sort_unstable();
        names.into_iter()
    }

    pub(crate) fn is_new(&self, tensor: &str) -> bool {
        let mut parts = self.variant.modules.iter().chain([&self.variant.pooler]).filter(|part| !part.is_empty());
        self.checkpoint.is_none() || parts.any(|part| lies_below(tensor, part))
    }

    /// The complaint about a tensor that is missing although the index of the checkpoint lists it.
    pub(crate) fn listed(&self, name: &str) -> Option<CheckpointError> {
        let checkpoint = self.checkpoint.as_ref()?;
        // By the name that Transformers gives to it, or by the one that the checkpoint would have.
        let bare = name.strip_prefix(self.architecture.prefix);
        [Some(name), bare].into_iter().flatten().find_map(|name| checkpoint.listed(name))
    }

    /// Whether the checkpoint has a tensor of this name, whatever is read in its place.
    pub(crate) fn is_there(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The tensor of this name itself.
    pub(crate) fn stored(&self, name: &str) -> Option<(&Checkpoint, &str, &Entry)> {
        let (checkpoint, stored) = (self.checkpoint.as_ref()?, self.names.get(name)?);
        Some((checkpoint, stored, checkpoint.entry(stored)?))
    }

    /// The files of a checkpoint with these tensors that is made of this one: see [`Checkpoint::layout`].
    pub(crate) fn layout<'a>(
        &'a self,
        tensors: Vec<TensorHeader>,
        max_shard_size: Option<usize>,
        place: impl Fn(&str) -> Option<&'a Entry>,
    ) -> ShardLayout {
        match &self.checkpoint {
            Some(checkpoint) => checkpoint.layout(tensors, max_shard_size, place),
            None => ShardLayout::new(tensors, max_shard_size.unwrap_or(usize::MAX)),
        }
    }

    /// The complaint about a tensor of the model with a value that is no finite number; `None` if there is none. Tensors of
    /// other heads and masks, in which there may be such values, are not looked at.
    pub fn not_finite(&self) -> Result<Option<Error>, Error> {
        let names: Vec<&str> = self.names().filter(|name| !self.ignores(name)).collect();
        self.not_finite_among(&names)
    }

    pub(crate) fn not_finite_among(&self, names: &[&str]) -> Result<Option<Error>, Error> {
        let Some(checkpoint) = &self.checkpoint else { return Ok(None) };
        let found = checkpoint.not_finite(names.iter().filter_map(|name| self.names.get(*name)).map(String::as_str))?;
        Ok(found.map(|(file, tensor)| {
            CheckpointError::NotFinite { file: file.to_path_buf(), tensor: tensor.to_string() }.into()
        }))
    }
}

//! Folding an adapter into the weights of its base: in f32, from the checkpoint as it is stored, rounded once. Some rows of one
//! tensor are in memory at a time, read from one file and written to another. What was written is then read again and compared.

mod verify;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use half::f16;
use lora::{Fold, Part, Plan, Update};
use safetensors::Dtype;

use crate::checkpoint::{Checkpoint, CheckpointError, Entry, ShardLayout, TensorHeader, TensorWriter, float, panels};
use crate::pretrained::Pretrained;
use crate::{Error, Model};

use verify::wrong;
pub use verify::{MergeError, verify_merged};

/// An adapter on its way into its base: which tensors there will be, and what each is made of. None of them is made yet.
#[derive(Debug)]
pub struct Merge<'a> {
    pretrained: &'a Pretrained,
    plan: &'a Plan,
    /// What the adapter has, by its names.
    adapter: HashMap<String, TensorData>,
    tensors: BTreeMap<String, Source>,
    types: Types<'a>,
    untied: bool,
}

/// The types that merged weights are rounded to; what is no weight, a mask for example, stays as it is.
#[derive(Debug, Clone, Copy)]
pub enum Types<'a> {
    /// Each has the type that it has in this checkpoint; what that does not have takes the type of its word embeddings.
    Of(&'a Pretrained),
    /// All have one: F32, F16 or BF16.
    All(DType),
    /// What the adapter changes is F32, to be merged further, and all others are as they were.
    Unrounded,
}

/// What a merged tensor is made of.
#[derive(Debug, Clone)]
struct Source {
    start: Start,
    /// What is folded into it: the weight or the bias of the update of this index.
    folded: Vec<(usize, Side)>,
}

#[derive(Debug, Clone)]
enum Start {
    /// The base's tensor of this name, or what stands in for it.
    Base(String),
    /// The base's tensor of this name itself.
    Stored(String),
    /// The adapter's tensor of this name.
    Adapter(String),
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Weight,
    Bias,
}

impl<'a> Merge<'a> {
    /// All tensors of the base, with the adapter that `plan` loaded into `model` folded in, under the names that Transformers gives
    /// them.
    ///
    /// # Errors
    /// The adapter changes a tensor that the base does not have.
    pub fn new(pretrained: &'a Pretrained, plan: &'a Plan, model: &Model, types: Types<'a>) -> Result<Self, Error> {
        let adapter = plan.tensors_written(model).into_iter().collect();
        let mut merge = Self { pretrained, plan, adapter, tensors: BTreeMap::new(), types, untied: false };
        let changed = merge.changed()?;
        merge.tensors = merge.all(changed);
        Ok(merge)
    }

    /// The output layer of the base is tied to its word embeddings, and of these tensors it is not: the adapter is on one of
    /// both. `config.json` has to say so.
    pub fn unties(&self) -> bool {
        self.untied
    }

    /// The tensors in the files of the base, those that it does not have in the last of them; with a `max_shard_size` in bytes in
    /// files of at most that size. The metadata of the files is the base's.
    pub fn layout(&self, max_shard_size: Option<usize>) -> Result<ShardLayout, Error> {
        let mut headers = Vec::with_capacity(self.tensors.len());
        for (name, source) in &self.tensors {
            headers.push(self.header(name, source)?);
        }
        let place = |name: &str| {
            let near = self.pretrained.stored(name).or_else(|| self.pretrained.stored(self.pretrained.twin(name)?));
            near.map(|(_, _, entry)| entry)
        };
        Ok(self.pretrained.layout(headers, max_shard_size, place))
    }

    /// Writes the checkpoint into a directory.
    ///
    /// # Errors
    /// A tensor of the base has a value that is no finite number; a merged one does not fit its type; files that cannot be read or
    /// written.
    pub fn write(&self, layout: &ShardLayout, directory: &Path) -> Result<(), Error> {
        layout.write(directory, |tensor, file| self.write_tensor(tensor, file))
    }

    pub(crate) fn pretrained(&self) -> &'a Pretrained {
        self.pretrained
    }

    /// Whether the output layer is the word embeddings once more.
    pub(crate) fn ties_word_embeddings(&self) -> bool {
        self.pretrained.ties_word_embeddings() && !self.untied
    }

    /// The tensors by their names, with their shapes; those that hold no weights are left out.
    pub(crate) fn tensors(&self) -> Result<Vec<(&str, Vec<usize>)>, Error> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for (name, source) in &self.tensors {
            let header = self.header(name, source)?;
            if float(header.dtype).is_some() {
                tensors.push((name.as_str(), header.shape));
            }
        }
        Ok(tensors)
    }

    /// All values of one of the [tensors](Self::tensors) in f32.
    ///
    /// # Errors
    /// A value that is no finite number, or a file that cannot be read.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let source = &self.tensors[name];
        let mut all = Vec::with_capacity(shape.iter().product());
        self.values(name, source, shape, |values| {
            all.extend_from_slice(values);
            Ok(())
        })?;
        Ok(all)
    }

    /// What changes, by the names of the base.
    fn changed(&mut self) -> Result<BTreeMap<String, Source>, Error> {
        let (pretrained, plan) = (self.pretrained, self.plan);
        let mut changed: BTreeMap<String, Source> = BTreeMap::new();
        for replacement in plan.replacements() {
            changed.insert(plain(&replacement.name), Source::of_adapter(&replacement.name));
        }
        let words = pretrained.word_embeddings();
        let output = pretrained.output().map(|output| format!("{}.weight", output.module));
        let shared = pretrained.ties_word_embeddings().then_some(output).flatten();
        // An adapter may bring what is one tensor under the name of either end.
        if let Some(output) = &shared
            && let Some(source) = changed.remove(output)
        {
            changed.entry(words.clone()).or_insert(source);
        }
        let untied = shared.filter(|output| {
            let ends = [&words, output];
            let is_end = |weight: &str| ends.iter().any(|end| *end == weight);
            plan.updates().iter().any(|update| is_end(&update.weight()))
                || plan.parameters().iter().any(|parameter| parameter.part == Part::Module && is_end(&parameter.name))
        });
        if let Some(output) = &untied {
            let both = changed.get(&words).cloned();
            changed.insert(output.clone(), both.unwrap_or_else(|| Source::of_base(&words)));
        }
        self.untied = untied.is_some();
        for parameter in plan.parameters() {
            if matches!(parameter.part, Part::Module | Part::Bias) && self.adapter.contains_key(&parameter.name) {
                changed.insert(plain(&parameter.name), Source::of_adapter(&parameter.name));
            }
        }
        for (index, update) in plan.updates().iter().enumerate() {
            let weight = (Some(update.weight()), Side::Weight);
            let bias = (bias_of(pretrained, update), Side::Bias);
            for (name, side) in [weight, bias] {
                let Some(name) = name else { continue };
                if !changed.contains_key(&name) && pretrained.find(&name).is_none() {
                    return Err(MergeError::NoBase { tensor: name }.into());
                }
                changed.entry(name.clone()).or_insert_with(|| Source::of_base(&name)).folded.push((index, side));
            }
        }
        Ok(changed)
    }

    /// Every tensor of the base as it was or as it is changed, and those that the base does not have.
    fn all(&self, mut changed: BTreeMap<String, Source>) -> BTreeMap<String, Source> {
        let (pretrained, untied) = (self.pretrained, self.untied);
        // A tensor that the base has under two names, or is to have, is written twice.
        let words = pretrained.word_embeddings();
        for name in changed.keys().cloned().collect::<Vec<_>>() {
            let Some(twin) = pretrained.twin(&name) else { continue };
            let is_tie_of_words = name == words || twin == words;
            let there = pretrained.is_there(twin);
            let wanted = if is_tie_of_words { there && !untied } else { there || untied };
            if wanted && !changed.contains_key(twin) {
                changed.insert(twin.to_string(), changed[&name].clone());
            }
        }
        let mut names: BTreeSet<String> = pretrained.names().map(String::from).collect();
        if !pretrained.ties_word_embeddings() || untied {
            names.extend(pretrained.names().filter_map(|name| pretrained.bias_twin(name)).map(String::from));
        }
        for name in names {
            let start = match (pretrained.is_there(&name), pretrained.twin(&name)) {
                (false, Some(twin)) => Start::Base(twin.to_string()),
                _ => Start::Stored(name.clone()),
            };
            changed.entry(name).or_insert(Source { start, folded: Vec::new() });
        }
        changed
    }

    fn header(&self, name: &str, source: &Source) -> Result<TensorHeader, Error> {
        let (shape, of_start) = match &source.start {
            Start::Adapter(tensor) => (self.of_adapter(tensor)?.shape().to_vec(), None),
            start => {
                let (_, _, entry) = self.of_base(start)?;
                (entry.shape.clone(), Some(entry.dtype))
            }
        };
        let dtype = match (of_start, self.types) {
            // Masks and positions of old checkpoints are no weights.
            (Some(dtype), _) if float(dtype).is_none() && source.folded.is_empty() => {
                return Ok(TensorHeader { name: name.to_string(), dtype, shape });
            }
            (_, Types::All(dtype)) => dtype,
            (_, Types::Of(original)) => {
                let stored = original.stored(name).map(|(_, _, entry)| entry.dtype);
                stored.and_then(float).unwrap_or_else(|| original.dtype())
            }
            (Some(dtype), Types::Unrounded) if source.folded.is_empty() => float(dtype).unwrap_or(DType::F32),
            (_, Types::Unrounded) => DType::F32,
        };
        Ok(TensorHeader::new(name, dtype, &shape))
    }

    fn write_tensor(&self, tensor: &TensorHeader, file: &mut TensorWriter<'_>) -> Result<(), Error> {
        let source = &self.tensors[&tensor.name];
        if float(tensor.dtype).is_none() {
            let (checkpoint, _, entry) = self.of_base(&source.start)?;
            return checkpoint.bytewise(entry, |bytes| Ok(file.bytes(bytes)?));
        }
        // There may be values that are no numbers in tensors of other heads and in masks.
        let is_needed = !self.pretrained.ignores(&tensor.name);
        self.values(&tensor.name, source, &tensor.shape, |values| {
            if is_needed && !values.iter().all(|value| fits(*value, tensor.dtype)) {
                let (tensor, dtype) = (tensor.name.clone(), format!("{:?}", tensor.dtype));
                return Err(MergeError::Range { tensor, dtype }.into());
            }
            Ok(file.values(values)?)
        })
    }

    /// The values of a merged tensor in f32, some rows at a time.
    fn values(
        &self,
        name: &str,
        source: &Source,
        shape: &[usize],
        mut each: impl FnMut(&[f32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let columns = if source.folded.iter().any(|(_, side)| matches!(side, Side::Bias)) { 1 } else { width(shape) };
        let mut folds: Vec<Box<dyn Fold>> = Vec::with_capacity(source.folded.len());
        for (index, side) in &source.folded {
            let update = &self.plan.updates()[*index];
            let fold = match side {
                Side::Weight => update.form.fold(&self.adapter),
                Side::Bias => update.form.fold_bias(&self.adapter),
            };
            let mut fold = fold.ok_or_else(|| wrong(format!("has an update of `{name}` without its tensors")))?;
            if fold.looks_first() {
                for panel in panels(shape) {
                    let first = panel.start / columns;
                    let mut rows = self.start(source, panel)?;
                    folds.iter().for_each(|before| before.apply(first, columns, &mut rows));
                    fold.look(first, columns, &rows);
                }
            }
            folds.push(fold);
        }
        for panel in panels(shape) {
            let first = panel.start / columns;
            let mut rows = self.start(source, panel)?;
            self.check_finite(name, source, &rows)?;
            folds.iter().for_each(|fold| fold.apply(first, columns, &mut rows));
            each(&rows)?;
        }
        Ok(())
    }

    /// Some values that a merged tensor starts from.
    fn start(&self, source: &Source, values: Range<usize>) -> Result<Vec<f32>, Error> {
        match &source.start {
            Start::Adapter(tensor) => {
                let all = self.of_adapter(tensor)?.as_slice::<f32>().ok().and_then(|all| all.get(values));
                all.map(<[f32]>::to_vec).ok_or_else(|| wrong(format!("has nothing of `{tensor}` of the adapter")))
            }
            start => {
                let (checkpoint, stored, entry) = self.of_base(start)?;
                checkpoint.dtype(stored, entry)?;
                Ok(checkpoint.values(entry, values)?.unwrap_or_default())
            }
        }
    }

    /// Of the tensors that the model needs.
    fn check_finite(&self, name: &str, source: &Source, values: &[f32]) -> Result<(), Error> {
        if self.pretrained.ignores(name) || values.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        match &source.start {
            Start::Adapter(tensor) => Err(wrong(format!("has a value of `{tensor}` that is not a finite number"))),
            start => {
                let (checkpoint, stored, entry) = self.of_base(start)?;
                let (file, tensor) = (checkpoint.file(entry).to_path_buf(), stored.to_string());
                Err(CheckpointError::NotFinite { file, tensor }.into())
            }
        }
    }

    fn of_adapter(&self, tensor: &str) -> Result<&TensorData, Error> {
        self.adapter.get(tensor).ok_or_else(|| wrong(format!("has nothing of `{tensor}` of the adapter")))
    }

    fn of_base(&self, start: &Start) -> Result<(&Checkpoint, &str, &Entry), Error> {
        let (name, found) = match start {
            Start::Base(name) | Start::Adapter(name) => (name, self.pretrained.find(name)),
            Start::Stored(name) => (name, self.pretrained.stored(name)),
        };
        found.ok_or_else(|| MergeError::NoBase { tensor: name.clone() }.into())
    }
}

impl Source {
    fn of_base(name: &str) -> Self {
        Self { start: Start::Base(name.to_string()), folded: Vec::new() }
    }

    fn of_adapter(name: &str) -> Self {
        Self { start: Start::Adapter(name.to_string()), folded: Vec::new() }
    }
}

/// The bias that changes with the weight of an updated module, by its name in the base.
fn bias_of(pretrained: &Pretrained, update: &Update) -> Option<String> {
    let output = pretrained.output().filter(|output| output.module == update.module);
    let owner = output.and_then(|output| output.bias_of).unwrap_or(&update.module);
    Some(format!("{owner}.bias")).filter(|bias| update.form.changes_bias() && pretrained.find(bias).is_some())
}

/// The name in the base of a tensor that an adapter has beside its factors.
fn plain(name: &str) -> String {
    name.replace(".base_layer.", ".")
}

/// Values in a row.
fn width(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1).max(1)
}

/// Whether a value is finite once it is rounded to a type.
fn fits(value: f32, dtype: Dtype) -> bool {
    match dtype {
        Dtype::F16 => f16::from_f32(value).is_finite(),
        Dtype::BF16 => half::bf16::from_f32(value).is_finite(),
        _ => value.is_finite(),
    }
}

//! Folding an adapter into the weights of its base. Merged in f32 from the checkpoint as it is stored, and rounded once; then
//! the files are read again and compared.

mod verify;

use std::collections::{BTreeSet, HashMap};

use burn::tensor::{DType, TensorData};
use lora::{Part, Plan, Update};
use safetensors::Dtype;

use crate::Error;
use crate::Model;
use crate::checkpoint::OutputTensor;
use crate::pretrained::Pretrained;

use verify::wrong;
pub use verify::{MergeError, verify_merged};

/// A checkpoint with an adapter folded in.
#[derive(Debug)]
pub struct Merged {
    /// In the order of their names, which are those that Transformers gives them.
    pub tensors: Vec<OutputTensor>,
    /// The output layer of the base is tied to its word embeddings, and of these tensors it is not: the adapter is on one of
    /// both. `config.json` has to say so.
    pub untied: bool,
}

/// The tensors of the base, all of them, with the adapter that `plan` loaded into `model` folded in.
///
/// `dtype` is what changed tensors are rounded to; unchanged ones keep their stored type unless it is given.
pub fn merged_tensors(
    pretrained: &Pretrained,
    plan: &Plan,
    model: &Model,
    dtype: Option<DType>,
) -> Result<Merged, Error> {
    let target = dtype.unwrap_or_else(|| base_dtype(pretrained));
    let trained: HashMap<String, TensorData> = plan.tensors_written(model).into_iter().collect();
    let mut changed: HashMap<String, TensorData> = HashMap::new();
    for replacement in plan.replacements() {
        changed.insert(plain(&replacement.name), replacement.data());
    }
    let words = pretrained.word_embeddings();
    let output = pretrained.output().map(|output| format!("{}.weight", output.module));
    let shared = pretrained.ties_word_embeddings().then_some(output).flatten();
    // An adapter may bring what is one tensor under the name of either end.
    if let Some(output) = &shared
        && let Some(data) = changed.remove(output)
    {
        changed.entry(words.clone()).or_insert(data);
    }
    let untied = shared.filter(|output| {
        let ends = [&words, output];
        let is_end = |weight: &str| ends.iter().any(|end| *end == weight);
        plan.updates().iter().any(|update| is_end(&update.weight()))
            || plan.parameters().iter().any(|parameter| parameter.part == Part::Module && is_end(&parameter.name))
    });
    if let Some(output) = &untied {
        let both = match changed.get(&words) {
            Some(data) => data.clone(),
            None => wide(pretrained, &words)?,
        };
        changed.insert(output.clone(), both);
    }
    for parameter in plan.parameters() {
        if matches!(parameter.part, Part::Module | Part::Bias)
            && let Some(value) = trained.get(&parameter.name)
        {
            changed.insert(plain(&parameter.name), value.clone());
        }
    }
    for update in plan.updates() {
        let name = update.weight();
        let weight = match changed.remove(&name) {
            Some(data) => data,
            None => wide(pretrained, &name)?,
        };
        let merged = update.merged(weight, &trained).ok_or_else(|| lacks_tensors(&name))?;
        changed.insert(name, merged);
        let Some(bias) = bias_of(pretrained, update) else { continue };
        let of_base = match changed.remove(&bias) {
            Some(data) => data,
            None => wide(pretrained, &bias)?,
        };
        let merged = update.merged_bias(of_base, &trained).ok_or_else(|| lacks_tensors(&bias))?;
        changed.insert(bias, merged);
    }
    let tensors = written(pretrained, changed, untied.is_some(), (dtype, target))?;
    Ok(Merged { tensors, untied: untied.is_some() })
}

fn lacks_tensors(name: &str) -> Error {
    wrong(format!("has an update of `{name}` without its tensors"))
}

/// The bias that changes with the weight of an updated module, by its name in the base.
fn bias_of(pretrained: &Pretrained, update: &Update) -> Option<String> {
    let output = pretrained.output().filter(|output| output.module == update.module);
    let owner = output.and_then(|output| output.bias_of).unwrap_or(&update.module);
    Some(format!("{owner}.bias")).filter(|bias| update.changes_bias() && pretrained.find(bias).is_some())
}

/// Every tensor of the base as it was or as it was changed, and those that the base does not have.
fn written(
    pretrained: &Pretrained,
    mut changed: HashMap<String, TensorData>,
    untied: bool,
    (dtype, target): (Option<DType>, DType),
) -> Result<Vec<OutputTensor>, Error> {
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
    names.extend(changed.keys().cloned());
    if !pretrained.ties_word_embeddings() || untied {
        names.extend(pretrained.names().filter_map(|name| pretrained.bias_twin(name)).map(String::from));
    }
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        tensors.push(match (changed.remove(&name), pretrained.stored(&name)) {
            (Some(data), _) => OutputTensor::rounded(name, data, target),
            (None, Some((checkpoint, entry))) => {
                // Masks and positions of old checkpoints are no weights.
                let is_other = |dtype: DType| float(entry.dtype).is_some_and(|stored| stored != dtype);
                match dtype.filter(|dtype| is_other(*dtype)).map(|_| checkpoint.wide(entry)).transpose()?.flatten() {
                    Some(values) => OutputTensor::rounded(name, TensorData::new(values, entry.shape.clone()), target),
                    None => OutputTensor::stored(name, entry.dtype, entry.shape.clone(), checkpoint.bytes(entry)),
                }
            }
            (None, None) => {
                let twin =
                    pretrained.twin(&name).expect("what the base does not have is changed or a second time there");
                OutputTensor::rounded(name.clone(), wide(pretrained, twin)?, target)
            }
        });
    }
    Ok(tensors)
}

/// Of a checkpoint that mixes types the words' is the one meant: norms are often kept wider.
fn base_dtype(pretrained: &Pretrained) -> DType {
    pretrained.find(&pretrained.word_embeddings()).and_then(|(_, _, entry)| float(entry.dtype)).unwrap_or(DType::F32)
}

/// The name in the base of a tensor that an adapter has beside its factors.
fn plain(name: &str) -> String {
    name.replace(".base_layer.", ".")
}

fn wide(pretrained: &Pretrained, name: &str) -> Result<TensorData, Error> {
    let (checkpoint, stored, entry) =
        pretrained.find(name).ok_or_else(|| MergeError::NoBase { tensor: name.into() })?;
    checkpoint.dtype(stored, entry)?;
    let values = checkpoint.wide(entry)?.unwrap_or_default();
    Ok(TensorData::new(values, entry.shape.clone()))
}

fn float(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

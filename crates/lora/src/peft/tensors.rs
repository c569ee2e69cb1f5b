//! `adapter_model.safetensors`: names, shapes and values.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use indexmap::IndexMap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};

use super::TENSOR_FILE;
use crate::nearest;

/// What is wrong with a safetensors file, in the words of one who has the file but not the crate's source.
pub fn damage(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::HeaderTooSmall => "it is too short for a header".to_string(),
        SafeTensorError::HeaderTooLarge => "it claims a header of more than 100 MB".to_string(),
        SafeTensorError::InvalidHeaderLength => "it ends within its header".to_string(),
        SafeTensorError::InvalidHeader(_) => "its header is not valid UTF-8".to_string(),
        SafeTensorError::InvalidHeaderDeserialization(source) | SafeTensorError::JsonError(source) => {
            format!("its header is no list of tensors ({source})")
        }
        SafeTensorError::InvalidOffset(name) => {
            format!("the tensor `{name}` overlaps another or leaves a gap before it")
        }
        SafeTensorError::TensorInvalidInfo | SafeTensorError::ValidationOverflow => {
            "the shape of a tensor is not that of its bytes".to_string()
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            "the tensors of its header do not end where the file ends".to_string()
        }
        other => other.to_string(),
    }
}

/// What PEFT puts before the name of a tensor in the model.
const PREFIX: &str = "base_model.model.";

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum TensorError {
    #[error("{} has no `{TENSOR_FILE}`", directory.display())]
    NoFile {
        directory: PathBuf,
        #[help]
        help: String,
    },
    #[error("cannot read {}", file.display())]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{} is not a valid safetensors file: {reason}", file.display())]
    #[diagnostic(help("the file is damaged or was cut short: copy it again"))]
    Damaged { file: PathBuf, reason: String },
    #[error("{}: tensor `{tensor}` is {dtype}", file.display())]
    #[diagnostic(help("adapters are read in F32, F16, BF16 and F64"))]
    Dtype { file: PathBuf, tensor: String, dtype: String },
    #[error("{}: `{tensor}` has {found:?}, the model asks for {expected:?}", file.display())]
    #[diagnostic(help("the adapter was made for another model, or for another number of labels or tokens"))]
    Shape { file: PathBuf, tensor: String, found: Vec<usize>, expected: Vec<usize> },
    #[error("{}: `{tensor}` has rank {found}, adapter_config.json says {expected}", file.display())]
    #[diagnostic(help(
        "the configuration and the tensors belong to different adapters: correct `r` or `rank_pattern`"
    ))]
    Rank { file: PathBuf, tensor: String, found: usize, expected: usize },
    #[error("{}: `{tensor}` has {found:?}, expected {expected}", file.display())]
    #[diagnostic(help("the file is not as PEFT wrote it: copy the adapter again, or save it again without sharding"))]
    Factor { file: PathBuf, tensor: String, found: Vec<usize>, expected: String },
    #[error("{}: `{tensor}` has a value that is not a finite number", file.display())]
    #[diagnostic(help("training went wrong, or the file is damaged: copy the adapter again, or train it again"))]
    NotFinite { file: PathBuf, tensor: String },
    #[error("{}: `{first}` and `{second}` differ, and to this model they are one tensor", file.display())]
    #[diagnostic(help(
        "the output layer of the model is tied to its word embeddings, that of the model the adapter was trained on was not: give that one"
    ))]
    NotTied { file: PathBuf, first: String, second: String },
    #[error("{} does not fit the model:{}{}", file.display(), list("missing", missing), list("not used by the model", unexpected))]
    Mismatch {
        file: PathBuf,
        missing: Vec<String>,
        unexpected: Vec<String>,
        #[help]
        help: String,
    },
}

fn list(title: &str, names: &[String]) -> String {
    const SHOWN: usize = 8;
    if names.is_empty() {
        return String::new();
    }
    let mut text = format!("\n  {title}:");
    for name in names.iter().take(SHOWN) {
        text.push_str(&format!("\n    {name}"));
    }
    if names.len() > SHOWN {
        text.push_str(&format!("\n    ... and {} more", names.len() - SHOWN));
    }
    text
}

#[derive(Debug)]
struct Stored {
    shape: Vec<usize>,
    /// In the file.
    dtype: Dtype,
    values: Vec<f32>,
    used: bool,
}

/// The names of some tensors that are the same, their values in f32, and the type that the file has them in.
type Alike = (Vec<String>, Vec<f32>, DType);

/// The tensors of an adapter in f32, under their names in the model.
#[derive(Debug)]
pub struct AdapterTensors {
    file: PathBuf,
    tensors: IndexMap<String, Stored>,
    notes: Vec<String>,
}

impl AdapterTensors {
    /// Reads `adapter_model.safetensors` of a directory.
    pub fn read(directory: &Path) -> Result<Self, TensorError> {
        let file = directory.join(TENSOR_FILE);
        if !file.exists() {
            return Err(TensorError::NoFile { directory: directory.into(), help: without_file(directory) });
        }
        let bytes = std::fs::read(&file).map_err(|source| TensorError::Read { file: file.clone(), source })?;
        let tensors = SafeTensors::deserialize(&bytes)
            .map_err(|error| TensorError::Damaged { file: file.clone(), reason: damage(&error) })?;
        let mut stored: Vec<(String, Stored)> = Vec::new();
        for (name, view) in tensors.iter() {
            let values = to_f32(&view).ok_or_else(|| TensorError::Dtype {
                file: file.clone(),
                tensor: name.to_string(),
                dtype: format!("{:?}", view.dtype()),
            })?;
            let (shape, dtype) = (view.shape().to_vec(), view.dtype());
            stored.push((name.to_string(), Stored { shape, dtype, values, used: false }));
        }
        stored.sort_by(|left, right| left.0.cmp(&right.0));
        let mut notes = Vec::new();
        let tensors = Self { tensors: rename(stored, &mut notes), file, notes };
        tensors.check_factors()?;
        tensors.check_values()?;
        Ok(tensors)
    }

    /// The shapes of factors are checked before anything is made of them, for whoever looks at them without a model.
    fn check_factors(&self) -> Result<(), TensorError> {
        let wrong = |name: &str, found: &[usize], expected: String| {
            let (file, tensor) = (self.file.clone(), format!("{PREFIX}{name}"));
            Err(TensorError::Factor { file, tensor, found: found.to_vec(), expected })
        };
        for (name, stored) in &self.tensors {
            let Some(factor) = Factor::of(name) else { continue };
            let &[rows, columns] = stored.shape.as_slice() else {
                return wrong(name, &stored.shape, "a matrix".to_string());
            };
            if rows == 0 || columns == 0 {
                return wrong(name, &stored.shape, "a matrix that is not empty".to_string());
            }
            // A is as high as B is wide.
            if let Factor::B(a) = factor
                && let Some(of_a) = self.tensors.get(&a)
                && let Some(&rank) = of_a.shape.first()
                && rank != columns
            {
                return wrong(name, &stored.shape, format!("[{rows}, {rank}]: the rank of `{PREFIX}{a}` is {rank}"));
            }
        }
        Ok(())
    }

    fn check_values(&self) -> Result<(), TensorError> {
        match self.tensors.iter().find(|(_, stored)| !stored.values.iter().all(|value| value.is_finite())) {
            Some((name, _)) => {
                Err(TensorError::NotFinite { file: self.file.clone(), tensor: format!("{PREFIX}{name}") })
            }
            None => Ok(()),
        }
    }

    /// Adds what the user should know of the adapter.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored.shape.as_slice()))
    }

    /// The values of a tensor, for looking at them.
    pub fn values(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|stored| stored.values.as_slice())
    }

    /// Sets every B to zero: the adapter without its updates, heads and biases kept.
    pub fn clear_updates(&mut self) {
        for (name, stored) in &mut self.tensors {
            if name.contains(".lora_B.") || name.ends_with(".lora_embedding_A") {
                stored.values.fill(0.0);
            }
        }
    }

    /// An adapter of a bare backbone lacks the model's own prefix (`bert.`, `model.`): adds it if every adapted module
    /// lies below one of the `backbone`'s.
    pub fn add_prefix(&mut self, prefix: &str, backbone: &[&str]) {
        let bare = |name: &String| backbone.iter().any(|module| name.starts_with(module));
        let mut adapted = self.tensors.keys().filter(|name| name.contains(".lora_")).peekable();
        if adapted.peek().is_some() && adapted.all(bare) {
            self.tensors = std::mem::take(&mut self.tensors)
                .into_iter()
                .map(|(name, stored)| match bare(&name) {
                    true => (format!("{prefix}{name}"), stored),
                    false => (name, stored),
                })
                .collect();
            self.notes.push(format!("the adapter was trained on the bare backbone: added `{prefix}` to its names"));
        }
    }

    /// Takes the values of a tensor the model asks for. A tensor that is not there is reported by [`Self::finish`], with
    /// all others that are missing.
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>, TensorError> {
        // Files from before PEFT wrapped its layers have the bias of a target under its plain name.
        let old_name = name.replace(".base_layer.bias", ".bias");
        let key = if self.tensors.contains_key(name) { name } else { &old_name };
        let Some(stored) = self.tensors.get_mut(key) else { return Ok(None) };
        stored.used = true;
        if stored.shape == shape {
            return Ok(Some(std::mem::take(&mut stored.values)));
        }
        let (file, tensor, found) = (self.file.clone(), format!("{PREFIX}{name}"), stored.shape.clone());
        let rank_side = if name.contains(".lora_A.") || name.ends_with(".lora_embedding_A") { 0 } else { 1 };
        let differs_in_rank_alone =
            name.contains(".lora_") && found.len() == 2 && found[1 - rank_side] == shape[1 - rank_side];
        match differs_in_rank_alone {
            true => Err(TensorError::Rank { file, tensor, found: found[rank_side], expected: shape[rank_side] }),
            false => Err(TensorError::Shape { file, tensor, found, expected: shape.to_vec() }),
        }
    }

    /// Takes the values of all these tensors that there are, which must be the same.
    pub(crate) fn take_alike(&mut self, names: &[String], shape: &[usize]) -> Result<Option<Alike>, TensorError> {
        let mut alike: Option<Alike> = None;
        for name in names {
            // Asked first: taking it may find it under another name.
            let Some(dtype) = self.tensors.get(name).map(|stored| stored.dtype) else { continue };
            let Some(values) = self.take(name, shape)? else { continue };
            match &mut alike {
                None => {
                    let dtype = match dtype {
                        Dtype::F16 => DType::F16,
                        Dtype::BF16 => DType::BF16,
                        _ => DType::F32,
                    };
                    alike = Some((vec![name.clone()], values, dtype));
                }
                Some((found, first, _)) if *first == values => found.push(name.clone()),
                Some((found, ..)) => {
                    let [first, second] = [&found[0], name].map(|name| format!("{PREFIX}{name}"));
                    return Err(TensorError::NotTied { file: self.file.clone(), first, second });
                }
            }
        }
        Ok(alike)
    }

    /// Every expected tensor was there and every tensor was used.
    pub(crate) fn finish<'a>(&mut self, expected: impl Iterator<Item = &'a str>) -> Result<(), TensorError> {
        let used: Vec<&str> = self.tensors.iter().filter(|(_, s)| s.used).map(|(name, _)| name.as_str()).collect();
        let expected: Vec<&str> = expected.collect();
        let mut missing: Vec<&str> = expected
            .iter()
            .filter(|name| !used.contains(name) && !used.contains(&name.replace(".base_layer.bias", ".bias").as_str()))
            .copied()
            .collect();
        let unexpected: Vec<&str> =
            self.tensors.iter().filter(|(_, s)| !s.used).map(|(name, _)| name.as_str()).collect();
        // Releases of PEFT before 0.21 lost these (peft #3490): the base's biases stand in for them.
        let biases_lost = !missing.is_empty()
            && missing.iter().all(|name| name.ends_with(".base_layer.bias"))
            && !self.tensors.keys().any(|name| name.ends_with(".base_layer.bias"));
        if biases_lost {
            missing.clear();
            self.notes.push("the biases this adapter trained were not saved by the PEFT that wrote it".to_string());
        }
        if missing.is_empty() && unexpected.is_empty() {
            return Ok(());
        }
        let near = unexpected.first().and_then(|name| Some((name, nearest(name, missing.iter().copied())?)));
        let help = match near {
            Some((name, near)) => format!("`{name}` may be meant to be `{near}`: copy the adapter again, or rename it"),
            None => {
                "the adapter was made for another model or with other settings than its adapter_config.json says".into()
            }
        };
        let full = |names: &[&str]| names.iter().map(|name| format!("{PREFIX}{name}")).collect();
        Err(TensorError::Mismatch {
            file: self.file.clone(),
            missing: full(&missing),
            unexpected: full(&unexpected),
            help,
        })
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// A factor of a low-rank update, by its name; B with the name of its A.
enum Factor {
    A,
    B(String),
}

impl Factor {
    fn of(name: &str) -> Option<Self> {
        // Of an embedding A and B lie as of a linear layer: [rank, rows] and [width, rank].
        let b = |end: &str, a: &str| name.strip_suffix(end).map(|module| Self::B(format!("{module}{a}")));
        b(".lora_B.weight", ".lora_A.weight")
            .or_else(|| b(".lora_embedding_B", ".lora_embedding_A"))
            .or_else(|| (name.ends_with(".lora_A.weight") || name.ends_with(".lora_embedding_A")).then_some(Self::A))
    }
}

fn without_file(directory: &Path) -> String {
    if directory.join("adapter_model.bin").exists() {
        return "adapter_model.bin is a Python pickle, which can run any code when it is read, so kindling does not: load \
                it in Python with PeftModel.from_pretrained(base, DIR) and save it again with model.save_pretrained(DIR)"
            .to_string();
    }
    "an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it"
        .into()
}

/// Names in the model for names in the file.
fn rename(stored: Vec<(String, Stored)>, notes: &mut Vec<String>) -> IndexMap<String, Stored> {
    let mut tensors = IndexMap::new();
    let (mut unprefixed, mut wrapped) = (false, false);
    let mut copies = Vec::new();
    for (full, tensor) in stored {
        let cleaned = full.replace("_orig_mod.", "").replace("_fsdp_wrapped_module.", "");
        wrapped |= cleaned != full;
        let name = match cleaned.strip_prefix(PREFIX) {
            Some(name) => name.to_string(),
            None => {
                unprefixed = true;
                cleaned
            }
        };
        if name.contains(".original_module.") {
            continue;
        }
        if name.contains(".modules_to_save.") {
            copies.push((plain_module_name(&name), tensor));
            continue;
        }
        tensors.insert(without_adapter_name(&name), tensor);
    }
    for (name, tensor) in copies {
        tensors.entry(name).or_insert(tensor);
    }
    if wrapped {
        notes.push("removed the wrappers of torch.compile or FSDP from the adapter's tensor names".to_string());
    }
    if unprefixed {
        notes.push(format!("added `{PREFIX}` to tensor names that lack it"));
    }
    tensors
}

/// `H.modules_to_save.weight` and `H.modules_to_save.default.weight` are `H.weight`.
fn plain_module_name(name: &str) -> String {
    let (module, parameter) = name.split_once(".modules_to_save.").unwrap_or((name, ""));
    let parameter = parameter.strip_prefix("default.").unwrap_or(parameter);
    format!("{module}.{parameter}")
}

/// `M.lora_A.default.weight` is `M.lora_A.weight`; `lora_magnitude_vector.weight` is left for the check of all names.
fn without_adapter_name(name: &str) -> String {
    for factor in [".lora_A.", ".lora_B."] {
        if let Some((module, rest)) = name.split_once(factor)
            && let Some((_, parameter)) = rest.split_once('.')
        {
            return format!("{module}{factor}{parameter}");
        }
    }
    name.to_string()
}

fn to_f32(view: &TensorView<'_>) -> Option<Vec<f32>> {
    let data = view.data();
    Some(match view.dtype() {
        Dtype::F32 => data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        Dtype::F64 => data.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes) as f32).collect(),
        Dtype::F16 => data.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks().0.iter().map(|bytes| half::bf16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => return None,
    })
}

/// The file PEFT would write for these tensors, given under their names in the model. Sorted, so that the same adapter is
/// the same bytes.
pub fn to_bytes(tensors: &[(String, TensorData)]) -> Result<Vec<u8>, SafeTensorError> {
    let mut views = Vec::with_capacity(tensors.len());
    for (name, data) in tensors {
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes())?;
        views.push((format!("{PREFIX}{name}"), view));
    }
    views.sort_by(|left, right| left.0.cmp(&right.0));
    safetensors::serialize(views, Some(HashMap::from([("format".to_string(), "pt".to_string())])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(tensors: &[(&str, &[usize])]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let zeros = vec![0_u8; 4096];
        let views = tensors.iter().map(|(name, shape)| {
            let bytes = shape.iter().product::<usize>() * 4;
            (name.to_string(), TensorView::new(Dtype::F32, shape.to_vec(), &zeros[..bytes]).unwrap())
        });
        std::fs::write(directory.path().join(TENSOR_FILE), safetensors::serialize(views, None).unwrap()).unwrap();
        directory
    }

    fn names(tensors: &AdapterTensors) -> Vec<&str> {
        tensors.names().map(|(name, _)| name).collect()
    }

    #[test]
    fn names_of_wrapped_and_hand_made_files_become_those_of_the_model() {
        let files = directory(&[
            ("base_model.model.a.query.lora_A.default.weight", &[2, 3]),
            ("base_model.model._orig_mod.a.query.lora_B.weight", &[4, 2]),
            ("base_model.model.classifier.original_module.bias", &[2]),
            ("base_model.model.classifier.modules_to_save.bias", &[2]),
            ("classifier.weight", &[2, 4]),
        ]);
        let tensors = AdapterTensors::read(files.path()).unwrap();
        let mut names = names(&tensors);
        names.sort_unstable();
        assert_eq!(names, ["a.query.lora_A.weight", "a.query.lora_B.weight", "classifier.bias", "classifier.weight"]);
        assert_eq!(tensors.notes().len(), 2);
    }

    #[test]
    fn a_tensor_left_over_and_one_missing_are_one_error_that_names_both() {
        let files = directory(&[("base_model.model.a.qurey.lora_A.weight", &[2, 3])]);
        let mut tensors = AdapterTensors::read(files.path()).unwrap();
        let error = tensors.finish(["a.query.lora_A.weight"].into_iter()).unwrap_err();
        let message = error.to_string();
        assert!(
            message.ends_with(
                "does not fit the model:\n  missing:\n    base_model.model.a.query.lora_A.weight\n  \
             not used by the model:\n    base_model.model.a.qurey.lora_A.weight"
            ),
            "{message}"
        );
    }

    #[test]
    fn another_rank_is_told_apart_from_another_shape() {
        let files =
            directory(&[("base_model.model.q.lora_A.weight", &[4, 3]), ("base_model.model.q.lora_B.weight", &[5, 4])]);
        let mut tensors = AdapterTensors::read(files.path()).unwrap();
        assert!(matches!(
            tensors.take("q.lora_A.weight", &[8, 3]),
            Err(TensorError::Rank { found: 4, expected: 8, .. })
        ));
        assert!(matches!(
            tensors.take("q.lora_B.weight", &[5, 8]),
            Err(TensorError::Rank { found: 4, expected: 8, .. })
        ));
        assert!(matches!(tensors.take("q.lora_A.weight", &[4, 7]), Err(TensorError::Shape { .. })));
    }

    #[test]
    fn what_is_written_is_read_again_sorted_and_with_pefts_prefix() {
        let data = |values: Vec<f32>| TensorData::new(values, [2]);
        let tensors = [("b.bias".to_string(), data(vec![1.0, 2.0])), ("a.bias".to_string(), data(vec![3.0, 4.0]))];
        let bytes = to_bytes(&tensors).unwrap();
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            read.tensor("base_model.model.a.bias").unwrap().data(),
            [3.0_f32.to_le_bytes(), 4.0_f32.to_le_bytes()].concat()
        );
        let reversed = [tensors[1].clone(), tensors[0].clone()];
        assert_eq!(bytes, to_bytes(&reversed).unwrap());
    }
}

//! The tensors of an adapter: names, shapes and values.

mod error;
mod names;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, TensorData};
use indexmap::IndexMap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use suggest::nearest_module;

use crate::files::Pickle;
use crate::methods::{FOREIGN, Foreign};
use crate::peft::PREFIX;
use crate::{Layout, Method, TakenApart, Update};

pub use error::{TensorError, damage};

#[derive(Debug)]
struct Stored {
    /// Where it stands.
    file: Arc<Path>,
    shape: Vec<usize>,
    /// In the file.
    dtype: Dtype,
    values: Vec<f32>,
    used: bool,
    /// It is there, and yet the model is to begin with it as if it were new.
    starts_anew: bool,
}

/// The names of some tensors that are the same, their values in f32, and the type that the file has them in.
type Alike = (Vec<String>, Vec<f32>, DType);

/// The tensors of an adapter in f32, under their names in the model.
#[derive(Debug)]
pub struct AdapterTensors {
    /// Of the adapter's own tensors.
    file: PathBuf,
    /// Knows which of them are its own.
    method: Method,
    tensors: IndexMap<String, Stored>,
    notes: Vec<String>,
    /// Whose files they are, if they are in another program's than the method has.
    program: Option<&'static str>,
}

impl AdapterTensors {
    /// Reads the tensors of an adapter of this method from the files of a directory, or what another program has in their place.
    pub fn read(directory: &Path, method: &Method) -> Result<Self, TensorError> {
        let layout = method.layout();
        let there = |name: &str| Some(directory.join(name)).filter(|file| file.exists());
        let foreign = || FOREIGN.iter().find_map(|foreign| Some((there(foreign.tensor_file)?, Some(foreign))));
        let found = there(layout.tensor_file).map(|own| (own, None)).or_else(foreign);
        let (file, foreign) = found.ok_or_else(|| without_file(directory, layout))?;
        let mut stored = read_file(&file)?;
        if let Some(foreign) = foreign {
            stored = stored.into_iter().map(|tensor| as_in_peft(foreign, tensor)).collect();
        }
        let beside = layout.beside.as_ref().and_then(|beside| there(beside.tensor_file));
        if let Some(beside) = beside {
            stored.extend(read_file(&beside)?);
        }
        stored.sort_by(|left, right| left.0.cmp(&right.0));
        let mut notes = Vec::new();
        let tensors = names::rename(stored, method, &mut notes);
        let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
        let method = method.of_tensors(&names).unwrap_or_else(|| method.clone());
        let tensors = Self { tensors, file, method, notes, program: foreign.map(|foreign| foreign.program) };
        tensors.check_shapes()?;
        tensors.check_values()?;
        Ok(tensors)
    }

    /// The shapes of the method's own tensors are checked before anything is made of them, for whoever looks at them without
    /// a model.
    fn check_shapes(&self) -> Result<(), TensorError> {
        let shape_of = |name: &str| self.tensors.get(name).map(|stored| stored.shape.clone());
        for (name, stored) in &self.tensors {
            if let Some(expected) = self.method.wrong_shape(name, &stored.shape, &shape_of) {
                let (file, tensor, found) = (stored.file.to_path_buf(), self.full(name), stored.shape.clone());
                return Err(TensorError::Factor { file, tensor, found, expected });
            }
        }
        Ok(())
    }

    fn check_values(&self) -> Result<(), TensorError> {
        match self.tensors.iter().find(|(_, stored)| !stored.values.iter().all(|value| value.is_finite())) {
            Some((name, stored)) => {
                Err(TensorError::NotFinite { file: stored.file.to_path_buf(), tensor: self.full(name) })
            }
            None => Ok(()),
        }
    }

    /// The method with what the names of the tensors say of it and its configuration does not.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The name in the file.
    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.method.layout().prefix)
    }

    /// Adds what the user should know of the adapter.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// The program that the files are of, which alone reads them, if they are not those that the method has.
    pub(crate) fn program(&self) -> Option<&'static str> {
        self.program
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The files that they were read from.
    pub fn files(&self) -> Vec<&Path> {
        let mut files: Vec<&Path> = self.tensors.values().map(|stored| &*stored.file).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    pub fn names(&self) -> impl Iterator<Item = (&str, &[usize])> {
        self.tensors.iter().map(|(name, stored)| (name.as_str(), stored.shape.as_slice()))
    }

    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// The values of a tensor, for looking at them.
    pub fn values(&self, name: &str) -> Option<&[f32]> {
        self.tensors.get(name).map(|stored| stored.values.as_slice())
    }

    /// What is not the method's own and stands in place of the base's: heads, biases, embeddings; by their names in the base.
    pub fn replacing(&self) -> impl Iterator<Item = (String, &[f32])> {
        let others = self.tensors.iter().filter(|(name, _)| self.method.module_of(name).is_none());
        others.map(|(name, stored)| (name.replace(".base_layer.", "."), stored.values.as_slice()))
    }

    /// The adapter without its updates, heads and biases kept: what is the method's own becomes what it is before the first
    /// step, which leaves the model as its base.
    pub fn clear_updates(&mut self) {
        for (name, stored) in &mut self.tensors {
            stored.starts_anew = self.method.module_of(name).is_some();
        }
    }

    /// The updates that its tensors make, from the file alone; layer 2 before layer 10.
    pub fn updates(&self) -> Vec<Update> {
        let mut updates: Vec<Update> =
            self.names().filter_map(|(name, shape)| self.method.update(name, shape)).collect();
        updates.sort_by(|left, right| names::by_number(&left.module, &right.module));
        updates
    }

    /// The values of the tensors that make its updates.
    pub fn data(&self) -> HashMap<String, TensorData> {
        let own = self.tensors.iter().filter(|(name, _)| self.method.module_of(name).is_some());
        own.map(|(name, it)| (name.clone(), TensorData::new(it.values.clone(), it.shape.clone()))).collect()
    }

    /// Puts what `change` makes of the method's own tensors in their places, those of an adapter of this method.
    pub(crate) fn replace_own(
        &mut self,
        method: Method,
        change: impl FnOnce(Vec<(String, TensorData)>) -> Vec<(String, TensorData)>,
    ) {
        let file: Arc<Path> = self.file.as_path().into();
        for (name, data) in change(self.data().into_iter().collect()) {
            let (shape, values) = (data.shape().to_vec(), data.iter::<f32>().collect());
            let stored =
                Stored { file: file.clone(), shape, dtype: Dtype::F32, values, used: false, starts_anew: false };
            self.tensors.insert(name, stored);
        }
        self.method = method;
    }

    /// Of a finished adapter of this method that was trained on what its start had left of the base: its own tensors become those that
    /// were trained. The method that they are of, and what was taken out of the base, by the names of the tensors that started with it;
    /// `None` for a method that never leaves less than all of it.
    pub fn take_apart(&mut self, method: &Method) -> Option<(Method, HashMap<String, TensorData>)> {
        let TakenApart { method, tensors, starts } = method.taken_apart(self.data().into_iter().collect())?;
        self.replace_own(method.clone(), |_| tensors);
        Some((method, starts))
    }

    /// An adapter of a bare backbone lacks the model's own prefix (`bert.`, `model.`): adds it if every adapted module
    /// lies below one of the `backbone`'s.
    pub fn add_prefix(&mut self, prefix: &str, backbone: &[&str]) {
        let bare = |name: &String| backbone.iter().any(|module| name.starts_with(module));
        let mut adapted = self.tensors.keys().filter(|name| self.method.module_of(name).is_some()).peekable();
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
        if stored.starts_anew {
            return Ok(None);
        }
        if stored.shape == shape {
            return Ok(Some(std::mem::take(&mut stored.values)));
        }
        let (file, found) = (stored.file.to_path_buf(), stored.shape.clone());
        let tensor = self.full(name);
        let rank = self.method.rank_side(name).filter(|side| {
            // All sides but that one are as they should be.
            found.len() == shape.len() && (0..shape.len()).all(|it| it == *side || found[it] == shape[it])
        });
        match rank {
            Some(side) => Err(TensorError::Rank { file, tensor, found: found[side], expected: shape[side] }),
            None => Err(TensorError::Shape { file, tensor, found, expected: shape.to_vec() }),
        }
    }

    /// Whether there is no such tensor of an adapter.
    pub(crate) fn lacks(&self, name: &str) -> bool {
        !self.tensors.contains_key(name)
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
                    let [first, second] = [&found[0], name].map(|name| self.full(name));
                    return Err(TensorError::NotTied { file: self.file.clone(), first, second });
                }
            }
        }
        Ok(alike)
    }

    /// Every expected tensor was there and every tensor was used.
    pub(crate) fn finish<'a>(&mut self, expected: impl Iterator<Item = &'a str>) -> Result<(), TensorError> {
        // Of experts there are tens of thousands.
        let used: HashSet<&str> = self.tensors.iter().filter(|(_, s)| s.used).map(|(name, _)| name.as_str()).collect();
        let expected: Vec<&str> = expected.collect();
        let mut missing: Vec<&str> = expected
            .iter()
            .filter(|name| !used.contains(*name) && !used.contains(name.replace(".base_layer.bias", ".bias").as_str()))
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
        let near = unexpected.first().and_then(|name| Some((name, nearest_module(name, missing.iter().copied())?)));
        let joined = |name: &&&str| name.contains(".experts.lora_") || name.contains(".experts.base_layer.lora_");
        let help = match near {
            _ if let Some(name) = unexpected.iter().find(joined) => format!(
                "`{name}` is of all experts of a layer: PEFT joins them where it trains with Transformers 5, and kindling reads adapters \
                 that have tensors for each expert, as with Transformers 4; merge this one in Python, with merge_and_unload"
            ),
            Some((name, near)) => format!("`{name}` may be meant to be `{near}`: copy the adapter again, or rename it"),
            None => {
                "the adapter was made for another model or with other settings than its adapter_config.json says".into()
            }
        };
        let full = |names: &[&str]| names.iter().map(|name| self.full(name)).collect();
        Err(TensorError::Mismatch {
            file: self.file.clone(),
            missing: full(&missing),
            unexpected: full(&unexpected),
            help,
        })
    }

    /// What the user should know of the adapter.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

fn without_file(directory: &Path, layout: &Layout) -> TensorError {
    let Pickle { file: pickle, again } = layout.pickle;
    let help = match directory.join(pickle).exists() {
        true => format!(
            "{pickle} is a Python pickle, which can run any code when it is read, so kindling does not: {again}"
        ),
        false => layout.described.to_string(),
    };
    TensorError::NoFile { directory: directory.into(), file: layout.tensor_file, help }
}

fn read_file(file: &Path) -> Result<Vec<(String, Stored)>, TensorError> {
    let bytes = crate::read_regular(file).map_err(|source| TensorError::Read { file: file.into(), source })?;
    let tensors = SafeTensors::deserialize(&bytes)
        .map_err(|error| TensorError::Damaged { file: file.into(), reason: damage(&error) })?;
    let shared: Arc<Path> = file.into();
    let mut stored = Vec::new();
    for (name, view) in tensors.iter() {
        let values = to_f32(&view).ok_or_else(|| TensorError::Dtype {
            file: file.into(),
            tensor: name.to_string(),
            dtype: format!("{:?}", view.dtype()),
        })?;
        let (file, shape, dtype) = (shared.clone(), view.shape().to_vec(), view.dtype());
        stored.push((name.to_string(), Stored { file, shape, dtype, values, used: false, starts_anew: false }));
    }
    Ok(stored)
}

/// A tensor of another program as PEFT has it.
fn as_in_peft(foreign: &Foreign, (name, mut stored): (String, Stored)) -> (String, Stored) {
    let (name, is_turned) = (foreign.renamed)(&name);
    if let (true, &[rows, columns]) = (is_turned, stored.shape.as_slice()) {
        stored.values = (0..columns).flat_map(|it| stored.values.iter().skip(it).step_by(columns).copied()).collect();
        stored.shape = vec![columns, rows];
    }
    (name, stored)
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

/// The file of this layout for these tensors, given under their names in the model. Sorted, so that the
/// same adapter is the same bytes.
pub fn to_bytes<'a>(
    tensors: impl Iterator<Item = &'a (String, TensorData)>,
    layout: &Layout,
) -> Result<Vec<u8>, SafeTensorError> {
    let mut views = Vec::new();
    for (name, data) in tensors {
        let view = TensorView::new(Dtype::F32, data.shape().to_vec(), data.as_bytes())?;
        views.push((format!("{}{name}", layout.prefix), view));
    }
    views.sort_by(|left, right| left.0.cmp(&right.0));
    safetensors::serialize(views, Some(HashMap::from([("format".to_string(), "pt".to_string())])))
}

/// What [`to_bytes`] wrote as PEFT would: tensors of f32 under their names in the model.
pub fn from_bytes(bytes: &[u8]) -> Result<HashMap<String, TensorData>, SafeTensorError> {
    let tensors = SafeTensors::deserialize(bytes)?;
    let tensor = |(name, view): (String, TensorView<'_>)| {
        let values = to_f32(&view)?;
        Some((name.strip_prefix(PREFIX)?.to_string(), TensorData::new(values, view.shape().to_vec())))
    };
    Ok(tensors.tensors().into_iter().filter_map(tensor).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peft::TENSOR_FILE;

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
        let tensors = AdapterTensors::read(files.path(), &Method::default()).unwrap();
        let mut names = names(&tensors);
        names.sort_unstable();
        assert_eq!(names, ["a.query.lora_A.weight", "a.query.lora_B.weight", "classifier.bias", "classifier.weight"]);
        assert_eq!(tensors.notes().len(), 2);
    }

    #[test]
    fn a_tensor_left_over_and_one_missing_are_one_error_that_names_both() {
        let files = directory(&[("base_model.model.a.qurey.lora_A.weight", &[2, 3])]);
        let mut tensors = AdapterTensors::read(files.path(), &Method::default()).unwrap();
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
        let mut tensors = AdapterTensors::read(files.path(), &Method::default()).unwrap();
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
        let bytes = to_bytes(tensors.iter(), &crate::peft::LAYOUT).unwrap();
        let read = SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(
            read.tensor("base_model.model.a.bias").unwrap().data(),
            [3.0_f32.to_le_bytes(), 4.0_f32.to_le_bytes()].concat()
        );
        let reversed = [tensors[1].clone(), tensors[0].clone()];
        assert_eq!(bytes, to_bytes(reversed.iter(), &crate::peft::LAYOUT).unwrap());
    }
}

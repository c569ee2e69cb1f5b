//! Writing an adapter's directory. No file of it holds a time, so the same run writes the same bytes.

use std::io::Write;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::TensorData;
use lora::Plan;
use lora::peft::PeftConfig;
use model::{disk, files_beside, is_of_tokenizer, write_atomically};

use super::{Adapter, AdapterError, SIDECAR, Sidecar};

/// The model card.
const CARD: &str = "README.md";

/// Writes the adapter that `plan` built into `model`, with its model card and the tokenizer that is in the directory
/// `tokenizer`, so that `PeftModel.from_pretrained` loads it.
pub fn write_adapter<M: Module>(
    directory: &Path,
    plan: &Plan,
    model: &M,
    sidecar: &Sidecar,
    card: &str,
    tokenizer: &Path,
) -> Result<(), AdapterError> {
    let config = PeftConfig {
        method: plan.method_written(),
        base_model: Some(sidecar.base.path.clone()),
        revision: sidecar.base.revision.clone(),
        task_type: sidecar.task.peft_type.map(str::to_string),
        peft_version: None,
        fan_in_fan_out: plan.has_conv1d(),
        auto_mapping: None,
        notes: Vec::new(),
    };
    let files =
        AdapterFiles { config, tensors: plan.tensors_written(model), sidecar: Some(sidecar.clone()), card, tokenizer };
    files.write(directory)
}

/// The files of an adapter.
#[derive(Debug)]
pub struct AdapterFiles<'a> {
    pub config: PeftConfig,
    /// By their names in the model, in f32.
    pub tensors: Vec<(String, TensorData)>,
    pub sidecar: Option<Sidecar>,
    /// The model card.
    pub card: &'a str,
    /// The directory that the tokenizer is copied from.
    pub tokenizer: &'a Path,
}

impl AdapterFiles<'_> {
    pub fn write(&self, directory: &Path) -> Result<(), AdapterError> {
        let write_error = |path: PathBuf| move |source| AdapterError::Write { path, source };
        disk::create_dir_all(directory).map_err(write_error(directory.into()))?;
        let labels = self.sidecar.as_ref().map_or(&[][..], |sidecar| &sidecar.labels);
        let files = lora::files(&self.config, labels, &self.tensors, self.config.fan_in_fan_out)
            .map_err(|source| AdapterError::Serialise { path: directory.into(), source: source.into() })?;
        let card = (CARD, self.card.as_bytes().to_vec());
        let mut names = Vec::new();
        for (name, content) in files.into_iter().chain([card]) {
            let path = directory.join(name);
            write_atomically(&path, |file| file.write_all(&content)).map_err(write_error(path.clone()))?;
            names.push(name.to_string());
        }
        names.retain(|name| name != CARD);
        let copied = copy_beside(directory, self.tokenizer, is_of_tokenizer)?;
        names.extend(copied.iter().map(|(_, path)| name_within(directory, path)));
        self.sidecar.as_ref().map_or(Ok(()), |sidecar| sidecar.write(directory, &names))
    }

    /// Reads what was written, and compares it with what was to be.
    ///
    /// # Errors
    /// The files cannot be read, or say something else.
    pub fn verify(&self, directory: &Path) -> Result<(), AdapterError> {
        let differs = |what: String| Err(AdapterError::Verify { path: directory.into(), what });
        let read = Adapter::read(directory, None)?;
        let (found, expected) = (read.method.to_peft(false), self.config.method.to_peft(false));
        if let Some(key) = expected.keys().find(|key| found.get(*key) != expected.get(*key)) {
            return differs(format!("`{key}`"));
        }
        if read.sidecar != self.sidecar {
            return differs(SIDECAR.to_string());
        }
        let is_there = |(name, data): &&(String, TensorData)| {
            let values = data.iter::<f32>();
            let found = read.tensors.values(name);
            found.is_some_and(|found| {
                found.len() == data.num_elements() && values.zip(found).all(|(v, f)| v.to_bits() == f.to_bits())
            })
        };
        if let Some((name, _)) = self.tensors.iter().find(|tensor| !is_there(tensor)) {
            return differs(format!("`{name}`"));
        }
        match read.tensors.names().count() == self.tensors.len() {
            true => Ok(()),
            false => differs("the number of tensors".to_string()),
        }
    }
}

/// The name of a file in a directory, with `/`.
pub fn name_within(directory: &Path, path: &Path) -> String {
    let name = path.strip_prefix(directory).unwrap_or(path);
    name.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// Copies files of a checkpoint beside an adapter or another checkpoint, those that `wanted` says yes to, byte for byte. Returns
/// where each is from and where it is.
pub fn copy_beside(
    directory: &Path,
    from: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(PathBuf, PathBuf)>, AdapterError> {
    let read_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| AdapterError::Read { path, source }
    };
    let mut copied = Vec::new();
    for name in files_beside(from, wanted).map_err(read_error(from))? {
        let (file, path) = (from.join(&name), directory.join(&name));
        let contents = std::fs::read(&file).map_err(read_error(&file))?;
        path.parent()
            .map_or(Ok(()), disk::create_dir_all)
            .and_then(|()| write_atomically(&path, |output| output.write_all(&contents)))
            .map_err(|source| AdapterError::Write { path: path.clone(), source })?;
        copied.push((file, path));
    }
    Ok(copied)
}

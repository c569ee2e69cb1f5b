//! The models there are, by the names that clients know them by.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use tasks::{TaskName, Use};

use super::{Error, Opened};

/// What is known of a model without asking it.
#[derive(Debug)]
pub struct Model {
    pub name: String,
    /// Of an adapter the name of its base.
    pub parent: Option<String>,
    pub task: TaskName,
    pub labels: Vec<String>,
    /// Whether conversations can be continued: it writes, and has a chat template.
    pub chats: bool,
    /// Of a model that classifies: the columns that a text, or a pair of texts, had in training.
    pub columns: Vec<String>,
    /// Tokens of a text that is answered, or positions for a prompt and what is written.
    pub max_length: usize,
    /// Hashes of the base and of the adapter.
    pub fingerprint: String,
    /// When it was loaded, in seconds of Unix time.
    pub created: u64,
    /// Of this load: a name may be used again.
    pub(super) id: u64,
}

impl Model {
    pub(super) fn of(opened: &Opened, base: &str) -> io::Result<Self> {
        static LOADED: AtomicU64 = AtomicU64::new(0);
        let (pipeline, task) = (&opened.pipeline, opened.pipeline.task.definition());
        let positions = pipeline.pretrained.max_positions();
        let of_base: String =
            pipeline.pretrained.fingerprint().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let fingerprint = match &opened.files.adapter {
            Some(adapter) => format!("fp_{of_base}_{}", &hash_of(adapter)?[..12]),
            None => format!("fp_{of_base}"),
        };
        Ok(Self {
            name: opened.name.clone(),
            parent: opened.files.adapter.is_some().then(|| base.to_string()),
            task: task.id(),
            labels: pipeline.task.label_names().to_vec(),
            chats: pipeline.task.writes().is_some_and(|task| task.has_chat_template()),
            columns: match task.usage {
                Use::Generate => Vec::new(),
                // A template that cannot be read is said to whoever asks.
                Use::Predict | Use::Score => pipeline.columns.of_text().unwrap_or_default(),
            },
            max_length: match task.usage {
                Use::Generate => positions.unwrap_or(pipeline.max_length),
                Use::Predict | Use::Score => pipeline.max_length,
            },
            fingerprint,
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            id: LOADED.fetch_add(1, Ordering::Relaxed),
        })
    }

    pub(crate) fn writes(&self) -> bool {
        self.task.usage == Use::Generate
    }
}

/// Of the files that decide what an adapter answers: settings and tensors, by their names and contents.
fn hash_of(directory: &Path) -> io::Result<String> {
    let is_of_adapter = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        path.is_file() && matches!(ending, Some("json" | "safetensors" | "jinja" | "model" | "txt"))
    };
    let entries = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    let mut files: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).filter(is_of_adapter).collect();
    files.sort();
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    for path in files {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name);
        let mut file = std::fs::File::open(&path)?;
        hash.update(file.metadata()?.len().to_le_bytes());
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[derive(Debug)]
enum Slot {
    Loading,
    Ready(Arc<Model>),
}

#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<BTreeMap<String, Slot>>);

/// A name under which a model is being loaded; without a model it is free again.
#[derive(Debug)]
pub(super) struct Reserved<'a> {
    registry: &'a Registry,
    name: String,
}

impl Registry {
    pub(super) fn insert(&self, model: Arc<Model>) {
        self.slots().insert(model.name.clone(), Slot::Ready(model));
    }

    pub(super) fn models(&self) -> Vec<Arc<Model>> {
        self.slots().values().filter_map(ready).cloned().collect()
    }

    pub(super) fn model(&self, name: &str) -> Result<Arc<Model>, Error> {
        let slots = self.slots();
        slots.get(name).and_then(ready).cloned().ok_or_else(|| no_model(&slots, name))
    }

    pub(super) fn remove(&self, name: &str) -> Result<Arc<Model>, Error> {
        let mut slots = self.slots();
        match slots.get(name) {
            Some(Slot::Ready(model)) if model.parent.is_none() => {
                Err(Error::input(format!("`{name}` is the base model: only adapters can be unloaded")))
            }
            Some(Slot::Ready(model)) => {
                let model = model.clone();
                slots.remove(name);
                Ok(model)
            }
            Some(Slot::Loading) => {
                Err(Error::NameTaken { message: format!("`{name}` is being loaded: unload it when it is there") })
            }
            None => Err(no_model(&slots, name)),
        }
    }

    pub(super) fn reserve(&self, name: &str) -> Result<Reserved<'_>, Error> {
        let mut slots = self.slots();
        let message = match slots.get(name) {
            None => {
                slots.insert(name.to_string(), Slot::Loading);
                return Ok(Reserved { registry: self, name: name.to_string() });
            }
            Some(Slot::Loading) => format!("`{name}` is being loaded already: wait for it, or choose another name"),
            Some(Slot::Ready(_)) => {
                format!("`{name}` has already been loaded: unload it first, or choose another name")
            }
        };
        Err(Error::NameTaken { message })
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready(slot: &Slot) -> Option<&Arc<Model>> {
    match slot {
        Slot::Ready(model) => Some(model),
        Slot::Loading => None,
    }
}

fn no_model(slots: &BTreeMap<String, Slot>, name: &str) -> Error {
    let names = slots.iter().filter(|(_, slot)| ready(slot).is_some()).map(|(name, _)| name.as_str());
    Error::NoModel { name: name.to_string(), suggestion: format!("there are {}", suggest::list(names)) }
}

impl Reserved<'_> {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn fill(self, model: Arc<Model>) {
        self.registry.insert(model);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut slots = self.registry.slots();
        if matches!(slots.get(&self.name), Some(Slot::Loading)) {
            slots.remove(&self.name);
        }
    }
}

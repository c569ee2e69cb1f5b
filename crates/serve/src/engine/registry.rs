//! The models there are, by the names that clients know them by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use inference::{Processor, ServedAdapter};
use tasks::{TaskName, Use};
use tokio::sync::mpsc::UnboundedSender;

use super::error::Fault;
use super::preparing::OfModel;
use super::worker::Job;
use super::{Base, Error};

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
    /// Its share of what makes requests ready.
    pub(super) preparing: OfModel,
    adapter: Option<Loaded>,
}

/// An adapter in memory. When the last request that has found it is answered, what passes have kept for it is forgotten.
#[derive(Debug)]
pub(super) struct Loaded {
    adapter: ServedAdapter,
    jobs: UnboundedSender<Job>,
}

impl Loaded {
    pub(super) fn new(adapter: ServedAdapter, jobs: UnboundedSender<Job>) -> Self {
        Self { adapter, jobs }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // With the thread of the passes all has been forgotten.
        let _ = self.jobs.send(Job::Forget(self.adapter.routed.adapters().clone()));
    }
}

impl Model {
    /// `None` where the base has no head that writes or classifies.
    pub(super) fn of_base(base: &Base, max_queue: usize) -> Option<Arc<Self>> {
        let processor = base.model.processor().ok()?;
        let answers = processor.task.definition().usage != Use::Score;
        answers.then(|| Arc::new(Self::new(base.name.clone(), base, processor, None, max_queue)))
    }

    pub(super) fn of_adapter(name: String, base: &Base, loaded: Loaded, max_queue: usize) -> Arc<Self> {
        let of_adapter = Some(loaded.adapter.fingerprint());
        let model = Self::new(name, base, &loaded.adapter.processor, of_adapter, max_queue);
        Arc::new(Self { adapter: Some(loaded), ..model })
    }

    fn new(name: String, base: &Base, processor: &Processor, of_adapter: Option<&str>, max_queue: usize) -> Self {
        let task = processor.task.definition();
        // Of its prefix, which names the form of the hash, nothing is shown.
        let of_base: String = base.model.fingerprint().chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        let fingerprint = match of_adapter {
            Some(of_adapter) => format!("fp_{of_base}_{}", of_adapter.chars().take(12).collect::<String>()),
            None => format!("fp_{of_base}"),
        };
        Self {
            name,
            parent: of_adapter.map(|_| base.name.clone()),
            task: task.id(),
            labels: processor.task.label_names().to_vec(),
            chats: processor.task.writes().is_some_and(|task| task.has_chat_template()),
            columns: match task.usage {
                Use::Generate => Vec::new(),
                // A template that cannot be read is said to whoever asks.
                Use::Predict | Use::Score => processor.columns.of_text().unwrap_or_default(),
            },
            max_length: match task.usage {
                Use::Generate => base.model.pretrained.max_positions().unwrap_or(processor.max_length),
                Use::Predict | Use::Score => processor.max_length,
            },
            fingerprint,
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            preparing: OfModel::new(max_queue),
            adapter: None,
        }
    }

    pub(crate) fn writes(&self) -> bool {
        self.task.usage == Use::Generate
    }

    /// What it is beside the base; `None` of the base.
    pub(super) fn adapter(&self) -> Option<&ServedAdapter> {
        self.adapter.as_ref().map(|loaded| &loaded.adapter)
    }

    /// Errors: the base has no head of its own.
    pub(super) fn processor<'a>(&'a self, base: &'a inference::Base) -> Result<&'a Processor, Fault> {
        match self.adapter() {
            Some(adapter) => Ok(&adapter.processor),
            None => Ok(base.processor()?),
        }
    }
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
    pub(super) fn extend(&self, models: impl IntoIterator<Item = Arc<Model>>) {
        models.into_iter().for_each(|model| self.insert(model));
    }

    fn insert(&self, model: Arc<Model>) {
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
    let names = suggest::list(names);
    let suggestion = if names.is_empty() { "none is loaded".to_string() } else { format!("there are {names}") };
    Error::NoModel { name: name.to_string(), suggestion }
}

impl Reserved<'_> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn says<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn a_name_is_taken_while_its_adapter_is_read_and_free_when_that_is_given_up() {
        let registry = Registry::default();
        let reserved = registry.reserve("films").unwrap();
        let expected = "`films` is being loaded already: wait for it, or choose another name";
        assert_eq!(says(registry.reserve("films")), expected);
        assert_eq!(says(registry.remove("films")), "`films` is being loaded: unload it when it is there");
        assert_eq!(says(registry.model("films")), "there is no model `films`: none is loaded");
        drop(reserved);
        assert_eq!(says(registry.remove("films")), "there is no model `films`: none is loaded");
        assert!(registry.reserve("films").is_ok());
    }
}

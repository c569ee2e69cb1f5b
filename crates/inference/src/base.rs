//! One base in memory with any number of adapters beside it, which come and go while it answers.

use std::ops::Deref;
use std::path::Path;

use burn::tensor::Device;
use model::{Frozen, Loaded, Model, Pretrained, RoutedAdapter};

use crate::pipeline::of_adapter;
use crate::{Error, ModelFiles, Overrides, Processor, QuantisedBase, Saved, WrittenFiles};

/// A base that adapters share. None of them changes it.
#[derive(Debug)]
pub struct Base {
    pub pretrained: Pretrained,
    pub model: Model,
    /// How the base was put together: unused weights, notes.
    pub loaded: Loaded,
    files: ModelFiles,
    frozen: Frozen,
    device: Device,
    /// What it is by itself; `None` where its checkpoint has no head.
    own: Option<Processor>,
    fingerprint: String,
}

/// A trained adapter for a [`Base`].
#[derive(Debug)]
pub struct ServedAdapter {
    pub processor: Processor,
    /// By which passes over the base go through it.
    pub routed: RoutedAdapter,
    /// What there is to know of its files.
    pub loaded: Loaded,
    /// How the base's matrices were quantised in training, and how they are, where these differ: [`Saved::other_kind`].
    pub other_kind: Option<[Option<QuantisedBase>; 2]>,
    fingerprint: String,
}

impl Base {
    /// Reads a base, to be kept so ([`Saved::frozen`] says how an adapter's was in training), with its tokenizer and what it was trained for itself.
    pub fn open(directory: &Path, frozen: Frozen, device: &Device) -> Result<Self, Error> {
        let files = ModelFiles { model: directory.to_path_buf(), adapter: None };
        let saved = Saved::read(&files, None)?;
        let changes = WrittenFiles::check_model(directory)?;
        let overrides = Overrides { frozen: Some(frozen), ..Overrides::default() };
        let own = match saved.pretrained.has_head() {
            true => Some(saved.processor(&overrides)?),
            false => None,
        };
        let labels = own.as_ref().map_or(0, |own| own.task.outputs());
        let (model, mut loaded) = saved.pretrained.load_base(labels, frozen, device)?;
        loaded.notes.extend(changes);
        let (pretrained, device) = (saved.pretrained, device.clone());
        let fingerprint = pretrained.fingerprint();
        Ok(Self { pretrained, model, loaded, files, frozen, device, own, fingerprint })
    }

    /// Reads an adapter for it. Of the base nothing is read but what belongs to a head that the adapter has of its own.
    ///
    /// # Errors
    /// An adapter that was trained on other weights, or whose targets, shapes or head are not this base's; one that changes what other
    /// adapters on the base read.
    pub fn adapter(&self, directory: &Path) -> Result<ServedAdapter, Error> {
        let files = ModelFiles { adapter: Some(directory.to_path_buf()), ..self.files.clone() };
        let saved = Saved::read(&files, None)?;
        if let Some(base) = saved.other_base() {
            let (adapter, base, model) = (directory.to_path_buf(), base.to_string(), self.files.model.clone());
            return Err(Error::OtherBase { adapter, base, model });
        }
        let overrides = Overrides { frozen: Some(self.frozen), ..Overrides::default() };
        let (processor, other_kind) = (saved.processor(&overrides)?, saved.other_kind(&overrides));
        let Some(adapter) = saved.adapter else { return Err(Error::NotAModel { path: directory.to_path_buf() }) };
        let fingerprint = adapter.fingerprint(directory)?;
        let loaded = adapter
            .plan(&saved.pretrained, self.frozen)
            .map_err(model::Error::from)
            .and_then(|plan| saved.pretrained.load_adapter(plan, processor.task.outputs(), self.frozen, &self.device));
        let (routed, loaded) = loaded.map_err(|error| of_adapter(error, Some(directory)))?;
        if !routed.fits(&self.model) {
            let (adapter, task) = (directory.to_path_buf(), processor.task.definition().id());
            return Err(Error::OtherHead { adapter, task, model: self.files.model.clone() });
        }
        Ok(ServedAdapter { processor, routed, loaded, other_kind, fingerprint })
    }

    /// How it answers by itself.
    ///
    /// # Errors
    /// A checkpoint without a head.
    pub fn processor(&self) -> Result<&Processor, Error> {
        self.own.as_ref().ok_or_else(|| Error::NoHead { path: self.files.model.clone() })
    }

    /// SHA-256 over its tensors, in hexadecimal: [`Pretrained::fingerprint`].
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl ServedAdapter {
    /// SHA-256 over its files, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

impl Deref for ServedAdapter {
    type Target = Processor;

    fn deref(&self) -> &Processor {
        &self.processor
    }
}

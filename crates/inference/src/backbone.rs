//! A backbone without a head, with an adapter that has none either: what PEFT calls feature extraction. No task is for it, so that it
//! is asked nothing here; it is merged, and exported to programs that make embeddings of its hidden states.

use burn::tensor::Device;
use lora::{Method, Plan};
use model::{Frozen, Loaded, Model, Pretrained, Values};

use crate::pipeline::of_adapter;
use crate::{Adapter, Error, ModelFiles, WrittenFiles};

/// A backbone as its files say, before any weights are read.
#[derive(Debug)]
pub struct Backbone {
    files: ModelFiles,
    pretrained: Pretrained,
    adapter: Option<Adapter>,
}

/// A backbone with its weights.
#[derive(Debug)]
pub struct LoadedBackbone {
    pub pretrained: Pretrained,
    pub model: Model,
    /// How the model was put together: unused weights, notes, the plan of the adapter.
    pub loaded: Loaded,
}

impl Backbone {
    /// Reads all but the weights; `None` of a checkpoint with a head, and of an adapter that was trained with one or says what for.
    pub fn read(files: &ModelFiles) -> Result<Option<Self>, Error> {
        if !files.model.exists() {
            return Ok(None);
        }
        if let Some(adapter) = &files.adapter
            && Adapter::read(adapter, None)?.task().is_some()
        {
            return Ok(None);
        }
        let mut pretrained = Pretrained::open(&files.model, Pretrained::head_of(&files.model)?)?;
        if !pretrained.is_backbone() {
            return Ok(None);
        }
        let adapter = files.adapter.as_ref().map(|adapter| Adapter::read(adapter, Some(&pretrained))).transpose()?;
        if let Some(adapter) = &adapter {
            pretrained.adopt_vocabulary(&adapter.tensors);
        }
        Ok(Some(Self { files: files.clone(), pretrained, adapter }))
    }

    pub fn pretrained(&self) -> &Pretrained {
        &self.pretrained
    }

    /// What the adapter has in place of tensors of its base, biases for example: names in the base, and values.
    pub fn replaced(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.adapter.iter().flat_map(|adapter| adapter.tensors.replacing())
    }

    /// Puts it together with the weights as they are stored, once its files are known to be as they were written.
    pub fn load(self, device: &Device) -> Result<LoadedBackbone, Error> {
        let changes = WrittenFiles::check_model(&self.files.model)?;
        let Self { files, pretrained, adapter } = self;
        let plan = match adapter {
            Some(adapter) => adapter.plan(&pretrained, Frozen::AsStored),
            None => Plan::new(Method::frozen(), None, 0),
        };
        let (model, mut loaded) = plan
            .map_err(model::Error::from)
            .and_then(|plan| pretrained.load_backbone(plan, Frozen::AsStored, Values::Read, device))
            .map_err(|error| of_adapter(error, files.adapter.as_deref()))?;
        loaded.notes.extend(changes);
        Ok(LoadedBackbone { pretrained, model, loaded })
    }
}

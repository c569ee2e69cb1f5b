//! What is merged: a model with its task, or a backbone without a head, which no task is for and which answers with its hidden states.

use std::sync::Arc;

use burn::tensor::{Device, Tensor};
use data::{Batch, Tokenizer};
use inference::{Backbone, LoadedBackbone, ModelFiles, Pipeline, Saved, default_max_length};
use kernels::Precision;
use lora::Plan;
use model::{Frozen, Head, Loaded, Model, Pretrained, Values};
use tasks::{Task, TaskName, tokens};

use crate::cli::Failure;
use crate::cli::open::{load, load_backbone, other_base, read};
use crate::output::Output;

/// Base and adapter as their files say, before any weights are read.
pub(super) enum Unloaded {
    Model(Box<Saved>),
    Backbone(Box<Backbone>),
}

impl Unloaded {
    pub(super) fn read(files: &ModelFiles) -> Result<Self, Failure> {
        Ok(match Backbone::read(files)? {
            Some(backbone) => Self::Backbone(Box::new(backbone)),
            None => Self::Model(Box::new(read(files, None)?)),
        })
    }

    pub(super) fn task(&self) -> Option<TaskName> {
        match self {
            Self::Model(saved) => Some(saved.task()),
            Self::Backbone(_) => None,
        }
    }

    /// The head that the checkpoint is opened for.
    pub(super) fn head(&self) -> Head {
        match self {
            Self::Model(saved) => saved.task().head,
            Self::Backbone(backbone) => backbone.pretrained().head(),
        }
    }

    /// What there is to say where the adapter was trained on other weights. That of a backbone records none.
    pub(super) fn other_base(&self, files: &ModelFiles) -> Option<String> {
        match self {
            Self::Model(saved) => other_base(saved, files),
            Self::Backbone(_) => None,
        }
    }

    /// What the adapter has in place of tensors of its base.
    pub(super) fn replaced(&self) -> Vec<(String, &[f32])> {
        match self {
            Self::Model(saved) => saved.replaced().collect(),
            Self::Backbone(backbone) => backbone.replaced().collect(),
        }
    }

    pub(super) fn load(self, files: &ModelFiles, output: &Output) -> Result<Trained, Failure> {
        match self {
            Self::Model(saved) => {
                // Whatever kind of base it was trained on: the merged weights are those of the files with the updates.
                let as_stored = ["model.dtype=auto".to_string()];
                let Pipeline { pretrained, model, processor, loaded } =
                    load(*saved, files, (&as_stored, &[]), &Device::flex(), output)?;
                let (tokenizer, max_length) = (processor.tokenizer, processor.max_length);
                Ok(Trained {
                    pretrained,
                    model: model.model,
                    loaded,
                    tokenizer,
                    max_length,
                    task: Some(processor.task),
                })
            }
            Self::Backbone(backbone) => {
                let LoadedBackbone { pretrained, model, loaded } = load_backbone(*backbone, files, output)?;
                let tokenizer = Arc::new(files.tokenizer()?);
                let max_length = default_max_length(pretrained.max_positions()?, &tokenizer);
                Ok(Trained { pretrained, model, loaded, tokenizer, max_length, task: None })
            }
        }
    }
}

/// A base with its adapter.
pub(super) struct Trained {
    pub(super) pretrained: Pretrained,
    pub(super) model: Model,
    pub(super) loaded: Loaded,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) max_length: usize,
    /// `None` of a backbone.
    pub(super) task: Option<Arc<dyn Task>>,
}

impl Trained {
    /// Another model of the same task, or another backbone, as it is stored.
    pub(super) fn load(&self, pretrained: &Pretrained, plan: Plan) -> Result<Model, Failure> {
        let (frozen, values, device) = (Frozen::AsStored, Values::Read, Device::flex());
        let (model, _) = match &self.task {
            Some(task) => pretrained.load(plan, task.outputs(), frozen, values, &device)?,
            None => pretrained.load_backbone(plan, frozen, values, &device)?,
        };
        Ok(model)
    }
}

/// Logits; of a backbone the hidden states that a head would read.
pub(super) fn outputs(model: &Model, batch: &Batch) -> Tensor<2> {
    let features = model.features(&tokens(batch, &model.device()), &batch.rows, None, Precision::F32);
    match model.has_head() {
        true => model.head(features),
        false => features.into_hidden(),
    }
}

//! What a run optimises and reports, one file for each task. The learner, the commands and the files know a task through
//! [`Task`]; what all have in common, logits over classes or tokens and their cross-entropy, is [`TrainableModel`].

mod causal_lm;
mod masked_lm;
mod rows;
mod sequence_classification;
mod trainable_model;

use data::{Batch, Labels};
use kernels::Noise;
use model::Head;
use serde_json::{Value, json};

use crate::config;

pub(crate) use causal_lm::CausalLm;
pub(crate) use masked_lm::Masking;
pub(crate) use rows::{Columns, Rows};
pub(crate) use trainable_model::{MicroBatch, TrainableModel};

/// A task with what it has to know of its data.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    SequenceClassification(Labels),
    MaskedLm(Masking),
    CausalLm(CausalLm),
}

impl Task {
    /// As the configuration and `kindling.json` write it.
    pub(crate) fn name(&self) -> config::Task {
        match self {
            Self::SequenceClassification(_) => config::Task::SequenceClassification,
            Self::MaskedLm(_) => config::Task::MaskedLm,
            Self::CausalLm(_) => config::Task::CausalLm,
        }
    }

    pub(crate) fn labels(&self) -> Option<&Labels> {
        match self {
            Self::SequenceClassification(labels) => Some(labels),
            Self::MaskedLm(_) | Self::CausalLm(_) => None,
        }
    }

    /// Names of the classes; none for a language model.
    pub(crate) fn label_names(&self) -> &[String] {
        self.labels().map_or(&[], Labels::names)
    }

    /// Classes of the head; 0 for a language model, whose classes are its tokens.
    pub(crate) fn classes(&self) -> usize {
        self.label_names().len()
    }

    /// What the model is shown of a batch, and what it is asked. `noise` is what the draw derives from.
    pub(crate) fn present(&self, batch: Batch, noise: Noise) -> Batch {
        match self {
            Self::SequenceClassification(_) | Self::CausalLm(_) => batch,
            Self::MaskedLm(masking) => masking.apply(batch, noise),
        }
    }

    /// A batch to evaluate. What is drawn is the same at every evaluation, in every run.
    pub(crate) fn evaluation(&self, batch: Batch) -> MicroBatch {
        MicroBatch::evaluation(self.present(batch, Noise { seed: 0, step: 0 }))
    }

    /// `config.json` of a checkpoint with this task's head, for Transformers: the base's with class and labels.
    pub(crate) fn model_config(&self, base: &Value, class: &str) -> Value {
        let mut config = base.clone();
        if let Value::Object(keys) = &mut config {
            keys.insert("architectures".to_string(), json!([class]));
            if let Self::SequenceClassification(labels) = self {
                sequence_classification::write_labels(keys, labels);
            }
        }
        config
    }
}

impl config::Task {
    /// What a model for this task answers with.
    pub(crate) fn head(self) -> Head {
        match self {
            Self::SequenceClassification => Head::SequenceClassification,
            Self::MaskedLm => Head::MaskedLm,
            Self::CausalLm => Head::CausalLm,
        }
    }

    /// PEFT's `task_type`; `None` where PEFT has no name for it.
    pub(crate) fn peft_type(self) -> Option<String> {
        match self {
            Self::SequenceClassification => Some("SEQ_CLS".to_string()),
            Self::MaskedLm => None,
            Self::CausalLm => Some("CAUSAL_LM".to_string()),
        }
    }
}

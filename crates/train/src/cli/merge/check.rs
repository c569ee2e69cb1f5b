//! What a merge has written, read again: every file compared with what it was made of, every tensor with base plus adapter, and the
//! merged model's logits on probe texts with those of base and adapter, relative to what the adapter does; of a backbone its hidden states.

use std::path::{Path, PathBuf};

use data::{Batch, Encoded};
use inference::{Adapter, ModelFiles, Sidecar};
use lora::peft::AdapterTensors;
use lora::{Method, Plan};
use model::{Model, Pretrained, verify_merged};
use serde_json::Value;
use tasks::host;

use super::trained::{Trained, outputs};
use crate::cli::Failure;
use crate::run::difference;

/// Texts of several kinds. What they are about does not matter: two models are compared on them.
const TEXTS: [&str; 8] = [
    "The film is slow in places, but its last scene makes up for all of it.",
    "Where is the nearest pharmacy, and until when is it open on a Sunday?",
    "In 1905 Albert Einstein published four papers; the third was on special relativity.",
    "def area(radius):\n    return 3.14159 * radius ** 2\n",
    "Der Zug nach Leipzig fährt um 7:45 Uhr von Gleis 9 ab.",
    "今天天气很好，我们去公园散步吧。",
    "{\"name\": \"kettle\", \"price\": 24.9, \"in_stock\": true}",
    "\"I don't know\", she said. Then she laughed, and nobody asked again.",
];

/// Further sequences, of ids spread over the vocabulary: texts use little of it.
const SEQUENCES: u64 = 8;

/// Tokens of a sequence.
const LENGTH: usize = 32;

/// The share of the largest logit that is rounding in the forward pass, whatever the weights.
const NOISE: f64 = 1e-5;

/// How the logits of a merged model differ from those of base and adapter; of a backbone the hidden states.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// Largest difference between the logits of the merged model and of base and adapter.
    pub(super) difference: f64,
    /// Largest difference that the adapter's updates make; of several adapters the one that makes most.
    pub(super) effect: f64,
    /// Largest logit.
    largest: f64,
    /// Whether it is of hidden states, for want of logits.
    of_hidden: bool,
}

impl Check {
    /// What was compared, one value and all.
    pub(super) fn compared(&self) -> [&'static str; 2] {
        match self.of_hidden {
            true => ["a value of the hidden states", "hidden states"],
            false => ["a logit", "logits"],
        }
    }

    /// The difference as a share of the effect; without an effect as it is.
    pub(super) fn relative(&self) -> f64 {
        if self.effect > 0.0 { self.difference / self.effect } else { self.difference }
    }

    /// Whether the difference is no more than this share of the effect, or no more than a forward pass rounds.
    pub(super) fn is_within(&self, share: f64) -> bool {
        self.relative() <= share || self.difference <= NOISE * self.largest
    }

    pub(super) fn is_finite(&self) -> bool {
        self.relative().is_finite()
    }

    /// The same where other adapters were merged before, without rounding.
    pub(super) fn after(self, before: &Self) -> Self {
        Self { effect: self.effect.max(before.effect), ..self }
    }
}

/// What is asked of the models that are compared.
pub(super) struct Probe(Batch);

impl Probe {
    pub(super) fn new(trained: &Trained) -> Result<Self, Failure> {
        let length = trained.max_length.min(LENGTH);
        let mut sequences = Vec::with_capacity(TEXTS.len() + SEQUENCES as usize);
        for text in TEXTS {
            sequences.push(trained.tokenizer.encode(text, None, length)?);
        }
        let vocabulary = trained.pretrained.vocabulary_size().unwrap_or(1000).max(1) as u64;
        sequences.extend((0..SEQUENCES).map(|sequence| {
            let id = |place: u64| (kernels::mix(sequence << 32 | place) % vocabulary) as u32;
            Encoded::from((0..length as u64).map(id).collect::<Vec<u32>>())
        }));
        sequences.retain(|sequence| !sequence.ids.is_empty());
        let batch = Batch::from_encoded(&sequences);
        Ok(Self(Batch { rows: batch.last_tokens(), ..batch }))
    }

    /// Compares the model in the directory `merged` with the adapter on its base, and that with the base.
    pub(super) fn compare(&self, files: &ModelFiles, merged: &Path, trained: &Trained) -> Result<Check, Failure> {
        let pretrained = &trained.pretrained;
        let adapted = self.outputs(pretrained, &trained.model);
        let merged = Pretrained::open(merged, pretrained.head())?;
        let of_merged = self.outputs(&merged, &trained.load(&merged, Plan::new(Method::frozen(), None, 0)?)?);
        // The same head without the updates: what the adapter does is what they change.
        let (method, mut tensors) = adapter_of(files, trained)?;
        tensors.clear_updates();
        let of_base = self.outputs(pretrained, &trained.load(pretrained, Plan::new(method, Some(tensors), 0)?)?);
        Ok(Check {
            difference: difference(&adapted, &of_merged),
            effect: difference(&adapted, &of_base),
            largest: difference(&adapted, &vec![0.0; adapted.len()]),
            of_hidden: !trained.model.has_head(),
        })
    }

    fn outputs(&self, pretrained: &Pretrained, model: &Model) -> Vec<f32> {
        pretrained.sparingly(|| host(outputs(model, &self.0)))
    }
}

/// Reads base, adapter and merged checkpoint again and compares tensor by tensor.
pub(super) fn verify(files: &ModelFiles, merged: &Path, trained: &Trained) -> Result<(), Failure> {
    let (_, tensors) = adapter_of(files, trained)?;
    let found = verify_merged(&trained.pretrained, &tensors, &trained.loaded.plan, merged);
    found.map_err(|error| match error {
        model::Error::Merge(error) => Failure::running(error),
        error => error.into(),
    })
}

/// The adapter by its files, on the base as its files have it.
fn adapter_of(files: &ModelFiles, trained: &Trained) -> Result<(Method, AdapterTensors), Failure> {
    let Adapter { method, tensors, .. } = Adapter::read(files.trained(), Some(&trained.pretrained))?;
    Ok(trained.loaded.plan.written(method, tensors))
}

/// Compares the files beside the weights with what they were written from: `copied` says of each where that is.
pub(super) fn check_files(
    merged: &Path,
    config: &Value,
    sidecar: Option<&Sidecar>,
    copied: &[(PathBuf, PathBuf)],
) -> Result<(), Failure> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|error| Failure::message(format!("cannot read {}: {error}", path.display())))
    };
    let other =
        |path: &Path| Failure::message(format!("{} is not as it was written: nothing was kept", path.display()));
    let path = merged.join("config.json");
    if serde_json::from_slice::<Value>(&read(&path)?).ok().as_ref() != Some(config) {
        return Err(other(&path));
    }
    if Sidecar::read(merged)?.as_ref() != sidecar {
        return Err(other(merged));
    }
    for (from, to) in copied {
        if read(from)? != read(to)? {
            return Err(other(to));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_as_a_share_of_the_effect_and_not_below_what_a_forward_pass_rounds() {
        let check = |difference, effect| Check { difference, effect, largest: 10.0, of_hidden: false };
        assert!(check(0.1, 1.0).is_within(0.1) && !check(0.2, 1.0).is_within(0.1));
        // An adapter that does next to nothing.
        assert!(check(1e-4, 1e-5).is_within(0.1) && !check(2e-4, 1e-5).is_within(0.1));
        assert!(check(0.05, 0.0).is_within(0.1) && !check(0.2, 0.0).is_within(0.1));
        assert!(!check(f64::INFINITY, 1.0).is_finite());
    }

    #[test]
    fn of_several_adapters_the_largest_effect_counts() {
        let before = Check { difference: 0.5, effect: 2.0, largest: 10.0, of_hidden: false };
        let after = Check { difference: 0.1, effect: 1.0, largest: 12.0, of_hidden: false }.after(&before);
        assert_eq!((after.difference, after.effect, after.relative()), (0.1, 2.0, 0.05));
    }
}

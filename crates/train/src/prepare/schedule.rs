//! The last step of a plan: which examples are in which micro-batch, and how many steps there are.

use std::sync::Arc;

use data::{Dataset, Sampler, SamplerConfig, pack};

use super::Error;
use crate::config::{Config, Loaded};
use crate::output::counted;
use crate::run::{Legs, NoSteps};

/// The order of the examples and the legs that go through it.
pub(super) struct Schedule {
    pub(super) sampler: Arc<Sampler>,
    pub(super) legs: Legs,
}

impl Schedule {
    /// The configuration is the complete one; what was written where is in `loaded`.
    pub(super) fn new(loaded: &Loaded, config: &Config, train: &Dataset, max_length: usize) -> Result<Self, Error> {
        let sampler = sampler(config, train, max_length);
        let legs = Legs::new(config, sampler.steps_per_epoch()).map_err(|error| no_steps(&error, loaded))?;
        Ok(Self { sampler: Arc::new(sampler), legs })
    }
}

fn sampler(config: &Config, train: &Dataset, max_length: usize) -> Sampler {
    let lengths: Vec<usize> = train.iter().map(|example| example.len()).collect();
    let order = SamplerConfig {
        seed: config.seed,
        batch_size: config.train.batch_size,
        grad_accumulation: config.train.grad_accumulation,
        shuffle: config.train.shuffle,
        group_by_length: config.train.group_by_length,
    };
    match config.data.pack {
        true => Sampler::packed(pack(&lengths, max_length), &lengths, order),
        false => Sampler::new(lengths, order),
    }
}

/// A leg without steps, by a key that asked for it: the length rather than what else was changed.
fn no_steps(error: &NoSteps, loaded: &Loaded) -> Error {
    let length = error.keys.iter().find(|key| ["epochs", "max_steps"].contains(key));
    let place = length.or(error.keys.first()).map_or("legs".to_string(), |key| format!("train.{key}"));
    let epochs = error.done / error.per_epoch.max(1) + 1;
    Error::NoSteps {
        place: loaded.place(&place),
        done: error.done,
        end: error.end,
        help: format!(
            "an epoch has {}: `--set train.epochs={epochs}` or more continues it, with `train.max_steps` 0 or above {}",
            counted(error.per_epoch, "step", "steps"),
            error.done
        ),
    }
}

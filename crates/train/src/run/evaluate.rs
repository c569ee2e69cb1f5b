//! What a model answers to batches, in their order, whichever worker has computed them.

use burn::train::InferenceStep;
use serde::{Deserialize, Serialize};

use crate::workers::{Elsewhere, Workers};
use tasks::{HostOutput, MicroBatch, StepOutput, TrainableModel};

pub(crate) struct Evaluated {
    /// Of all batches.
    pub(crate) outputs: Vec<HostOutput>,
    /// Of the last batch that was computed here.
    pub(crate) own: Option<StepOutput>,
}

/// An output on its way. Bits, for JSON has no number that is none.
#[derive(Debug, Serialize, Deserialize)]
struct Numbers {
    losses: Vec<u32>,
    outputs: Vec<u32>,
    width: usize,
}

/// Each worker computes some of the batches, and all learn what came of all.
pub(crate) fn evaluate(
    workers: &Workers,
    model: &TrainableModel,
    batches: Vec<MicroBatch>,
) -> Result<Evaluated, Elsewhere> {
    let mut own = None;
    if !workers.are_several() {
        let outputs = batches.into_iter().map(|batch| own.insert(InferenceStep::step(model, batch)).host()).collect();
        return Ok(Evaluated { outputs, own });
    }
    let outputs = workers.in_turn("the answers of an evaluation", &batches, |batch| {
        Ok::<_, Elsewhere>(Numbers::of(&own.insert(InferenceStep::step(model, batch.clone())).host()))
    })?;
    let output = |(numbers, batch): (Numbers, &MicroBatch)| numbers.of_batch(batch);
    Ok(Evaluated { outputs: outputs.into_iter().zip(&batches).map(output).collect(), own })
}

impl Numbers {
    fn of(output: &HostOutput) -> Self {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
        Self { losses: bits(&output.losses), outputs: bits(&output.outputs), width: output.width }
    }

    fn of_batch(self, MicroBatch { batch, .. }: &MicroBatch) -> HostOutput {
        let values = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect();
        HostOutput {
            losses: values(self.losses),
            outputs: values(self.outputs),
            width: self.width,
            targets: batch.targets.clone(),
            sequences: batch.sequences_of_targets(),
        }
    }
}

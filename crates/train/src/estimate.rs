//! How much memory a run will need, from shapes alone. A first estimate: the process, the base, the trained tensors with
//! their optimiser state, and what the backward pass keeps of the largest micro-batch.

use lora::{Method, Plan};

use crate::prepare::RunPlan;

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) base: usize,
    pub(crate) trained: usize,
    pub(crate) activations: usize,
    pub(crate) process: usize,
}

impl Estimate {
    pub(crate) fn total(&self) -> usize {
        self.base + self.trained + self.activations + self.process
    }
}

/// The binary, its tables and the tokenizer: measured on the quickstart.
const PROCESS: usize = 60_000_000;

/// f32 values that the backward pass keeps for each token and layer, in widths of the model: inputs of six linear layers
/// (two of them as wide as the inner one), of two norms and of the activation, with what composed operations add.
const KEPT_WIDTHS: usize = 34;

pub(crate) fn memory(plan: &RunPlan, adapter_plan: &Plan) -> Estimate {
    let trained_elements = adapter_plan.trainable_elements();
    // The tensor, its gradient, two moments, and the copy that an optimiser step makes.
    let trained = trained_elements * 4 * 5;
    let base = match plan.method {
        Method::Full => plan.pretrained.bytes(),
        Method::Lora(_) | Method::Modules(_) | Method::Frozen => plan.pretrained.bytes(),
    };
    let mut lengths: Vec<usize> = plan.train.examples.iter().map(|example| example.encoded.ids.len()).collect();
    lengths.sort_unstable_by(|left, right| right.cmp(left));
    let tokens: usize = lengths.iter().take(plan.config.train.batch_size).sum();
    let config = plan.pretrained.config();
    let number = |names: [&str; 2]| names.iter().find_map(|name| config.get(*name)?.as_u64()).unwrap_or(0) as usize;
    let (width, layers) = (number(["hidden_size", "dim"]), number(["num_hidden_layers", "n_layers"]));
    let activations = match plan.method {
        Method::Lora(_) | Method::Full => tokens * width * layers * KEPT_WIDTHS * 4,
        // Nothing below the head is kept.
        Method::Modules(_) | Method::Frozen => tokens * width * KEPT_WIDTHS * 4,
    };
    Estimate { base, trained, activations, process: PROCESS }
}

//! How much memory a run will need, from shapes alone: the process, the data, what it touches of the base, the trained tensors
//! with their optimiser state, and what the backward pass keeps of the largest micro-batch. On the CPU within a tenth of what most runs
//! turn out to need (`docs/performance.md`).

use std::collections::HashSet;

use kernels::LOGITS_AT_ONCE;
use lora::{BackwardPass, Keeps, Parameter, Plan};
use model::{ActivationShape, Frozen};

use crate::prepare::RunPlan;

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) base: usize,
    pub(crate) trained: usize,
    pub(crate) activations: usize,
    /// The examples as token ids; more where the look at them before training takes more than training itself.
    pub(crate) data: usize,
    /// With its tokenizer.
    pub(crate) process: usize,
}

impl Estimate {
    pub(crate) fn total(&self) -> usize {
        self.base + self.trained + self.activations + self.data + self.process
    }
}

/// The binary's own pages, what threads and the allocator keep for themselves, and evaluation's and the report's small things: as
/// runs of small encoders and decoders on two threads have shown it.
const PROCESS: usize = 82_000_000;

/// The part of it that is there before a model is loaded, while the data is read and looked at.
const PROCESS_BEFORE: usize = 53_000_000;

/// An entry of a tokenizer's vocabulary: its text as key and as value of two tables that are two thirds full, and its merge.
const TOKENIZER_ENTRY: usize = 160;

const F32: usize = 4;

pub(crate) fn memory(plan: &RunPlan, adapter_plan: &Plan) -> Result<Estimate, model::Error> {
    let shape = plan.pretrained.activations()?;
    let activations = activations(plan, adapter_plan, &shape) + cache(plan, &shape);
    // In a step the tensors, their gradients and two moments; while a checkpoint is written, without gradients and activations,
    // tensors and moments twice.
    let tensors = adapter_plan.trainable_elements() * F32;
    // What is frozen is written with a whole model as well.
    let written = match plan.method.saves_model() {
        true => 2 * plan.pretrained.elements().saturating_sub(adapter_plan.trainable_elements()) * F32,
        false => 0,
    };
    let trained = (4 * tensors).max((6 * tensors + written).saturating_sub(activations));
    // What is trained is copied, and its file not mapped.
    let base = match (plan.method.trains_all(), plan.method.saves_model()) {
        (true, _) => 0,
        (false, true) => base(plan, &shape).saturating_sub(adapter_plan.trainable_elements() * per_value(plan)),
        (false, false) => base(plan, &shape),
    };
    // Codes in place of what is read of the file piece by piece, unless it has them itself.
    let quantised = adapter_plan.quantised();
    let base = match plan.pretrained.quantisation() {
        Some(_) => plan.pretrained.bytes(),
        None => base.saturating_sub(quantised.elements * per_value(plan)) + quantised.bytes,
    };
    let data = data(plan, base + trained + activations);
    let process = PROCESS + plan.tokenizer.vocabulary_size() * TOKENIZER_ENTRY;
    Ok(Estimate { base, trained, activations, data, process })
}

/// Token ids with their order, and by how much the look at them exceeds what `training` takes, which begins when it is done and
/// has given its memory back.
fn data(plan: &RunPlan, training: usize) -> usize {
    /// Of each training example: its length, and its place in the order of the epoch and in the one that is drawn next.
    const SAMPLER: usize = 4 + 4 + 4;
    let encoded = plan.train.bytes() + plan.valid.as_ref().map_or(0, |valid| valid.bytes());
    let sampler = plan.train.len() * SAMPLER;
    let look = PROCESS_BEFORE + plan.look_bytes;
    encoded + sampler + look.saturating_sub(PROCESS + training + sampler)
}

/// The file is mapped: of a table of words only the pages of those that occur are read, unless it is, or serves as, the output
/// layer of a language model.
fn base(plan: &RunPlan, shape: &ActivationShape) -> usize {
    const PAGE: usize = 4096;
    let bytes = plan.pretrained.bytes();
    let per_value = per_value(plan);
    if let Frozen::As(dtype) = plan.frozen
        && dtype.size() != per_value
    {
        // Converted, and with it the whole of every table.
        return plan.pretrained.elements() * dtype.size();
    }
    let row = shape.width * per_value;
    let tables =
        plan.pretrained.tensors().iter().filter(|(_, of, _)| of[..] == [shape.vocabulary, shape.width]).count();
    let read = usize::from(plan.task.definition().vocabulary);
    let words: HashSet<u32> = plan.train.iter().flat_map(|example| example.ids()).collect();
    let touched = (words.len() * row.max(PAGE)).min(shape.vocabulary * row);
    let sparse = tables.saturating_sub(read);
    bytes.saturating_sub(sparse * shape.vocabulary * row) + sparse * touched
}

/// Bytes of a value of the base's file.
fn per_value(plan: &RunPlan) -> usize {
    plan.pretrained.bytes() / plan.pretrained.elements().max(1)
}

/// What the backward pass keeps for each token and layer: query, key and value, the inputs of the norms and of the
/// activation, and some of the inputs of adapted layers; on top of it what one feed-forward network and the head need at once. With
/// gradient checkpointing it keeps that of one layer, and of the others their input.
fn activations(plan: &RunPlan, adapter_plan: &Plan, shape: &ActivationShape) -> usize {
    let lengths = largest_micro_batch(plan);
    let tokens: usize = lengths.iter().sum();
    let inner = if shape.gated { 2 * shape.inner } else { shape.inner };
    let (per_layer, adapted) = match plan.method.backward_pass() {
        BackwardPass::Frozen => (3 * shape.width + shape.norms + inner, kept_by_adapters(adapter_plan, shape)),
        // Every layer keeps its input, but for those after a norm.
        BackwardPass::Trained => (4 * shape.width + shape.norms + shape.inner + inner, 0),
        BackwardPass::Head => (0, 0),
    };
    let at_once = 4 * tokens * shape.inner;
    let logits = match (plan.task.definition().vocabulary, trains_output(plan, adapter_plan, shape)) {
        (false, _) => 0,
        // Of a frozen output layer the gradient of what it reads; else logits with theirs, of equal parts of the targets at a
        // time.
        (true, false) => tokens * shape.width,
        (true, true) => {
            let all = tokens * shape.vocabulary;
            2 * all / all.div_ceil(LOGITS_AT_ONCE).max(1)
        }
    };
    // No backward pass comes to those below all that is trained.
    let layers = shape.layers.saturating_sub(adapter_plan.untouched_layers()).max(1);
    let kept = match plan.config.train.gradient_checkpointing {
        true => (shape.width * layers).min(per_layer * layers) + per_layer + adapted / layers,
        false => per_layer * layers + adapted,
    };
    (tokens * kept + at_once + logits) * F32
}

/// Keys and values of the answers that evaluations generate together.
fn cache(plan: &RunPlan, shape: &ActivationShape) -> usize {
    let tokens = plan.questions.as_ref().map_or(0, |questions| questions.tokens_at_once());
    2 * tokens * shape.layers * shape.keys * F32
}

/// Whether something is trained that has a row for each token, as an output layer, its update and its bias have. Word embeddings that
/// are trained beside a frozen output layer count as well, so that too much is said for them.
fn trains_output(plan: &RunPlan, adapter_plan: &Plan, shape: &ActivationShape) -> bool {
    let of_tokens = |parameter: &Parameter| parameter.shape.first() == Some(&shape.vocabulary);
    plan.method.trains_all() || adapter_plan.parameters().iter().any(of_tokens)
}

/// The lengths of the sequences in that micro-batch of the first epoch that has most tokens.
fn largest_micro_batch(plan: &RunPlan) -> Vec<usize> {
    let length = |index: &usize| plan.train.get(*index).len();
    let of_epoch = (1..=plan.sampler.steps_per_epoch()).flat_map(|step| plan.sampler.step(step).micro_batches);
    let lengths = of_epoch.map(|batch| batch.iter().map(length).collect::<Vec<usize>>());
    lengths.max_by_key(|lengths| lengths.iter().sum::<usize>()).unwrap_or_default()
}

/// The widths of what adapters keep, all layers together: not of inputs that a norm makes, which are made again.
fn kept_by_adapters(adapter_plan: &Plan, shape: &ActivationShape) -> usize {
    let of_adapter = |(path, keeps, [d_input, d_output]): &(String, Keeps, [usize; 2])| {
        let input = if keeps.input && !shape.follows_norm(path) { *d_input } else { 0 };
        input + if keeps.outputs { *d_output } else { 0 } + keeps.own
    };
    adapter_plan.kept().iter().map(of_adapter).sum()
}

//! How much memory a run will need, from shapes alone: the process, the data, what it touches of the base, the trained tensors
//! with their optimiser state, and what the backward pass keeps of the largest micro-batch. On the CPU within a tenth of what most runs
//! turn out to need (`docs/performance.md`).

use std::collections::HashSet;

use kernels::LOGITS_AT_ONCE;
use lora::{Method, Parameter, Part, Plan};
use model::Frozen;

use crate::prepare::RunPlan;

/// Bytes, by what they are for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Estimate {
    pub(crate) base: usize,
    pub(crate) trained: usize,
    pub(crate) activations: usize,
    /// The examples as token ids; more where the look at them before training takes more than training itself.
    pub(crate) data: usize,
    pub(crate) process: usize,
}

impl Estimate {
    pub(crate) fn total(&self) -> usize {
        self.base + self.trained + self.activations + self.data + self.process
    }
}

/// The binary, a tokenizer of some ten thousand entries, what threads and the allocator keep for themselves: as runs
/// of BERT, GPT-2, Qwen2 and a small encoder have shown it.
const PROCESS: usize = 98_000_000;

/// The part of it that is there before a model is loaded, while the data is read and looked at.
const PROCESS_BEFORE: usize = 50_000_000;

const F32: usize = 4;

/// The sizes of a model that memory depends on.
struct Shape {
    width: usize,
    inner: usize,
    layers: usize,
    vocabulary: usize,
    /// A gate beside what goes up, as in Llama: two tensors are kept where others keep one.
    gated: bool,
}

impl Shape {
    fn of(plan: &RunPlan) -> Self {
        let config = plan.pretrained.config();
        let number = |names: &[&str]| {
            let value = names.iter().find_map(|name| config.get(name)?.as_u64());
            value.unwrap_or(0) as usize
        };
        let width = number(&["hidden_size", "dim", "n_embd"]);
        let inner = number(&["intermediate_size", "hidden_dim", "n_inner"]);
        Self {
            width,
            inner: if inner == 0 { 4 * width } else { inner },
            layers: number(&["num_hidden_layers", "n_layers", "n_layer"]),
            vocabulary: number(&["vocab_size"]),
            gated: config.get("rms_norm_eps").is_some(),
        }
    }
}

pub(crate) fn memory(plan: &RunPlan, adapter_plan: &Plan) -> Estimate {
    let shape = Shape::of(plan);
    let activations = activations(plan, adapter_plan, &shape);
    // In a step the tensors, their gradients and two moments; while a checkpoint is written, without gradients and activations,
    // tensors and moments twice.
    let tensors = adapter_plan.trainable_elements() * F32;
    let trained = (4 * tensors).max((6 * tensors).saturating_sub(activations));
    // What is trained is copied, and its file not mapped.
    let base = if plan.method == Method::Full { 0 } else { base(plan, &shape) };
    let data = data(plan, base + trained + activations);
    Estimate { base, trained, activations, data, process: PROCESS }
}

/// Token ids with their order, and what the look at them takes beyond what `training` does, which begins when it is done.
fn data(plan: &RunPlan, training: usize) -> usize {
    /// Of each training example: its length, and its place in the order of the epoch and in the one that is drawn next.
    const SAMPLER: usize = 4 + 4 + 4;
    let encoded = plan.train.bytes() + plan.valid.as_ref().map_or(0, |valid| valid.bytes());
    encoded + plan.train.len() * SAMPLER + plan.look_bytes.saturating_sub(training + PROCESS - PROCESS_BEFORE)
}

/// The file is mapped: of a table of words only the pages of those that occur are read, unless it is, or serves as, the output
/// layer of a language model.
fn base(plan: &RunPlan, shape: &Shape) -> usize {
    const PAGE: usize = 4096;
    let bytes = plan.pretrained.bytes();
    let per_value = bytes / plan.pretrained.elements().max(1);
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

/// What the backward pass keeps for each token and layer: query, key and value, the inputs of two norms and of the
/// activation, and some of the inputs of adapted layers; on top of it what one feed-forward network and the head need at once. With
/// gradient checkpointing it keeps that of one layer, and of the others their input.
fn activations(plan: &RunPlan, adapter_plan: &Plan, shape: &Shape) -> usize {
    let lengths = largest_micro_batch(plan);
    let tokens: usize = lengths.iter().sum();
    let inner = if shape.gated { 2 * shape.inner } else { shape.inner };
    let (per_layer, adapted) = match plan.method {
        Method::Lora(_) => (5 * shape.width + inner, adapted_inputs(adapter_plan)),
        // Every layer keeps its input, but for those behind a norm.
        Method::Full => (6 * shape.width + shape.inner + inner, 0),
        // Nothing below the head is kept.
        Method::Modules(_) | Method::Frozen => (0, 0),
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
    let layers = shape.layers.max(1);
    let kept = match plan.config.train.gradient_checkpointing {
        true => (shape.width * layers).min(per_layer * layers) + per_layer + adapted / layers,
        false => per_layer * layers + adapted,
    };
    (tokens * kept + at_once + logits) * F32
}

/// Whether something is trained that has a row for each token, as an output layer, its update and its bias have. Word embeddings that
/// are trained beside a frozen output layer count as well, so that too much is said for them.
fn trains_output(plan: &RunPlan, adapter_plan: &Plan, shape: &Shape) -> bool {
    let of_tokens = |parameter: &Parameter| parameter.shape.first() == Some(&shape.vocabulary);
    plan.method == Method::Full || adapter_plan.parameters().iter().any(of_tokens)
}

/// The lengths of the sequences in that micro-batch of the first epoch that has most tokens.
fn largest_micro_batch(plan: &RunPlan) -> Vec<usize> {
    let length = |index: &usize| plan.train.get(*index).len();
    let of_epoch = (1..=plan.sampler.steps_per_epoch()).flat_map(|step| plan.sampler.step(step).micro_batches);
    let lengths = of_epoch.map(|batch| batch.iter().map(length).collect::<Vec<usize>>());
    lengths.max_by_key(|lengths| lengths.iter().sum::<usize>()).unwrap_or_default()
}

/// The widths of the inputs that LoRA keeps, all layers together: not those that a norm makes, which are made again.
fn adapted_inputs(adapter_plan: &Plan) -> usize {
    const BEHIND_NORMS: [&str; 16] = [
        "query",
        "key",
        "value",
        "q_lin",
        "k_lin",
        "v_lin",
        "q_proj",
        "k_proj",
        "v_proj",
        "qkv_proj",
        "c_attn",
        "c_fc",
        "lin1",
        "gate_proj",
        "up_proj",
        "gate_up_proj",
    ];
    let is_kept = |path: &str| {
        let name = path.rsplit('.').next().unwrap_or(path);
        !BEHIND_NORMS.contains(&name) && !path.ends_with("intermediate.dense")
    };
    let factors = adapter_plan.parameters().iter().filter(|parameter| parameter.part == Part::LoraA);
    factors.filter(|factor| is_kept(factor.name.trim_end_matches(".lora_A.weight"))).map(|factor| factor.shape[1]).sum()
}

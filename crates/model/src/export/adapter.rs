//! A LoRA adapter alone as a GGUF file, which llama.cpp loads beside a model (`--lora`). Reference: `src/llama-adapter.cpp` and
//! `convert_lora_to_gguf.py` in llama.cpp. The scale there is `adapter.lora.alpha` over the rank of B, for the whole file: what rsLoRA
//! and patterns make of it for single modules is folded into B.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::TensorData;
use gguf::{TensorInfo, TensorType, Value};
use lora::{Beyond, Plan, ThinFactors, Update};

use super::file::{self, Planned};
use super::{ExportError, Exported};
use crate::Error;
use crate::Model;
use crate::architectures::{GgufModel, Layout, transposed};
use crate::pretrained::Pretrained;

const FORMAT: &str = "GGUF";

/// Writes the adapter that `plan` loaded into `model`.
///
/// # Errors
/// llama.cpp has no form for the method, for what else the adapter has, or for the architecture; the file cannot be written.
pub fn export_adapter_gguf(
    pretrained: &Pretrained,
    (plan, model): (&Plan, &Model),
    (kind, name): (TensorType, &str),
    path: &Path,
) -> Result<Exported, Error> {
    let described = pretrained.gguf()?;
    let adapter: HashMap<String, TensorData> = plan.tensors_written(model).into_iter().collect();
    let factors = factors(plan, &adapter)?;
    let alpha = alpha(&factors);
    let mut tensors = Vec::new();
    for factors in &factors {
        tensors.extend(planned(factors, pretrained, &described, (kind, alpha))?);
    }
    let metadata = [
        ("general.architecture".to_owned(), Value::from(described.architecture)),
        ("general.type".to_owned(), Value::from("adapter")),
        ("general.name".to_owned(), Value::from(name)),
        ("general.file_type".to_owned(), Value::U32(kind.file_type())),
        ("general.quantization_version".to_owned(), Value::U32(2)),
        ("adapter.type".to_owned(), Value::from("lora")),
        ("adapter.lora.alpha".to_owned(), Value::F32(alpha as f32)),
    ];
    file::write(path, &metadata, &tensors, |tensor| Ok(tensor.source.clone()))
}

/// The factors of a module, `[r, d_input]` and `[d_output, r]`.
pub(super) struct Factors<'a> {
    pub(super) update: &'a Update,
    pub(super) a: Vec<f32>,
    pub(super) b: Vec<f32>,
    pub(super) rank: usize,
    pub(super) scale: f64,
    /// What is done with them beyond their sum, with the values of its tensor.
    pub(super) beyond: Option<(Beyond<'a>, Vec<f32>)>,
}

impl Factors<'_> {
    /// The number of inputs, or of an embedding the rows of its table.
    pub(super) fn d_input(&self) -> usize {
        self.a.len() / self.rank
    }

    pub(super) fn d_output(&self) -> usize {
        self.b.len() / self.rank
    }

    /// B with what its own scale is beyond `scale`.
    pub(super) fn scaled_b(&self, scale: f64) -> Vec<f32> {
        match self.scale / scale {
            1.0 => self.b.clone(),
            factor => self.b.iter().map(|value| (f64::from(*value) * factor) as f32).collect(),
        }
    }
}

/// The factors of all modules, of an adapter that has nothing else but what belongs to them.
pub(super) fn all_factors<'a>(
    plan: &'a Plan,
    adapter: &HashMap<String, TensorData>,
    unfit: impl Fn(String) -> ExportError,
) -> Result<Vec<Factors<'a>>, Error> {
    let of_updates: Vec<&str> = plan.updates().iter().flat_map(|update| update.form.tensors()).collect();
    let mut others: Vec<&String> = adapter.keys().filter(|name| !of_updates.contains(&name.as_str())).collect();
    others.sort_unstable();
    let values =
        |name: &str| -> Vec<f32> { adapter.get(name).map(|data| data.iter::<f32>().collect()).unwrap_or_default() };
    let mut all = Vec::new();
    for update in plan.updates() {
        let Some(ThinFactors { a, b, scale, beyond, .. }) = update.form.thin_factors() else {
            return Err(unfit(format!("{} on `{}`", plan.method().describe(), update.module)).into());
        };
        let rank = adapter.get(a).map_or(1, |data| data.shape()[0]);
        let beyond = beyond.map(|beyond| (beyond, values(beyond.tensor)));
        all.push(Factors { update, a: values(a), b: values(b), rank, scale, beyond });
    }
    match others.first() {
        Some(name) => Err(unfit(format!("`{name}` beside its factors")).into()),
        None if all.is_empty() => Err(unfit("no factors".to_owned()).into()),
        None => Ok(all),
    }
}

fn factors<'a>(plan: &'a Plan, adapter: &HashMap<String, TensorData>) -> Result<Vec<Factors<'a>>, Error> {
    let unfit = |what| ExportError::AdapterForm { what, format: FORMAT };
    let all = all_factors(plan, adapter, unfit)?;
    let beyond = |factors: &Factors<'_>| Some((factors.beyond.as_ref()?.0.holds, factors.update.module.clone()));
    match all.iter().find_map(beyond) {
        Some((holds, module)) => Err(unfit(format!("{holds} on `{module}`")).into()),
        None => Ok(all),
    }
}

/// The alpha with which the first module has its own scale; none is no alpha, which would mean a scale of 1.
fn alpha(factors: &[Factors<'_>]) -> f64 {
    let alpha = factors.first().map_or(1.0, |factors| factors.scale * factors.rank as f64);
    if alpha == 0.0 { 1.0 } else { alpha }
}

fn planned(
    factors: &Factors<'_>,
    pretrained: &Pretrained,
    described: &GgufModel,
    (kind, alpha): (TensorType, f64),
) -> Result<[Planned<Vec<f32>>; 2], Error> {
    let module = factors.update.module.as_str();
    let unfit = |what: String| Error::from(ExportError::AdapterForm { what, format: FORMAT });
    let found = described.find(module).filter(|(name, _)| is_applied(name));
    let (name, layout) = found.ok_or_else(|| unfit(format!("factors on `{module}`")))?;
    if pretrained.is_tied(module) {
        return Err(unfit(format!("factors on `{module}`, which is the output layer and the word embeddings")));
    }
    let (rank, d_input, d_output) = (factors.rank, factors.d_input(), factors.d_output());
    // The vectors of an embedding are looked up in A.
    let (a, of_a) = match name == WORDS {
        true => (transposed(&factors.a, rank, d_input), vec![d_input, rank]),
        false => (factors.a.clone(), vec![rank, d_input]),
    };
    let of_b = vec![d_output, rank];
    let b = factors.scaled_b(alpha / rank as f64);
    let b = match layout {
        Layout::Interleaved(_) => layout.apply(b, &of_b),
        // A and B are of the weight as a linear layer has it, which is how it lies in the file.
        Layout::AsIs | Layout::Transposed => b,
    };
    let tensor = |part: &str, shape: Vec<usize>, values| {
        let kind = if kind.takes_rows_of(shape[1]) { kind } else { TensorType::F16 };
        let info = TensorInfo { name: format!("{name}.weight.lora_{part}"), shape, kind };
        Planned { info, source: values }
    };
    Ok([tensor("a", of_a, a), tensor("b", of_b, b)])
}

const WORDS: &str = "token_embd";

/// Whether llama.cpp looks for factors where it uses a module: not in positions, and not in the head of a classifier.
fn is_applied(name: &str) -> bool {
    name.starts_with("blk.") || [WORDS, "output"].contains(&name)
}

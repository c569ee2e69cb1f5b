//! An adapter of thin factors as mlx-lm has it, LoRA or a variant that it knows: `adapters.safetensors` with both factors transposed, and `adapter_config.json`. Reference:
//! `mlx_lm/tuner` (`lora.py`, `dora.py`, and `load_adapters` of `utils.py`) in mlx-lm. Rank and scale are the same for all modules there:
//! factors of a smaller rank are filled up with zeros, and what another scale makes of a module is folded into its B.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use burn::tensor::TensorData;
use lora::Plan;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::json;

use super::adapter::{Factors, all_factors};
use super::{ExportError, Exported};
use crate::architectures::transposed;
use crate::files::{OutputDirectory, write_atomically, write_json};
use crate::pretrained::Pretrained;
use crate::{Error, Model};

/// The files of an adapter of mlx-lm.
const TENSORS: &str = "adapters.safetensors";
const CONFIG: &str = "adapter_config.json";

/// Writes the adapter that `plan` loaded into `model` into a directory of its own. `base` is what the adapter calls its base.
///
/// # Errors
/// mlx-lm has no form for the method, for what else the adapter has, or for the architecture; the files cannot be written.
pub fn export_adapter_mlx(
    pretrained: &Pretrained,
    (plan, model): (&Plan, &Model),
    base: &str,
    path: &Path,
) -> Result<Exported, Error> {
    if !pretrained.exports().mlx {
        return Err(pretrained.no_export("mlx", |exports| exports.mlx));
    }
    let adapter: HashMap<String, TensorData> = plan.tensors_written(model).into_iter().collect();
    let all = all_factors(plan, &adapter, |what| ExportError::MlxForm { what })?;
    let unfit = |what: String| Error::from(ExportError::MlxForm { what });
    if let Some(tied) = all.iter().find(|it| pretrained.is_tied(&it.update.module)) {
        let module = &tied.update.module;
        return Err(unfit(format!("factors on `{module}`, which is the output layer and the word embeddings")));
    }
    let fine_tune_type = fine_tune_type(&all)?;
    let scale = all.first().map_or(1.0, |factors| factors.scale);
    let scale = if scale == 0.0 { 1.0 } else { scale };
    let rank = all.iter().map(|factors| factors.rank).max().unwrap_or(1);
    let tensors = tensors(&all, rank, scale);
    let layers = pretrained.activations()?.layers;
    let config = json!({
        "fine_tune_type": fine_tune_type,
        "model": base,
        "num_layers": layers - all.iter().filter_map(|it| layer(&it.update.module)).map(|(layer, _)| layer).min().unwrap_or(0),
        "lora_parameters": { "rank": rank, "scale": scale, "dropout": 0.0, "keys": keys(&all) },
    });
    let failed = |source| Error::from(ExportError::Write { file: path.into(), source });
    let directory = OutputDirectory::create(path).map_err(failed)?;
    let bytes = serialised(&tensors)?;
    let file = directory.path().join(TENSORS);
    write_atomically(&file, |out| std::io::Write::write_all(out, &bytes)).map_err(failed)?;
    write_json(&directory.path().join(CONFIG), &config).map_err(failed)?;
    let found = std::fs::read(&file).map_err(failed)?;
    compare(&found, &tensors)?;
    directory.finish().map_err(failed)?;
    Ok(Exported { tensors: tensors.len(), bytes: bytes.len() as u64, notes: Vec::new() })
}

/// What mlx-lm calls the variant that the adapter is of.
fn fine_tune_type(all: &[Factors<'_>]) -> Result<&'static str, ExportError> {
    let mut found = "lora";
    for (factors, beyond) in all.iter().filter_map(|it| Some((it, it.beyond.as_ref()?.0))) {
        let unknown = || format!("{} on `{}`", beyond.holds, factors.update.module);
        found = beyond.mlx.ok_or_else(|| ExportError::MlxForm { what: unknown() })?.fine_tune_type;
    }
    Ok(found)
}

/// A tensor of the file, by its name.
type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn tensors(all: &[Factors<'_>], rank: usize, scale: f64) -> Tensors {
    let mut tensors = Tensors::new();
    for factors in all {
        let (module, d_input, d_output) = (&factors.update.module, factors.d_input(), factors.d_output());
        let mut a = factors.a.clone();
        a.resize(rank * d_input, 0.0);
        tensors.insert(format!("{module}.lora_a"), (vec![d_input, rank], transposed(&a, rank, d_input)));
        let mut b = transposed(&factors.scaled_b(scale), d_output, factors.rank);
        b.resize(rank * d_output, 0.0);
        tensors.insert(format!("{module}.lora_b"), (vec![rank, d_output], b));
        if let Some((beyond, values)) = &factors.beyond
            && let Some(mlx) = beyond.mlx
        {
            tensors.insert(format!("{module}{}", mlx.ending), (vec![values.len()], values.clone()));
        }
    }
    tensors
}

/// The modules by their names within a layer, and those outside of all layers by their whole names.
fn keys<'a>(all: &'a [Factors<'a>]) -> BTreeSet<&'a str> {
    all.iter().map(|it| layer(&it.update.module).map_or(it.update.module.as_str(), |(_, name)| name)).collect()
}

/// The number of the layer that a module is in, and its name there.
fn layer(module: &str) -> Option<(usize, &str)> {
    let (_, rest) = module.split_once(".layers.")?;
    let (number, name) = rest.split_once('.')?;
    Some((number.parse().ok()?, name))
}

fn serialised(tensors: &Tensors) -> Result<Vec<u8>, Error> {
    let bytes: BTreeMap<&String, (&Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| (name, (shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())))
        .collect();
    let failed = |error: safetensors::SafeTensorError| ExportError::Differs { what: error.to_string() };
    let mut views = Vec::new();
    for (name, (shape, bytes)) in &bytes {
        views.push((name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).map_err(failed)?));
    }
    Ok(safetensors::serialize(views, Some(HashMap::from([("format".to_owned(), "mlx".to_owned())]))).map_err(failed)?)
}

fn compare(found: &[u8], tensors: &Tensors) -> Result<(), Error> {
    let differs = |what: String| Error::from(ExportError::Differs { what });
    let found = SafeTensors::deserialize(found).map_err(|error| differs(error.to_string()))?;
    if found.len() != tensors.len() {
        return Err(differs("it has other tensors".to_owned()));
    }
    for (name, (shape, values)) in tensors {
        let is_same = found.tensor(name).is_ok_and(|it| {
            let (read, _) = it.data().as_chunks();
            it.shape() == shape && read.iter().map(|bytes| f32::from_le_bytes(*bytes)).eq(values.iter().copied())
        });
        if !is_same {
            return Err(differs(format!("`{name}` has other values")));
        }
    }
    Ok(())
}

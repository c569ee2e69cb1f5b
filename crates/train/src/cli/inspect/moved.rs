//! How far training moved a whole model from its base: what full fine-tuning and the last layers save is a model, and no adapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use inference::{Recorded, Sidecar};
use lora::Spectrum;
use model::Pretrained;
use rayon::prelude::*;
use serde_json::{Value, json};

use super::adapter::ranks;
use super::bars;
use crate::cli::Failure;
use crate::output::Output;
use crate::report::ModuleUpdate;

/// Multiplications up to which the singular values of a module's change are computed, a part of a second: those of a matrix of
/// 768 by 3072 are.
const CHEAP: usize = 1 << 31;

/// What is recorded as the base of a model that was trained from nothing.
const RANDOM: &str = "random";

/// A whole model beside its base.
pub(super) struct Moved {
    /// As it is recorded or was named.
    base: String,
    /// Or what is with the base that it cannot be told.
    found: Result<Distance, &'static str>,
}

struct Distance {
    whole: Part,
    /// By the path up to the layer's number, and that; without a number what lies outside of all layers.
    layers: BTreeMap<(String, Option<usize>), Part>,
    /// Weights of linear layers and embeddings that were changed.
    modules: Vec<ModuleUpdate>,
    /// Tensors that the base does not have, such as those of a new head, or has in another shape.
    new: Vec<String>,
}

/// Squares over some tensors.
#[derive(Debug, Clone, Copy, Default)]
struct Part {
    change: f64,
    weights: f64,
}

impl Part {
    fn add(&mut self, other: Self) {
        *self = Self { change: self.change + other.change, weights: self.weights + other.weights };
    }

    fn norm(self) -> f64 {
        self.change.sqrt()
    }

    /// The Frobenius norm of the change over that of the weights; `None` of weights that are nothing.
    fn relative(self) -> Option<f64> {
        (self.weights > 0.0).then(|| (self.change / self.weights).sqrt())
    }
}

impl Moved {
    /// `named` is the base, which otherwise is where the model records it, if it is there. `None` of a model that records none, and of
    /// one that was trained from nothing.
    pub(super) fn read(directory: &Path, named: Option<&Path>, output: &Output) -> Result<Option<Self>, Failure> {
        let sidecar = Sidecar::read(directory)?;
        if sidecar.as_ref().is_some_and(|sidecar| sidecar.base.fingerprint == RANDOM) {
            return Ok(None);
        }
        let Some((base, place)) = place(directory, named, sidecar.as_ref()) else { return Ok(None) };
        let untold = |why| Ok(Some(Self { base: base.clone(), found: Err(why) }));
        let Some(place) = place else { return untold("which is not here") };
        let head = match &sidecar {
            Some(sidecar) => sidecar.task.head,
            None => Pretrained::head_of(directory)?,
        };
        let tuned = Pretrained::open(directory, head)?;
        let before = match (Pretrained::open(&place, head), named) {
            (Ok(before), _) => before,
            (Err(error), Some(_)) => return Err(error.into()),
            // Nothing was asked of it.
            (Err(_), None) => return untold("which cannot be read"),
        };
        let is_other = |sidecar: Sidecar| sidecar.base.fingerprint != before.fingerprint();
        match (sidecar.is_some_and(is_other), named) {
            (true, Some(named)) => Err(Failure::usage(
                format!(
                    "{} has other weights than the base that {} started from",
                    named.display(),
                    directory.display()
                ),
                format!("name that with --model: {base}, as it was then"),
            )),
            (true, None) => untold("which has other weights by now"),
            (false, _) => {
                let found = Distance::between(&before, &tuned, output)?;
                Ok(Some(Self { base, found: Ok(found) }))
            }
        }
    }

    pub(super) fn updates(&self) -> &[ModuleUpdate] {
        self.found.as_ref().map_or(&[], |found| &found.modules)
    }

    pub(super) fn document(&self) -> Value {
        let Ok(Distance { whole, layers, modules, new }) = &self.found else {
            return json!({ "base": self.base, "moved": null, "updates": [] });
        };
        let part = |of: &Part| json!({ "frobenius": of.norm(), "relative": of.relative() });
        let layer = |(at, of): (&(String, Option<usize>), &Part)| {
            let mut document = part(of);
            document["path"] = json!(path(at));
            document
        };
        let module = |of: &ModuleUpdate| {
            let mut document = json!({ "module": of.module, "frobenius": of.norm, "relative": of.relative });
            of.spectrum.iter().for_each(|spectrum| ranks(spectrum, &mut document));
            document
        };
        let mut moved = part(whole);
        moved["layers"] = layers.iter().map(layer).collect();
        moved["not_in_base"] = json!(new);
        json!({ "base": self.base, "moved": moved, "updates": modules.iter().map(module).collect::<Vec<_>>() })
    }

    /// A line for each layer, with how far it was moved as a bar.
    pub(super) fn lines(&self) -> Vec<String> {
        let Distance { whole, layers, new, .. } = match &self.found {
            Ok(found) => found,
            Err(why) => {
                return vec![format!(
                    "how far it was moved is known beside its base alone, {why}: name that with --model"
                )];
            }
        };
        let shown = |of: &Part| of.relative().map_or("-".to_string(), |share| format!("{:.2}%", 100.0 * share));
        let mut lines = vec![format!("{:22}{}, in per cent of the base's norm", "moved", shown(whole))];
        if !new.is_empty() {
            lines.push(format!("{:22}{}", "not in the base", new.join(", ")));
        }
        lines.push("by layer: norm of the change, in per cent of the weights'".to_string());
        let largest = layers.values().filter_map(|of| of.relative()).fold(f64::MIN_POSITIVE, f64::max);
        for (at, of) in layers {
            let bar = bars::bar(of.relative().unwrap_or_default() / largest, 10);
            lines.push(format!("  {:>9.4} {:>7} {bar}  {}", of.norm(), shown(of), path(at)));
        }
        lines
    }
}

fn path((prefix, number): &(String, Option<usize>)) -> String {
    number.map_or_else(|| prefix.clone(), |number| format!("{prefix}.{number}"))
}

/// The base by its name, and where it is, if that is here.
fn place(directory: &Path, named: Option<&Path>, sidecar: Option<&Sidecar>) -> Option<(String, Option<PathBuf>)> {
    let recorded =
        sidecar.map(|Sidecar { base, .. }| Recorded { path: base.path.clone(), revision: base.revision.clone() });
    let name = recorded.as_ref().map(Recorded::to_string);
    match (named, recorded) {
        (Some(named), _) => Some((name.unwrap_or_else(|| named.display().to_string()), Some(named.to_path_buf()))),
        (None, Some(recorded)) => Some((recorded.to_string(), recorded.directory(directory))),
        (None, None) => None,
    }
}

impl Distance {
    fn between(before: &Pretrained, tuned: &Pretrained, output: &Output) -> Result<Self, Failure> {
        let (mut whole, mut modules, mut new) = (Part::default(), Vec::new(), Vec::new());
        let mut layers: BTreeMap<_, Part> = BTreeMap::new();
        let tensors = tuned.tensors();
        let bar = output.bar(tensors.len() as u64, "comparing {bar:30} {pos}/{len}");
        for (name, shape, dtype) in &tensors {
            bar.inc(1);
            let Some([earlier, later]) = both(before, tuned, (name.as_str(), dtype.as_str()))? else {
                new.push(name.clone());
                continue;
            };
            let part = part(&earlier, &later);
            whole.add(part);
            layers.entry(layer(name)).or_default().add(part);
            let module = name.strip_suffix(".weight").filter(|_| shape.len() == 2 && part.change > 0.0);
            modules.extend(module.map(|module| (module, shape, dtype, part)));
        }
        bar.finish_and_clear();
        let updates = modules.into_par_iter().map(|(module, shape, dtype, part)| {
            let name = format!("{module}.weight");
            let is_cheap = shape[0] * shape[1] * shape[0].min(shape[1]) <= CHEAP;
            let pair = if is_cheap { both(before, tuned, (name.as_str(), dtype.as_str()))? } else { None };
            let spectrum = pair.and_then(|[earlier, later]| {
                let change: Vec<f32> = later.iter().zip(&earlier).map(|(later, earlier)| later - earlier).collect();
                Spectrum::of_matrix(module, &change, [shape[0], shape[1]])
            });
            Ok::<_, Failure>(ModuleUpdate {
                module: module.to_string(),
                norm: part.norm(),
                relative: part.relative(),
                spectrum,
            })
        });
        let modules = updates.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { whole, layers, modules, new })
    }
}

/// A tensor before and after, in f32; `None` where the base has none of this name and size. What was saved in half precision is
/// compared with the base so rounded: that nothing was trained is no distance then.
fn both(
    before: &Pretrained,
    tuned: &Pretrained,
    (name, dtype): (&str, &str),
) -> Result<Option<[Vec<f32>; 2]>, Failure> {
    let (Some(earlier), Some(later)) = (before.values(name)?, tuned.values(name)?) else { return Ok(None) };
    if earlier.shape() != later.shape() {
        return Ok(None);
    }
    let earlier = match dtype {
        "BF16" => earlier.convert_dtype(DType::BF16),
        "F16" => earlier.convert_dtype(DType::F16),
        _ => earlier,
    };
    let values = |data: TensorData| data.iter::<f32>().collect::<Vec<f32>>();
    Ok(Some([values(earlier), values(later)]))
}

fn part(earlier: &[f32], later: &[f32]) -> Part {
    let squares = |(earlier, later): (&f32, &f32)| {
        let (earlier, later) = (f64::from(*earlier), f64::from(*later));
        Part { change: (later - earlier).powi(2), weights: earlier.powi(2) }
    };
    earlier.iter().zip(later).map(squares).fold(Part::default(), |mut sum, part| {
        sum.add(part);
        sum
    })
}

/// The layer that a tensor is in, by its path up to the number; outside of all layers the first two parts of the path to its module.
fn layer(tensor: &str) -> (String, Option<usize>) {
    let parts: Vec<&str> = tensor.split('.').collect();
    let numbered = parts.iter().enumerate().find_map(|(n, part)| Some((n, part.parse().ok()?)));
    match numbered {
        Some((n, number)) if n > 0 => (parts[..n].join("."), Some(number)),
        _ => (parts[..(parts.len() - 1).min(2)].join("."), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_belongs_to_its_layer_or_to_a_part_beside_the_layers() {
        for (tensor, expected) in [
            ("bert.encoder.layer.11.output.dense.weight", "bert.encoder.layer.11"),
            ("model.layers.3.mlp.experts.7.up_proj.weight", "model.layers.3"),
            ("bert.embeddings.word_embeddings.weight", "bert.embeddings"),
            ("transformer.wte.weight", "transformer.wte"),
            ("classifier.bias", "classifier"),
        ] {
            assert_eq!(path(&layer(tensor)), expected);
        }
        assert!(layer("h.2.w") < layer("h.10.w"), "by number");
    }

    #[test]
    fn a_distance_is_a_share_of_the_weights() {
        let part = part(&[3.0, 4.0], &[3.0, 4.5]);
        assert_eq!((part.norm(), part.relative()), (0.5, Some(0.1)));
        assert_eq!(super::part(&[0.0], &[1.0]).relative(), None);
    }
}

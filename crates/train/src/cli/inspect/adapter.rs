//! What an adapter is: its settings, who can load it, and what it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::TensorData;
use inference::{Adapter, ModelFiles, QuantisedBase, recorded_base};
use lora::peft::{Program, programs};
use lora::{Spectrum, Update};
use model::Pretrained;
use serde_json::{Map, Value, json};

use crate::cli::Failure;
use crate::cli::adapters::{base_of, check_base, name_in, other_base};
use crate::output::{Output, counted};
use crate::report::ModuleUpdate;

/// An adapter that was looked at.
pub(super) struct Inspected {
    pub(super) directory: PathBuf,
    pub(super) adapter: Adapter,
    pub(super) programs: Vec<Program>,
    pub(super) updates: Vec<ModuleUpdate>,
    /// Values in all of its tensors as they are saved.
    elements: usize,
    tensors: Map<String, Value>,
    settings: Map<String, Value>,
}

/// Shares of the energy whose ranks are told.
pub(super) const SHARES: [(&str, f64); 2] = [("rank_90", 0.9), ("rank_99", 0.99)];

impl Inspected {
    /// `model` is the base, which otherwise is where the adapter says, if it is there.
    pub(super) fn read(directory: &Path, model: Option<&Path>, output: &Output) -> Result<Self, Failure> {
        let mut adapter = Adapter::read(directory, None)?;
        let shapes: Vec<(&str, &[usize])> = adapter.tensors.names().collect();
        let elements = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let tensors = shapes.iter().map(|(name, shape)| (name.to_string(), json!(shape))).collect();
        let base = base(&adapter, directory, model)?;
        if let Some(other) = base.as_ref().and_then(|base| other_base(&adapter, directory, base)) {
            output.warn(&other);
        }
        let is_tied = |module: &str| base.as_ref().is_some_and(|base| base.is_tied(module));
        let programs = programs(&adapter.config, &adapter.tensors, is_tied);
        let (settings, is_part_of_base) = (adapter.method.shown(), adapter.method.changes_base());
        let mut is_known = true;
        if is_part_of_base {
            // By themselves its tensors are not what it changes.
            match &base {
                Some(base) => adapter = Adapter::read_plain(directory, base)?,
                None => is_known = false,
            }
        }
        if let (Some(model), Some(base)) = (model, &base) {
            check_base(&adapter, directory, model, base)?;
        }
        let directory = directory.to_path_buf();
        let updates = if is_known { updates(&adapter, &directory, base.as_ref(), output)? } else { Vec::new() };
        Ok(Self { directory, adapter, programs, updates, elements, tensors, settings })
    }

    /// Whether what it changes cannot be told without its base, which is not at hand.
    pub(super) fn needs_base(&self) -> bool {
        let has_scalings = || self.adapter.tensors.updates().iter().any(|update| update.form.is_relative());
        self.adapter.method.changes_base() || self.updates.is_empty() && has_scalings()
    }

    /// How the matrices of its base were quantised in training.
    pub(super) fn quantised(&self) -> Option<QuantisedBase> {
        self.adapter.sidecar.as_ref()?.base.quantised
    }

    pub(super) fn document(&self) -> Value {
        let Self { adapter, .. } = self;
        let quantised = self.quantised();
        let loaded_by: Map<String, Value> = self.programs.iter().map(program).collect();
        let mut document = Map::from_iter([("method".to_string(), json!(adapter.method.name()))]);
        document.extend(self.settings.clone());
        let of_all = json!({
            "modules_to_save": adapter.method.modules_to_save(), "base": adapter.config.base_model,
            "base_dtype": quantised.map(|base| base.dtype.name()), "quantize_output": quantised.map(|base| base.output),
            "labels": adapter.sidecar.as_ref().map(|sidecar| &sidecar.labels),
            "fitted": adapter.sidecar.as_ref().map(|sidecar| &sidecar.fitted).filter(|fitted| !fitted.is_empty()),
            "loaded_by": loaded_by, "trainable_parameters": self.elements, "tensors": self.tensors,
            "updates": self.updates.iter().map(update).collect::<Vec<_>>(),
        });
        document.extend(of_all.as_object().cloned().unwrap_or_default());
        Value::Object(document)
    }
}

fn program(program: &Program) -> (String, Value) {
    (program.name.to_string(), json!({ "loads": program.obstacles.is_empty(), "obstacles": program.obstacles }))
}

fn update(update: &ModuleUpdate) -> Value {
    let mut document = json!({ "module": update.module, "frobenius": update.norm, "relative": update.relative });
    if let Some(spectrum) = &update.spectrum {
        document["singular_values"] = json!(spectrum.singular_values);
        ranks(spectrum, &mut document);
    }
    document
}

/// What the singular values say, in a document.
pub(super) fn ranks(spectrum: &Spectrum, document: &mut Value) {
    document["effective_rank"] = json!(spectrum.effective_rank());
    for (key, share) in SHARES {
        document[key] = json!(spectrum.rank_of_energy(share));
    }
}

/// The base, where it is at hand: what updates are compared with. One that was named has to be there.
fn base(adapter: &Adapter, directory: &Path, model: Option<&Path>) -> Result<Option<Pretrained>, Failure> {
    let files = |model: PathBuf| ModelFiles { model, adapter: None };
    if let Some(model) = model {
        return base_of(adapter, &files(model.to_path_buf())).map(Some);
    }
    let recorded = recorded_base(directory)?.and_then(|recorded| recorded.directory(directory));
    // One that cannot be read is none: nothing was asked of it.
    Ok(recorded.and_then(|model| base_of(adapter, &files(model)).ok()))
}

fn updates(
    adapter: &Adapter,
    directory: &Path,
    base: Option<&Pretrained>,
    output: &Output,
) -> Result<Vec<ModuleUpdate>, Failure> {
    let (updates, data) = (adapter.tensors.updates(), adapter.tensors.data());
    let on_base = match base.filter(|_| updates.iter().any(needs_weight)) {
        // A base that the adapter is not for tells nothing of it.
        Some(base) => Adapter::updates_on(directory, base).unwrap_or_default(),
        None => Vec::new(),
    };
    let in_base = |name: &str| base.map_or_else(|| name.to_string(), |base| name_in(base, name));
    let needed = data.iter().filter(|_| !on_base.is_empty());
    let data_on_base: HashMap<String, TensorData> =
        needed.map(|(name, values)| (in_base(name), values.clone())).collect();
    // How far it changes its weight, where that is not the low-rank product alone.
    let moved = |module: &str| -> Result<Option<f64>, Failure> {
        let module = in_base(module);
        let of_weight = on_base.iter().find(|update| update.module == module && needs_weight(update));
        Ok(match (of_weight, base) {
            (Some(update), Some(base)) => base.moved(update, &data_on_base)?,
            _ => None,
        })
    };
    let mut not_finite = Vec::new();
    let mut share = |module: &str, norm: f64| -> Result<Option<f64>, Failure> {
        let module = in_base(module);
        let Some(weight) = base.map(|base| base.weight_norm(&module)).transpose()?.flatten() else { return Ok(None) };
        if !weight.is_finite() {
            not_finite.push(format!("{module}.weight"));
            return Ok(None);
        }
        Ok((weight > 0.0).then(|| norm / weight))
    };
    let mut found = Vec::new();
    for spectrum in lora::spectra(&data, &updates) {
        let module = spectrum.module.clone();
        let norm = moved(&module)?.unwrap_or_else(|| spectrum.frobenius());
        found.push(ModuleUpdate { relative: share(&module, norm)?, module, norm, spectrum: Some(spectrum) });
    }
    for Update { module, .. } in updates.iter().filter(|update| update.form.is_relative()) {
        // By itself a scaling says nothing of how large the change is.
        if let Some(norm) = moved(module)? {
            let relative = share(module, norm)?;
            found.push(ModuleUpdate { module: module.clone(), norm, relative, spectrum: None });
        }
    }
    if let (Some(base), [first, others @ ..]) = (base, &not_finite[..]) {
        let have = match others {
            [] => format!("`{first}` has"),
            [..] => format!("`{first}` and {} have", counted(others.len(), "other weight", "other weights")),
        };
        let base = base.directory().display();
        output.warn(&format!("{base}: {have} values that are not finite numbers, of which no change is a share"));
    }
    Ok(found)
}

/// Whether how much an update changes is known beside its weight alone.
fn needs_weight(update: &Update) -> bool {
    update.form.depends_on_weight() || update.form.is_relative()
}

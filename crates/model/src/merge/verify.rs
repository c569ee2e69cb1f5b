//! What a merge has written, compared with what base and adapter come to by their files alone; what that is of an update its form
//! says ([`Expected`]). Neither the model that was
//! merged nor anything else made of those files is asked: a mistake in it would be the same on both sides.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use lora::peft::AdapterTensors;
use lora::{Expected, Plan, Precision, Update};
use safetensors::Dtype;

use super::{bias_of, plain};
use crate::Error;
use crate::checkpoint::{Checkpoint, Entry, panels};
use crate::pretrained::Pretrained;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum MergeError {
    #[error("the base has no `{tensor}` to fold the adapter into")]
    #[diagnostic(help("give the base that the adapter was trained on"))]
    NoBase { tensor: String },
    #[error("`{tensor}` of the merged checkpoint does not fit {dtype}: a value is beyond its range")]
    #[diagnostic(help("`--dtype bf16` or `--dtype f32` has the range"))]
    Range { tensor: String, dtype: String },
    #[error("the merged checkpoint {problem}: it was not kept")]
    #[diagnostic(help("this is a fault of kindling, not of your files: please report it with the names of both"))]
    Wrong { problem: String },
}

/// Reads a merged checkpoint and compares each tensor: what the adapter did not touch is that of the base, to the byte where
/// the type is the same; what it did is what the form of its update says, or what the adapter has in its place.
pub fn verify_merged(base: &Pretrained, adapter: &AdapterTensors, plan: &Plan, merged: &Path) -> Result<(), Error> {
    let merged = Checkpoint::open(merged)?;
    let files = Files::new(base, adapter, plan);
    for name in base.names() {
        let entry = merged.entry(name).ok_or_else(|| wrong(format!("lacks `{name}` of the base")))?;
        files.compare(name, &merged, entry)?;
    }
    for name in merged.names().filter(|name| !base.is_there(name)) {
        if !files.own.contains_key(name) && base.twin(name).is_none() {
            return Err(wrong(format!("has `{name}`, which neither base nor adapter have")));
        }
        let entry = merged.entry(name).expect("the name comes from the checkpoint");
        files.compare(name, &merged, entry)?;
    }
    let of_updates: HashSet<&str> = plan.updates().iter().flat_map(|update| update.form.tensors()).collect();
    let is_merged = |name: &str| of_updates.contains(name) || merged.entry(&plain(name)).is_some();
    match adapter.names().find(|(name, _)| !is_merged(name)) {
        Some((name, _)) => Err(wrong(format!("has nothing of `{name}` of the adapter"))),
        None => Ok(()),
    }
}

pub(super) fn wrong(problem: String) -> Error {
    MergeError::Wrong { problem }.into()
}

/// Base and adapter as they lie in their files.
struct Files<'a> {
    base: &'a Pretrained,
    adapter: &'a AdapterTensors,
    plan: &'a Plan,
    /// What the adapter has beside its updates, by the names of the base.
    own: HashMap<String, (&'a [usize], &'a [f32])>,
    updates: HashMap<String, &'a Update>,
}

impl<'a> Files<'a> {
    fn new(base: &'a Pretrained, adapter: &'a AdapterTensors, plan: &'a Plan) -> Self {
        let of_updates: HashSet<&str> = plan.updates().iter().flat_map(|update| update.form.tensors()).collect();
        let own = adapter.names().filter(|(name, _)| !of_updates.contains(name));
        let own = own.filter_map(|(name, shape)| Some((plain(name), (shape, adapter.values(name)?)))).collect();
        let changed = |update: &'a Update| {
            let names = [Some(update.weight()), bias_of(base, update)];
            names.into_iter().flatten().map(move |name| (name, update))
        };
        let updates = plan.updates().iter().flat_map(changed).collect();
        Self { base, adapter, plan, own, updates }
    }

    /// What the adapter has in place of a tensor. What is one tensor in the base changes under both its names, unless the
    /// adapter has a copy for one end.
    fn replaced(&self, name: &str) -> Option<&(&'a [usize], &'a [f32])> {
        let twin = || self.base.twin(name).filter(|twin| !self.plan.saves(module(twin)));
        self.own.get(name).or_else(|| self.own.get(twin()?))
    }

    fn compare(&self, name: &str, merged: &Checkpoint, entry: &Entry) -> Result<(), Error> {
        let original = self.original(name)?;
        if original.shape() != entry.shape {
            return Err(wrong(format!("has `{name}` as {:?}, not as {:?}", entry.shape, original.shape())));
        }
        let update = self.updates.get(name);
        if let (Original::Base(checkpoint, of_base), None) = (&original, update)
            && of_base.dtype == entry.dtype
        {
            return match checkpoint.has_bytes_of(of_base, merged, entry)? {
                true => Ok(()),
                false => Err(wrong(format!("has another `{name}` than the base"))),
            };
        }
        let differs = match update {
            None => self.first_other(&original, merged, entry)?,
            Some(update) => {
                let expected = self.expected(name, update, &original)?;
                let precision = precision(entry.dtype);
                let mut differs = None;
                for panel in panels(&entry.shape) {
                    let start = panel.start;
                    let [base, found] = [original.values(panel.clone())?, merged.values(entry, panel)?];
                    let (Some(base), Some(found)) = (base, found) else {
                        return Err(wrong(format!("has another `{name}` than the base")));
                    };
                    differs = expected.first_beyond_rounding(start, &base, &found, precision);
                    if differs.is_some() {
                        break;
                    }
                }
                differs
            }
        };
        match differs {
            Some(at) => Err(wrong(format!("has other values of `{name}` than base plus adapter, the first at {at}"))),
            None => Ok(()),
        }
    }

    /// What a merged tensor comes from, before any update.
    fn original(&self, name: &str) -> Result<Original<'_>, Error> {
        if let Some((shape, values)) = self.replaced(name) {
            return Ok(Original::Adapter(shape, values));
        }
        let stored = self.base.stored(name).or_else(|| self.base.stored(self.base.twin(name)?));
        let (checkpoint, _, entry) = stored.ok_or_else(|| MergeError::NoBase { tensor: name.to_string() })?;
        Ok(Original::Base(checkpoint, entry))
    }

    /// What an update makes of a tensor, ready to be compared with.
    fn expected(&self, name: &str, update: &Update, original: &Original<'_>) -> Result<Box<dyn Expected>, Error> {
        let shape = original.shape();
        let expected = update.form.expected(self.adapter, shape);
        let mut expected = expected.ok_or_else(|| wrong(format!("has an update of `{name}` without its tensors")))?;
        if expected.looks_first() {
            for panel in panels(shape) {
                let start = panel.start;
                expected.look(start, &original.values(panel)?.unwrap_or_default());
            }
        }
        Ok(expected)
    }

    /// The first value of a tensor without an update that is another, but for one rounding.
    fn first_other(&self, original: &Original<'_>, merged: &Checkpoint, entry: &Entry) -> Result<Option<usize>, Error> {
        for panel in panels(&entry.shape) {
            let start = panel.start;
            let [Some(values), Some(found)] = [original.values(panel.clone())?, merged.values(entry, panel)?] else {
                return Ok(Some(start));
            };
            // By their bits: masks of old checkpoints may hold what is no number and not equal to itself.
            let is_off = |(value, found): (&f32, &f32)| rounded(*value, entry.dtype).to_bits() != found.to_bits();
            if let Some(at) = values.iter().zip(&found).position(is_off) {
                return Ok(Some(start + at));
            }
        }
        Ok(None)
    }
}

/// What a merged tensor comes from.
enum Original<'a> {
    Adapter(&'a [usize], &'a [f32]),
    Base(&'a Checkpoint, &'a Entry),
}

impl Original<'_> {
    fn shape(&self) -> &[usize] {
        match self {
            Self::Adapter(shape, _) => shape,
            Self::Base(_, entry) => &entry.shape,
        }
    }

    /// Some of its values; `None` if they are not of a type that weights are of.
    fn values(&self, values: Range<usize>) -> Result<Option<Vec<f32>>, Error> {
        match self {
            Self::Adapter(_, all) => Ok(all.get(values).map(<[f32]>::to_vec)),
            Self::Base(checkpoint, entry) => Ok(checkpoint.values(entry, values)?),
        }
    }
}

fn precision(dtype: Dtype) -> Precision {
    let (relative, smallest) = match dtype {
        Dtype::F16 => (2.0_f64.powi(-11), 2.0_f64.powi(-24)),
        Dtype::BF16 => (2.0_f64.powi(-8), 2.0_f64.powi(-130)),
        _ => (2.0_f64.powi(-23), 2.0_f64.powi(-145)),
    };
    Precision { relative, smallest }
}

fn rounded(value: f32, dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F16 => f16::from_f32(value).to_f32(),
        Dtype::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// The module of a tensor.
fn module(tensor: &str) -> &str {
    tensor.rsplit_once('.').map_or(tensor, |(module, _)| module)
}

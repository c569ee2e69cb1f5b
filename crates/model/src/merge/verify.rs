//! What a merge has written, compared with what base and adapter come to by their files alone. Neither the model that was
//! merged nor anything else made of those files is asked: a mistake in it would be the same on both sides.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use half::{bf16, f16};
use lora::peft::AdapterTensors;
use lora::{Form, Plan, Side, Update};
use rayon::prelude::*;
use safetensors::Dtype;

use super::{bias_of, plain};
use crate::Error;
use crate::checkpoint::{Checkpoint, Entry};
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
/// the type is the same; what it did is `base + scale * B·A`, with its rows at their lengths where the adapter has some, or what the adapter has in its place.
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
    let of_updates: HashSet<&str> = plan.updates().iter().flat_map(Update::tensors).collect();
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
        let of_updates: HashSet<&str> = plan.updates().iter().flat_map(Update::tensors).collect();
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
        let update = self.updates.get(name);
        let is_needed = !self.base.ignores(name);
        let (shape, values) = match (self.replaced(name), self.base.stored(name)) {
            (Some((shape, values)), _) => (*shape, Some(values.to_vec())),
            (None, Some((checkpoint, of_base))) if update.is_none() && of_base.dtype == entry.dtype => {
                return match checkpoint.bytes(of_base) == merged.bytes(entry) && of_base.shape == entry.shape {
                    false => Err(wrong(format!("has another `{name}` than the base"))),
                    true if is_needed => self.base.not_finite_among(&[name])?.map_or(Ok(()), Err),
                    true => Ok(()),
                };
            }
            (None, Some((checkpoint, of_base))) => (of_base.shape.as_slice(), checkpoint.wide(of_base)?),
            (None, None) => {
                let (checkpoint, of_base) = self
                    .base
                    .twin(name)
                    .and_then(|twin| self.base.stored(twin))
                    .ok_or_else(|| MergeError::NoBase { tensor: name.to_string() })?;
                (of_base.shape.as_slice(), checkpoint.wide(of_base)?)
            }
        };
        if shape != entry.shape {
            return Err(wrong(format!("has `{name}` as {:?}, not as {shape:?}", entry.shape)));
        }
        let (Some(values), Some(found)) = (values, merged.wide(entry)?) else {
            return Err(wrong(format!("has another `{name}` than the base")));
        };
        if is_needed && !values.iter().all(|value| value.is_finite()) {
            return self.base.not_finite_among(&[name])?.map_or(Ok(()), Err);
        }
        if is_needed && !found.iter().all(|value| value.is_finite()) {
            let dtype = format!("{:?}", entry.dtype);
            return Err(MergeError::Range { tensor: name.to_string(), dtype }.into());
        }
        let differs = match update {
            None => {
                // By their bits: masks of old checkpoints may hold what is no number and not equal to itself.
                let is_off = |(value, found): (&f32, &f32)| rounded(*value, entry.dtype).to_bits() != found.to_bits();
                values.iter().zip(&found).position(is_off)
            }
            Some(update) => {
                let without = || wrong(format!("has an update of `{name}` without its tensors"));
                self.first_beyond_rounding(update, shape, [&values, &found], entry.dtype).ok_or_else(without)?
            }
        };
        match differs {
            Some(at) => Err(wrong(format!("has other values of `{name}` than base plus adapter, the first at {at}"))),
            None => Ok(()),
        }
    }

    /// The first value that the update does not come to; `None` where a tensor of it is not in the file.
    fn first_beyond_rounding(
        &self,
        update: &Update,
        shape: &[usize],
        [base, found]: [&[f32]; 2],
        dtype: Dtype,
    ) -> Option<Option<usize>> {
        match &update.form {
            Form::LowRank { a, b, scale, transposed, magnitude } => {
                let factors = self.factors([a, b], *scale, *transposed)?;
                let Some(magnitude) = magnitude else {
                    return Some(factors.first_beyond_rounding(base, found, dtype));
                };
                let lengths = Lengths::new(&factors, base, self.adapter.values(magnitude)?, *transposed);
                Some(lengths.first_beyond_rounding(&factors, base, found, dtype))
            }
            Form::Scaling { vector, of, transposed } => {
                let factors = self.adapter.values(vector)?;
                let columns = shape.last().copied().unwrap_or(1);
                // Of a bias, which has no rows, each value is an output's.
                let is_by_rows = shape.len() > 1 && (*of == Side::Outputs) != *transposed;
                let (of_type, smallest) = precision(dtype);
                let is_off = |at: usize| {
                    let factor = factors[if is_by_rows { at / columns } else { at % columns }];
                    let expected = f64::from(base[at]) * f64::from(factor);
                    let allowed = (of_type + f64::from(f32::EPSILON)) * expected.abs() + smallest;
                    (f64::from(found[at]) - expected).abs() > allowed
                };
                Some((0..base.len()).find(|at| is_off(*at)))
            }
            Form::Bottleneck { .. } => None,
        }
    }

    /// The factors as the file has them, so that `left · right` lies as the weight does.
    fn factors(&self, [a, b]: [&str; 2], scale: f64, transposed: bool) -> Option<Factors> {
        let shape_of = |name: &str| self.adapter.names().find(|(known, _)| *known == name).map(|(_, shape)| shape);
        let &[rank, columns] = shape_of(a)? else { return None };
        let (a, b) = (self.adapter.values(a)?, self.adapter.values(b)?);
        let transpose = |matrix: &[f32], width: usize| -> Vec<f32> {
            (0..width).flat_map(|column| matrix.iter().skip(column).step_by(width).copied()).collect()
        };
        Some(match transposed {
            false => Factors { left: b.to_vec(), right: a.to_vec(), rank, columns, scale },
            true => {
                Factors { left: transpose(a, columns), right: transpose(b, rank), rank, columns: b.len() / rank, scale }
            }
        })
    }
}

struct Factors {
    /// `[rows, rank]`
    left: Vec<f32>,
    /// `[rank, columns]`
    right: Vec<f32>,
    rank: usize,
    columns: usize,
    scale: f64,
}

impl Factors {
    /// The first value that is not `base + scale * left · right` but for what rounding explains: once to the type, and in
    /// between as often as there are terms, in f32.
    fn first_beyond_rounding(&self, base: &[f32], found: &[f32], dtype: Dtype) -> Option<usize> {
        let (of_type, smallest) = precision(dtype);
        let of_terms = self.of_terms();
        let row = |(row, (base, found)): (usize, (&[f32], &[f32]))| {
            let sums = self.row(row, base);
            let is_off = |column: usize| {
                let Sum { value, size } = sums[column];
                let allowed = of_type * value.abs() + smallest + of_terms * size;
                (f64::from(found[column]) - value).abs() > allowed
            };
            (0..self.columns).find(|column| is_off(*column)).map(|column| row * self.columns + column)
        };
        base.par_chunks(self.columns).zip(found.par_chunks(self.columns)).enumerate().filter_map(row).min()
    }

    /// What the roundings of a sum come to, as a share of the sizes of its terms.
    fn of_terms(&self) -> f64 {
        (self.rank + 4) as f64 * f64::from(f32::EPSILON)
    }

    /// A row of `base + scale * left · right`.
    fn row(&self, row: usize, base: &[f32]) -> Vec<Sum> {
        let mut sums: Vec<Sum> =
            base.iter().map(|value| Sum { value: f64::from(*value), size: f64::from(value.abs()) }).collect();
        let left = &self.left[row * self.rank..][..self.rank];
        for (factor, right) in left.iter().zip(self.right.chunks(self.columns)) {
            let factor = f64::from(*factor) * self.scale;
            for (sum, value) in sums.iter_mut().zip(right) {
                let term = factor * f64::from(*value);
                sum.value += term;
                sum.size += term.abs();
            }
        }
        sums
    }
}

#[derive(Clone, Copy)]
struct Sum {
    value: f64,
    /// The sum of the magnitudes of its terms.
    size: f64,
}

/// The lengths that what belongs to each output is brought to.
struct Lengths {
    /// By what each output's values are multiplied, and the error of that as a share, for each share that a sum is off.
    of_outputs: Vec<(f64, f64)>,
    by_columns: bool,
}

impl Lengths {
    fn new(factors: &Factors, base: &[f32], lengths: &[f32], by_columns: bool) -> Self {
        let (mut squares, mut sizes) = (vec![0.0_f64; lengths.len()], vec![0.0_f64; lengths.len()]);
        for (row, base) in base.chunks(factors.columns).enumerate() {
            for (column, sum) in factors.row(row, base).into_iter().enumerate() {
                let output = if by_columns { column } else { row };
                squares[output] += sum.value * sum.value;
                sizes[output] += sum.size * sum.size;
            }
        }
        let of_output = |((length, square), size): ((&f32, f64), f64)| {
            let norm = square.sqrt().max(f64::from(f32::MIN_POSITIVE));
            (f64::from(*length) / norm, size.sqrt() / norm)
        };
        Self { of_outputs: lengths.iter().zip(squares).zip(sizes).map(of_output).collect(), by_columns }
    }

    /// As [`Factors::first_beyond_rounding`].
    fn first_beyond_rounding(&self, factors: &Factors, base: &[f32], found: &[f32], dtype: Dtype) -> Option<usize> {
        let (of_type, smallest) = precision(dtype);
        let of_terms = factors.of_terms();
        let row = |(row, (base, found)): (usize, (&[f32], &[f32]))| {
            let sums = factors.row(row, base);
            let is_off = |column: usize| {
                let (factor, error) = self.of_outputs[if self.by_columns { column } else { row }];
                let expected = factor * sums[column].value;
                let of_factor = of_terms * error + f64::from(f32::EPSILON);
                let allowed =
                    (of_type + of_factor) * expected.abs() + smallest + of_terms * (factor * sums[column].size).abs();
                (f64::from(found[column]) - expected).abs() > allowed
            };
            (0..factors.columns).find(|column| is_off(*column)).map(|column| row * factors.columns + column)
        };
        base.par_chunks(factors.columns).zip(found.par_chunks(factors.columns)).enumerate().filter_map(row).min()
    }
}

/// The largest error of rounding to a type, relative to the value, and of values so small that they lose digits.
fn precision(dtype: Dtype) -> (f64, f64) {
    match dtype {
        Dtype::F16 => (2.0_f64.powi(-11), 2.0_f64.powi(-24)),
        Dtype::BF16 => (2.0_f64.powi(-8), 2.0_f64.powi(-130)),
        _ => (2.0_f64.powi(-23), 2.0_f64.powi(-145)),
    }
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

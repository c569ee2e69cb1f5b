//! What a merge has written, compared with what base and adapter come to by their files alone. Neither the model that was
//! merged nor anything else made of those files is asked: a mistake in it would be the same on both sides.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};
use lora::peft::AdapterTensors;
use lora::{Form, Plan, Side, Update};
use rayon::prelude::*;
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
                let without = || wrong(format!("has an update of `{name}` without its tensors"));
                let expected = self.expected(update, &original)?.ok_or_else(without)?;
                let mut differs = None;
                for panel in panels(&entry.shape) {
                    let start = panel.start;
                    let [base, found] = [original.values(panel.clone())?, merged.values(entry, panel)?];
                    let (Some(base), Some(found)) = (base, found) else {
                        return Err(wrong(format!("has another `{name}` than the base")));
                    };
                    differs = expected.first_beyond_rounding(start, &base, &found, entry.dtype);
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

    /// What an update makes of a tensor; `None` where a tensor of it is not in the file.
    fn expected(&self, update: &Update, original: &Original<'_>) -> Result<Option<Expected<'_>>, Error> {
        let shape = original.shape();
        match &update.form {
            Form::LowRank { a, b, scale, transposed, magnitude } => {
                let Some(factors) = self.factors([a, b], *scale, *transposed) else { return Ok(None) };
                let Some(magnitude) = magnitude else { return Ok(Some(Expected::Sum(factors))) };
                let Some(lengths) = self.adapter.values(magnitude) else { return Ok(None) };
                let mut lengths = Measured::new(lengths, *transposed);
                for panel in panels(shape) {
                    let start = panel.start;
                    lengths.add(&factors, start / factors.columns, &original.values(panel)?.unwrap_or_default());
                }
                Ok(Some(Expected::Lengths(factors, lengths.finish())))
            }
            Form::Scaling { vector, of, transposed } => {
                let columns = shape.last().copied().unwrap_or(1);
                // Of a bias, which has no rows, each value is an output's.
                let by_rows = shape.len() > 1 && (*of == Side::Outputs) != *transposed;
                Ok(self.adapter.values(vector).map(|factors| Expected::Product { factors, columns, by_rows }))
            }
            Form::Network { .. } => Ok(None),
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

/// What an update makes of a tensor.
enum Expected<'a> {
    Sum(Factors),
    Lengths(Factors, Lengths),
    Product { factors: &'a [f32], columns: usize, by_rows: bool },
}

impl Expected<'_> {
    /// The first of some whole rows' values, from the one of index `start` on, that is another than rounding explains.
    fn first_beyond_rounding(&self, start: usize, base: &[f32], found: &[f32], dtype: Dtype) -> Option<usize> {
        match self {
            Self::Sum(factors) => factors.first_beyond_rounding(start, base, found, dtype),
            Self::Lengths(factors, lengths) => lengths.first_beyond_rounding(factors, start, base, found, dtype),
            Self::Product { factors, columns, by_rows } => {
                let (of_type, smallest) = precision(dtype);
                let is_off = |at: &usize| {
                    let place = start + at;
                    let factor = factors[if *by_rows { place / columns } else { place % columns }];
                    let expected = f64::from(base[*at]) * f64::from(factor);
                    let allowed = (of_type + f64::from(f32::EPSILON)) * expected.abs() + smallest;
                    !is_near(found[*at], expected, allowed)
                };
                (0..base.len()).find(is_off).map(|at| start + at)
            }
        }
    }
}

/// Not so of what is no number.
fn is_near(found: f32, expected: f64, allowed: f64) -> bool {
    (f64::from(found) - expected).abs() <= allowed
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
    fn first_beyond_rounding(&self, start: usize, base: &[f32], found: &[f32], dtype: Dtype) -> Option<usize> {
        let (of_type, smallest) = precision(dtype);
        let of_terms = self.of_terms();
        let row = |(row, (base, found)): (usize, (&[f32], &[f32]))| {
            let row = start / self.columns + row;
            let sums = self.row(row, base);
            let is_off = |column: usize| {
                let Sum { value, size } = sums[column];
                !is_near(found[column], value, of_type * value.abs() + smallest + of_terms * size)
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

/// The same while rows are gone through.
struct Measured<'a> {
    lengths: &'a [f32],
    by_columns: bool,
    /// Of each output's sums, and of the sizes of their terms.
    squares: Vec<(f64, f64)>,
}

impl<'a> Measured<'a> {
    fn new(lengths: &'a [f32], by_columns: bool) -> Self {
        Self { lengths, by_columns, squares: vec![(0.0, 0.0); lengths.len()] }
    }

    /// Some whole rows of the base, from row `first` on.
    fn add(&mut self, factors: &Factors, first: usize, base: &[f32]) {
        for (row, base) in base.chunks(factors.columns).enumerate() {
            for (column, sum) in factors.row(first + row, base).into_iter().enumerate() {
                let (value, size) = &mut self.squares[if self.by_columns { column } else { first + row }];
                *value += sum.value * sum.value;
                *size += sum.size * sum.size;
            }
        }
    }

    fn finish(self) -> Lengths {
        let of_output = |(length, (value, size)): (&f32, (f64, f64))| {
            let norm = value.sqrt().max(f64::from(f32::MIN_POSITIVE));
            (f64::from(*length) / norm, size.sqrt() / norm)
        };
        let of_outputs = self.lengths.iter().zip(self.squares).map(of_output).collect();
        Lengths { of_outputs, by_columns: self.by_columns }
    }
}

impl Lengths {
    /// As [`Factors::first_beyond_rounding`].
    fn first_beyond_rounding(
        &self,
        factors: &Factors,
        start: usize,
        base: &[f32],
        found: &[f32],
        dtype: Dtype,
    ) -> Option<usize> {
        let (of_type, smallest) = precision(dtype);
        let of_terms = factors.of_terms();
        let row = |(row, (base, found)): (usize, (&[f32], &[f32]))| {
            let row = start / factors.columns + row;
            let sums = factors.row(row, base);
            let is_off = |column: usize| {
                let (factor, error) = self.of_outputs[if self.by_columns { column } else { row }];
                let expected = factor * sums[column].value;
                let of_factor = of_terms * error + f64::from(f32::EPSILON);
                let allowed =
                    (of_type + of_factor) * expected.abs() + smallest + of_terms * (factor * sums[column].size).abs();
                !is_near(found[column], expected, allowed)
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

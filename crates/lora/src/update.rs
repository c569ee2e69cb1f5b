//! What an adapter does to its module. A form of that is its method's own, and stands in the method's room: which tensors it is
//! made of, how it is folded into a weight, how large it is, and what a weight must be that it was folded into.

mod check;
#[cfg(test)]
pub(crate) mod fixtures;

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;

use burn::tensor::TensorData;

use crate::Factors;
use crate::peft::AdapterTensors;

pub use check::{Expected, Precision};

/// The update of a module.
#[derive(Debug, Clone)]
pub struct Update {
    pub module: String,
    pub form: Arc<dyn Form>,
}

/// Tensors are named as in the adapter's file without PEFT's prefix.
pub trait Form: Debug + Send + Sync {
    /// The names of its tensors, first the one that it is found by.
    fn tensors(&self) -> Vec<&str>;

    /// Whether the bias of the module changes with the weight.
    fn changes_bias(&self) -> bool {
        false
    }

    /// Whether its size cannot be told without the weight.
    fn depends_on_weight(&self) -> bool {
        false
    }

    /// The thin factors whose product is added to the weight; `None` for a form that is no such sum, nor begins with one.
    fn thin_factors(&self) -> Option<ThinFactors<'_>> {
        None
    }

    /// The thin factors whose product tells how large it is, the one that reads first, with the scale of the product.
    fn measured_by(&self) -> Option<([&str; 2], f64)> {
        self.thin_factors().map(|factors| ([factors.a, factors.b], factors.scale))
    }

    /// How large it is, without its weight; `None` where a tensor of it is not among those of the adapter.
    fn norm(&self, adapter: &HashMap<String, TensorData>) -> Option<f64> {
        Some(Factors::named(self.measured_by()?, adapter)?.norm())
    }

    /// Whether that is no norm but how far a scaling is from one, so that the norm is the weight's to tell.
    fn is_relative(&self) -> bool {
        false
    }

    /// The update to be folded into its weight; `None` where a tensor of it is not among those of the adapter, and where it is no
    /// weight's.
    fn fold(&self, _adapter: &HashMap<String, TensorData>) -> Option<Box<dyn Fold>> {
        None
    }

    /// The update to be folded into the bias of its module, a column of one value for each output, where
    /// [it changes](Self::changes_bias).
    fn fold_bias(&self, _adapter: &HashMap<String, TensorData>) -> Option<Box<dyn Fold>> {
        None
    }

    /// What it makes of its weight, or of the bias where that has one side alone, a tensor of this shape: of the adapter's file, and
    /// by other code than [`Self::fold`], for whoever looks for mistakes in that. `None` as there.
    fn expected(&self, _file: &AdapterTensors, _shape: &[usize]) -> Option<Box<dyn Expected>> {
        None
    }
}

/// `scale * B·A` is added, or that transposed, as the weight lies.
#[derive(Debug, Clone, Copy)]
pub struct ThinFactors<'a> {
    /// The name of A, `[r, d_input]`.
    pub a: &'a str,
    /// The name of B, `[d_output, r]`.
    pub b: &'a str,
    pub scale: f64,
    pub transposed: bool,
    /// What the form does beyond this sum.
    pub beyond: Option<Beyond<'a>>,
}

/// What a form does once its factors are added, as other programs know it or do not.
#[derive(Debug, Clone, Copy)]
pub struct Beyond<'a> {
    /// The name of the tensor that it is done with.
    pub tensor: &'a str,
    /// What that holds, with the name of the method.
    pub holds: &'static str,
    /// The method.
    pub method: &'static str,
    /// As mlx-lm has it; `None` where that has not.
    pub mlx: Option<InMlx>,
}

/// A variant of LoRA in mlx-lm.
#[derive(Debug, Clone, Copy)]
pub struct InMlx {
    /// `fine_tune_type` in `adapter_config.json`.
    pub fine_tune_type: &'static str,
    /// What the name of its tensor ends in.
    pub ending: &'static str,
}

/// An update on its way into a weight, of which some rows are at hand at a time: the one place where an update is dense, and
/// only so many rows of it.
pub trait Fold: Debug {
    /// Whether every row has to be [looked at](Self::look) before the first is changed.
    fn looks_first(&self) -> bool {
        false
    }

    /// Takes note of some whole rows of the weight, the first of them row `first`.
    fn look(&mut self, _first: usize, _columns: usize, _rows: &[f32]) {}

    /// Changes some whole rows of the weight, the first of them row `first`.
    fn apply(&self, first: usize, columns: usize, rows: &mut [f32]);
}

impl Update {
    pub(crate) fn new(module: impl Into<String>, form: impl Form + 'static) -> Self {
        Self { module: module.into(), form: Arc::new(form) }
    }

    /// The name of the weight in the base.
    pub fn weight(&self) -> String {
        format!("{}.weight", self.module)
    }

    /// The base's weight with the update in it, in f32; `None` as [`Form::fold`].
    pub fn merged(&self, weight: TensorData, adapter: &HashMap<String, TensorData>) -> Option<TensorData> {
        let shape = weight.shape().clone();
        let columns = shape.last().copied().unwrap_or(1);
        let mut values: Vec<f32> = weight.iter::<f32>().collect();
        let mut fold = self.form.fold(adapter)?;
        if fold.looks_first() {
            fold.look(0, columns, &values);
        }
        fold.apply(0, columns, &mut values);
        Some(TensorData::new(values, shape))
    }
}

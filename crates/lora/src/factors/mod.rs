//! The update of a module as what it is, a product of two thin factors, and what is known and made of it without forming it.
//! In f64: the squares of singular values of f32 factors go beyond the digits of f32.

mod adapter;
mod angles;
mod combination;
mod combined;
mod low_rank;
mod spectrum;
mod thin_svd;

use std::collections::HashMap;

use burn::tensor::TensorData;
use faer::Mat;

use crate::Update;

pub use adapter::{Cut, FactoredAdapter, FactorsError, Module, NewAdapter, Resized, fill_up_experts};
pub use angles::{Angles, principal_angles};
pub use combination::{Combination, MajoritySign, Weighted};
pub use combined::{CombineError, combined};
pub use low_rank::{LowRank, approximated};
pub use spectrum::Spectrum;
pub use thin_svd::ThinSvd;

/// An update `B·A`, its scaling in B.
#[derive(Debug, Clone)]
pub struct Factors {
    /// `[k, d_input]`
    a: Mat<f64>,
    /// `[d_output, k]`
    b: Mat<f64>,
    rank: usize,
}

impl Factors {
    /// Of A, `[rank, d_input]`, and B, `[d_output, rank]`; `None` where the two are not the factors of one update.
    pub fn new(a: &TensorData, b: &TensorData, scale: f64) -> Option<Self> {
        let (&[rank, d_input], &[d_output, columns]) = (&a.shape()[..], &b.shape()[..]) else { return None };
        if columns != rank || rank * d_input * d_output == 0 {
            return None;
        }
        let (a, b) = (matrix(a, [rank, d_input], 1.0), matrix(b, [d_output, rank], scale));
        Some(Self { rank, ..Self::of_products(a, b) })
    }

    /// Those that an update [is measured by](crate::Form::measured_by); `None` for one that is not, or without its tensors.
    pub fn of(update: &Update, tensors: &HashMap<String, TensorData>) -> Option<Self> {
        Self::named(update.form.measured_by()?, tensors)
    }

    /// Those of these names, with the scale of their product.
    pub(crate) fn named(([a, b], scale): ([&str; 2], f64), tensors: &HashMap<String, TensorData>) -> Option<Self> {
        Self::new(tensors.get(a)?, tensors.get(b)?, scale)
    }

    /// A rank that no update of this size has is brought down to its smaller side, one factor being the identity then.
    fn of_products(a: Mat<f64>, b: Mat<f64>) -> Self {
        let (rank, d_input, d_output) = (a.nrows(), a.ncols(), b.nrows());
        match () {
            () if rank <= d_input.min(d_output) => Self { a, b, rank },
            () if d_input <= d_output => Self { b: b * a, a: Mat::identity(d_input, d_input), rank },
            () => Self { a: b * a, b: Mat::identity(d_output, d_output), rank },
        }
    }

    /// The weighted sum of updates of one size, whose factors lie one after the other: `[w₁B₁, w₂B₂, ..]·[A₁; A₂; ..]`.
    ///
    /// # Panics
    /// If there are none, or if their sizes differ.
    pub fn sum(parts: &[(f64, Self)]) -> Self {
        let [d_output, d_input] = parts[0].1.shape();
        let rank = parts.iter().map(|(_, part)| part.a.nrows()).sum();
        let (mut a, mut b) = (Mat::zeros(rank, d_input), Mat::zeros(d_output, rank));
        let mut first = 0;
        for (weight, part) in parts {
            assert_eq!(part.shape(), [d_output, d_input], "updates of one module");
            let k = part.a.nrows();
            a.get_mut(first..first + k, ..).copy_from(&part.a);
            b.get_mut(.., first..first + k).copy_from(&part.b * faer::Scale(*weight));
            first += k;
        }
        Self::of_products(a, b)
    }

    /// `[d_output, d_input]`
    pub fn shape(&self) -> [usize; 2] {
        [self.b.nrows(), self.a.ncols()]
    }

    /// That of the factors, which may be above that of their product.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The inner product of two updates as vectors: the sum over the entries of `B₁ᵀB₂` times those of `A₁A₂ᵀ`.
    ///
    /// # Panics
    /// If their sizes differ.
    pub fn dot(&self, other: &Self) -> f64 {
        assert_eq!(self.shape(), other.shape(), "updates of one module");
        let (of_a, of_b) = (&self.a * other.a.transpose(), self.b.transpose() * &other.b);
        let columns = 0..of_a.ncols();
        columns.map(|j| (0..of_a.nrows()).map(|i| of_a[(i, j)] * of_b[(i, j)]).sum::<f64>()).sum()
    }

    /// The Frobenius norm.
    pub fn norm(&self) -> f64 {
        self.dot(self).max(0.0).sqrt()
    }

    /// That of the angle between two updates as vectors; `None` where one of them is nothing.
    pub fn cosine(&self, other: &Self) -> Option<f64> {
        let norms = self.norm() * other.norm();
        (norms > 0.0).then(|| (self.dot(other) / norms).clamp(-1.0, 1.0))
    }

    /// A, `[k, d_input]`, and B, `[d_output, k]`, in f32, to be added as they are.
    pub fn tensors(&self) -> [TensorData; 2] {
        [&self.a, &self.b].map(|matrix| {
            let (height, width) = (matrix.nrows(), matrix.ncols());
            let rows = (0..height).flat_map(|i| (0..width).map(move |j| matrix[(i, j)] as f32));
            TensorData::new(rows.collect::<Vec<f32>>(), [height, width])
        })
    }
}

fn matrix(data: &TensorData, [height, width]: [usize; 2], scale: f64) -> Mat<f64> {
    let values: Vec<f64> = data.iter::<f64>().collect();
    Mat::from_fn(height, width, |i, j| scale * values[i * width + j])
}

#[cfg(test)]
mod tests;

//! Several updates of a module as one, by PEFT's formulas (`LoraModel.add_weighted_adapter` and `utils/merge_utils.py`), which
//! weigh, prune and elect the entries of A and of B, each for itself.

use burn::tensor::TensorData;
use kernels::{mix, uniform};

use super::Factors;

/// How updates become one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Combination {
    /// The weighted sums of the A and of the B, which is not the weighted sum of the updates.
    Linear,
    /// The weighted sum of the updates itself, of the sum of their ranks.
    Cat,
    /// The same cut to this rank.
    Svd { rank: usize },
    /// What is small is pruned, and of each entry only those count that have the majority's sign (Yadav et al. 2023, arXiv
    /// 2306.01708).
    Ties { density: f32, sign: MajoritySign },
    /// Random entries are pruned and the rest scaled up, so that the mean stays (DARE, Yu et al. 2024, arXiv 2311.03099).
    DareLinear { density: f32, seed: u64 },
    /// The pruning of DARE, then the election of TIES.
    DareTies { density: f32, sign: MajoritySign, seed: u64 },
}

/// How the majority's sign is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MajoritySign {
    /// That of the sum.
    Total,
    /// That of the greater number.
    Frequency,
}

/// An update, `scale * B·A`, with its weight. A is `[rank, d_input]`, B `[d_output, rank]`.
#[derive(Debug, Clone, Copy)]
pub struct Weighted<'a> {
    pub a: &'a TensorData,
    pub b: &'a TensorData,
    pub scale: f64,
    pub weight: f64,
}

impl Combination {
    /// Whether the factors have to have one rank, because their entries are taken together.
    pub fn needs_one_rank(self) -> bool {
        !matches!(self, Self::Cat | Self::Svd { .. })
    }

    /// A and B of the combined update, in f32, to be added as they are. `module` is what random entries derive from, with the seed.
    /// `None` where the updates have different sizes, or different ranks with a combination that [needs
    /// one](Self::needs_one_rank).
    pub fn of(self, module: &str, parts: &[Weighted<'_>]) -> Option<[TensorData; 2]> {
        match self {
            Self::Cat => cat(parts),
            Self::Svd { rank } => {
                let of = |part: &Weighted<'_>| Some((part.weight, Factors::new(part.a, part.b, part.scale)?));
                let parts: Vec<(f64, Factors)> = parts.iter().map(of).collect::<Option<_>>()?;
                let is_one_size = parts.windows(2).all(|pair| pair[0].1.shape() == pair[1].1.shape());
                if parts.is_empty() || !is_one_size {
                    return None;
                }
                Some(Factors::sum(&parts).svd()?.factors(rank, 1.0).tensors())
            }
            Self::Linear | Self::Ties { .. } | Self::DareLinear { .. } | Self::DareTies { .. } => {
                // A negative weight turns one factor alone, or the product would not be turned.
                let weight_of_a = |part: &Weighted<'_>| {
                    let weight = part.weight * part.scale;
                    (weight.abs().sqrt() * if weight >= 0.0 { 1.0 } else { -1.0 }) as f32
                };
                let weight_of_b = |part: &Weighted<'_>| (part.weight * part.scale).abs().sqrt() as f32;
                let tensors = |of: fn(&Weighted<'_>) -> TensorData| parts.iter().map(of).collect::<Vec<_>>();
                let [of_a, of_b]: [Vec<f32>; 2] =
                    [parts.iter().map(weight_of_a).collect(), parts.iter().map(weight_of_b).collect()];
                let key = |factor: u64| mix(kernels::hash_text(module)) ^ factor;
                Some([
                    self.of_tensors(&tensors(|part| part.a.clone()), &of_a, key(0))?,
                    self.of_tensors(&tensors(|part| part.b.clone()), &of_b, key(1))?,
                ])
            }
        }
    }

    /// Of the same factor of each update.
    fn of_tensors(self, tensors: &[TensorData], weights: &[f32], key: u64) -> Option<TensorData> {
        let shape = tensors.first()?.shape().clone();
        if tensors.iter().any(|tensor| *tensor.shape() != shape) {
            return None;
        }
        let mut values: Vec<Vec<f32>> = tensors.iter().map(|tensor| tensor.iter::<f32>().collect()).collect();
        for (n, values) in values.iter_mut().enumerate() {
            match self {
                Self::Ties { density, .. } => prune_smallest(values, density),
                Self::DareLinear { density, seed } | Self::DareTies { density, seed, .. } => {
                    let key = mix(seed ^ key.rotate_left(1)) ^ n as u64;
                    prune_others(values, density, |at| uniform(key, at as u64) < f64::from(density));
                }
                Self::Linear | Self::Cat | Self::Svd { .. } => {}
            }
        }
        let combined = match self {
            Self::Ties { sign, .. } | Self::DareTies { sign, .. } => elected(&values, weights, sign),
            Self::Linear | Self::Cat | Self::Svd { .. } | Self::DareLinear { .. } => weighted_sum(&values, weights),
        };
        Some(TensorData::new(combined, shape))
    }
}

/// The factors one after the other, with weight and scale in A.
fn cat(parts: &[Weighted<'_>]) -> Option<[TensorData; 2]> {
    let (&[_, d_input], &[d_output, _]) = (&parts.first()?.a.shape()[..], &parts.first()?.b.shape()[..]) else {
        return None;
    };
    let (mut a, mut rank) = (Vec::new(), 0);
    let mut rows_of_b = vec![Vec::<f32>::new(); d_output];
    for part in parts {
        let k = part.a.shape()[0];
        if part.a.shape()[..] != [k, d_input] || part.b.shape()[..] != [d_output, k] {
            return None;
        }
        rank += k;
        a.extend(part.a.iter::<f32>().map(|value| value * part.weight as f32 * part.scale as f32));
        let b: Vec<f32> = part.b.iter::<f32>().collect();
        rows_of_b.iter_mut().zip(b.chunks(k.max(1))).for_each(|(row, values)| row.extend(values));
    }
    Some([TensorData::new(a, [rank, d_input]), TensorData::new(rows_of_b.concat(), [d_output, rank])])
}

/// PEFT's `magnitude_based_pruning`: the largest entries stay, `density` times as many as there are, rounded down.
fn prune_smallest(values: &mut [f32], density: f32) {
    let kept = (f64::from(density) * values.len() as f64) as usize;
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|left, right| values[*right].abs().total_cmp(&values[*left].abs()));
    for at in order.into_iter().skip(kept) {
        values[at] = 0.0;
    }
}

/// PEFT's `random_pruning`: those stay that `is_kept`, scaled up so that the expected value is as it was.
fn prune_others(values: &mut [f32], density: f32, is_kept: impl Fn(usize) -> bool) {
    if density < 1.0 {
        values.iter_mut().enumerate().for_each(|(at, value)| *value = if is_kept(at) { *value / density } else { 0.0 });
    }
}

/// PEFT's `task_arithmetic`.
fn weighted_sum(tensors: &[Vec<f32>], weights: &[f32]) -> Vec<f32> {
    let sum = |at: usize| tensors.iter().zip(weights).map(|(values, weight)| values[at] * weight).sum();
    (0..tensors[0].len()).map(sum).collect()
}

/// PEFT's `calculate_majority_sign_mask` and `disjoint_merge`: the mean of the weighted entries whose sign, before they are
/// weighted, is that of the majority.
fn elected(tensors: &[Vec<f32>], weights: &[f32], method: MajoritySign) -> Vec<f32> {
    let sign = |value: f32| if value == 0.0 { 0.0 } else { value.signum() };
    let entry = |at: usize| {
        let values = || tensors.iter().map(|values| values[at]);
        let total: f32 = match method {
            MajoritySign::Total => values().sum(),
            MajoritySign::Frequency => values().map(sign).sum(),
        };
        let majority = if total >= 0.0 { 1.0 } else { -1.0 };
        let with_it = || values().zip(weights).filter(|(value, _)| sign(*value) == majority);
        let sum: f32 = with_it().map(|(value, weight)| value * weight).sum();
        sum / with_it().count().max(1) as f32
    };
    (0..tensors[0].len()).map(entry).collect()
}

#[cfg(test)]
mod tests;

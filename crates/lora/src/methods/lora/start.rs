//! Starts that are a part of the weight: PiSSA and OLoRA. What is left of the weight becomes the frozen base in memory, in its
//! own type, as PEFT's `pissa_init` and `olora_init` leave it; the file that it came from stays as it is. Once trained, the
//! adapter is a plain one of twice the rank on the untouched base: `B·A - B₀·A₀ = [B, -B₀]·[A; A₀]`, PEFT's
//! `subtract_mutated_init`. With DoRA too: `B·A` and the rest come to `B·A - B₀·A₀` and the untouched base, so that rows have the same
//! lengths, and the magnitudes are saved as they are; PEFT's conversion leaves them out.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use kernels::Svd;

use super::{EMBEDDING, Init, LINEAR, LoraConfig};
use crate::trained::{TrainedTensors, normal};
use crate::{Error, Orientation, Site, TargetError, Weight};

impl LoraConfig {
    /// Of the adapter as a plain one on the untouched base, of twice the rank with the same scaling.
    pub(super) fn doubled(self) -> Self {
        let factor = if self.use_rslora { std::f64::consts::SQRT_2 } else { 2.0 };
        let rank_pattern = self.rank_pattern.into_iter().map(|(key, rank)| (key, 2 * rank)).collect();
        let alpha_pattern = self.alpha_pattern.into_iter().map(|(key, alpha)| (key, factor * alpha)).collect();
        let (r, alpha) = (2 * self.r, factor * self.alpha);
        Self { r, alpha, rank_pattern, alpha_pattern, init: Init::Default, ..self }
    }

    /// The opposite of [`Self::doubled`]: as the adapter was trained.
    pub(super) fn halved(self) -> Self {
        let factor = if self.use_rslora { std::f64::consts::SQRT_2 } else { 2.0 };
        let rank_pattern = self.rank_pattern.into_iter().map(|(key, rank)| (key, rank / 2)).collect();
        let alpha_pattern = self.alpha_pattern.into_iter().map(|(key, alpha)| (key, alpha / factor)).collect();
        // Which part it was does not matter: the tensors are at hand.
        let init = Init::Pissa { iterations: None };
        Self { r: self.r / 2, alpha: self.alpha / factor, rank_pattern, alpha_pattern, init, ..self }
    }

    /// # Errors
    /// A weight has no more parts than its smaller side.
    pub(super) fn check_part_of_base(&self, site: &Site<'_>, rank: usize) -> Result<(), TargetError> {
        let side = site.d_input.min(site.d_output);
        if rank <= side {
            return Ok(());
        }
        let is_by_pattern = self.ranks()?.decide(site.path, site.settings)?.is_some();
        Err(TargetError::RankAboveSide {
            key: if is_by_pattern { "rank_pattern" } else { "r" },
            rank,
            init: self.init.name(),
            module: site.path.to_owned(),
            shape: [site.d_output, site.d_input],
        })
    }
}

/// Takes `scale * B·A` out of the weight of `site` and returns A, `[rank, d_input]`, and B, `[d_output, rank]`, which are kept
/// under `names` as well; `None` where the weight's values are not at hand. Those that are kept already, of a run that is
/// resumed, are taken out as they are: another processor may decompose a weight into slightly other ones.
pub(super) fn take_out(
    init: Init,
    site: &mut Site<'_>,
    (rank, scale): (usize, f64),
    names: &[String; 2],
    tensors: &mut TrainedTensors,
) -> Result<Option<[Tensor<2>; 2]>, Error> {
    let (d_input, d_output, device) = (site.d_input, site.d_output, site.device);
    let Some(base) = site.base.as_deref_mut().filter(|_| site.is_read) else { return Ok(None) };
    let (shape, dtype) = (base.value().dims(), base.value().dtype());
    let of_base = || format!("{}.weight", site.path);
    let host = base.value().into_data().convert::<f32>();
    let mut weight = host.try_into_vec::<f32>().expect("it was converted");
    if !weight.iter().all(|value| value.is_finite()) {
        return Err(Error::NotFinite { tensor: of_base() });
    }
    let lies_transposed = site.orientation == Orientation::InOut;
    if lies_transposed {
        weight = transposed(&weight, d_output);
    }
    let kept = names.each_ref().map(|name| tensors.start(name));
    let [a, b] = match kept {
        [Some(a), Some(b)] => [a, b],
        _ => {
            tensors.interruption.check()?;
            let key = tensors.key(site.path);
            let factors = factors(init, &weight, [d_output, d_input], (rank, scale), key);
            factors.ok_or_else(|| Error::NoDecomposition { tensor: of_base(), init: init.name() })?
        }
    };
    kernels::subtract_product(&mut weight, d_input, &b, &a, scale);
    if lies_transposed {
        weight = transposed(&weight, d_input);
    }
    let residual = Tensor::<2>::from_data(TensorData::new(weight, shape), &Device::flex()).cast(dtype);
    *base = Weight::frozen(Tensor::from_data(residual.into_data(), (device, dtype)));
    let start = [TensorData::new(a, [rank, d_input]), TensorData::new(b, [d_output, rank])];
    for (name, data) in names.iter().zip(&start) {
        tensors.keep_start(name.clone(), data.clone(), dtype != DType::F32);
    }
    Ok(Some(start.map(|data| Tensor::from_data(data, device))))
}

/// A and B row by row, of a `[d_output, d_input]` weight; `None` where f32 has not the range for them.
fn factors(
    init: Init,
    weight: &[f32],
    shape: [usize; 2],
    (rank, scale): (usize, f64),
    key: u64,
) -> Option<[Vec<f32>; 2]> {
    let found = match init {
        Init::Pissa { iterations: None } => balanced(kernels::svd(weight, shape, rank)?, rank, scale),
        Init::Pissa { iterations: Some(iterations) } => {
            let test = normal((shape[0].min(shape[1]) * rank) as u64, 1.0, key);
            balanced(kernels::svd_lowrank(weight, shape, rank, iterations.get(), &test)?, rank, scale)
        }
        Init::Olora => {
            let [q, r] = kernels::qr(weight, shape, rank);
            [r, q]
        }
        Init::Default | Init::Gaussian | Init::Mica => return None,
    };
    found.iter().flatten().all(|value| value.is_finite()).then_some(found)
}

/// `A = √(S / scale)·Vᵀ` and `B = U·√(S / scale)`.
fn balanced(svd: Svd, rank: usize, scale: f64) -> [Vec<f32>; 2] {
    let Svd { u, s, vt } = svd;
    let roots: Vec<f32> = s.iter().map(|value| (value / scale as f32).sqrt()).collect();
    let columns = vt.len() / rank.max(1);
    let a = vt.iter().enumerate().map(|(i, value)| roots[i / columns] * value).collect();
    let b = u.iter().enumerate().map(|(i, value)| value * roots[i % rank]).collect();
    [a, b]
}

/// The matrix of these rows of `width`, row by row of its columns.
fn transposed(matrix: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| matrix.iter().skip(column).step_by(width).copied()).collect()
}

/// The tensors of an adapter as those of a plain one of twice the rank: `[A; A₀]` and `[B, -B₀]`. Where nothing was taken out,
/// as of an embedding, which starts as ever, the second half is zero.
pub(super) fn plain(
    tensors: Vec<(String, TensorData)>,
    starts: &HashMap<String, TensorData>,
) -> Vec<(String, TensorData)> {
    let doubled = |(name, data): (String, TensorData)| {
        let is = |n: usize| name.ends_with(LINEAR[n]) || name.ends_with(EMBEDDING[n]);
        let (is_a, is_b) = (is(0), is(1));
        let &[rows, columns] = &data.shape()[..] else { return (name, data) };
        if !is_a && !is_b {
            return (name, data);
        }
        let start = match starts.get(&name) {
            Some(start) => start.iter::<f32>().collect(),
            None => vec![0.0; rows * columns],
        };
        let values: Vec<f32> = data.iter::<f32>().collect();
        if is_a {
            return (name, TensorData::new([values, start].concat(), [2 * rows, columns]));
        }
        let rows_of = values.chunks(columns).zip(start.chunks(columns));
        let values = rows_of.flat_map(|(b, start)| b.iter().copied().chain(start.iter().map(|value| -value)));
        let data = TensorData::new(values.collect::<Vec<f32>>(), [rows, 2 * columns]);
        (name, data)
    };
    tensors.into_iter().map(doubled).collect()
}

/// Tensors as they were trained, and what they started with on linear layers.
type Apart = (Vec<(String, TensorData)>, HashMap<String, TensorData>);

/// The opposite of [`plain`]; `None` where a rank is odd, so that there is no start in it.
pub(super) fn apart(tensors: Vec<(String, TensorData)>) -> Option<Apart> {
    let is_odd = |(name, data): &(String, TensorData)| {
        let side = (0..2).find(|n| name.ends_with(LINEAR[*n]) || name.ends_with(EMBEDDING[*n]));
        side.and_then(|side| data.shape().get(side)).is_some_and(|rank| rank % 2 == 1)
    };
    if tensors.iter().any(is_odd) {
        return None;
    }
    let mut starts = HashMap::new();
    let halves = |(name, data): (String, TensorData)| {
        let is = |n: usize| name.ends_with(LINEAR[n]) || name.ends_with(EMBEDDING[n]);
        let (is_a, is_b) = (is(0), is(1));
        let &[rows, columns] = &data.shape()[..] else { return (name, data) };
        let values: Vec<f32> = data.iter::<f32>().collect();
        let (half, [trained, start]) = if is_a {
            let (trained, start) = values.split_at(rows / 2 * columns);
            ([rows / 2, columns], [trained.to_vec(), start.to_vec()])
        } else if is_b {
            let width = columns / 2;
            let of_rows =
                |from: usize| values.chunks(columns.max(1)).flat_map(move |row| row[from..from + width].to_vec());
            ([rows, width], [of_rows(0).collect(), of_rows(width).map(|value| -value).collect()])
        } else {
            return (name, data);
        };
        if LINEAR.iter().any(|ending| name.ends_with(ending)) {
            starts.insert(name.clone(), TensorData::new(start, half));
        }
        (name, TensorData::new(trained, half))
    };
    let trained = tensors.into_iter().map(halves).collect();
    Some((trained, starts))
}

#[cfg(test)]
mod tests;

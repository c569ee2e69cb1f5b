//! LoRA (Hu et al. 2021, arXiv 2106.09685). Reference: `lora.Linear` in PEFT.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kernels::{LowRank, Phase, RowsUpdate, lora_linear, trained_linear, uniform};

use super::Init;
use super::magnitude::Magnitude;
use crate::trained::normal;
use crate::{ForwardContext, Projection};

/// The low-rank update `scale * B·A` of a frozen linear layer, with DoRA beside a length for each row of the sum.
#[derive(Module, Debug)]
pub struct Lora {
    /// `[r, d_input]`
    a: Param<Tensor<2>>,
    /// `[d_output, r]`
    b: Param<Tensor<2>>,
    magnitude: Option<Magnitude>,
    scale: f32,
    dropout: f64,
    /// The hash of the layer's path: what its dropout derives from.
    #[module(skip)]
    site: u64,
}

impl Lora {
    pub fn new(a: Param<Tensor<2>>, b: Param<Tensor<2>>, scale: f64, dropout: f64, site: u64) -> Self {
        Self { a, b, magnitude: None, scale: scale as f32, dropout, site }
    }

    pub(super) fn with_magnitude(self, magnitude: Magnitude) -> Self {
        Self { magnitude: Some(magnitude), ..self }
    }

    /// Dropout acts on the input of A alone, as in PEFT.
    pub(crate) fn forward(&self, x: Tensor<2>, base: Projection<'_>, ctx: &ForwardContext) -> Tensor<2> {
        let mask = ctx.dropout_mask(self.dropout, self.site);
        let factors = [self.a.val(), self.b.val()];
        if let Some(magnitude) = &self.magnitude {
            let options = LowRank { scale: self.scale, mask, compute: ctx.compute() };
            return base.changed(x, ctx, |x, weight, orientation, bias| {
                magnitude.forward(x, (weight, orientation, bias), factors, options)
            });
        }
        let [a, b] = factors;
        if base.is_base() {
            let options = LowRank { scale: self.scale, mask, compute: ctx.compute() };
            return base
                .fused(|weight, orientation, bias| lora_linear(x, weight.matrix(orientation), bias, a, b, options));
        }
        let down = trained_linear(kernels::dropout(x.clone(), mask), a, None, ctx.phase());
        base.forward(x, ctx) + trained_linear(down, b, None, ctx.phase()) * self.scale
    }

    pub(crate) fn forward_rows(
        &self,
        output: Tensor<2>,
        x: &Tensor<2>,
        rows: Range<usize>,
        base: Projection<'_>,
        ctx: &ForwardContext,
    ) -> Tensor<2> {
        if self.magnitude.is_some() || !base.is_base() {
            // Of DoRA's sum the base's share is scaled before its bias is added.
            return Projection::replaced(output, x, rows, ctx, |x, ctx| self.forward(x, base, ctx));
        }
        let update = RowsUpdate { rows, scale: self.scale };
        kernels::add_low_rank(output, x.clone(), [self.a.val(), self.b.val()], update)
    }
}

/// The low-rank update `scale * (B·A)ᵀ` of a table of vectors. Reference: `lora.Embedding` in PEFT, which has no dropout and
/// starts with A, not B, at zero.
#[derive(Module, Debug)]
pub struct LoraEmbedding {
    /// `[r, rows of the table]`
    a: Param<Tensor<2>>,
    /// `[d, r]`
    b: Param<Tensor<2>>,
    scale: f32,
}

impl LoraEmbedding {
    pub(super) fn new(a: Param<Tensor<2>>, b: Param<Tensor<2>>, scale: f64) -> Self {
        Self { a, b, scale: scale as f32 }
    }

    /// `found` are the vectors at these indices, `[tokens, d]`.
    pub(crate) fn forward(&self, found: Tensor<2>, indices: Tensor<1, Int>) -> Tensor<2> {
        let down = self.a.val().select(1, indices).transpose();
        found + trained_linear(down, self.b.val(), None, Phase::default()) * self.scale
    }
}

/// A at the start of training where B is zero, `[r, d_input]`, and where a part of the base is to start them whose values are not
/// read. `key` is the hash of the run's seed and the layer's path, so a
/// layer's values depend on no other layer.
pub(super) fn initial_a(init: Init, r: usize, d_input: usize, key: u64, device: &Device) -> Tensor<2> {
    let count = (r * d_input) as u64;
    let values: Vec<f32> = match init {
        Init::Default | Init::Mica | Init::Pissa { .. } | Init::Olora => {
            // Kaiming uniform with a = sqrt(5), which is the bound 1 / sqrt(d_input).
            let bound = 1.0 / (d_input as f64).sqrt();
            (0..count).map(|i| ((2.0 * uniform(key, i) - 1.0) * bound) as f32).collect()
        }
        Init::Gaussian => normal(count, 1.0 / r as f64, key),
    };
    Tensor::from_data(TensorData::new(values, [r, d_input]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_values_have_the_spread_of_peft_and_depend_on_the_key() {
        let device = Device::flex();
        let values = |init, key| initial_a(init, 64, 100, key, &device).into_data().try_to_vec::<f32>().unwrap();
        let spread = |values: &[f32]| {
            let n = values.len() as f64;
            let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
            (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt()
        };
        let uniform = values(Init::Default, 1);
        assert!(uniform.iter().all(|v| v.abs() <= 0.1));
        // U(-0.1, 0.1) has the deviation 0.1 / sqrt(3); of 6400 values it is known to about 1 %.
        assert!((spread(&uniform) - 0.057_735).abs() < 0.001, "{}", spread(&uniform));
        let gaussian = values(Init::Gaussian, 1);
        assert!((spread(&gaussian) - 1.0 / 64.0).abs() < 0.000_5, "{}", spread(&gaussian));
        assert_eq!(uniform, values(Init::Default, 1));
        assert_ne!(uniform, values(Init::Default, 2));
    }
}

//! The operations of a transformer that are worth a form of their own: linear layers, frozen, with LoRA or DoRA and trained, ragged
//! attention, rotary embedding, activations and gates, LayerNorm and RMSNorm, dropout, residual connections,
//! trained biases, cross-entropy, with and without its linear layer, a step of AdamW.
//! Each is a method of [`KernelBackend`], an extension of burn's `Backend`: written once for any backend, given its gradients, if
//! it has any, once for `Autodiff<B, C>`, and replaced by a faster form where a backend has one.
//!
//! Beside them are the decompositions of a matrix that adapters start from, on the host.
//!
//! This crate knows tensors and backends. It knows no parameters, no module names and no files.

mod activation;
mod adamw;
mod attention;
mod backend;
mod bias;
#[cfg(test)]
mod bounds;
mod compute;
mod cross_entropy;
mod decomposition;
mod disentangled_attention;
mod dora_linear;
mod dropout;
#[cfg(test)]
mod every_form;
mod flex;
mod gated;
mod layer_norm;
mod layout;
mod linear;
mod linear_cross_entropy;
mod logits;
mod lora_linear;
mod low_rank_update;
mod noise;
mod padded;
mod precision;
mod quantised;
mod relative_positions;
mod residual;
mod rms_norm;
mod rotary;
mod row_norms;
mod simd;
mod soft_cap;
mod wide;
mod widen;

pub use activation::{Activation, UnknownActivation};
pub use adamw::{AdamWStep, adamw};
pub use attention::{Attention, attention, joined_attention};
pub use backend::{KernelBackend, Maybe};
pub use bias::add_bias;
pub use compute::{Compute, Phase};
pub use cross_entropy::{cross_entropy, margins};
pub use decomposition::{Svd, qr, subtract_product, svd, svd_lowrank};
pub use disentangled_attention::{DisentangledAttention, disentangled_attention};
pub use dora_linear::dora_linear;
pub use dropout::dropout;
pub use gated::{Gate, gated_activation, joined_gated_activation};
pub use layer_norm::layer_norm;
pub use layout::{AttentionMask, Layout, Offsets};
pub use linear::{linear, trained_linear};
pub use linear_cross_entropy::{LOGITS_AT_ONCE, linear_cross_entropy};
pub use logits::LogitsTransform;
pub use lora_linear::{LowRank, lora_linear};
pub use low_rank_update::{RowsUpdate, add_low_rank};
pub use noise::{DropoutMask, Noise, hash_text, mix, uniform};
pub use precision::Precision;
pub use quantised::{FrozenMatrix, FrozenPrimitive, NF4_VALUES, Nf4Parts, Quantisation, Quantised, dynamic_map};
pub use relative_positions::RelativePositions;
pub use residual::residual;
pub use rms_norm::{rms_norm, unit_offset_rms_norm};
pub use rotary::rotary;
pub use row_norms::{RowNorms, row_norms};
pub use simd::{Simd, SimdError};
pub use widen::widen;

#[cfg(test)]
mod tests {
    use super::{Simd, every_form};

    #[test]
    fn every_test_holds_with_every_kind_of_vectors_that_the_processor_has() {
        let others: Vec<&str> = Simd::available().into_iter().skip(1).map(Simd::name).collect();
        every_form::run_again(Simd::VARIABLE, &others, &[]);
    }
}

//! A soft cap: `cap * tanh(x / cap)`, nearly x where x is small, and never more than the cap. Gemma 2 caps the scores of attention and
//! the logits (arXiv 2408.00118, section 2).

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;

pub(crate) fn soft_capped<B: Backend>(x: FloatTensor<B>, cap: f32) -> FloatTensor<B> {
    B::float_mul_scalar(B::float_tanh(B::float_div_scalar(x, cap.into())), cap.into())
}

/// The derivative where the capped value is this, `1 - (capped / cap)²`.
pub(crate) fn soft_cap_slope<B: Backend>(capped: FloatTensor<B>, cap: f32) -> FloatTensor<B> {
    let tanh = B::float_div_scalar(capped, cap.into());
    B::float_add_scalar(B::float_neg(B::float_mul(tanh.clone(), tanh)), 1.0.into())
}

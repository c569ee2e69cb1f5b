//! LayerNorm (Ba et al. 2016, arXiv 1607.06450), composed from burn's operations.

use burn::tensor::Tensor;

/// `(x - mean) / sqrt(variance + epsilon) * weight + bias` over each row, with the biased variance, as `torch.nn.LayerNorm`.
///
/// # Shapes
/// `x: [rows, d]`, `weight` and `bias: [d]`.
pub fn layer_norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>, epsilon: f64) -> Tensor<2> {
    let centred = x.clone() - x.mean_dim(1);
    let variance = (centred.clone() * centred.clone()).mean_dim(1);
    centred / (variance + epsilon).sqrt() * weight.unsqueeze() + bias.unsqueeze()
}

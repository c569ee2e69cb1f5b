//! Linear layers: weights of any float type, which are read where they lie, and the gradients of those that are trained.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::Shape;

use super::matrix::{Factor, Matrix, Stored};
use super::product::{Term, product};
use super::{decode, tensor, vector_of, with_rows};
use crate::{Compute, FrozenPrimitive, Phase, Precision};

/// `x·Wᵀ + b`
pub(crate) fn forward(
    x: FlexTensor,
    weight: FrozenPrimitive<Flex>,
    bias: Option<FlexTensor>,
    compute: Compute,
) -> FlexTensor {
    let x = with_rows(x);
    let (Some(of_x), Some(of_weight)) = (Matrix::of(&x), Factor::of_frozen(&weight)) else {
        return crate::linear::composed::<Flex>(x, weight, bias);
    };
    let (rows, [d_output, _]) = (of_x.rows(), of_weight.shape());
    let bias = bias.map(vector_of);
    let bias = bias.as_ref().and_then(|bias| bias.as_slice());
    let output = if is_read_in_place(compute, of_weight) {
        decode::product(of_x, of_weight, bias)
    } else {
        let (right, precision) = (of_weight.transposed(), compute.precision);
        product(&[Term { left: Factor::Plain(of_x), right, factor: 1.0, precision }], bias)
    };
    tensor(output, Shape::new([rows, d_output]))
}

/// `d_output·W`
pub(crate) fn backward(d_output: FlexTensor, weight: FrozenPrimitive<Flex>, precision: Precision) -> FlexTensor {
    let upstream = with_rows(d_output);
    let (Some(of_upstream), Some(right)) = (Matrix::of(&upstream), Factor::of_frozen(&weight)) else {
        return crate::linear::composed_backward::<Flex>(upstream, weight);
    };
    let (rows, [_, d_input]) = (of_upstream.rows(), right.shape());
    let term = Term { left: Factor::Plain(of_upstream), right, factor: 1.0, precision };
    tensor(product(&[term], None), Shape::new([rows, d_input]))
}

/// `d_outputᵀ·x`
pub(crate) fn weight_gradient(x: FlexTensor, d_output: FlexTensor) -> FlexTensor {
    let [x, upstream] = [x, d_output].map(with_rows);
    let (Some(of_x), Some(of_upstream)) = (Matrix::of(&x), Matrix::of(&upstream)) else {
        return crate::linear::composed_weight_gradient::<Flex>(x, upstream);
    };
    let shape = Shape::new([of_upstream.columns(), of_x.columns()]);
    let (left, right) = (Factor::Transposed(of_upstream), Factor::Plain(of_x.into()));
    let term = Term { left, right, factor: 1.0, precision: Precision::F32 };
    tensor(product(&[term], None), shape)
}

/// Whether the weight is to be read once and where it lies, for as few rows as a pass has that decodes. Products in bf16 are computed as
/// in any pass, unless their weight is quantised: it takes longer to fill a panel than to read it.
pub(super) fn is_read_in_place(compute: Compute, weight: Factor<Stored<'_>>) -> bool {
    let has_panels = compute.precision == Precision::Bf16 && Precision::has_bf16() && !weight.is_quantised();
    compute.phase == Phase::Decode && !has_panels
}

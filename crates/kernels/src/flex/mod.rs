//! Forms for burn's CPU backend, where they were measured to pay. Each is compared with its composed form in
//! `tests/gradients.rs`, and gives the same bits for any number of threads: no sum crosses what one thread works on.

pub(crate) mod activation;
pub(crate) mod layer_norm;
pub(crate) mod vector;
pub(crate) mod widen;

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

/// Values that one thread works on at a time: 64 KiB, which stays in its cache.
const CHUNK: usize = 16 * 1024;

/// A contiguous f32 tensor of these values.
fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::{TensorData, Tolerance};

    use super::*;
    use crate::{Activation, uniform};

    /// Values between -4 and 4.
    fn values(shape: &[usize], key: u64) -> FlexTensor {
        let count = shape.iter().product::<usize>() as u64;
        let values: Vec<f32> = (0..count).map(|i| (8.0 * uniform(key, i) - 4.0) as f32).collect();
        FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
    }

    fn close(left: FlexTensor, right: FlexTensor) {
        // Sums of up to 129 values of a size of a few units, in another order.
        left.into_data().assert_approx_eq::<f32>(&right.into_data(), Tolerance::rel_abs(2e-5, 2e-5));
    }

    #[test]
    fn each_form_equals_the_composed_one() {
        for [rows, width] in [[1, 1], [2, 3], [31, 129], [70, 64]] {
            let (x, upstream) = (values(&[rows, width], 1), values(&[rows, width], 2));
            for kind in [Activation::Gelu, Activation::GeluTanh] {
                close(activation::forward(x.clone(), kind), crate::activation::composed::<Flex>(x.clone(), kind));
                close(
                    activation::backward(x.clone(), upstream.clone(), kind),
                    crate::activation::composed_backward::<Flex>(x.clone(), upstream.clone(), kind),
                );
            }
            let (weight, bias) = (values(&[width], 3), values(&[width], 4));
            close(
                layer_norm::forward(x.clone(), weight.clone(), bias.clone(), 1e-5),
                crate::norm::composed::<Flex>(x.clone(), weight.clone(), bias, 1e-5),
            );
            let ours = layer_norm::backward(x.clone(), weight.clone(), upstream.clone(), 1e-5);
            let composed = crate::norm::composed_backward::<Flex>(x, weight, upstream, 1e-5);
            close(ours.0, composed.0);
            close(ours.1, composed.1);
            close(ours.2, composed.2);
        }
    }

    #[test]
    fn tensors_that_are_views_are_read_through_their_strides() {
        let x = values(&[5, 9], 1);
        let (view, copy) = (x.transpose(0, 1), x.transpose(0, 1).to_contiguous());
        let forward = |x| activation::forward(x, Activation::Gelu).into_data();
        assert_eq!(forward(view), forward(copy));
    }
}

//! Dropout in one pass: the factors of a row are hashed and multiplied, never kept.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::{CHUNK, tensor};
use crate::Mask;

pub(crate) fn dropout(x: FlexTensor, mask: &Mask) -> FlexTensor {
    let x = x.to_contiguous();
    let Some(values) = x.as_slice::<f32>().filter(|values| x.dtype() == DType::F32 && !values.is_empty()) else {
        return crate::dropout::composed::<Flex>(x, mask);
    };
    let width = x.layout().shape()[1];
    let mut output = vec![0.0; values.len()];
    output
        .par_chunks_exact_mut(width)
        .zip(values.par_chunks_exact(width))
        .enumerate()
        .with_min_len(CHUNK.div_ceil(width))
        .for_each(|(row, (output, values))| {
            output.copy_from_slice(values);
            mask.apply(row, 0, output);
        });
    tensor(output, x.layout().shape().clone())
}

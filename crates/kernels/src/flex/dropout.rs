//! Dropout and residual connections in one pass: the factors of a row are hashed and multiplied, never kept, and what is new is
//! written over what is dropped or added, where nobody else holds it.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rayon::prelude::*;

use super::{CHUNK, changed};
use crate::DropoutMask;
use crate::wide::with_wide_vectors;

pub(crate) fn dropout(x: FlexTensor, mask: &DropoutMask) -> FlexTensor {
    if !has_values(&x) {
        return crate::dropout::composed::<Flex>(x, mask);
    }
    let width = x.layout().shape()[1];
    changed(x, |values| {
        let rows = values.par_chunks_exact_mut(width).enumerate().with_min_len(CHUNK.div_ceil(width));
        rows.for_each(|(row, values)| mask.apply(row, 0, values));
    })
}

pub(crate) fn residual(x: FlexTensor, branch: FlexTensor, mask: Option<DropoutMask>) -> FlexTensor {
    let x = x.to_contiguous();
    let Some(of_x) = x.as_slice::<f32>().filter(|_| has_values(&x) && has_values(&branch)) else {
        return crate::residual::composed::<Flex>(x, branch, mask);
    };
    let width = x.layout().shape()[1];
    changed(branch, |values| {
        let rows = values.par_chunks_exact_mut(width).zip(of_x.par_chunks_exact(width)).enumerate();
        rows.with_min_len(CHUNK.div_ceil(width)).for_each(|(row, (values, x))| {
            if let Some(mask) = &mask {
                mask.apply(row, 0, values);
            }
            add(values, x);
        });
    })
}

fn has_values(x: &FlexTensor) -> bool {
    x.dtype() == DType::F32 && x.layout().shape().num_elements() > 0
}

with_wide_vectors! {
    fn add(values: &mut [f32], x: &[f32]) {
        for (value, x) in values.iter_mut().zip(x) {
            *value += x;
        }
    }
}

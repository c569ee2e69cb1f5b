//! Half precision to f32 by the processor's own instructions, on all threads. burn's cast on Flex converts one value at a
//! time on one thread.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::{CHUNK, tensor};

pub(crate) fn widen(weight: FlexTensor) -> FlexTensor {
    if weight.dtype() == DType::F32 {
        return weight;
    }
    let weight = weight.to_contiguous();
    let values = match weight.dtype() {
        DType::F16 => weight.as_slice::<f16>().map(convert),
        DType::BF16 => weight.as_slice::<bf16>().map(convert),
        _ => None,
    };
    match values {
        Some(values) => tensor(values, weight.layout().shape().clone()),
        None => crate::widen::composed::<Flex>(weight),
    }
}

fn convert<E: Sync>(from: &[E]) -> Vec<f32>
where
    [E]: HalfFloatSliceExt,
{
    let mut to = vec![0.0; from.len()];
    to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| from.convert_to_f32_slice(to));
    to
}

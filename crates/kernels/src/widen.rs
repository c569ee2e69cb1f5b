//! Weights kept in half precision become f32 where they are used, and nowhere longer than that.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, AutodiffBackend, Backend, Dispatch, TensorMetadata};
use burn::tensor::{DType, FloatDType, Tensor};

use crate::KernelBackend;

pub(crate) fn composed<B: Backend>(weight: FloatTensor<B>) -> FloatTensor<B> {
    match weight.dtype() {
        DType::F32 => weight,
        _ => B::float_cast(weight, FloatDType::F32),
    }
}

/// A frozen weight on an autodiff device stays a constant.
pub(crate) fn untracked<B: KernelBackend, C: CheckpointStrategy>(
    weight: FloatTensor<Autodiff<B, C>>,
) -> FloatTensor<Autodiff<B, C>> {
    <Autodiff<B, C> as AutodiffBackend>::from_inner(B::widen(weight.into_primitive()))
}

/// The weight in f32: itself if it is that already, otherwise a copy.
pub fn widen<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    match weight.dtype() {
        DType::F32 => weight,
        _ => Tensor::from_dispatch(<Dispatch as KernelBackend>::widen(weight.into_dispatch())),
    }
}

pub(crate) mod flex {
    //! burn's cast on Flex converts one value at a time on one thread; `half` converts a slice with the processor's own
    //! instructions.

    use burn::backend::Flex;
    use burn::backend::flex::{FlexTensor, Layout};
    use burn::tensor::{Bytes, DType};
    use half::slice::HalfFloatSliceExt;
    use half::{bf16, f16};
    use rayon::prelude::*;

    const CHUNK: usize = 16 * 1024;

    pub(crate) fn widen(weight: FlexTensor) -> FlexTensor {
        let weight = weight.to_contiguous();
        let values = match weight.dtype() {
            DType::F16 => weight.as_slice::<f16>().map(convert),
            DType::BF16 => weight.as_slice::<bf16>().map(convert),
            _ => None,
        };
        let Some(values) = values else { return super::composed::<Flex>(weight) };
        let shape = weight.layout().shape().clone();
        FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(shape), DType::F32)
    }

    fn convert<E: Sync>(from: &[E]) -> Vec<f32>
    where
        [E]: HalfFloatSliceExt,
    {
        let mut to = vec![0.0; from.len()];
        to.par_chunks_mut(CHUNK).zip(from.par_chunks(CHUNK)).for_each(|(to, from)| from.convert_to_f32_slice(to));
        to
    }
}

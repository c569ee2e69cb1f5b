//! The tensors that a plan trains, or that an adapter brings in place of the base's: their names, and where their values
//! come from.

use std::collections::HashMap;

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use kernels::{hash_text, mix, uniform};

use crate::Error;
use crate::interruption::Interruption;
use crate::peft::AdapterTensors;

/// What a trained tensor is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Adapter,
    /// A bias of the base that is trained beside an adapter.
    Bias,
    /// A module trained in full: a head, one of `modules_to_save`, or everything.
    Module,
}

/// A trained tensor. `name` is its name in the adapter's file without PEFT's prefix.
#[derive(Debug, Clone)]
pub struct Parameter {
    pub id: ParamId,
    pub name: String,
    pub shape: Vec<usize>,
    pub part: Part,
}

impl Parameter {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A frozen tensor that an adapter brings in place of the base's: embeddings that PEFT saves whole. It is saved again with
/// the adapter. `name` is its name in the adapter's file without PEFT's prefix.
#[derive(Debug)]
pub struct Replacement {
    pub name: String,
    pub shape: Vec<usize>,
    values: Tensor<1>,
}

impl Replacement {
    /// In f32.
    pub fn data(&self) -> TensorData {
        TensorData::new(self.values.clone().into_data().convert::<f32>().iter::<f32>().collect(), self.shape.clone())
    }
}

#[derive(Debug)]
pub struct TrainedTensors {
    pub(crate) values: Option<AdapterTensors>,
    seed: u64,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) replacements: Vec<Replacement>,
    /// What was taken out of the base, or is to be, by the names of the tensors that start with it.
    pub(crate) starts: HashMap<String, TensorData>,
    /// Some of what is left of the base was rounded to half precision.
    pub(crate) rounds_base: bool,
    pub(crate) interruption: Interruption,
}

impl TrainedTensors {
    pub(crate) fn new(values: Option<AdapterTensors>, seed: u64) -> Self {
        Self {
            values,
            seed,
            parameters: Vec::new(),
            replacements: Vec::new(),
            starts: HashMap::new(),
            rounds_base: false,
            interruption: Interruption::default(),
        }
    }

    /// A tensor of an adapter: from the file; `initial` where there is none.
    pub(crate) fn parameter<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
        initial: impl FnOnce() -> Tensor<D>,
    ) -> Result<Param<Tensor<D>>, Error> {
        let value = match self.value(name, shape, device)? {
            Some(value) => value,
            // An error when all have been asked for. Until then it takes no memory, however large a rank the configuration has.
            None if self.values.as_ref().is_some_and(|adapter| adapter.lacks(name)) => {
                Tensor::<D>::zeros([1; D], device).expand(shape)
            }
            None => initial(),
        };
        Ok(self.train(name.to_string(), Part::Adapter, value))
    }

    /// What the tensor of this name started with, where that is known, row by row.
    pub(crate) fn start(&self, name: &str) -> Option<Vec<f32>> {
        self.starts.get(name).map(|data| data.iter::<f32>().collect())
    }

    /// Records what was taken out of a weight, of which what is left was rounded or not.
    pub(crate) fn keep_start(&mut self, name: String, data: TensorData, is_rounded: bool) {
        self.starts.insert(name, data);
        self.rounds_base |= is_rounded;
    }

    /// What the random values of a module or tensor derive from, so that they depend on no other.
    pub(crate) fn key(&self, path: &str) -> u64 {
        mix(self.seed) ^ hash_text(path)
    }

    /// The value that the plan's adapter has for a trained tensor; `None` if the plan has no adapter.
    pub(crate) fn value<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Option<Tensor<D>>, Error> {
        match &mut self.values {
            Some(values) => {
                Ok(values.take(name, &shape)?.map(|values| Tensor::from_data(TensorData::new(values, shape), device)))
            }
            None => Ok(None),
        }
    }

    /// See [`Plan::replacement`](crate::Plan::replacement).
    pub(crate) fn replacement<const D: usize, E: From<Error>>(
        &mut self,
        names: &[String],
        shape: [usize; D],
        on_device: impl FnOnce(TensorData, DType) -> Result<Tensor<D>, E>,
    ) -> Result<Option<Tensor<D>>, E> {
        let Some(adapter) = &mut self.values else { return Ok(None) };
        let found = adapter.take_alike(names, &shape).map_err(Error::from)?;
        let Some((found, values, dtype)) = found else { return Ok(None) };
        let tensor = on_device(TensorData::new(values, shape), dtype)?;
        for name in found {
            let values = tensor.clone().detach().reshape([shape.iter().product::<usize>()]);
            self.replacements.push(Replacement { name, shape: shape.to_vec(), values });
        }
        Ok(Some(tensor))
    }

    /// Makes a tensor a parameter and records it.
    pub(crate) fn train<const D: usize>(&mut self, name: String, part: Part, tensor: Tensor<D>) -> Param<Tensor<D>> {
        let shape = tensor.dims().to_vec();
        let mut param = Param::from_tensor(tensor);
        // From the name, so that an optimiser's record finds its tensor again in another process.
        param.id = ParamId::from(hash_text(&name));
        self.parameters.push(Parameter { id: param.id, name, shape, part });
        param
    }
}

/// Normally distributed values with mean 0, by the method of Box and Muller.
pub(crate) fn normal(count: u64, deviation: f64, key: u64) -> Vec<f32> {
    let angles = mix(key);
    (0..count)
        .map(|i| {
            let radius = (-2.0 * uniform(key, i).ln()).sqrt();
            (deviation * radius * (std::f64::consts::TAU * uniform(angles, i)).cos()) as f32
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;
    use crate::peft::{LAYOUT, TENSOR_FILE, to_bytes};

    #[test]
    fn a_tensor_that_the_file_lacks_takes_no_memory_before_it_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        let other = [("k.lora_A.weight".to_string(), TensorData::zeros::<f32, _>([2, 3]))];
        std::fs::write(directory.path().join(TENSOR_FILE), to_bytes(other.iter(), &LAYOUT).unwrap()).unwrap();
        let adapter = AdapterTensors::read(directory.path(), &Method::default()).unwrap();
        let mut tensors = TrainedTensors::new(Some(adapter), 0);
        let shape = [1 << 40, 48];
        let initial = || panic!("it is not a new adapter");
        let a = tensors.parameter("q.lora_A.weight", shape, &Device::flex(), initial).unwrap();
        assert_eq!(a.val().dims(), shape);
        let error = tensors.values.unwrap().finish(["q.lora_A.weight"].into_iter()).unwrap_err().to_string();
        assert!(error.contains("missing:\n    base_model.model.q.lora_A.weight"), "{error}");
    }
}

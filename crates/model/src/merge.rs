//! Folding an adapter into the weights of its base. Merged in f32 from the checkpoint as it is stored, and rounded once.

use std::collections::HashMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use lora::{Part, Plan, Update};

use crate::architectures::Model;
use crate::checkpoint::OutputTensor;
use crate::pretrained::Pretrained;
use crate::{CheckpointError, Error};

/// The tensors of the base with the adapter that `plan` loaded into `model` folded in, in the order of their names, under
/// the names Transformers gives them. Tensors of other heads are left out.
///
/// `dtype` is what changed tensors are rounded to; unchanged ones keep their stored type unless it is given.
pub fn merged_tensors(
    pretrained: &Pretrained,
    plan: &Plan,
    model: &Model,
    dtype: Option<DType>,
) -> Result<Vec<OutputTensor>, Error> {
    let trained: HashMap<String, TensorData> = plan.tensors(model).into_iter().collect();
    // Of a checkpoint that mixes types the words' is the one meant: norms are often kept wider.
    let words = pretrained.word_embeddings();
    let base_dtype =
        pretrained.tensors().iter().find(|(name, ..)| *name == words).map_or(DType::F32, |(_, _, dtype)| float(dtype));
    let target = dtype.unwrap_or(base_dtype);

    let mut replaced: HashMap<String, TensorData> = HashMap::new();
    for parameter in plan.parameters() {
        let Some(value) = trained.get(&parameter.name) else { continue };
        match parameter.part {
            Part::Module => _ = replaced.insert(parameter.name.clone(), value.clone()),
            Part::Bias => _ = replaced.insert(parameter.name.replace(".base_layer.bias", ".bias"), value.clone()),
            Part::LoraA | Part::LoraB => {}
        }
    }
    for update in plan.updates() {
        let [a, b] = update.factors.each_ref().map(|factor| trained.get(factor).cloned());
        let (Some(a), Some(b)) = (a, b) else { continue };
        let name = format!("{}.weight", update.module);
        // A tied output layer has none, or a copy that nothing reads; and what its embeddings learned is theirs alone.
        if pretrained.find(&name).is_none() || pretrained.passes_over(&name) || pretrained.is_shared(&name) {
            return Err(Error::Tied { module: update.module.clone() });
        }
        let weight = wide(pretrained, &name)?;
        replaced.insert(name, (weight + dense(a, b, update)).into_data());
    }

    let mut names: Vec<String> =
        pretrained.names().filter(|name| !pretrained.passes_over(name)).map(String::from).collect();
    names.extend(replaced.keys().filter(|name| pretrained.find(name).is_none()).cloned());
    names.sort_unstable();
    let mut tensors = Vec::with_capacity(names.len());
    for name in names {
        let tensor = match (replaced.remove(&name), pretrained.find(&name)) {
            (Some(data), _) => OutputTensor::rounded(name, data, target),
            (None, Some((checkpoint, _, entry)))
                if dtype.is_none_or(|dtype| dtype == float(&format!("{:?}", entry.dtype))) =>
            {
                OutputTensor::stored(name, entry.dtype, entry.shape.clone(), checkpoint.bytes(entry))
            }
            (None, _) => {
                let data = wide_flat(pretrained, &name)?;
                OutputTensor::rounded(name, data, target)
            }
        };
        tensors.push(tensor);
    }
    Ok(tensors)
}

/// `scale * B·A` as the weight lies: the one place where the update is a dense matrix.
fn dense(a: TensorData, b: TensorData, update: &Update) -> Tensor<2> {
    let device = Device::flex();
    let (a, b) = (Tensor::<2>::from_data(a, &device), Tensor::<2>::from_data(b, &device));
    let product = b.matmul(a) * update.scale;
    if update.transposed { product.transpose() } else { product }
}

fn wide(pretrained: &Pretrained, name: &str) -> Result<Tensor<2>, CheckpointError> {
    let data = wide_flat(pretrained, name)?;
    Ok(Tensor::from_data(data, &Device::flex()))
}

fn wide_flat(pretrained: &Pretrained, name: &str) -> Result<TensorData, CheckpointError> {
    let (checkpoint, stored, entry) = pretrained.find(name).expect("the name comes from the checkpoint");
    let device = Device::flex();
    let data = match entry.shape.len() {
        1 => checkpoint.tensor::<1>(stored, entry, &device)?.cast(DType::F32).into_data(),
        _ => checkpoint.tensor::<2>(stored, entry, &device)?.cast(DType::F32).into_data(),
    };
    Ok(data)
}

fn float(dtype: &str) -> DType {
    match dtype {
        "F16" => DType::F16,
        "BF16" => DType::BF16,
        _ => DType::F32,
    }
}

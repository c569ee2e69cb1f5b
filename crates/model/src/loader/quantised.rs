//! Matrices of linear layers that are quantised while they are loaded, one after the other: each is read into memory of its own, which
//! is given back before the next is read.

use burn::tensor::{Device, Tensor, TensorData};
use kernels::{Quantisation, Quantised};
use lora::{FrozenWeight, Orientation, Treatment, Weight};

use super::{Initial, Loader};
use crate::Error;
use crate::checkpoint::CheckpointError;
use crate::pretrained::{Frozen, Values};

/// Whose matrix it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Linear,
    /// The output layer of a language model, and word embeddings that it is tied to.
    Output,
    /// Heads and embeddings, which stay as stored.
    Other,
}

impl Loader<'_> {
    /// The weight of the layer here, and how it is [to be quantised](Self::quantise) once a method has taken its part out of it.
    pub(super) fn layer_weight(
        &self,
        owner: Owner,
        treatment: Treatment,
        shape: [usize; 2],
        orientation: Orientation,
    ) -> Result<(Weight<2>, Option<Quantisation>), Error> {
        let Some(quantisation) = self.quantisation(owner, treatment) else {
            return Ok((self.weight("weight", shape, treatment, Initial::Normal)?, None));
        };
        self.build.plan.borrow_mut().count_quantised(shape, quantisation);
        let is_replaced = treatment == Treatment::Adapted && self.build.plan.borrow().method().changes_base();
        let weight = match is_replaced {
            true => self.weight_to_replace(shape, orientation, treatment, quantisation)?,
            false => self.quantised_weight(shape, orientation, quantisation)?,
        };
        Ok((weight, Some(quantisation)))
    }

    /// How the matrix of the layer here, so treated, is to be quantised; `None`: not at all.
    pub(super) fn quantisation(&self, owner: Owner, treatment: Treatment) -> Option<Quantisation> {
        if treatment == Treatment::Trained {
            return None;
        }
        if let Some(quantisation) = self.of_file() {
            return Some(quantisation);
        }
        let Frozen::Quantised { quantisation, output } = self.build.frozen else { return None };
        let is_meant = match owner {
            // As in Transformers, what a quantised checkpoint has left in floats stays so.
            Owner::Linear => self.build.pretrained.quantisation().is_none(),
            Owner::Output => output,
            Owner::Other => false,
        };
        is_meant.then_some(quantisation)
    }

    /// How the checkpoint has the weight here quantised.
    fn of_file(&self) -> Option<Quantisation> {
        let (checkpoint, name, _) = self.build.pretrained.find(&self.join("weight"))?;
        checkpoint.quantisation(name)
    }

    /// The weight here, quantised.
    fn quantised_weight(
        &self,
        shape: [usize; 2],
        orientation: Orientation,
        quantisation: Quantisation,
    ) -> Result<Weight<2>, Error> {
        let tensor = self.join("weight");
        // As bitsandbytes has it, the rows of what is quantised are outputs, however the weight lies.
        let rows_are_outputs = match orientation {
            Orientation::InOut if self.of_file().is_some() => [shape[1], shape[0]],
            Orientation::InOut | Orientation::OutIn => shape,
        };
        let found = self.entry(&tensor, rows_are_outputs)?;
        let Some((checkpoint, name, entry)) = found else { return self.frozen(&tensor, shape) };
        {
            let mut plan = self.build.plan.borrow_mut();
            plan.count_base(shape.iter().product());
            plan.keep(&tensor);
        }
        if self.build.values.get() == Values::ShapesOnly {
            return Ok(Weight::frozen(self.blank(shape)));
        }
        if let Some(quantised) = checkpoint.quantised(name, entry, self.build.device) {
            return Ok(Weight::quantised(quantised));
        }
        let quantised = match orientation {
            Orientation::OutIn => self.of_data(&checkpoint.view(name, entry)?, quantisation),
            Orientation::InOut => {
                self.on_host(checkpoint.tensor(name, entry, &Device::flex())?, orientation, quantisation)
            }
        };
        // Nothing is left to read there.
        checkpoint.release_pages();
        quantised.ok_or_else(|| self.not_finite(&tensor))
    }

    /// The weight that a method takes a part of, in floats: of a quantised checkpoint what its codes stand for.
    fn weight_to_replace(
        &self,
        shape: [usize; 2],
        orientation: Orientation,
        treatment: Treatment,
        quantisation: Quantisation,
    ) -> Result<Weight<2>, Error> {
        if self.of_file().is_none() {
            return self.weight("weight", shape, treatment, Initial::Normal);
        }
        let Weight::Frozen(quantised) = self.quantised_weight(shape, orientation, quantisation)? else {
            unreachable!("what is quantised is frozen")
        };
        Ok(Weight::frozen(match orientation {
            Orientation::OutIn => quantised.float(),
            Orientation::InOut => quantised.float().transpose(),
        }))
    }

    /// Quantises what a weight is so far: what a method or an adapter has put in its place.
    pub(super) fn quantise(
        &self,
        weight: &mut Weight<2>,
        orientation: Orientation,
        quantisation: Quantisation,
    ) -> Result<(), Error> {
        let Weight::Frozen(FrozenWeight::Float(values)) = &*weight else { return Ok(()) };
        if self.build.values.get() == Values::Read {
            let values = Tensor::from_data(values.clone().into_data(), (&Device::flex(), values.dtype()));
            let quantised = self.on_host(values, orientation, quantisation);
            *weight = quantised.ok_or_else(|| self.not_finite(&self.join("weight")))?;
        }
        Ok(())
    }

    fn on_host(&self, values: Tensor<2>, orientation: Orientation, quantisation: Quantisation) -> Option<Weight<2>> {
        let values: TensorData = match orientation {
            Orientation::OutIn => values.into_data(),
            Orientation::InOut => values.transpose().into_data(),
        };
        self.of_data(&values, quantisation)
    }

    fn of_data(&self, values: &TensorData, quantisation: Quantisation) -> Option<Weight<2>> {
        Quantised::of(values, quantisation, self.build.device).map(Weight::quantised)
    }

    fn not_finite(&self, tensor: &str) -> Error {
        match self.build.pretrained.find(tensor) {
            Some((checkpoint, name, entry)) => {
                let (file, tensor) = (checkpoint.file(entry).to_path_buf(), name.to_string());
                CheckpointError::NotFinite { file, tensor }.into()
            }
            None => lora::Error::NotFinite { tensor: tensor.to_string() }.into(),
        }
    }
}

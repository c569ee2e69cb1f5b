//! Word embeddings and output layers: one tensor or two, of the checkpoint or of an adapter that brings its own.

use burn::tensor::{DType, Device, Tensor, TensorData};
use kernels::Quantisation;
use lora::{Embedding, Kind, Orientation, OutputLayer, Treatment, Weight};

use super::quantised::Owner;
use super::{Initial, LoadError, Loader};
use crate::Error;
use crate::head::OutputNames;
use crate::pretrained::{Frozen, Values};

impl Loader<'_> {
    /// The output layer of a language model: of its own, or tied to the word embeddings.
    pub(crate) fn output_layer(
        &self,
        names: OutputNames,
        [d_input, vocabulary]: [usize; 2],
    ) -> Result<OutputLayer, Error> {
        let (at, shape, device) = (self.at(names.module), [d_input, vocabulary], self.build.device);
        let owner = names.bias_of.map(|owner| self.at(owner));
        let (treatment, of_bias) = {
            let mut plan = self.build.plan.borrow_mut();
            let treatment = plan.module(&at.path, Kind::OutputLinear);
            let of_bias = owner.as_ref().filter(|owner| owner.path != at.path);
            (treatment, of_bias.map_or(treatment, |owner| plan.module(&owner.path, Kind::Other)))
        };
        let (mut weight, quantisation) = match self.build.pretrained.ties_word_embeddings() {
            true => (at.untied(treatment, [vocabulary, d_input])?, at.quantisation(Owner::Output, treatment)),
            false => {
                let shape = [vocabulary, d_input];
                let (weight, quantisation) = at.embedding_weight(Owner::Output, treatment, shape, &at.own_names())?;
                (Some(weight), quantisation)
            }
        };
        let bias = match owner {
            Some(owner) => Some(owner.output_bias(&at, vocabulary, of_bias)?),
            None => None,
        };
        let base = (weight.as_mut(), Orientation::OutIn, at.build.values.get() == Values::Read);
        let adapters = at.build.plan.borrow_mut().adapters(&at.path, treatment, shape, base, device);
        let adapters = adapters.map_err(|error| at.in_file(error))?;
        if let (Some(weight), Some(quantisation)) = (&mut weight, quantisation) {
            at.quantise(weight, Orientation::OutIn, quantisation)?;
        }
        Ok(OutputLayer::new(&at.path, weight, bias, adapters))
    }

    /// The weight of an output layer that is tied but for the copies that an adapter has, and for what an adapter leaves of it:
    /// PEFT leaves each end what it does not copy.
    fn untied(&self, treatment: Treatment, shape: [usize; 2]) -> Result<Option<Weight<2>>, Error> {
        let (full, brings, is_changed, is_finished) = {
            let plan = self.build.plan.borrow();
            let is_changed = treatment == Treatment::Adapted && plan.method().changes_tied();
            (plan.method().saves_model(), plan.brings(&self.join("weight")), is_changed, !plan.starts_fresh())
        };
        match treatment {
            Treatment::Trained if full => Ok(None),
            Treatment::Trained if brings => self.weight("weight", shape, treatment, Initial::Normal).map(Some),
            Treatment::Trained => Err(LoadError::Tied { module: self.path.clone() }.into()),
            Treatment::Adapted if is_changed && is_finished => {
                Err(LoadError::PartOfTied { module: self.path.clone() }.into())
            }
            Treatment::Frozen | Treatment::Adapted if self.build.apart.get() || is_changed => {
                let words = self.build.pretrained.word_embeddings();
                match self.replacement(&words, &self.own_names(), shape)? {
                    Some(own) => Ok(Some(own)),
                    None => self.frozen(&words, shape).map(Some),
                }
            }
            Treatment::Frozen | Treatment::Adapted => Ok(None),
        }
    }

    /// The bias that the module here holds for the output layer `layer`; an adapter with that layer has it there.
    fn output_bias(&self, layer: &Self, vocabulary: usize, treatment: Treatment) -> Result<Weight<1>, Error> {
        let own = ["base_layer.bias", "bias"].map(|name| layer.join(name));
        if !self.build.plan.borrow().trains_bias(treatment)
            && let Some(own) = self.replacement(&self.join("bias"), &own, [vocabulary])?
        {
            return Ok(own);
        }
        self.bias([vocabulary], treatment)
    }

    pub(crate) fn embedding(&self, name: &str, rows: usize, width: usize) -> Result<Embedding, Error> {
        let (at, device) = (self.at(name), self.build.device);
        let tensor = at.join("weight");
        let pretrained = self.build.pretrained;
        let (treatment, full, brings) = {
            let mut plan = at.build.plan.borrow_mut();
            let treatment = plan.module(&at.path, Kind::Embedding);
            (treatment, plan.method().saves_model(), plan.brings(&tensor))
        };
        // PEFT trains a copy and leaves the output layer as it was.
        if treatment == Treatment::Trained && !full && pretrained.is_shared(&tensor) {
            if !brings {
                return Err(LoadError::Shared { module: at.path }.into());
            }
            at.build.apart.set(true);
        }
        let weight = match tensor == pretrained.word_embeddings() {
            true => {
                // A tied output layer borrows the table.
                let is_output = pretrained.output().is_some() && pretrained.ties_word_embeddings();
                let owner = if is_output { Owner::Output } else { Owner::Other };
                let found = at.embedding_weight(owner, treatment, [rows, width], &at.shared_names())?;
                let (mut weight, quantisation) = found;
                if let Some(quantisation) = quantisation {
                    at.quantise(&mut weight, Orientation::OutIn, quantisation)?;
                }
                weight
            }
            false => at.weight("weight", [rows, width], treatment, Initial::Normal)?,
        };
        let adapters = at.build.plan.borrow_mut().embedding_adapters(&at.path, treatment, [rows, width], device)?;
        Ok(Embedding::new(&at.path, weight, adapters))
    }

    /// The weight of word embeddings or of an output layer, which an adapter may bring along under these names, and how it is to
    /// be quantised.
    fn embedding_weight(
        &self,
        owner: Owner,
        treatment: Treatment,
        shape: [usize; 2],
        brought: &[String],
    ) -> Result<(Weight<2>, Option<Quantisation>), Error> {
        if treatment != Treatment::Trained
            && let Some(own) = self.replacement(&self.join("weight"), brought, shape)?
        {
            return Ok((own, self.quantisation(owner, treatment)));
        }
        self.layer_weight(owner, treatment, shape, Orientation::OutIn)
    }

    /// The names under which PEFT saves the weight here whole: beside an adapter on it, or because the vocabulary was
    /// resized.
    fn own_names(&self) -> [String; 2] {
        ["base_layer.weight", "weight"].map(|name| self.join(name))
    }

    /// The same for word embeddings, with the names of an output layer that is tied to them and that an adapter does not
    /// copy.
    fn shared_names(&self) -> Vec<String> {
        let pretrained = self.build.pretrained;
        let output = pretrained.output().filter(|_| pretrained.ties_word_embeddings());
        let output = output.map(|output| self.build.root().at(output.module));
        let output = output.filter(|output| !self.build.plan.borrow().saves(&output.path));
        self.own_names().into_iter().chain(output.iter().flat_map(Self::own_names)).collect()
    }

    /// What the plan's adapter has in place of the frozen `tensor` of the checkpoint, whatever the shape of that.
    fn replacement<const D: usize>(
        &self,
        tensor: &str,
        names: &[String],
        shape: [usize; D],
    ) -> Result<Option<Weight<D>>, Error> {
        let build = self.build;
        let make = |data: TensorData, stored: DType| -> Result<Tensor<D>, Error> {
            let kept = match build.frozen {
                _ if D == 1 => DType::F32,
                Frozen::As(dtype) => dtype,
                Frozen::AsStored | Frozen::Quantised { .. } => stored,
            };
            match build.values.get() {
                Values::Read => {
                    let read = |device: &Device| Ok(Tensor::from_data(data.clone(), (device, DType::F32)));
                    Ok(self.on_device(tensor, (DType::F32, kept), read)?)
                }
                Values::ShapesOnly => Ok(self.blank(shape)),
            }
        };
        let mut plan = build.plan.borrow_mut();
        let Some(value) = plan.replacement(names, shape, make)? else { return Ok(None) };
        build.used.borrow_mut().insert(tensor.to_string());
        plan.count_base(shape.iter().product());
        Ok(Some(Weight::frozen(value)))
    }
}

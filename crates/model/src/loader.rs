//! A position in a checkpoint: the only place where an architecture and an adapter method meet. An architecture asks for
//! `linear("query", 768, 768)` and gets a layer whose freezing, type and adapter were decided by its path.
//!
//! What is missing is collected, not reported one by one: a user wants the whole list.

mod embeddings;
mod error;
mod quantised;

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use burn::tensor::{DType, Device, Tensor};
use lora::{Kind, Linear, Orientation, Part, Plan, Sublayer, Treatment, Weight};
use suggest::nearest_module;

use crate::Error;
use crate::checkpoint::{Checkpoint, CheckpointError, Entry};
use crate::layers::{Dropout, LayerNorm, Residual, RmsNorm, RmsNormConfig};
use crate::pretrained::{Frozen, Pretrained, Values};
use quantised::Owner;

pub use error::LoadError;

/// Of the largest value in f16; those too small for it become zero, which is nothing beside the others.
fn fits_f16<const D: usize>(value: &Tensor<D>) -> bool {
    value.clone().cast(DType::F32).abs().max().into_scalar::<f32>() <= 65_504.0
}

/// What came of loading a model, besides the model.
#[derive(Debug)]
pub struct Loaded {
    pub plan: Plan,
    /// Modules that the checkpoint does not have and that start from random values.
    pub initialised: Vec<String>,
    /// Tensors of the checkpoint that belong to another head or are constants, by their first segments.
    pub unused: Vec<String>,
    /// What the user should know of how frozen weights are kept.
    pub notes: Vec<String>,
}

/// How a tensor starts that no file has: as Transformers' `_init_weights` does it. The row of a padding token starts like
/// the others, for there is no padding.
#[derive(Debug, Clone, Copy)]
enum Initial {
    /// Normal with the deviation `initializer_range`.
    Normal,
    Zeros,
    Ones,
}

/// Whether a layer has a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bias {
    Yes,
    No,
}

/// One loading of one model.
pub(crate) struct Build<'a> {
    pretrained: &'a Pretrained,
    device: &'a Device,
    frozen: Frozen,
    values: Cell<Values>,
    /// Whether the head is left out, whatever of it the checkpoint has.
    is_headless: Cell<bool>,
    plan: RefCell<Plan>,
    used: RefCell<HashSet<String>>,
    missing: RefCell<Vec<String>>,
    initialised: RefCell<Vec<String>>,
    notes: RefCell<Vec<String>>,
    /// An adapter's own copy of the word embeddings leaves a tied output layer with those of the base.
    apart: Cell<bool>,
}

impl<'a> Build<'a> {
    pub(crate) fn new(
        pretrained: &'a Pretrained,
        plan: Plan,
        frozen: Frozen,
        values: Values,
        device: &'a Device,
    ) -> Self {
        Self {
            pretrained,
            device,
            frozen,
            values: Cell::new(values),
            is_headless: Cell::new(false),
            plan: RefCell::new(plan),
            used: RefCell::default(),
            missing: RefCell::default(),
            initialised: RefCell::default(),
            notes: RefCell::default(),
            apart: Cell::new(false),
        }
    }

    pub(crate) fn root(&'a self) -> Loader<'a> {
        Loader { build: self, path: String::new() }
    }

    /// From here on values are read, or are not.
    pub(crate) fn read(&self, values: Values) {
        self.values.set(values);
    }

    /// There will be no head.
    pub(crate) fn without_head(&self) {
        self.is_headless.set(true);
    }

    /// Tensors that are trained so far.
    pub(crate) fn trained(&self) -> usize {
        self.plan.borrow().parameters().len()
    }

    /// The modules that the model was made of, whatever else came of it.
    pub(crate) fn into_modules(self) -> Vec<(String, Kind)> {
        self.plan.into_inner().into_modules()
    }

    /// Everything needed was there, everything there was used or is known to be of no use.
    pub(crate) fn finish(self) -> Result<Loaded, Error> {
        let directory = self.pretrained.directory().to_path_buf();
        let mut plan = self.plan.into_inner();
        let missing = self.missing.into_inner();
        if let Some(listed) = missing.iter().find_map(|name| self.pretrained.listed(name)) {
            return Err(listed.into());
        }
        let head_alone = !missing.is_empty() && missing.iter().all(|name| self.pretrained.is_new(name));
        if head_alone {
            let head = self.pretrained.head();
            return Err(
                LoadError::NoHead { directory, head: head.noun(), names: missing, help: head.where_from() }.into()
            );
        }
        plan.finish()?;
        let used = self.used.into_inner();
        let (mut unexpected, mut unused) = (Vec::new(), Vec::new());
        // A tensor that the checkpoint has twice is used under its other name.
        let is_used =
            |name: &str| used.contains(name) || self.pretrained.twin(name).is_some_and(|twin| used.contains(twin));
        for name in self.pretrained.names().filter(|name| !is_used(name)) {
            match self.pretrained.ignores(name) || (self.is_headless.get() && self.pretrained.is_new(name)) {
                true => unused.push(name.split('.').take(2).collect::<Vec<_>>().join(".")),
                false => unexpected.push(name.to_string()),
            }
        }
        if !missing.is_empty() {
            let near = unexpected
                .first()
                .and_then(|name| Some((name, nearest_module(name, missing.iter().map(String::as_str))?)));
            let help = match near {
                Some((name, near)) => format!("it has `{name}`, which may be meant to be `{near}`"),
                None => "config.json and the checkpoint do not belong together: compare `num_hidden_layers` and \
                         `model_type`"
                    .to_string(),
            };
            return Err(LoadError::Missing { directory, names: missing, help }.into());
        }
        if !unexpected.is_empty() {
            let help =
                "config.json and the checkpoint do not belong together: compare `num_hidden_layers` and `model_type`";
            let model = self.pretrained.class().to_string();
            return Err(LoadError::Unexpected { directory, model, names: unexpected, help: help.to_string() }.into());
        }
        unused.dedup();
        Ok(Loaded { plan, initialised: self.initialised.into_inner(), unused, notes: self.notes.into_inner() })
    }
}

/// A path prefix within a [`Build`].
#[derive(Clone)]
pub(crate) struct Loader<'a> {
    build: &'a Build<'a>,
    path: String,
}

/// What becomes of a tensor of the checkpoint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Frozen,
    /// Frozen, until an adapter puts in its place what it leaves of it.
    Replaced,
    Trained,
}

impl Loader<'_> {
    /// The position of a module below this one; `name` may have several segments.
    pub(crate) fn at(&self, name: &str) -> Self {
        Self { build: self.build, path: self.join(name) }
    }

    /// The position of a module that is part of a parameter in Transformers, as an expert is: `share` of the tokens goes through it.
    pub(crate) fn at_joined(&self, name: &str, share: f64) -> Self {
        let at = self.at(name);
        self.build.plan.borrow_mut().joins(&at.path, share);
        at
    }

    pub(crate) fn linear(&self, name: &str, d_input: usize, d_output: usize, bias: Bias) -> Result<Linear, Error> {
        self.linear_of(Kind::Linear, name, [d_input, d_output], Orientation::OutIn, bias)
    }

    /// GPT-2's `Conv1D`, a linear layer whose weight lies the other way round.
    pub(crate) fn conv1d(&self, name: &str, d_input: usize, d_output: usize) -> Result<Linear, Error> {
        self.linear_of(Kind::Linear, name, [d_input, d_output], Orientation::InOut, Bias::Yes)
    }

    /// The last layer of a head, which `all-linear` leaves out.
    pub(crate) fn output_linear(
        &self,
        name: &str,
        d_input: usize,
        d_output: usize,
        bias: Bias,
    ) -> Result<Linear, Error> {
        self.linear_of(Kind::OutputLinear, name, [d_input, d_output], Orientation::OutIn, bias)
    }

    fn linear_of(
        &self,
        kind: Kind,
        name: &str,
        [d_input, d_output]: [usize; 2],
        orientation: Orientation,
        bias: Bias,
    ) -> Result<Linear, Error> {
        let at = self.at(name);
        let treatment = at.build.plan.borrow_mut().module(&at.path, kind);
        let shape = match orientation {
            Orientation::OutIn => [d_output, d_input],
            Orientation::InOut => [d_input, d_output],
        };
        let owner = if kind == Kind::OutputLinear { Owner::Other } else { Owner::Linear };
        let (mut weight, quantisation) = at.layer_weight(owner, treatment, shape, orientation)?;
        let bias = at.bias_if(bias, d_output, treatment)?;
        let device = at.build.device;
        let base = (Some(&mut weight), orientation, at.build.values.get() == Values::Read);
        let adapters = at.build.plan.borrow_mut().adapters(&at.path, treatment, [d_input, d_output], base, device);
        let adapters = adapters.map_err(|error| at.in_file(error))?;
        if let Some(quantisation) = quantisation {
            at.quantise(&mut weight, orientation, quantisation)?;
        }
        Ok(Linear::new(&at.path, weight, orientation, bias, adapters))
    }

    /// A value of the base that is no finite number by the file that it is in.
    fn in_file(&self, error: lora::Error) -> Error {
        let of_file = match &error {
            lora::Error::NotFinite { tensor } => self.build.pretrained.not_finite_among(&[tensor]).ok().flatten(),
            _ => None,
        };
        of_file.unwrap_or_else(|| error.into())
    }

    pub(crate) fn rms_norm(&self, name: &str, width: usize, config: RmsNormConfig) -> Result<RmsNorm, Error> {
        let at = self.at(name);
        let treatment = at.build.plan.borrow_mut().module(&at.path, Kind::Other);
        let initial = if config.plus_one { Initial::Zeros } else { Initial::Ones };
        Ok(RmsNorm { weight: at.weight("weight", [width], treatment, initial)?, config })
    }

    pub(crate) fn layer_norm(&self, name: &str, width: usize, epsilon: f64) -> Result<LayerNorm, Error> {
        self.layer_norm_of(name, width, epsilon, Bias::Yes)
    }

    /// A LayerNorm that may have no bias.
    pub(crate) fn layer_norm_of(&self, name: &str, width: usize, epsilon: f64, bias: Bias) -> Result<LayerNorm, Error> {
        let at = self.at(name);
        let treatment = at.build.plan.borrow_mut().module(&at.path, Kind::LayerNorm);
        let weight = at.weight("weight", [width], treatment, Initial::Ones)?;
        let bias = match bias {
            Bias::Yes => at.bias([width], treatment)?,
            // What is added to nothing, so that there is one form of the operation.
            Bias::No => Weight::frozen(Tensor::zeros([width], at.build.device)),
        };
        Ok(LayerNorm { weight, bias, epsilon })
    }

    /// The residual connection of a sublayer, by the name of its adapters in AdapterHub's `adapters`.
    pub(crate) fn residual(
        &self,
        name: &str,
        sublayer: Sublayer,
        width: usize,
        dropout: Dropout,
    ) -> Result<Residual, Error> {
        let path = self.join(name);
        let mut plan = self.build.plan.borrow_mut();
        let adapters = plan.residual_adapters(&path, sublayer, width, self.build.device)?;
        Ok(Residual::new(&path, dropout, adapters))
    }

    pub(crate) fn dropout(&self, name: &str, probability: f64) -> Dropout {
        Dropout::new(probability, &self.join(name))
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    fn weight<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        treatment: Treatment,
        initial: Initial,
    ) -> Result<Weight<D>, Error> {
        let tensor = self.join(name);
        match treatment {
            Treatment::Trained => self.trained((tensor.clone(), Part::Module), tensor, shape, initial),
            Treatment::Adapted if self.build.plan.borrow().method().changes_base() => {
                self.frozen_for(&tensor, shape, Use::Replaced)
            }
            Treatment::Frozen | Treatment::Adapted => self.frozen(&tensor, shape),
        }
    }

    fn bias_if(&self, bias: Bias, width: usize, treatment: Treatment) -> Result<Option<Weight<1>>, Error> {
        match bias {
            Bias::Yes => self.bias([width], treatment).map(Some),
            Bias::No => Ok(None),
        }
    }

    fn bias(&self, shape: [usize; 1], treatment: Treatment) -> Result<Weight<1>, Error> {
        let tensor = self.join("bias");
        let (trained, saved_as) = {
            let plan = self.build.plan.borrow();
            (plan.trains_bias(treatment), plan.bias_name(&self.path, treatment))
        };
        match trained {
            true => self.trained(saved_as, tensor, shape, Initial::Zeros),
            false => self.frozen(&tensor, shape),
        }
    }

    /// A parameter: from the plan's adapter, else from the checkpoint, else (a part that is new) from the seed.
    fn trained<const D: usize>(
        &self,
        (name, part): (String, Part),
        tensor: String,
        shape: [usize; D],
        initial: Initial,
    ) -> Result<Weight<D>, Error> {
        let brought = self.build.plan.borrow_mut().value(&name, shape, self.build.device)?;
        let value = match brought {
            // The base's own tensor, if it has one, is replaced, whatever its shape: a head for other classes.
            Some(value) => {
                self.build.used.borrow_mut().insert(tensor);
                value
            }
            None => match self.stored(&tensor, shape, Frozen::As(DType::F32), Use::Trained)? {
                Some(value) => value,
                None => self.fresh(&tensor, shape, initial),
            },
        };
        let mut plan = self.build.plan.borrow_mut();
        plan.count_base(value.dims().iter().product());
        Ok(Weight::Trained(plan.train(name, part, value)))
    }

    fn frozen<const D: usize>(&self, tensor: &str, shape: [usize; D]) -> Result<Weight<D>, Error> {
        self.frozen_for(tensor, shape, Use::Frozen)
    }

    fn frozen_for<const D: usize>(&self, tensor: &str, shape: [usize; D], used: Use) -> Result<Weight<D>, Error> {
        // Vectors are in f32 always: norms and biases are computed in it.
        let kept = match self.build.frozen {
            _ if D == 1 => Frozen::As(DType::F32),
            // What is left of it is quantised, without being rounded before.
            Frozen::Quantised { .. } if used == Use::Replaced => Frozen::As(DType::F32),
            frozen => frozen,
        };
        let value = match self.stored(tensor, shape, kept, used)? {
            Some(value) => value,
            None => {
                self.build.missing.borrow_mut().push(tensor.to_string());
                self.blank(shape)
            }
        };
        let mut plan = self.build.plan.borrow_mut();
        plan.count_base(value.dims().iter().product());
        plan.keep(tensor);
        Ok(Weight::frozen(value))
    }

    /// Where the tensor of this name lies in the checkpoint; it counts as used.
    fn entry<const D: usize>(
        &self,
        tensor: &str,
        shape: [usize; D],
    ) -> Result<Option<(&Checkpoint, &str, &Entry)>, Error> {
        let Some((checkpoint, name, entry)) = self.build.pretrained.find(tensor) else { return Ok(None) };
        self.build.used.borrow_mut().insert(tensor.to_string());
        if entry.shape == shape {
            return Ok(Some((checkpoint, name, entry)));
        }
        let (file, tensor) = (checkpoint.file(entry).to_path_buf(), name.to_string());
        let (found, expected) = (entry.shape.clone(), shape.to_vec());
        // Of the last layer of a head the rows are its classes, which config.json does not decide.
        let of_classes = self.build.pretrained.is_new(&tensor) && !found.is_empty() && found[1..] == expected[1..];
        Err(match of_classes {
            true => LoadError::Classes { file, tensor, found: found[0], expected: expected[0] },
            false => LoadError::Shape { file, tensor, found, expected },
        }
        .into())
    }

    /// The tensor of the checkpoint, on the device, in the type it is kept in.
    fn stored<const D: usize>(
        &self,
        tensor: &str,
        shape: [usize; D],
        kept: Frozen,
        used: Use,
    ) -> Result<Option<Tensor<D>>, Error> {
        let Some((checkpoint, name, entry)) = self.entry(tensor, shape)? else { return Ok(None) };
        if checkpoint.quantisation(name).is_some() {
            // What is to be trained starts from what the codes stand for.
            return Ok(match self.build.values.get() {
                Values::Read => {
                    let matrix = checkpoint.quantised(name, entry, self.build.device);
                    matrix.map(|matrix| matrix.widened().reshape(shape))
                }
                Values::ShapesOnly => Some(self.blank(shape)),
            });
        }
        let stored = checkpoint.dtype(name, entry)?;
        let types = (stored, if let Frozen::As(dtype) = kept { dtype } else { stored });
        // What does not stay as it is in the file is not read by way of its map, whose pages would stay.
        let read = match used {
            Use::Frozen if types.0 == types.1 => Checkpoint::tensor,
            Use::Frozen | Use::Replaced | Use::Trained => Checkpoint::copied,
        };
        match self.build.values.get() {
            Values::Read => Ok(Some(self.on_device(name, types, |device| read(checkpoint, name, entry, device))?)),
            Values::ShapesOnly => Ok(Some(self.blank(shape))),
        }
    }

    /// A tensor in the type it is to be kept in; where the device lacks that, in f16 if it has f16 and every value fits, else
    /// in f32. Conversion is the host's: of a type that it lacks a device cannot even make a tensor.
    fn on_device<const D: usize>(
        &self,
        name: &str,
        (stored, kept): (DType, DType),
        read: impl Fn(&Device) -> Result<Tensor<D>, CheckpointError>,
    ) -> Result<Tensor<D>, CheckpointError> {
        let device = self.build.device;
        let lacking = !device.supports_dtype(kept);
        if stored == kept && !lacking {
            return read(device);
        }
        let value = read(&Device::flex())?;
        let dtype = match lacking {
            true if device.supports_dtype(DType::F16) && fits_f16(&value) => DType::F16,
            true => DType::F32,
            false => kept,
        };
        if lacking {
            let mut notes = self.build.notes.borrow_mut();
            if notes.is_empty() {
                notes.push(format!("the device has no {kept:?}: `{name}` and others are kept in {dtype:?}"));
            }
        }
        // Not `to_device`, which would leave the tensor outside of the device's autodiff.
        Ok(Tensor::from_data(value.cast(dtype).into_data(), (device, dtype)))
    }

    /// The start of a part that the checkpoint does not have. Where nothing may start fresh, the tensor is missing.
    fn fresh<const D: usize>(&self, tensor: &str, shape: [usize; D], initial: Initial) -> Tensor<D> {
        let build = self.build;
        let is_lost = build.pretrained.listed(tensor).is_some();
        if is_lost || !build.pretrained.is_new(tensor) || !build.plan.borrow().starts_fresh() {
            build.missing.borrow_mut().push(tensor.to_string());
            return self.blank(shape);
        }
        // Of a model that starts from nothing there is no point in a list.
        if build.pretrained.has_weights() {
            build.initialised.borrow_mut().push(tensor.to_string());
        }
        match (initial, build.values.get()) {
            (_, Values::ShapesOnly) => self.blank(shape),
            (Initial::Zeros, Values::Read) => Tensor::zeros(shape, build.device),
            (Initial::Ones, Values::Read) => Tensor::ones(shape, build.device),
            (Initial::Normal, Values::Read) => {
                build.plan.borrow().fresh(tensor, shape, build.pretrained.initializer_range(), build.device)
            }
        }
    }

    /// A tensor of this shape that takes no memory.
    fn blank<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        Tensor::<D>::zeros([1; D], self.build.device).expand(shape)
    }
}

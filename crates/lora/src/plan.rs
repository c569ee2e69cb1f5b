//! What happens to each module of a model, decided by its path while the model is built: adapted, trained or frozen, and
//! where trained values come from. The plan also records what it decided, which is what files, reports and counts are
//! made of, so that none of them has to search a model for its adapters.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use kernels::{hash_text, mix};

use crate::methods::{Lora, LoraEmbedding, initial_a, normal};
use crate::peft::AdapterTensors;
use crate::{Adapter, BiasMode, Error, Kind, LoraConfig, Orientation, Selection, Selector, Settings, TargetError};

/// How a model is trained, or was.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    Lora(Box<LoraConfig>),
    /// Every tensor.
    Full,
    /// These modules alone, each with all below it: a classification head on a frozen model.
    Modules(Vec<String>),
    /// Nothing: the model as its checkpoint has it.
    Frozen,
}

/// What the plan says of a module.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Treatment {
    Frozen,
    Trained,
    Adapted { rank: usize, alpha: f64 },
}

/// What a trained tensor is a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    LoraA,
    LoraB,
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

/// A low-rank update of the plan: `scale * B·A` of a module's weight, or that transposed, as the weight lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    pub module: String,
    /// The names of A and B among the trained tensors.
    pub factors: [String; 2],
    pub scale: f64,
    pub transposed: bool,
}

impl Update {
    pub fn of_linear(module: &str, scale: f64, orientation: Orientation) -> Self {
        let factors = ["A", "B"].map(|factor| format!("{module}.lora_{factor}.weight"));
        Self { module: module.to_string(), factors, scale, transposed: orientation == Orientation::InOut }
    }

    /// The vectors of an embedding lie as rows.
    pub fn of_embedding(module: &str, scale: f64) -> Self {
        let factors = ["A", "B"].map(|factor| format!("{module}.lora_embedding_{factor}"));
        Self { module: module.to_string(), factors, scale, transposed: true }
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
pub struct Plan {
    method: Method,
    selector: Option<Selector>,
    values: Option<AdapterTensors>,
    seed: u64,
    parameters: Vec<Parameter>,
    replacements: Vec<Replacement>,
    updates: Vec<Update>,
    base_elements: usize,
    asked: Vec<(String, Kind)>,
    idle: Vec<String>,
}

impl Plan {
    /// `values` are the tensors of an adapter to start from or to apply; without them trained tensors start from the
    /// checkpoint, and what is new from `seed` and its path.
    pub fn new(method: Method, values: Option<AdapterTensors>, seed: u64) -> Result<Self, Error> {
        let settings = if values.is_some() { Settings::Finished } else { Settings::New };
        let selector = match &method {
            Method::Lora(config) => Some(Selector::new(config, settings)?),
            Method::Full | Method::Modules(_) | Method::Frozen => None,
        };
        Ok(Self {
            method,
            selector,
            values,
            seed,
            parameters: Vec::new(),
            replacements: Vec::new(),
            updates: Vec::new(),
            base_elements: 0,
            asked: Vec::new(),
            idle: Vec::new(),
        })
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    pub fn selector(&self) -> Option<&Selector> {
        self.selector.as_ref()
    }

    /// The trained tensors in the order of the model.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The frozen tensors that the adapter brings in place of the base's.
    pub fn replacements(&self) -> &[Replacement] {
        &self.replacements
    }

    /// Whether the module at `path` is one that is trained in full and saved with an adapter.
    pub fn saves(&self, path: &str) -> bool {
        let lies_in_one = |modules: &[String]| modules.iter().any(|module| lies_in(path, module));
        match &self.method {
            Method::Lora(config) => lies_in_one(&config.modules_to_save),
            Method::Modules(modules) => lies_in_one(modules),
            Method::Full | Method::Frozen => false,
        }
    }

    /// The updates of the adapted modules.
    pub fn updates(&self) -> &[Update] {
        &self.updates
    }

    /// Whether parts that the checkpoint lacks may start from the seed: not where an adapter should have brought them,
    /// and not where nothing is trained.
    pub fn starts_fresh(&self) -> bool {
        self.values.is_none() && self.method != Method::Frozen
    }

    pub fn trainable_elements(&self) -> usize {
        self.parameters.iter().map(Parameter::elements).sum()
    }

    /// Elements of the base model, trained or not, heads included.
    pub fn base_elements(&self) -> usize {
        self.base_elements
    }

    pub fn count_base(&mut self, elements: usize) {
        self.base_elements += elements;
    }

    /// Asked once for each module, in the order of the model.
    pub fn module(&mut self, path: &str, kind: Kind) -> Treatment {
        self.asked.push((path.to_string(), kind));
        match &self.method {
            Method::Full => Treatment::Trained,
            Method::Frozen => Treatment::Frozen,
            Method::Modules(modules) if modules.iter().any(|module| lies_in(path, module)) => Treatment::Trained,
            Method::Modules(_) => Treatment::Frozen,
            Method::Lora(_) => match self.selector.as_mut().map(|selector| selector.select(path, kind)) {
                Some(Selection::Adapted { rank, alpha }) => Treatment::Adapted { rank, alpha },
                Some(Selection::Saved) => Treatment::Trained,
                Some(Selection::Untouched) | None => Treatment::Frozen,
            },
        }
    }

    /// The modules it was asked about.
    pub fn into_modules(self) -> Vec<(String, Kind)> {
        self.asked
    }

    /// Whether the bias of a module so treated is trained.
    pub fn trains_bias(&self, treatment: Treatment) -> bool {
        let mode = match &self.method {
            Method::Lora(config) => config.bias,
            Method::Full | Method::Modules(_) | Method::Frozen => BiasMode::None,
        };
        match treatment {
            Treatment::Trained => true,
            Treatment::Adapted { .. } => mode != BiasMode::None,
            Treatment::Frozen => mode == BiasMode::All,
        }
    }

    /// The adapter of the linear layer `path`, whose weight lies as `orientation` says.
    pub fn adapter(
        &mut self,
        path: &str,
        treatment: Treatment,
        [d_input, d_output]: [usize; 2],
        orientation: Orientation,
        device: &Device,
    ) -> Result<Option<Adapter>, Error> {
        let (Method::Lora(config), Treatment::Adapted { rank, alpha }) = (self.method.clone(), treatment) else {
            return Ok(None);
        };
        let update = Update::of_linear(path, config.scaling(rank, alpha), orientation);
        let key = self.key(path);
        let initial = |device: &Device| initial_a(config.init, rank, d_input, key, device);
        let a = self.factor(&update.factors[0], Part::LoraA, [rank, d_input], initial, device)?;
        let b = self.factor(
            &update.factors[1],
            Part::LoraB,
            [d_output, rank],
            |it| Tensor::zeros([d_output, rank], it),
            device,
        )?;
        let lora = Lora::new(a, b, update.scale, config.dropout, hash_text(path));
        self.updates.push(update);
        Ok(Some(Adapter::Lora(lora)))
    }

    /// The adapter of the embedding `path`, a table of `rows` vectors.
    pub fn embedding_adapter(
        &mut self,
        path: &str,
        treatment: Treatment,
        [rows, width]: [usize; 2],
        device: &Device,
    ) -> Result<Option<LoraEmbedding>, Error> {
        let (Method::Lora(config), Treatment::Adapted { rank, alpha }) = (self.method.clone(), treatment) else {
            return Ok(None);
        };
        let update = Update::of_embedding(path, config.scaling(rank, alpha));
        let key = self.key(path);
        let initial = |device: &Device| {
            let values = normal((width * rank) as u64, 1.0, key);
            Tensor::from_data(TensorData::new(values, [width, rank]), device)
        };
        let a =
            self.factor(&update.factors[0], Part::LoraA, [rank, rows], |it| Tensor::zeros([rank, rows], it), device)?;
        let b = self.factor(&update.factors[1], Part::LoraB, [width, rank], initial, device)?;
        let lora = LoraEmbedding::new(a, b, update.scale);
        self.updates.push(update);
        Ok(Some(lora))
    }

    /// What the random values of a module derive from.
    fn key(&self, path: &str) -> u64 {
        mix(self.seed) ^ hash_text(path)
    }

    fn factor(
        &mut self,
        name: &str,
        part: Part,
        shape: [usize; 2],
        initial: impl Fn(&Device) -> Tensor<2>,
        device: &Device,
    ) -> Result<Param<Tensor<2>>, Error> {
        let value = match self.value(name, shape, device)? {
            Some(value) => value,
            None => initial(device),
        };
        Ok(self.train(name.to_string(), part, value))
    }

    /// The value that the plan's adapter has for a trained tensor; `None` if the plan has no adapter.
    pub fn value<const D: usize>(
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

    /// Whether the plan's adapter has a tensor of this name.
    pub fn brings(&self, name: &str) -> bool {
        self.values.as_ref().is_some_and(|values| values.has(name))
    }

    /// What the plan's adapter has in place of a frozen tensor of the base: the first of these names that it has. All of
    /// them are the same tensor, so that they must agree. It is made by `on_device` from values in f32 and the type that
    /// the file has them in, and saved again with the adapter.
    pub fn replacement<const D: usize, E: From<Error>>(
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
    pub fn train<const D: usize>(&mut self, name: String, part: Part, tensor: Tensor<D>) -> Param<Tensor<D>> {
        let shape = tensor.dims().to_vec();
        let mut param = Param::from_tensor(tensor);
        // From the name, so that an optimiser's record finds its tensor again in another process.
        param.id = ParamId::from(hash_text(&name));
        self.parameters.push(Parameter { id: param.id, name, shape, part });
        param
    }

    /// The name under which a trained bias of the base stands in the adapter's file.
    pub fn bias_name(&self, path: &str, treatment: Treatment) -> (String, Part) {
        match treatment {
            Treatment::Adapted { .. } => (format!("{path}.base_layer.bias"), Part::Bias),
            Treatment::Trained => (format!("{path}.bias"), Part::Module),
            Treatment::Frozen => (format!("{path}.bias"), Part::Bias),
        }
    }

    /// Values of a new module: normal with this deviation, from the seed and the tensor's name.
    pub fn fresh<const D: usize>(&self, name: &str, shape: [usize; D], deviation: f64, device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>() as u64;
        let values = normal(count, deviation, mix(self.seed) ^ hash_text(name));
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// After the model is built: everything that was named must have been found, everything the adapter brought used.
    pub fn finish(&mut self) -> Result<(), Error> {
        if let Some(selector) = &self.selector {
            selector.finish()?;
            if self.values.is_some() {
                let note = |idle: TargetError| format!("adapter_config.json, {}: it has no effect", idle.of_adapter());
                self.idle = selector.idle().into_iter().map(note).collect();
            }
        }
        if let Some(values) = &mut self.values {
            let expected = self.parameters.iter().map(|parameter| parameter.name.as_str());
            values.finish(expected)?;
        }
        Ok(())
    }

    /// What the adapter's files had to be changed for, to be told to the user.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let of_tensors = self.values.as_ref().map_or(&[][..], AdapterTensors::notes);
        of_tensors.iter().chain(&self.idle).map(String::as_str)
    }

    /// What is saved of a model built with this plan: the trained tensors, and those that the adapter brought, by name, in
    /// f32.
    pub fn tensors<M: Module>(&self, model: &M) -> Vec<(String, TensorData)> {
        let mut collected = Collect(HashMap::new());
        model.visit(&mut collected);
        let tensor = |parameter: &Parameter| Some((parameter.name.clone(), collected.0.remove(&parameter.id)?));
        let mut tensor = tensor;
        let replacements = self.replacements.iter().map(|it| (it.name.clone(), it.data()));
        self.parameters.iter().filter_map(&mut tensor).chain(replacements).collect()
    }
}

/// PEFT's rule for `modules_to_save`: a module whose full name ends in the entry, without regard to dots, and all below.
fn lies_in(path: &str, entry: &str) -> bool {
    path.ends_with(entry) || path.match_indices('.').any(|(dot, _)| path[..dot].ends_with(entry))
}

struct Collect(HashMap<ParamId, TensorData>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.val().into_data());
    }
}

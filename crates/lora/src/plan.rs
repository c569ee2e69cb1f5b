//! What happens to each module of a model, decided by its path while the model is built: adapted, trained or frozen, and
//! where trained values come from. The plan also records what it decided, which is what files, reports and counts are
//! made of, so that none of them has to search a model for its adapters.

use std::collections::{HashMap, HashSet};

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};
use kernels::Quantisation;

use crate::interruption::Interruption;
use crate::peft::{self, AdapterTensors, Joined, STANDARD_HEADS};
use crate::targets::{layer_of, saves, unknown_saved};
use crate::trained::{TrainedTensors, normal};
use crate::{
    Adapter, AdapterSet, EmbeddingAdapter, Error, Keeps, Kind, Method, Orientation, Parameter, ParameterGroup, Part,
    Place, Replacement, ResidualAdapter, ResidualSite, Selection, Selector, Settings, Site, Sublayer, TargetError,
    Update, Weight,
};

/// What the plan says of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    Frozen,
    Trained,
    Adapted,
}

/// What of a base is quantised: its values, and the bytes of their codes and scales.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QuantisedSize {
    pub elements: usize,
    pub bytes: usize,
}

#[derive(Debug)]
pub struct Plan {
    method: Method,
    settings: Settings,
    selector: Option<Selector>,
    tensors: TrainedTensors,
    updates: Vec<Update>,
    kept: Vec<(String, Keeps, [usize; 2])>,
    has_conv1d: bool,
    base_elements: usize,
    quantised: QuantisedSize,
    asked: Vec<(String, Kind)>,
    joined: Joined,
    idle: Vec<String>,
    is_above_embeddings: bool,
    untouched_layers: usize,
    frozen: Vec<String>,
    /// The adapters it has built, where they are wanted outside of the model.
    collected: Option<AdapterSet>,
}

impl Plan {
    /// `values` are the tensors of an adapter to start from or to apply; without them trained tensors start from the
    /// checkpoint, and what is new from `seed` and its path.
    pub fn new(method: Method, values: Option<AdapterTensors>, seed: u64) -> Result<Self, Error> {
        let settings = if values.is_some() { Settings::Finished } else { Settings::New };
        Ok(Self {
            selector: Selector::of(&method, settings)?,
            method,
            settings,
            tensors: TrainedTensors::new(values, seed),
            updates: Vec::new(),
            kept: Vec::new(),
            has_conv1d: false,
            base_elements: 0,
            quantised: QuantisedSize::default(),
            asked: Vec::new(),
            joined: Joined::default(),
            idle: Vec::new(),
            is_above_embeddings: false,
            untouched_layers: usize::MAX,
            frozen: Vec::new(),
            collected: None,
        })
    }

    /// With what was taken out of the base before, by an earlier process of the run or when an adapter was trained, and is taken out
    /// again as it was: [`Self::starts`].
    pub fn with_starts(mut self, starts: HashMap<String, TensorData>) -> Self {
        self.tensors.starts.extend(starts);
        self
    }

    /// To build no further module that takes long once this is so: loading ends with [`Error::Interrupted`].
    pub fn interrupted_by(mut self, is_asked_for: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.tensors.interruption = Interruption::new(is_asked_for);
        self
    }

    /// To keep the adapters it builds for [`AdapterSet::of`], whatever becomes of the model.
    pub fn collecting(self) -> Self {
        Self { collected: Some(AdapterSet::default()), ..self }
    }

    pub(crate) fn take_collected(&mut self) -> AdapterSet {
        self.collected.take().unwrap_or_default()
    }

    /// What was taken out of the base, by the names of the tensors that started with it, in f32.
    pub fn starts(&self) -> &HashMap<String, TensorData> {
        &self.tensors.starts
    }

    /// Whether what is left of the base was rounded, to half precision or to codes, which no adapter makes up for.
    pub fn rounds_base(&self) -> bool {
        self.tensors.rounds_base
    }

    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The method as `adapter_config.json` has it.
    pub fn method_written(&self) -> Method {
        match &self.selector {
            Some(selector) => self.method.written(selector),
            None => self.method.clone(),
        }
    }

    /// Whether an adapted weight lies as `[d_input, d_output]`, as GPT-2's do.
    pub fn has_conv1d(&self) -> bool {
        self.has_conv1d
    }

    /// The trained tensors in the order of the model.
    pub fn parameters(&self) -> &[Parameter] {
        &self.tensors.parameters
    }

    /// The frozen tensors that the adapter brings in place of the base's.
    pub fn replacements(&self) -> &[Replacement] {
        &self.tensors.replacements
    }

    /// Whether the module at `path` is one that is trained in full and saved with an adapter.
    pub fn saves(&self, path: &str) -> bool {
        self.method.saves(path)
    }

    /// The updates of the adapted modules.
    pub fn updates(&self) -> &[Update] {
        &self.updates
    }

    /// What the backward passes of the adapters keep for each token: the module, what of it, and how many inputs and outputs
    /// it has.
    pub fn kept(&self) -> &[(String, Keeps, [usize; 2])] {
        &self.kept
    }

    /// Whether parts that the checkpoint lacks may start from the seed: not where an adapter should have brought them,
    /// and not where nothing is trained.
    pub fn starts_fresh(&self) -> bool {
        self.tensors.values.is_none() && self.method != Method::frozen()
    }

    pub fn trainable_elements(&self) -> usize {
        self.parameters().iter().map(Parameter::elements).sum()
    }

    /// Elements of the base model, trained or not, heads included.
    pub fn base_elements(&self) -> usize {
        self.base_elements
    }

    pub fn count_base(&mut self, elements: usize) {
        self.base_elements += elements;
    }

    /// Records that a matrix of the base is quantised. What a method leaves in its place is rounded so.
    pub fn count_quantised(&mut self, shape: [usize; 2], quantisation: Quantisation) {
        self.quantised.elements += shape.iter().product::<usize>();
        self.quantised.bytes += quantisation.bytes(shape);
        self.tensors.rounds_base |= self.method.changes_base();
    }

    pub fn quantised(&self) -> QuantisedSize {
        self.quantised
    }

    /// Asked once for each module, in the order of the model.
    pub fn module(&mut self, path: &str, kind: Kind) -> Treatment {
        self.asked.push((path.to_string(), kind));
        let place = self.place(path);
        let Some(selector) = &mut self.selector else {
            let is_trained = self.method.trains(place) || self.saves(path);
            return self.treated(place, if is_trained { Treatment::Trained } else { Treatment::Frozen });
        };
        let treatment = match selector.select(path, kind) {
            Selection::Adapted => Treatment::Adapted,
            Selection::Saved => Treatment::Trained,
            Selection::Untouched => Treatment::Frozen,
        };
        self.treated(place, treatment)
    }

    /// Modules come in the order of the model.
    fn place(&mut self, path: &str) -> Place {
        match layer_of(path) {
            Some(layer) => {
                self.is_above_embeddings = true;
                Place::Layer(layer)
            }
            None if self.is_above_embeddings => Place::Above,
            None => Place::Embeddings,
        }
    }

    fn treated(&mut self, place: Place, treatment: Treatment) -> Treatment {
        if treatment != Treatment::Frozen || self.method.trains_bias(treatment) {
            self.reaches(place);
        }
        treatment
    }

    /// Something is trained there.
    fn reaches(&mut self, place: Place) {
        let layer = match place {
            Place::Embeddings => 0,
            Place::Layer(layer) => layer,
            Place::Above => usize::MAX,
        };
        self.untouched_layers = self.untouched_layers.min(layer);
    }

    /// How many layers are below all that is trained, so that no backward pass comes to them; more than the model has where
    /// all of it is above the last.
    pub fn untouched_layers(&self) -> usize {
        self.untouched_layers
    }

    /// Records a tensor of the base that stays as it is, for a method that saves a whole model.
    pub fn keep(&mut self, tensor: &str) {
        if self.method.saves_model() {
            self.frozen.push(tensor.to_string());
        }
    }

    /// The tensors of the base that a saved model has beside the trained ones.
    pub fn frozen(&self) -> &[String] {
        &self.frozen
    }

    /// The modules it was asked about.
    pub fn into_modules(self) -> Vec<(String, Kind)> {
        self.asked
    }

    /// The module at `path` and all below it are part of a parameter in Transformers, as an expert and a router are; `share` of the
    /// tokens goes through it. Said before its layers are built.
    pub fn joins(&mut self, path: &str, share: f64) {
        self.joined.add(path, share);
    }

    /// Whether some tokens go around the module of this tensor, so that a step may leave it without a gradient.
    pub fn is_sparse(&self, tensor: &str) -> bool {
        self.joined.share(tensor) < 1.0
    }

    /// Whether the bias of a module so treated is trained.
    pub fn trains_bias(&self, treatment: Treatment) -> bool {
        self.method.trains_bias(treatment)
    }

    /// The adapters of the linear layer `path`, whose weight `base` lies as its orientation says; it becomes what they leave of
    /// it. `None` where it is another layer's.
    pub fn adapters(
        &mut self,
        path: &str,
        treatment: Treatment,
        [d_input, d_output]: [usize; 2],
        (base, orientation, is_read): (Option<&mut Weight<2>>, Orientation, bool),
        device: &Device,
    ) -> Result<Vec<Adapter>, Error> {
        if treatment != Treatment::Adapted {
            return Ok(Vec::new());
        }
        let site = Site { path, d_input, d_output, base, is_read, orientation, settings: self.settings, device };
        let Some(built) = self.method.linear(site, &mut self.tensors)? else { return Ok(Vec::new()) };
        self.has_conv1d |= orientation == Orientation::InOut;
        let share = self.joined.share(path);
        let widths = [d_input, d_output].map(|width| (width as f64 * share).ceil() as usize);
        self.kept.push((path.to_string(), built.keeps, widths));
        if let Some(collected) = &mut self.collected {
            collected.add_linear(path, &built.adapter);
        }
        self.updates.push(built.update);
        Ok(vec![built.adapter])
    }

    /// The adapters of the embedding `path`, a table of `rows` vectors.
    pub fn embedding_adapters(
        &mut self,
        path: &str,
        treatment: Treatment,
        [rows, width]: [usize; 2],
        device: &Device,
    ) -> Result<Vec<EmbeddingAdapter>, Error> {
        if treatment != Treatment::Adapted {
            return Ok(Vec::new());
        }
        // The vectors of an embedding lie as rows.
        let (d_input, d_output, orientation) = (rows, width, Orientation::InOut);
        // An output layer may be tied to the table.
        let (base, is_read, settings) = (None, false, self.settings);
        let site = Site { path, d_input, d_output, base, is_read, orientation, settings, device };
        let Some(built) = self.method.embedding(site, &mut self.tensors)? else { return Ok(Vec::new()) };
        if let Some(collected) = &mut self.collected {
            collected.add_embedding(path, &built.adapter);
        }
        self.updates.push(built.update);
        Ok(vec![built.adapter])
    }

    /// The adapters of the residual connection of a sublayer, `width` wide; `path` is as [`ResidualSite`] has it.
    pub fn residual_adapters(
        &mut self,
        path: &str,
        sublayer: Sublayer,
        width: usize,
        device: &Device,
    ) -> Result<Vec<ResidualAdapter>, Error> {
        let site = ResidualSite { path, sublayer, width, settings: self.settings, device };
        let Some(built) = self.method.residual(site, &mut self.tensors)? else { return Ok(Vec::new()) };
        self.kept.push((path.to_string(), built.keeps, [width; 2]));
        if let Some(collected) = &mut self.collected {
            collected.add_residual(path, &built.adapter);
        }
        let place = self.place(path);
        self.reaches(place);
        self.updates.push(built.update);
        Ok(vec![built.adapter])
    }

    /// The value that the plan's adapter has for a trained tensor; `None` if the plan has no adapter.
    pub fn value<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        device: &Device,
    ) -> Result<Option<Tensor<D>>, Error> {
        self.tensors.value(name, shape, device)
    }

    /// Whether the plan's adapter has a tensor of this name.
    pub fn brings(&self, name: &str) -> bool {
        self.tensors.values.as_ref().is_some_and(|values| values.has(name))
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
        self.tensors.replacement(names, shape, on_device)
    }

    /// Makes a tensor a parameter and records it.
    pub fn train<const D: usize>(&mut self, name: String, part: Part, tensor: Tensor<D>) -> Param<Tensor<D>> {
        self.tensors.train(name, part, tensor)
    }

    /// The name under which a trained bias of the base stands in the adapter's file.
    pub fn bias_name(&self, path: &str, treatment: Treatment) -> (String, Part) {
        match treatment {
            Treatment::Adapted => (format!("{path}.base_layer.bias"), Part::Bias),
            Treatment::Trained => (format!("{path}.bias"), Part::Module),
            Treatment::Frozen => (format!("{path}.bias"), Part::Bias),
        }
    }

    /// Values of a new module: normal with this deviation, from the seed and the tensor's name.
    pub fn fresh<const D: usize>(&self, name: &str, shape: [usize; D], deviation: f64, device: &Device) -> Tensor<D> {
        let count = shape.iter().product::<usize>() as u64;
        let values = normal(count, deviation, self.tensors.key(name));
        Tensor::from_data(TensorData::new(values, shape), device)
    }

    /// After the model is built: everything that was named must have been found, everything the adapter brought used.
    pub fn finish(&mut self) -> Result<(), Error> {
        if self.settings == Settings::New {
            self.method.check_model(&self.asked, self.parameters())?;
        }
        if let Some(selector) = &self.selector {
            selector.finish()?;
            let idle = self.method.idle(selector.matched())?;
            if self.settings == Settings::New {
                let adapted: Vec<&str> = self.updates.iter().map(|update| update.module.as_str()).collect();
                self.joined.check(&self.method, &adapted, &self.asked)?;
            }
            match self.settings {
                Settings::New => idle.into_iter().next().map_or(Ok(()), Err)?,
                Settings::Finished => {
                    let note = |it: TargetError| {
                        let message = it.message_with(&peft::setting);
                        format!("{}, {message}: it has no effect", peft::CONFIG_FILE)
                    };
                    self.idle = selector.idle().into_iter().chain(idle).map(note).collect();
                }
            }
        }
        if self.selector.is_none() && self.settings == Settings::New {
            self.check_saved()?;
        }
        if let Some(values) = &mut self.tensors.values {
            let expected = self.tensors.parameters.iter().map(|parameter| parameter.name.as_str());
            values.finish(expected)?;
        }
        Ok(())
    }

    /// Of a method without targets: every module that is to be trained in full was found.
    fn check_saved(&self) -> Result<(), TargetError> {
        let paths = || self.asked.iter().map(|(path, _)| path.as_str());
        let is_missing =
            |module: &&String| !STANDARD_HEADS.contains(&module.as_str()) && !paths().any(|path| saves(module, path));
        match self.method.modules_to_save().iter().find(is_missing) {
            Some(name) => Err(unknown_saved(name, &self.asked)),
            None => Ok(()),
        }
    }

    /// What the adapter's files had to be changed for, to be told to the user.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let of_tensors = self.tensors.values.as_ref().map_or(&[][..], AdapterTensors::notes);
        of_tensors.iter().chain(&self.idle).map(String::as_str)
    }

    /// The parameter groups of the trained tensors.
    pub fn parameter_groups(&self) -> impl Iterator<Item = (ParamId, ParameterGroup)> {
        let norms = self.asked.iter().filter(|(_, kind)| *kind == Kind::LayerNorm);
        let norms: HashSet<&str> = norms.map(|(path, _)| path.as_str()).collect();
        self.parameters().iter().map(move |parameter| {
            let module = parameter.name.rsplit_once('.').map_or("", |(module, _)| module);
            (parameter.id, self.method.parameter_group(parameter, norms.contains(module)))
        })
    }

    /// What is saved of a model built with this plan: [its tensors](Self::tensors), of an adapter as it is written: on the base as
    /// its files have it.
    pub fn tensors_written<M: Module>(&self, model: &M) -> Vec<(String, TensorData)> {
        self.method.tensors_written(self.tensors(model), self.starts())
    }

    /// The method and the tensors of an adapter that this plan has loaded as they are written, on the base as its files have it.
    pub fn written(&self, method: Method, mut tensors: AdapterTensors) -> (Method, AdapterTensors) {
        if !self.method.changes_base() {
            return (method, tensors);
        }
        let written = self.method_written();
        tensors.replace_own(written.clone(), |own| self.method.tensors_written(own, self.starts()));
        (written, tensors)
    }

    /// What a model built with this plan has of its own: the trained tensors, and those that the adapter brought, by name, in
    /// f32.
    pub fn tensors<M: Module>(&self, model: &M) -> Vec<(String, TensorData)> {
        let mut collected = Collect(HashMap::new());
        model.visit(&mut collected);
        let tensor = |parameter: &Parameter| Some((parameter.name.clone(), collected.0.remove(&parameter.id)?));
        let mut tensor = tensor;
        let replacements = self.replacements().iter().map(|it| (it.name.clone(), it.data()));
        self.parameters().iter().filter_map(&mut tensor).chain(replacements).collect()
    }
}

struct Collect(HashMap<ParamId, TensorData>);

impl ModuleVisitor for Collect {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.insert(param.id, param.val().into_data());
    }
}

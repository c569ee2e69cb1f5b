//! What a method is: the questions that building, saving, merging and measuring a model ask of it. Each method answers
//! them in a file of its own in `methods`; nobody else knows the names of its tensors or what its settings mean.

use std::collections::HashMap;
use std::fmt::Debug;

use burn::tensor::{Device, TensorData};
use serde_json::{Map, Value};

use crate::methods::{Adapter, EmbeddingAdapter, Method, ResidualAdapter};
use crate::trained::TrainedTensors;
use crate::{
    Error, Kind, Layout, Orientation, Parameter, Selector, Settings, TargetConfig, TargetError, Treatment, Update,
    Weight, peft,
};

/// The base as far as settings depend on it.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// `model_type` of its `config.json`.
    pub model_type: &'a str,
    /// Its class in Transformers, with the head.
    pub class: &'a str,
    /// Of the hidden states.
    pub width: usize,
    /// What PEFT adapts with LoRA where nothing is said.
    pub default_targets: &'a [String],
    /// Modules that the task trains in full whatever the settings say.
    pub heads: &'a [String],
    /// How many layers it has.
    pub layers: usize,
}

/// A linear layer, or an embedding, that is to be adapted.
#[derive(Debug)]
pub struct Site<'a> {
    pub path: &'a str,
    /// Of an embedding the rows of its table.
    pub d_input: usize,
    pub d_output: usize,
    /// The weight, in place of which a method may leave a residual. `None` where another layer has it too, which of a method
    /// that [changes the base](AdapterMethod::changes_base) none has.
    pub base: Option<&'a mut Weight<2>>,
    /// Whether it has its values: those of a model that is put together from shapes alone are zeros.
    pub is_read: bool,
    /// How that lies.
    pub orientation: Orientation,
    pub settings: Settings,
    pub device: &'a Device,
}

/// The two parts of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sublayer {
    Attention,
    FeedForward,
}

/// A residual connection, where the output of a sublayer is added to what it has read.
#[derive(Debug)]
pub struct ResidualSite<'a> {
    /// The path of its adapters in `adapters`, of AdapterHub.
    pub path: &'a str,
    pub sublayer: Sublayer,
    /// Of the hidden states.
    pub width: usize,
    pub settings: Settings,
    pub device: &'a Device,
}

/// An adapter as it was built.
#[derive(Debug)]
pub struct Built<A> {
    pub adapter: A,
    pub update: Update,
    /// What its backward pass keeps for each token beyond what the base's does.
    pub keeps: Keeps,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keeps {
    /// The input of the layer.
    pub input: bool,
    /// A value for each output of the layer.
    pub outputs: bool,
    /// So many values of its own.
    pub own: usize,
}

/// An adapter as it was trained, with what it started with: what was taken out of the base, by the names of the tensors.
#[derive(Debug)]
pub struct TakenApart {
    pub method: Method,
    pub tensors: Vec<(String, TensorData)>,
    pub starts: HashMap<String, TensorData>,
}

/// How far the backward pass goes, which decides what is kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackwardPass {
    /// Not below the head.
    Head,
    /// Through all layers, whose weights are frozen.
    Frozen,
    /// Through all layers, each of which keeps its input for the gradient of its weight.
    Trained,
}

/// Where a module stands in a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Below the first layer: the embeddings, and what is made of them once for all layers.
    Embeddings,
    /// In the layer of this number.
    Layer(usize),
    /// After the last layer: a final norm, a pooler, the head.
    Above,
}

/// A parameter group of torch's optimisers: how the tensors in it are stepped.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParameterGroup {
    pub rate: Rate,
    /// Whether weight decay acts on them.
    pub decays: bool,
}

impl Default for ParameterGroup {
    /// As the run has it.
    fn default() -> Self {
        Self { rate: Rate::Times(1.0), decays: true }
    }
}

/// A learning rate, which follows the schedule of the run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rate {
    /// So many times the run's.
    Times(f64),
    /// This one in place of the run's.
    Of(f64),
}

/// Keys of `adapter_config.json` that a method does not read.
#[derive(Debug, Clone, Copy, Default)]
pub struct UnreadKeys {
    /// Those that would change what the adapter computes, with what to do about them.
    pub unsupported: &'static [(&'static str, &'static str)],
    /// Those without a bearing on a trained adapter.
    pub ignored: &'static [&'static str],
}

pub trait AdapterMethod: Debug {
    /// `LoRA, r 8, alpha 16, dropout 0.1`
    fn describe(&self) -> String;

    /// Its settings as they are shown to people, in their order.
    fn shown(&self) -> Map<String, Value> {
        Map::new()
    }

    /// Which modules get an adapter; `None` for a method that has none.
    fn targets(&self) -> Option<&TargetConfig> {
        None
    }

    /// Modules that are trained in full and saved with the adapter, each with all below it.
    fn modules_to_save(&self) -> &[String] {
        self.targets().map_or(&[], |targets| &targets.modules_to_save)
    }

    /// Whether other tensors than the adapter's own are saved with it.
    fn saves_others(&self) -> bool {
        !self.modules_to_save().is_empty()
    }

    /// Whether a module is trained in full for where it stands.
    fn trains(&self, _place: Place) -> bool {
        false
    }

    /// Whether every tensor of the model is trained.
    fn trains_all(&self) -> bool {
        false
    }

    /// Whether a whole model is saved, rather than what was trained of it.
    fn saves_model(&self) -> bool {
        false
    }

    /// Whether the bias of a module so treated is trained.
    fn trains_bias(&self, treatment: Treatment) -> bool {
        treatment == Treatment::Trained
    }

    /// The parameter group of a trained tensor, which may be the weight or the bias of a LayerNorm.
    fn parameter_group(&self, _parameter: &Parameter, _of_layer_norm: bool) -> ParameterGroup {
        ParameterGroup::default()
    }

    fn backward_pass(&self) -> BackwardPass {
        BackwardPass::Frozen
    }

    /// # Errors
    /// Settings that are wrong whatever the model is.
    fn check(&self) -> Result<(), TargetError> {
        Ok(())
    }

    /// # Errors
    /// Settings that cannot be for a model with these modules, of which these tensors are trained.
    fn check_model(&self, _modules: &[(String, Kind)], _parameters: &[Parameter]) -> Result<(), TargetError> {
        Ok(())
    }

    /// # Errors
    /// A module of a kind that it does not adapt.
    fn check_kind(&self, module: &str, _kind: Kind) -> Result<(), TargetError> {
        Err(TargetError::UnsupportedModule { module: module.to_string(), takes: "the method adapts no module" })
    }

    /// # Errors
    /// Settings with which PEFT could not read an adapter on a module that Transformers keeps as part of a parameter, an expert's
    /// or a router; `paired` where it joins two of them.
    fn check_joined(&self, module: &str, _paired: bool) -> Result<(), TargetError> {
        Err(TargetError::Setting {
            key: "target_modules",
            problem: format!("experts and routers take LoRA alone: not on `{module}`"),
            help: |name| format!("adapt attention alone, or set {} to \"lora\"", name("method")),
        })
    }

    /// What it varies from module to module, such as a rank.
    fn numbers(&self, _module: &str, _settings: Settings) -> Result<Vec<f64>, TargetError> {
        Ok(Vec::new())
    }

    /// Settings for single modules that are for none of the adapted ones.
    fn idle(&self, _adapted: &[String]) -> Result<Vec<TargetError>, TargetError> {
        Ok(Vec::new())
    }

    /// With what depends on the base filled in.
    fn resolved(&self, base: &Base<'_>) -> Method;

    /// As it is written into `adapter_config.json`: targets by the names that were found.
    fn written(&self, selector: &Selector) -> Method;

    /// As a configuration writes it: without the heads that [`Self::resolved`] adds.
    fn as_settings(&self) -> Method;

    /// The keys that are its own in `adapter_config.json`, `peft_type` among them. `fan_in_fan_out` is true for bases
    /// whose weights lie as (in, out), GPT-2's.
    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value>;

    /// How its files lie in an adapter's directory.
    fn layout(&self) -> &'static Layout {
        &peft::LAYOUT
    }

    /// With what the names of an adapter's tensors say and its configuration does not; `None` where that says everything.
    fn of_tensors(&self, _names: &[&str]) -> Option<Method> {
        None
    }

    fn unread_keys(&self) -> UnreadKeys {
        UnreadKeys::default()
    }

    /// Whether tied layers share one adapter, where they have any.
    fn shares_ties(&self) -> bool {
        false
    }

    /// A finished adapter's settings with those of `asked` that say how it is trained and that no adapter has; `None` where there
    /// are no such settings.
    fn trained_as(&self, _asked: &Method) -> Option<Method> {
        None
    }

    /// Whether an adapter can be trained further; what stands against it otherwise.
    fn is_trainable_again(&self) -> bool {
        true
    }

    /// Whether adapters leave a residual in place of the weights they are on.
    fn changes_base(&self) -> bool {
        false
    }

    /// Whether they do so of an output layer that is tied to the word embeddings as well, which has a weight of its own from then on.
    fn changes_tied(&self) -> bool {
        self.changes_base()
    }

    /// What an adapter in PEFT's files asks for that other programs than PEFT do not do, in words that begin with `it does not`.
    fn only_in_peft(&self) -> Option<String> {
        None
    }

    /// The tensors of an adapter as [`Self::written`] describes it, on the base as its files have it. `starts` is what was taken
    /// out of the base, by the names of the tensors that started with it.
    fn tensors_written(
        &self,
        tensors: Vec<(String, TensorData)>,
        _starts: &HashMap<String, TensorData>,
    ) -> Vec<(String, TensorData)> {
        tensors
    }

    /// The opposite of [`Self::tensors_written`] for an adapter that was trained on what its start had left of the base; `None` of a
    /// method that never leaves less than all of it.
    fn taken_apart(&self, _tensors: Vec<(String, TensorData)>) -> Option<TakenApart> {
        None
    }

    /// The adapter of a linear layer.
    fn linear(&self, _site: Site<'_>, _tensors: &mut TrainedTensors) -> Result<Option<Built<Adapter>>, Error> {
        Ok(None)
    }

    /// The adapter of an embedding.
    fn embedding(
        &self,
        _site: Site<'_>,
        _tensors: &mut TrainedTensors,
    ) -> Result<Option<Built<EmbeddingAdapter>>, Error> {
        Ok(None)
    }

    /// The adapter of a residual connection.
    fn residual(
        &self,
        _site: ResidualSite<'_>,
        _tensors: &mut TrainedTensors,
    ) -> Result<Option<Built<ResidualAdapter>>, Error> {
        Ok(None)
    }

    /// Why its updates cannot be folded into the weights of the base; `None` where they can.
    fn why_not_merged(&self) -> Option<&'static str> {
        None
    }

    /// The module that a tensor of the adapter's file is the adapter of; `None` for heads, biases and whatever else is not
    /// the method's own.
    fn module_of<'t>(&self, _tensor: &'t str) -> Option<&'t str> {
        None
    }

    /// The update that this tensor is the first part of, from the file alone.
    fn update(&self, _tensor: &str, _shape: &[usize]) -> Option<Update> {
        None
    }

    /// The method of an adapter whose updates are products `B·A` of these ranks, added as they are: of the same modules, or of those
    /// that `targets` mean.
    ///
    /// # Errors
    /// What this one is instead, where its updates are no such products, with its name first.
    fn with_ranks(&self, _ranks: &[(String, usize)], _targets: Option<TargetConfig>) -> Result<Method, &'static str> {
        Err("a method whose updates are no products of two thin factors")
    }

    /// The value that this tensor has all over while the adapter changes nothing, as before its first step; `None` for one
    /// that may have any.
    fn value_without_effect(&self, _tensor: &str) -> Option<f32> {
        None
    }

    /// What is so of an adapter whose tensors all have those values.
    fn without_effect(&self) -> &'static str {
        "the adapter changes nothing"
    }

    /// The name under which the model has a tensor of its own that the file may have under another.
    fn plain_name(&self, tensor: &str) -> String {
        tensor.to_string()
    }

    /// What is wrong with the shape of a tensor of its own, from the file alone, as what would be expected instead.
    fn wrong_shape(
        &self,
        _tensor: &str,
        _shape: &[usize],
        _shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
    ) -> Option<String> {
        None
    }

    /// The side of this tensor that is a rank.
    fn rank_side(&self, _tensor: &str) -> Option<usize> {
        None
    }
}

//! Bottleneck adapters: a small network after a sublayer, down to a few dimensions, through an activation function and up again,
//! added to what the sublayer gives. After attention and the feed-forward network (Houlsby et al. 2019, arXiv 1902.00751), or after
//! the feed-forward network alone (Pfeiffer et al. 2020, arXiv 2005.00247). Reference: `DoubleSeqBnConfig`, `SeqBnConfig` and
//! `Adapter` of AdapterHub's `adapters`.

mod adapterhub;
mod layer;
mod network;

use std::ops::Bound;

use burn::tensor::{Tensor, TensorData};
use kernels::Activation;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Method, OtherName, ResidualAdapter};
use crate::method::{Built, Keeps, ResidualSite, Sublayer, UnreadKeys};
use crate::peft::{ConfigError, Keys, STANDARD_HEADS, number};
use crate::settings::{MODULES_TO_SAVE, Setting, SettingKind};
use crate::targets::saves;
use crate::trained::{TrainedTensors, normal};
use crate::{AdapterMethod, Base, Error, Layout, Selector, Settings, TargetConfig, TargetError, Update};

pub(super) use adapterhub::LAYOUT;
pub use layer::Bottleneck;
use network::Network;

pub(super) const NAME: &str = "adapter";
pub(super) const OTHER_NAMES: &[OtherName] = &[
    OtherName::of(&["houlsby", "doubleseqbn"], "the Houlsby adapter").setting("adapter.placement", "\"houlsby\""),
    OtherName::of(&["pfeiffer", "seqbn"], "the Pfeiffer adapter").setting("adapter.placement", "\"pfeiffer\""),
    OtherName::of(&["bottleneck", "adapters", "bottleneckadapter", "bottleneckadapters"], "a bottleneck adapter"),
];
pub(super) const SUMMARY: &str = "bottleneck adapters after the sublayers (Houlsby, Pfeiffer)";
/// PEFT does not have it.
pub(super) const PEFT_TYPE: Option<&str> = None;

const FACTOR: &str = "reduction_factor";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new(
        "placement",
        SettingKind::Word(Placement::NAMES),
        "`pfeiffer`: an adapter after the feed-forward network of each layer; `houlsby`: another after attention",
    ),
    Setting::new(
        FACTOR,
        SettingKind::Number(Bound::Excluded(0.0), Bound::Unbounded),
        "The width of the hidden states over that of the bottleneck",
    ),
    Setting::new(
        "non_linearity",
        SettingKind::Word(&Activation::NAMES),
        "The activation function in the bottleneck, by its name in Transformers",
    ),
    MODULES_TO_SAVE,
];

/// The values of `model_type` whose layers `adapters` has bottlenecks for.
const MODEL_TYPES: &[&str] =
    &["bert", "roberta", "xlm-roberta", "electra", "deberta-v2", "distilbert", "gpt2", "llama", "mistral"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// After the feed-forward network. It reads the sum with the residual, after the layer's norm where that follows; what it gives
    /// is added to the output of the network, before the residual (`original_ln_before`).
    Pfeiffer,
    /// After attention and after the feed-forward network, of whose output it reads.
    Houlsby,
}

impl Placement {
    pub const NAMES: &[&str] = &["pfeiffer", "houlsby"];

    fn has(self, sublayer: Sublayer) -> bool {
        match (self, sublayer) {
            (Self::Pfeiffer, Sublayer::Attention) => false,
            (Self::Pfeiffer, Sublayer::FeedForward) | (Self::Houlsby, _) => true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BottleneckConfig {
    pub placement: Placement,
    pub reduction_factor: f64,
    /// One of [`Activation::NAMES`].
    pub non_linearity: String,
    /// Modules trained in full and saved with the adapter.
    pub modules_to_save: Vec<String>,
    /// A finished adapter's files have an output layer that is frozen, as `adapters` saves it; it stays with the adapter.
    #[serde(skip)]
    has_output: bool,
    /// What the files say of the base, once that is known.
    #[serde(skip)]
    base: Option<adapterhub::OfBase>,
}

impl Default for BottleneckConfig {
    fn default() -> Self {
        Self {
            placement: Placement::Pfeiffer,
            reduction_factor: 16.0,
            non_linearity: "relu".to_string(),
            modules_to_save: Vec::new(),
            has_output: false,
            base: None,
        }
    }
}

impl BottleneckConfig {
    pub(super) fn from_peft(_: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        Ok(None)
    }

    fn activation(&self) -> Result<Activation, TargetError> {
        self.non_linearity.parse().map_err(|kernels::UnknownActivation(name)| TargetError::Setting {
            key: "non_linearity",
            problem: format!("unknown activation function `{name}`"),
            help: |_| format!("expected one of: {}", Activation::NAMES.join(", ")),
        })
    }

    /// The width of a bottleneck; that of a finished adapter is 1 at least, as `adapters` has it.
    fn bottleneck(&self, width: usize, settings: Settings) -> Result<usize, TargetError> {
        match ((width as f64 / self.reduction_factor).floor() as usize, settings) {
            (0, Settings::New) => Err(TargetError::Setting {
                key: FACTOR,
                problem: format!("{} leaves nothing of a width of {width}", self.reduction_factor),
                help: |name| format!("lower {}: the bottleneck is so many times narrower than the model", name(FACTOR)),
            }),
            (bottleneck, _) => Ok(bottleneck.max(1)),
        }
    }
}

impl AdapterMethod for BottleneckConfig {
    fn describe(&self) -> String {
        let placement = match self.placement {
            Placement::Pfeiffer => "Pfeiffer",
            Placement::Houlsby => "Houlsby",
        };
        let (factor, activation) = (self.reduction_factor, &self.non_linearity);
        format!("bottleneck adapters ({placement}), reduction factor {factor}, {activation}")
    }

    fn shown(&self) -> Map<String, Value> {
        let settings = json!({
            "placement": self.placement, "reduction_factor": number(self.reduction_factor),
            "non_linearity": self.non_linearity,
        });
        settings.as_object().cloned().unwrap_or_default()
    }

    fn modules_to_save(&self) -> &[String] {
        &self.modules_to_save
    }

    fn saves_others(&self) -> bool {
        !self.modules_to_save.is_empty() || self.has_output
    }

    fn check(&self) -> Result<(), TargetError> {
        let model_type = self.base.as_ref().map(|base| base.model_type.as_str());
        if let Some(found) = model_type.filter(|found| !MODEL_TYPES.contains(found)) {
            return Err(TargetError::Setting {
                key: "method",
                problem: format!("bottleneck adapters are not supported on models of type `{found}`"),
                help: |name| {
                    let supported = MODEL_TYPES.join(", ");
                    format!("they are on {supported}; set {} to \"lora\", which is on every model", name("method"))
                },
            });
        }
        if !(self.reduction_factor.is_finite() && self.reduction_factor > 0.0) {
            let (key, found) = (FACTOR.to_string(), self.reduction_factor);
            return Err(TargetError::Number { key, found, expected: "a number greater than 0" });
        }
        self.activation().map(drop)
    }

    fn resolved(&self, base: &Base<'_>) -> Method {
        let mut modules_to_save = base.heads.to_vec();
        modules_to_save.extend(self.modules_to_save.iter().filter(|it| !base.heads.contains(it)).cloned());
        Method::Adapter(Box::new(Self { modules_to_save, base: Some(adapterhub::OfBase::new(base)), ..self.clone() }))
    }

    fn written(&self, _: &Selector) -> Method {
        Method::Adapter(Box::new(self.clone()))
    }

    fn as_settings(&self) -> Method {
        let mut settings = Self { base: None, ..self.clone() };
        settings.modules_to_save.retain(|module| !STANDARD_HEADS.iter().any(|head| saves(head, module)));
        Method::Adapter(Box::new(settings))
    }

    fn to_peft(&self, _: bool) -> Map<String, Value> {
        self.write_adapterhub()
    }

    fn layout(&self) -> &'static Layout {
        &LAYOUT
    }

    /// The configuration does not name the modules of the file beside the adapter.
    fn of_tensors(&self, names: &[&str]) -> Option<Method> {
        let others = names.iter().filter(|name| self.module_of(name).is_none());
        let mut modules_to_save: Vec<String> = Vec::new();
        for (module, _) in others.filter_map(|name| name.rsplit_once('.')) {
            if !modules_to_save.iter().any(|known| known == module) {
                modules_to_save.push(module.to_string());
            }
        }
        let count = modules_to_save.len();
        // `adapters` saves the output layer of a language model whatever was trained.
        modules_to_save.retain(|module| module != "lm_head");
        let has_output = modules_to_save.len() < count;
        Some(Method::Adapter(Box::new(Self { modules_to_save, has_output, ..self.clone() })))
    }

    fn unread_keys(&self) -> UnreadKeys {
        adapterhub::UNREAD
    }

    fn with_ranks(&self, _: &[(String, usize)], _: Option<TargetConfig>) -> Result<Method, &'static str> {
        Err("a bottleneck adapter, a network with an activation function and no update of a weight")
    }

    fn why_not_merged(&self) -> Option<&'static str> {
        Some(
            "a bottleneck adapter is a network with an activation function of its own, which no weight of the base can take in",
        )
    }

    fn residual(
        &self,
        site: ResidualSite<'_>,
        tensors: &mut TrainedTensors,
    ) -> Result<Option<Built<ResidualAdapter>>, Error> {
        if !self.placement.has(site.sublayer) {
            return Ok(None);
        }
        let ResidualSite { path, width, device, settings, .. } = site;
        let inner = self.bottleneck(width, settings)?;
        let mut matrix = |ending: &str, shape: [usize; 2]| {
            let name = format!("{path}{ADAPTER}{ending}.weight");
            let key = tensors.key(&name);
            // As BERT's own weights start (`init_weights = "bert"`).
            let initial = || {
                let values = normal((shape[0] * shape[1]) as u64, 0.02, key);
                Tensor::from_data(TensorData::new(values, shape), device)
            };
            let weight = tensors.parameter(&name, shape, device, initial)?;
            let zeros = || Tensor::zeros([shape[0]], device);
            let bias = tensors.parameter(&format!("{path}{ADAPTER}{ending}.bias"), [shape[0]], device, zeros)?;
            Ok::<_, Error>((name, (weight, bias)))
        };
        let (down, of_down) = matrix(DOWN, [inner, width])?;
        let (up, of_up) = matrix(UP, [width, inner])?;
        let layer = Bottleneck::new(of_down, of_up, self.activation()?, self.placement == Placement::Pfeiffer);
        let update = Update::new(path, Network { down, up });
        // What goes down, and what the activation function reads and gives.
        let keeps = Keeps { own: width + 2 * inner, ..Keeps::default() };
        Ok(Some(Built { adapter: ResidualAdapter::Adapter(layer), update, keeps }))
    }

    fn module_of<'t>(&self, tensor: &'t str) -> Option<&'t str> {
        let (module, part) = tensor.split_once(ADAPTER)?;
        let (layer, _) = part.rsplit_once('.')?;
        [DOWN, UP].contains(&layer).then_some(module)
    }

    fn update(&self, tensor: &str, _: &[usize]) -> Option<Update> {
        let module = self.module_of(tensor)?;
        let down = format!("{module}{ADAPTER}{DOWN}.weight");
        let up = format!("{module}{ADAPTER}{UP}.weight");
        (tensor == down).then(|| Update::new(module, Network { down, up }))
    }

    /// What goes up, which starts near zero and its bias at zero.
    fn value_without_effect(&self, tensor: &str) -> Option<f32> {
        self.module_of(tensor)?;
        tensor.contains(UP).then_some(0.0)
    }

    fn without_effect(&self) -> &'static str {
        "every projection up of the adapter is zero"
    }

    /// The adapter has a name in the file, `M.adapters.NAME.adapter_up.weight`; here it has always the same.
    fn plain_name(&self, tensor: &str) -> String {
        let renamed = || {
            let (module, rest) = tensor.split_once(".adapters.")?;
            let (_, part) = rest.split_once(".adapter_")?;
            Some(format!("{module}{ADAPTER}.adapter_{part}")).filter(|name| self.module_of(name).is_some())
        };
        renamed().unwrap_or_else(|| tensor.to_string())
    }

    fn wrong_shape(
        &self,
        tensor: &str,
        shape: &[usize],
        shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
    ) -> Option<String> {
        let module = self.module_of(tensor)?;
        let is_matrix = tensor.ends_with(".weight");
        match (is_matrix, shape) {
            (true, &[rows, columns]) if rows * columns > 0 => {
                let down = shape_of(&format!("{module}{ADAPTER}{DOWN}.weight"))?;
                let &[inner, width] = &down[..] else { return None };
                let is_up = tensor.contains(UP);
                (is_up && (rows, columns) != (width, inner)).then(|| format!("[{width}, {inner}], as what goes down"))
            }
            (true, _) => Some("a matrix that is not empty".to_string()),
            (false, &[_]) => None,
            (false, _) => Some("a vector".to_string()),
        }
    }
}

/// What stands between the path of a residual connection and the names of the adapter's layers, which are below.
const ADAPTER: &str = ".adapters.default";
const DOWN: &str = ".adapter_down.0";
const UP: &str = ".adapter_up";

#[cfg(test)]
mod tests;

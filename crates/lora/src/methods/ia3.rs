//! (IA)3: learned vectors that rescale the outputs of linear layers, or of feed-forward layers the inputs (Liu et al. 2022,
//! arXiv 2205.05638). Reference: `IA3Config` and `ia3.Linear` in PEFT.

mod check;
mod scaling;

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use suggest::module_suggestion;

use super::{Adapter, Method, OtherName};
use crate::config::{Names, TargetConfig, Targets};
use crate::method::{Built, Keeps, UnreadKeys};
use crate::peft::{ConfigError, Keys, STANDARD_HEADS, some_list, some_names, sorted, written_targets};
use crate::settings::{EXCLUDE_MODULES, MODULES_TO_SAVE, Setting, SettingKind, TARGET_MODULES};
use crate::targets::{Entry, Match};
use crate::trained::TrainedTensors;
use crate::{
    AdapterMethod, Base, Error, ForwardContext, Kind, Orientation, Projection, Selector, Settings, Site, TargetError,
    Update,
};

use scaling::{Scaling, Side};

pub(super) const NAME: &str = "ia3";
pub(super) const OTHER_NAMES: &[OtherName] = &[OtherName::of(&["ia3"], "(IA)3")];
pub(super) const SUMMARY: &str = "(IA)3, vectors that rescale outputs, and the inputs of feed-forward layers";
pub(super) const PEFT_TYPE: Option<&str> = Some("IA3");

const FEEDFORWARD_MODULES: &str = "feedforward_modules";

pub(super) const SETTINGS: &[Setting] = &[
    TARGET_MODULES,
    EXCLUDE_MODULES,
    MODULES_TO_SAVE,
    Setting::new(
        FEEDFORWARD_MODULES,
        SettingKind::Modules,
        "Targets whose inputs are rescaled, by the end of their path or by a regular expression; without it PEFT's default for the architecture",
    )
    .such_as("[\"output.dense\"]"),
];

/// PEFT's targets for an architecture, and those of them that are feed-forward layers; in its spirit for those that PEFT has
/// no default for.
#[rustfmt::skip]
const DEFAULTS: &[(&[&str], &[&str], &[&str])] = &[
    (&["bert", "roberta", "xlm-roberta", "electra", "camembert"], &["key", "value", "output.dense"], &["output.dense"]),
    (&["deberta-v2"], &["key_proj", "value_proj", "output.dense"], &["output.dense"]),
    (&["distilbert"], &["k_lin", "v_lin", "lin2"], &["lin2"]),
    (&["modernbert"], &["Wqkv", "mlp.Wo"], &["mlp.Wo"]),
    (&["gpt2"], &["c_attn", "mlp.c_proj"], &["mlp.c_proj"]),
    (&["llama", "mistral", "smollm3", "olmo2", "granite"], &["k_proj", "v_proj", "down_proj"], &["down_proj"]),
    (&["gemma", "gemma2", "gemma3_text", "qwen2", "qwen3"], &["q_proj", "v_proj", "down_proj"], &["down_proj"]),
    (&["phi"], &["q_proj", "v_proj", "fc2"], &["fc2"]),
    (&["phi3"], &["qkv_proj", "down_proj"], &["down_proj"]),
    (&["qwen3_moe"], &["q_proj", "v_proj"], &[]),
];

/// PEFT's `IA3Config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ia3Config {
    #[serde(flatten)]
    pub targets: TargetConfig,
    /// `None` for PEFT's default for the architecture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feedforward_modules: Option<Names>,
    /// That default, once the base is known.
    #[serde(skip)]
    default_feedforward: Vec<String>,
}

impl Default for Ia3Config {
    fn default() -> Self {
        let targets = TargetConfig { target_modules: Targets::Auto, ..TargetConfig::default() };
        Self { targets, feedforward_modules: None, default_feedforward: Vec::new() }
    }
}

impl Ia3Config {
    pub(super) fn from_peft(keys: &mut Keys<'_>) -> Result<Option<Self>, ConfigError> {
        let targets = TargetConfig {
            target_modules: keys.targets()?,
            exclude_modules: keys.some_names("exclude_modules")?,
            modules_to_save: keys.modules_to_save()?,
            ..TargetConfig::default()
        };
        Ok(Some(Self {
            targets,
            feedforward_modules: keys.names(FEEDFORWARD_MODULES)?,
            default_feedforward: Vec::new(),
        }))
    }

    /// As PEFT decides it: a name is the end of a path, whatever stands before it.
    fn is_feedforward(&self, module: &str) -> Result<bool, TargetError> {
        let is_end = |name: &String| module.ends_with(name);
        match &self.feedforward_modules {
            None => Ok(self.default_feedforward.iter().any(is_end)),
            Some(Names::List(names)) => Ok(names.iter().any(is_end)),
            Some(pattern) => {
                let entries = Entry::of(FEEDFORWARD_MODULES, pattern)?;
                entries.first().map_or(Ok(false), |entry| Ok(entry.meaning(module)? != Match::No))
            }
        }
    }
}

impl AdapterMethod for Ia3Config {
    fn describe(&self) -> String {
        "(IA)3".to_string()
    }

    fn shown(&self) -> Map<String, Value> {
        let settings = json!({
            "target_modules": self.targets.target_modules, FEEDFORWARD_MODULES: self.feedforward_modules,
        });
        settings.as_object().cloned().unwrap_or_default()
    }

    fn targets(&self) -> Option<&TargetConfig> {
        Some(&self.targets)
    }

    fn check(&self) -> Result<(), TargetError> {
        self.feedforward_modules.as_ref().map_or(Ok(()), |names| Entry::of(FEEDFORWARD_MODULES, names).map(drop))
    }

    fn check_kind(&self, module: &str, kind: Kind) -> Result<(), TargetError> {
        match kind {
            Kind::Linear | Kind::OutputLinear => Ok(()),
            Kind::Embedding | Kind::LayerNorm | Kind::Other => {
                let takes = "(IA)3 is on linear layers";
                Err(TargetError::UnsupportedModule { module: module.to_owned(), takes })
            }
        }
    }

    fn numbers(&self, module: &str, _: Settings) -> Result<Vec<f64>, TargetError> {
        Ok(vec![f64::from(u8::from(self.is_feedforward(module)?))])
    }

    fn idle(&self, adapted: &[String]) -> Result<Vec<TargetError>, TargetError> {
        let each = match &self.feedforward_modules {
            None => Vec::new(),
            Some(Names::List(names)) => names.iter().map(|name| (name, Names::List(vec![name.clone()]))).collect(),
            Some(Names::Pattern(text)) => vec![(text, Names::Pattern(text.clone()))],
        };
        let mut idle = Vec::new();
        for (text, names) in each {
            let alone = Self { feedforward_modules: Some(names), ..self.clone() };
            let of_adapted = adapted.iter().map(|module| alone.is_feedforward(module));
            if !of_adapted.collect::<Result<Vec<bool>, _>>()?.contains(&true) {
                let suggestion = module_suggestion(text, adapted.iter().map(String::as_str));
                idle.push(TargetError::UnusedPattern { key: FEEDFORWARD_MODULES, pattern: text.clone(), suggestion });
            }
        }
        Ok(idle)
    }

    fn resolved(&self, base: &Base<'_>) -> Method {
        let known = DEFAULTS.iter().find(|(types, ..)| types.contains(&base.model_type));
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let (targets, feedforward) = known.map_or_else(Default::default, |(_, targets, ff)| (list(targets), list(ff)));
        Method::Ia3(Box::new(Self {
            targets: self.targets.resolved(&targets, base.heads),
            default_feedforward: feedforward,
            ..self.clone()
        }))
    }

    /// PEFT reads the feed-forward layers only if each is in the list of targets by the same name.
    fn written(&self, selector: &Selector) -> Method {
        let with = |names: Names| {
            let feedforward = match (&names, &self.feedforward_modules) {
                (Names::List(targets), _) => Names::List(targets.iter().filter(|it| is(self, it)).cloned().collect()),
                (Names::Pattern(_), Some(feedforward)) => feedforward.clone(),
                (Names::Pattern(_), None) => Names::List(self.default_feedforward.clone()),
            };
            let targets = TargetConfig { target_modules: Targets::Names(names), ..self.targets.clone() };
            Self { targets, feedforward_modules: Some(feedforward), default_feedforward: Vec::new() }
        };
        let written = with(selector.names_written());
        let is_the_same = selector.matched().iter().all(|module| is(&written, module) == is(self, module));
        // A shortened name may stand for layers of both kinds: then each is named in full.
        Method::Ia3(Box::new(if is_the_same { written } else { with(Names::List(selector.matched().to_vec())) }))
    }

    fn as_settings(&self) -> Method {
        let mut settings = self.clone();
        settings.targets.modules_to_save.retain(|module| !STANDARD_HEADS.contains(&module.as_str()));
        Method::Ia3(Box::new(settings))
    }

    fn with_ranks(&self, _: &[(String, usize)], _: Option<TargetConfig>) -> Result<Method, &'static str> {
        Err("(IA)3, which scales what is there")
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        let keys = json!({
            "exclude_modules": self.targets.exclude_modules.as_ref().and_then(some_names),
            "fan_in_fan_out": fan_in_fan_out,
            FEEDFORWARD_MODULES: match &self.feedforward_modules {
                Some(Names::List(names)) => json!(sorted(names)),
                other => json!(other),
            },
            "init_ia3_weights": true,
            "modules_to_save": some_list(&sorted(&self.targets.modules_to_save)),
            "peft_type": PEFT_TYPE,
            "target_modules": written_targets(&self.targets.target_modules),
        });
        keys.as_object().cloned().unwrap_or_default()
    }

    fn unread_keys(&self) -> UnreadKeys {
        UnreadKeys { unsupported: &[], ignored: &["fan_in_fan_out", "init_ia3_weights"] }
    }

    fn linear(&self, site: Site<'_>, tensors: &mut TrainedTensors) -> Result<Option<Built<Adapter>>, Error> {
        let of = if self.is_feedforward(site.path)? { Side::Inputs } else { Side::Outputs };
        let (shape, keeps) = match of {
            Side::Inputs => ([1, site.d_input], Keeps { input: true, ..Keeps::default() }),
            Side::Outputs => ([site.d_output, 1], Keeps { outputs: true, ..Keeps::default() }),
        };
        let vector = format!("{}{ENDING}", site.path);
        let values = tensors.parameter(&vector, shape, site.device, || Tensor::ones(shape, site.device))?;
        let adapter = Adapter::Ia3(Ia3 { values, scales_input: of == Side::Inputs });
        let transposed = site.orientation == Orientation::InOut;
        let update = Update::new(site.path, Scaling { vector, of, transposed });
        Ok(Some(Built { adapter, update, keeps }))
    }

    fn module_of<'t>(&self, tensor: &'t str) -> Option<&'t str> {
        tensor.strip_suffix(ENDING)
    }

    fn update(&self, tensor: &str, shape: &[usize]) -> Option<Update> {
        let module = tensor.strip_suffix(ENDING)?;
        let of = if shape.first() == Some(&1) { Side::Inputs } else { Side::Outputs };
        Some(Update::new(module, Scaling { vector: tensor.to_string(), of, transposed: false }))
    }

    /// They start at one and stay there only if no gradient ever reaches them.
    fn value_without_effect(&self, tensor: &str) -> Option<f32> {
        tensor.ends_with(ENDING).then_some(1.0)
    }

    fn without_effect(&self) -> &'static str {
        "every vector of the adapter is one"
    }

    /// `M.ia3_l.default` is `M.ia3_l`.
    fn plain_name(&self, tensor: &str) -> String {
        match tensor.rsplit_once('.') {
            Some((name, _)) if name.ends_with(ENDING) => name.to_string(),
            _ => tensor.to_string(),
        }
    }

    fn wrong_shape(&self, tensor: &str, shape: &[usize], _: &dyn Fn(&str) -> Option<Vec<usize>>) -> Option<String> {
        let is_vector = matches!(shape, &[1, n] | &[n, 1] if n > 0);
        (tensor.ends_with(ENDING) && !is_vector).then(|| "a vector, [1, d_input] or [d_output, 1]".to_string())
    }
}

/// Once every expression has been tried on every module.
fn is(config: &Ia3Config, module: &str) -> bool {
    config.is_feedforward(module).unwrap_or(false)
}

/// What the name of a vector ends in.
const ENDING: &str = ".ia3_l";

/// A linear layer whose outputs, or inputs, are multiplied by learned values.
#[derive(Module, Debug)]
pub struct Ia3 {
    /// `[1, d_input]` or `[d_output, 1]`
    values: Param<Tensor<2>>,
    scales_input: bool,
}

impl Ia3 {
    pub(crate) fn forward(&self, x: Tensor<2>, base: Projection<'_>, ctx: &ForwardContext) -> Tensor<2> {
        let values = self.values.val();
        let count = values.shape().num_elements();
        let values = values.reshape([1, count]);
        match self.scales_input {
            true => base.forward(x * values, ctx),
            false => base.forward(x, ctx) * values,
        }
    }

    pub(crate) fn forward_rows(
        &self,
        output: Tensor<2>,
        x: &Tensor<2>,
        rows: Range<usize>,
        base: Projection<'_>,
        ctx: &ForwardContext,
    ) -> Tensor<2> {
        if self.scales_input {
            return Projection::replaced(output, x, rows, ctx, |x, ctx| self.forward(x, base, ctx));
        }
        let [_, d_output] = output.dims();
        let place = [rows, 0..d_output];
        let scaled = output.clone().slice(place.clone()) * self.values.val().reshape([1, d_output]);
        output.slice_assign(place, scaled)
    }
}

#[cfg(test)]
mod tests;

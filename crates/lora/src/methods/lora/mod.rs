//! LoRA (Hu et al. 2021, arXiv 2106.09685). Reference: `LoraConfig`, `lora.Linear` and `lora.Embedding` in PEFT.

mod layers;
mod peft;

use std::ops::Bound;

use burn::tensor::{Tensor, TensorData};
use indexmap::IndexMap;
use kernels::hash_text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Adapter, EmbeddingAdapter, Method};
use crate::config::{BiasMode, TargetConfig, Targets};
use crate::method::{Built, Keeps, ParameterGroup, Rate, UnreadKeys};
use crate::peft::STANDARD_HEADS;
use crate::settings::{EXCLUDE_MODULES, MODULES_TO_SAVE, Setting, SettingKind, TARGET_MODULES};
use crate::targets::Overrides;
use crate::trained::{TrainedTensors, normal};
use crate::update::Form;
use crate::{
    AdapterMethod, Base, Error, Kind, Orientation, Parameter, Selector, Settings, Site, TargetError, Treatment, Update,
};

pub use layers::{Lora, LoraEmbedding};
pub(super) use peft::UNREAD;

pub(super) const NAME: &str = "lora";
pub(super) const PEFT_TYPE: Option<&str> = Some("LORA");

pub(super) const SUMMARY: &str = "";

pub(super) const SETTINGS: &[Setting] = &[
    Setting::new("r", SettingKind::Count(1), "Rank"),
    Setting::new(
        "alpha",
        SettingKind::Number(Bound::Excluded(0.0), Bound::Unbounded),
        "The update is scaled by `alpha / r`; PEFT's `lora_alpha`",
    )
    .called("lora_alpha"),
    Setting::new(
        "dropout",
        SettingKind::Number(Bound::Included(0.0), Bound::Excluded(1.0)),
        "Probability of dropout on the adapter's input; PEFT's `lora_dropout`",
    )
    .called("lora_dropout"),
    Setting::new(
        "bias",
        SettingKind::Word(BiasMode::NAMES, &[]),
        "Biases that are trained as well: none, all of the model, or those of the targets",
    ),
    TARGET_MODULES,
    EXCLUDE_MODULES,
    Setting::new(
        "layers",
        SettingKind::Layers,
        "Layers to adapt, counted from 0; needs a list of names (or `auto`) as `target_modules`; without it all; PEFT's `layers_to_transform`",
    )
    .such_as("[0, 1]")
    .called("layers_to_transform"),
    Setting::new(
        "layers_pattern",
        SettingKind::Names,
        "Name of the list of layers, where it is not the first number in a path; needs `layers`",
    )
    .such_as("[\"layer\"]"),
    MODULES_TO_SAVE,
    Setting::new(
        "rank_pattern",
        SettingKind::Ranks,
        "Ranks of some targets, by regular expressions that match a path or its last segments; two that match the same target and disagree are an error",
    )
    .such_as("{ query = 16 }"),
    Setting::new("alpha_pattern", SettingKind::Alphas, "`alpha` of some targets, likewise").such_as("{ query = 64.0 }"),
    Setting::new("use_rslora", SettingKind::Flag, "Scale by `alpha / sqrt(r)`"),
    Setting::new(
        "init",
        SettingKind::Word(Init::NAMES, &["pissa", "pissa_niter_", "olora"]),
        "Initial values of A: `default` is Kaiming uniform, `gaussian` a normal distribution with standard deviation `1 / r`; B starts at zero; PEFT's `init_lora_weights`",
    )
    .called("init_lora_weights"),
    Setting::new(
        "lora_plus_ratio",
        SettingKind::Number(Bound::Included(0.0), Bound::Unbounded),
        "LoRA+: the learning rate of the B matrices, and of biases and other vectors, over that of the rest, in groups as PEFT's `create_loraplus_optimizer` makes them; 0 is off",
    ),
    Setting::new(
        "lora_plus_lr_embedding",
        SettingKind::Number(Bound::Included(0.0), Bound::Unbounded),
        "LoRA+: the learning rate of adapters on embeddings, in place of `train.learning_rate`; PEFT's `loraplus_lr_embedding`",
    ),
];

/// How A starts; B starts at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// Kaiming uniform with a = sqrt 5, that is U(-1/sqrt(in), 1/sqrt(in)).
    Default,
    /// Normal with standard deviation 1/r.
    Gaussian,
    /// Of an adapter that PEFT started with MiCA, which trains A alone: nothing to one that is finished, but it cannot be
    /// trained on as others are. None is started so.
    Mica,
}

impl Init {
    /// Those that an adapter can be started with.
    pub const NAMES: &[&str] = &["default", "gaussian"];
}

/// LoRA's settings, PEFT's `LoraConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoraConfig {
    pub r: usize,
    pub alpha: f64,
    pub dropout: f64,
    pub bias: BiasMode,
    #[serde(flatten)]
    pub targets: TargetConfig,
    /// Ranks of single modules by regular expression, in file order: the first that matches decides.
    pub rank_pattern: IndexMap<String, usize>,
    /// As `rank_pattern`.
    pub alpha_pattern: IndexMap<String, f64>,
    pub use_rslora: bool,
    pub init: Init,
    /// Tied layers share one adapter, where they have any. Of a finished adapter; none is started so.
    #[serde(skip)]
    pub ensure_weight_tying: bool,
    /// The learning rate of B over that of A (LoRA+, Hayou et al. 2024, arXiv 2402.12354); 0 is off. No adapter's file has it.
    pub lora_plus_ratio: f64,
    /// That of adapters on embeddings, with LoRA+.
    pub lora_plus_lr_embedding: f64,
}

impl Default for LoraConfig {
    /// Of a configuration; PEFT's own are other ones.
    fn default() -> Self {
        Self {
            r: 8,
            alpha: 32.0,
            dropout: 0.1,
            bias: BiasMode::None,
            targets: TargetConfig::default(),
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
            use_rslora: false,
            init: Init::Default,
            ensure_weight_tying: false,
            lora_plus_ratio: 0.0,
            lora_plus_lr_embedding: 1e-6,
        }
    }
}

impl LoraConfig {
    /// PEFT's defaults.
    pub(super) fn of_peft() -> Self {
        let targets = TargetConfig { target_modules: Targets::Auto, ..TargetConfig::default() };
        Self { alpha: 8.0, dropout: 0.0, targets, ..Self::default() }
    }

    /// The factor of B·A for a module of this rank and alpha: alpha / r, or alpha / sqrt(r) with rank-stabilised LoRA
    /// (<https://arxiv.org/abs/2312.03732>).
    pub fn scaling(&self, rank: usize, alpha: f64) -> f64 {
        if self.use_rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }
    }

    fn ranks(&self) -> Result<Overrides<usize>, TargetError> {
        Overrides::new("rank_pattern", &self.rank_pattern)
    }

    fn alphas(&self) -> Result<Overrides<f64>, TargetError> {
        Overrides::new("alpha_pattern", &self.alpha_pattern)
    }

    fn rank_and_alpha(&self, module: &str, settings: Settings) -> Result<(usize, f64), TargetError> {
        let rank = self.ranks()?.decide(module, settings)?.unwrap_or(self.r);
        Ok((rank, self.alphas()?.decide(module, settings)?.unwrap_or(self.alpha)))
    }

    /// `rank_pattern` and `alpha_pattern` for `adapter_config.json`, where those of the settings will not do: PEFT writes
    /// the keys sorted, so that of several that disagree about a module another one would decide. Each such module is then
    /// named by its full path.
    fn patterns_written(&self, adapted: &[String]) -> Option<(IndexMap<String, usize>, IndexMap<String, f64>)> {
        let (ranks, alphas) = (self.ranks().ok()?, self.alphas().ok()?);
        if !ranks.overlap(adapted) && !alphas.overlap(adapted) {
            return None;
        }
        // A path is taken for an expression, in which a dot must be escaped to mean itself.
        let key = |path: &String| format!("^{}", path.replace('.', r"\."));
        let numbers = |path: &String| Some((key(path), self.rank_and_alpha(path, Settings::Finished).ok()?));
        let numbers: Vec<(String, (usize, f64))> = adapted.iter().filter_map(numbers).collect();
        let ranks =
            numbers.iter().filter(|(_, (rank, _))| *rank != self.r).map(|(key, (rank, _))| (key.clone(), *rank));
        let alphas =
            numbers.iter().filter(|(_, (_, it))| *it != self.alpha).map(|(key, (_, alpha))| (key.clone(), *alpha));
        Some((ranks.collect(), alphas.collect()))
    }
}

impl AdapterMethod for LoraConfig {
    fn describe(&self) -> String {
        format!("LoRA, r {}, alpha {}, dropout {}", self.r, self.alpha, self.dropout)
    }

    fn shown(&self) -> Map<String, Value> {
        let settings = json!({
            "r": self.r, "alpha": self.alpha, "dropout": self.dropout, "use_rslora": self.use_rslora, "bias": self.bias,
            "target_modules": self.targets.target_modules,
        });
        let mut settings = settings.as_object().cloned().unwrap_or_default();
        if self.lora_plus_ratio != 0.0 {
            settings.insert("lora_plus_ratio".to_owned(), json!(self.lora_plus_ratio));
        }
        settings
    }

    fn targets(&self) -> Option<&TargetConfig> {
        Some(&self.targets)
    }

    fn trains_bias(&self, treatment: Treatment) -> bool {
        match treatment {
            Treatment::Trained => true,
            Treatment::Adapted => self.bias != BiasMode::None,
            Treatment::Frozen => self.bias == BiasMode::All,
        }
    }

    /// Those of `peft.optimizers.create_loraplus_optimizer`.
    fn parameter_group(&self, parameter: &Parameter, of_layer_norm: bool) -> ParameterGroup {
        let is_of_embedding = EMBEDDING.iter().any(|ending| parameter.name.ends_with(ending));
        let is_b = parameter.name.ends_with(LINEAR[1]) || parameter.shape.len() == 1;
        match (is_of_embedding, is_b) {
            _ if self.lora_plus_ratio == 0.0 => ParameterGroup::default(),
            (true, _) => ParameterGroup { rate: Rate::Of(self.lora_plus_lr_embedding), decays: true },
            (false, true) => ParameterGroup {
                rate: Rate::Times(self.lora_plus_ratio),
                decays: !of_layer_norm && !parameter.name.contains("bias"),
            },
            (false, false) => ParameterGroup::default(),
        }
    }

    fn check(&self) -> Result<(), TargetError> {
        const RANK: &str = "a rank (1 or more)";
        const FINITE: &str = "a finite number";
        let number = |key: String, found: f64, expected| Err(TargetError::Number { key, found, expected });
        if self.r == 0 {
            return number("r".to_owned(), 0.0, RANK);
        }
        if !self.alpha.is_finite() {
            return number("alpha".to_owned(), self.alpha, FINITE);
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return number("dropout".to_owned(), self.dropout, "a probability below 1");
        }
        if let Some((key, _)) = self.rank_pattern.iter().find(|(_, rank)| **rank == 0) {
            return number(format!("rank_pattern.\"{key}\""), 0.0, RANK);
        }
        if let Some((key, alpha)) = self.alpha_pattern.iter().find(|(_, alpha)| !alpha.is_finite()) {
            return number(format!("alpha_pattern.\"{key}\""), *alpha, FINITE);
        }
        self.ranks().and(self.alphas()).map(drop)
    }

    fn check_kind(&self, module: &str, kind: Kind) -> Result<(), TargetError> {
        match kind {
            Kind::Linear | Kind::OutputLinear | Kind::Embedding => Ok(()),
            Kind::LayerNorm | Kind::Other => {
                let takes = "LoRA is on linear layers and embeddings";
                Err(TargetError::UnsupportedModule { module: module.to_owned(), takes })
            }
        }
    }

    fn numbers(&self, module: &str, settings: Settings) -> Result<Vec<f64>, TargetError> {
        self.rank_and_alpha(module, settings).map(|(rank, alpha)| vec![rank as f64, alpha])
    }

    fn idle(&self, adapted: &[String]) -> Result<Vec<TargetError>, TargetError> {
        Ok(self.ranks()?.idle(adapted).into_iter().chain(self.alphas()?.idle(adapted)).collect())
    }

    fn resolved(&self, base: &Base<'_>) -> Method {
        let targets = self.targets.resolved(base.default_targets, base.heads);
        Method::Lora(Box::new(Self { targets, ..self.clone() }))
    }

    fn written(&self, selector: &Selector) -> Method {
        let mut written = self.clone();
        written.targets.target_modules = Targets::Names(selector.names_written());
        if let Some(patterns) = self.patterns_written(selector.matched()) {
            (written.rank_pattern, written.alpha_pattern) = patterns;
        }
        Method::Lora(Box::new(written))
    }

    fn as_settings(&self) -> Method {
        let mut settings = self.clone();
        settings.targets.modules_to_save.retain(|module| !STANDARD_HEADS.contains(&module.as_str()));
        Method::Lora(Box::new(settings))
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        self.write_peft(fan_in_fan_out)
    }

    fn unread_keys(&self) -> UnreadKeys {
        UNREAD
    }

    fn shares_ties(&self) -> bool {
        self.ensure_weight_tying
    }

    fn trained_as(&self, asked: &Method) -> Option<Method> {
        let Method::Lora(asked) = asked else { return None };
        Some(Method::Lora(Box::new(Self {
            lora_plus_ratio: asked.lora_plus_ratio,
            lora_plus_lr_embedding: asked.lora_plus_lr_embedding,
            ..self.clone()
        })))
    }

    fn is_trainable_again(&self) -> bool {
        self.init != Init::Mica
    }

    fn linear(&self, site: Site<'_>, tensors: &mut TrainedTensors) -> Result<Option<Built<Adapter>>, Error> {
        let (rank, alpha) = self.rank_and_alpha(site.path, site.settings)?;
        let (d_input, d_output, device) = (site.d_input, site.d_output, site.device);
        let [a, b] = LINEAR.map(|ending| format!("{}{ending}", site.path));
        let key = tensors.key(site.path);
        let initial = || layers::initial_a(self.init, rank, d_input, key, device);
        let of_a = tensors.parameter(&a, [rank, d_input], device, initial)?;
        let of_b = tensors.parameter(&b, [d_output, rank], device, || Tensor::zeros([d_output, rank], device))?;
        let scale = self.scaling(rank, alpha);
        let lora = Lora::new(of_a, of_b, scale, self.dropout, hash_text(site.path));
        let form = Form::LowRank { a, b, scale, transposed: site.orientation == Orientation::InOut };
        let update = Update { module: site.path.to_string(), form };
        Ok(Some(Built { adapter: Adapter::Lora(lora), update, keeps: Keeps::Input }))
    }

    fn embedding(
        &self,
        site: Site<'_>,
        tensors: &mut TrainedTensors,
    ) -> Result<Option<Built<EmbeddingAdapter>>, Error> {
        let (rank, alpha) = self.rank_and_alpha(site.path, site.settings)?;
        let (rows, width, device) = (site.d_input, site.d_output, site.device);
        let [a, b] = EMBEDDING.map(|ending| format!("{}{ending}", site.path));
        let key = tensors.key(site.path);
        let initial = || {
            let values = normal((width * rank) as u64, 1.0, key);
            Tensor::from_data(TensorData::new(values, [width, rank]), device)
        };
        let of_a = tensors.parameter(&a, [rank, rows], device, || Tensor::zeros([rank, rows], device))?;
        let of_b = tensors.parameter(&b, [width, rank], device, initial)?;
        let scale = self.scaling(rank, alpha);
        let adapter = EmbeddingAdapter::Lora(LoraEmbedding::new(of_a, of_b, scale));
        let update = Update { module: site.path.to_string(), form: Form::LowRank { a, b, scale, transposed: true } };
        Ok(Some(Built { adapter, update, keeps: Keeps::Nothing }))
    }

    fn module_of<'t>(&self, tensor: &'t str) -> Option<&'t str> {
        tensor.split_once(".lora_").map(|(module, _)| module)
    }

    fn update(&self, tensor: &str, shape: &[usize]) -> Option<Update> {
        let [linear, embedding] = [LINEAR, EMBEDDING].map(|endings| (tensor.strip_suffix(endings[0]), endings));
        let (module, endings, transposed) = match (linear, embedding) {
            ((Some(module), endings), _) => (module, endings, false),
            (_, (Some(module), endings)) => (module, endings, true),
            _ => return None,
        };
        // Patterns give some modules an alpha of their own.
        let alpha = self.rank_and_alpha(module, Settings::Finished).map_or(self.alpha, |(_, alpha)| alpha);
        let [a, b] = endings.map(|ending| format!("{module}{ending}"));
        let form = Form::LowRank { a, b, scale: self.scaling(*shape.first()?, alpha), transposed };
        Some(Update { module: module.to_string(), form })
    }

    fn check_joined(&self, module: &str, paired: bool) -> Result<(), TargetError> {
        let wrong = |key: &'static str, problem: String, help: &str| {
            Err(TargetError::Setting { key, problem, help: help.to_string() })
        };
        if self.dropout != 0.0 {
            let problem = format!("{} with `{module}` as a target", self.dropout);
            return wrong(
                "dropout",
                problem,
                "PEFT has no dropout on experts and routers: set `adapter.dropout` to 0.0",
            );
        }
        if self.use_rslora && paired {
            let problem = format!("`{module}` cannot be scaled so");
            return wrong(
                "use_rslora",
                problem,
                "PEFT joins the adapters of an expert with another scale: use `alpha` alone",
            );
        }
        if self.rank_and_alpha(module, Settings::New)? != (self.r, self.alpha) {
            let key = if self.rank_pattern.is_empty() { "alpha_pattern" } else { "rank_pattern" };
            let problem = format!("`{module}` cannot have a rank or an alpha of its own");
            return wrong(
                key,
                problem,
                "PEFT joins the adapters of all experts of a layer: let it match none of theirs",
            );
        }
        Ok(())
    }

    /// B of a linear layer and A of an embedding, which start at zero and stay there only if no gradient ever reaches them.
    fn value_without_effect(&self, tensor: &str) -> Option<f32> {
        (tensor.ends_with(LINEAR[1]) || tensor.ends_with(EMBEDDING[0])).then_some(0.0)
    }

    fn without_effect(&self) -> &'static str {
        "every B of the adapter is zero"
    }

    /// `M.lora_A.default.weight` is `M.lora_A.weight`; `lora_magnitude_vector.weight` is left for the check of all names.
    fn plain_name(&self, tensor: &str) -> String {
        for factor in [".lora_A.", ".lora_B."] {
            if let Some((module, rest)) = tensor.split_once(factor)
                && let Some((_, parameter)) = rest.split_once('.')
            {
                return format!("{module}{factor}{parameter}");
            }
        }
        tensor.to_string()
    }

    fn wrong_shape(
        &self,
        tensor: &str,
        shape: &[usize],
        shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
    ) -> Option<String> {
        // Of an embedding A and B lie as of a linear layer: [rank, rows] and [width, rank].
        let endings = [LINEAR, EMBEDDING].into_iter().find(|endings| endings.iter().any(|it| tensor.ends_with(it)))?;
        let &[rows, columns] = shape else { return Some("a matrix".to_string()) };
        if rows == 0 || columns == 0 {
            return Some("a matrix that is not empty".to_string());
        }
        // A is as high as B is wide.
        let a = format!("{}{}", tensor.strip_suffix(endings[1])?, endings[0]);
        let rank = *shape_of(&a)?.first()?;
        (rank != columns).then(|| format!("[{rows}, {rank}]: the rank of `{}{a}` is {rank}", crate::peft::PREFIX))
    }

    fn rank_side(&self, tensor: &str) -> Option<usize> {
        let is = |ending: &str| tensor.ends_with(ending);
        match (is(LINEAR[0]) || is(EMBEDDING[0]), is(LINEAR[1]) || is(EMBEDDING[1])) {
            (true, _) => Some(0),
            (_, true) => Some(1),
            _ => None,
        }
    }
}

/// What the names of A and B end in, of a linear layer and of an embedding.
const LINEAR: [&str; 2] = [".lora_A.weight", ".lora_B.weight"];
const EMBEDDING: [&str; 2] = [".lora_embedding_A", ".lora_embedding_B"];

#[cfg(test)]
mod tests;

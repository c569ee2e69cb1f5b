//! LoRA (Hu et al. 2021, arXiv 2106.09685), and DoRA with it. Reference: `LoraConfig`, `lora.Linear` and `lora.Embedding` in PEFT.

mod check;
mod experts;
mod init;
mod layers;
mod lengths;
mod magnitude;
mod mlx;
mod names;
mod peft;
mod ranks;
mod settings;
mod start;
mod sum;

use std::collections::HashMap;

use burn::tensor::{Tensor, TensorData};
use indexmap::IndexMap;
use kernels::hash_text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Adapter, EmbeddingAdapter, Method, OtherName};
use crate::config::{BiasMode, TargetConfig, Targets};
use crate::method::{Built, Keeps, ParameterGroup, Rate, TakenApart, UnreadKeys};
use crate::peft::STANDARD_HEADS;
use crate::targets::Overrides;
use crate::trained::{TrainedTensors, normal};
use crate::{
    AdapterMethod, Base, Error, Kind, Orientation, Parameter, Selector, Settings, Site, TargetError, Treatment, Update,
};

pub use init::Init;
pub use layers::{Lora, LoraEmbedding};
use lengths::Lengths;
use magnitude::{MAGNITUDE, Magnitude};
pub(super) use mlx::MLX;
use names::{EMBEDDING, LINEAR};
pub(super) use peft::UNREAD;
pub(super) use settings::SETTINGS;
use sum::Sum;

pub(super) const NAME: &str = "lora";
pub(super) const PEFT_TYPE: Option<&str> = Some("LORA");

pub(super) const OTHER_NAMES: &[OtherName] = &[
    OtherName::of(&["lora"], "LoRA"),
    OtherName::of(&["dora"], "DoRA").setting("adapter.use_dora", "true"),
    OtherName::of(&["pissa"], "PiSSA").setting("adapter.init", "\"pissa\""),
    OtherName::of(&["olora"], "OLoRA").setting("adapter.init", "\"olora\""),
    OtherName::of(&["loraplus"], "LoRA+").setting("adapter.lora_plus_ratio", "16"),
    OtherName::of(&["rslora"], "rsLoRA").setting("adapter.use_rslora", "true"),
    OtherName::of(&["qlora"], "QLoRA").setting("model.dtype", "\"nf4\""),
];

pub(super) const SUMMARY: &str = "";

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
    /// Weights are decomposed into lengths and directions.
    pub use_dora: bool,
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
            use_dora: false,
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

    /// The update of a module that this is added to.
    fn update_of(&self, module: &str, sum: Sum) -> Update {
        match self.use_dora {
            true => Update::new(module, Lengths { sum, lengths: format!("{module}{MAGNITUDE}") }),
            false => Update::new(module, sum),
        }
    }
}

impl AdapterMethod for LoraConfig {
    fn describe(&self) -> String {
        let name = if self.use_dora { "DoRA" } else { "LoRA" };
        let mut described = format!("{name}, r {}, alpha {}, dropout {}", self.r, self.alpha, self.dropout);
        if self.lora_plus_ratio != 0.0 {
            described += &format!(", LoRA+ with ratio {}", self.lora_plus_ratio);
        }
        match self.init.is_part_of_base() {
            true => format!("{described}, init {} (saved as plain {name}, r {})", self.init.name(), 2 * self.r),
            false => described,
        }
    }

    fn shown(&self) -> Map<String, Value> {
        let settings = json!({
            "r": self.r, "alpha": self.alpha, "dropout": self.dropout, "use_rslora": self.use_rslora, "bias": self.bias,
            "target_modules": self.targets.target_modules,
        });
        let mut shown = settings.as_object().cloned().unwrap_or_default();
        if self.use_dora {
            shown.insert("use_dora".to_owned(), json!(true));
        }
        if self.init.is_part_of_base() {
            shown.insert("init".to_owned(), json!(self.init));
        }
        if self.lora_plus_ratio != 0.0 {
            shown.insert("lora_plus_ratio".to_owned(), json!(self.lora_plus_ratio));
        }
        shown
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
        self.check_numbers()
    }

    fn check_kind(&self, module: &str, kind: Kind) -> Result<(), TargetError> {
        let takes = match kind {
            Kind::Linear | Kind::OutputLinear => return Ok(()),
            Kind::Embedding if !self.use_dora => return Ok(()),
            Kind::Embedding => "DoRA is on linear layers",
            Kind::LayerNorm | Kind::Other if self.use_dora => "DoRA is on linear layers",
            Kind::LayerNorm | Kind::Other => "LoRA is on linear layers and embeddings",
        };
        Err(TargetError::UnsupportedModule { module: module.to_owned(), takes })
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
        Method::Lora(Box::new(if self.init.is_part_of_base() { written.doubled() } else { written }))
    }

    fn as_settings(&self) -> Method {
        let mut settings = self.clone();
        settings.targets.modules_to_save.retain(|module| !STANDARD_HEADS.contains(&module.as_str()));
        Method::Lora(Box::new(settings))
    }

    fn to_peft(&self, fan_in_fan_out: bool) -> Map<String, Value> {
        self.write_peft(fan_in_fan_out)
    }

    fn with_ranks(&self, ranks: &[(String, usize)], targets: Option<TargetConfig>) -> Result<Method, &'static str> {
        if self.use_dora {
            return Err("DoRA, which sets the lengths of rows after its update is added");
        }
        let mut with_ranks = self.of_ranks(ranks);
        if let Some(targets) = targets {
            with_ranks.targets = targets;
        }
        Ok(Method::Lora(Box::new(with_ranks)))
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

    fn changes_base(&self) -> bool {
        self.init.is_part_of_base()
    }

    fn only_in_peft(&self) -> Option<String> {
        let start = self.init.name();
        let unknown = || format!("it does not take the start out of the base (init_lora_weights: {start:?})");
        self.changes_base().then(unknown)
    }

    /// The plain adapter of one with magnitudes would be refused there.
    fn changes_tied(&self) -> bool {
        self.changes_base() && !self.use_dora
    }

    fn tensors_written(
        &self,
        tensors: Vec<(String, TensorData)>,
        starts: &HashMap<String, TensorData>,
    ) -> Vec<(String, TensorData)> {
        if self.init.is_part_of_base() { start::plain(tensors, starts) } else { tensors }
    }

    fn taken_apart(&self, tensors: Vec<(String, TensorData)>) -> Option<TakenApart> {
        let (tensors, starts) = start::apart(tensors)?;
        Some(TakenApart { method: Method::Lora(Box::new(self.clone().halved())), tensors, starts })
    }

    fn linear(&self, mut site: Site<'_>, tensors: &mut TrainedTensors) -> Result<Option<Built<Adapter>>, Error> {
        let (rank, alpha) = self.rank_and_alpha(site.path, site.settings)?;
        let (d_input, d_output, device) = (site.d_input, site.d_output, site.device);
        let names = LINEAR.map(|ending| format!("{}{ending}", site.path));
        let scale = self.scaling(rank, alpha);
        let mut start = None;
        if self.init.is_part_of_base() {
            self.check_part_of_base(&site, rank)?;
            start = start::take_out(self.init, &mut site, (rank, scale), &names, tensors)?;
        }
        let [start_a, start_b] = start.map_or([None, None], |start| start.map(Some));
        let key = tensors.key(site.path);
        let initial_a = || start_a.unwrap_or_else(|| layers::initial_a(self.init, rank, d_input, key, device));
        let initial_b = || start_b.unwrap_or_else(|| Tensor::zeros([d_output, rank], device));
        let [a, b] = names;
        let of_a = tensors.parameter(&a, [rank, d_input], device, initial_a)?;
        let of_b = tensors.parameter(&b, [d_output, rank], device, initial_b)?;
        let factors = [of_a.val(), of_b.val()];
        let mut lora = Lora::new(of_a, of_b, scale, self.dropout, hash_text(site.path));
        let (module, sum) = (site.path, Sum { a, b, scale, transposed: site.orientation == Orientation::InOut });
        let update = self.update_of(module, sum);
        if self.use_dora {
            let name = format!("{module}{MAGNITUDE}");
            lora = lora.with_magnitude(Magnitude::of(site, &name, factors, scale, tensors)?);
        }
        let keeps = Keeps { input: true, outputs: self.use_dora, own: 0 };
        Ok(Some(Built { adapter: Adapter::Lora(lora), update, keeps }))
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
        let update = Update::new(site.path, Sum { a, b, scale, transposed: true });
        Ok(Some(Built { adapter, update, keeps: Keeps::default() }))
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
        let scale = self.scaling(*shape.first()?, alpha);
        Some(self.update_of(module, Sum { a, b, scale, transposed }))
    }

    fn check_joined(&self, module: &str, paired: bool) -> Result<(), TargetError> {
        self.check_expert(module, paired)
    }

    /// B of a linear layer and A of an embedding, which start at zero and stay there only if no gradient ever reaches them.
    fn value_without_effect(&self, tensor: &str) -> Option<f32> {
        (tensor.ends_with(LINEAR[1]) || tensor.ends_with(EMBEDDING[0])).then_some(0.0)
    }

    fn without_effect(&self) -> &'static str {
        "every B of the adapter is zero"
    }

    fn plain_name(&self, tensor: &str) -> String {
        names::plain(tensor)
    }

    fn wrong_shape(
        &self,
        tensor: &str,
        shape: &[usize],
        shape_of: &dyn Fn(&str) -> Option<Vec<usize>>,
    ) -> Option<String> {
        names::wrong_shape(tensor, shape, shape_of)
    }

    fn rank_side(&self, tensor: &str) -> Option<usize> {
        names::rank_side(tensor)
    }
}

#[cfg(test)]
mod tests;

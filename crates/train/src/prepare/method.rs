//! What is trained, from the keys of `[adapter]` or from the adapter that a run goes on from.

use lora::{BiasMode, Init, LoraConfig, Method, Names, Targets};
use model::Pretrained;

use super::Error;
use crate::adapter::Adapter;
use crate::config::{self, Bias, Loaded, Modules};

/// The method with everything decided; with `init_from` the adapter's settings take the place of the keys.
pub(super) fn method(
    loaded: &Loaded,
    init_from: Option<&Adapter>,
    pretrained: &Pretrained,
    config: &mut config::Config,
) -> Result<Method, Error> {
    let mut saved = match config.model.task {
        // PEFT's heads for a sequence classifier, and a pooler that is new.
        config::Task::SequenceClassification => vec!["classifier".to_string(), "score".to_string()],
        config::Task::MaskedLm | config::Task::CausalLm => Vec::new(),
    };
    saved.extend(pretrained.new_modules());
    Ok(match config.adapter.method {
        config::Method::Full => Method::Full,
        config::Method::None => Method::Modules(saved),
        config::Method::Lora => match init_from {
            Some(adapter) => {
                compare_written(loaded, &adapter.config.lora)?;
                fill_in(&mut config.adapter, &adapter.config.lora);
                adapter.method.clone()
            }
            None => {
                for module in &config.adapter.modules_to_save {
                    if !saved.contains(module) {
                        saved.push(module.clone());
                    }
                }
                Method::Lora(Box::new(lora_config(&config.adapter, pretrained, saved)))
            }
        },
    })
}

fn lora_config(adapter: &config::AdapterConfig, pretrained: &Pretrained, modules_to_save: Vec<String>) -> LoraConfig {
    let names = |modules: &Modules| match modules {
        Modules::Names(list) => (!list.is_empty()).then(|| Names::List(list.clone())),
        Modules::Pattern(pattern) => Some(Names::Pattern(pattern.clone())),
    };
    LoraConfig {
        r: adapter.r,
        alpha: adapter.alpha,
        dropout: adapter.dropout,
        bias: match adapter.bias {
            Bias::None => BiasMode::None,
            Bias::All => BiasMode::All,
            Bias::LoraOnly => BiasMode::LoraOnly,
        },
        target_modules: match &adapter.target_modules {
            config::Targets::AllLinear => Targets::AllLinear,
            config::Targets::Auto => Targets::Names(Names::List(pretrained.default_targets())),
            config::Targets::Names(list) => Targets::Names(Names::List(list.clone())),
            config::Targets::Pattern(pattern) => Targets::Names(Names::Pattern(pattern.clone())),
        },
        exclude_modules: names(&adapter.exclude_modules),
        layers: adapter.layers.clone(),
        layers_pattern: adapter.layers_pattern.clone(),
        modules_to_save,
        rank_pattern: adapter.rank_pattern.clone(),
        alpha_pattern: adapter.alpha_pattern.clone(),
        use_rslora: adapter.use_rslora,
        init: match adapter.init {
            config::Init::Default => Init::Default,
            config::Init::Gaussian => Init::Gaussian,
        },
    }
}

/// A key that the user wrote must say what the adapter says.
fn compare_written(loaded: &Loaded, lora: &LoraConfig) -> Result<(), Error> {
    let mut filled = loaded.config.adapter.clone();
    fill_in(&mut filled, lora);
    let written = toml::Table::try_from(&loaded.config.adapter).unwrap_or_default();
    let found = toml::Table::try_from(&filled).unwrap_or_default();
    for key in loaded.written.iter().filter_map(|key| key.strip_prefix("adapter.")) {
        if let (Some(left), Some(right)) = (written.get(key), found.get(key))
            && left != right
        {
            let place = loaded.place(&format!("adapter.{key}"));
            return Err(Error::InitFrom { place, written: left.to_string(), found: right.to_string() });
        }
    }
    Ok(())
}

/// The keys that say what this adapter says.
fn fill_in(adapter: &mut config::AdapterConfig, lora: &LoraConfig) {
    let list = |names: &Names| match names {
        Names::List(list) => Modules::Names(list.clone()),
        Names::Pattern(pattern) => Modules::Pattern(pattern.clone()),
    };
    adapter.r = lora.r;
    adapter.alpha = lora.alpha;
    adapter.dropout = lora.dropout;
    adapter.bias = match lora.bias {
        BiasMode::None => Bias::None,
        BiasMode::All => Bias::All,
        BiasMode::LoraOnly => Bias::LoraOnly,
    };
    adapter.target_modules = match &lora.target_modules {
        Targets::AllLinear => config::Targets::AllLinear,
        Targets::Names(names) => list(names).into(),
    };
    adapter.exclude_modules = lora.exclude_modules.as_ref().map_or(Modules::Names(Vec::new()), list);
    adapter.layers.clone_from(&lora.layers);
    adapter.layers_pattern.clone_from(&lora.layers_pattern);
    // The heads are always among them, and are not written by users.
    let own = |module: &&String| !["classifier", "score"].contains(&module.as_str());
    adapter.modules_to_save = lora.modules_to_save.iter().filter(own).cloned().collect();
    adapter.rank_pattern.clone_from(&lora.rank_pattern);
    adapter.alpha_pattern.clone_from(&lora.alpha_pattern);
    adapter.use_rslora = lora.use_rslora;
    adapter.init = match lora.init {
        Init::Default => config::Init::Default,
        Init::Gaussian => config::Init::Gaussian,
    };
}

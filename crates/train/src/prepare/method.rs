//! What is trained, from the keys of `[adapter]` or from the adapter that a run goes on from.

use std::path::Path;

use lora::{
    BiasMode, Init, Kind, LoraConfig, Method, Names, Plan, Selection, Selector, Settings, TargetError, Targets,
};
use model::Pretrained;

use super::Error;
use crate::adapter::Adapter;
use crate::config::{self, Bias, Loaded, Modules};

/// The method with everything decided; with `init_from` the adapter's settings take the place of the keys.
pub(super) fn method(
    loaded: &Loaded,
    init_from: Option<&Adapter>,
    (pretrained, classes): (&Pretrained, usize),
    config: &mut config::Config,
) -> Result<Method, Error> {
    // PEFT's heads for the task, and a pooler that is new.
    let mut saved: Vec<String> = config.model.task.modules_to_save.iter().map(|module| module.to_string()).collect();
    saved.extend(pretrained.new_modules());
    Ok(match config.adapter.method {
        config::Method::Full => Method::Full,
        config::Method::None => Method::Modules(saved),
        config::Method::Lora => match init_from {
            Some(adapter) => {
                if adapter.config.frozen_b {
                    return Err(Error::FrozenB { place: loaded.place("adapter.init_from") });
                }
                let different = differing(loaded, &adapter.config.lora);
                let means_the_same = || -> Result<bool, Error> {
                    let asked = lora_config(&config.adapter, pretrained, saved);
                    let modules = modules(config.adapter.init_from.as_deref(), pretrained, classes)?;
                    Ok(means_the_same(loaded, &asked, &adapter.config.lora, &modules))
                };
                let is_of_modules = |key: &str| OF_MODULES.contains(&key);
                if let Some((key, written, found)) = different.first()
                    && !(different.iter().all(|(key, ..)| is_of_modules(key)) && means_the_same()?)
                {
                    let place = loaded.place(&format!("adapter.{key}"));
                    return Err(Error::InitFrom { place, written: written.clone(), found: found.clone() });
                }
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

/// The keys that say which modules are meant: two ways to say it are the same if they come to the same modules.
const OF_MODULES: [&str; 7] = [
    "target_modules",
    "exclude_modules",
    "layers",
    "layers_pattern",
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
];

/// The keys that the user wrote and that say something else than the adapter: what is written, and what the adapter has.
fn differing(loaded: &Loaded, lora: &LoraConfig) -> Vec<(String, String, String)> {
    let mut filled = loaded.config.adapter.clone();
    fill_in(&mut filled, lora);
    let written = toml::Table::try_from(&loaded.config.adapter).unwrap_or_default();
    let found = toml::Table::try_from(&filled).unwrap_or_default();
    let keys = loaded.written.iter().filter_map(|key| key.strip_prefix("adapter."));
    let both = keys.filter_map(|key| Some((key, written.get(key)?, found.get(key)?)));
    both.filter(|(_, written, found)| written != found)
        .map(|(key, written, found)| (key.to_string(), written.to_string(), found.to_string()))
        .collect()
}

/// The modules of the base with the adapter to start from.
fn modules(adapter: Option<&Path>, pretrained: &Pretrained, classes: usize) -> Result<Vec<(String, Kind)>, Error> {
    let Some(adapter) = adapter.map(|path| Adapter::read(path, Some(pretrained))).transpose()? else {
        return Ok(Vec::new());
    };
    let plan = Plan::new(adapter.method, Some(adapter.tensors), 0).map_err(model::Error::from)?;
    Ok(pretrained.modules(plan, classes)?)
}

/// Whether the keys that the user wrote, in place of the adapter's own, select the same: what counts is what is matched, not
/// how it is written.
fn means_the_same(loaded: &Loaded, asked: &LoraConfig, adapter: &LoraConfig, modules: &[(String, Kind)]) -> bool {
    let is_written = |key: &str| loaded.written.contains(&format!("adapter.{key}"));
    let mut written = adapter.clone();
    if is_written("target_modules") {
        written.target_modules.clone_from(&asked.target_modules);
    }
    if is_written("exclude_modules") {
        written.exclude_modules.clone_from(&asked.exclude_modules);
    }
    if is_written("layers") {
        written.layers.clone_from(&asked.layers);
    }
    if is_written("layers_pattern") {
        written.layers_pattern.clone_from(&asked.layers_pattern);
    }
    if is_written("modules_to_save") {
        written.modules_to_save.clone_from(&asked.modules_to_save);
    }
    if is_written("rank_pattern") {
        written.rank_pattern.clone_from(&asked.rank_pattern);
    }
    if is_written("alpha_pattern") {
        written.alpha_pattern.clone_from(&asked.alpha_pattern);
    }
    let selected = |config: &LoraConfig| {
        let mut selector = Selector::new(config, Settings::Finished).ok()?;
        let selections: Vec<Selection> = modules.iter().map(|(path, kind)| selector.select(path, *kind)).collect();
        selector.finish().ok()?;
        Some((selections, selector.idle()))
    };
    let (Some((of_written, idle)), Some((of_adapter, _))) = (selected(&written), selected(adapter)) else {
        return false;
    };
    // What the user wrote and no module answers to is a mistake, here as elsewhere.
    let is_mistake = |idle: &TargetError| {
        let message = idle.to_string();
        OF_MODULES.iter().any(|key| is_written(key) && message.starts_with(&format!("`adapter.{key}`")))
    };
    of_written == of_adapter && !idle.iter().any(is_mistake)
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

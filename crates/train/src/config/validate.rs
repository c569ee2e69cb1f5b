//! What values of a configuration exclude each other.

use indexmap::IndexMap;
use lora::{BackwardPass, Method, Names, Targets};
use tasks::TaskName;

use super::error::ConfigError;
use super::keys::{KEYS, Key, dotted, has, with_key};
use super::load::Loaded;
use super::words::Weights;

/// An error for the first combination that means nothing.
pub(super) fn combinations(loaded: &Loaded) -> Result<(), ConfigError> {
    foreign_keys(loaded)?;
    task(loaded)?;
    quantised(loaded)?;
    layers(loaded)?;
    dependent(loaded)?;
    text(loaded)?;
    validation(loaded)?;
    length(loaded)?;
    warmup(loaded)
}

/// Only a written key is one too many: its default is nobody's wish.
fn foreign_keys(loaded: &Loaded) -> Result<(), ConfigError> {
    let method = &loaded.config.adapter.method;
    let foreign: Vec<&Key> = KEYS
        .iter()
        .filter(|key| key.table == "adapter" && !has(method, key.name))
        .filter(|key| loaded.written.contains(&key.dotted()))
        .collect();
    let (method, place) = (method.name(), |key: &&Key| loaded.place(&key.dotted()));
    match foreign.as_slice() {
        [] => Ok(()),
        [key] => {
            let (place, name, other) = (place(key), key.name, with_key(key.name));
            Err(ConfigError::ForeignKey { place, method, name, other })
        }
        several => {
            let names: Vec<&str> = several.iter().map(|key| key.name).collect();
            let places = several.iter().map(place).collect();
            Err(ConfigError::ForeignKeys { method, places, help: remedies(&names) })
        }
    }
}

/// By the methods that have the keys, of which one that has all of them is enough.
fn remedies(names: &[&str]) -> String {
    let has_all = |method: Method| names.iter().all(|name| has(&method, name));
    if let Some(other) = Method::NAMES.iter().find(|name| Method::named(name).is_some_and(has_all)) {
        return format!("remove them, or set `adapter.method = \"{other}\"`");
    }
    let mut by_method: IndexMap<&str, Vec<String>> = IndexMap::new();
    for name in names {
        by_method.entry(with_key(name)).or_default().push(format!("`{name}`"));
    }
    let remedy = |(other, names): (&str, Vec<String>)| {
        format!("remove {}, or set `adapter.method = \"{other}\"`", names.join(", "))
    };
    by_method.into_iter().map(remedy).collect::<Vec<_>>().join("; ")
}

/// What means nothing to the task, or to a model without weights.
fn task(loaded: &Loaded) -> Result<(), ConfigError> {
    let (config, task) = (&loaded.config, loaded.config.model.task);
    let foreign = KEYS.iter().find(|key| !task.has(&key.dotted()) && loaded.written.contains(&key.dotted()));
    if let Some(key) = foreign {
        let dotted = key.dotted();
        let others: Vec<&str> = TaskName::all().filter(|task| task.has(&dotted)).map(|task| task.name).collect();
        let (place, others) = (loaded.place(&dotted), others.join(", "));
        return Err(ConfigError::ForeignToTask { place, task, name: key.name, others });
    }
    let best = config.train.best;
    if best.score().is_some_and(|score| !task.best.contains(&score)) {
        return Err(ConfigError::NoSuchScore { place: loaded.place("train.best"), task, best });
    }
    if task.vocabulary && config.adapter.method.backward_pass() == BackwardPass::Head {
        let (method, trained) = (config.adapter.method.name(), config.adapter.method.describe());
        return Err(ConfigError::NothingToTrain { place: loaded.place("adapter.method"), method, trained, task });
    }
    if config.model.weights == Weights::Random && !config.adapter.method.trains_all() {
        let place = loaded.place("model.weights");
        return Err(match config.adapter.method.saves_model() {
            true => ConfigError::RandomFrozen { place },
            false => ConfigError::RandomBase { place },
        });
    }
    Ok(())
}

fn quantised(loaded: &Loaded) -> Result<(), ConfigError> {
    let config = &loaded.config;
    let (dtype, output) = (config.model.dtype, config.model.quantize_output);
    match dtype.quantisation() {
        Some(_) if config.adapter.method.saves_model() => {
            Err(ConfigError::TrainedQuantised { place: loaded.place("model.dtype"), dtype })
        }
        None if output => Err(ConfigError::NothingQuantised { place: loaded.place("model.quantize_output"), dtype }),
        Some(_) | None => Ok(()),
    }
}

fn layers(loaded: &Loaded) -> Result<(), ConfigError> {
    let Some(adapter) = loaded.config.adapter.method.targets() else { return Ok(()) };
    match (&adapter.layers, &adapter.target_modules) {
        (None, _) if !adapter.layers_pattern.is_empty() => {
            let place = loaded.place("adapter.layers_pattern");
            Err(ConfigError::PatternWithoutLayers { place })
        }
        (Some(_), Targets::AllLinear) => {
            let place = loaded.place("adapter.layers");
            Err(ConfigError::LayersWithAll { place })
        }
        (Some(_), Targets::Names(Names::Pattern(_))) => {
            let place = loaded.place("adapter.layers");
            Err(ConfigError::LayersWithPattern { place })
        }
        _ => Ok(()),
    }
}

/// A key that does nothing without another. Its default is nobody's wish: it stands in files that write every key.
fn dependent(loaded: &Loaded) -> Result<(), ConfigError> {
    for setting in lora::settings_of(loaded.config.adapter.method.name()) {
        let Some((other, example)) = setting.needs else { continue };
        let key = dotted("adapter", setting.name);
        let is_alone = loaded.written.contains(&key) && !loaded.written.contains(&dotted("adapter", other));
        if is_alone && !has_default(loaded, &key) {
            let place = loaded.place(&key);
            return Err(ConfigError::Alone { place, name: setting.name, other, example });
        }
    }
    Ok(())
}

fn has_default(loaded: &Loaded, key: &str) -> bool {
    let config = loaded.config.to_table();
    Key::find(key).is_some_and(|key| key.value(&config) == key.default().as_ref())
}

fn text(loaded: &Loaded) -> Result<(), ConfigError> {
    match loaded.config.data.columns.template_and_column() {
        Some((template, column)) => Err(both(loaded, &format!("data.{template}"), &format!("data.{column}"))),
        None => Ok(()),
    }
}

fn validation(loaded: &Loaded) -> Result<(), ConfigError> {
    let (data, train) = (&loaded.config.data, &loaded.config.train);
    let has_fraction = data.valid_fraction > 0.0;
    if data.valid.is_some() && has_fraction {
        return Err(both(loaded, "data.valid_fraction", "data.valid"));
    }
    if train.eval_generate > 0 && data.valid.is_none() && !has_fraction {
        let place = loaded.place("train.eval_generate");
        return Err(ConfigError::NothingToAnswer { place });
    }
    if train.early_stopping_patience > 0 && data.valid.is_none() && !has_fraction {
        let place = loaded.place("train.early_stopping_patience");
        return Err(ConfigError::NothingToStopBy { place });
    }
    Ok(())
}

fn length(loaded: &Loaded) -> Result<(), ConfigError> {
    let train = &loaded.config.train;
    if train.epochs == 0 && train.max_steps == 0 {
        let place = loaded.place("train.epochs");
        return Err(ConfigError::NoLength { place });
    }
    Ok(())
}

fn warmup(loaded: &Loaded) -> Result<(), ConfigError> {
    let train = &loaded.config.train;
    if train.warmup_steps.is_some() && train.warmup_ratio.is_some() {
        return Err(both(loaded, "train.warmup_ratio", "train.warmup_steps"));
    }
    Ok(())
}

fn both(loaded: &Loaded, key: &str, other: &str) -> ConfigError {
    ConfigError::Both { place: loaded.place(key), other: loaded.place(other) }
}

//! What is trained, from the keys of `[adapter]` or from the adapter that a run goes on from.

use std::path::Path;

use lora::{Kind, Method, Plan, Settings, TargetError};
use model::Pretrained;
use serde::Deserialize;
use toml::Table;

use super::Error;
use crate::config::{self, Loaded};
use inference::{Adapter, resolved};

/// The method with everything decided; with `init_from` the adapter's settings take the place of the keys.
pub(super) fn method(
    loaded: &Loaded,
    init_from: Option<&Adapter>,
    (pretrained, classes): (&Pretrained, usize),
    config: &mut config::Config,
) -> Result<Method, Error> {
    // PEFT's heads for the task, and a pooler that is new.
    let mut heads: Vec<String> = config.model.task.modules_to_save.iter().map(|module| module.to_string()).collect();
    heads.extend(pretrained.new_modules());
    let asked = resolved(&config.adapter.method, pretrained, &heads);
    let Some(adapter) = init_from else { return Ok(asked) };
    if !adapter.method.is_trainable_again() {
        return Err(Error::FrozenB { place: loaded.place("adapter.init_from") });
    }
    let method = adapter.method.trained_as(&asked).unwrap_or_else(|| adapter.method.clone());
    let of_adapter = method.as_settings();
    let different = differing(loaded, &of_adapter);
    let means_the_same = || -> Result<bool, Error> {
        let modules = modules(config.adapter.init_from.as_deref(), pretrained, classes);
        let modules = modules.map_err(|error| error.placed(loaded))?;
        Ok(means_the_same(loaded, &asked, &method, &modules))
    };
    let of_modules = of_modules(&adapter.method);
    let is_of_modules = |key: &str| of_modules.contains(&key);
    if let Some((key, written, found)) = different.first()
        && !(different.iter().all(|(key, ..)| is_of_modules(key)) && means_the_same()?)
    {
        let place = loaded.place(&format!("adapter.{key}"));
        return Err(Error::InitFrom { place, written: written.clone(), found: found.clone() });
    }
    config.adapter.method = of_adapter;
    Ok(method)
}

/// The keys that say which modules are meant: two ways to say it are the same if they come to the same modules.
fn of_modules(method: &Method) -> Vec<&'static str> {
    let settings = lora::settings_of(method.name()).iter();
    settings.filter(|setting| setting.is_of_modules()).map(|setting| setting.name).collect()
}

fn table(method: &Method) -> Table {
    Table::try_from(method).unwrap_or_default()
}

/// The keys that the user wrote and that say something else than the adapter: what is written, and what the adapter has.
fn differing(loaded: &Loaded, adapter: &Method) -> Vec<(String, String, String)> {
    let (written, found) = (table(&loaded.config.adapter.method), table(adapter));
    let settings = lora::settings_of(adapter.name());
    let keys = loaded.written.iter().filter_map(|key| key.strip_prefix("adapter."));
    let difference = |key: &str| {
        let written = written.get(key)?;
        let found = match found.get(key) {
            Some(found) if found == written => return None,
            Some(found) => found.to_string(),
            // It may have no value, such as `layers`.
            None if settings.iter().any(|setting| setting.name == key) => return None,
            None => "no such key".to_string(),
        };
        Some((key.to_string(), written.to_string(), found))
    };
    keys.filter_map(difference).collect()
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
fn means_the_same(loaded: &Loaded, asked: &Method, adapter: &Method, modules: &[(String, Kind)]) -> bool {
    let is_written = |key: &&str| loaded.written.contains(&format!("adapter.{key}"));
    let (asked, mut written) = (table(asked), table(adapter));
    let of_modules = of_modules(adapter);
    for key in of_modules.iter().filter(|key| is_written(key)) {
        match asked.get(*key) {
            Some(value) => written.insert(key.to_string(), value.clone()),
            None => written.remove(*key),
        };
    }
    let Ok(written) = Method::deserialize(written) else { return false };
    let selected = |method: &Method| method.selections(modules, Settings::Finished);
    let (Ok(of_written), Ok(of_adapter)) = (selected(&written), selected(adapter)) else { return false };
    // What the user wrote and no module answers to is a mistake, here as elsewhere.
    let is_mistake = |idle: &TargetError| idle.key().is_some_and(|key| of_modules.contains(&key) && is_written(&key));
    of_written.of_modules == of_adapter.of_modules && !of_written.idle.iter().any(is_mistake)
}

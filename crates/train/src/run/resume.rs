//! Going on with a run: only as the run it was, or, once it has finished, with another leg.

use std::path::Path;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Error;
use super::checkpoint::{Identity, RunState, read_state};
use super::directory::{Directory, State, check, recorded_config, sha256_of_beginning};
use super::legs::effective;
use crate::config::{Config, Leg, Loaded, TrainConfig};
use crate::output::Output;
use crate::prepare::RunPlan;

/// Keys that a resumed run may change: what does not change its numbers.
const FREE: [&str; 6] = [
    "output_dir",
    "train.device",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.gradient_checkpointing",
    "train.tensorboard",
];

/// What a `--resume` is about.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Resumption {
    /// A finished run, asked for as it was.
    Finished,
    /// Steps to do, or settings to be compared.
    Run,
}

/// Makes `loaded` the configuration of the run in `place`: with its legs, and with a further one where the run has
/// finished and `loaded` asks for more steps or for other rates. Nothing is written.
pub(crate) fn take_up(place: &Path, loaded: &mut Loaded) -> Result<Resumption, Error> {
    let state = check(place, super::Start::Resume)?;
    if state == State::New {
        return Ok(Resumption::Run);
    }
    let then = recorded(place)?;
    let wishes = wishes(loaded, &then);
    let now = std::mem::replace(&mut loaded.config.legs, then.legs.clone());
    let added = added_legs(now, &then.legs)?;
    let wanted = loaded.config.train.clone();
    restore_keys(&mut loaded.config.train, &then.train);
    let has_ended = state == State::Finished;
    if wishes.is_empty() && added.is_empty() {
        let same = has_ended && !is_to_come(place, then.legs.last()) && is_as_written(loaded, &then);
        return Ok(if same { Resumption::Finished } else { Resumption::Run });
    }

    let Some(step) = newest_whole(place)? else { return Ok(Resumption::Run) };
    let begins_there = added.first().is_none_or(|leg| leg.after_step == step);
    if !begins_there || !has_ended && !added.is_empty() {
        return Err(changed(
            "`legs`",
            &Value::from(then.legs.len() as i64),
            &Value::from((then.legs.len() + added.len()) as i64),
        ));
    }
    loaded.config.legs.extend(added);
    if has_ended {
        add_leg(&mut loaded.config.legs, step, &wishes, &wanted);
    } else {
        lengthen(&mut loaded.config, &wishes, &wanted)?;
    }
    Ok(Resumption::Run)
}

/// The configuration that a run has recorded. Keys that its version did not know have their defaults.
fn recorded(place: &Path) -> Result<Config, Error> {
    let text = recorded_config(place)?;
    parse(&text).map_err(|reason| Error::Record { path: place.join("config.toml"), reason })
}

pub(super) fn parse(text: &str) -> Result<Config, String> {
    toml::from_str(text).map_err(|error| error.message().to_string())
}

/// The keys of a leg that `loaded` wants otherwise than they are by now. What was not typed for this command and is a value
/// that the run had at some time is no wish: the configuration that the run began with is still the run's.
fn wishes(loaded: &Loaded, then: &Config) -> Vec<&'static str> {
    let (now, base) = (table(&loaded.config.train), table(&then.train));
    let by_now = table(&effective(&then.train, &then.legs));
    let had = |key: &str, value: &Value| {
        let written = then.legs.iter().flat_map(Leg::written);
        base.get(key) == Some(value) || written.into_iter().any(|(name, it)| name == key && it == *value)
    };
    let is_wish = |key: &&str| match now.get(*key) {
        Some(value) => by_now.get(*key) != Some(value) && (loaded.is_set(&format!("train.{key}")) || !had(key, value)),
        // A warm-up that is not written.
        None => false,
    };
    Leg::KEYS.into_iter().filter(is_wish).collect()
}

fn table(train: &TrainConfig) -> Table {
    Table::try_from(train).expect("a configuration is TOML")
}

/// The legs that a file has behind those of the run. A file with fewer of them is an older copy.
fn added_legs(now: Vec<Leg>, then: &[Leg]) -> Result<Vec<Leg>, Error> {
    let common = now.len().min(then.len());
    if now[..common] != then[..common] {
        let (now, then) = (Value::from(now.len() as i64), Value::from(then.len() as i64));
        return Err(changed("`legs`", &then, &now));
    }
    Ok(now.into_iter().skip(common).collect())
}

/// What a leg may set is in the legs, not in `[train]`.
fn restore_keys(train: &mut TrainConfig, then: &TrainConfig) {
    train.epochs = then.epochs;
    train.max_steps = then.max_steps;
    train.learning_rate = then.learning_rate;
    train.schedule = then.schedule;
    train.warmup_steps = then.warmup_steps;
    train.warmup_ratio = then.warmup_ratio;
    train.early_stopping_patience = then.early_stopping_patience;
}

/// A further leg after `step`; a leg that has not done a step yet takes the wishes itself.
fn add_leg(legs: &mut Vec<Leg>, step: usize, wishes: &[&'static str], wanted: &TrainConfig) {
    if wishes.is_empty() {
        return;
    }
    if legs.last().is_none_or(|leg| leg.after_step != step) {
        legs.push(Leg { after_step: step, ..Leg::default() });
    }
    let leg = legs.last_mut().expect("one was just added");
    wishes.iter().for_each(|key| leg.set(key, wanted));
}

/// Another length for a run in the middle of a leg, where no step that was done would have been another one: with a constant
/// rate, which does not ask how long the run is.
fn lengthen(config: &mut Config, wishes: &[&'static str], wanted: &TrainConfig) -> Result<(), Error> {
    let by_now = effective(&config.train, &config.legs);
    let is_length = |key: &&str| ["epochs", "max_steps"].contains(key);
    let asks = by_now.schedule != crate::config::Schedule::Constant || by_now.warmup_ratio.is_some();
    if let Some(key) = wishes.iter().find(|key| !is_length(key) || asks) {
        let (then, now) = (table(&by_now), table(wanted));
        let value = |table: &Table| table.get(*key).cloned().unwrap_or_else(|| Value::from("not set"));
        return Err(changed(&format!("`train.{key}`"), &value(&then), &value(&now)));
    }
    match config.legs.last_mut() {
        Some(leg) => wishes.iter().for_each(|key| leg.set(key, wanted)),
        None => (config.train.epochs, config.train.max_steps) = (wanted.epochs, wanted.max_steps),
    }
    Ok(())
}

fn changed(what: &str, then: &Value, now: &Value) -> Error {
    Error::Changed { what: what.to_string(), then: then.to_string(), now: now.to_string() }
}

/// Whether every key that was written says what the recorded configuration says. What is not the same to the letter, such as
/// a model whose commit was recorded, is looked at more closely when the plan is made.
fn is_as_written(loaded: &Loaded, then: &Config) -> bool {
    let parsed = |config: &Config| config.to_toml().parse::<Table>().unwrap_or_default();
    let (now, then) = (flat(&parsed(&loaded.config)), flat(&parsed(then)));
    now.iter().filter(|(key, _)| loaded.written.contains(key) && !is_free(key)).all(|entry| then.contains(entry))
}

/// Whether a leg was recorded and the process killed before it went on.
fn is_to_come(place: &Path, leg: Option<&Leg>) -> bool {
    let metrics = std::fs::read_to_string(place.join("metrics.jsonl")).unwrap_or_default();
    let step = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["step"].as_u64();
    let last = metrics.lines().rev().find_map(step);
    leg.is_some_and(|leg| last == Some(leg.after_step as u64))
}

/// The step of the newest checkpoint that is whole.
fn newest_whole(place: &Path) -> Result<Option<usize>, Error> {
    let directory = Directory::open(place)?;
    Ok(directory.checkpoints().into_iter().rev().find(|step| usable(&directory, *step).is_ok()))
}

/// The state of a checkpoint that can be gone on from; otherwise what is wrong with it, or with the metrics up to its step.
fn usable(directory: &Directory, step: usize) -> Result<RunState, Error> {
    let checkpoint = directory.checkpoint(step);
    let state = read_state(&checkpoint).map_err(|reason| Error::Damaged { path: checkpoint, reason })?;
    let path = directory.path("metrics.jsonl");
    let length = std::fs::metadata(&path).map_or(0, |found| found.len());
    if length < state.metrics_length {
        let reason = format!("it has {length} bytes, and had {} at step {step}", state.metrics_length);
        return Err(Error::Metrics { path, reason, step });
    }
    let found = sha256_of_beginning(&path, state.metrics_length);
    match &state.metrics_sha256 {
        Some(then) if found.as_ref().ok() != Some(then) => {
            Err(Error::Metrics { path, reason: format!("it is not as it was written up to step {step}"), step })
        }
        Some(_) | None => Ok(state),
    }
}

/// The state of the newest checkpoint that is whole; `None` where there is no checkpoint. Refuses, by key, a run that is
/// another one.
pub(super) fn newest_state(
    plan: &RunPlan,
    identity: &Identity,
    directory: &Directory,
    output: &Output,
) -> Result<Option<RunState>, Error> {
    let steps = directory.checkpoints();
    if steps.is_empty() {
        output.say("no complete checkpoint: starting at step 1");
        return Ok(None);
    }
    let state = newest_usable(directory, &steps, output)?;
    let restore = |reason: String| Error::Record { path: directory.root().join("config.toml"), reason };
    let recorded = parse(&directory.config()).map_err(restore)?;
    let now = plan.config.to_toml().parse().map_err(|error: toml::de::Error| restore(error.message().to_string()))?;
    let text = directory.config();
    let then: Table = text.parse().map_err(|error: toml::de::Error| restore(error.message().to_string()))?;
    let recorded = recorded.to_toml().parse().unwrap_or_default();
    if let Some((what, then, now)) = first_difference(&then, &recorded, &now, &|key| plan.written.contains(key)) {
        return Err(Error::Changed { what, then, now });
    }
    for (what, then, now) in
        [("the base model", &state.identity.base, &identity.base), ("the data", &state.identity.data, &identity.data)]
    {
        if then != now {
            let start = |hash: &str| hash.chars().take(12).collect();
            return Err(Error::Changed { what: what.to_string(), then: start(then), now: start(now) });
        }
    }
    let device = |table: &Table| table.get("train").and_then(|train| train.get("device")).map(Value::to_string);
    if device(&then) != device(&now) {
        output.warn("the device differs from the interrupted run's: the result will not be the same bit for bit");
    }
    Ok(Some(state))
}

/// The newest checkpoint that can be gone on from; what is wrong with the newest of all is told.
fn newest_usable(directory: &Directory, steps: &[usize], output: &Output) -> Result<RunState, Error> {
    let mut damages = Vec::new();
    for step in steps.iter().rev() {
        match usable(directory, *step) {
            Ok(state) => {
                let wrong = match damages.first() {
                    Some(Error::Damaged { path, reason }) => {
                        Some(format!("the checkpoint {} is damaged ({reason})", path.display()))
                    }
                    Some(Error::Metrics { path, reason, .. }) => {
                        Some(format!("{} is damaged ({reason})", path.display()))
                    }
                    _ => None,
                };
                if let Some(wrong) = wrong {
                    output.warn(&format!("{wrong}: resuming from {}", directory.checkpoint(state.step).display()));
                }
                return Ok(state);
            }
            Err(damage) => damages.push(damage),
        }
    }
    // With the metrics put back a checkpoint can be gone on from.
    let metrics = damages.iter().position(|damage| matches!(damage, Error::Metrics { .. }));
    Err(damages.swap_remove(metrics.unwrap_or(0)))
}

pub(super) fn is_free(key: &str) -> bool {
    FREE.contains(&key) || key == "legs" || key.strip_prefix("train.").is_some_and(|key| Leg::KEYS.contains(&key))
}

/// The first key whose value differs, with both values: `recorded` is `then` as this version writes it. A key that the run did not record, since its version did not know it,
/// had its default; where nobody wrote it, it is what it was.
fn first_difference(
    then: &Table,
    recorded: &Table,
    now: &Table,
    written: &dyn Fn(&str) -> bool,
) -> Option<(String, String, String)> {
    let (then, recorded, now) = (flat(then), flat(recorded), flat(now));
    let shown = |value: Option<&Value>| value.map_or_else(|| "not set".to_string(), Value::to_string);
    let mut keys: Vec<&String> = then.iter().chain(&now).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let find = |table: &'_ [(String, Value)], key: &str| table.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    keys.into_iter().filter(|key| !is_free(key)).find_map(|key| {
        if find(&then, key).is_none() && !written(key) {
            return None;
        }
        let (left, right) = (find(&recorded, key), find(&now, key));
        (left != right).then(|| (format!("`{key}`"), shown(left.as_ref()), shown(right.as_ref())))
    })
}

/// Keys with their table before them, `train.epochs`.
pub(super) fn flat(table: &Table) -> Vec<(String, Value)> {
    let mut entries = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                entries.extend(inner.iter().map(|(name, value)| (format!("{key}.{name}"), value.clone())));
            }
            value => entries.push((key.clone(), value.clone())),
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(then: &str, now: &str, written: &[&str]) -> Option<(String, String, String)> {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let recorded = table(&parse(then).unwrap().to_toml());
        first_difference(&table(then), &recorded, &table(now), &|key| written.contains(&key))
    }

    #[test]
    fn a_difference_is_named_by_its_key_and_free_keys_are_none() {
        let then = "seed = 1\n[train]\nbatch_size = 2\ndevice = \"cpu\"\ncheckpoint_every = 5";
        let moved = "seed = 1\n[train]\nbatch_size = 2\ndevice = \"cuda\"\ncheckpoint_every = 1";
        assert_eq!(difference(then, moved, &[]), None);
        let larger = "seed = 1\n[train]\nbatch_size = 3\ndevice = \"cpu\"\ncheckpoint_every = 5";
        let found = ("`train.batch_size`".to_string(), "2".to_string(), "3".to_string());
        assert_eq!(difference(then, larger, &[]), Some(found));
    }

    #[test]
    fn a_key_that_an_older_version_did_not_record_had_its_default() {
        let then = "seed = 1\n[train]\nbatch_size = 2";
        let now = "seed = 1\n[train]\nbatch_size = 2\neps = 1e-8\nshuffle = false";
        assert_eq!(difference(then, now, &["train.eps"]), None);
        let found = ("`train.shuffle`".to_string(), "true".to_string(), "false".to_string());
        assert_eq!(difference(then, now, &["train.shuffle"]), Some(found));
        assert_eq!(difference(then, now, &[]), None);
    }
}

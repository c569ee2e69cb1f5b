//! Going on with an interrupted run: only as the run it was.

use toml::{Table, Value};

use super::Error;
use super::checkpoint::{Identity, RunState, read_state};
use super::directory::Directory;
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

/// The state of the newest complete checkpoint; `None` where there is none. Refuses, by key, a run that is another one.
pub(super) fn newest_state(
    plan: &RunPlan,
    identity: &Identity,
    directory: &Directory,
    output: &Output,
) -> Result<Option<RunState>, Error> {
    let Some(step) = directory.checkpoints().last().copied() else {
        output.say("no complete checkpoint: starting at step 1");
        return Ok(None);
    };
    let state = read_state(&directory.checkpoint(step))?;
    let path = directory.root().join("config.toml");
    let restore = |reason: String| Error::Restore { path: path.clone(), reason };
    let text = std::fs::read_to_string(&path).map_err(|error| restore(error.to_string()))?;
    let then: Table = text.parse().map_err(|error: toml::de::Error| restore(error.message().to_string()))?;
    let now: Table =
        plan.config.to_toml().parse().map_err(|error: toml::de::Error| restore(error.message().to_string()))?;
    if let Some((what, then, now)) = first_difference(&then, &now) {
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
    output.say(&format!("resuming after step {step}"));
    Ok(Some(state))
}

/// The first key whose value differs, with both values.
fn first_difference(then: &Table, now: &Table) -> Option<(String, String, String)> {
    let (then, now) = (flat(then), flat(now));
    let shown = |value: Option<&Value>| value.map_or_else(|| "not set".to_string(), Value::to_string);
    let mut keys: Vec<&String> = then.iter().chain(&now).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let find = |table: &'_ [(String, Value)], key: &str| table.iter().find(|(k, _)| k == key).map(|(_, v)| v.clone());
    keys.into_iter().filter(|key| !FREE.contains(&key.as_str())).find_map(|key| {
        let (left, right) = (find(&then, key), find(&now, key));
        (left != right).then(|| (format!("`{key}`"), shown(left.as_ref()), shown(right.as_ref())))
    })
}

/// Keys with their table before them, `train.epochs`.
fn flat(table: &Table) -> Vec<(String, Value)> {
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

    #[test]
    fn a_difference_is_named_by_its_key_and_free_keys_are_none() {
        let table = |text: &str| text.parse::<Table>().unwrap();
        let then = table("seed = 1\n[train]\nepochs = 2\ndevice = \"cpu\"\ncheckpoint_every = 5");
        let moved = table("seed = 1\n[train]\nepochs = 2\ndevice = \"cuda\"\ncheckpoint_every = 1");
        assert_eq!(first_difference(&then, &moved), None);
        let longer = table("seed = 1\n[train]\nepochs = 3\ndevice = \"cpu\"\ncheckpoint_every = 5");
        let difference = ("`train.epochs`".to_string(), "2".to_string(), "3".to_string());
        assert_eq!(first_difference(&then, &longer), Some(difference));
    }
}

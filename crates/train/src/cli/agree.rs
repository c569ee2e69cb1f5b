//! Whether all workers are about to do the same: with one version, one configuration, one base and the same data, each of which
//! a worker reads where it finds it.

use std::collections::BTreeMap;
use std::path::Path;

use kernels::Simd;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Failure;
use crate::config::{Config, Loaded};
use crate::device::DeviceName;
use crate::output::{Output, counted};
use crate::prepare::{RunPlan, data_files, tokenizer_files};
use crate::workers::{InputFile, Workers, difference};
use inference::{ModelFiles, Pipeline};

/// Keys that say where something lies, which may be elsewhere on another host, and what each worker decides for itself.
const PLACES: [&str; 6] = ["output_dir", "model.path", "data.train", "data.valid", "adapter.init_from", "train.device"];

/// Refuses workers of other versions or with other settings, by the key that differs.
pub(super) fn on_configuration(loaded: &Loaded, workers: &Workers) -> Result<(), Failure> {
    if !workers.are_several() {
        return Ok(());
    }
    let versions = workers.gather("the version", &env!("CARGO_PKG_VERSION").to_string())?;
    if let Some(other) = other(&versions) {
        let (name, first) = (workers.name(other), workers.name(0));
        let message = format!("{first} is kindling {}, and {name} is kindling {}", versions[0], versions[other]);
        return Err(Failure::usage(message, "install one version on all hosts"));
    }
    let all = workers.gather("the configuration", &settings(&loaded.config))?;
    let Some(other) = other(&all) else { return Ok(()) };
    let keys = all[0].keys().chain(all[other].keys());
    let key = keys.into_iter().find(|key| all[0].get(*key) != all[other].get(*key)).cloned().unwrap_or_default();
    let value = |rank: usize| all[rank].get(&key).map_or("not set", String::as_str).to_owned();
    let (first, name) = (workers.name(0), workers.name(other));
    let message = format!("`{key}` is {} on {first}, and {} on {name}", value(0), value(other));
    Err(Failure::usage(message, "give all workers the same configuration"))
}

/// The device that is asked for, of this worker.
pub(super) fn device(asked: &str, workers: &Workers) -> Result<DeviceName, Failure> {
    let name = DeviceName::parse(asked, workers.local_rank())?;
    on_backend(asked, name.backend(), workers)?;
    Ok(name)
}

/// Refuses workers for which `auto` has found other backends: where there are more of them on a host than GPUs, the rest would
/// compute on its CPU, and all wait for them.
pub(super) fn on_backend(asked: &str, backend: &str, workers: &Workers) -> Result<(), Failure> {
    if !workers.are_several() {
        return Ok(());
    }
    let all = workers.gather("the device", &(asked == "auto", backend.to_string()))?;
    let differs = |(is_auto, backend): &(bool, String)| (*is_auto || all[0].0) && *backend != all[0].1;
    let Some(other) = all.iter().position(differs) else { return Ok(()) };
    let (first, name) = (workers.name(0), workers.name(other));
    let message = format!("the device `auto` is {} on {first}, and {} on {name}", all[0].1, all[other].1);
    Err(Failure::usage(message, "start no more workers on a host than it has GPUs, or name a device with `--device`"))
}

/// The first worker whose answer is another one than the first worker's.
fn other<T: PartialEq>(all: &[T]) -> Option<usize> {
    all.iter().position(|of_other| *of_other != all[0])
}

/// Keys with their values.
fn settings(config: &Config) -> BTreeMap<String, String> {
    let table: Table = config.to_toml().parse().unwrap_or_default();
    let mut settings = BTreeMap::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) => {
                settings.extend(inner.into_iter().map(|(name, value)| (format!("{key}.{name}"), value.to_string())));
            }
            value => drop(settings.insert(key, value.to_string())),
        }
    }
    settings.retain(|key, _| !PLACES.contains(&key.as_str()));
    settings
}

/// What is the same for all, or a worker is at something else.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Inputs {
    base: String,
    data: String,
    /// Its files, none where the run does not start from one.
    adapter: Vec<String>,
}

/// Refuses workers with another base or other data, by the file that differs, and warns of processors that may compute other bits.
pub(super) fn on_inputs(plan: &RunPlan, workers: &Workers, output: &Output) -> Result<(), Failure> {
    if !workers.are_several() {
        return Ok(());
    }
    on_backend(&plan.config.train.device, plan.device_name.backend(), workers)?;
    let identity = plan.identity();
    let adapter = of_adapter(plan).iter().map(InputFile::identity).collect();
    let inputs = Inputs { base: identity.base, data: identity.data, adapter };
    let all = workers.gather("hashes of base and data", &inputs)?;
    if let Some(other) = other(&all) {
        return Err(named(plan, &all[other], &all[0], other, workers)?);
    }
    let simd = Simd::chosen().map_or("none", Simd::name).to_string();
    let all = workers.gather("the processor", &simd)?;
    if let Some(other) = other(&all) {
        let (first, name) = (workers.name(0), workers.name(other));
        output.warn(&format!(
            "{first} computes with {}, and {name} with {}: the last bits of the result depend on who computes what; set {}={} on \
             all hosts to a SIMD instruction set that every one has",
            all[0],
            all[other],
            Simd::VARIABLE,
            slower(&all),
        ));
    }
    Ok(())
}

/// The files of the adapter that the run starts from.
fn of_adapter(plan: &RunPlan) -> Vec<InputFile> {
    let adapter = plan.config.adapter.init_from.iter();
    adapter.flat_map(|adapter| InputFile::of_directory("adapter", adapter, |_| true)).collect()
}

/// The last of them in the order of speed.
fn slower(names: &[String]) -> &str {
    let place = |name: &&String| Simd::NAMES.iter().position(|known| known == name);
    names.iter().max_by_key(place).map_or("", String::as_str)
}

/// What says which file it is that differs, found by the hashes of all.
fn named(plan: &RunPlan, theirs: &Inputs, first: &Inputs, other: usize, workers: &Workers) -> Result<Failure, Failure> {
    let (what, files) = match (theirs.base == first.base, theirs.data == first.data) {
        (false, _) => ("base", InputFile::of_directory("base", &plan.base.directory, |_| true)),
        (true, false) => ("data", [data_files(&plan.config), tokenizer_files(&plan.base.directory)].concat()),
        (true, true) => ("adapter", of_adapter(plan)),
    };
    let all = workers.gather("hashes of files", &files)?;
    Ok(match difference(&all, other, workers) {
        Some(message) => {
            let help = format!("copy the {what} of one host to the others, or read it from a shared disk");
            Failure::usage(message, help)
        }
        None => {
            let (worker, of_first) = (workers.name(other), workers.name(0));
            let message = format!("{worker} reads the {what} differently from {of_first}, and the files are the same");
            Failure::usage(message, "start the same build of kindling on all hosts")
        }
    })
}

/// Refuses workers with another model, adapter or input than the first one has.
pub(super) fn on_files<'a>(
    pipeline: &Pipeline,
    model: &ModelFiles,
    inputs: impl IntoIterator<Item = &'a Path>,
    workers: &Workers,
) -> Result<(), Failure> {
    if !workers.are_several() {
        return Ok(());
    }
    let mut files = vec![InputFile::hashed("model", &model.model, pipeline.pretrained.fingerprint())];
    files.extend(model.adapter.iter().flat_map(|adapter| InputFile::of_directory("adapter", adapter, |_| true)));
    files.extend(InputFile::of_list("input", inputs));
    let all = workers.gather("hashes of the files that are read", &files)?;
    match (1..all.len()).find_map(|other| difference(&all, other, workers)) {
        Some(message) => {
            Err(Failure::usage(message, "copy what one host has to the others, or read it from a shared disk"))
        }
        None => Ok(()),
    }
}

/// A worker without a micro-batch computes nothing: says what would give each one, with the same examples in a step.
pub(super) fn on_accumulation(plan: &RunPlan, workers: &Workers, output: &Output) -> Result<(), Failure> {
    let (size, train) = (workers.size(), &plan.config.train);
    let accumulation = train.grad_accumulation;
    if accumulation >= size {
        return Ok(());
    }
    let examples = train.batch_size * accumulation;
    // As few micro-batches as all have one of, in equal parts of the step.
    let better = (size..=examples).find(|parts| examples.is_multiple_of(*parts));
    let have = counted(accumulation, "micro-batch", "micro-batches");
    let rest = size - accumulation;
    let idle = counted(rest, "worker has", "workers have");
    output.warn(&match better {
        Some(parts) => format!(
            "a step has {have}, so that {idle} nothing to do: `train.batch_size = {}` with `train.grad_accumulation = {parts}` \
             is the same step for {size} workers",
            examples / parts
        ),
        None => format!(
            "a step has {have}, so that {idle} nothing to do: with {examples} examples in a step no more than {examples} workers \
             are of use"
        ),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::threads::with_workers;

    #[test]
    fn places_are_no_settings() {
        let mut config = Config::default();
        let before = settings(&config);
        config.output_dir = Some("elsewhere".into());
        assert_eq!(settings(&config), before);
        config.seed += 1;
        assert_ne!(settings(&config), before);
        assert!(before.contains_key("train.batch_size") && !before.contains_key("model.path"));
    }

    #[test]
    fn workers_for_which_auto_is_another_device_are_refused_and_written_ones_are_not() {
        let refused = |asked: [&str; 2], found: [&str; 2]| {
            let ended = with_workers(2, |workers| {
                let rank = workers.rank();
                on_backend(asked[rank], found[rank], workers).map_err(|failure| failure.told().message)
            });
            assert_eq!(ended[0], ended[1]);
            ended[0].clone().err()
        };
        let expected = "the device `auto` is cuda on worker 0 on thread, and flex on worker 1 on thread";
        assert_eq!(refused(["auto", "auto"], ["cuda", "flex"]).as_deref(), Some(expected));
        assert_eq!(refused(["cuda", "auto"], ["cuda", "flex"]).as_deref(), Some(expected));
        assert_eq!(refused(["auto", "auto"], ["cuda", "cuda"]), None);
        assert_eq!(refused(["cuda", "flex"], ["cuda", "flex"]), None);
    }

    #[test]
    fn vectors_that_every_worker_has_are_the_slower_ones() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(slower(&names(&["avx2", "avx512"])), "avx2");
        assert_eq!(slower(&names(&["avx512bf16", "portable"])), "portable");
    }
}

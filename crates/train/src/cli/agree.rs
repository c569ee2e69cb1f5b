//! Whether all workers are about to do the same: with one version, one configuration, one base and the same data, each of which
//! a worker reads where it finds it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernels::Simd;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use super::Failure;
use crate::config::{Config, Files, Loaded};
use crate::output::{Output, counted};
use crate::prepare::RunPlan;
use crate::workers::Workers;
use inference::{ModelFiles, Pipeline};
use model::sha256;

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
    adapter: Option<String>,
}

/// A file that a run reads: what it is of, its name, and its SHA-256.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct InputFile {
    path: PathBuf,
    hash: Option<String>,
}

/// Refuses workers with another base or other data, by the file that differs, and warns of processors that may compute other bits.
pub(super) fn on_inputs(plan: &RunPlan, workers: &Workers, output: &Output) -> Result<(), Failure> {
    if !workers.are_several() {
        return Ok(());
    }
    let identity = plan.identity();
    let adapter = plan.config.adapter.init_from.as_deref().map(|path| hash_of_files(&files_of(path)));
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
             all hosts to vectors that every one has",
            all[0],
            all[other],
            Simd::VARIABLE,
            slower(&all),
        ));
    }
    Ok(())
}

/// The last of them in the order of speed.
fn slower(names: &[String]) -> &str {
    let place = |name: &&String| Simd::NAMES.iter().position(|known| known == name);
    names.iter().max_by_key(place).map_or("", String::as_str)
}

/// What says which file it is that differs, found by the hashes of all.
fn named(plan: &RunPlan, theirs: &Inputs, first: &Inputs, other: usize, workers: &Workers) -> Result<Failure, Failure> {
    let config = &plan.config;
    let (what, files) = match (theirs.base == first.base, theirs.data == first.data) {
        (false, _) => ("base", files_of(&plan.base.directory)),
        // Token ids come from the tokenizer too, which lies with the base.
        (true, false) => {
            let of_data = config.data.train.iter().chain(config.data.valid.iter().flat_map(Files::iter));
            let of_tokenizer = files_of(&plan.base.directory).into_iter().filter(|path| is_small(path));
            ("data", of_data.map(Path::to_path_buf).chain(of_tokenizer).collect())
        }
        (true, true) => ("adapter", config.adapter.init_from.as_deref().map(files_of).unwrap_or_default()),
    };
    let hashed: Vec<InputFile> = files.into_iter().map(|path| InputFile { hash: sha256(&path).ok(), path }).collect();
    let all = workers.gather("hashes of files", &hashed)?;
    let name = |file: &InputFile| file.path.file_name().unwrap_or_default().to_os_string();
    let differs = |file: &&InputFile| {
        let same = all[other].iter().find(|theirs| name(theirs) == name(file));
        same.is_none_or(|theirs| theirs.hash != file.hash)
    };
    let (worker, of_first) = (workers.name(other), workers.name(0));
    let Some(file) = all[0].iter().find(differs) else {
        let message = format!("{worker} reads the {what} otherwise than {of_first}, and the files are the same");
        return Ok(Failure::usage(message, "start the same build of kindling on all hosts"));
    };
    let path = all[other].iter().find(|theirs| name(theirs) == name(file)).map(|theirs| theirs.path.clone());
    let message = match path {
        Some(path) => format!("{} on {worker} is not the file that {of_first} has", path.display()),
        None => format!("{worker} lacks the file {} of {of_first}", file.path.display()),
    };
    Ok(Failure::usage(message, format!("copy the {what} of one host to the others, or read it from a shared disk")))
}

/// Refuses workers with another model, adapter or input than the first one has.
pub(super) fn on_files(
    pipeline: &Pipeline,
    model: &ModelFiles,
    input: Option<&Path>,
    workers: &Workers,
) -> Result<(), Failure> {
    if !workers.are_several() {
        return Ok(());
    }
    let of_adapter = model.adapter.as_deref().map(files_of).unwrap_or_default();
    let mut files = vec![("model".to_string(), pipeline.pretrained.fingerprint())];
    for path in of_adapter.iter().map(PathBuf::as_path).chain(input) {
        files.push((path.display().to_string(), sha256(path).unwrap_or_default()));
    }
    let all = workers.gather("hashes of the files that are read", &files)?;
    let Some(other) = other(&all) else { return Ok(()) };
    let differs = |(file, theirs): &(&(String, String), &(String, String))| file != theirs;
    let differing = all[0].iter().zip(&all[other]).find(differs).map(|(file, _)| file.0.as_str());
    let (name, first) = (workers.name(other), workers.name(0));
    let message = format!("{} on {name} is not the one that {first} has", differing.unwrap_or("the adapter"));
    Err(Failure::usage(message, "copy what one host has to the others, or read it from a shared disk"))
}

fn files_of(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// No weights.
fn is_small(path: &Path) -> bool {
    const MOST: u64 = 64 << 20;
    path.metadata().is_ok_and(|found| found.len() <= MOST)
}

fn hash_of_files(files: &[PathBuf]) -> String {
    files.iter().filter_map(|file| sha256(file).ok()).collect::<Vec<_>>().join(" ")
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
    fn vectors_that_every_worker_has_are_the_slower_ones() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(slower(&names(&["avx2", "avx512"])), "avx2");
        assert_eq!(slower(&names(&["avx512bf16", "portable"])), "portable");
    }
}

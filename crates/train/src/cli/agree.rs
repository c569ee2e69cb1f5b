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

/// A file that a worker reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct InputFile {
    /// What it is to the command, by which workers compare it: its path may be another one on every host.
    role: String,
    /// For messages.
    path: String,
    /// SHA-256; `None` where it cannot be read.
    hash: Option<String>,
}

impl InputFile {
    fn read(role: String, path: &Path) -> Self {
        Self { role, path: path.display().to_string(), hash: sha256(path).ok() }
    }

    /// The files of a directory, which are known by their names.
    fn of_directory(what: &str, files: &[PathBuf]) -> Vec<Self> {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.iter().map(|path| Self::read(format!("{what}/{}", name(path)), path)).collect()
    }

    /// Files that were named one by one, which are known by their place among them.
    fn of_list<'a>(what: &str, files: impl IntoIterator<Item = &'a Path>) -> Vec<Self> {
        files.into_iter().enumerate().map(|(n, path)| Self::read(format!("{what} {n}"), path)).collect()
    }
}

/// What is said of the first file that another worker has not as the first one has it; `None` where all are the same.
fn difference(all: &[Vec<InputFile>], other: usize, workers: &Workers) -> Option<String> {
    let (first, theirs) = (&all[0], &all[other]);
    let (worker, of_first) = (workers.name(other), workers.name(0));
    let same = |files: &[InputFile], file: &InputFile| files.iter().find(|it| it.role == file.role).cloned();
    let of_one = |file: &InputFile| match same(theirs, file) {
        Some(other) if other.hash == file.hash => None,
        Some(other) => Some(format!("{} on {worker} is not the file that {of_first} has", other.path)),
        None => Some(format!("{worker} lacks the file {} of {of_first}", file.path)),
    };
    let more = || theirs.iter().find(|file| same(first, file).is_none());
    let of_more = |file: &InputFile| format!("{} on {worker} is a file that {of_first} lacks", file.path);
    first.iter().find_map(of_one).or_else(|| more().map(of_more))
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
             all hosts to a SIMD instruction set that every one has",
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
        (false, _) => ("base", InputFile::of_directory("base", &files_of(&plan.base.directory))),
        // Token ids come from the tokenizer too, which lies with the base.
        (true, false) => {
            let mut of_tokenizer = files_of(&plan.base.directory);
            of_tokenizer.retain(|path| is_small(path));
            let mut files = InputFile::of_list("data.train", config.data.train.iter());
            files.extend(InputFile::of_list("data.valid", config.data.valid.iter().flat_map(Files::iter)));
            files.extend(InputFile::of_directory("tokenizer", &of_tokenizer));
            ("data", files)
        }
        (true, true) => {
            let of_adapter = config.adapter.init_from.as_deref().map(files_of).unwrap_or_default();
            ("adapter", InputFile::of_directory("adapter", &of_adapter))
        }
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
    let of_adapter = model.adapter.as_deref().map(files_of).unwrap_or_default();
    let mut files = vec![InputFile {
        role: "model".to_string(),
        path: model.model.display().to_string(),
        hash: Some(pipeline.pretrained.fingerprint()),
    }];
    files.extend(InputFile::of_directory("adapter", &of_adapter));
    files.extend(InputFile::of_list("input", inputs));
    let all = workers.gather("hashes of the files that are read", &files)?;
    match (1..all.len()).find_map(|other| difference(&all, other, workers)) {
        Some(message) => {
            Err(Failure::usage(message, "copy what one host has to the others, or read it from a shared disk"))
        }
        None => Ok(()),
    }
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
    fn files_are_compared_by_their_place_and_contents_and_not_by_their_paths() {
        let directory = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = directory.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        // The first two workers have the same in other directories, and the third one other validation data, of one name.
        let paths = [("a", "valid"), ("b", "valid"), ("c", "other")].map(|(host, valid)| {
            [write(&format!("{host}/train/data"), "train"), write(&format!("{host}/valid/data"), valid)]
        });
        let found = with_workers(3, |workers| {
            let own = &paths[workers.rank()];
            let all = workers.gather("files", &InputFile::of_list("data", own.iter().map(PathBuf::as_path))).unwrap();
            (difference(&all, 1, workers), difference(&all, 2, workers))
        });
        let path = paths[2][1].display();
        let expected = format!("{path} on worker 2 on thread is not the file that worker 0 on thread has");
        assert!(found.iter().all(|found| *found == (None, Some(expected.clone()))), "{found:?}");
    }

    #[test]
    fn a_file_more_or_less_is_named() {
        let file = |role: &str| InputFile { role: role.into(), path: format!("dir/{role}"), hash: None };
        let found = with_workers(2, |workers| {
            let (one, two) = (vec![file("a")], vec![file("a"), file("b")]);
            (difference(&[two.clone(), one.clone()], 1, workers), difference(&[one, two], 1, workers))
        });
        let less = "worker 1 on thread lacks the file dir/b of worker 0 on thread".to_string();
        let more = "dir/b on worker 1 on thread is a file that worker 0 on thread lacks".to_string();
        assert_eq!(found[0], (Some(less), Some(more)));
    }

    #[test]
    fn vectors_that_every_worker_has_are_the_slower_ones() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        assert_eq!(slower(&names(&["avx2", "avx512"])), "avx2");
        assert_eq!(slower(&names(&["avx512bf16", "portable"])), "portable");
    }
}

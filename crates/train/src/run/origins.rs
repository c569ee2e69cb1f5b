//! What a run comes from, by hashes: the files of its data and its base, its settings, the executable. Adapters record it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};

use inference::{FileHash, Machine, Origins};
use sha2::{Digest, Sha256};
use toml::Table;

use super::legs::effective;
use super::resume::{flat, is_free, parse};
use crate::config::{Config, Files, Leg, Schedule};
use crate::device;
use crate::prepare::RunPlan;

/// The files are read when the run begins, as they are then, while it computes something else.
#[derive(Debug)]
pub(super) struct OriginsRead {
    reading: Mutex<Option<JoinHandle<Origins>>>,
    read: OnceLock<Origins>,
}

impl OriginsRead {
    pub(super) fn start(plan: &RunPlan) -> Self {
        let files = Read::of(plan);
        let again = files.clone();
        let (reading, read) = (Mutex::new(None), OnceLock::new());
        match Builder::new().name("origins".to_string()).spawn(move || files.origins()) {
            Ok(thread) => *reading.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread),
            Err(_) => drop(read.set(again.origins())),
        }
        Self { reading, read }
    }

    pub(super) fn get(&self) -> &Origins {
        self.read.get_or_init(|| {
            let reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner).take();
            reading.and_then(|thread| thread.join().ok()).unwrap_or_default()
        })
    }
}

/// What is read.
#[derive(Debug, Clone)]
struct Read {
    data: Vec<PathBuf>,
    base: Vec<PathBuf>,
    init_from: Vec<PathBuf>,
    machine: Machine,
}

impl Read {
    fn of(plan: &RunPlan) -> Self {
        let data = &plan.config.data;
        let files = data.train.iter().chain(data.valid.iter().flat_map(Files::iter));
        Self {
            data: files.map(PathBuf::from).collect(),
            base: plan.pretrained.files(),
            init_from: plan.config.adapter.init_from.iter().flat_map(|path| adapter_files(path)).collect(),
            machine: machine(&plan.device_name.to_string()),
        }
    }

    fn origins(self) -> Origins {
        let hashes = |files: &[PathBuf]| files.iter().filter_map(|file| FileHash::of(file)).collect();
        Origins {
            data: hashes(&self.data),
            base: hashes(&self.base),
            init_from: hashes(&self.init_from),
            binary: binary(),
            machine: self.machine,
        }
    }
}

/// The adapter's own files, which decide on the numbers of a run that begins with it.
fn adapter_files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let is_own = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".safetensors") || name == "adapter_config.json"
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_own).collect();
    files.sort();
    files
}

/// SHA-256 of the executable of this process; empty where it cannot be read, as when it was removed.
pub(crate) fn binary() -> String {
    std::env::current_exe().and_then(|path| model::sha256(&path)).unwrap_or_default()
}

/// What this process computes with; `device` is a name as in `train.device`.
pub(crate) fn machine(device: &str) -> Machine {
    let vectors = device::simd().map_or(String::new(), |simd| simd.name().to_string());
    let device = device.split(':').next().unwrap_or(device).to_string();
    Machine { device, processor: std::env::consts::ARCH.to_string(), vectors }
}

/// SHA-256 over the settings that decide on the numbers up to `step`: without paths, whose contents are hashed themselves,
/// without what a resumed run may change, and without legs that begin later.
pub(super) fn fingerprint(config: &Config, step: usize) -> String {
    let mut config = config.clone();
    config.legs.retain(|leg| leg.after_step < step);
    let last = effective(&config.train, &config.legs);
    if last.schedule == Schedule::Constant && last.warmup_ratio.is_none() {
        // Then no step asks how long the run is.
        match config.legs.last_mut() {
            Some(leg) => (leg.epochs, leg.max_steps) = (None, None),
            None => (config.train.epochs, config.train.max_steps) = (0, 0),
        }
    }
    // Keys with their defaults are left out: a later version has more of them.
    let entries = |config: &Config| flat(&config.to_toml().parse::<Table>().unwrap_or_default());
    let defaults = entries(&Config::default());
    let mut hash = Sha256::new();
    for (key, value) in entries(&config).iter().filter(|entry| !defaults.contains(entry)) {
        let is_leg = key == "legs" || key.strip_prefix("train.").is_some_and(|key| Leg::KEYS.contains(&key));
        if (is_leg || !is_free(key)) && !PATHS.contains(&key.as_str()) {
            hash.update(format!("{key} = {value}\n"));
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The same of the text of a complete configuration.
pub(crate) fn settings_fingerprint(text: &str, step: usize) -> Result<String, String> {
    parse(text).map(|config| fingerprint(&config, step))
}

/// Keys whose values name files.
const PATHS: [&str; 4] = ["model.path", "data.train", "data.valid", "adapter.init_from"];

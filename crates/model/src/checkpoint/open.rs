//! Finding, mapping and checking the files of a checkpoint. Only headers are read.

use std::fs::{File, Metadata};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use indexmap::IndexMap;
use memmap2::Mmap;
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::quantised::gguf;

#[cfg(unix)]
use super::bus_error;
use super::{Checkpoint, CheckpointError, Entry, Shard};

pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    metadata: Map<String, Value>,
    weight_map: IndexMap<String, String>,
}

impl Checkpoint {
    pub(crate) fn open(directory: &Path) -> Result<Self, CheckpointError> {
        if directory.join(SINGLE).exists() {
            return Self::from_files(directory, vec![SINGLE.to_string()]);
        }
        if directory.join(INDEX).exists() {
            return Self::from_index(directory);
        }
        Err(CheckpointError::NoCheckpoint { directory: directory.into(), help: without_checkpoint(directory) })
    }

    fn from_index(directory: &Path) -> Result<Self, CheckpointError> {
        let file = directory.join(INDEX);
        let text =
            lora::read_regular_text(&file).map_err(|source| CheckpointError::Read { file: file.clone(), source })?;
        let index: Index = serde_json::from_str(&text)
            .map_err(|error| CheckpointError::Index { file: file.clone(), reason: error.to_string() })?;
        let mut names: Vec<String> = index.weight_map.values().cloned().collect();
        names.sort_unstable();
        names.dedup();
        if let Some(shard) = names.iter().find(|name| !stays_within(name)) {
            return Err(CheckpointError::Outside { file, shard: shard.clone() });
        }
        if let Some(missing) = names.iter().find(|name| !directory.join(name).exists()) {
            let reason = format!("the shard `{missing}` it names is not there");
            return Err(CheckpointError::Index { file, reason });
        }
        let mut checkpoint = Self::from_files(directory, names)?;
        // As in Transformers the shards say what there is; the index only says which shards there are.
        let is_absent = |(tensor, _): &(String, String)| !checkpoint.entries.contains_key(tensor);
        checkpoint.absent = index.weight_map.into_iter().filter(is_absent).collect();
        checkpoint.index = Some((file, index.metadata));
        Ok(checkpoint)
    }

    fn from_files(directory: &Path, names: Vec<String>) -> Result<Self, CheckpointError> {
        let mut checkpoint = Self {
            shards: Vec::new(),
            entries: IndexMap::new(),
            packed: IndexMap::new(),
            absent: IndexMap::new(),
            index: None,
        };
        for (shard, shard_name) in names.into_iter().enumerate() {
            let file = directory.join(&shard_name);
            lora::check_regular(&file).map_err(|source| CheckpointError::Read { file: file.clone(), source })?;
            let (opened, found, pages) = map(&file)?;
            let map = bytes::Bytes::from_owner(Held(pages.clone()));
            let damaged = |reason: String| CheckpointError::Damaged { file: file.clone(), reason };
            let (header, metadata) =
                SafeTensors::read_metadata(&map).map_err(|error| damaged(lora::peft::damage(&error)))?;
            let data = header + 8;
            let mut tensors: Vec<_> = metadata.tensors().into_iter().collect();
            tensors.sort_by_key(|(_, info)| info.data_offsets);
            for (name, info) in tensors {
                let range = data + info.data_offsets.0..data + info.data_offsets.1;
                if range.end > map.len() {
                    return Err(damaged(format!("the tensor `{name}` ends after the end of the file")));
                }
                let entry = Entry { shard, dtype: info.dtype, shape: info.shape.clone(), range };
                let parts = Self::experts_of(&name, &entry).unwrap_or_else(|| vec![(name, entry)]);
                for (name, entry) in parts {
                    if checkpoint.entries.insert(name.clone(), entry).is_some() {
                        return Err(damaged(format!("the tensor `{name}` stands in two shards")));
                    }
                }
            }
            let metadata = metadata.metadata().iter().flatten().map(|(key, it)| (key.clone(), it.clone())).collect();
            checkpoint.shards.push(Shard {
                file,
                name: shard_name,
                metadata,
                opened: Arc::new(Mutex::new(opened)),
                found,
                map,
                pages,
            });
        }
        checkpoint.collect_nf4()?;
        checkpoint.collect_int8()?;
        Ok(checkpoint)
    }
}

impl Checkpoint {
    /// Gives back the memory of what was read by way of the maps; whoever looks at it again reads it again.
    pub(crate) fn release_pages(&self) {
        self.shards.iter().for_each(|shard| release(&shard.pages));
    }
}

#[cfg(unix)]
#[expect(unsafe_code, reason = "some advice makes a map lose what was written into it; see SAFETY")]
fn release(map: &Mmap) {
    // SAFETY: nothing is written into this map: it is one of a file, read only, of which the pages are read again.
    // An error leaves them where they are.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
}

/// Elsewhere the system gives them back when it needs them.
#[cfg(not(unix))]
fn release(_: &Mmap) {}

/// Whether a path leads from a directory to a place below it.
fn stays_within(path: &str) -> bool {
    let mut components = Path::new(path).components();
    !path.contains('\\') && components.all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Maps that are in use, by what tells one state of a file from another. A file that is opened again while its weights are in
/// use, as when a run reads what it has saved, is not mapped twice: its pages would count twice as memory of the process.
static MAPS: Mutex<Vec<(State, Weak<Mmap>)>> = Mutex::new(Vec::new());

type State = (PathBuf, u64, Option<SystemTime>);

/// What the tensors of a map hold on to.
struct Held(Arc<Mmap>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn map(file: &Path) -> Result<(File, Metadata, Arc<Mmap>), CheckpointError> {
    let read = |source| CheckpointError::Read { file: file.into(), source };
    let opened = File::open(file).map_err(read)?;
    let found = opened.metadata().map_err(read)?;
    if found.len() == 0 {
        return Err(CheckpointError::Damaged { file: file.into(), reason: "it is empty".to_string() });
    }
    let state = (file.canonicalize().map_err(read)?, found.len(), found.modified().ok());
    let mut maps = MAPS.lock().unwrap_or_else(PoisonError::into_inner);
    maps.retain(|(_, map)| map.strong_count() > 0);
    let in_use = maps.iter().find(|(known, _)| *known == state).and_then(|(_, map)| map.upgrade());
    let map = match in_use {
        Some(map) => map,
        None => {
            let map = Arc::new(map_file(&opened).map_err(read)?);
            #[cfg(unix)]
            bus_error::name(&map, file);
            maps.push((state, Arc::downgrade(&map)));
            map
        }
    };
    Ok((opened, found, map))
}

#[expect(unsafe_code, reason = "mapping a file is unsafe by nature; see SAFETY")]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is read only, and kindling replaces files by rename and never writes into one, so what this process
    // maps stays as it is. A file that another program truncates meanwhile ends the process with a bus error, which
    // `bus_error.rs` puts into words; one that another program writes into is found by `in_use.rs`.
    unsafe { Mmap::map(file) }
}

fn without_checkpoint(directory: &Path) -> String {
    if let Some(file) = gguf(directory) {
        return format!(
            "{} is a GGUF file, as llama.cpp reads and mostly quantises it: take the unquantised checkpoint that it was \
             made from",
            file.display()
        );
    }
    let pickles = ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt"];
    match pickles.iter().find(|name| directory.join(name).exists()) {
        Some(name) => format!(
            "{name} is a Python pickle, which can run any code when it is read, so kindling does not: load it in Python \
             with AutoModel.from_pretrained(DIR) and save it again with model.save_pretrained(DIR)"
        ),
        None => {
            "a model is a directory with config.json, model.safetensors and a tokenizer, as on the Hugging Face Hub"
                .into()
        }
    }
}

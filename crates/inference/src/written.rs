//! What `kindling.json` says of the files beside it, by which damage and change are found: the SHA-256 of each as it was
//! written, and one of the document itself. The model card has none: it is for people to complete, and names the run's
//! directory. What PEFT wrote has none.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use model::{seal, sealed, sha256, write_json};
use serde_json::{Map, Value};

use crate::adapter::{AdapterError, SIDECAR, Sidecar};

/// The keys of the hashes, which are no settings of a task.
const FILES: &str = "files";
const SEAL: &str = "sha256";

/// `kindling.json` with the hashes of the files beside it.
#[derive(Debug, Clone)]
pub struct WrittenFiles {
    pub sidecar: Sidecar,
    /// By their names in the directory.
    files: BTreeMap<String, String>,
    is_intact: bool,
}

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    AsWritten,
    Changed,
    Missing,
}

impl WrittenFiles {
    /// `None` where the directory has no `kindling.json`.
    pub fn read(directory: &Path) -> Result<Option<Self>, AdapterError> {
        let Some((mut sidecar, text)) = Sidecar::read_text(directory)? else { return Ok(None) };
        let files = sidecar.settings.shift_remove(FILES).and_then(|files| serde_json::from_value(files).ok());
        sidecar.settings.shift_remove(SEAL);
        let files: BTreeMap<String, String> = files.unwrap_or_default();
        if let Some(name) = files.keys().find(|name| !stays_within(name)) {
            return Err(AdapterError::Outside { path: directory.join(SIDECAR), name: name.clone() });
        }
        Ok(Some(Self { sidecar, files, is_intact: sealed(&text).is_some() }))
    }

    /// Writes `kindling.json`, the last of the files of a directory; `names` are the others.
    pub(crate) fn write(sidecar: &Sidecar, directory: &Path, names: &[String]) -> Result<(), AdapterError> {
        let path = directory.join(SIDECAR);
        let error = |path: &Path, source| AdapterError::Write { path: path.into(), source };
        let mut files = Map::new();
        for name in names {
            let file = directory.join(name);
            let hash = sha256(&file).map_err(|source| error(&file, source))?;
            files.insert(name.clone(), Value::String(hash));
        }
        let document = || -> serde_json::Result<Value> {
            let mut document = serde_json::to_value(sidecar)?;
            if let Value::Object(keys) = &mut document
                && !files.is_empty()
            {
                keys.insert(FILES.to_string(), Value::Object(files));
            }
            seal(&document)
        };
        let document = document().map_err(|source| error(&path, source.into()))?;
        write_json(&path, &document).map_err(|source| error(&path, source))
    }

    /// Every file with its state, `kindling.json` first.
    pub fn states(&self, directory: &Path) -> Result<Vec<(String, FileState)>, AdapterError> {
        let own = if self.is_intact { FileState::AsWritten } else { FileState::Changed };
        let mut states = vec![(SIDECAR.to_string(), own)];
        for name in self.files.keys() {
            states.push((name.clone(), self.state(directory, name)?));
        }
        Ok(states)
    }

    fn state(&self, directory: &Path, name: &str) -> Result<FileState, AdapterError> {
        let path = directory.join(name);
        match lora::check_regular(&path).and_then(|()| sha256(&path)) {
            Ok(found) if self.files.get(name) == Some(&found) => Ok(FileState::AsWritten),
            Ok(_) => Ok(FileState::Changed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(FileState::Missing),
            Err(source) => Err(AdapterError::Read { path, source }),
        }
    }

    /// Compares a whole model that training wrote with what was written, for which all of its files are read once: 0.3 to 1.2 GB in a
    /// second, by the processor. Nothing is compared where there is no `kindling.json`, or no hash in it. Returns what the user
    /// should know.
    ///
    /// # Errors
    /// Weights that are not as they were written.
    pub fn check_model(directory: &Path) -> Result<Vec<String>, AdapterError> {
        Self::read(directory)?.map_or(Ok(Vec::new()), |written| written.check(directory))
    }

    /// Compares what is read from a directory with what was written. Returns what the user should know: what a person may change
    /// on purpose is used as it is.
    ///
    /// # Errors
    /// Weights that are not as they were written: nobody changes these by hand.
    pub(crate) fn check(&self, directory: &Path) -> Result<Vec<String>, AdapterError> {
        let mut notes = Vec::new();
        for (name, state) in self.states(directory)? {
            let path = directory.join(&name);
            match state {
                FileState::AsWritten => {}
                FileState::Changed if name.ends_with(".safetensors") => return Err(AdapterError::Damaged { path }),
                FileState::Changed => {
                    let shown = path.display();
                    notes.push(format!("{shown} is not as kindling wrote it: it was changed since, or damaged"));
                }
                // Weights that are missing have a message of their own.
                FileState::Missing if name.ends_with(".safetensors") => {}
                FileState::Missing => notes.push(format!("{} is missing: kindling wrote it", path.display())),
            }
        }
        Ok(notes)
    }
}

/// Whether a name leads to a place below the directory that it stands in.
fn stays_within(name: &str) -> bool {
    let mut components = Path::new(name).components();
    !name.is_empty() && !name.contains('\\') && components.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use data::ColumnNames;
    use miette::Diagnostic;
    use serde_json::json;

    use super::*;
    use crate::{Adapter, Base, Device, Frozen, ModelFiles, Pipeline};

    const FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

    fn sidecar() -> Sidecar {
        let sidecar = json!({
            "format_version": 1, "kindling": "0.1.0", "task": "sequence-classification", "labels": ["a", "b", "c"],
            "columns": ColumnNames::default(), "max_length": 64, "fitted": { "temperature": 0.5 },
            "base": { "path": "model", "fingerprint": "1234" },
        });
        serde_json::from_value(sidecar).unwrap()
    }

    /// An adapter that PEFT wrote, as kindling would have written it.
    fn adapter(directory: &Path) -> Vec<(String, Vec<u8>)> {
        let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/bert-cls/adapter");
        for name in FILES {
            std::fs::copy(fixture.join(name), directory.join(name)).unwrap();
        }
        sidecar().write(directory, &FILES.map(String::from)).unwrap();
        FILES.into_iter().chain([SIDECAR]).map(|name| (name.to_string(), read(directory, name))).collect()
    }

    fn read(directory: &Path, name: &str) -> Vec<u8> {
        std::fs::read(directory.join(name)).unwrap()
    }

    #[test]
    fn any_bit_that_flips_in_an_adapter_is_an_error_or_a_note_that_names_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let files = adapter(directory);
        assert!(Adapter::read(directory, None).unwrap().tensors.notes().is_empty());
        for (name, bytes) in files {
            // A prime number of places, so that all kinds of bytes and bits are met.
            for at in (0..bytes.len()).step_by((bytes.len() / 211).max(1)) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                std::fs::write(directory.join(&name), &flipped).unwrap();
                match Adapter::read(directory, None) {
                    Err(error) => {
                        // A flipped hash is that of a file which is right.
                        let said = format!("{error} {:?}", error.help().map(|it| it.to_string()));
                        assert!(said.contains(&name), "{name}, byte {at}: {said}");
                    }
                    Ok(adapter) => {
                        let names_it =
                            |note: &String| note.contains(&name) && note.contains("not as kindling wrote it");
                        let same = name == SIDECAR && sealed(&String::from_utf8_lossy(&flipped)).is_some();
                        assert!(same || adapter.tensors.notes().iter().any(names_it), "{name}, byte {at}");
                    }
                }
            }
            std::fs::write(directory.join(&name), &bytes).unwrap();
        }
    }

    /// What opening a whole model says: an error, or notes.
    fn opened(directory: &Path) -> Vec<String> {
        let files = ModelFiles { model: directory.to_path_buf(), adapter: None };
        let alone = Pipeline::open(&files, &Device::flex()).map(|pipeline| pipeline.loaded.notes);
        let shared = Base::open(directory, Frozen::AsStored, &Device::flex()).map(|base| base.loaded.notes);
        let said = |error: crate::Error| format!("{error} {:?}", error.help().map(|help| help.to_string()));
        let (alone, shared) = (alone.map_err(said), shared.map_err(said));
        assert_eq!(alone, shared, "alone, and with others on it");
        alone.unwrap_or_else(|error| vec![error])
    }

    #[test]
    fn any_bit_that_flips_in_a_whole_model_is_an_error_or_a_note_that_names_the_file() {
        let fixture = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity/bert-cls/model");
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let mut names = Vec::new();
        for entry in std::fs::read_dir(fixture).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            std::fs::copy(&path, directory.join(&name)).unwrap();
            names.push(name);
        }
        sidecar().write(directory, &names).unwrap();
        assert_eq!(opened(directory), [""; 0]);
        for name in names.iter().map(String::as_str).chain([SIDECAR]) {
            let bytes = read(directory, name);
            for at in (0..bytes.len()).step_by((bytes.len() / 13).max(1)) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                std::fs::write(directory.join(name), &flipped).unwrap();
                let said = opened(directory);
                assert!(said.iter().any(|said| said.contains(name)), "{name}, byte {at}: {said:?}");
            }
            std::fs::write(directory.join(name), &bytes).unwrap();
        }
    }

    #[test]
    fn a_file_without_a_line_is_not_compared() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        adapter(directory);
        let mut document: Value = serde_json::from_slice(&read(directory, SIDECAR)).unwrap();
        document["files"].as_object_mut().unwrap().remove("adapter_config.json");
        write_json(&directory.join(SIDECAR), &document).unwrap();
        let config = String::from_utf8(read(directory, "adapter_config.json")).unwrap();
        std::fs::write(directory.join("adapter_config.json"), format!("{config}\n")).unwrap();
        let notes = Adapter::read(directory, None).unwrap().tensors.notes().to_vec();
        let path = directory.join(SIDECAR);
        assert_eq!(
            notes,
            [format!("{} is not as kindling wrote it: it was changed since, or damaged", path.display())]
        );
    }

    fn with_file(directory: &Path, name: &str) -> Result<Adapter, AdapterError> {
        let mut document: Value = serde_json::from_slice(&read(directory, SIDECAR)).unwrap();
        document["files"] = json!({ name: "00" });
        write_json(&directory.join(SIDECAR), &document).unwrap();
        Adapter::read(directory, None)
    }

    #[test]
    fn a_name_that_leads_out_of_the_directory_is_refused_and_nothing_is_read_there() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        adapter(directory);
        let path = directory.join(SIDECAR);
        for name in ["/dev/zero", "../other", "sub/../../other", "..", "", "."] {
            let error = with_file(directory, name).unwrap_err();
            let expected = format!("{}: the file `{name}` is outside of the adapter's directory", path.display());
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    #[cfg(unix)]
    fn only_regular_files_are_compared() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        adapter(directory);
        std::os::unix::fs::symlink("/dev/zero", directory.join("endless")).unwrap();
        let error = with_file(directory, "endless").unwrap_err();
        let expected = format!("cannot read {}: it is not a regular file", directory.join("endless").display());
        assert_eq!(error.to_string(), expected);
    }
}

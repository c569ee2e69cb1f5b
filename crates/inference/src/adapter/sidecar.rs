//! `kindling.json`: what PEFT's files have no place for.

use std::fmt;
use std::path::Path;

use data::ColumnNames;
use model::{Frozen, Quantisation};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tasks::{Fitted, Task, TaskName};

use super::{AdapterError, SIDECAR};
use crate::provenance::Provenance;
use crate::written::WrittenFiles;

/// `kindling.json`: what an adapter or a model was trained for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sidecar {
    format_version: u32,
    kindling: String,
    pub task: TaskName,
    pub labels: Vec<String>,
    pub columns: ColumnNames,
    pub max_length: usize,
    /// The task's own keys.
    #[serde(flatten)]
    pub settings: Map<String, Value>,
    /// To the validation data.
    #[serde(default, skip_serializing_if = "Fitted::is_empty")]
    pub fitted: Fitted,
    pub base: BaseRecord,
    /// What it came from, where training wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained: Option<Provenance>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// A directory, or a repository of the Hub.
    pub path: String,
    /// Of a repository the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub fingerprint: String,
    /// How it was kept where its matrices were quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantised: Option<QuantisedBase>,
}

/// The kind of a base whose matrices are quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantisedBase {
    #[serde(with = "by_name")]
    pub dtype: Quantisation,
    /// Whether the output layer of a language model is quantised too.
    #[serde(default)]
    pub output: bool,
    /// Whether it was quantised without what the adapter started with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub residual: bool,
}

impl QuantisedBase {
    /// `None`: nothing is quantised. `of_files`: how its files have the matrices.
    pub fn of(frozen: Frozen, of_files: Option<Quantisation>) -> Option<Self> {
        match frozen {
            Frozen::Quantised { quantisation, output } => Some(Self { dtype: quantisation, output, residual: false }),
            Frozen::AsStored | Frozen::As(_) => Some(Self { dtype: of_files?, output: false, residual: false }),
        }
    }

    pub fn frozen(self) -> Frozen {
        Frozen::Quantised { quantisation: self.dtype, output: self.output }
    }
}

impl fmt::Display for QuantisedBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.dtype.name())?;
        f.write_str(if self.output { " with its output layer" } else { "" })
    }
}

mod by_name {
    use model::Quantisation;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
    pub(super) fn serialize<S: Serializer>(quantisation: &Quantisation, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(quantisation.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantisation, D::Error> {
        let name = String::deserialize(deserializer)?;
        Quantisation::named(&name).ok_or_else(|| D::Error::custom(format!("unknown type `{name}`")))
    }
}

const FORMAT_VERSION: u32 = 1;

impl Sidecar {
    pub fn new(task: &dyn Task, columns: ColumnNames, max_length: usize, base: BaseRecord) -> Self {
        let kindling = env!("CARGO_PKG_VERSION").to_string();
        let (name, labels, settings) = (task.definition().id(), task.label_names().to_vec(), task.settings());
        let (format_version, fitted, trained) = (FORMAT_VERSION, Fitted::default(), None);
        Self { format_version, kindling, task: name, labels, columns, max_length, settings, fitted, base, trained }
    }

    /// `None` where the directory has none: PEFT wrote it, or Transformers.
    pub fn read(directory: &Path) -> Result<Option<Self>, AdapterError> {
        Ok(WrittenFiles::read(directory)?.map(|written| written.sidecar))
    }

    /// With the text, and with the keys that are those of [`WrittenFiles`] among the settings.
    pub(crate) fn read_text(directory: &Path) -> Result<Option<(Self, String)>, AdapterError> {
        let path = directory.join(SIDECAR);
        if !path.exists() {
            return Ok(None);
        }
        let text =
            lora::read_regular_text(&path).map_err(|source| AdapterError::Read { path: path.clone(), source })?;
        let sidecar: Self =
            json::parse(text.as_bytes()).map_err(|source| AdapterError::Sidecar { path: path.clone(), source })?;
        match sidecar.format_version {
            FORMAT_VERSION => Ok(Some((sidecar, text))),
            found => Err(AdapterError::Newer { path, found, known: FORMAT_VERSION }),
        }
    }

    /// For what is made of an adapter: it did not itself come from what that came from.
    pub fn untrained(self) -> Self {
        Self { trained: None, ..self }
    }

    /// The same for factors that are not those of training: what the adapter started with cannot be told from the rest any more.
    pub fn with_new_factors(mut self) -> Self {
        if let Some(quantised) = &mut self.base.quantised {
            quantised.residual = false;
        }
        self.untrained()
    }

    /// The version that wrote it.
    pub fn version(&self) -> &str {
        &self.kindling
    }

    /// Writes `kindling.json`, the last of the files of a directory, with the hashes of those called `names`.
    pub fn write(&self, directory: &Path, names: &[String]) -> Result<(), AdapterError> {
        WrittenFiles::write(self, directory, names)
    }
}

//! How the files of an adapter lie in its directory: as PEFT writes them (`peft/layout.rs`), or for methods that PEFT does not have
//! as another package does, which those methods describe in their rooms.

use burn::tensor::TensorData;
use safetensors::SafeTensorError;
use serde_json::{Map, Value};

use crate::Method;
use crate::methods::LAYOUTS;
use crate::peft::{self, CONFIG_FILE, ConfigError, Keys, PeftConfig, to_bytes};

#[derive(Debug)]
pub struct Layout {
    /// The file of the adapter's tensors.
    pub tensor_file: &'static str,
    /// The files of what is trained in full beside the adapter, where those are others.
    pub beside: Option<Beside>,
    /// What stands before the name of a tensor in the model.
    pub(crate) prefix: &'static str,
    /// What an adapter is, for whoever has none.
    pub(crate) described: &'static str,
    pub pickle: Pickle,
    /// Whether these keys of a configuration are of this layout.
    pub(crate) is_own: fn(&Keys<'_>) -> bool,
    /// What they say.
    pub(crate) read: fn(Keys<'_>) -> Result<PeftConfig, ConfigError>,
    /// The keys that a configuration has beside those of its method.
    pub(crate) keys: fn(&PeftConfig) -> Map<String, Value>,
    pub package: Package,
}

/// The files of the modules that are trained in full.
#[derive(Debug)]
pub struct Beside {
    pub tensor_file: &'static str,
    pub config_file: &'static str,
    /// What stands in the latter, for a head of these labels.
    pub(crate) config: fn(&PeftConfig, &[String]) -> String,
}

/// The file of the tensors that is not read.
#[derive(Debug)]
pub struct Pickle {
    pub file: &'static str,
    /// How to make one of it that is.
    pub(crate) again: &'static str,
}

/// The Python package that the files are of, for a model card.
#[derive(Debug)]
pub struct Package {
    /// `library_name`, as the Hub calls it.
    pub library: &'static str,
    pub name: &'static str,
    /// Name and version of the one whose format is written.
    pub version: &'static str,
    /// The statement that imports it.
    pub import: &'static str,
    /// The statements that load the adapter at a path, a Python expression, beside the model `base`.
    pub load: fn(&str) -> String,
}

impl Layout {
    /// All that can be read, PEFT's first.
    pub fn all() -> &'static [&'static Self] {
        LAYOUTS
    }

    /// That of these keys of a configuration; whatever is no other's is PEFT's.
    pub(crate) fn of(keys: &Keys<'_>) -> &'static Self {
        LAYOUTS.iter().copied().find(|layout| (layout.is_own)(keys)).unwrap_or(&peft::LAYOUT)
    }
}

impl Method {
    /// The names of an adapter's own files.
    pub fn files(&self) -> Vec<&'static str> {
        let beside = self.files_beside().map(|beside| [beside.tensor_file, beside.config_file]);
        [self.layout().tensor_file, CONFIG_FILE].into_iter().chain(beside.into_iter().flatten()).collect()
    }

    fn files_beside(&self) -> Option<&'static Beside> {
        self.layout().beside.as_ref().filter(|_| self.saves_others())
    }
}

/// The files of an adapter with these tensors, by their names in the model; `labels` are those of its head, `fan_in_fan_out` is as
/// [`PeftConfig::to_json`] has it.
pub fn files(
    config: &PeftConfig,
    labels: &[String],
    tensors: &[(String, TensorData)],
    fan_in_fan_out: bool,
) -> Result<Vec<(&'static str, Vec<u8>)>, SafeTensorError> {
    let layout = config.method.layout();
    let is_own = |(name, _): &&(String, TensorData)| layout.beside.is_none() || config.method.module_of(name).is_some();
    let of_config = (CONFIG_FILE, config.to_json(fan_in_fan_out).into_bytes());
    let mut files = vec![(layout.tensor_file, to_bytes(tensors.iter().filter(is_own), layout)?)];
    if let Some(beside) = config.method.files_beside() {
        let of_modules = tensors.iter().filter(|tensor| !is_own(tensor));
        files.push((beside.tensor_file, to_bytes(of_modules, layout)?));
        files.push((beside.config_file, (beside.config)(config, labels).into_bytes()));
    }
    files.push(of_config);
    Ok(files)
}

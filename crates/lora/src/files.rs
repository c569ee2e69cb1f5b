//! The files of an adapter's directory: PEFT's, or for methods that PEFT does not have those of the `adapters` package of
//! AdapterHub (1.3), which keeps what is trained in full in files of its own, as a prediction head.

use burn::tensor::TensorData;
use safetensors::SafeTensorError;
use serde_json::{Map, Value, json};

use crate::Method;
use crate::peft::{CONFIG_FILE, PREFIX, PeftConfig, TENSOR_FILE, to_bytes};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    Peft,
    AdapterHub,
}

const ADAPTERHUB_TENSORS: &str = "adapter.safetensors";
const ADAPTERHUB_HEAD: &str = "model_head.safetensors";
const ADAPTERHUB_HEAD_CONFIG: &str = "head_config.json";

impl Layout {
    /// The file of the adapter's tensors.
    pub fn tensor_file(self) -> &'static str {
        match self {
            Self::Peft => TENSOR_FILE,
            Self::AdapterHub => ADAPTERHUB_TENSORS,
        }
    }

    /// The file of the modules that are trained in full, where that is another.
    pub(crate) fn module_file(self) -> Option<&'static str> {
        match self {
            Self::Peft => None,
            Self::AdapterHub => Some(ADAPTERHUB_HEAD),
        }
    }

    /// What stands before the name of a tensor in the model.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::Peft => PREFIX,
            Self::AdapterHub => "",
        }
    }

    /// What an adapter is, for whoever has none.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Peft => {
                "an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it"
            }
            Self::AdapterHub => {
                "such an adapter is a directory with adapter_config.json and adapter.safetensors, as kindling writes it, and AdapterHub's `adapters` with use_safetensors=True"
            }
        }
    }

    /// The file of the tensors that is not read, and how to make one of it that is.
    pub(crate) fn pickle(self) -> (&'static str, &'static str) {
        match self {
            Self::Peft => (
                "adapter_model.bin",
                "load it in Python with PeftModel.from_pretrained(base, DIR) and save it again with model.save_pretrained(DIR)",
            ),
            Self::AdapterHub => (
                "pytorch_adapter.bin",
                "load it in Python with model.load_adapter(DIR) and save it again with model.save_adapter(DIR, NAME, use_safetensors=True)",
            ),
        }
    }
}

impl Method {
    /// The names of an adapter's own files.
    pub fn files(&self) -> Vec<&'static str> {
        let mut files = vec![self.layout().tensor_file(), CONFIG_FILE];
        if self.layout() == Layout::AdapterHub && self.saves_others() {
            files.extend([ADAPTERHUB_HEAD, ADAPTERHUB_HEAD_CONFIG]);
        }
        files
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
    let is_own = |(name, _): &&(String, TensorData)| match layout {
        Layout::Peft => true,
        Layout::AdapterHub => config.method.module_of(name).is_some(),
    };
    let of_config = (CONFIG_FILE, config.to_json(fan_in_fan_out).into_bytes());
    let mut files = vec![(layout.tensor_file(), to_bytes(tensors.iter().filter(is_own), layout)?)];
    if config.method.files().contains(&ADAPTERHUB_HEAD) {
        let of_modules = tensors.iter().filter(|tensor| !is_own(tensor));
        files.push((ADAPTERHUB_HEAD, to_bytes(of_modules, layout)?));
        files.push((ADAPTERHUB_HEAD_CONFIG, head_json(config, labels).into_bytes()));
    }
    files.push(of_config);
    Ok(files)
}

/// `head_config.json` of a model with one head, which has no name and no settings.
fn head_json(config: &PeftConfig, labels: &[String]) -> String {
    let mut keys = config.keys(false);
    let of_number = ["LABEL_0".to_string()];
    let labels = if labels.is_empty() { &of_number } else { labels };
    let ids = labels.iter().enumerate().map(|(id, label)| (label.clone(), json!(id)));
    keys.insert("config".to_string(), Value::Null);
    keys.insert("name".to_string(), Value::Null);
    keys.insert("label2id".to_string(), Value::Object(ids.collect::<Map<_, _>>()));
    keys.insert("num_labels".to_string(), json!(labels.len()));
    let mut file = Value::Object(keys);
    file.sort_all_objects();
    format!("{file:#}")
}

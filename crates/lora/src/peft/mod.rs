//! Adapters on disk, as Hugging Face PEFT 0.21 writes and reads them: `adapter_config.json` and
//! `adapter_model.safetensors`. Reading is strict where PEFT is lenient: what is missing, unknown or of another shape is
//! an error, since an adapter that was half loaded answers like the base model and nobody notices. Settings that find no
//! module in a finished adapter are idle, as in PEFT, and told.

mod config;
mod joined;
mod layout;
mod programs;
mod tensors;

pub use config::{ConfigError, PeftConfig};
pub(crate) use config::{Keys, integer, is_off, number, shown, some_list, some_names, sorted, written_targets};
pub(crate) use joined::{Joined, is_joined};
pub use layout::LAYOUT;
pub use programs::{Program, programs};
pub use tensors::{AdapterTensors, TensorError, damage, from_bytes, to_bytes};

/// The name of the configuration in an adapter's directory.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The name of the tensors in an adapter's directory.
pub(crate) const TENSOR_FILE: &str = "adapter_model.safetensors";
/// What PEFT puts before the name of a tensor in the model.
pub(crate) const PREFIX: &str = "base_model.model.";

/// A setting of a method as messages about `adapter_config.json` call it.
pub fn setting(name: &str) -> String {
    let setting = crate::settings().into_iter().find(|setting| setting.name == name);
    format!("`{}`", setting.and_then(|setting| setting.alias).unwrap_or(name))
}

/// PEFT adds these to `modules_to_save` for every classifier, whichever of them its model has.
pub const STANDARD_HEADS: [&str; 2] = ["classifier", "score"];

//! Adapters on disk, as Hugging Face PEFT 0.21 writes and reads them: `adapter_config.json` and
//! `adapter_model.safetensors`. Reading is strict where PEFT is lenient: what is missing, unknown or of another shape is
//! an error, since an adapter that was half loaded answers like the base model and nobody notices. Settings that find no
//! module in a finished adapter are idle, as in PEFT, and told.

mod config;
mod tensors;

pub use config::{ConfigError, PeftConfig};
pub use tensors::{AdapterTensors, TensorError, damage, to_bytes};

/// The name of the configuration in an adapter's directory.
pub const CONFIG_FILE: &str = "adapter_config.json";
/// The name of the tensors in an adapter's directory.
pub const TENSOR_FILE: &str = "adapter_model.safetensors";

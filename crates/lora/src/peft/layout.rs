//! The files of an adapter as PEFT has them, and what it says in `adapter_config.json` beside the keys of a method.

use serde_json::json;

use super::{PREFIX, PeftConfig, TENSOR_FILE};
use crate::files::{Layout, Package, Pickle};

/// The version of PEFT whose format is written.
const PEFT_VERSION: &str = "0.21.2";

pub static LAYOUT: Layout = Layout {
    tensor_file: TENSOR_FILE,
    beside: None,
    prefix: PREFIX,
    described: "an adapter is a directory with adapter_config.json and adapter_model.safetensors, as PEFT and kindling write it",
    pickle: Pickle {
        file: "adapter_model.bin",
        again: "load it in Python with PeftModel.from_pretrained(base, DIR) and save it again with model.save_pretrained(DIR)",
    },
    is_own: |keys| keys.peek("peft_type").is_some(),
    read: PeftConfig::of_peft,
    keys: |config| {
        let keys = json!({
            "auto_mapping": config.auto_mapping,
            "base_model_name_or_path": config.base_model,
            "inference_mode": true,
            "peft_version": PEFT_VERSION,
            "revision": config.revision,
            "task_type": config.task_type,
        });
        keys.as_object().cloned().unwrap_or_default()
    },
    package: Package {
        library: "peft",
        name: "PEFT",
        version: "PEFT 0.21.2",
        import: "from peft import PeftModel",
        load: |adapter| format!("model = PeftModel.from_pretrained(base, {adapter})"),
    },
};

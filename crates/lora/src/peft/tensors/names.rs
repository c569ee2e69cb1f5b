//! The names of tensors in the file, and what they are in the model.

use std::cmp::Ordering;

use indexmap::IndexMap;

use super::Stored;
use crate::Method;

/// Names in the model for names in the file.
pub(super) fn rename(
    stored: Vec<(String, Stored)>,
    method: &Method,
    notes: &mut Vec<String>,
) -> IndexMap<String, Stored> {
    let prefix = method.layout().prefix;
    let mut tensors = IndexMap::new();
    let (mut unprefixed, mut wrapped) = (false, false);
    let mut copies = Vec::new();
    for (full, tensor) in stored {
        let cleaned = full.replace("_orig_mod.", "").replace("_fsdp_wrapped_module.", "");
        wrapped |= cleaned != full;
        let name = match cleaned.strip_prefix(prefix) {
            Some(name) => name.to_string(),
            None => {
                unprefixed = true;
                cleaned
            }
        };
        if name.contains(".original_module.") {
            continue;
        }
        if name.contains(".modules_to_save.") {
            copies.push((plain_module_name(&name), tensor));
            continue;
        }
        tensors.insert(method.plain_name(&name), tensor);
    }
    for (name, tensor) in copies {
        tensors.entry(name).or_insert(tensor);
    }
    if wrapped {
        notes.push("removed the wrappers of torch.compile or FSDP from the adapter's tensor names".to_string());
    }
    if unprefixed {
        notes.push(format!("added `{prefix}` to tensor names that lack it"));
    }
    tensors
}

/// Paths segment by segment, numbers as numbers.
pub(super) fn by_number(left: &str, right: &str) -> Ordering {
    let compare = |(left, right): (&str, &str)| match (left.parse::<u64>(), right.parse::<u64>()) {
        (Ok(left), Ok(right)) => left.cmp(&right),
        _ => left.cmp(right),
    };
    let differs = left.split('.').zip(right.split('.')).map(compare).find(|order| order.is_ne());
    differs.unwrap_or_else(|| left.len().cmp(&right.len()))
}

/// `H.modules_to_save.weight` and `H.modules_to_save.default.weight` are `H.weight`.
fn plain_module_name(name: &str) -> String {
    let (module, parameter) = name.split_once(".modules_to_save.").unwrap_or((name, ""));
    let parameter = parameter.strip_prefix("default.").unwrap_or(parameter);
    format!("{module}.{parameter}")
}

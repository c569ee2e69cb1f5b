//! The base that an adapter is for: opened, and whether it is the one, by its modules, their sizes and its weights.

use std::path::Path;

use inference::{Adapter, ModelFiles};
use lora::Factors;
use model::Pretrained;

use crate::cli::Failure;
use crate::cli::open::other_weights;

/// The base, with the head that the adapter is for.
pub(in crate::cli) fn base_of(adapter: &Adapter, files: &ModelFiles) -> Result<Pretrained, Failure> {
    let head = match adapter.task() {
        Some(task) => task.head,
        None => Pretrained::head_of(&files.model)?,
    };
    let mut pretrained = Pretrained::open(&files.model, head)?;
    pretrained.adopt_vocabulary(&adapter.tensors);
    Ok(pretrained)
}

/// What the base calls a module or a tensor of an adapter: one of a bare backbone lacks the model's own prefix (`bert.`, `model.`).
pub(in crate::cli) fn name_in(base: &Pretrained, name: &str) -> String {
    let is_bare = base.backbone().iter().any(|module| format!("{name}.").starts_with(module));
    if is_bare { format!("{}{name}", base.prefix()) } else { name.to_string() }
}

/// What there is to say where the adapter in `directory` was trained on other weights than those of the base.
pub(in crate::cli) fn other_base(adapter: &Adapter, directory: &Path, base: &Pretrained) -> Option<String> {
    let trained_on = &adapter.sidecar.as_ref()?.base;
    let is_other = trained_on.fingerprint != base.fingerprint();
    is_other.then(|| other_weights(&trained_on.path, directory, base.directory()))
}

/// # Errors
/// The base, which is called `model`, lacks a module that the adapter in `directory` changes, or its weight has another size.
pub(in crate::cli) fn check_base(
    adapter: &Adapter,
    directory: &Path,
    model: &Path,
    base: &Pretrained,
) -> Result<(), Failure> {
    // Without weights there is nothing to compare with.
    if !base.has_weights() {
        return Ok(());
    }
    let (data, new_parts) = (adapter.tensors.data(), base.new_parts());
    let refused = |what: String| {
        Err(Failure::usage(
            format!("{what} the adapter {}", directory.display()),
            "name the base that the adapter was trained on with --model",
        ))
    };
    for update in adapter.tensors.updates() {
        let module = name_in(base, &update.module);
        let weight = format!("{module}.weight");
        let Some(found) = base.shape(&weight) else {
            let is_new = new_parts.iter().any(|part| format!("{module}.").starts_with(&format!("{part}.")));
            let is_of_weight = update.form.thin_factors().is_some() || update.form.is_relative();
            // What starts with the adapter no checkpoint has, nor an output layer that is the word embeddings.
            if !is_of_weight || is_new || base.is_tied(&module) {
                continue;
            }
            return refused(format!("{} has no `{weight}`, which is changed by", model.display()));
        };
        // Tokens that were added have rows in the adapter alone.
        let own = format!("{}.base_layer.weight", update.module);
        if adapter.tensors.names().any(|(name, _)| name == own) {
            continue;
        }
        let Some([d_output, d_input]) = Factors::of(&update, &data).map(|factors| factors.shape()) else { continue };
        let is_same = found[..] == [d_output, d_input] || found[..] == [d_input, d_output];
        if !is_same {
            let model = model.display();
            return refused(format!("`{weight}` is {found:?} in {model}, and [{d_output}, {d_input}] in"));
        }
    }
    Ok(())
}

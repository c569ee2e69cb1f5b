//! What a merge has written is compared with the files it came from: each way to be wrong is found.

use lora::Plan;
use lora::peft::AdapterTensors;
use model::{Merge, Pretrained, Types, verify_merged};

use super::Case;
use crate::device::device;
use crate::project::Project;
use crate::project::tensors::Tensors;

struct Merged {
    project: Project,
    pretrained: Pretrained,
    plan: Plan,
}

/// The case's adapter folded into its base, in `merged/`.
fn merge(name: &str) -> Merged {
    let case = Case::open(name);
    let project = Project::new().file("merged/config.json", "{}").copy(&format!("{name}/adapter"), "adapter");
    let pretrained = Pretrained::open(&case.directory.join("model"), case.head).unwrap();
    let (model, plan) = case.load(Some("adapter"), &device());
    let merge = Merge::new(&pretrained, &plan, &model, Types::Of(&pretrained)).unwrap();
    merge.write(&merge.layout(None).unwrap(), &project.path("merged")).unwrap();
    Merged { project, pretrained, plan }
}

impl Merged {
    /// What is found wrong with the merged checkpoint after a change.
    fn found(&self, change: impl FnOnce(&mut Tensors)) -> Option<String> {
        let file = self.project.path("merged/model.safetensors");
        let before = std::fs::read(&file).unwrap();
        let mut tensors = Tensors::read(&file);
        change(&mut tensors);
        tensors.write(&file);
        let adapter = AdapterTensors::read(&self.project.path("adapter"), self.plan.method()).unwrap();
        let found = verify_merged(&self.pretrained, &adapter, &self.plan, &self.project.path("merged"));
        std::fs::write(&file, before).unwrap();
        found.err().map(|error| error.to_string())
    }
}

#[test]
fn a_merged_checkpoint_that_lacks_or_changes_something_is_found_wrong() {
    for (name, kept, adapted) in [
        ("bert-cls", "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.1.attention.self.value.weight"),
        ("gpt2-lm", "transformer.wpe.weight", "transformer.h.0.attn.c_attn.weight"),
        ("bert-dora", "bert.embeddings.word_embeddings.weight", "bert.encoder.layer.1.intermediate.dense.weight"),
        ("gpt2-dora", "transformer.wpe.weight", "transformer.h.0.attn.c_attn.weight"),
        ("bert-bias-lora-only", "bert.embeddings.LayerNorm.bias", "bert.encoder.layer.0.attention.self.query.bias"),
    ] {
        let merge = merge(name);
        assert_eq!(merge.found(|_| ()), None, "{name}");
        let lost = merge.found(|tensors| tensors.remove(|tensor| tensor == kept));
        assert_eq!(lost, Some(format!("the merged checkpoint lacks `{kept}` of the base: it was not kept")), "{name}");
        let changed = merge.found(|tensors| tensors.add_to_first(kept, 1e-6));
        let message = format!("the merged checkpoint has another `{kept}` than the base: it was not kept");
        assert_eq!(changed, Some(message), "{name}");
        let off = merge.found(|tensors| tensors.add_to_first(adapted, 1e-4)).unwrap();
        assert!(off.contains(&format!("has other values of `{adapted}` than base plus adapter")), "{name}: {off}");
        let added = merge.found(|tensors| tensors.zeros("more", &[2]));
        let message = "the merged checkpoint has `more`, which neither base nor adapter have: it was not kept";
        assert_eq!(added.as_deref(), Some(message), "{name}");
    }
}

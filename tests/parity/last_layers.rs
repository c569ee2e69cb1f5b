//! The last layers of each architecture alone: what is trained, and what stays as it is and is saved with it.

use std::collections::BTreeSet;

use lora::{Method, Plan};
use model::{Frozen, Pretrained, Values};
use serde_json::json;

use super::case;
use crate::device::device;

/// The names of the trained and of the frozen tensors, how many layers no backward pass comes to, and how many there are.
fn built(name: &str, method: serde_json::Value) -> (BTreeSet<String>, BTreeSet<String>, usize, usize) {
    let directory = case(name).join("model");
    let pretrained = Pretrained::open(&directory, Pretrained::head_of(&directory).unwrap()).unwrap();
    let method: Method = serde_json::from_value(method).unwrap();
    let plan = Plan::new(inference::resolved(&method, &pretrained, &[]), None, 0).unwrap();
    let (_, loaded) = pretrained.load(plan, 3, Frozen::AsStored, Values::ShapesOnly, &device()).unwrap();
    let trained = loaded.plan.parameters().iter().map(|parameter| parameter.name.clone()).collect();
    let frozen = loaded.plan.frozen().iter().cloned().collect();
    (trained, frozen, loaded.plan.untouched_layers(), pretrained.activations().unwrap().layers)
}

fn layer(tensor: &str) -> Option<usize> {
    tensor.split('.').find_map(|segment| segment.parse().ok())
}

#[test]
fn nothing_below_the_last_layer_is_trained_and_all_of_it_is_kept() {
    for name in [
        "bert-cls",
        "bert-mlm",
        "roberta-cls",
        "distilbert-mlm",
        "electra-mlm",
        "deberta-v3-cls",
        "deberta-v2-mlm",
        "modernbert-mlm",
        "eurobert-late",
        "gpt2-lm",
        "llama3-rope-tied-bf16",
        "qwen3-moe-lm",
        "gemma3-cls",
        "olmo2-lm",
    ] {
        let (all, none, untouched, layers) = built(name, json!({ "method": "full" }));
        assert_eq!((none.len(), untouched), (0, 0), "{name}");
        let method = json!({ "method": "full", "last_layers": 1, "train_embeddings": false });
        let (trained, frozen, untouched, _) = built(name, method);
        assert_eq!(untouched, layers - 1, "{name}");
        assert_eq!(trained.union(&frozen).cloned().collect::<BTreeSet<_>>(), all, "{name}");
        assert!(trained.is_disjoint(&frozen), "{name}");
        assert!(trained.iter().filter_map(|tensor| layer(tensor)).all(|layer| layer == layers - 1), "{name}");
        assert!(frozen.iter().filter_map(|tensor| layer(tensor)).all(|layer| layer < layers - 1), "{name}");
        // Besides layers: embeddings, and of DeBERTa the norm of its table of positions.
        let is_below =
            |tensor: &str| ["embed", ".wte.", ".wpe.", "encoder.LayerNorm"].iter().any(|part| tensor.contains(part));
        let outside = |tensors: &BTreeSet<String>| {
            tensors.iter().filter(|tensor| layer(tensor).is_none()).map(|tensor| is_below(tensor)).collect::<Vec<_>>()
        };
        assert!(outside(&frozen).iter().all(|is_below| *is_below), "{name}: {frozen:?}");
        assert!(!outside(&trained).contains(&true), "{name}: {trained:?}");
    }
}

#[test]
fn layers_by_number_with_the_embeddings_have_a_backward_pass_to_the_end() {
    let (trained, frozen, untouched, _) = built("bert-cls", json!({ "method": "full", "layers": [0, 2] }));
    assert_eq!(untouched, 0);
    assert!(trained.contains("bert.embeddings.word_embeddings.weight"));
    assert!(frozen.iter().all(|tensor| layer(tensor) == Some(1)) && !frozen.is_empty(), "{frozen:?}");
    let (_, _, untouched, _) = built("bert-cls", json!({ "method": "full", "layers": 1, "train_embeddings": false }));
    assert_eq!(untouched, 1);
}

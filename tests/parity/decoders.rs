//! Decoders: the numbers of each case, its greedy continuations one by one and all at once, and the same logits with a cache
//! and without.

use std::sync::Arc;

use burn::tensor::Device;
use data::Batch;
use kernels::{Layout, Offsets, Phase};
use lora::Routes;
use model::{Generation, Model, Piece, Prompt, Request, Sampling, Tokens};

use super::{Case, check, values};
use crate::device::device;

fn tokens(ids: &[u32], layout: Layout, model: &Model) -> Tokens {
    Tokens::new(ids, &vec![0; ids.len()], Arc::new(layout), &model.device())
}

/// Greedy continuations of prompts in one batch, by way of a cache.
fn continued(model: &Model, prompts: &[Vec<u32>], count: usize) -> Vec<Vec<u32>> {
    let decoder = model.causal_lm().expect("a causal language model");
    let request = |ids: &Vec<u32>| Request {
        prompt: Prompt { ids: ids.clone(), row: 0, max_new_tokens: count },
        sampling: Sampling::default(),
        stop_tokens: Arc::default(),
        log_probabilities: None,
        adapters: None,
    };
    let requests: Vec<Request> = prompts.iter().map(request).collect();
    let mut generation = Generation::new(decoder, requests.iter().map(Request::rows).sum());
    for (text, request) in requests.iter().enumerate() {
        assert!(generation.admit(decoder, text as u64, 0, request));
    }
    let mut found = vec![Vec::new(); prompts.len()];
    while generation.texts() > 0 {
        let step = generation.step(decoder, usize::MAX);
        assert_eq!(step.failed, []);
        for chosen in step.chosen {
            found[chosen.text as usize].push(chosen.token);
        }
    }
    found
}

fn check_generation(name: &str) {
    let case = Case::open(name);
    let (model, _) = case.load(Some("adapter"), &device());
    let cases = case.expected["adapter"]["generate"].as_array().unwrap();
    let ids = |value: &serde_json::Value| serde_json::from_value::<Vec<u32>>(value.clone()).unwrap();
    let prompts: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["prompt_ids"])).collect();
    let expected: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["greedy_ids"])).collect();
    let longest = expected.iter().map(Vec::len).max().unwrap();
    let together = continued(&model, &prompts, longest);
    for ((prompt, expected), together) in prompts.iter().zip(&expected).zip(&together) {
        assert_eq!(together[..expected.len()], expected[..], "in one batch");
        let alone = continued(&model, std::slice::from_ref(prompt), expected.len());
        assert_eq!(alone[0], *expected, "by itself");
    }
}

/// Each prefix read token by token, against the whole at once: on the CPU the same bits where it is read as a prompt is.
fn check_cache(name: &str) {
    let case = Case::open(name);
    let (model, _) = case.load(Some("adapter"), &device());
    let decoder = model.causal_lm().expect("a causal language model");
    let ids = &case.encoded[0].ids;
    let batch = Batch::from_encoded(&case.encoded[..1]);
    let layout = Layout::new(Offsets::new(&batch.offsets), 0);
    let rows: Vec<usize> = (0..ids.len()).collect();
    let whole = values(model.forward(&tokens(ids, layout, &model), &rows, None));
    let width = whole.len() / ids.len();
    for phase in [Phase::Prefill, Phase::Decode] {
        let mut cache = decoder.cache(ids.len());
        let rows = cache.take(ids.len()).unwrap();
        // The first three at once, then one by one.
        for (start, end) in std::iter::once((0, 3)).chain((3..ids.len()).map(|at| (at, at + 1))) {
            let layout = cache.layout(&[Piece { rows: rows.clone(), read: start, tokens: end - start }]);
            let tokens = tokens(&ids[start..end], layout, &model);
            let found = values(decoder.next(&tokens, phase, Routes::default(), &mut cache, &[0]).unwrap());
            let whole = &whole[(end - 1) * width..end * width];
            if phase == Phase::Prefill && model.device() == Device::flex() {
                assert_eq!(found, whole, "{name}, token {end}");
            }
            for (found, whole) in found.iter().zip(whole) {
                assert!((found - whole).abs() <= 1e-4 + 1e-4 * whole.abs(), "{name}, token {end}: {found} {whole}");
            }
        }
    }
}

fn check_decoder(name: &str) {
    check(name, &[]);
    check_generation(name);
    check_cache(name);
}

#[test]
fn gpt2_with_dora() {
    check_decoder("gpt2-dora");
}

#[test]
fn gpt2() {
    check_decoder("gpt2-lm");
}

#[test]
fn gpt2_as_a_classifier() {
    check("gpt2-cls", &["score"]);
}

#[test]
fn llama() {
    check_decoder("llama-lm");
}

#[test]
fn llama_as_a_classifier() {
    check("llama-cls", &["score"]);
}

#[test]
fn llama_with_scaled_rotary_positions_tied_embeddings_and_bf16() {
    check_decoder("llama3-rope-tied-bf16");
}

#[test]
fn llama_with_yarn_and_lora_on_its_embeddings_and_output_layer() {
    check_decoder("llama-yarn-embeddings");
}

#[test]
fn mistral_with_a_sliding_window() {
    check_decoder("mistral-lm");
}

#[test]
fn qwen2_in_shards() {
    check_decoder("qwen2-lm-sharded");
}

#[test]
fn qwen3() {
    check_decoder("qwen3-lm");
}

#[test]
fn smollm3_with_layers_that_know_no_positions() {
    check_decoder("smollm3-lm");
}

#[test]
fn phi3_with_joined_projections() {
    check_decoder("phi3-lm");
}

#[test]
fn qwen3_with_experts_in_one_layer() {
    check_decoder("qwen3-moe-lm");
}

#[test]
fn qwen3_with_experts_and_lora_on_them_and_on_their_router() {
    check_decoder("qwen3-moe-experts-lm");
}

#[test]
fn phi4_with_a_share_of_each_head_that_turns_and_continuations_beyond_the_length_of_pretraining() {
    check_decoder("phi4-lm");
}

#[test]
fn phi4_in_texts_beyond_the_length_of_pretraining() {
    check("phi4-long-lm", &[]);
    check_generation("phi4-long-lm");
}

#[test]
fn granite_with_its_factors_and_lora_on_a_tied_output_layer() {
    check_decoder("granite-lm");
}

#[test]
fn olmo2_with_norms_after_its_parts() {
    check_decoder("olmo2-lm");
}

#[test]
fn gemma2_with_soft_caps_and_a_window_in_every_other_layer() {
    check_decoder("gemma2-lm");
}

#[test]
fn gemma3_with_two_rotary_embeddings() {
    check_decoder("gemma3-lm");
}

#[test]
fn gemma3_as_a_classifier_with_lora_on_its_scaled_embeddings() {
    check("gemma3-cls", &["score"]);
}

//! Chat and completions, whole.

use data::language::Conversation;
use inference::{GenerationSettings, Sampling};
use serde_json::{Value, json};

use crate::served::{DECODER, Models, fixture, open, repository, user};

/// What the library writes.
fn alone(settings: GenerationSettings, prompt: &str) -> inference::Written {
    let pipeline = open(&repository("models/tiny-decoder"), None);
    pipeline.text_generation(settings).unwrap().generate(&[prompt]).unwrap().remove(0)
}

#[test]
fn a_completion_is_what_generate_writes() {
    let served = Models::decoder().serve();
    let settings = GenerationSettings { max_new_tokens: Some(8), ..GenerationSettings::default() };
    let expected = alone(settings, "a lamp is");
    let body = json!({ "model": DECODER, "prompt": "a lamp is", "max_tokens": 8, "temperature": 0 });
    let answer = served.post("/v1/completions", &body).done();
    assert_eq!(answer["choices"][0]["text"], expected.text);
    assert_eq!(answer["choices"][0]["finish_reason"], json!(expected.finish_reason));
    assert_eq!(answer["object"], "text_completion");
    assert_eq!(answer["model"], DECODER);
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"), "{answer}");
    let usage = &answer["usage"];
    assert_eq!(usage["completion_tokens"], expected.token_ids.len());
    assert_eq!(usage["total_tokens"], expected.token_ids.len() as u64 + usage["prompt_tokens"].as_u64().unwrap());
}

#[test]
fn what_is_drawn_depends_on_the_seed_and_on_nothing_beside() {
    let served = Models::decoder().serve();
    let sampling = Sampling {
        temperature: 0.8,
        top_p: Some(0.95),
        top_k: Some(50),
        min_p: Some(0.01),
        repetition_penalty: 1.1,
        seed: 7,
        ..Sampling::default()
    };
    let settings = GenerationSettings { sampling, max_new_tokens: Some(6), ..GenerationSettings::default() };
    let expected = alone(settings, "a lamp is");
    let body = json!({
        "prompt": ["the sea", "a lamp is"], "max_tokens": 6, "temperature": 0.8, "top_p": 0.95, "top_k": 50,
        "min_p": 0.01, "repetition_penalty": 1.1, "seed": 7, "n": 2,
    });
    let answer = served.post("/v1/completions", &body).done();
    let texts: Vec<&str> =
        answer["choices"].as_array().unwrap().iter().map(|it| it["text"].as_str().unwrap()).collect();
    assert_eq!(
        answer["choices"].as_array().unwrap().iter().map(|it| it["index"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    // The second prompt's first text, as if it were alone.
    assert_eq!(texts[2], expected.text);
    assert_ne!(texts[2], texts[3], "each of several texts draws anew");
}

#[test]
fn a_chat_goes_through_the_chat_template() {
    let served = Models::decoder().serve();
    let pipeline = open(&repository("models/tiny-decoder"), None);
    let settings = GenerationSettings { max_new_tokens: Some(5), ..GenerationSettings::default() };
    let texts = pipeline.text_generation(settings).unwrap();
    let mut conversation = Conversation::default();
    conversation.push("system", "be short");
    conversation.push("user", "what is a lamp?");
    let encoded = texts.encode_conversation(&conversation, "it").unwrap();
    let prompts = texts.prompts(&encoded, 0..1, "it").unwrap();
    let expected = texts.write(&prompts, &mut |_, _| {}).unwrap().remove(0);

    let messages = json!([{ "role": "system", "content": "be short" }, { "role": "user", "content": [{ "type": "text", "text": "what is a lamp?" }] }]);
    let body = json!({ "model": DECODER, "messages": messages, "max_completion_tokens": 5, "temperature": 0 });
    let answer = served.post("/v1/chat/completions", &body).done();
    let message = json!({ "role": "assistant", "content": expected.text, "refusal": null });
    let expected =
        json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": expected.finish_reason }]);
    assert_eq!(answer["choices"], expected);
    assert_eq!(answer["usage"]["prompt_tokens"], encoded.ids.len());
    assert_eq!(answer["object"], "chat.completion");
}

#[test]
fn a_text_ends_before_a_stop_string() {
    let served = Models::decoder().serve();
    let body = |stop: Value| json!({ "prompt": "a lamp is", "max_tokens": 12, "temperature": 0, "stop": stop });
    let whole =
        served.post("/v1/completions", &body(json!([]))).done()["choices"][0]["text"].as_str().unwrap().to_string();
    let word = whole.split_whitespace().nth(2).unwrap();
    let answer = served.post("/v1/completions", &body(json!(word))).done();
    let (before, _) = whole.split_once(word).unwrap();
    assert_eq!(answer["choices"][0]["text"], before);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
}

#[test]
fn token_ids_are_a_prompt_and_come_back_as_its_text() {
    let served = Models::decoder().serve();
    let tokens = served.post("/tokenize", &json!({ "prompt": "a lamp is" })).done();
    assert_eq!(tokens["count"], tokens["tokens"].as_array().unwrap().len());
    assert_eq!(tokens["max_model_len"], 256);
    let text = served.post("/detokenize", &json!({ "tokens": tokens["tokens"] })).done();
    assert_eq!(text, json!({ "prompt": "a lamp is" }));
    let body = |prompt: Value| json!({ "prompt": prompt, "max_tokens": 4, "temperature": 0 });
    let of_text = served.post("/v1/completions", &body(json!("a lamp is"))).done();
    let of_tokens = served.post("/v1/completions", &body(tokens["tokens"].clone())).done();
    assert_eq!(of_tokens["choices"], of_text["choices"]);
    let messages = served.post("/tokenize", &json!({ "messages": user("what?") })).done();
    let chat = json!({ "messages": user("what?"), "max_tokens": 1 });
    assert_eq!(served.post("/v1/chat/completions", &chat).done()["usage"]["prompt_tokens"], messages["count"]);
}

#[test]
fn each_adapter_answers_as_it_does_alone_and_says_which_it_was() {
    let (model, adapter) = (fixture("llama-lm/model"), fixture("llama-lm/adapter"));
    let served = Models::of("llama-lm").adapter("tuned", adapter.clone()).serve();
    let settings = || GenerationSettings { max_new_tokens: Some(10), ..GenerationSettings::default() };
    let mut prints = Vec::new();
    for (name, adapter) in [("base", None), ("tuned", Some(adapter.as_path()))] {
        let pipeline = open(&model, adapter);
        let expected = pipeline.text_generation(settings()).unwrap().generate(&["the cat"]).unwrap().remove(0);
        let body = json!({ "model": name, "prompt": "the cat", "max_tokens": 10, "temperature": 0 });
        let reply = served.post("/v1/completions", &body);
        let print = reply.header("x-system-fingerprint").unwrap().to_string();
        let answer = reply.done();
        assert_eq!(answer["choices"][0]["text"], expected.text, "{name}");
        assert_eq!(answer["usage"]["completion_tokens"], expected.token_ids.len());
        assert_eq!(answer["system_fingerprint"], print);
        prints.push(print);
    }
    assert!(prints[1].starts_with(&format!("{}_", prints[0])), "base, then adapter: {prints:?}");
}

#[test]
fn the_models_are_listed_with_what_they_are_for() {
    let served = Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")).serve();
    let list = served.get("/v1/models").done();
    assert_eq!(list["object"], "list");
    let names: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["base", "tuned"]);
    let tuned = &list["data"][1];
    assert_eq!((&tuned["object"], &tuned["parent"], &tuned["root"]), (&json!("model"), &json!("base"), &json!("base")));
    assert_eq!((&tuned["task"], &tuned["max_model_len"]), (&json!("causal-lm"), &json!(128)));
    assert_eq!(&served.get("/v1/models/tuned").done(), tuned);
    let expected = "there is no model `tunde`: there are base, tuned";
    assert_eq!(served.get("/v1/models/tunde").refused(), (404, expected.to_string()));
}

#[test]
fn fields_of_openai_without_effect_are_said_once() {
    let served = Models::decoder().serve();
    let messages = json!([{ "role": "user", "content": "hi", "name": "Ann", "refusal": null }]);
    let body = json!({
        "messages": messages, "max_tokens": 1, "user": "me", "metadata": {}, "store": false,
        "response_format": { "type": "text" }, "tools": [], "tool_choice": "none", "logprobs": false,
    });
    for _ in 0..2 {
        served.post("/v1/chat/completions", &body).done();
    }
    let said = |name: &str| format!("requests to /v1/chat/completions have the field `{name}`: it has no effect here");
    assert_eq!(served.log(), ["user", "metadata", "store", "messages[].name"].map(said));
}

#[test]
fn fields_of_vllm_that_ask_for_what_is_done_anyway_are_taken() {
    let served = Models::decoder().serve();
    let usual = json!({
        "max_tokens": 1, "ignore_eos": false, "min_tokens": 0, "stop_token_ids": [], "bad_words": [],
        "skip_special_tokens": true, "spaces_between_special_tokens": true, "include_stop_str_in_output": false,
        "detokenize": true, "use_beam_search": false, "length_penalty": 1.0, "priority": 0,
    });
    let (mut text, mut chat) = (usual.clone(), usual);
    (text["prompt"], text["add_special_tokens"]) = (json!("hi"), json!(true));
    (chat["messages"], chat["add_special_tokens"]) = (user("hi"), json!(false));
    (chat["add_generation_prompt"], chat["continue_final_message"]) = (json!(true), json!(false));
    served.post("/v1/completions", &text).done();
    served.post("/v1/chat/completions", &chat).done();
    assert!(served.log().is_empty(), "nothing that was asked for is left out");
}

#[test]
fn choices_of_one_prompt_draw_apart_and_share_what_was_read() {
    let served = Models::decoder().serve();
    let prompt = "a lamp is a thing that gives light in the dark, and the sea is ".repeat(6);
    let body = json!({ "prompt": prompt, "max_tokens": 6, "temperature": 1, "seed": 5, "n": 4 });
    let answer = served.post("/v1/completions", &body).done();
    let texts: Vec<&Value> = answer["choices"].as_array().unwrap().iter().map(|choice| &choice["text"]).collect();
    assert!(texts.iter().any(|text| *text != texts[0]), "{texts:?}");
    let prompt_tokens = answer["usage"]["prompt_tokens"].as_f64().unwrap();
    let shared = served.metric("kindling_shared_prompt_tokens_total{model=\"tiny-decoder\"}");
    // The last token of a prompt is read for each of them.
    assert_eq!(shared, 3.0 * (prompt_tokens - 1.0), "three of four have it from the first");
}

#[test]
fn a_text_that_the_cache_has_no_room_for_is_refused_with_what_it_needs() {
    let mut models = Models::of("llama-lm");
    // 2 layers, keys and values of 2 heads of 8, in f32: 256 bytes a token.
    models.limits.cache_memory = 20 * 256;
    let served = models.serve();
    let body = |max_tokens: u32| json!({ "prompt": "the cat", "max_tokens": max_tokens, "temperature": 0 });
    let tokens = served.post("/tokenize", &json!({ "prompt": "the cat" })).done()["count"].as_u64().unwrap();
    let refused = served.post("/v1/completions", &body(20));
    assert_eq!(refused.json()["error"]["code"], "cache_too_small");
    let expected = format!(
        "a text of {} tokens, with its prompt, does not fit into the cache, which has room for 20: ask for fewer new tokens, or \
         give the cache more memory",
        tokens + 20
    );
    assert_eq!(refused.refused(), (400, expected));
    assert_eq!(served.post("/v1/completions", &body(8)).done()["usage"]["completion_tokens"], 8);
    assert_eq!(served.metric("kindling_cache_bytes"), 20.0 * 256.0);
}

//! Answers as server-sent events.

use serde_json::{Value, json};

use crate::served::{DECODER, Models, user};

fn chunks(events: &[String]) -> Vec<Value> {
    let (last, chunks) = events.split_last().unwrap();
    assert_eq!(last, "[DONE]");
    chunks.iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
}

#[test]
fn a_streamed_chat_is_the_whole_one_in_pieces() {
    let served = Models::decoder().serve();
    let body = |seed: u32, stream: bool| json!({ "model": DECODER, "messages": user("what is a lamp?"), "max_tokens": 12, "seed": seed, "stream": stream });
    let mut answers = (0..50).map(|seed| (seed, served.post("/v1/chat/completions", &body(seed, false)).done()));
    // The small model often ends its turn at once.
    let (seed, whole) = answers.find(|(_, whole)| whole["usage"]["completion_tokens"].as_u64() >= Some(6)).unwrap();
    let chunks = chunks(&served.post("/v1/chat/completions", &body(seed, true)).events());
    let first = json!([{ "index": 0, "delta": { "role": "assistant", "content": "", "refusal": null }, "logprobs": null, "finish_reason": null }]);
    assert_eq!(chunks[0]["choices"], first);
    let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"].as_str().unwrap());
    assert!(chunks.len() > 4, "pieces, not the whole at once: {chunks:?}");
    let last = chunks.last().unwrap();
    let finish = &whole["choices"][0]["finish_reason"];
    assert_eq!(last["choices"], json!([{ "index": 0, "delta": {}, "logprobs": null, "finish_reason": finish }]));
    for chunk in &chunks {
        assert_eq!((&chunk["object"], &chunk["model"]), (&json!("chat.completion.chunk"), &json!(DECODER)));
        assert_eq!((&chunk["id"], &chunk["created"]), (&chunks[0]["id"], &chunks[0]["created"]));
        assert_eq!(chunk["system_fingerprint"], whole["system_fingerprint"]);
        assert_eq!(chunk.get("usage"), None);
    }
}

#[test]
fn a_streamed_completion_of_several_texts_ends_each_and_counts_all() {
    let served = Models::decoder().serve();
    let body = |stream: bool| {
        let mut body = json!({ "prompt": ["a lamp is", "the sea"], "n": 2, "max_tokens": 5, "temperature": 1, "seed": 3, "stream": stream });
        if stream {
            body["stream_options"] = json!({ "include_usage": true });
        }
        body
    };
    let whole = served.post("/v1/completions", &body(false)).done();
    let chunks = chunks(&served.post("/v1/completions", &body(true)).events());
    let (last, others) = chunks.split_last().unwrap();
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &whole["usage"]));
    assert!(others.iter().all(|chunk| chunk["usage"].is_null() && chunk.get("usage").is_some()), "{others:?}");
    for index in 0..4 {
        let of_choice = || others.iter().map(|chunk| &chunk["choices"][0]).filter(|choice| choice["index"] == index);
        let text: String = of_choice().map(|choice| choice["text"].as_str().unwrap()).collect();
        assert_eq!(text, whole["choices"][index]["text"].as_str().unwrap());
        let finish: Vec<&Value> =
            of_choice().map(|choice| &choice["finish_reason"]).filter(|it| !it.is_null()).collect();
        assert_eq!(finish, [&whole["choices"][index]["finish_reason"]]);
    }
}

#[test]
fn what_is_wrong_with_a_prompt_is_said_with_a_status_and_not_in_the_stream() {
    let served = Models::decoder().serve();
    let body = json!({ "prompt": "lamp ".repeat(300), "max_tokens": 1, "stream": true });
    assert_eq!(served.post("/v1/completions", &body).status, 400);
}

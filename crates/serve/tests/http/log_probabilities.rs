//! Log-probabilities, penalties and biases, in OpenAI's forms.

use serde_json::{Value, json};

use crate::served::{Models, user};

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn text_of(bytes: &Value) -> String {
    let bytes: Vec<u8> = bytes.as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8).collect();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_chat_says_of_each_token_how_probable_it_and_others_were() {
    let served = Models::decoder().serve();
    let body = json!({
        "messages": user("what is a lamp?"), "max_tokens": 6, "temperature": 0, "logprobs": true, "top_logprobs": 3,
        // The small model ends its turn at once.
        "logit_bias": { "0": -100 },
    });
    let answer = served.post("/v1/chat/completions", &body).done();
    let choice = &answer["choices"][0];
    let content = choice["logprobs"]["content"].as_array().unwrap();
    assert_eq!(choice["logprobs"]["refusal"], Value::Null);
    assert!(!content.is_empty());
    let text: String = content.iter().map(|entry| text_of(&entry["bytes"])).collect();
    assert_eq!(text.trim_start(), choice["message"]["content"].as_str().unwrap().trim_start());
    for entry in content {
        assert!(entry["logprob"].as_f64().unwrap() < 0.0, "{entry}");
        assert_eq!(entry["token"], text_of(&entry["bytes"]));
        let top = entry["top_logprobs"].as_array().unwrap();
        let values: Vec<f64> = top.iter().map(|piece| piece["logprob"].as_f64().unwrap()).collect();
        assert!(values.len() == 3 && values.is_sorted_by(|a, b| a >= b), "{entry}");
        assert!(values.iter().map(|value| value.exp()).sum::<f64>() <= 1.0);
    }
}

#[test]
fn a_completion_has_the_lists_of_its_own_form_whole_and_as_a_stream() {
    let served = Models::decoder().serve();
    let mut body = json!({ "prompt": "a lamp is", "max_tokens": 5, "temperature": 0, "logprobs": 2 });
    let whole = served.post("/v1/completions", &body).done();
    let of_whole = &whole["choices"][0]["logprobs"];
    let tokens: Vec<&str> =
        of_whole["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap()).collect();
    assert_eq!(tokens.concat(), whole["choices"][0]["text"].as_str().unwrap());
    let mut offset = 0;
    for (n, token) in tokens.iter().enumerate() {
        assert_eq!(of_whole["text_offset"][n], offset);
        offset += token.chars().count();
        // The most probable token is the one that was chosen.
        let top = of_whole["top_logprobs"][n].as_object().unwrap();
        assert_eq!((top.len(), &top[*token]), (2, &of_whole["token_logprobs"][n]));
    }
    body["stream"] = json!(true);
    let events = served.post("/v1/completions", &body).events();
    let chunks: Vec<Value> =
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect();
    let of_chunks = |key: &str| -> Vec<Value> {
        let lists = chunks.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"][key].as_array());
        lists.flatten().cloned().collect()
    };
    for key in ["tokens", "token_logprobs", "top_logprobs", "text_offset"] {
        assert_eq!(Value::from(of_chunks(key)), of_whole[key], "{key}");
    }
    assert_eq!(numbers(&of_whole["token_logprobs"]).len(), 5);
    body["stream"] = json!(false);
    body["logprobs"] = Value::Null;
    assert_eq!(served.post("/v1/completions", &body).done()["choices"][0]["logprobs"], Value::Null);
}

#[test]
fn a_bias_and_a_penalty_change_what_is_chosen_and_not_what_is_said_of_it() {
    let served = Models::decoder().serve();
    let ask = |more: Value| {
        let mut body = json!({ "prompt": "a lamp is", "max_tokens": 12, "temperature": 0, "logprobs": 0 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        served.post("/v1/completions", &body).done()["choices"][0].clone()
    };
    let plain = ask(json!({}));
    let ids = served.post("/tokenize", &json!({ "prompt": plain["text"], "add_special_tokens": false })).done();
    let banned = ask(json!({ "logit_bias": { ids["tokens"][0].to_string(): -100 } }));
    assert_ne!(banned["logprobs"]["tokens"][0], plain["logprobs"]["tokens"][0]);
    let value = |choice: &Value| choice["logprobs"]["token_logprobs"][0].as_f64().unwrap();
    assert!(value(&banned) < value(&plain), "the model's own, in which the first was the most probable");
    let distinct = |choice: &Value| {
        let tokens = choice["logprobs"]["tokens"].as_array().unwrap().iter().map(|token| token.as_str().unwrap());
        tokens.collect::<std::collections::BTreeSet<_>>().len()
    };
    let penalised = ask(json!({ "presence_penalty": 2, "frequency_penalty": 2 }));
    let rewarded = ask(json!({ "presence_penalty": -2, "frequency_penalty": -2 }));
    assert!(distinct(&penalised) > distinct(&rewarded), "{penalised}, {rewarded}");
    let body = json!({ "prompt": "a", "logit_bias": { "99999": 1 } });
    let (status, message) = served.post("/v1/completions", &body).refused();
    assert!(status == 400 && message.starts_with("`logit_bias` is for token 99999: the vocabulary has "), "{message}");
}

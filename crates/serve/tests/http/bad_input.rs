//! Requests that cannot be answered, each with its status and its whole message.

use serde_json::{Value, json};
use serve::Settings;

use crate::served::{Models, Served, fixture, user};

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn refused(served: &Served, path: &str, body: Value) -> (u16, String) {
    served.post(path, &body).refused()
}

fn bad(message: &str) -> (u16, String) {
    (400, message.to_string())
}

#[test]
fn json_that_is_broken_is_shown_where() {
    let served = Models::decoder().serve();
    let post = |body: &str| served.post_with(CHAT, body, &[("content-type", "application/json")]).refused();
    assert_eq!(post("{\"messages\": [}"), bad("the body is no JSON: expected value at line 1 column 15"));
    assert_eq!(post("[]"), bad("the body should be a JSON object, found a list"));
    assert_eq!(post(""), bad("the body is no JSON: EOF while parsing a value at line 1 column 0"));
    let deep = format!("{{\"messages\": {}", "[".repeat(100_000));
    assert_eq!(post(&deep), bad("the body is no JSON: recursion limit exceeded at line 1 column 140"));
}

#[test]
fn fields_have_their_types_and_ranges() {
    let served = Models::decoder().serve();
    let with = |key: &str, value: Value| {
        let mut body = json!({ "messages": user("hi"), "max_tokens": 1 });
        body[key] = value;
        refused(&served, CHAT, body)
    };
    let cases = [
        ("temperature", json!(-1), "`temperature` is -1: expected a number from 0 to 2"),
        ("temperature", json!("hot"), "`temperature` should be a number from 0 to 2, found a string"),
        ("top_p", json!(0), "`top_p` is 0: expected a number above 0, at most 1"),
        ("top_k", json!(-5), "`top_k` is -5: expected an integer, -1 or more"),
        ("min_p", json!(2), "`min_p` is 2: expected a number from 0 to 1"),
        ("repetition_penalty", json!(0), "`repetition_penalty` is 0: expected a number above 0, at most 100"),
        ("seed", json!(1.5), "`seed` is 1.5: expected an integer"),
        ("n", json!(0), "`n` is 0: expected an integer from 1 to 16"),
        ("n", json!(1_000_000), "`n` is 1000000: expected an integer from 1 to 16"),
        ("max_tokens", json!(-3), "`max_tokens` is -3: expected an integer from 1 to 4096"),
        ("max_tokens", json!(1e30), "`max_tokens` is 1e+30: expected an integer from 1 to 4096"),
        ("max_completion_tokens", json!(2), "`max_tokens` is 1 and `max_completion_tokens` is 2: give one of them"),
        ("stop", json!([""]), "`stop` has an empty text: leave it out"),
        ("stop", json!([1]), "`stop` should be texts, found a number among them"),
        ("stream", json!("yes"), "`stream` should be true or false, found a string"),
        ("stream_options", json!({}), "`stream_options` is for streams: add `\"stream\": true`, or leave it out"),
        ("logprobs", json!(3), "`logprobs` should be true or false, found a number"),
        ("top_logprobs", json!(3), "`top_logprobs` needs `logprobs`: add `\"logprobs\": true`, or leave it out"),
        ("top_logprobs", json!(21), "`top_logprobs` is 21: expected an integer from 0 to 20"),
        ("presence_penalty", json!(3), "`presence_penalty` is 3: expected a number from -2 to 2"),
        ("frequency_penalty", json!(-2.5), "`frequency_penalty` is -2.5: expected a number from -2 to 2"),
        ("logit_bias", json!([1]), "`logit_bias` should be an object of token ids and numbers, found a list"),
        ("logit_bias", json!({ "a": 1 }), "`logit_bias` has `a`: expected a token id"),
        ("logit_bias", json!({ "1": 101 }), "`logit_bias` has 101 for token 1: expected a number from -100 to 100"),
        ("model", json!(3), "`model` should be a string, found a number"),
        ("temprature", json!(1), "unknown field `temprature`: did you mean `temperature`?"),
    ];
    for (key, value, message) in cases {
        assert_eq!(with(key, value), bad(message), "{key}");
    }
}

#[test]
fn what_is_not_built_is_refused_by_its_name() {
    let served = Models::decoder().serve();
    let with = |path: &str, key: &str, value: Value| {
        let mut body = if path == CHAT { json!({ "messages": user("hi") }) } else { json!({ "prompt": "hi" }) };
        body[key] = value;
        served.post(path, &body)
    };
    let format = with(CHAT, "response_format", json!({ "type": "json_object" }));
    assert_eq!(format.json()["error"]["code"], "unsupported");
    let expected = "`response_format` is not supported but for {\"type\": \"text\"}: ask for the format in a message, and \
                    check what is answered";
    assert_eq!(format.refused(), bad(expected));
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let expected = "`functions` is not supported: send them as `tools`";
    assert_eq!(with(CHAT, "functions", tools).refused(), bad(expected));
    let named = json!({ "type": "function", "function": { "name": "f" } });
    for (key, choice) in [("tool_choice", json!("required")), ("tool_choice", named), ("function_call", json!({}))] {
        let reply = with(CHAT, key, choice);
        assert_eq!(
            (&reply.json()["error"]["param"], &reply.json()["error"]["code"]),
            (&json!(key), &json!("unsupported"))
        );
        let expected = format!(
            "`{key}` is not supported but for \"auto\" and \"none\": no model is made to call a tool; ask for it in a message"
        );
        assert_eq!(reply.refused(), bad(&expected));
    }
    let expected = "`echo` is not supported: put the prompt before the text yourself";
    assert_eq!(with(TEXT, "echo", json!(true)).refused(), bad(expected));
    let expected =
        "`min_tokens` is not supported: a text may end at any token; forbid the one that ends it with `logit_bias`";
    assert_eq!(with(CHAT, "min_tokens", json!(5)).refused(), bad(expected));
    let expected = "`stop_token_ids` is not supported: give the texts of these tokens as `stop`";
    assert_eq!(with(TEXT, "stop_token_ids", json!([1])).refused(), bad(expected));
    let expected = "`ignore_eos` is not supported: a text ends where the model ends it";
    assert_eq!(with(TEXT, "ignore_eos", json!(true)).refused(), bad(expected));
    let foo = json!([{ "role": "user", "content": "hi", "foo": 1 }]);
    let reply = with(CHAT, "messages", foo);
    assert_eq!(
        (&reply.json()["error"]["code"], &reply.json()["error"]["param"]),
        (&json!("unknown_field"), &json!("messages[0].foo"))
    );
    let call = json!([{ "role": "assistant", "content": null, "function_call": { "name": "f", "arguments": "{}" } }]);
    let expected = "`messages[0].function_call` is not supported: send it as `tool_calls`";
    assert_eq!(with(CHAT, "messages", call).refused(), bad(expected));
    let image = json!([{ "role": "user", "content": [{ "type": "image_url", "image_url": { "url": "data:" } }] }]);
    let expected = "`messages[0].content of the type image_url` is not supported: the models read texts alone";
    assert_eq!(with(CHAT, "messages", image).refused(), bad(expected));
}

#[test]
fn messages_that_are_no_conversation_are_refused() {
    let served = Models::decoder().serve();
    let chat = |messages: Value| refused(&served, CHAT, json!({ "messages": messages }));
    assert_eq!(chat(json!([])), bad("`messages` is empty: give the model a message to answer"));
    assert_eq!(refused(&served, CHAT, json!({})), bad("`messages` is missing: expected a list of messages"));
    let (status, message) = chat(json!([{ "role": "usr", "content": "hi" }]));
    assert_eq!(
        (status, message.as_str()),
        (400, "`messages`: message 1 has the unknown role `usr`: did you mean `user`?")
    );
}

#[test]
fn a_prompt_beyond_the_context_is_told_by_how_many_tokens() {
    let served = Models::decoder().serve();
    let long = "lamp ".repeat(300);
    let tokens = served.post("/tokenize", &json!({ "prompt": long })).done()["count"].as_u64().unwrap();
    let reply = served.post(TEXT, &json!({ "prompt": long }));
    assert_eq!(reply.json()["error"]["code"], "context_length_exceeded");
    let expected = format!(
        "`prompt` has {tokens} tokens, {} too many: the model has 256 positions: shorten it: at least one position must be \
         left for what is to be written",
        tokens - 255
    );
    assert_eq!(reply.refused(), bad(&expected));
    let expected = "`prompt` has 1 token; with 300 new ones that is 45 too many: the model has 256 positions: shorten it, or \
                    ask for at most 255 new ones";
    assert_eq!(refused(&served, TEXT, json!({ "prompt": "a", "max_tokens": 300 })), bad(expected));
}

#[test]
fn a_prompt_of_megabytes_is_refused_without_being_read_to_its_end() {
    let served = Models::decoder().serve();
    let (words, letters) = ("lamp ".repeat(800_000), "x".repeat(4_000_000));
    for body in [json!({ "prompt": words }), json!({ "prompt": letters })] {
        let reply = served.post(TEXT, &body);
        assert_eq!(reply.json()["error"]["code"], "context_length_exceeded");
        let (status, message) = reply.refused();
        assert_eq!(status, 400);
        assert!(message.starts_with("`prompt` has at least "), "{message}");
        assert!(message.contains(" too many: the model has 256 positions: shorten it: "), "{message}");
    }
    let reply = served.post(CHAT, &json!({ "messages": user(&words) }));
    let (status, message) = reply.refused();
    assert!(status == 400 && message.starts_with("`messages` has at least "), "{message}");
}

#[test]
fn prompts_that_are_none_are_refused() {
    let served = Models::decoder().serve();
    let text = |prompt: Value| refused(&served, TEXT, json!({ "prompt": prompt, "max_tokens": 1 }));
    assert_eq!(text(json!([])), bad("`prompt` is empty: give a text, or token ids"));
    let expected = "`prompt` should be a text, a list of texts, token ids, or a list of them, found an object";
    assert_eq!(text(json!({})), bad(expected));
    assert_eq!(text(json!(["a", 1])), bad("`prompt` should be all texts or all token ids, found a number among them"));
    assert_eq!(text(json!([1, -1])), bad("`prompt` should be token ids, found -1 among them"));
    assert_eq!(text(json!([[]])), bad("`prompt` has no tokens: give one or more"));
    assert_eq!(text(json!([4_000_000])), bad("`prompt` has the token id 4000000: the vocabulary has 4096"));
    assert_eq!(text(json!([[1], [2, 4096]])), bad("`prompt` has the token id 4096: the vocabulary has 4096"));
    assert_eq!(text(json!(vec!["a"; 1025])), bad("`prompt` has 1025 prompts: at most 1024 are answered at once"));
    let tokens = refused(&served, "/detokenize", json!({ "tokens": [1, 4_000_000] }));
    assert_eq!(tokens, bad("there is no token 4000000: the vocabulary has 4096"));
}

#[test]
fn an_error_says_which_field_is_to_blame() {
    let param = |served: &Served, path: &str, body: Value| served.post(path, &body).json()["error"]["param"].clone();
    let served = Models::decoder().serve();
    let long = "lamp ".repeat(300);
    for (body, field) in [
        (json!({ "prompt": long }), "prompt"),
        (json!({ "prompt": "a", "max_tokens": 300 }), "prompt"),
        (json!({ "prompt": [[]] }), "prompt"),
        (json!({ "prompt": [5000] }), "prompt"),
        (json!({ "prompt": "a", "logit_bias": { "5000": 1 } }), "logit_bias"),
        (json!({ "prompt": "a", "model": "none" }), "model"),
        (
            json!({ "prompt": "a", "stream": true, "stream_options": { "include_usage": 1 } }),
            "stream_options.include_usage",
        ),
        (json!({ "prompt": "a", "stream": true, "stream_options": { "usage": true } }), "stream_options.usage"),
    ] {
        assert_eq!(param(&served, TEXT, body.clone()), field, "{body}");
    }
    for (body, field) in [
        (json!({ "messages": user(&long) }), "messages"),
        (json!({ "messages": [{ "role": "usr", "content": "hi" }] }), "messages"),
        (json!({ "messages": ["hi"] }), "messages[0]"),
        (
            json!({ "messages": [{ "role": "user", "content": [{ "type": "text", "text": "a", "b": 1 }] }] }),
            "messages[0].content[0].b",
        ),
    ] {
        assert_eq!(param(&served, CHAT, body.clone()), field, "{body}");
    }
    assert_eq!(param(&served, "/detokenize", json!({ "tokens": [5000] })), "tokens");
    let mut models = Models::decoder();
    models.limits.cache_memory = 20 * 2560;
    assert_eq!(param(&models.serve(), TEXT, json!({ "prompt": "a lamp", "max_tokens": 100 })), "prompt");
    let served = Models::of("bert-cls").serve();
    for (body, field) in [
        (json!({ "input": ["a", " "] }), "input[1]"),
        (json!({ "input": ["a", ["a", ""]] }), "input[1][1]"),
        (json!({ "input": ["a", "good ".repeat(600)] }), "input[1]"),
    ] {
        assert_eq!(param(&served, "/classify", body.clone()), field, "{body}");
    }
    // Nothing that a field could be blamed for.
    assert!(
        served.post_with("/classify", "{", &[("content-type", "application/json")]).json()["error"]["param"].is_null()
    );
}

#[test]
fn a_model_that_is_not_there_names_those_that_are() {
    let served = Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")).serve();
    let reply = served.post(TEXT, &json!({ "model": "gpt-4o", "prompt": "a" }));
    assert_eq!(reply.json()["error"]["code"], "model_not_found");
    assert_eq!(reply.refused(), (404, "there is no model `gpt-4o`: there are base, tuned".to_string()));
}

#[test]
fn a_classifier_does_not_chat_and_the_reverse() {
    let served = Models::of("bert-cls").serve();
    let expected = "`base` is a model for sequence-classification, which does not write texts: ask it with /classify or \
                    /predict; for this there is no model";
    assert_eq!(refused(&served, CHAT, json!({ "model": "base", "messages": user("hi") })), bad(expected));
    let served = Models::decoder().serve();
    let expected = "`tiny-decoder` is a model for causal-lm, which does not classify: ask it with /v1/chat/completions or \
                    /v1/completions; for this there is no model";
    for (path, key) in [("/classify", "input"), ("/predict", "inputs")] {
        let mut body = json!({ "model": "tiny-decoder" });
        body[key] = json!("good");
        assert_eq!(refused(&served, path, body), bad(expected));
    }
}

#[test]
fn where_no_model_is_for_it_a_request_without_one_is_told_so() {
    let expected = "none of the models writes texts: /v1/models says what each is for";
    assert_eq!(refused(&Models::of("bert-cls").serve(), TEXT, json!({ "prompt": "hi" })), bad(expected));
    let expected = "none of the models classifies: /v1/models says what each is for";
    assert_eq!(refused(&Models::decoder().serve(), "/predict", json!({ "inputs": "hi" })), bad(expected));
}

#[test]
fn a_model_without_a_chat_template_does_not_chat() {
    let served = Models::of("llama-lm").serve();
    let expected = "the model has no chat template: continue texts with /v1/completions";
    assert_eq!(refused(&served, CHAT, json!({ "messages": user("hi") })), bad(expected));
}

#[test]
fn texts_to_classify_that_are_none_are_refused() {
    let served = Models::of("bert-cls").serve_with(Settings { max_inputs: 3, ..Settings::default() });
    let classify = |input: Value| refused(&served, "/classify", json!({ "input": input }));
    assert_eq!(classify(json!([])), bad("`input` is empty: give one text or more"));
    assert_eq!(classify(json!(["a", 1])), bad("`input` should be texts or pairs of texts, found a number among them"));
    let expected = "`input` should be a text, or a list of texts or pairs of them, found a number";
    assert_eq!(classify(json!(1)), bad(expected));
    assert_eq!(classify(json!(["a", "b", "c", "d"])), bad("`input` has 4 texts: at most 3 are answered at once"));
    assert_eq!(classify(json!("")), bad("`input` is empty: give a text"));
    assert_eq!(classify(json!(["a", " "])), bad("`input[1]` is empty: give a text"));
    assert_eq!(classify(json!([["a", ""]])), bad("`input[0][1]` is empty: give a text"));
    let predict = |inputs: Value| refused(&served, "/predict", json!({ "inputs": inputs }));
    assert_eq!(predict(json!([["a"], ["b"], [""]])), bad("`inputs[2][0]` is empty: give a text"));
    assert_eq!(predict(json!(["", "b"])), bad("`inputs[0]` is empty: give a text"));
    let expected = "`inputs` has 3 texts: several are a list of lists, [[\"a\"], [\"b\"]]; two in one list are a pair";
    assert_eq!(predict(json!(["a", "b", "c"])), bad(expected));
    assert_eq!(predict(json!([["a", "b", "c"]])), bad("`inputs` should be texts or pairs of texts, found a list of 3"));
    let unknown = refused(&served, "/predict", json!({ "input": "a" }));
    let expected = "`inputs` is missing: expected a text, a pair of texts, or a list of lists of one text or two";
    assert_eq!(unknown, bad(expected));
}

#[test]
fn a_name_of_megabytes_is_refused_in_few_words() {
    let served = Models::decoder().serve();
    let name = "x".repeat(3 << 20);
    let (status, message) = refused(&served, TEXT, json!({ "prompt": "hi", "model": name }));
    assert_eq!(status, 404);
    let expected = format!("there is no model `{} ... {}`: there are tiny-decoder", "x".repeat(481), "x".repeat(475));
    assert_eq!(message, expected);
    let (status, message) = refused(&served, TEXT, json!({ "prompt": "hi", name: 1 }));
    assert_eq!((status, message.len()), (400, 1005));
    assert!(message.starts_with("unknown field `xxx"), "{message}");
    assert!(message.contains("xxx`: known: "), "{message}");
}

#[test]
fn stop_strings_are_few_and_short() {
    let served = Models::decoder().serve();
    let with = |stop: Value| refused(&served, TEXT, json!({ "prompt": "hi", "max_tokens": 1, "stop": stop }));
    assert_eq!(with(json!(vec!["a"; 10_000])), bad("`stop` has 10000 texts: at most 16 are looked for"));
    assert_eq!(with(json!("a".repeat(2000))), bad("a text of `stop` is longer than 1024 bytes: shorten it"));
    assert_eq!(with(json!({})), bad("`stop` should be a text or a list of texts, found an object"));
}

#[test]
fn a_chat_template_that_goes_on_for_ever_is_ended() {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("llama-lm/model")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    let served = |template: &str| {
        std::fs::write(directory.path().join("chat_template.jinja"), template).unwrap();
        Models::at("base", directory.path().to_path_buf()).serve()
    };
    let doubling =
        "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}{{ ns.x }}";
    let expected = "`messages`: base/chat_template.jinja, line 1, column 81: engine ran out of fuel: the template does too much for \
                    one conversation: is there a loop in a loop?";
    assert_eq!(refused(&served(doubling), CHAT, json!({ "messages": user("hi") })), bad(expected));
    let nested =
        "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}";
    let expected = "`messages`: base/chat_template.jinja, line 1, column 79: engine ran out of fuel: lists nested more than 200 deep: \
                    the template does too much for one conversation: is there a loop in a loop?";
    assert_eq!(refused(&served(nested), CHAT, json!({ "messages": user("hi") })), bad(expected));
    let served = served("{% for i in range(100000) %}{% for j in range(100000) %}{{ j }}{% endfor %}{% endfor %}");
    let expected = "`messages`: base/chat_template.jinja, line 1, column 1: engine ran out of fuel: the template does too much for \
                    one conversation: is there a loop in a loop?";
    assert_eq!(refused(&served, CHAT, json!({ "messages": user("hi") })), bad(expected));
    assert_eq!(served.post(TEXT, &json!({ "prompt": "hi", "max_tokens": 1 })).status, 200);
}

//! Tools in requests and histories: what the chat template is given of them, and where it would leave them out.

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::served::{Models, Served, fixture, repository, user};

const CHAT: &str = "/v1/chat/completions";

/// In the manner of Qwen2.5's.
const TEMPLATE: &str = r#"{%- if tools %}
    {{- "== Tools\n" }}
    {%- for tool in tools %}
        {{- tool | tojson + "\n" }}
    {%- endfor %}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "tool" %}
        {{- "== Result of " + message.tool_call_id + "\n" + message.content + "\n" }}
    {%- else %}
        {{- "== " + message.role + "\n" }}
        {%- if message.content %}
            {{- message.content + "\n" }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- set tool_call = tool_call.function %}
            {{- '<tool_call>{"name": "' + tool_call.name + '", "arguments": ' + tool_call.arguments | tojson + "}</tool_call>\n" }}
        {%- endfor %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- "== assistant\n" }}
{%- endif %}
"#;

/// What Jinja2 makes of the template, the tools and the history below.
const RENDERED: &str = r#"== Tools
{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
== user
Rain in Åbo?
== assistant
<tool_call>{"name": "weather", "arguments": {"city": "Åbo", "days": [1, 2.0]}}</tool_call>
== Result of call_1
none
== assistant
"#;

fn of_template(template: &str) -> (TempDir, Served) {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(repository("models/tiny-decoder")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    std::fs::write(directory.path().join("chat_template.jinja"), template).unwrap();
    let served = Models::at("base", directory.path().to_path_buf()).serve();
    (directory, served)
}

fn tools() -> Value {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    json!([{ "type": "function", "function": { "name": "weather", "parameters": parameters } }])
}

fn history() -> Value {
    let arguments = "{\"city\": \"\\u00c5bo\", \"days\": [1, 2.0]}";
    let call = json!({ "id": "call_1", "type": "function", "function": { "name": "weather", "arguments": arguments } });
    json!([
        { "role": "user", "content": "Rain in Åbo?" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "call_1", "content": "none" },
    ])
}

#[test]
fn tools_and_a_history_with_calls_are_what_transformers_makes_of_them() {
    let (_directory, served) = of_template(TEMPLATE);
    let tokens = |body: Value| served.post("/tokenize", &body).done()["tokens"].clone();
    let of_chat = tokens(json!({ "messages": history(), "tools": tools() }));
    assert_eq!(of_chat, tokens(json!({ "prompt": RENDERED, "add_special_tokens": false })));
    let settings = json!({ "max_tokens": 8, "temperature": 1, "seed": 3 });
    let ask = |path: &str, mut body: Value| {
        body.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        served.post(path, &body).done()["choices"][0].clone()
    };
    for choice in ["auto", "none"] {
        let chat =
            json!({ "messages": history(), "tools": tools(), "tool_choice": choice, "parallel_tool_calls": false });
        let chat = ask(CHAT, chat);
        let text = ask("/v1/completions", json!({ "prompt": of_chat }));
        assert_eq!(chat["message"]["content"], text["text"], "an answer is a text");
        assert!(chat["message"].get("tool_calls").is_none());
        assert_eq!(chat["finish_reason"], text["finish_reason"]);
    }
    // An object for arguments and no tools: the same without their descriptions.
    let mut parsed = history();
    parsed[1]["tool_calls"][0]["function"]["arguments"] = json!({ "city": "Åbo", "days": [1, 2.0] });
    let without = RENDERED.split_once("== user").map(|(_, rest)| format!("== user{rest}")).unwrap();
    let expected = tokens(json!({ "prompt": without, "add_special_tokens": false }));
    assert_eq!(tokens(json!({ "messages": parsed, "tools": [] })), expected);
}

#[test]
fn what_the_chat_template_would_leave_out_is_refused_by_its_name() {
    let served = Models::decoder().serve();
    let refused = |served: &Served, path: &str, body: Value| {
        let reply = served.post(path, &body);
        let error = &reply.json()["error"];
        assert_eq!((reply.status, &error["code"]), (400, &json!("unsupported")), "{reply:?}");
        (error["param"].as_str().unwrap().to_string(), error["message"].as_str().unwrap().to_string())
    };
    for path in [CHAT, "/tokenize"] {
        let (param, message) = refused(&served, path, json!({ "messages": user("hi"), "tools": tools() }));
        let expected = "`tools` is not supported by this model, whose chat template does not read tools: describe them in a \
                        message, and read the answer yourself";
        assert_eq!((param.as_str(), message.as_str()), ("tools", expected));
        let (param, message) = refused(&served, path, json!({ "messages": history() }));
        let expected = "`messages[1].tool_calls` is not supported by this model, whose chat template does not read calls of \
                        tools: say them in the message's `content`";
        assert_eq!((param.as_str(), message.as_str()), ("messages[1].tool_calls", expected));
    }
    // Its template writes messages of any role.
    let result = json!([{ "role": "user", "content": "hi" }, { "role": "tool", "content": "none" }]);
    assert!(served.post("/tokenize", &json!({ "messages": result })).done()["count"].as_u64().unwrap() > 5);
    let users = "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}";
    let (_directory, served) = of_template(users);
    let (param, message) = refused(&served, CHAT, json!({ "messages": result }));
    let expected = "`messages[1].role` is `tool`, which is not supported by this model, whose chat template leaves such \
                    messages out: say what came back in a message of the user";
    assert_eq!((param.as_str(), message.as_str()), ("messages[1].role", expected));
}

#[test]
fn a_history_that_is_none_is_refused_with_its_place() {
    let (_directory, served) = of_template(TEMPLATE);
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut messages = history();
        change(&mut messages);
        let reply = served.post(CHAT, &json!({ "messages": messages }));
        let param = reply.json()["error"]["param"].as_str().unwrap().to_string();
        let (status, message) = reply.refused();
        assert_eq!(status, 400);
        (param, message)
    };
    let place = "messages[1].tool_calls[0].function.arguments";
    let (param, message) = refused(&|it| it[1]["tool_calls"][0]["function"]["arguments"] = json!("{\"city\": Åbo}"));
    assert_eq!((param.as_str(), message), (place, format!("`{place}` is no JSON: expected value at line 1 column 10")));
    let (param, message) = refused(&|it| it[0]["tool_calls"] = it[1]["tool_calls"].clone());
    assert_eq!(param, "messages[0].tool_calls");
    let expected = "`messages[0].tool_calls` is for messages of the assistant: this one is of the role `user`";
    assert_eq!(message, expected);
    let (param, message) = refused(&|it| it[2]["content"] = Value::Null);
    let expected = "`messages[2].content` is null: expected a text";
    assert_eq!((param.as_str(), message.as_str()), ("messages[2].content", expected));
    // What the template asks for is its own affair.
    let (param, message) = refused(&|it| it[2] = json!({ "role": "tool", "content": "none" }));
    assert_eq!(param, "messages");
    assert!(message.starts_with("`messages`: base/chat_template.jinja, line 9, column "), "{message}");
}

#[test]
fn a_model_without_a_chat_template_says_so_first() {
    let served = Models::of("llama-lm").adapter("tuned", fixture("llama-lm/adapter")).serve();
    let reply = served.post(CHAT, &json!({ "messages": history(), "tools": tools() }));
    assert_eq!(reply.json()["error"]["param"], "messages");
    let expected = "the model has no chat template: continue texts with /v1/completions";
    assert_eq!(reply.refused(), (400, expected.to_string()));
}

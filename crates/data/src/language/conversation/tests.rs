//! Tests of the whole room.

use std::path::Path;

use miette::Diagnostic;
use serde_json::json;

use super::*;

fn read(messages: Value) -> Result<Conversation, Error> {
    Conversation::read(&messages, None, "messages", &Place::new(Path::new("a.jsonl"), 3))
}

fn fails(messages: Value) -> (String, String) {
    let error = read(messages).unwrap_err();
    (error.to_string(), error.help().expect("says what to do").to_string())
}

#[test]
fn contents_are_texts_and_the_rest_is_passed_on() {
    let call = json!([{"type": "function", "function": {"name": "f", "arguments": {"b": 1, "a": null}}}]);
    let read = read(json!([
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "n"},
        {"role": "assistant", "content": null, "tool_calls": call, "refusal": null},
    ]))
    .unwrap();
    let messages = Value::Array(read.messages.iter().cloned().map(Value::Object).collect());
    let expected = json!([
        {"role": "user", "content": "ab", "name": "n"},
        {"role": "assistant", "content": null, "tool_calls": call},
    ]);
    assert_eq!(messages.to_string(), expected.to_string(), "with the keys in their order");
    assert_eq!(read.assistant_turns(), [1]);
}

#[test]
fn a_cell_of_a_table_is_json() {
    let place = Place::new(Path::new("a.csv"), 3);
    let (messages, tools) = (json!("[{\"role\": \"user\", \"content\": \"a\"}]"), json!("[{\"name\": \"f\"}]"));
    let read = Conversation::read(&messages, Some(&tools), "messages", &place).unwrap();
    assert_eq!((read.messages.len(), read.tools), (1, Some(json!([{"name": "f"}]))));
    let without = Conversation::read(&messages, Some(&json!("")), "messages", &place).unwrap();
    assert_eq!(without.tools, None);
    assert!(fails(json!("[{")).0.starts_with("a.jsonl, line 3: `messages` is a text that is no JSON: EOF"));
}

#[test]
fn what_is_no_conversation_says_which_message() {
    assert_eq!(fails(json!({})).0, "a.jsonl, line 3: `messages` should be a list of messages, found an object");
    assert_eq!(fails(json!([])).0, "a.jsonl, line 3: `messages` holds no messages");
    assert_eq!(fails(json!(["a"])).0, "a.jsonl, line 3: `messages`: message 1 should be an object, found a string");
    let (message, help) = fails(json!([{"from": "human", "value": "a"}]));
    assert_eq!(message, "a.jsonl, line 3: `messages`: message 1 has no `role` (keys: from, value)");
    assert!(help.starts_with("rename `from` to `role`"), "{help}");
    assert_eq!(
        fails(json!([{"role": "user", "text": "a"}])).0,
        "a.jsonl, line 3: `messages`: message 1 has no `content` (keys: role, text)"
    );
    let (message, help) = fails(json!([{"role": "assistant", "content": null, "tool_calls": []}]));
    assert_eq!(message, "a.jsonl, line 3: `messages`: the content of message 1 is null");
    assert_eq!(help, "give the message a text or `tool_calls`, or remove the row");
    let (_, help) = fails(json!([{"role": "user", "content": null}]));
    assert_eq!(help, "give the message a text, or remove the row", "only the assistant calls tools");
    assert_eq!(
        fails(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}])).0,
        "a.jsonl, line 3: `messages`: message 2, the assistant's, is empty"
    );
    assert_eq!(
        fails(json!([{"role": "user", "content": [{"type": "image", "url": "x"}]}])).0,
        "a.jsonl, line 3: `messages`: the content of message 1 should be a text, found a part of the type `image`"
    );
}

#[test]
fn a_misspelt_role_finds_its_name_and_one_of_the_template_is_known() {
    let read = read(json!([{"role": "asistant", "content": "a"}])).unwrap();
    let error = read.check_roles(|_| false, "a.jsonl, line 3").unwrap_err();
    assert_eq!(error.to_string(), "a.jsonl, line 3: message 1 has the unknown role `asistant`");
    assert_eq!(error.help().unwrap().to_string(), "did you mean `assistant`?");
    assert!(read.check_roles(|role| role == "asistant", "").is_ok());
}

#[test]
fn an_answer_is_the_assistants_last_message() {
    let mut conversation = Conversation::default();
    conversation.push("user", "a");
    assert_eq!((conversation.answer(), conversation.before_answer().len()), (None, 1));
    conversation.push("assistant", "b");
    assert_eq!((conversation.answer(), conversation.before_answer().len()), (Some("b"), 1));
}

#[test]
fn a_message_says_whether_it_is_learned_and_its_template_does_not_see_that() {
    let read = read(json!([
        {"role": "user", "content": "a", "weight": 0, "name": "n", "id": 1}, {"role": "assistant", "content": "b", "weight": 0},
        {"role": "assistant", "content": "c", "weight": 1.0}, {"role": "assistant", "content": "d", "train": false},
        {"role": "assistant", "content": "e", "training": true}, {"role": "assistant", "content": "f", "weight": null},
    ]))
    .unwrap();
    let learned: Vec<bool> = (1..6).map(|index| read.is_learned(index)).collect();
    assert_eq!(learned, [false, true, false, true, true]);
    let keys: Vec<&String> = read.messages[0].keys().collect();
    assert_eq!(keys, ["role", "content", "name", "id"]);
    assert!(read.messages[1..].iter().all(|message| message.len() == 2));
}

#[test]
fn weights_that_mean_something_else_are_refused() {
    let message = |message: Value| fails(json!([{"role": "user", "content": "a"}, message]));
    let (problem, help) = message(json!({"role": "assistant", "content": "b", "weight": 0.5}));
    assert_eq!(problem, "a.jsonl, line 3: `messages`: `weight` of message 2 is 0.5, expected 0 or 1");
    assert_eq!(help, "write 0 for a message that is not to be learned, 1 for others, or leave the key out");
    let (problem, _) = message(json!({"role": "assistant", "content": "b", "weight": "0"}));
    assert_eq!(problem, "a.jsonl, line 3: `messages`: `weight` of message 2 is \"0\", expected 0 or 1");
    let (problem, help) = message(json!({"role": "assistant", "content": "b", "train": 0}));
    assert_eq!(problem, "a.jsonl, line 3: `messages`: `train` of message 2 is 0, expected true or false");
    assert_eq!(help, "write false for a message that is not to be learned, true for others, or leave the key out");
    let (problem, help) = message(json!({"role": "user", "content": "b", "weight": 1}));
    assert_eq!(
        problem,
        "a.jsonl, line 3: `messages`: `weight` of message 2 is 1, and the message is not the assistant's"
    );
    assert_eq!(help, "only what the assistant says can be learned: leave the key out of the other messages");
}

#[test]
fn a_prompt_of_messages_is_read_and_its_completion_is_learned() {
    let place = Place::new(Path::new("a.jsonl"), 3);
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let prompt = json!([turn("user", "a"), turn("assistant", "b"), turn("user", "c")]);
    let completion = json!([turn("assistant", "d")]);
    let read = Conversation::read_apart(("prompt", &prompt), Some(("completion", &completion)), None, &place).unwrap();
    assert_eq!((read.is_learned(1), read.is_learned(3), read.before_answer().len()), (false, true, 3));
    assert_eq!(read.answer(), Some("d"));
    let error = Conversation::read_apart(("prompt", &prompt), Some(("completion", &json!([]))), None, &place);
    assert_eq!(error.unwrap_err().to_string(), "a.jsonl, line 3: `completion` holds no messages");
    let open = json!([turn("user", "a"), turn("assistant", "b")]);
    let read = Conversation::read_apart(("prompt", &open), None, None, &place).unwrap();
    assert_eq!((read.before_answer().len(), read.answer()), (2, None), "a prompt is answered, not answered anew");
}

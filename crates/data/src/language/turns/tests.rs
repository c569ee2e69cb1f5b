//! Tests of the whole room, on templates like those in use.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::*;
use crate::Place;
use crate::tokenizer::tests::bytes_dir;

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Like Qwen3's: only the last turn keeps what was thought.
const THINKING: &str = "{% for m in messages %}{% if m.role == 'user' %}U:{{ m.content }}\n{% else %}A:\
    {% if loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}{{ m.content }}</s>\n{% endif %}{% endfor %}\
    {% if add_generation_prompt %}A:{% endif %}";

/// Like DeepSeek-R1's: what the generation prompt begins is left out where it is written.
const OPENED: &str = "{% for m in messages %}{{ m.role }}:{{ m.content }}</s>{% endfor %}\
    {% if add_generation_prompt %}assistant:<think>\n{% endif %}";

fn template(source: &str) -> ChatTemplate {
    let dir = bytes_dir();
    std::fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
    ChatTemplate::from_dir(dir.path(), SystemTime::UNIX_EPOCH).unwrap().unwrap()
}

fn conversation(messages: Value) -> Conversation {
    Conversation::read(&messages, None, "messages", &Place::new(std::path::Path::new("a.jsonl"), 1)).unwrap()
}

fn two_turns() -> Conversation {
    conversation(json!([
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "r"},
        {"role": "user", "content": "b"}, {"role": "assistant", "content": "b", "reasoning_content": "s"},
    ]))
}

/// The texts, and what is said in each.
fn said(source: &str, conversation: &Conversation) -> Vec<(String, Vec<String>)> {
    let scripts = scripts(&template(source), conversation, "a.jsonl, line 1").unwrap();
    let turns = |script: &Script| script.turns.iter().map(|turn| script.text[turn.bytes.clone()].to_owned()).collect();
    scripts.iter().map(|script| (script.text.clone(), turns(script))).collect()
}

#[test]
fn a_stable_template_gives_one_text_with_all_that_follows_on_the_generation_prompt() {
    let text = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n\
                <|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n";
    let turn = "b<|im_end|>\n".to_owned();
    assert_eq!(said(CHATML, &two_turns()), [(text.to_owned(), vec![turn.clone(), turn.clone()])]);
    let ends_with_a_question = conversation(json!([
        {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"},
    ]));
    let text = "<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n";
    assert_eq!(said(CHATML, &ends_with_a_question), [(text.to_owned(), vec![turn])]);
}

#[test]
fn a_template_that_rewrites_earlier_turns_gives_a_text_for_each() {
    let expected = [
        ("U:a\nA:<think>r</think>b</s>\n".to_owned(), vec!["<think>r</think>b</s>\n".to_owned()]),
        ("U:a\nA:b</s>\nU:b\nA:<think>s</think>b</s>\n".to_owned(), vec!["<think>s</think>b</s>\n".to_owned()]),
    ];
    assert_eq!(said(THINKING, &two_turns()), expected);
}

#[test]
fn a_turn_begins_where_it_parts_from_the_generation_prompt() {
    let text = "user:a</s>assistant:b</s>user:b</s>assistant:b</s>".to_owned();
    assert_eq!(said(OPENED, &two_turns()), [(text, vec!["b</s>".to_owned(), "b</s>".to_owned()])]);
}

#[test]
fn a_template_that_contradicts_itself_is_refused() {
    let source = "{{ messages | length }}{% for m in messages %}{{ m.content }}</s>{% endfor %}";
    let error = scripts(&template(source), &two_turns(), "a.jsonl, line 1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.jsonl, line 1: the chat template writes the messages before message 2 in two ways"
    );
}

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
fn what_the_generation_prompt_begins_stays_before_a_turn_that_is_written_without() {
    let expected = [
        ("user:a</s>assistant:<think>\nb</s>".to_owned(), vec!["b</s>".to_owned()]),
        ("user:a</s>assistant:b</s>user:b</s>assistant:<think>\nb</s>".to_owned(), vec!["b</s>".to_owned()]),
    ];
    assert_eq!(said(OPENED, &two_turns()), expected, "as the model reads it when it answers");
    let tag = conversation(json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "<b>c</b>"}]));
    let expected = ("user:a</s>assistant:<think>\n<b>c</b></s>".to_owned(), vec!["<b>c</b></s>".to_owned()]);
    assert_eq!(said(OPENED, &tag), [expected], "what both begin with by chance is the turn's");
}

/// Like Mistral's: the system prompt stands in the last message if that is the user's, the tools before the user's last,
/// and nothing is written for the generation prompt.
const SYSTEM_LAST: &str = "{% set system = messages[0].content if messages[0].role == 'system' else '' %}\
    {% set turns = messages[1:] if system else messages %}{{ '<s>' }}{% for m in turns %}{% if m.role == 'user' %}\
    {% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}\
    {% if loop.last and system %}{{ '[INST] ' + system + '\n\n' + m.content + '[/INST]' }}\
    {% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}{% else %}{{ ' ' + m.content + '</s>' }}{% endif %}\
    {% endfor %}";

#[test]
fn a_turn_follows_on_what_the_model_reads_there_wherever_the_system_prompt_is_written() {
    // Each by `apply_chat_template(messages[:n], add_generation_prompt=True)` of Transformers 5.24.
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let once = conversation(json!([turn("system", "Be brief."), turn("user", "When?"), turn("assistant", "At nine.")]));
    let expected = ("<s>[INST] Be brief.\n\nWhen?[/INST] At nine.</s>".to_owned(), vec![" At nine.</s>".to_owned()]);
    assert_eq!(said(SYSTEM_LAST, &once), [expected]);
    let twice = conversation(json!([
        turn("system", "Be brief."),
        turn("user", "When?"),
        turn("assistant", "At nine."),
        turn("user", "When?"),
        turn("assistant", "At nine."),
    ]));
    let said = said(SYSTEM_LAST, &twice);
    assert_eq!(said[1].0, "<s>[INST] When?[/INST] At nine.</s>[INST] Be brief.\n\nWhen?[/INST] At nine.</s>");
    assert_eq!((said.len(), said[1].1.as_slice()), (2, &[" At nine.</s>".to_owned()][..]));
}

/// Like Gemma's: the system prompt opens the first turn of the user, and the roles must alternate.
const OPENING: &str = "{% set system = messages[0].role == 'system' %}{{ '<bos>' }}\
    {% for m in (messages[1:] if system else messages) %}\
    {% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}\
    {{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' }}\
    {% if loop.first and system %}{{ messages[0].content + '\n\n' }}{% endif %}{{ m.content | trim + '<end_of_turn>\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";

#[test]
fn turns_of_a_template_in_which_roles_must_alternate_are_found_in_one_text() {
    let turn = |role: &str, content: &str| json!({"role": role, "content": content});
    let messages =
        [turn("system", "Be brief."), turn("user", "When?"), turn("assistant", " At nine."), turn("user", "Why?")];
    let text = "<bos><start_of_turn>user\nBe brief.\n\nWhen?<end_of_turn>\n<start_of_turn>model\nAt nine.<end_of_turn>\n\
                <start_of_turn>user\nWhy?<end_of_turn>\n<start_of_turn>model\nSo.<end_of_turn>\n";
    let whole = conversation(json!([&messages[..], &[turn("assistant", "So.")]].concat()));
    let turns = ["At nine.<end_of_turn>\n", "So.<end_of_turn>\n"].map(str::to_owned).to_vec();
    assert_eq!(said(OPENING, &whole), [(text.to_owned(), turns)]);
    let twice = conversation(json!([turn("user", "a"), turn("user", "b"), turn("assistant", "c")]));
    let error = scripts(&template(OPENING), &twice, "a.jsonl, line 1").unwrap_err();
    assert!(error.to_string().ends_with("roles must alternate"), "{error}");
}

#[test]
fn a_template_that_counts_the_messages_is_read_as_it_counts_at_the_turn() {
    let source = "{{ messages | length }}{% for m in messages %}{{ m.content }}</s>{% endfor %}";
    let texts: Vec<String> = said(source, &two_turns()).into_iter().map(|(text, _)| text).collect();
    assert_eq!(texts, ["1a</s>b</s>", "3a</s>b</s>b</s>b</s>"]);
}

#[test]
fn a_template_that_contradicts_itself_is_refused() {
    let source = "{% for m in messages | reverse %}{{ m.content }}</s>{% endfor %}x{{ messages | length }}";
    let error = scripts(&template(source), &two_turns(), "a.jsonl, line 1").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.jsonl, line 1: the chat template does not write message 2 as a continuation of the messages before it"
    );
}

#[test]
fn turns_that_are_not_to_be_learned_say_so() {
    let conversation = conversation(json!([
        {"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0},
        {"role": "user", "content": "c"}, {"role": "assistant", "content": "d", "weight": 1},
    ]));
    let scripts = scripts(&template(CHATML), &conversation, "a.jsonl, line 1").unwrap();
    let learned: Vec<bool> = scripts[0].turns.iter().map(|turn| turn.is_learned).collect();
    assert_eq!(learned, [false, true]);
}

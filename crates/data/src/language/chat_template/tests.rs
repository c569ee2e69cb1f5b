//! Tests of the whole room.

use std::fs;
use std::time::Duration;

use miette::Diagnostic;
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::Place;
use crate::tokenizer::tests::bytes_dir;

pub(super) fn dir(source: &str) -> TempDir {
    let dir = bytes_dir();
    fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
    dir
}

pub(super) fn read_from(dir: &TempDir) -> Result<Option<ChatTemplate>, Error> {
    // 12 March 2025.
    ChatTemplate::from_dir(dir.path(), SystemTime::UNIX_EPOCH + Duration::from_secs(1_741_780_800))
}

fn conversation(messages: serde_json::Value, tools: Option<serde_json::Value>) -> Conversation {
    let place = Place::new(Path::new("a.jsonl"), 3);
    Conversation::read(&messages, tools.as_ref(), "messages", &place).unwrap()
}

fn render(source: &str) -> Result<String, Error> {
    let messages = json!([
        {"role": "system", "content": " Be brief. "},
        {"role": "user", "content": "hi", "name": "Ann"},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": {"b": "é<", "a": 1.0}}}]},
    ]);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    read_from(&dir(source))?.unwrap().render(&conversation(messages, Some(tools)), true)
}

fn fails(source: &str) -> (String, String) {
    let error = render(source).unwrap_err();
    (error.to_string(), error.help().expect("says what to do").to_string())
}

#[test]
fn what_templates_in_use_do_is_done() {
    for (source, expected) in [
        ("{{ bos_token }}|{{ eos_token }}|{{ pad_token }}|{{ tools is defined }}", "<s>|</s>||True"),
        ("{{ messages[0].content.strip() }}{{ messages[0]['content'] | trim | upper }}", "Be brief.BE BRIEF."),
        ("{% for m in messages[1:] %}{{ m.role[0] }}{{ loop.index0 }}{% endfor %}", "u0a1"),
        ("{{ messages[2].content }}|{{ messages[0].none_such }}|{{ none_such }}", "None||"),
        ("{{ messages[2].tool_calls[0].function.arguments | tojson }}", "{\"b\": \"é<\", \"a\": 1.0}"),
        ("{% for k, v in messages[1].items() %}{{ k }}={{ v }};{% endfor %}", "role=user;content=hi;name=Ann;"),
        ("{{ messages[1].get('name', 'x') }}{{ messages[1].get('nick', 'x') }}", "Annx"),
        ("{{ strftime_now('%d %b %Y') }}{% if not date_string is defined %}!{% endif %}", "12 Mar 2025!"),
        (
            "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% break %}{% endfor %}",
            "user",
        ),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "3"),
        (
            "{{ 'a,b'.split(',')[-1] }}{{ 'xay'.startswith('xa') }}{{ 'a\n'.rstrip('\n') }}{{ 'x' in 'xyz' }}",
            "bTrueaTrue",
        ),
        (
            "{{ messages[::-1][0].role }}{{ messages | selectattr('role', 'equalto', 'user') | list | length }}",
            "assistant1",
        ),
        ("{% if tools %}\n  {%- for t in tools %}\n{{ t.function.name }}\n{% endfor %}\n{% endif %}\n", "f\n"),
        ("a{%- generation %} b {% endgeneration -%} c", "a b c"),
        ("{{ '{\n' | indent(4, first=True) }}|{{ 'a\n\nb' | indent(2) }}", "    {\n|a\n\n  b"),
        ("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f('a') ~ f(1) }}", "<a><1>"),
        ("{{ messages[1].content is string }}{{ tools is iterable and tools is not mapping }}", "TrueTrue"),
    ] {
        assert_eq!(render(source).unwrap(), expected, "{source}");
    }
}

/// Gemma's turns, in a template of our own: no role for the system, whose words open the first turn of the user; the assistant
/// is called model; parts of a message are joined.
const TURNS: &str = "{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}
        {%- set opening = messages[0]['content'] + '\n\n' -%}
    {%- else -%}
        {%- set opening = messages[0]['content'][0]['text'] + '\n\n' -%}
    {%- endif -%}
    {%- set turns = messages[1:] -%}
{%- else -%}
    {%- set opening = '' -%}
    {%- set turns = messages -%}
{%- endif -%}
{%- for message in turns -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{ raise_exception('user and assistant speak in turn') }}
    {%- endif -%}
    {%- set role = 'model' if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (opening if loop.first else '') }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for part in message['content'] -%}
            {%- if part['type'] == 'image' -%}{{ '<start_of_image>' }}
            {%- elif part['type'] == 'text' -%}{{ part['text'] | trim }}{%- endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception('content of another kind') }}
    {%- endif -%}
    {{ '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}";

#[test]
fn turns_as_gemma_has_them_are_written_and_roles_out_of_turn_refused() {
    let template = read_from(&dir(TURNS)).unwrap().unwrap();
    let turn = |role: &str, content: serde_json::Value| json!({"role": role, "content": content});
    let render = |messages: &[serde_json::Value], prompt| {
        template.render(&conversation(json!(messages), None), prompt).map_err(|error| error.to_string())
    };
    let (system, user) = (turn("system", json!("Be brief.")), turn("user", json!(" When? \n")));
    let answer = turn("assistant", json!("At nine.\n"));
    let said = "<s><start_of_turn>user\nBe brief.\n\nWhen?<end_of_turn>\n<start_of_turn>model\n";
    assert_eq!(render(&[system.clone(), user.clone()], true).unwrap(), said);
    let whole = render(&[system, user.clone(), answer.clone()], false).unwrap();
    assert_eq!(whole, format!("{said}At nine.<end_of_turn>\n"));
    let parts = turn("user", json!([{"type": "text", "text": "And "}, {"type": "text", "text": "where?\n"}]));
    let expected = "<s><start_of_turn>user\nAnd where?<end_of_turn>\n";
    assert_eq!(render(&[parts], false).unwrap(), expected);
    for out_of_turn in [vec![answer.clone()], vec![user.clone(), user.clone()]] {
        let message = "the conversation: the chat template refuses the conversation: user and assistant speak in turn";
        assert_eq!(render(&out_of_turn, false).unwrap_err(), message);
    }
}

#[test]
fn a_template_with_an_error_says_where_it_is() {
    let dir = dir("{% for m in messages %}\n  {{ m.content + }}\n{% endfor %}");
    let error = read_from(&dir).unwrap_err();
    let message = error.to_string().replace(&dir.path().display().to_string(), "DIR");
    assert_eq!(message, "DIR/chat_template.jinja, line 2, column 18: unexpected end of variable block");
    assert!(error.help().is_some());
}

#[test]
fn what_a_template_refuses_is_said_in_its_words() {
    let (message, _) = fails("{{ raise_exception('roles must alternate') }}");
    assert_eq!(message, "the conversation: the chat template refuses the conversation: roles must alternate");
    let (message, help) = fails("\n{{ messages[0].none_such.name }}");
    assert!(
        message.starts_with("the conversation: ") && message.contains("chat_template.jinja, line 2, column 15:"),
        "{message}"
    );
    assert!(help.starts_with("the template is the checkpoint's"), "{help}");
    assert!(fails("{{ messages[0].none_such | tojson }}").0.ends_with("an undefined value cannot be written as JSON"));
    let loops = "{% for i in range(10000) %}{% for j in range(10000) %}{% endfor %}{% endfor %}";
    assert!(fails(loops).1.contains("a loop in a loop"));
}

#[test]
fn templates_are_found_where_transformers_finds_them() {
    let dir = bytes_dir();
    assert!(read_from(&dir).unwrap().is_none());
    let config = |template: serde_json::Value| {
        let config = json!({"chat_template": template, "bos_token": "<s>"}).to_string();
        fs::write(dir.path().join("tokenizer_config.json"), config).unwrap();
    };
    let (plain, with_tools) = (conversation(json!([{"role": "user", "content": "a"}]), None), json!([]));
    let with_tools = conversation(json!([{"role": "user", "content": "a"}]), Some(with_tools));
    let both = |dir: &TempDir| {
        let template = read_from(dir).unwrap().unwrap();
        (template.render(&plain, false).unwrap(), template.render(&with_tools, false).unwrap())
    };
    config(json!("one"));
    assert_eq!(both(&dir), ("one".to_owned(), "one".to_owned()));
    config(json!([{"name": "default", "template": "one"}, {"name": "tool_use", "template": "two"}]));
    assert_eq!(both(&dir), ("one".to_owned(), "two".to_owned()));
    fs::write(dir.path().join("chat_template.jinja"), "{{ bos_token }}three").unwrap();
    assert_eq!(both(&dir).1, "<s>three", "the file goes first");
    fs::create_dir(dir.path().join("additional_chat_templates")).unwrap();
    fs::write(dir.path().join("additional_chat_templates/tool_use.jinja"), "four").unwrap();
    assert_eq!(both(&dir), ("<s>three".to_owned(), "four".to_owned()));
}

#[test]
fn a_role_of_the_template_is_known() {
    let template = read_from(&dir("{% if messages[0].role == 'critic' %}{% endif %}")).unwrap().unwrap();
    assert!(template.names_role("critic") && !template.names_role("crit"));
}

proptest! {
    #[test]
    fn no_template_panics(source in "[-{}%#|\\[\\]()a-e\"' .~+*/0-9é\nifforendsetgenerationtojsonindent]{0,60}") {
        let dir = dir(&source);
        if let Ok(Some(template)) = read_from(&dir) {
            let row = conversation(json!([{"role": "user", "content": "a"}]), None);
            let _: Result<String, Error> = template.render(&row, true);
        }
    }
}

//! Tests of the whole room.

use miette::Diagnostic;
use serde_json::{Value, json};

use super::*;

fn record(value: Value) -> Record {
    let Value::Object(fields) = value else { panic!("a row is an object") };
    Record { line: 17, fields: fields.into_iter().collect() }
}

fn find(row: Value, names: Value, purpose: Purpose) -> Result<Columns, Error> {
    let names: ColumnNames = serde_json::from_value(names).unwrap();
    Columns::find(Path::new("train.jsonl"), &record(row), &names, purpose)
}

fn training(row: Value) -> Result<Columns, Error> {
    find(row, json!({}), Purpose::Training)
}

fn content(row: Value, names: Value) -> Result<Content, Error> {
    let columns = find(row.clone(), names, Purpose::Training)?;
    Ok(columns.row(Path::new("train.jsonl"), &record(row))?.content)
}

fn says(error: &Error) -> (String, String) {
    (error.to_string(), error.help().expect("every error of a column says what to do").to_string())
}

#[test]
fn the_kind_is_that_of_the_columns_that_are_there() {
    assert_eq!(content(json!({"text": "a", "id": 1}), json!({})).unwrap(), Content::Text("a".into()));
    let pair = json!({"prompt": "a", "completion": " b"});
    let read = Content::Completion { prompt: "a".into(), completion: " b".into() };
    assert_eq!(content(pair.clone(), json!({})).unwrap(), read);
    assert!(matches!(training(json!({"messages": []})).unwrap(), Columns::Messages(column) if column == "messages"));
    let prompts = find(json!({"prompt": "a"}), json!({}), Purpose::Prompts).unwrap();
    let row = prompts.row(Path::new("p.jsonl"), &record(json!({"prompt": ""}))).unwrap();
    assert_eq!(row, Row { line: 17, content: Content::Text(String::new()) });
    let beside = json!({"text": "a", "prompt": "b"});
    assert!(matches!(training(beside.clone()).unwrap(), Columns::Text(_)), "a prompt alone is no row to train on");
    assert!(find(beside, json!({}), Purpose::Prompts).is_err());
}

#[test]
fn several_kinds_need_a_key() {
    let row = json!({"text": "a", "prompt": "b", "completion": "c", "messages": []});
    let (message, help) = says(&training(row.clone()).unwrap_err());
    assert_eq!(message, "train.jsonl has columns of several kinds of rows: `text` and `prompt` and `messages`");
    assert_eq!(
        help,
        "say which is meant: `data.text = \"text\"` or `data.prompt = \"prompt\"` or `data.messages = \"messages\"`"
    );
    let names = json!({"completion": "completion"});
    assert!(matches!(content(row.clone(), names).unwrap(), Content::Completion { .. }));
    let names = json!({"text": "text", "messages": "messages"});
    let (message, _) = says(&find(row, names, Purpose::Training).unwrap_err());
    assert_eq!(
        message,
        "`data.text` and `data.messages` are both set: a row is a text, a prompt with its completion, or a conversation"
    );
}

#[test]
fn a_missing_column_names_what_may_be_meant() {
    let (message, help) = says(&training(json!({"prompt": "a", "answer": "b"})).unwrap_err());
    assert_eq!(message, "train.jsonl has no column `completion` (columns: prompt, answer)");
    assert_eq!(help, "set `data.completion = \"answer\"`");
    let (message, help) = says(&training(json!({"completion": "b"})).unwrap_err());
    assert_eq!(message, "train.jsonl has no column `prompt` (columns: completion)");
    assert_eq!(help, "no other column can be `data.prompt`; texts without a prompt are named with `data.text`");
    let (message, help) = says(&training(json!({"massages": []})).unwrap_err());
    assert_eq!(
        message,
        "train.jsonl has neither `text`, nor `prompt` and `completion`, nor `messages` (columns: massages)"
    );
    assert_eq!(help, "set `data.messages = \"massages\"`");
    assert!(says(&training(json!({"q": "a", "a": "b"})).unwrap_err()).1.contains("`data.prompt_template`"));
    let names = json!({"messages": "turns"});
    let (_, help) = says(&find(json!({"chat": [], "id": "x"}), names, Purpose::Training).unwrap_err());
    assert_eq!(help, "set `data.messages = \"chat\"`");
}

#[test]
fn templates_take_the_place_of_the_columns() {
    let names = json!({"prompt_template": "{{ q }}\n", "completion_template": " {{ a }}"});
    let read = content(json!({"q": "1+1", "a": 2}), names.clone()).unwrap();
    assert_eq!(read, Content::Completion { prompt: "1+1".into(), completion: " 2".into() });
    let (message, _) = says(&content(json!({"q": "1+1", "a": null}), names).unwrap_err());
    assert_eq!(message, "train.jsonl, line 17: `data.completion_template` gives an empty text");
    let read = content(json!({"completion": "b"}), json!({"prompt_template": "Tell a joke:"})).unwrap();
    assert_eq!(read, Content::Completion { prompt: "Tell a joke:".into(), completion: "b".into() });
}

#[test]
fn blank_texts_and_completions_are_refused_and_blank_prompts_are_not() {
    let message = |row| says(&content(row, json!({})).unwrap_err()).0;
    assert_eq!(message(json!({"text": " "})), "train.jsonl, line 17: column `text` is empty");
    assert_eq!(
        message(json!({"prompt": "a", "completion": "\n"})),
        "train.jsonl, line 17: column `completion` is empty"
    );
    assert_eq!(
        message(json!({"prompt": null, "completion": "a"})),
        "train.jsonl, line 17: column `prompt` should be a string, found null"
    );
    let read = content(json!({"prompt": "", "completion": "a"}), json!({})).unwrap();
    assert_eq!(read, Content::Completion { prompt: String::new(), completion: "a".into() });
}

#[test]
fn prompt_and_completion_may_be_lists_of_messages() {
    let (ask, say) = (json!([{"role": "user", "content": "a"}]), json!([{"role": "assistant", "content": "b"}]));
    let row = json!({"prompt": ask, "completion": say, "tools": [{"name": "f"}]});
    let Content::Conversation(read) = content(row.clone(), json!({})).unwrap() else { panic!("a conversation") };
    assert_eq!((read.messages().len(), read.is_learned(1), read.answer()), (2, true, Some("b")));
    assert_eq!(read.tools, Some(json!([{"name": "f"}])));
    let prompts = find(row.clone(), json!({}), Purpose::Prompts).unwrap();
    let Content::Conversation(read) = prompts.row(Path::new("p.jsonl"), &record(row)).unwrap().content else {
        panic!("a conversation")
    };
    assert_eq!(read.messages().len(), 1);
    // As a CSV file holds them.
    let cells = json!({"prompt": ask.to_string(), "completion": say.to_string()});
    assert!(matches!(content(cells, json!({})).unwrap(), Content::Conversation(_)));
    let texts = json!({"prompt": "[1, 2] and?", "completion": "[{\"name\": 3}]"});
    assert!(matches!(content(texts, json!({})).unwrap(), Content::Completion { .. }));
    let message = |row| says(&content(row, json!({})).unwrap_err());
    let (problem, help) = message(json!({"prompt": ask, "completion": "b"}));
    assert_eq!(problem, "train.jsonl, line 17: `prompt` is a list of messages, and `completion` is a text");
    assert_eq!(help, "give both as lists of messages, or both as texts");
    let (problem, _) = message(json!({"prompt": "a", "completion": say}));
    assert_eq!(problem, "train.jsonl, line 17: `completion` is a list of messages, and `prompt` is a text");
    let (problem, _) = message(json!({"prompt": ask, "completion": []}));
    assert_eq!(problem, "train.jsonl, line 17: `completion` holds no messages");
}

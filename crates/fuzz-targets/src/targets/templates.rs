//! Templates in Jinja's language: the chat templates of checkpoints, and those of configurations over the columns of a row.

use std::path::Path;
use std::time::UNIX_EPOCH;

use data::language::{ChatTemplate, Conversation};
use data::{Record, Template};

use super::files::with_file;
use super::{Form, Target};
use crate::corpus;

pub(super) fn targets() -> [Target; 2] {
    [
        Target { name: "chat-template", form: Form::Template, seeds: chat_templates, run: chat },
        Target { name: "text-template", form: Form::Template, seeds: text_templates, run: text },
    ]
}

fn chat_templates() -> Vec<Vec<u8>> {
    let cases = ["gemma2-lm", "qwen2-lm-sharded", "gemma3-lm", "qwen3-lm"];
    let of_case = |name: &&str| std::fs::read(corpus::case(name).join("model/chat_template.jinja")).ok();
    let own = corpus::file("models/tiny-decoder/chat_template.jinja");
    cases.iter().filter_map(of_case).chain([own]).collect()
}

fn text_templates() -> Vec<Vec<u8>> {
    let templates = [
        "{{ title }}: {{ body }}",
        "{% if title %}{{ title | upper }}{% else %}none{% endif %} {{ row['body'][:20] }}",
        "{% for word in body.split() %}{{ loop.index }}. {{ word }}\n{% endfor %}{{ '%05.1f' % score }} {{ tags | join(', ') }}",
    ];
    templates.map(|template| template.as_bytes().to_vec()).to_vec()
}

fn chat(input: &[u8]) {
    with_file("chat_template.jinja", input, |file| {
        let directory = file.parent().unwrap_or(file);
        if let Ok(Some(template)) = ChatTemplate::from_dir(directory, UNIX_EPOCH) {
            let mut conversation = Conversation::default();
            for (role, content) in [("system", "be brief"), ("user", "a\nb"), ("assistant", "c"), ("user", "")] {
                conversation.push(role, content);
            }
            let _ = template.render(&conversation, true);
            let _ = template.render(&conversation, false);
        }
    });
}

fn text(input: &[u8]) {
    let Ok(template) = Template::new("data.text_template", &String::from_utf8_lossy(input)) else { return };
    let _ = template.columns();
    let row =
        serde_json::json!({"title": "A film", "body": "long and\nfine", "score": 2.5, "tags": ["a", {"b": null}]});
    let fields = row.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect();
    let record = Record { line: 1, fields };
    let _ = template.check(Path::new("rows.jsonl"), &record);
    let _ = template.render(Path::new("rows.jsonl"), &record);
}

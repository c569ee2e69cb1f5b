//! Conversations as rows: which turns are learned, what a chat template that looks at the last message is asked for, and
//! prompts that are lists of messages or empty.

use serde_json::{Value, json};

use crate::project::Project;

const CONFIG: &str =
    "[model]\npath = \"base\"\ntask = \"causal-lm\"\n[data]\ntrain = \"rows.jsonl\"\nmax_length = 120\n";

fn project(case: &str, rows: &[Value]) -> Project {
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    Project::new().copy(&format!("{case}/model"), "base").file("rows.jsonl", rows).file("run.toml", CONFIG)
}

fn turn(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

/// Text and targets of the first example.
fn example(project: &Project) -> (String, String) {
    let example =
        project.run(&["train", "run.toml", "--dry-run", "--json", "--quiet"]).done().document()["example"].clone();
    let text = |key: &str| -> String {
        let tokens: Vec<String> = serde_json::from_value(example[key].clone()).expect("tokens");
        tokens.concat().replace('\u{120}', " ").replace('\u{10a}', "\n")
    };
    (text("tokens"), text("targets"))
}

/// Two rows, each a prompt of messages with its completion.
fn apart() -> [Value; 2] {
    [
        json!({
            "prompt": [turn("system", "Be brief."), turn("user", "When?")], "completion": [turn("assistant", "At nine.")],
        }),
        json!({
            "prompt": [turn("user", "a"), turn("assistant", "b"), turn("user", "So?")],
            "completion": [turn("assistant", "Never.")],
        }),
    ]
}

/// The same rows as conversations.
fn together() -> [Value; 2] {
    let mut passed_over = turn("assistant", "b");
    passed_over["weight"] = 0.into();
    [
        json!({ "messages": [turn("system", "Be brief."), turn("user", "When?"), turn("assistant", "At nine.")] }),
        json!({ "messages": [turn("user", "a"), passed_over, turn("user", "So?"), turn("assistant", "Never.")] }),
    ]
}

#[test]
fn a_prompt_of_messages_is_the_conversation_before_its_completion() {
    let (apart, together) = (project("qwen3-lm", &apart()), project("qwen3-lm", &together()));
    let text = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhen?<|im_end|>\n<|im_start|>assistant\n\
                At nine.<|im_end|>\n";
    assert_eq!(example(&apart), (text.to_owned(), "At nine.<|im_end|>\n".to_owned()));
    for arguments in [
        &["eval", "--model", "base", "--data", "rows.jsonl", "--json"][..],
        &["generate", "--model", "base", "--input", "rows.jsonl", "--max-new-tokens", "4"],
    ] {
        assert_eq!(apart.run(arguments).done().stdout, together.run(arguments).done().stdout);
    }
}

#[test]
fn init_names_the_columns_of_messages() {
    let rows: Vec<Value> = (0..9).flat_map(|_| apart()).collect();
    let project = project("qwen3-lm", &rows);
    let written = project.run(&["init", "rows.jsonl", "--model", "base", "-o", "new.toml"]).done();
    assert!(written.stderr.contains("prompt       prompt: by its name, lists of messages\n"), "{}", written.stderr);
    let config = project.read("new.toml");
    assert!(config.contains("\nprompt = \"prompt\"\ncompletion = \"completion\"\n"), "{config}");
    project.run(&["train", "new.toml", "--dry-run"]).done();
}

#[test]
fn lists_beside_texts_are_refused() {
    let row = json!({ "prompt": [turn("user", "a")], "completion": "b" });
    project("qwen3-lm", &[row]).run(&["train", "run.toml", "--dry-run"]).refused(
        "error: [DIR]/rows.jsonl, line 1: `prompt` is a list of messages, and `completion` is a text\n\
         help: give both as lists of messages, or both as texts",
    );
}

#[test]
fn a_turn_of_weight_0_is_no_target_and_other_weights_are_refused() {
    let of = |weight: Value| {
        let mut answer = turn("assistant", "No idea.");
        answer["weight"] = weight;
        let messages = [turn("user", "When?"), answer, turn("user", "Look."), turn("assistant", "At nine.")];
        project("qwen3-lm", &[json!({ "messages": messages })])
    };
    assert_eq!(example(&of(json!(0))).1, "At nine.<|im_end|>\n");
    assert_eq!(example(&of(json!(1))).1, "No idea.<|im_end|>\nAt nine.<|im_end|>\n");
    of(json!(0.5)).run(&["train", "run.toml", "--dry-run"]).refused(
        "error: [DIR]/rows.jsonl, line 1: `messages`: `weight` of message 2 is 0.5, expected 0 or 1\n\
         help: write 0 for a message that is not to be learned, 1 for others, or leave the key out",
    );
}

#[test]
fn a_field_that_nobody_reads_is_named() {
    let mut asked = turn("user", "When?");
    asked["mood"] = "curious".into();
    let project = project("qwen3-lm", &[json!({ "messages": [asked, turn("assistant", "At nine.")] })]);
    let plan = project.run(&["train", "run.toml", "--dry-run", "--json", "--quiet"]).done().document();
    let finding = &plan["findings"][0];
    assert_eq!(finding["kind"], "unread_field");
    let message = finding["message"].as_str().expect("a message");
    assert!(
        message.ends_with("has `mood`, which neither kindling nor the model's chat template reads (line 1)"),
        "{message}"
    );
}

/// The system prompt stands in the last message if that is the user's, and nothing is written for the generation prompt.
const SYSTEM_LAST: &str = "{{- bos_token }}{% set system = messages[0].content if messages[0].role == 'system' else '' %}\
    {% for m in messages %}{% if m.role == 'user' %}[ASK]{% if loop.last and system %}{{ system + '\n' }}{% endif %}\
    {{ m.content }}[/ASK]{% elif m.role == 'assistant' %}{{ m.content + eos_token }}{% endif %}{% endfor %}";

#[test]
fn a_turn_is_read_as_the_template_writes_the_messages_before_it() {
    // By `apply_chat_template` of Transformers 5.24 for the messages before each turn.
    let project = project("llama-lm", &together()).file("base/chat_template.jinja", SYSTEM_LAST);
    let text = "<|begin_of_text|>[ASK]Be brief.\nWhen?[/ASK]At nine.<|end_of_text|>";
    assert_eq!(example(&project), (text.to_owned(), "At nine.<|end_of_text|>".to_owned()));
    let generated = |data: &Project| {
        let arguments = ["generate", "--model", "base", "--input", "rows.jsonl", "--max-new-tokens", "4"];
        data.run(&arguments).done().stdout
    };
    let with_turn = generated(&project);
    let asked = json!({ "messages": [turn("system", "Be brief."), turn("user", "When?")] });
    assert_eq!(with_turn.lines().next(), generated(&project.file("rows.jsonl", format!("{asked}\n"))).lines().next());
}

#[test]
fn a_text_for_a_model_of_conversations_is_said_to_be_no_message() {
    const NOTE: &str = "it was trained on conversations, and a text is continued as it is: `--chat` and rows of messages go through the \
                        chat template\n";
    let row = json!({ "messages": [turn("user", "When?"), turn("assistant", "At nine.")] });
    let project = project("llama-lm", &[row]).file("base/chat_template.jinja", SYSTEM_LAST);
    project.run(&["train", "run.toml", "--quiet", "--set", "train.max_steps=1"]).done();
    let said = |input: &[&str]| {
        let command = ["generate", "--run", "runs/run", "--max-new-tokens", "2"];
        project.run(&[&command, input].concat()).done().stderr
    };
    assert!(said(&["--prompt", "When?"]).contains(NOTE));
    assert!(!said(&["--input", "rows.jsonl"]).contains(NOTE));
    let command = ["generate", "--run", "runs/run", "--max-new-tokens", "2"];
    let said = project.run_with_input(&command, "When?\nWhere?\n").done().stderr;
    assert_eq!(said.matches(NOTE).count(), 1, "{said}");
}

#[test]
fn an_empty_prompt_begins_with_the_first_token_of_the_checkpoint() {
    let without = project("gpt2-lm", &[]).replace("base/tokenizer_config.json", "\"bos_token\"", "\"was_bos_token\"");
    let empty = ["generate", "--model", "base", "--prompt", "", "--max-new-tokens", "3"];
    // Its token 0 is also the text `<|endoftext|>`.
    let named = ["generate", "--model", "base", "--prompt", "<|endoftext|>", "--max-new-tokens", "3"];
    assert_eq!(without.run(&empty).done().stdout, without.run(&named).done().stdout);
    let nowhere = without.json("base/config.json", "bos_token_id", Value::Null).json(
        "base/generation_config.json",
        "bos_token_id",
        Value::Null,
    );
    nowhere.run(&empty).refused(
        "error: `--prompt`: the prompt is empty, and neither the tokenizer nor config.json has a token that begins a text\n\
         help: give it a prompt, for the first token is predicted from those before it; or set `bos_token_id` in config.json",
    );
}

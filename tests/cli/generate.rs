//! `kindling generate`: what it writes, alone and in batches, and what it refuses.

use serde_json::{Value, json};

use crate::project::Project;

/// A decoder with PEFT's adapter for it, and the prompts whose greedy continuations are known.
fn project(case: &str) -> (Project, Vec<Vec<u32>>) {
    let project = Project::new()
        .copy(&format!("{case}/model"), "base")
        .copy(&format!("{case}/adapter"), "adapter")
        .copy(&format!("{case}/data.jsonl"), "data.jsonl")
        .copy(&format!("{case}/expected.json"), "expected.json");
    let expected: Value = serde_json::from_str(&project.read("expected.json")).unwrap();
    let cases = expected["adapter"]["generate"].as_array().unwrap();
    let greedy = cases.iter().map(|case| serde_json::from_value(case["greedy_ids"].clone()).unwrap()).collect();
    let first: String = project.read("data.jsonl").lines().take(cases.len()).map(|line| format!("{line}\n")).collect();
    (project.file("prompts.jsonl", first), greedy)
}

const OF: [&str; 5] = ["generate", "--model", "base", "--adapter", "adapter"];

fn ids(lines: &[Value]) -> Vec<Vec<u32>> {
    lines.iter().map(|line| serde_json::from_value(line["token_ids"].clone()).unwrap()).collect()
}

#[test]
fn greedy_texts_are_those_of_transformers_with_prompts_and_with_messages() {
    for case in ["gpt2-lm", "llama-lm", "qwen3-lm"] {
        let (project, greedy) = project(case);
        let arguments = [&OF[..], &["--input", "prompts.jsonl", "--max-new-tokens", "12"]].concat();
        let lines = project.run(&arguments).done().lines();
        assert_eq!(ids(&lines), greedy, "{case}");
        for (line, ids) in lines.iter().zip(&greedy) {
            let reason = if ids.len() < 12 { "stop" } else { "length" };
            assert_eq!(line["finish_reason"], reason, "{case}");
        }
        let row: Value = serde_json::from_str(project.read("prompts.jsonl").lines().next().unwrap()).unwrap();
        if let Some(prompt) = row["prompt"].as_str() {
            let alone = [&OF[..], &["--prompt", prompt, "--max-new-tokens", "12"]].concat();
            assert_eq!(ids(&project.run(&alone).done().lines()), greedy[..1], "{case}");
        }
    }
}

#[test]
fn what_is_drawn_depends_on_seed_row_and_token_alone() {
    let (project, _) = project("llama-lm");
    let draw = |more: &[&str]| {
        let sampled = ["--temperature", "1", "--top-p", "0.9", "--max-new-tokens", "10"];
        project.run(&[&OF[..], &sampled, more].concat()).done().stdout
    };
    let file = draw(&["--input", "prompts.jsonl"]);
    assert_eq!(file, draw(&["--input", "prompts.jsonl"]), "the same again");
    assert_ne!(file, draw(&["--input", "prompts.jsonl", "--seed", "7"]));
    // Row 0 alone, and as the first of several samples.
    let row: Value = serde_json::from_str(project.read("prompts.jsonl").lines().next().unwrap()).unwrap();
    let prompt = row["prompt"].as_str().unwrap();
    let first = file.lines().next().unwrap();
    assert_eq!(draw(&["--prompt", prompt]).lines().collect::<Vec<_>>(), [first]);
    let samples = draw(&["--prompt", prompt, "--num-samples", "3"]);
    assert_eq!(samples.lines().next(), Some(first));
    assert_eq!(samples.lines().count(), 3);
    assert_ne!(samples.lines().nth(1), Some(first), "another row draws anew");
}

#[test]
fn a_stop_string_ends_a_text_before_it() {
    let (project, _) = project("gpt2-lm");
    let written = |more: &[&str]| {
        let arguments = [&OF[..], &["--prompt", "the", "--max-new-tokens", "12", "--json"], more].concat();
        project.run(&arguments).done().lines().remove(0)
    };
    let whole = written(&[])["text"].as_str().unwrap().to_string();
    // Its second to fourth characters, which lie in whatever tokens they lie in.
    let characters: Vec<char> = whole.chars().collect();
    let stop: String = characters[1..4].iter().collect();
    let cut = written(&["--stop", &stop]);
    assert_eq!(cut["text"].as_str().unwrap(), whole.split(&stop).next().unwrap());
    assert_eq!(cut["finish_reason"], "stop");
}

#[test]
fn a_conversation_is_kept_begun_anew_and_saved() {
    let (project, _) = project("qwen3-lm");
    let arguments = [&OF[..], &["--chat", "--max-new-tokens", "6"]].concat();
    let ran = project
        .run_with_input(&arguments, "hello\n/save one.json\nagain\n/reset\nhello\n/save two.json\n/sav\n")
        .done();
    let messages = |file: &str| serde_json::from_str::<Value>(&project.read(file)).unwrap()["messages"].clone();
    assert_eq!(messages("one.json"), messages("two.json"), "after a reset the first turn is the first again");
    assert_eq!(messages("one.json")[0], json!({ "role": "user", "content": "hello" }));
    assert!(ran.stderr.contains("warning: there is no `/sav`"), "{}", ran.stderr);
}

#[test]
fn a_conversation_without_a_word_is_not_saved() {
    let (project, _) = project("qwen3-lm");
    let chat = [&OF[..], &["--chat", "--max-new-tokens", "6"]].concat();
    let told = [&chat[..], &["--system", "Be brief."]].concat();
    for (arguments, said) in [(&chat, "/save empty.json\n"), (&told, "hello\n/reset\n/save empty.json\n")] {
        let ran = project.run_with_input(arguments, said).done();
        assert!(ran.stderr.contains("warning: nothing was said yet: there is nothing to save\n"), "{}", ran.stderr);
        assert!(!project.path("empty.json").exists());
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    let (project, _) = project("gpt2-lm");
    let long = "the ".repeat(200);
    let tokens = |more: &[&str]| project.run(&[&["generate", "--model", "base"], more].concat());
    tokens(&["--prompt", "the", "--top-p", "0.9"])
        .refused("error: `--top-p` has no effect at a temperature of 0\nhelp: add `--temperature 1`, or leave it out");
    tokens(&["--prompt", "the", "--temperature", "-1"]).refused(
        "error: the temperature is -1, expected 0 or more\n\
         help: 0 always takes the most probable token, 1 draws from the model's own distribution",
    );
    for (option, value, name) in [
        ("--top-k", "0", "top-k"),
        ("--top-p", "2", "top-p"),
        ("--min-p", "-1", "min-p"),
        ("--repetition-penalty", "0", "the repetition penalty"),
    ] {
        let refused = tokens(&["--prompt", "the", "--temperature", "1", option, value]);
        assert_eq!(refused.status, Some(2), "{option}");
        let expected = format!("error: {name} is {value}, expected ");
        assert!(refused.stderr.starts_with(&expected), "{}", refused.stderr);
    }
    tokens(&["--prompt", "the", "--stop", ".", "--stop", ""])
        .refused("error: `--stop` is empty\nhelp: name the text before which to stop, or leave the option out");
    tokens(&["--chat"]).refused(
        "error: the model has no chat template\n\
         help: use a model that was taught to chat, or put `chat_template.jinja` beside its tokenizer; `--prompt` needs none",
    );
    let refused = tokens(&["--prompt", &long]);
    assert_eq!(refused.status, Some(2));
    assert!(refused.stderr.contains(" too many: the model has 128 positions"), "{}", refused.stderr);
    let refused = tokens(&["--prompt", "t", "--max-new-tokens", "128"]);
    assert!(refused.stderr.contains(" has 1 token; with 128 new ones that is 1 too many"), "{}", refused.stderr);
    project.run(&["generate", "--model", "bert", "--prompt", "a"]).refused(
        "error: bert/config.json: a model of type `bert` has no language-model head\n\
         help: it can have a classification head, a token-classification head or a masked-language-model head: choose \
         another `model.task` or another model",
    );
}

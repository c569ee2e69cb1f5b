//! What reaches a terminal: a text of somebody else's must not command it. A pipe keeps the bytes.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::project::Project;

const CLIPBOARD: &str = "\u{1b}]52;c;cm0gLXJm\u{7}";

/// What the command sends to a terminal, by `script` of util-linux; `None` where there is none.
fn in_a_terminal(project: &Project, arguments: &[&str]) -> Option<String> {
    let version = Command::new("script").arg("--version").output().ok()?;
    if !String::from_utf8_lossy(&version.stdout).contains("util-linux") {
        return None;
    }
    let words: Vec<String> = [env!("CARGO_BIN_EXE_kindling")]
        .iter()
        .chain(arguments)
        .map(|word| format!("'{}'", word.replace('\'', r"'\''")))
        .collect();
    let status = Command::new("script")
        .args(["--quiet", "--command", &words.join(" "), "typescript"])
        .current_dir(project.path(""))
        .env("TERM", "xterm")
        .env("HF_HUB_OFFLINE", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let sent = String::from_utf8_lossy(&std::fs::read(project.path("typescript")).unwrap()).into_owned();
    // The command itself is the first line of a typescript.
    Some(sent.split_once('\n').map_or(String::new(), |(_, sent)| sent.to_string()))
}

/// What is left of the text once colours and the sequences of progress bars are gone.
fn foreign(sent: &str) -> Vec<&str> {
    let sequences = sent.split('\u{1b}').skip(1);
    let is_ours = |sequence: &str| {
        let Some(rest) = sequence.strip_prefix('[') else { return false };
        let end = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '?');
        end.starts_with(['m', 'A', 'B', 'G', 'J', 'K', 'h', 'l'])
    };
    sequences.filter(|sequence| !is_ours(sequence)).collect()
}

fn project() -> Project {
    let label = format!("bad{CLIPBOARD}");
    Project::with_adapter()
        .file("in.jsonl", json!({ "text": format!("{CLIPBOARD} good\u{9b}2J\u{202e}") }).to_string())
        .json("bert/config.json", "id2label", json!({"0": label, "1": "b\u{1b}[2J", "2": "c\u{1b}[2J"}))
}

#[test]
fn texts_and_labels_of_others_are_shown_and_not_obeyed() {
    let project = project();
    let of = ["--model", "bert", "--adapter", "adapter"];
    for arguments in [
        &["predict", "--input", "in.jsonl"][..],
        &["predict", "--input", "in.jsonl", "--json"],
        &["predict", "--input", "in.jsonl", "--columns", "text", "--json"],
        &["eval", "--data", "train.jsonl"],
        &["eval", "--data", "train.jsonl", "--json"],
    ] {
        let Some(sent) = in_a_terminal(&project, &[arguments, &of[..]].concat()) else { return };
        assert_eq!(foreign(&sent), Vec::<&str>::new(), "{arguments:?}");
        assert!(!sent.contains(['\u{7}', '\u{9b}', '\u{202e}']), "{sent:?}");
        assert!(sent.contains("\\u001b"), "{arguments:?} shows what was there: {sent:?}");
    }
    let project = project.copy("gpt2-lm/model", "base");
    let prompt = format!("{CLIPBOARD} the");
    let generate = ["generate", "--model", "base", "--max-new-tokens", "2", "--prompt", &prompt];
    let Some(sent) = in_a_terminal(&project, &generate) else { return };
    assert!(foreign(&sent).is_empty() && sent.contains("\\u001b]52;c;cm0gLXJm\\u0007 the"), "{sent:?}");
    let Some(sent) = in_a_terminal(&project, &["inspect", "bert"]) else { return };
    assert!(foreign(&sent).is_empty() && sent.contains("\\u001b]52;c;cm0gLXJm\\u0007"), "{sent:?}");
}

#[test]
fn messages_have_no_control_characters_of_others_anywhere() {
    let project =
        project().json("adapter/adapter_config.json", "base_model_name_or_path", json!(format!("/x{CLIPBOARD}")));
    let name = format!("{CLIPBOARD}.csv");
    for arguments in [
        &["predict", "--adapter", "adapter", "x"][..],
        &["predict", "--model", "bert", "--input", &name],
        &["predict", "--model", "bert", "--columns", &name, "x"],
        &["predict", "--model", "bert", &format!("--{CLIPBOARD}")],
        &["train", "run.toml", "--set", &name],
        &[&name],
    ] {
        let ran = project.run(arguments);
        assert_eq!(ran.status, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("\\u001b]52;c;cm0gLXJm\\u0007"), "{:?}", ran.stderr);
        assert!(!ran.stderr.contains(['\u{1b}', '\u{7}']), "{:?}", ran.stderr);
    }
}

#[test]
fn a_pipe_and_a_file_keep_the_bytes() {
    let project = project();
    let of = ["predict", "--model", "bert", "--adapter", "adapter", "--input", "in.jsonl", "--columns", "text"];
    let line = project.run(&of).done().lines().remove(0);
    assert_eq!(line["text"], json!(format!("{CLIPBOARD} good\u{9b}2J\u{202e}")));
    project.run(&[&of[..], &["--output", "out.csv"]].concat()).done();
    assert!(project.read("out.csv").contains(CLIPBOARD));
}

#[test]
fn the_files_of_a_run_that_people_read_have_none_either() {
    let project = project();
    project.train(&[]).done();
    for file in ["run/adapter/README.md", "run/train.log"] {
        let text = project.read(file);
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{file}: {text:?}");
    }
    assert!(project.read("run/adapter/README.md").contains("\\u001b]52;c;cm0gLXJm\\u0007"));
}

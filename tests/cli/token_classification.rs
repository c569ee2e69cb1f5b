//! Token classification: words with tags of JSON lines and CoNLL files, and texts with entities, trained and scored.

use serde_json::{Value, json};

use crate::project::Project;

const TASK: &str = "path = \"bert\"\ntask = \"token-classification\"\n";

/// A BERT with a trained head for five tags in `bert/`, rows of words in `train.jsonl`.
fn project() -> Project {
    Project::new()
        .copy("bert-tokcls/model", "bert")
        .copy("bert-tokcls/data.jsonl", "train.jsonl")
        .replace("run.toml", "path = \"bert\"\n", TASK)
        .config("learning_rate = 1e-2\neval_every = 1")
}

fn validated(project: Project, train: &str, valid: &str) -> Project {
    let files = format!("train = \"{train}\"\nvalid = \"{valid}\"\n");
    project.replace("run.toml", "train = \"train.jsonl\"\n", &files)
}

fn evaluation(project: &Project, data: &str, arguments: &[&str]) -> Value {
    project.run(&[&["eval", "--json", "--data", data, "--model", "bert"], arguments].concat()).done().document()
}

/// The rows of `train.jsonl` as a CoNLL file.
fn conll(project: &Project) -> String {
    let sentence = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let word = |n: usize| format!("{} {}\n", row["tokens"][n].as_str().unwrap(), row["tags"][n].as_str().unwrap());
        (0..row["tokens"].as_array().unwrap().len()).map(word).collect::<String>()
    };
    project.read("train.jsonl").lines().map(sentence).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_best_adapter_is_the_one_with_the_highest_f1_of_entities() {
    let project = validated(project(), "train.jsonl", "train.jsonl");
    project.train(&[]).done();
    let lines: Vec<Value> =
        project.read("run/metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let scores: Vec<f64> =
        lines.iter().filter(|line| line["event"] == "eval").map(|line| line["f1"].as_f64().unwrap()).collect();
    let best = scores.iter().copied().fold(0.0, f64::max);
    let adapted = evaluation(&project, "train.jsonl", &["--adapter", "run/adapter"]);
    assert_eq!(adapted["f1"], best);
    for score in ["precision", "recall", "token_accuracy"] {
        assert!((0.0..=1.0).contains(&adapted[score].as_f64().unwrap()), "{score}");
    }
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    assert_eq!(sidecar["task"], "token-classification");
    assert_eq!((&sidecar["scheme"], &sidecar["columns"]["tags"]), (&json!("iob2"), &json!("tags")));
    let peft: Value = serde_json::from_str(&project.read("run/adapter/adapter_config.json")).unwrap();
    assert_eq!(peft["task_type"], "TOKEN_CLS");

    project.run(&["merge", "--model", "bert", "--adapter", "run/adapter", "--output", "merged"]).done();
    let merged = project.run(&["eval", "--json", "--data", "train.jsonl", "--model", "merged"]).done().document();
    assert_eq!(merged["f1"], best);
}

#[test]
fn a_conll_file_says_the_same_as_rows_of_words() {
    let project = project();
    let file = conll(&project);
    let project = project.file("train.conll", file);
    let (rows, words) = (evaluation(&project, "train.jsonl", &[]), evaluation(&project, "train.conll", &[]));
    assert_eq!((&rows["loss"], &rows["f1"]), (&words["loss"], &words["f1"]));
    project.train(&["--set", "data.train=train.conll", "--set", "output_dir=words"]).done();
    project.train(&[]).done();
    let adapter = |run: &str| std::fs::read(project.path(run).join("adapter/adapter_model.safetensors")).unwrap();
    assert!(adapter("words") == adapter("run"), "the same rows, the same adapter");
}

#[test]
fn each_example_has_the_tags_of_its_words_and_logits_for_each() {
    let project = project();
    evaluation(&project, "train.jsonl", &["--per-example", "each.jsonl", "--logits"]);
    let read = |name: &str| -> Vec<Value> {
        project.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for (row, found) in read("train.jsonl").iter().zip(read("each.jsonl")) {
        let words = row["tokens"].as_array().unwrap().len();
        assert_eq!(found["tags"], row["tags"]);
        assert_eq!(found["predicted"].as_array().unwrap().len(), words);
        assert_eq!(found["tokens"], words);
        let logits = found["logits"].as_array().unwrap();
        assert!(logits.len() == words && logits.iter().all(|row| row.as_array().unwrap().len() == 5));
    }
}

/// A base without a head for tags, so that they are found in the data.
fn from_data(rows: &str) -> Project {
    Project::new().copy("bert-mlm/model", "bert").file("train.jsonl", rows).replace(
        "run.toml",
        "path = \"bert\"\n",
        TASK,
    )
}

#[test]
fn entities_in_texts_become_tags() {
    let rows = concat!(
        r#"{"text": "a quick story", "entities": []}"#,
        "\n",
        r#"{"text": "a quick story today", "entities": [{"start": 2, "end": 13, "label": "WORK"}]}"#,
        "\n",
        r#"{"text": "today a movie", "entities": [{"start": 0, "end": 5, "label": "DATE"}]}"#,
        "\n"
    );
    let project = from_data(rows);
    project.train(&[]).done();
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    assert_eq!(sidecar["labels"], json!(["B-DATE", "B-WORK", "I-DATE", "I-WORK", "O"]));
    evaluation(&project, "train.jsonl", &["--adapter", "run/adapter", "--per-example", "each.jsonl"]);
    let tags: Vec<Value> = project
        .read("each.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["tags"].clone())
        .collect();
    assert_eq!(tags[..2], [json!(["O", "O", "O"]), json!(["O", "B-WORK", "I-WORK", "O"])]);

    // The names of the classes say the scheme.
    let labels = r#"model.labels=["O", "B-WORK", "I-WORK", "E-WORK", "S-WORK", "B-DATE", "E-DATE", "S-DATE"]"#;
    project.train(&["--set", labels, "--set", "output_dir=iobes"]).done();
    evaluation(&project, "train.jsonl", &["--adapter", "iobes/adapter", "--per-example", "each.jsonl"]);
    let last: Value = serde_json::from_str(project.read("each.jsonl").lines().last().unwrap()).unwrap();
    assert_eq!(last["tags"], json!(["S-DATE", "O", "O"]));
    let labels = r#"model.labels=["O", "B-WORK", "I-WORK"]"#;
    project
        .train(&["--set", labels, "--set", "output_dir=other"])
        .refused("error: [DIR]/train.jsonl, line 3: unknown label `DATE`\nhelp: known: WORK");
}

#[test]
fn a_tag_that_is_no_class_and_tags_of_no_scheme_are_refused() {
    let rows = "{\"tokens\": [\"a\", \"quick\"], \"tags\": [\"O\", \"B-PRE\"]}\n";
    project()
        .file("train.jsonl", rows)
        .train(&[])
        .refused("error: [DIR]/train.jsonl, line 1: unknown label `B-PRE`\nhelp: did you mean `B-PER`?");
    let rows = "{\"tokens\": [\"a\", \"quick\", \"story\"], \"tags\": [\"B-X\", \"I-X\", \"0\"]}\n";
    from_data(rows).train(&[]).refused(
        "error: [DIR]/train.jsonl, line 1: the tag `0` has no prefix, which most tags have\n\
         help: did you mean the letter `O`?",
    );
}

#[test]
fn words_and_texts_are_answered_with_tags_and_entities() {
    let project = project();
    let predict =
        |arguments: &[&str]| project.run(&[&["predict", "--model", "bert"], arguments].concat()).done().lines();
    evaluation(&project, "train.jsonl", &["--per-example", "each.jsonl"]);
    let answers = predict(&["--input", "train.jsonl"]);
    let each: Vec<Value> = project.read("each.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), each.len());
    let mut entities = 0;
    for (answer, scored) in answers.iter().zip(&each) {
        assert_eq!(answer["tags"], scored["predicted"], "as `eval` finds them");
        let text: Vec<char> = scored["text"].as_str().unwrap().chars().collect();
        for entity in answer["entities"].as_array().unwrap() {
            let at = |key: &str| entity[key].as_u64().unwrap() as usize;
            assert_eq!(entity["text"], json!(text[at("start")..at("end")].iter().collect::<String>()));
            assert!(["PER", "LOC"].contains(&entity["label"].as_str().unwrap()));
            assert!((0.2..=1.0).contains(&entity["score"].as_f64().unwrap()));
            entities += 1;
        }
    }
    assert!(entities > 0);

    let text = predict(&["always deep Café story movie"]);
    assert_eq!((&text[0]["entities"], &text[0]["tags"]), (&answers[0]["entities"], &answers[0]["tags"]));
}

#[test]
fn long_rows_are_answered_in_windows() {
    let project = project().file("long.jsonl", json!({ "tokens": vec!["story"; 50] }).to_string());
    let answers = |length: &str| {
        let arguments = ["predict", "--model", "bert", "--input", "long.jsonl", "--set", length];
        let ran = project.run(&arguments).done();
        ran.lines()[0]["tags"].as_array().unwrap().len()
    };
    assert_eq!(answers("data.max_length=8"), 50);
    assert_eq!(answers("data.max_length=64"), 50);
}

#[test]
fn a_table_has_entities_as_json() {
    let project = project();
    project.run(&["predict", "--model", "bert", "--input", "train.jsonl", "--columns", "", "--output", "a.csv"]).done();
    let table = project.read("a.csv");
    assert_eq!(table.lines().next(), Some("entities,tags"));
    assert!(table.lines().nth(1).unwrap().contains("\"\"label\"\":"), "{table}");
}

#[test]
fn a_format_can_be_named_for_words_a_line() {
    let project = project();
    let file = conll(&project);
    let project = project.file("words.txt", &*file).file("words.conll", &*file);
    let arguments = ["predict", "--model", "bert", "--input-format", "conll"];
    let expected = project.run(&["predict", "--model", "bert", "--input", "words.conll"]).done().lines();
    assert_eq!(expected.len(), project.read("train.jsonl").lines().count());
    assert_eq!(project.run(&[&arguments[..], &["--input", "words.txt"]].concat()).done().lines(), expected);
    assert_eq!(project.run_with_input(&arguments, file).done().lines(), expected);
}

#[test]
fn words_without_their_tags_and_files_without_the_columns_are_refused() {
    let refused = |name: &str, rows: &str, message: &str| {
        let data = format!("data.train={name}");
        project().file(name, rows).train(&["--set", &data]).refused(message);
    };
    refused(
        "short.jsonl",
        "{\"tokens\": [\"a\"], \"tags\": [\"O\"]}\n{\"tokens\": [\"a\", \"quick\"], \"tags\": [\"O\"]}\n",
        "error: [DIR]/short.jsonl, line 2: 2 words, but 1 tag\n\
         help: give each word of the row a tag, `O` where it belongs to no entity",
    );
    refused(
        "words.jsonl",
        "{\"words\": [\"a\"], \"tags\": [\"O\"]}\n",
        "error: [DIR]/words.jsonl has no column `tokens` (columns: words, tags)\n\
         help: set `data.tokens = \"words\"`",
    );
}

#[test]
fn classes_of_words_are_not_counted_as_those_of_rows() {
    let ran = project().run(&["train", "run.toml", "--dry-run"]).done();
    assert!(!ran.stderr.contains("fewer than 5 rows"), "{}", ran.stderr);
}

#[test]
fn init_writes_a_configuration_for_words_with_tags() {
    let project = project();
    let ran = project.run(&["init", "train.jsonl", "--model", "bert"]).done();
    let said = "tokens       tokens: lists of words\n\
                tags         tags: as many in a row as words\n\
                task         token-classification: words have tags, or texts entities\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let config = project.read("train.toml");
    for line in ["\ntask = \"token-classification\"\n", "\ntokens = \"tokens\"\n", "\ntags = \"tags\"\n"] {
        assert!(config.contains(line), "{config}");
    }
    assert!(!config.contains("the same share of each class"), "{config}");
    let short = ["--set", "train.max_steps=2", "--set", "output_dir=short", "--quiet"];
    project.run(&[&["train", "train.toml"], &short[..]].concat()).done();
    assert!(project.path("short/adapter/adapter_model.safetensors").is_file());

    let file = conll(&project);
    let project = project.file("words.conll", file);
    let document = project.run(&["init", "words.conll", "--model", "bert", "--json"]).done().document();
    assert_eq!((&document["task"], &document["tags"]), (&json!("token-classification"), &json!("tags")));
}

#[test]
fn init_writes_a_configuration_for_texts_with_entities() {
    let row = |n: usize| {
        let entity = json!({"start": 2, "end": 7, "label": "WORK"});
        json!({"body": format!("a quick story about today and number {n}"), "spans": [entity]}).to_string() + "\n"
    };
    let project = from_data(&(0..24).map(row).collect::<String>());
    let document = project.run(&["init", "train.jsonl", "--model", "bert", "--json"]).done().document();
    assert_eq!(
        (&document["task"], &document["text"], &document["entities"], &document["labels"]),
        (&json!("token-classification"), &json!("body"), &json!("spans"), &json!(["B-WORK", "I-WORK", "O"]))
    );
    let short = ["--set", "train.max_steps=2", "--set", "output_dir=short", "--quiet"];
    project.run(&[&["train", "train.toml"], &short[..]].concat()).done();

    let named = ["init", "train.jsonl", "--model", "bert", "--overwrite", "--task", "token-classification"];
    project.run(&[&named[..], &["--set", "data.label=body"]].concat()).refused(
        "error: the task token-classification does not use `data.label`\n\
         help: leave it out, or ask for another task with `--task`",
    );
    project.file("plain.jsonl", "{\"text\": \"a quick story\"}\n").run(&[&named[..1], &["plain.jsonl"], &named[2..]].concat()).refused(
        "error: plain.jsonl has no columns that look like words and their tags, or like texts and their entities \
         (columns: text (strings))\n\
         help: a row has as many tags as words, or entities with `start`, `end` and `label`; a configuration names such \
         columns: `data.tokens` and `data.tags`, or `data.text` and `data.entities`",
    );
}

#[test]
fn a_template_of_texts_is_refused_where_words_are_read() {
    let project = from_data("{\"tokens\": [\"a\", \"story\"], \"tags\": [\"O\", \"B-X\"]}\n");
    project.train(&["--set", "data.text_template={{ text }}"]).refused(
        "error: `--set data.text_template={{ text }}`: task `token-classification` has no key `text_template`\n\
         help: remove it, or set a `model.task` that has it: sequence-classification, regression, multi-label-classification, masked-lm, causal-lm",
    );
}

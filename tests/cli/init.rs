//! `kindling init`: what it writes trains as it stands.

use serde_json::{Value, json};

use crate::project::{Project, Ran};

/// As `train.jsonl` has them: 32 texts.
fn texts(project: &Project) -> Vec<String> {
    let text = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        row["text"].as_str().unwrap().to_string()
    };
    project.read("train.jsonl").lines().map(text).collect()
}

/// With a file of what `row` makes of the number and the text of each row.
pub(super) fn with_rows(project: Project, name: &str, row: impl Fn(usize, &str) -> Value) -> Project {
    let rows = texts(&project).iter().enumerate().map(|(n, text)| format!("{}\n", row(n, text))).collect::<String>();
    project.file(name, rows)
}

/// The configuration passes every check and trains, both as it was written.
#[track_caller]
pub(super) fn trains(project: &Project, config: &str) {
    project.run(&["train", config, "--dry-run"]).done();
    project
        .run(&["train", config, "--quiet", "--overwrite", "--set", "train.max_steps=2", "--set", "output_dir=run"])
        .done();
    assert!(project.path("run/adapter/adapter_model.safetensors").is_file());
}

#[track_caller]
fn says(ran: &Ran, expected: &str) {
    assert_eq!(ran.stderr, format!("{expected}\n"));
}

/// The lines of the configuration that set something.
fn set(project: &Project, config: &str) -> Vec<String> {
    let text = project.read(config);
    text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).map(str::to_string).collect()
}

#[test]
fn labelled_texts_become_a_classification_that_trains() {
    let project = Project::new();
    let ran = project.run(&["init", "train.jsonl", "--model", "bert"]).done();
    says(
        &ran,
        "train.jsonl: 32 rows\n\
         text         text: strings, 48 characters on average\n\
         label        label: 3 values (0, 1, 2), by its name\n\
         classes      LABEL_0 (7), LABEL_1 (10), LABEL_2 (12); always `LABEL_2` is right for 41.4 %\n\
         wrote train.toml; next:\n\
         \x20\x20kindling train train.toml --dry-run\n\
         \x20\x20kindling train train.toml",
    );
    assert_eq!(
        set(&project, "train.toml").iter().map(|line| line.split("  ").next().unwrap()).collect::<Vec<_>>(),
        [
            "path = \"bert\"",
            "task = \"sequence-classification\"",
            "method = \"lora\"",
            "train = \"train.jsonl\"",
            "valid_fraction = 0.1",
            "text = \"text\"",
            "label = \"label\"",
            "max_length = 32",
            "epochs = 20",
            "batch_size = 8",
            "early_stopping_patience = 3",
        ]
    );
    trains(&project, "train.toml");
}

#[test]
fn classes_that_count_from_1_are_named() {
    let project = with_rows(
        Project::new().copy("bert-mlm/model", "mlm"),
        "reviews.jsonl",
        |n, text| json!({"id": n, "review": text, "stars": n % 5 + 1}),
    );
    project.run(&["init", "reviews.jsonl", "--model", "mlm"]).done();
    let written = set(&project, "reviews.toml");
    assert!(written.contains(&"labels = [\"1\", \"2\", \"3\", \"4\", \"5\"]".to_string()), "{written:?}");
    trains(&project, "reviews.toml");
}

#[test]
fn a_model_with_as_many_classes_of_other_names_is_trained_for_those_of_the_data() {
    let project = with_rows(
        Project::new(),
        "reviews.jsonl",
        |n, text| json!({"review": text, "tone": (["bad", "good", "odd"][n % 3])}),
    );
    let ran = project.run(&["init", "reviews.jsonl", "--model", "bert", "--json"]).done();
    assert_eq!(ran.document()["labels"], json!(["bad", "good", "odd"]));
    trains(&project, "reviews.toml");
    let project = with_rows(Project::new(), "reviews.jsonl", |n, text| json!({"review": text, "label": n % 5}));
    project.run(&["init", "reviews.jsonl", "--model", "bert", "--quiet"]).refused(
        "error: bert/model.safetensors: the trained head (`classifier.weight`) is for 3 classes, not for 5\n\
         help: name all its classes in `model.labels`, or start from a checkpoint without a head",
    );
    assert!(!project.path("reviews.toml").exists());
}

#[test]
fn pairs_and_the_validation_data_beside_them_are_found() {
    let pair =
        |n: usize, text: &str| json!({"idx": n, "sentence1": text, "sentence2": format!("{text} {n}"), "label": n % 2});
    let project = with_rows(with_rows(Project::new(), "data/dev.jsonl", pair), "data/train.jsonl", pair);
    let ran = project.run(&["init", "data/train.jsonl", "--model", "bert", "-o", "data/pairs.toml"]).done();
    says(
        &ran,
        "data/train.jsonl: 32 rows\n\
         text         sentence1: strings, 48 characters on average, and by its name the first of two\n\
         second text  sentence2: by its name the second of two\n\
         label        label: 2 values (0, 1), by its name\n\
         validation   data/dev.jsonl: found next to the data\n\
         classes      LABEL_0 (16), LABEL_1 (16), LABEL_2 (0); always `LABEL_0` is right for 50.0 %\n\
         warning: 32 rows of dev.jsonl stand in train.jsonl too (first: lines 1, 2, 3, 4, 5); validation scores will \
         flatter: remove these rows from one of the two\n\
         note         1 class of train.jsonl has fewer than 5 rows: `LABEL_2` (0); add rows, or join these classes with \
         others\n\
         wrote data/pairs.toml; next:\n\
         \x20\x20kindling train data/pairs.toml --dry-run\n\
         \x20\x20kindling train data/pairs.toml",
    );
    let written = set(&project, "data/pairs.toml");
    // What lies below the file moves with it.
    for line in ["train = \"train.jsonl\"", "valid = \"dev.jsonl\"", "text_pair = \"sentence2\""] {
        assert!(written.contains(&line.to_string()), "{written:?}");
    }
    // The same file is both splits.
    assert!(project.read("data/pairs.toml").contains("# - 32 rows of dev.jsonl stand in train.jsonl too"));
    let model = project.path("bert").display().to_string();
    assert!(written.contains(&format!("path = {model:?}")), "{written:?}");
    trains(&project, "data/pairs.toml");
}

#[test]
fn validation_data_that_does_not_fit_is_left_out() {
    let project = Project::new().file("valid.jsonl", "{\"text\": \"fine\", \"label\": 7}\n");
    let ran = project.run(&["init", "train.jsonl", "--model", "bert", "--quiet"]).done();
    says(&ran, "warning: valid.jsonl is not used for validation: [DIR]/valid.jsonl, line 1: unknown label `7`");
    assert!(set(&project, "train.toml").iter().any(|line| line.starts_with("valid_fraction = 0.1")));
    trains(&project, "train.toml");
}

#[test]
fn texts_alone_become_a_language_model() {
    let project =
        with_rows(Project::new().copy("bert-mlm/model", "mlm"), "corpus.jsonl", |_, text| json!({"text": text}));
    let ran = project.run(&["init", "corpus.jsonl", "--model", "mlm"]).done();
    says(
        &ran,
        "corpus.jsonl: 32 rows\n\
         text         text: strings, 48 characters on average\n\
         task         masked-lm: no column looks like a label\n\
         wrote corpus.toml; next:\n\
         \x20\x20kindling train corpus.toml --dry-run\n\
         \x20\x20kindling train corpus.toml",
    );
    trains(&project, "corpus.toml");
    let ran = project.run(&["init", "train.jsonl", "--model", "mlm", "--task", "masked-lm", "-o", "-"]).done();
    assert!(ran.stdout.contains("\ntask = \"masked-lm\"\n") && !ran.stdout.contains("\nlabel = "));
    assert!(!project.path("train.toml").exists());
}

#[test]
fn a_model_that_writes_learns_to_answer() {
    let row = |n: usize, text: &str| {
        let output = format!("yes, {text}");
        match n % 2 {
            0 => json!({"instruction": text, "output": output, "category": n % 4}),
            _ => json!({"instruction": text, "input": "in short", "output": output, "category": n % 4}),
        }
    };
    let project = with_rows(Project::new().copy("gpt2-lm/model", "gpt2"), "tasks.jsonl", row);
    let ran = project.run(&["init", "tasks.jsonl", "--model", "gpt2"]).done();
    says(
        &ran,
        "tasks.jsonl: 32 rows\n\
         prompt       instruction: by its name, with input where there is any\n\
         completion   output: by its name\n\
         task         causal-lm: the model writes; with the label category: `--task sequence-classification`\n\
         wrote tasks.toml; next:\n\
         \x20\x20kindling train tasks.toml --dry-run\n\
         \x20\x20kindling train tasks.toml",
    );
    let written = set(&project, "tasks.toml");
    for line in ["task = \"causal-lm\"", "completion_template = \" {{ output }}\"", "epochs = 3"] {
        assert!(written.contains(&line.to_string()), "{written:?}");
    }
    let template = "prompt_template = \"\"\"\n{{ instruction }}\n{% if row[\"input\"] | default(\"\") %}{{ row[\"input\"] }}\n{% endif %}Output:\"\"\"\n";
    assert!(project.read("tasks.toml").contains(template));
    trains(&project, "tasks.toml");
    let named =
        ["init", "tasks.jsonl", "--model", "gpt2", "-o", "named.toml", "--set", "data.prompt=category", "--set"];
    let ran = project.run(&[&named[..], &["data.completion=output", "--json"]].concat()).done();
    assert_eq!(ran.document()["prompt_template"], "{{ category }}\nOutput:");
    let project = project.without("named.toml");
    project.run(&named[..8]).refused(
        "error: `data.prompt` is named without `data.completion`\n\
         help: name the other column too: `--set data.completion=COLUMN`",
    );
}

#[test]
fn conversations_and_texts_become_what_a_decoder_learns() {
    let chat = |_: usize, text: &str| {
        let message = |role: &str, content: &str| json!({"role": role, "content": content});
        json!({"messages": [message("user", "say it"), message("assistant", text)]})
    };
    let project = with_rows(Project::new().copy("qwen3-lm/model", "qwen"), "chats.jsonl", chat);
    let ran = project.run(&["init", "chats.jsonl", "--model", "qwen", "--json"]).done();
    let document = ran.document();
    assert_eq!((&document["task"], &document["messages"]), (&json!("causal-lm"), &json!("messages")));
    trains(&project, "chats.toml");
    let joined = |_: usize, text: &str| json!({"prompt": "say it:", "completion": format!(" {text}")});
    let project = with_rows(project, "joined.jsonl", joined);
    project.run(&["init", "joined.jsonl", "--model", "qwen"]).done();
    assert!(set(&project, "joined.toml").contains(&"prompt = \"prompt\"".to_string()));
    trains(&project, "joined.toml");
    let project = with_rows(project, "corpus.jsonl", |n, text| json!({"text": text, "dump": (["a", "b"][n % 2])}));
    let ran = project.run(&["init", "corpus.jsonl", "--model", "qwen"]).done();
    let task = "\ntask         causal-lm: the model writes; with the label dump: `--task sequence-classification`\n";
    assert!(ran.stderr.contains(task), "few values alone make no label of a column: {}", ran.stderr);
    trains(&project, "corpus.toml");
}

#[test]
fn without_a_model_one_that_reads_the_language_is_recommended_and_why() {
    let project = Project::new();
    let rows: String = (0..12).map(|n| format!("η ερώτηση {n} είναι δύσκολη,{}\n", ["ναι", "όχι"][n % 2])).collect();
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let chat =
        json!({"messages": [message("user", "wie geht es dir"), message("assistant", "mir geht es gut, und dir")]});
    let project = project.file("greek.csv", format!("text,label\n{rows}")).file("chats.jsonl", format!("{chat}\n"));
    let refused = |data: &str, said: &str, model: &str| {
        let ran = project.run(&["init", data]);
        let (name, cached) = (model.replace('/', "--"), "[DIR]/hub/hub/models--");
        ran.refused(&format!(
            "{said}\n\
             error: no model is named, and the one that is recommended for {data}, {model}, cannot be used: `HF_HUB_OFFLINE` \
             is set and the cache has not all of {model}: revision `main` is not there\n\
             help: name another one that reads these texts: `--model DIR`, or an id of the Hugging Face Hub; there is no \
             directory `{model}` either; run the command once without HF_HUB_OFFLINE, or copy {cached}{name} from a machine \
             that has it"
        ));
    };
    refused(
        "greek.csv",
        "greek.csv: 12 rows\n\
         text         text: strings, 25 characters on average\n\
         label        label: 2 values (ναι, όχι), by its name\n\
         language     Greek letters: 100 % of the letters are Greek\n\
         model        FacebookAI/xlm-roberta-base, since none is named: trained on a hundred languages (1.1 GB, fetched once)",
        "FacebookAI/xlm-roberta-base",
    );
    refused(
        "chats.jsonl",
        "chats.jsonl: 1 row\n\
         messages     messages: by its name\n\
         task         causal-lm: conversations or prompts with completions\n\
         language     German: its frequent words are `es`, `und`, `wie`\n\
         model        Qwen/Qwen2.5-0.5B-Instruct, since none is named: small, writes some thirty languages (988 MB, fetched \
         once)",
        "Qwen/Qwen2.5-0.5B-Instruct",
    );
}

#[test]
fn without_a_model_english_texts_are_for_that_of_the_quickstart() {
    let project = Project::new();
    let cache = project.path("cache").display().to_string();
    let project = project.env("XDG_CACHE_HOME", &cache);
    let project =
        with_rows(project, "english.jsonl", |n, _| json!({"text": "how do i get to the station", "label": n % 3}));
    let ran = project.run(&["init", "english.jsonl", "-o", "first.toml"]).done();
    let said = "\nlanguage     English: its frequent words are `the`, `to`, `how`\n\
                model        the small one inside kindling, since none is named: it reads English and needs no network; \
                `--model distilbert/distilbert-base-uncased` (small and quick, trained on English; 268 MB) learns more\n";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let ran = project.run(&["init", "train.jsonl", "-o", "configs/first.toml"]);
    ran.refused(
        "error: cannot write configs/first.toml: there is no directory configs\n\
         help: create it, or name a file elsewhere",
    );
    let project = project.file("configs/README", "");
    let document = project.run(&["init", "train.jsonl", "-o", "configs/first.toml", "--json"]).done().document();
    let expected = json!({
        "config": "configs/first.toml", "task": "sequence-classification", "train": "train.jsonl", "valid": null,
        "valid_fraction": 0.1, "text": "text", "text_pair": null, "label": "label", "labels": ["0", "1", "2"],
        "rows": 32, "batch_size": 8, "epochs": 20, "steps": 80,
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&document[key], value, "{key}");
    }
    trains(&project, "configs/first.toml");
}

#[test]
fn an_existing_file_is_kept_unless_it_is_to_be_replaced() {
    let project = Project::new().file("train.toml", "mine");
    project.run(&["init", "train.jsonl", "--model", "bert"]).refused(
        "error: train.toml already exists\n\
         help: `--overwrite` replaces it, `-o FILE` writes elsewhere",
    );
    assert_eq!(project.read("train.toml"), "mine");
    project.run(&["init", "train.jsonl", "--model", "bert", "--overwrite"]).done();
    trains(&project, "train.toml");
}

#[test]
fn fractions_are_numbers_to_learn_and_whole_numbers_where_it_is_asked_for() {
    let project = Project::new().copy("bert-mlm/model", "mlm");
    let project = with_rows(project, "scores.jsonl", |n, text| json!({"text": text, "score": n as f64 / 7.0}));
    let project = with_rows(project, "stars.jsonl", |n, text| json!({"text": text, "stars": n % 5}));
    let init = |arguments: &[&str]| {
        let ran = project.run(&[&["init", "--model", "mlm", "--json"], arguments].concat()).done();
        let document = ran.document();
        (document["task"].clone(), document["label"].clone())
    };
    assert_eq!(init(&["scores.jsonl"]), (json!("regression"), json!("score")));
    assert_eq!(init(&["stars.jsonl"]), (json!("sequence-classification"), json!("stars")));
    let asked = ["stars.jsonl", "--task", "regression", "--overwrite"];
    assert_eq!(init(&asked), (json!("regression"), json!("stars")));
    let ran = project.run(&["init", "scores.jsonl", "--model", "mlm", "--overwrite"]).done();
    assert!(ran.stderr.contains("\nlabel        score: fractions\n"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\ntask         regression: the label is a number with fractions\n"), "{}", ran.stderr);
    let ran = project.run(&["train", "scores.toml", "--set", "train.max_steps=2", "--set", "train.epochs=1"]).done();
    assert!(ran.stderr.contains("Pearson"), "{}", ran.stderr);
}

#[test]
fn rows_with_several_labels_are_recognised_as_lists_and_as_cells() {
    // Of a base with classes of its own those of the data are listed.
    let project = Project::new();
    let sets = |n: usize| [&["b", "c"][..], &["a"], &[], &["a", "c"], &["a", "b"]][n % 5];
    let project = with_rows(project, "lists.jsonl", |n, text| json!({"text": text, "topics": sets(n)}));
    let cells: String = texts(&project)
        .iter()
        .enumerate()
        .map(|(n, text)| format!("{}\t{}\n", text.replace('\t', " "), sets(n).join("; ")))
        .collect();
    let project = project.file("cells.tsv", format!("text\tgenres\n{cells}"));
    for (file, label, says) in [
        ("lists.jsonl", "topics", "topics: lists of labels"),
        ("cells.tsv", "genres", "genres: several labels, divided by `;`"),
    ] {
        let ran = project.run(&["init", file, "--model", "bert", "--json", "-o", "a.toml", "--overwrite"]).done();
        assert!(ran.stderr.contains(&format!("\nlabel        {says}\n")), "{}", ran.stderr);
        let why = "\ntask         multi-label-classification: rows have several labels\n";
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
        let document = ran.document();
        assert_eq!((&document["label"], &document["labels"]), (&json!(label), &json!(["a", "b", "c"])));
        assert_eq!(document["class_counts"].as_array().unwrap().len(), 3);
        trains(&project, "a.toml");
    }
    // One label a row is learned as several where that is asked for.
    let asked = ["init", "train.jsonl", "--model", "bert", "--task", "multi-label-classification"];
    let ran = project.run(&asked).done();
    assert!(ran.stderr.contains("\nlabel        label: one label each\n"), "{}", ran.stderr);
    trains(&project, "train.toml");
}

#[test]
fn booleans_and_whole_numbers_with_a_point_are_labels() {
    let project = Project::new().copy("bert-mlm/model", "mlm");
    let project = with_rows(project, "yes.jsonl", |n, text| json!({"text": text, "label": n % 2 == 0}));
    let project = with_rows(project, "floats.jsonl", |n, text| json!({"text": text, "label": (n % 2) as f64}));
    for (file, labels) in [("yes.jsonl", ["false", "true"]), ("floats.jsonl", ["0", "1"])] {
        let document = project.run(&["init", file, "--model", "mlm", "--json"]).done().document();
        assert_eq!((&document["label"], &document["labels"]), (&json!("label"), &json!(labels)), "{file}");
    }
}

#[test]
fn another_separator_than_that_of_the_format_is_read() {
    let rows = |separator: char, n: usize| {
        let row = |n: usize| format!("film {n} was fine{separator}{}\n", ["bad", "good"][n % 2]);
        format!("text{separator}label\n{}", (0..n).map(row).collect::<String>())
    };
    for (file, separator) in [("a.csv", ';'), ("b.csv", '\t'), ("c.csv", '|'), ("d.tsv", ',')] {
        let project = Project::new().copy("bert-mlm/model", "mlm").file(file, rows(separator, 40));
        let document = project.run(&["init", file, "--model", "mlm", "--json"]).done().document();
        assert_eq!((&document["text"], &document["label"]), (&json!("text"), &json!("label")), "{file}");
        assert_eq!(document["labels"], json!(["bad", "good"]));
    }
}

#[test]
fn long_validation_texts_have_room_and_odd_names_can_be_typed() {
    let row = |n: usize, text: &str| json!({"text": text, "label": n % 2});
    let long = |n: usize, text: &str| json!({"text": format!("{text} {text} {text}"), "label": n % 2});
    let short = with_rows(Project::new(), "my data.jsonl", row);
    let ran = short.run(&["init", "my data.jsonl", "--model", "bert", "-o", "my data.toml"]).done();
    assert!(ran.stderr.ends_with("  kindling train 'my data.toml' --dry-run\n  kindling train 'my data.toml'\n"));
    let both = with_rows(with_rows(Project::new(), "train.jsonl", row), "valid.jsonl", long);
    let of = |project: &Project, data: &str, output: &str| {
        let ran = project.run(&["init", data, "--model", "bert", "--json", "-o", output]).done();
        ran.document()["max_length"].as_u64().unwrap()
    };
    let (alone, beside) = (of(&short, "my data.jsonl", "other.toml"), of(&both, "train.jsonl", "train.toml"));
    assert!(beside > alone, "{beside} and {alone}");
}

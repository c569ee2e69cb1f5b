//! Tables and lists of files as people bring them, through every command that reads them. Right values are those of pandas.

use serde_json::{Value, json};

use crate::project::Project;

/// A BERT without a head, whose classes are those of the data.
fn project() -> Project {
    Project::new().tensors("bert/model.safetensors", |tensors| tensors.remove(|name| name.starts_with("classifier.")))
}

/// What `--dry-run` says of training on a file: rows, classes and their rows.
fn plan(project: Project, name: &str, contents: impl AsRef<[u8]>) -> (Value, Value, Value) {
    let project = project.file(name, contents).replace("run.toml", "\"train.jsonl\"", &format!("\"{name}\""));
    let plan = project.train(&["--dry-run", "--json"]).done().document();
    (plan["train"]["examples"].clone(), plan["labels"].clone(), plan["class_counts"].clone())
}

#[test]
fn what_spreadsheets_save_is_read() {
    let two_each = (json!(4), json!(["neg", "pos"]), json!([2, 2]));
    let sheets = [
        ("unnamed.csv", "text,label,,\r\n\"good, really\",pos,,\r\nbad,neg,,\r\nfine,pos,,\r\npoor,neg,,\r\n"),
        ("empty.csv", "text,label\r\n\"good, really\",pos\r\nbad,neg\r\nfine,pos\r\npoor,neg\r\n,\r\n,\r\n"),
        ("semicolons.csv", "\u{feff}text;label\r\ngood, really;pos\r\nbad;neg\r\nfine;pos\r\npoor;neg\r\n"),
        ("named.csv", "sep=;\r\ntext;label\r\n\"good; really\";pos\r\nbad;neg\r\nfine;pos\r\npoor;neg\r\n"),
        ("tabs.csv", "text\tlabel\r\ngood, really\tpos\r\nbad\tneg\r\nfine\tpos\r\npoor\tneg\r\n"),
        ("bars.csv", "text|label\ngood, really|pos\nbad|neg\nfine|pos\npoor|neg\n"),
        ("returns.csv", "text,label\r\"good, really\",pos\rbad,neg\rfine,pos\rpoor,neg\r"),
        ("quotes.tsv", "text\tlabel\n\"good\tpos\nbad\tneg\nfine\tpos\nnot\"\tneg\n"),
    ];
    for (name, contents) in sheets {
        assert_eq!(plan(project(), name, contents), two_each, "{name}");
    }
    let utf16: Vec<u8> = format!("\u{feff}{}", sheets[4].1).encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(plan(project(), "unicode.tsv", utf16), two_each);
}

#[test]
fn booleans_and_whole_numbers_with_a_point_are_classes() {
    let json = "{\"text\": \"good\", \"label\": true}\n{\"text\": \"bad\", \"label\": false}\n{\"text\": \"fine\", \"label\": true}\n";
    assert_eq!(plan(project(), "a.ndjson", json), (json!(3), json!(["false", "true"]), json!([1, 2])));
    let floats = "text,label\ngood,1.0\nbad,0.0\nfine,1.0\n";
    assert_eq!(plan(project(), "a.csv", floats), (json!(3), json!(["0", "1"]), json!([1, 2])));
    let lines = "{\"text\": \"good\", \"label\": 1.0}\n{\"text\": \"bad\", \"label\": 0}\n";
    assert_eq!(plan(project(), "a.jsonl", lines), (json!(2), json!(["0", "1"]), json!([1, 1])));
}

#[test]
fn predict_and_eval_read_what_train_reads() {
    let project = Project::with_adapter();
    let rows: Vec<Value> =
        project.read("train.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let table: String =
        rows.iter().map(|row| format!("\"{};{}\r\n", row["text"].as_str().unwrap(), row["label"])).collect();
    let project = project.file("corpus.tsv", format!("text;label\r\n{table}").replace(';', "\t")).file(
        "sheet.csv",
        format!("sep=;\r\ntext;label;;\r\n{}", table.replace('"', "").replace("\r\n", ";;\r\n")) + ";;;\r\n",
    );
    let with_adapter = |arguments: &[&str]| {
        project.run(&[arguments, &["--model", "bert", "--adapter", "adapter", "--quiet"]].concat()).done()
    };
    let expected = with_adapter(&["predict", "--input", "train.jsonl"]).stdout;
    assert_eq!(with_adapter(&["predict", "--input", "sheet.csv"]).stdout, expected);
    assert_eq!(with_adapter(&["predict", "--input", "corpus.tsv"]).stdout.lines().count(), rows.len());
    let scores = |file: &str| with_adapter(&["eval", "--data", file, "--json"]).stdout;
    assert_eq!(scores("sheet.csv"), scores("train.jsonl"));
}

const FIRST: &str = "text,label\na fine film,1\nnot good,0\n";
const SECOND: &str = "{\"text\": \"so so\", \"label\": 2}\n{\"text\": \"great\", \"label\": 1}\n";

/// Training on several files with the value of `data.train`.
fn several(files: &str) -> Project {
    Project::new().file("parts/b.csv", FIRST).file("parts/a.jsonl", SECOND).replace(
        "run.toml",
        "\"train.jsonl\"",
        files,
    )
}

#[test]
fn several_files_are_one_split_in_the_order_of_the_list_or_sorted_by_name() {
    let first = |files: &str| {
        let plan = several(files).train(&["--dry-run", "--json"]).done().document();
        assert_eq!(plan["train"]["examples"], 4);
        plan["class_counts"].clone()
    };
    assert_eq!(first("[\"parts/b.csv\", \"parts/a.jsonl\"]"), json!([1, 2, 1]));
    assert_eq!(first("\"parts/*\""), json!([1, 2, 1]));
    let shown = several("\"parts/*\"").train(&["--dry-run"]).done().stdout;
    assert!(shown.contains("parts/a.jsonl, line 1: "), "{shown}");
    let typed = Project::new().file("parts/b.csv", FIRST).file("parts/a.jsonl", SECOND);
    let plan = typed.train(&["--dry-run", "--json", "--set", r#"data.train=["parts/a.jsonl", "parts/b.*"]"#]).done();
    assert_eq!(plan.document()["train"]["examples"], 4);
}

#[test]
fn the_complete_configuration_names_every_file_and_a_resumed_run_knows_them() {
    let project = several("\"parts/*\"").config("checkpoint_every = 1");
    project.train(&[]).done();
    let written = project.read("run/config.toml");
    let path = |name: &str| project.path(name).display().to_string();
    let files = format!("train = [\"{}\", \"{}\"]\n", path("parts/a.jsonl"), path("parts/b.csv"));
    assert!(written.contains(&files), "{written}");
    let before = std::fs::read(project.path("run/adapter/adapter_model.safetensors")).unwrap();
    project.run(&["train", "run/config.toml", "--overwrite"]).done();
    assert_eq!(std::fs::read(project.path("run/adapter/adapter_model.safetensors")).unwrap(), before);
}

#[test]
fn what_is_wrong_with_one_of_several_files_names_it() {
    several("[\"parts/a.jsonl\", \"parts/c.csv\"]")
        .file("parts/c.csv", "text,label\ngood,1\n,0\nbad,0\n")
        .train(&[])
        .refused(
            "error: [DIR]/parts/c.csv, line 3: column `text` is empty\n\
         help: give the row a text, or remove it",
        );
    several("\"parts/*\"").file("parts/c.csv", "sentence,label\ngood,1\n").train(&[]).refused(
        "error: [DIR]/parts/c.csv has no column `text` (columns: sentence, label)\n\
         help: set `data.text = \"sentence\"`",
    );
    several("\"parts/*\"").file("parts/c.csv", "text,text_pair,label\ngood,really,1\n").train(&[]).refused(
        "error: the columns of [DIR]/parts/c.csv differ from those of [DIR]/parts/a.jsonl\n\
         help: give all files of `data.train` or of `data.valid` the same columns, or name those that are read: \
         `data.text`, `data.text_pair` and `data.label`, or `data.prompt`, `data.completion` and `data.messages`",
    );
    several("\"parts/*\"").file("parts/c.csv", "text,label\ngood,7\n").train(&[]).refused(
        "error: [DIR]/parts/c.csv, line 2: unknown label `7`\n\
         help: known: LABEL_0, LABEL_1, LABEL_2, or 0 to 2",
    );
}

#[test]
fn a_pattern_that_matches_nothing_and_a_file_that_is_named_twice_are_refused() {
    several("\"parts/*.tsv\"").train(&[]).refused(
        "error: `data.train` in run.toml, line 7: no file matches `parts/*.tsv`\n\
         help: relative patterns start at the directory of the configuration; `*` stands for any part of a name, `**` for \
         any directories",
    );
    several("[\"parts/a.jsonl\", \"parts/*\"]").train(&[]).refused(
        "error: `data.train` in run.toml, line 7: [DIR]/parts/a.jsonl is read twice\n\
         help: its rows would weigh double: name it once, or narrow the pattern",
    );
    several("[]").train(&[]).refused(
        "error: `data.train` in run.toml, line 7: found `[]`, expected a path, a pattern such as \"data/*.csv\", or a list of \
         one or more of them, none twice\n\
         help: for example `train = \"train.jsonl\"`",
    );
}

#[test]
fn a_name_with_brackets_is_a_name() {
    let project = several("\"parts/part[1].csv\"").file("parts/part[1].csv", FIRST);
    assert_eq!(project.train(&["--dry-run", "--json"]).done().document()["train"]["examples"], 2);
}

//! Several classes of a text at once, or none: trained, scored, asked, merged; and how rows say them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::project::Project;

/// The labels of the example `n`, by their numbers.
fn set(n: usize) -> &'static [usize] {
    [&[0, 2][..], &[], &[1], &[0, 1, 2]][n % 4]
}

/// A BERT with a head for three classes in `bert/`, and its texts with sets of them in `train.jsonl`.
fn project() -> Project {
    let project = Project::new();
    let rows: String = project
        .read("train.jsonl")
        .lines()
        .enumerate()
        .map(|(n, row)| {
            let row: Value = serde_json::from_str(row).unwrap();
            let names: Vec<String> = set(n).iter().map(|class| format!("LABEL_{class}")).collect();
            json!({ "text": row["text"], "label": names }).to_string() + "\n"
        })
        .collect();
    project.file("train.jsonl", rows).replace(
        "run.toml",
        "path = \"bert\"\n",
        "path = \"bert\"\ntask = \"multi-label-classification\"\n",
    )
}

/// Words that tell the labels, and a base without a head.
fn learnable() -> Project {
    let row = |n: usize| {
        let (text, labels) = [
            ("rises sings while", json!(["wild"])),
            ("large runs while", json!(["big"])),
            ("rises sings large runs", json!(["big", "wild"])),
            ("while while", json!([])),
        ][n % 4]
            .clone();
        json!({ "text": text, "label": labels }).to_string() + "\n"
    };
    Project::new()
        .copy("bert-mlm/model", "bert")
        .file("train.jsonl", (0..32).map(row).collect::<String>())
        .replace("run.toml", "path = \"bert\"\n", "path = \"bert\"\ntask = \"multi-label-classification\"\n")
        .replace("run.toml", "train = \"train.jsonl\"\n", "train = \"train.jsonl\"\nvalid = \"train.jsonl\"\n")
}

fn trained() -> Project {
    let project = learnable().config("learning_rate = 5e-3\nepochs = 40").replace(
        "run.toml",
        "max_steps = 2\n",
        "max_steps = 120\n",
    );
    project.train(&["--quiet"]).done();
    project
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbers(values: &Value) -> Vec<f64> {
    values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn close(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found}, {expected}");
}

#[test]
fn losses_are_those_of_transformers() {
    let project = project().copy("bert-cls/adapter", "adapter").copy("bert-cls/init", "init");
    let project = project.json("bert/config.json", "problem_type", json!("multi_label_classification"));
    project
        .run(&[
            "eval",
            "--model",
            "bert",
            "--adapter",
            "adapter",
            "--data",
            "train.jsonl",
            "--per-example",
            "each.jsonl",
        ])
        .done();
    // Transformers 5.24, PEFT 0.21.2: the model's own loss with `problem_type="multi_label_classification"`.
    let expected = [0.9852195, 0.4959949, 0.5392859, 0.8467689, 1.1335602, 0.5737608];
    for (row, expected) in lines(&project.read("each.jsonl")).iter().zip(expected) {
        close(row["loss"].as_f64().unwrap(), expected, 1e-5);
    }
    // And four steps of torch's AdamW over eight examples each: loss, and norm of the gradient before clipping.
    let project = project.file(
        "run.toml",
        "output_dir = \"run\"\n[model]\npath = \"bert\"\ntask = \"multi-label-classification\"\n[adapter]\n\
         init_from = \"init\"\n[data]\ntrain = \"train.jsonl\"\n[train]\nlearning_rate = 1e-3\nschedule = \"constant\"\n\
         shuffle = false\nepochs = 1\n",
    );
    let expected = [(0.775265, 0.783416), (0.725172, 0.879448), (0.803038, 0.599509), (0.75257, 0.681218)];
    for arguments in [&[][..], &["--overwrite", "--set", "train.batch_size=2", "--set", "train.grad_accumulation=4"]] {
        project.train(&[&["--quiet"], arguments].concat()).done();
        let steps = lines(&project.read("run/metrics.jsonl"));
        for (step, (loss, norm)) in steps.iter().zip(expected) {
            close(step["loss"].as_f64().unwrap(), loss, 1e-5);
            close(step["grad_norm"].as_f64().unwrap(), norm, 1e-4);
        }
    }
}

#[test]
fn labels_are_learned_scored_and_answered() {
    let project = trained();
    let evaluate = |arguments: &[&str]| {
        project.run(&[&["eval", "--json", "--data", "train.jsonl"], arguments].concat()).done().document()
    };
    let scores = evaluate(&["--run", "run", "--per-example", "each.jsonl"]);
    for score in ["f1_micro", "f1_macro", "accuracy"] {
        assert_eq!(scores[score], 1.0, "{scores}");
    }
    // A row without labels that is given none counts 0 of its F1, as scikit-learn's `zero_division=0`.
    assert_eq!(scores["f1_samples"], 0.75);
    let each = lines(&project.read("each.jsonl"));
    assert_eq!((&each[2]["label"], &each[2]["predicted"]), (&json!(["big", "wild"]), &json!(["big", "wild"])));
    assert_eq!(each[3]["predicted"], json!([]));

    let answer = project.run(&["predict", "--run", "run", "--json", "rises sings large runs"]).done().document();
    assert_eq!((&answer["labels"], &answer["label_ids"]), (&json!(["big", "wild"]), &json!([0, 1])));
    let sigmoid = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    for (probability, logit) in numbers(&answer["probabilities"]).into_iter().zip(numbers(&answer["logits"])) {
        close(probability, sigmoid(logit), 1e-6);
    }
    let named = project.run(&["predict", "--run", "run", "--json", "--named", "while while"]).done().document();
    assert_eq!((&named["labels"], named["probabilities"]["big"].is_number()), (&json!([]), true));
    project.run(&["predict", "--run", "run", "--input", "train.jsonl", "--columns", "", "--output", "a.csv"]).done();
    let table = project.read("a.csv");
    assert!(table.starts_with("labels,p_big,p_wild\n\"[\"\"wild\"\"]\","), "{table}");
    assert!(table.lines().nth(4).unwrap().starts_with("[],"), "{table}");

    project.run(&["merge", "--run", "run", "--output", "merged"]).done();
    let config: Value = serde_json::from_str(&project.read("merged/config.json")).unwrap();
    assert_eq!(config["problem_type"], "multi_label_classification");
    assert_eq!(config["id2label"], json!({ "0": "big", "1": "wild" }));
    assert_eq!(evaluate(&["--model", "merged"])["f1_micro"], 1.0);
    assert!(project.read("run/adapter/README.md").contains("problem_type=\"multi_label_classification\""));
    assert!(project.read("run/report.html").contains("F1 micro 1.000 on 32 validation texts"));
}

#[test]
fn the_thresholds_of_the_validation_data_are_kept_and_used() {
    // Random texts and few steps: probabilities are far from 0 and 1.
    let project = project();
    project.train(&["--quiet", "--set", "data.valid=train.jsonl"]).done();
    let sidecar: Value = serde_json::from_str(&project.read("run/adapter/kindling.json")).unwrap();
    let thresholds = &sidecar["fitted"]["thresholds"];
    let predict =
        || project.run(&["predict", "--run", "run", "--input", "train.jsonl", "--columns", "label"]).done().lines();
    let rows = predict();
    let labels = |row: &Value, key: &str| -> BTreeSet<String> {
        row[key].as_array().unwrap().iter().map(|label| label.as_str().unwrap().to_owned()).collect()
    };
    let wrong = rows.iter().filter(|row| labels(row, "label") != labels(row, "labels")).count();
    assert!(wrong > 0);
    let said = format!("{wrong} of {} validation texts have other labels than in the data", rows.len());
    assert!(project.read("run/report.html").contains(&said), "{said}");
    for class in 0..3 {
        let name = format!("LABEL_{class}");
        let of: Vec<(bool, f64)> = rows
            .iter()
            .map(|row| (row["label"].as_array().unwrap().contains(&json!(name)), numbers(&row["probabilities"])[class]))
            .collect();
        let f1 = |threshold: f64| {
            let count = |f: &dyn Fn(&(bool, f64)) -> bool| of.iter().filter(|row| f(row)).count() as f64;
            2.0 * count(&|(truth, p)| *truth && *p >= threshold)
                / (count(&|(_, p)| *p >= threshold) + count(&|(truth, _)| *truth))
        };
        let kept = thresholds[&name].as_f64().unwrap();
        (0..1000).for_each(|n| assert!(f1(f64::from(n) / 1000.0) <= f1(kept) + 1e-9, "{name}"));
        for row in &rows {
            let is_given = row["labels"].as_array().unwrap().contains(&json!(name));
            assert_eq!(is_given, numbers(&row["probabilities"])[class] >= kept);
        }
    }
    let f1 = |project: &Project| {
        project.run(&["eval", "--run", "run", "--data", "train.jsonl", "--json"]).done().document()["f1_micro"].clone()
    };
    let fitted = f1(&project);
    // 0.5 is what a model without any has.
    let mut without = sidecar.clone();
    without.as_object_mut().unwrap().remove("fitted");
    let project = project.file("run/adapter/kindling.json", without.to_string());
    assert!(fitted.as_f64().unwrap() > f1(&project).as_f64().unwrap());
    let metrics = lines(&project.read("run/metrics.jsonl"));
    let evaluation = metrics.iter().rev().find(|line| line["event"] == "eval").unwrap();
    assert_eq!(evaluation["f1_micro"], f1(&project), "while it is trained a model is scored with 0.5");
}

#[test]
fn a_comparison_says_which_thresholds_its_scores_and_its_intervals_have() {
    let project = learnable();
    let ran = project.run(&["compare", "run.toml", "--quiet", "--vary", "adapter.r=2,4"]).done();
    let said = "The scores are at thresholds of 0.5; intervals and differences are at the fitted thresholds, with which the \
                models answer.";
    assert!(ran.stdout.ends_with(&format!("\n{said}\n")), "{}", ran.stdout);
    let table = project.read("run-comparison/table.md");
    assert!(table.ends_with(&format!("\n\n{said}\n")), "{table}");
    assert!(project.read("run-comparison/report.html").contains(&format!("<p class=\"note\">{said}</p>")));
}

#[test]
fn cells_are_divided_by_the_separator_that_they_have() {
    let plan = |name: &str, data: &str| {
        let project = learnable().file(name, data).replace("run.toml", "\nvalid = \"train.jsonl\"", "");
        let plan =
            project.replace("run.toml", "\"train.jsonl\"", &format!("\"{name}\"")).train(&["--dry-run", "--json"]);
        let plan = plan.done().document();
        (plan["labels"].clone(), plan["class_counts"].clone(), plan["example"]["label"].clone())
    };
    let expected = (json!(["a", "b b", "c"]), json!([2, 2, 1]), json!(["a", "b b"]));
    assert_eq!(plan("a.csv", "text,label\nlarge,\"b b, a\"\nruns,\nsings,a\nrises,\"c,b b\"\n"), expected);
    assert_eq!(plan("b.csv", "text,label\nlarge,b b;a\nruns,\nsings,a\nrises,c; b b\n"), expected);
    assert_eq!(plan("c.tsv", "text\tlabel\nlarge\tb b|a\nruns\t\nsings\ta\nrises\tc|b b\n"), expected);
    let lists = "{\"text\": \"large\", \"label\": [\"b b\", \"a\"]}\n{\"text\": \"runs\", \"label\": null}\n\
                 {\"text\": \"sings\", \"label\": \"a\"}\n{\"text\": \"rises\", \"label\": [\"c\", \"b b\"]}\n";
    assert_eq!(plan("d.jsonl", lists), expected);
}

#[test]
fn what_is_no_set_of_known_labels_is_an_error_with_its_line() {
    let project = trained();
    let project = project.file("new.csv", "text,label\nlarge,big|wild\nsings,big|wlid\n");
    project
        .run(&["eval", "--run", "run", "--data", "new.csv", "--quiet"])
        .refused("error: new.csv, line 3: unknown label `wlid`\nhelp: did you mean `wild`?");
    let mixed = learnable()
        .file("train.jsonl", "{\"text\": \"large\", \"label\": \"a;b\"}\n{\"text\": \"runs\", \"label\": \"b;c,d\"}\n");
    mixed.train(&[]).refused(
        "error: [DIR]/train.jsonl, line 2: the label `c,d` contains `,`, and labels are divided by `;` (line 1)\n\
         help: divide all labels by one of them, or write lists in JSON: [\"first label\", \"second label\"]",
    );
    let problem = json!("single_label_classification");
    learnable().json("bert/config.json", "problem_type", problem).train(&[]).refused(
        "error: [DIR]/bert/config.json: `problem_type` is `single_label_classification`\n\
         help: the task is multi_label_classification: remove `problem_type` if the labels are lists of classes",
    );
}

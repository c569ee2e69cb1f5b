//! Files as users write them: what they load as.

mod messages;
mod syntax;

use std::fs;
use std::path::{Path, PathBuf};

use lora::{Init, Method, Names, Targets};
use tempfile::TempDir;

use super::*;

const MINIMAL: &str = "\
[model]
path = \"../models/tiny\"
[data]
train = \"train.jsonl\"
";

/// A working directory with a model, data, an adapter, and `configs/sst2.toml` beside the data.
fn directory(config: &str) -> TempDir {
    let root = tempfile::tempdir().expect("a temporary directory");
    for name in ["configs", "models/tiny", "runs/a/adapter"] {
        fs::create_dir_all(root.path().join(name)).expect("a directory");
    }
    for (name, text) in
        [("configs/sst2.toml", config), ("configs/train.jsonl", ""), ("configs/valid.jsonl", ""), ("other.jsonl", "")]
    {
        fs::write(root.path().join(name), text).expect("a file");
    }
    root
}

fn load_in(root: &TempDir, sets: &[&str]) -> Result<Loaded, ConfigError> {
    let sets: Vec<String> = sets.iter().map(|&set| set.to_owned()).collect();
    load(Path::new("configs/sst2.toml"), &sets, root.path())
}

fn loaded(config: &str, sets: &[&str]) -> Config {
    load_in(&directory(config), sets).expect("a correct configuration").config
}

#[test]
fn what_is_not_written_has_its_default() {
    let root = directory(MINIMAL);
    let loaded = load_in(&root, &[]).expect("a correct configuration");
    let mut expected = Config::default();
    expected.model.path = root.path().join("models/tiny");
    expected.data.train = root.path().join("configs/train.jsonl").into();
    assert_eq!(loaded.config, expected);
    assert_eq!(loaded.name, "sst2");
    let written: Vec<&str> = loaded.written.iter().map(String::as_str).collect();
    assert_eq!(written, ["data.train", "model.path"]);
}

#[test]
fn a_rate_of_embeddings_is_read_with_a_ratio_or_as_the_default() {
    for lines in ["lora_plus_lr_embedding = 1e-6", "lora_plus_ratio = 0.0\nlora_plus_lr_embedding = 1e-5"] {
        loaded(&format!("{MINIMAL}[adapter]\n{lines}\n"), &[]);
    }
}

#[test]
fn a_written_configuration_loads_as_the_same() {
    let everything = r#"
seed = 7
output_dir = "runs/x"
model = { path = "../models/tiny", labels = ["no \"quotes\"", "ja\n"], dtype = "bf16", save_dtype = "f16" }
[adapter]
r = 4
alpha = 8
dropout = 0
bias = "lora_only"
target_modules = ["query", "mlp.c_proj"]
exclude_modules = '.*\.pooler\..*'
layers = 3
layers_pattern = ["layer"]
modules_to_save = ["pooler"]
use_rslora = true
init = "gaussian"
init_from = "../runs/a/adapter"
[adapter.rank_pattern]
'z.*' = 16
"a" = 2
[adapter.alpha_pattern]
'z.*' = 16
[data]
train = "train.jsonl"
valid = "valid.jsonl"
text = "sentence"
text_pair = "other"
label = "class"
max_length = 64
[train]
epochs = 0
max_steps = 10
learning_rate = 1.2345678901234567e-4
betas = [0, 0.95]
eps = 1e-6
weight_decay = 1e-5
schedule = "cosine"
warmup_ratio = 0.06
max_grad_norm = 0
shuffle = false
best = "f1_macro"
early_stopping_patience = 2
device = "cuda:0"
"#;
    let root = directory(everything);
    let first = load_in(&root, &[]).expect("a correct configuration").config;
    let Method::Lora(lora) = &first.adapter.method else { panic!("{:?}", first.adapter.method) };
    assert_eq!(lora.targets.layers, Some(vec![3]));
    assert_eq!(lora.rank_pattern.keys().collect::<Vec<_>>(), ["z.*", "a"]);
    assert_eq!(first.output_dir, Some(PathBuf::from("runs/x")));

    fs::write(root.path().join("runs/config.toml"), first.to_toml()).expect("a file");
    let again = load(Path::new("runs/config.toml"), &[], root.path()).expect("the same");
    assert_eq!(again.config, first);
    assert_eq!(again.config.to_toml(), first.to_toml());
}

#[test]
fn configurations_of_the_other_methods_load_again() {
    for method in ["full", "none"] {
        let root = directory(MINIMAL);
        let first = load_in(&root, &[&format!("adapter.method={method}")]).expect("correct").config;
        fs::write(root.path().join("configs/sst2.toml"), first.to_toml()).expect("a file");
        assert_eq!(load_in(&root, &[]).expect("the same").config, first);
    }
}

#[test]
fn set_takes_toml_and_text_as_typed() {
    let config = loaded(
        MINIMAL,
        &[
            "data.text=1",
            "data.text_pair=2024-01-01",
            "data.label=\"a b\"",
            "adapter.target_modules=all-linear",
            "adapter.exclude_modules=[\"a\"]",
            "model.labels=['0', '1']",
            "train.schedule=cosine",
            "train.learning_rate=1",
            "train.epochs=4",
            "train.epochs=5",
        ],
    );
    assert_eq!(config.data.columns.text.as_deref(), Some("1"));
    assert_eq!(config.data.columns.text_pair.as_deref(), Some("2024-01-01"));
    assert_eq!(config.data.columns.label.as_deref(), Some("a b"));
    let targets = config.adapter.method.targets().expect("LoRA has targets");
    assert_eq!(targets.target_modules, Targets::AllLinear);
    assert_eq!(targets.exclude_modules, Some(Names::List(vec!["a".to_owned()])));
    assert_eq!(config.model.labels, Some(vec!["0".to_owned(), "1".to_owned()]));
    assert_eq!(config.train.schedule, Schedule::Cosine);
    assert_eq!(config.train.learning_rate, 1.0);
    assert_eq!(config.train.epochs, 5, "the later --set counts");
}

#[test]
fn paths_of_set_start_at_the_working_directory_and_output_dir_stays_as_typed() {
    let root = directory(&format!("output_dir = \"out\"\n{MINIMAL}"));
    let config = load_in(&root, &["data.train=other.jsonl"]).expect("correct").config;
    assert_eq!(config.data.train, root.path().join("other.jsonl").into());
    assert_eq!(config.output_dir, Some(PathBuf::from("out")));
}

#[test]
fn a_place_is_a_line_a_set_or_the_key_alone() {
    let root = directory(&format!("{MINIMAL}[adapter]\nr = 4\n"));
    let loaded = load_in(&root, &["adapter.alpha=2"]).expect("correct");
    assert_eq!(loaded.place("adapter.r"), "`adapter.r` in configs/sst2.toml, line 6");
    assert_eq!(loaded.place("adapter.alpha"), "`--set adapter.alpha=2`");
    assert_eq!(loaded.place("adapter.bias"), "`adapter.bias`");
}

#[test]
fn peft_s_names_of_keys_are_taken_and_set_lies_over_either() {
    let root = directory(&format!(
        "{MINIMAL}[adapter]\nlora_alpha = 16\nlora_dropout = 0.0\nlayers_to_transform = 1\n\
         init_lora_weights = \"gaussian\"\ntarget_modules = [\"query\"]\n"
    ));
    let loaded = load_in(&root, &["adapter.lora_dropout=0.2", "adapter.alpha=8"]).expect("correct");
    let Method::Lora(lora) = &loaded.config.adapter.method else { panic!("{:?}", loaded.config.adapter.method) };
    assert_eq!((lora.alpha, lora.dropout, lora.init), (8.0, 0.2, Init::Gaussian));
    assert_eq!(lora.targets.layers, Some(vec![1]));
    assert!(loaded.written.contains("adapter.layers"));
    assert_eq!(loaded.place("adapter.layers"), "`adapter.layers_to_transform` in configs/sst2.toml, line 8");
    assert_eq!(loaded.place("adapter.dropout"), "`--set adapter.lora_dropout=0.2`");
}

/// The file that the README names shows the defaults: each of its keys has the one of `Config`, but for those that make it
/// an example.
#[test]
fn the_commented_example_shows_the_defaults() {
    let shown: toml::Table = include_str!("../../../../../configs/classify.toml").parse().unwrap();
    let defaults: toml::Table = Config::default().to_toml().parse().unwrap();
    let example = ["model.path", "data.train", "data.valid_fraction", "train.warmup_steps"];
    for (table, keys) in shown.iter().filter_map(|(name, value)| Some((name, value.as_table()?))) {
        for (key, value) in keys.iter().filter(|(key, _)| !example.contains(&format!("{table}.{key}").as_str())) {
            assert_eq!(Some(value), defaults[table].get(key), "{table}.{key}");
        }
        for key in defaults[table].as_table().unwrap().keys() {
            assert!(keys.contains_key(key), "{table}.{key} is not shown");
        }
    }
}

/// Keys of examples that may name what is not in the repository, and what stands in its place.
const INSTEAD: [(&str, &str, &str); 3] = [
    ("model", "path", "models/quickstart"),
    ("data", "train", "datasets/quickstart/train.jsonl"),
    ("data", "valid", "datasets/quickstart/valid.jsonl"),
];

#[test]
fn every_example_is_a_configuration() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let configs = repository.join("configs");
    let files: Vec<_> = fs::read_dir(&configs).expect("the examples").map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let written: toml::Table = fs::read_to_string(&file).unwrap().parse().unwrap();
        let is_missing = |(table, key, _): &(&str, &str, &str)| {
            let value = written.get(*table).and_then(|table| table.get(*key)).and_then(toml::Value::as_str);
            value.is_some_and(|path| !configs.join(path).exists())
        };
        let set = |(table, key, instead): (&str, &str, &str)| format!("{table}.{key}={instead}");
        let sets: Vec<String> = INSTEAD.into_iter().filter(is_missing).map(set).collect();
        if let Err(error) = load(&file, &sets, &repository) {
            panic!("{}: {error}", file.display());
        }
    }
}

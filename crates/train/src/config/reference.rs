//! `docs/configuration.md`, made of the list of keys: what a key takes, its default, and the tasks and methods that have it come
//! from the code, what it does stands here. The test compares; `KINDLING_BLESS=1 cargo test -p train reference` writes it anew.

use std::path::Path;

use lora::{Method, Setting};
use toml::Value;

use super::keys::{KEYS, Key, TABLES, has};
use super::kinds::Kind;
use super::words::Task;
use super::written::line;

const REQUIRED: [&str; 2] = ["model.path", "data.train"];

const BEGINNING: &str = "\
# Configuration

Every key of a run's TOML file. Unknown keys are errors that suggest the nearest known one, and so is a key that the chosen task or
method does not have. Any key can be set on the command line: `--set train.epochs=5`.

This file is made of the code: `KINDLING_BLESS=1 cargo test -p train reference` writes it anew, and a test compares.
[peft.md](peft.md) has PEFT's and Transformers' names for these keys.

- Paths are relative to the directory of the configuration file; in `--set`, and `output_dir` always, to the working directory.
- Integers go up to 4294967295, `seed` up to 9223372036854775807. Numbers are finite.
- \"none\" as a default means that the key is absent: what then holds is said beside it.
";

/// What stands above the keys of a table.
const SECTIONS: [(&str, &str); 5] = [
    ("", "## Top level\n"),
    ("model", "## `[model]`\n\nThe base model and the task.\n"),
    (
        "adapter",
        "## `[adapter]`\n\nThe method, and PEFT's options for it under PEFT's names. `none` has `method` \
         and `init_from` alone, `full` has no `init_from`.\n",
    ),
    (
        "data",
        "## `[data]`\n\nFiles, columns and how rows become examples. [data.md](data.md) describes the files, \
         [generation.md](generation.md) the rows of language models.\n",
    ),
    ("train", "## `[train]`\n\nLength, batches, optimiser, evaluation and what the run computes with.\n"),
];

const ENDING: &str = "
## `[[legs]]`

Written by runs alone: how a finished run was continued with `--resume --set`. [runs.md](runs.md) explains it.
";

/// What each key does.
#[rustfmt::skip]
const EFFECTS: &[(&str, &str)] = &[
    ("seed", "Data order, initial values, dropout and masking all derive from it"),
    ("output_dir", "Directory of the run; without it `runs/` and the name of the configuration file"),
    ("model.path", "A model directory, or an id of the Hugging Face Hub, `org/name[@revision]`"),
    ("model.task", "What is trained: a class of each text or pair, several of them, tags of words, a number for each text or pair, masked tokens, or the next token"),
    ("model.labels", "Class names in the order of their ids; without it those of `init_from`, of the model's trained head (`id2label`), or of the training data"),
    ("model.dtype", "How frozen weights are kept; `auto`: as stored. `int8` and `nf4` quantise the matrices of linear layers and leave the rest as stored ([quantised.md](quantised.md))"),
    ("model.quantize_output", "Quantise the output layer of a language model too, with the word embeddings where both are one table; needs `dtype = \"int8\"` or `\"nf4\"`"),
    ("model.weights", "`random`: only `config.json` and the tokenizer are read, for pretraining from nothing; needs `method = \"full\"`"),
    ("model.save_dtype", "Of the checkpoint that `method = \"full\"` writes"),
    ("adapter.init_from", "A trained adapter to start from; its settings take the place of the keys above, and a written key that disagrees is an error"),
    ("data.train", "Training data"),
    ("data.valid", "Validation data; without it and `valid_fraction` there is none, and the last adapter is kept"),
    ("data.valid_fraction", "Share of the training data that is split off for validation: in text classification of each class alike, otherwise at random; excludes `valid`"),
    ("data.text", "Column of the text; without it `text`, if there is one"),
    ("data.text_pair", "Column of the second text of a pair; without it `text_pair`, if there is one"),
    ("data.label", "Column of the label, of several labels, or of the number; without it `label`"),
    ("data.prompt", "Column of the prompt, a text or a list of messages; without it `prompt`, if there is one"),
    ("data.completion", "Column of the completion, likewise; without it `completion`, if there is one"),
    ("data.messages", "Column of conversations; without it `messages`, if there is one"),
    ("data.tokens", "Column of the words, a list of texts; without it `tokens`, if there is one"),
    ("data.tags", "Column of the words' tags, a list; without it `tags`"),
    ("data.entities", "Column of the entities in `text`, a list of objects with `start`, `end` and `label`; without it `entities`"),
    ("data.max_length", "Longest example in tokens, longer ones are truncated; without it the smallest of 512, the model's positions and the tokenizer's `model_max_length`"),
    ("data.text_template", "The text as a Jinja template over the columns of a row, `\"{{ title }}: {{ body }}\"`; excludes `text`"),
    ("data.prompt_template", "The prompt, likewise; excludes `prompt`"),
    ("data.completion_template", "The completion, likewise; excludes `completion`"),
    ("data.pack", "Put several examples into one row of `max_length`; none of them sees another"),
    ("data.loss_on", "`completion`: completions and the assistant's turns; `all`: prompts too. Of plain texts every token either way"),
    ("data.mask_probability", "Share of the tokens to predict; of these 80 % become the mask token, 10 % a random one, 10 % stay"),
    ("data.class_weights", "What the loss of a class's examples weighs in training, as `torch.nn.CrossEntropyLoss(weight)`: a number by the name of each class, `{ spam = 2.0 }`, 1 for the others, or `balanced`: scikit-learn's n / (k n_c) of the training data's n rows, n_c of the class and k classes. The loss of a step is the weighted mean; evaluations have no weights"),
    ("train.epochs", "Passes over the training data; 0 needs `max_steps`"),
    ("train.max_steps", "Optimiser steps after which training ends, if the epochs do not end first; 0: no limit. The schedule is laid over the steps that result"),
    ("train.batch_size", "Examples of a micro-batch (with `pack` rows)"),
    ("train.grad_accumulation", "Micro-batches of an optimiser step; the loss is the mean over all targets of the step"),
    ("train.learning_rate", "Peak learning rate"),
    ("train.optimizer", "AdamW"),
    ("train.betas", "Decay rates of AdamW's averages"),
    ("train.eps", "AdamW's epsilon"),
    ("train.weight_decay", "Decoupled weight decay, on every trained tensor"),
    ("train.schedule", "Transformers' schedules of these names, with warm-up"),
    ("train.warmup_steps", "Steps over which the learning rate rises from 0; without it and `warmup_ratio` none"),
    ("train.warmup_ratio", "The same as a share of all steps, rounded up; excludes `warmup_steps`"),
    ("train.max_grad_norm", "Gradients are clipped to this global norm; 0: no clipping"),
    ("train.shuffle", "Draw a new order of the examples for each epoch"),
    ("train.group_by_length", "Put examples of similar length into a micro-batch; only where attention pads (GPU) does it save time"),
    ("train.eval_every", "Optimiser steps between evaluations; 0: after each epoch. The last step is always evaluated"),
    ("train.eval_generate", "Validation prompts that are answered and scored (exact match, BLEU, ROUGE-L) at each evaluation; 0: none; needs validation data"),
    ("train.checkpoint_every", "Optimiser steps between checkpoints; 0: after each epoch. The last step always has one"),
    ("train.keep_checkpoints", "Checkpoints to keep, the newest ones"),
    ("train.best", "The score by which the best adapter is chosen; `auto`: accuracy, of tags of words F1, of several labels micro F1, of regression Pearson, ties by loss, then the earlier one. Language models have `auto` and `loss` alone, which are the same"),
    ("train.early_stopping_patience", "Evaluations without improvement after which training ends; 0: off; needs validation data"),
    ("train.label_smoothing", "Share of a target that is spread over all classes in training, as torch's and Transformers' `label_smoothing`; evaluations have none"),
    ("train.tensorboard", "Write event files for TensorBoard beside `metrics.jsonl`"),
    ("train.gradient_checkpointing", "Recompute each layer in the backward pass: the same numbers in less memory and more time"),
    ("train.compute", "Type of products with frozen weights; `auto`: f32. `bf16` needs a processor with such products (AVX-512 BF16). What is trained, norms, softmax, loss and optimiser are always f32"),
    ("train.device", "One of `kindling devices`, also with an index (`cuda:1`); `auto`: the best one present"),
];

fn document() -> String {
    let mut text = BEGINNING.to_owned();
    for (table, heading) in SECTIONS {
        text += &format!("\n{heading}\n| key | value | default | what it does |\n|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| key.table == table && !matches!(key.kind, Kind::Legs)) {
            let dotted = key.dotted();
            let default = match key.default().filter(|_| !REQUIRED.contains(&dotted.as_str())) {
                Some(value) => format!("`{}`{}", shown(&value), other_defaults(key, &value)),
                None if REQUIRED.contains(&dotted.as_str()) => "required".to_owned(),
                None => own_default(key).unwrap_or_else(|| "none".to_owned()),
            };
            let row = format!(
                "`{}` | {} | {default} | {}{}",
                key.name,
                takes(key.kind),
                effect(key),
                tasks(&dotted) + &methods(key)
            );
            text += &format!("| {row} |\n");
        }
    }
    text + ENDING
}

/// A default as it is written after the `=`.
fn shown(value: &Value) -> String {
    line("", value).trim_start_matches(" = ").to_owned()
}

/// The default of a key that the default method has not.
fn own_default(key: &Key) -> Option<String> {
    let method = Method::NAMES.iter().find_map(|name| Method::named(name).filter(|method| has(method, key.name)))?;
    let defaults = toml::Table::try_from(method).expect("settings are TOML");
    defaults.get(key.name).filter(|_| key.table == "adapter").map(|default| format!("`{}`", shown(default)))
}

/// The defaults of methods that have another one than the first.
fn other_defaults(key: &Key, default: &Value) -> String {
    let of_method = |name: &&str| {
        let method = Method::named(name).filter(|method| key.name != "method" && has(method, key.name))?;
        let defaults = toml::Table::try_from(method).expect("settings are TOML");
        let other = defaults.get(key.name).filter(|other| *other != default)?;
        Some(format!("; `{name}`: `{}`", shown(other)))
    };
    match key.table {
        "adapter" => Method::NAMES.iter().filter_map(of_method).collect(),
        _ => String::new(),
    }
}

fn takes(kind: Kind) -> String {
    match kind {
        Kind::Seed => "an integer of at least 0".to_owned(),
        Kind::Count(least) => format!("an integer of at least {least}"),
        Kind::Word(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Number(..) => kind.expected().replace("a finite number", "a number"),
        _ => kind.expected(),
    }
}

fn effect(key: &Key) -> String {
    let dotted = key.dotted();
    if dotted == "adapter.method" {
        let summary = |(name, summary): &(&str, &str)| match summary.is_empty() {
            true => format!("`{name}`"),
            false => format!("`{name}`: {summary}"),
        };
        return Method::SUMMARIES.iter().map(summary).collect::<Vec<_>>().join("; ");
    }
    if let Some(setting) = of_methods(key) {
        return setting.effect.to_owned() + &other_effects(&setting);
    }
    let found = EFFECTS.iter().find(|(name, _)| *name == dotted);
    found.unwrap_or_else(|| panic!("say in `EFFECTS` what `{dotted}` does")).1.to_owned()
}

/// What methods say of a key that is another one's first.
fn other_effects(first: &Setting) -> String {
    let of_method = |name: &&str| {
        let own = lora::settings_of(name).iter().find(|setting| setting.name == first.name)?;
        (own.effect != first.effect).then(|| format!("; `{name}`: {}", own.effect))
    };
    Method::NAMES.iter().filter_map(of_method).collect()
}

/// A key that methods describe.
fn of_methods(key: &Key) -> Option<Setting> {
    lora::settings().into_iter().find(|setting| key.table == "adapter" && setting.name == key.name)
}

/// The methods that have a key, where some with keys of their own have not.
fn methods(key: &Key) -> String {
    let has = |name: &str, of: &str| lora::settings_of(name).iter().any(|setting| setting.name == of);
    let with_keys: Vec<&str> =
        Method::NAMES.iter().filter(|name| !lora::settings_of(name).is_empty()).copied().collect();
    let names: Vec<&str> = with_keys.iter().filter(|name| has(name, key.name)).copied().collect();
    match of_methods(key) {
        Some(_) if names.len() < with_keys.len() => format!(". Only `{}`", names.join("`, `")),
        _ => String::new(),
    }
}

/// The tasks that have a key, where some have not.
fn tasks(dotted: &str) -> String {
    let task = |name: &&&str| Value::from(**name).try_into::<Task>().expect("the name of a task").has(dotted);
    let names: Vec<&str> = Task::NAMES.iter().filter(|name| task(name)).copied().collect();
    if names.len() == Task::NAMES.len() { String::new() } else { format!(". Only `{}`", names.join("`, `")) }
}

#[test]
fn the_reference_of_the_configuration_is_what_the_code_makes() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let made = document();
    if std::env::var_os("KINDLING_BLESS").is_some() {
        std::fs::write(&file, &made).expect("docs/configuration.md can be written");
    }
    let written = std::fs::read_to_string(&file).expect("docs/configuration.md");
    let differs = made.lines().zip(written.lines()).find(|(made, written)| made != written);
    assert_eq!(differs, None, "write it anew: KINDLING_BLESS=1 cargo test -p train reference");
    assert_eq!(made, written);
}

#[test]
fn the_reference_describes_every_key_once() {
    let is_described_here =
        |key: &&Key| !matches!(key.kind, Kind::Legs) && key.dotted() != "adapter.method" && of_methods(key).is_none();
    let known: Vec<String> = KEYS.iter().filter(is_described_here).map(Key::dotted).collect();
    let described: Vec<&str> = EFFECTS.iter().map(|(name, _)| *name).collect();
    assert_eq!(described, known);
    assert_eq!(SECTIONS.map(|(table, _)| table), *TABLES);
    // Its text says what the other methods have.
    let keys_of = |method: &Method| {
        let keys = KEYS.iter().filter(|key| key.table == "adapter" && has(method, key.name));
        keys.map(|key| key.name).collect::<Vec<_>>()
    };
    assert_eq!(keys_of(&Method::full()), ["method", "layers", "last_layers", "train_embeddings"]);
    assert_eq!(keys_of(&Method::frozen()), ["method", "init_from"]);
}

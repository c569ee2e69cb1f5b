//! Files and arguments with a mistake in each, and the whole message about it.

use std::path::Path;

use miette::Diagnostic;

use super::{MINIMAL, directory, load, load_in};

/// Error and help, with the working directory as `.`.
pub(super) fn message(config: &str, sets: &[&str]) -> String {
    let root = directory(config);
    let error = load_in(&root, sets).expect_err("a wrong configuration");
    let help = error.help().map(|help| format!("\nhelp: {help}"));
    format!("{error}{}", help.unwrap_or_default()).replace(&root.path().display().to_string(), ".")
}

/// Of `MINIMAL` with `line` under `[table]`, which is line 6.
fn message_of(table: &str, line: &str) -> String {
    let config = match table {
        "data" => format!("{MINIMAL}\n{line}\n"),
        table => format!("{MINIMAL}[{table}]\n{line}\n"),
    };
    message(&config, &[])
}

#[test]
fn an_unknown_word_is_named_with_its_neighbours() {
    assert_eq!(
        message_of("train", "schedule = \"cosin\""),
        "`train.schedule` in configs/sst2.toml, line 6: unknown schedule `cosin`\n\
         help: did you mean `cosine`? (constant, linear, cosine)"
    );
    assert_eq!(
        message(MINIMAL, &["train.schedule=true"]),
        "`--set train.schedule=true`: unknown schedule `true`\n\
         help: expected one of: constant, linear, cosine"
    );
}

#[test]
fn an_unknown_key_is_named_with_its_neighbour_or_its_table() {
    for (table, line, key, help) in [
        ("train", "learning_rat = 1", "train.learning_rat", "did you mean `learning_rate`?"),
        ("train", "lr = 1", "train.lr", "did you mean `learning_rate`?"),
        ("train", "r = 1", "train.r", "`r` belongs under [adapter]"),
        ("train", "seed = 1", "train.seed", "`seed` belongs at the top, before the first table"),
        ("trian", "epochs = 1", "trian", "did you mean `train`?"),
        (
            "data",
            "zzz = 1",
            "data.zzz",
            "[data] has: train, valid, valid_fraction, text, text_pair, label, prompt, completion, messages, tokens, tags, \
             entities, max_length, text_template, prompt_template, completion_template, pack, loss_on, mask_probability, class_weights",
        ),
    ] {
        let line_number = if table == "trian" { 5 } else { 6 };
        assert_eq!(
            message_of(table, line),
            format!("`{key}` in configs/sst2.toml, line {line_number}: unknown key\nhelp: {help}")
        );
    }
    assert_eq!(
        message(&format!("epochs = 1\n{MINIMAL}"), &[]),
        "`epochs` in configs/sst2.toml, line 1: unknown key\nhelp: `epochs` belongs under [train]"
    );
    assert_eq!(
        message(MINIMAL, &["trian.epochs=1"]),
        "`--set trian.epochs=1`: unknown key\nhelp: did you mean `train.epochs`?"
    );
    assert_eq!(
        message(MINIMAL, &["adapter.rank_pattern.q=1"]),
        "`--set adapter.rank_pattern.q=1`: unknown key\n\
         help: set the whole table, for example `rank_pattern = { query = 16 }`"
    );
}

#[test]
fn a_quoted_key_is_not_a_path() {
    let top = "the top has: seed, output_dir, model, adapter, data, train";
    for (line, key) in [("\"model.path\" = 'x'", "model.path"), ("\"\" = 1", "")] {
        assert_eq!(message(line, &[]), format!("`{key}` in configs/sst2.toml, line 1: unknown key\nhelp: {top}"));
    }
}

#[test]
fn an_unknown_type_is_named_with_the_nearest() {
    assert_eq!(
        message(&MINIMAL.replace("[data]", "dtype = \"int4\"\n[data]"), &[]),
        "`model.dtype` in configs/sst2.toml, line 3: unknown dtype `int4`\n\
         help: did you mean `int8`? (auto, f32, bf16, f16, int8, nf4)"
    );
}

#[test]
fn an_unknown_initialisation_is_named_with_the_nearest() {
    let all = "default, gaussian, pissa, pissa_niter_N, olora";
    for (word, help) in [
        ("pisa", format!("did you mean `pissa`? ({all})")),
        ("olra", format!("did you mean `olora`? ({all})")),
        ("orthogonal", format!("expected one of: {all}")),
        ("pissa_niter_0", "the N of `pissa_niter_N` is an integer from 1 to 100".to_owned()),
        ("pissa_niter_", "the N of `pissa_niter_N` is an integer from 1 to 100".to_owned()),
        ("pissa_niter_4.5", "the N of `pissa_niter_N` is an integer from 1 to 100".to_owned()),
        ("pissa_niter_101", "the N of `pissa_niter_N` is an integer from 1 to 100".to_owned()),
    ] {
        assert_eq!(
            message_of("adapter", &format!("init = \"{word}\"")),
            format!("`adapter.init` in configs/sst2.toml, line 6: unknown init `{word}`\nhelp: {help}")
        );
    }
}

#[test]
fn values_out_of_range_or_of_another_type_are_named_with_what_is_expected() {
    for (table, line, found, expected, help) in [
        ("train", "batch_size = 0", "0", "an integer from 1 to 4294967295", "the default is `batch_size = 8`"),
        ("train", "batch_size = \"8\"", "\"8\"", "an integer from 1 to 4294967295", "the default is `batch_size = 8`"),
        (
            "train",
            "keep_checkpoints = 0",
            "0",
            "an integer from 1 to 4294967295",
            "the default is `keep_checkpoints = 2`",
        ),
        (
            "train",
            "epochs = 99999999999999999999",
            "99999999999999999999",
            "an integer from 0 to 4294967295",
            "the default is `epochs = 3`",
        ),
        (
            "train",
            "learning_rate = nan",
            "nan",
            "a number greater than 0 and at most 1000",
            "the default is `learning_rate = 3e-4`",
        ),
        (
            "train",
            "betas = [\n0.9, 1.0]",
            "[ 0.9, 1.0]",
            "two numbers of at least 0 and below 1",
            "the default is `betas = [0.9, 0.999]`",
        ),
        (
            "train",
            "warmup_ratio = 1.1",
            "1.1",
            "a number of at least 0 and at most 1",
            "for example `warmup_ratio = 0.06`",
        ),
        ("train", "weight_decay = inf", "inf", "a finite number of at least 0", "the default is `weight_decay = 0.01`"),
        ("train", "shuffle = 1", "1", "true or false", "the default is `shuffle = true`"),
        ("train", "device = ''", "''", "a string that is not empty", "the default is `device = \"auto\"`"),
        (
            "train",
            "best = 1",
            "1",
            "one of the strings auto, accuracy, loss, f1_macro, matthews, f1, pearson, spearman, f1_micro, f1_samples",
            "the default is `best = \"auto\"`",
        ),
        ("adapter", "r = -1", "-1", "an integer from 1 to 4294967295", "the default is `r = 8`"),
        ("adapter", "dropout = 1", "1", "a number of at least 0 and below 1", "the default is `dropout = 0.1`"),
        (
            "adapter",
            "layers = []",
            "[]",
            "an integer of at least 0, or a list of one or more of them",
            "for example `layers = [0, 1]`",
        ),
        (
            "data",
            "valid_fraction = 1.0",
            "1.0",
            "a number of at least 0 and below 1",
            "the default is `valid_fraction = 0.0`",
        ),
        ("data", "max_length = 0", "0", "an integer from 1 to 4294967295", "for example `max_length = 128`"),
        ("data", "text = ''", "''", "a string that is not empty", "for example `text = \"text\"`"),
        (
            "data",
            "valid = ''",
            "''",
            "a path, a pattern such as \"data/*.csv\", or a list of one or more of them, none twice",
            "for example `valid = \"valid.jsonl\"`",
        ),
    ] {
        let key = line.split(' ').next().expect("a key");
        assert_eq!(
            message_of(table, line),
            format!("`{table}.{key}` in configs/sst2.toml, line 6: found `{found}`, expected {expected}\nhelp: {help}")
        );
    }
    assert_eq!(
        message(MINIMAL, &["train.epochs=three"]),
        "`--set train.epochs=three`: found `three`, expected an integer from 0 to 4294967295\n\
         help: the default is `epochs = 3`"
    );
}

#[test]
fn tables_are_tables() {
    assert_eq!(
        message("model = \"tiny\"\n", &[]),
        "`model` in configs/sst2.toml, line 1: found `\"tiny\"`, expected a table\n\
         help: write `[model]` and below it its keys, one a line, for example `path = \"models/bert-base-uncased\"`"
    );
    assert_eq!(
        message(MINIMAL, &["train=3"]),
        "`--set train=3`: `train` is a table\nhelp: set one of its keys, for example `--set train.epochs=3`"
    );
    assert_eq!(
        message(MINIMAL, &["train.epochs"]),
        "`--set train.epochs`: no `=`\nhelp: write `--set KEY=VALUE`, for example `--set train.epochs=3`"
    );
}

#[test]
fn toml_errors_have_line_and_column() {
    assert_eq!(
        message("[model]\npath = bert\n", &[]),
        "configs/sst2.toml, line 2, column 8: string values must be quoted, expected literal string\n\
         help: put it in quotes: `path = \"bert\"`"
    );
    assert_eq!(
        message("seed = 1\nseed = 2\n", &[]),
        "configs/sst2.toml, line 2, column 1: duplicate key\nhelp: line 1 has it already: keep one of the two"
    );
}

#[test]
fn a_key_written_under_both_its_names_is_refused_with_both_places() {
    for (ours, pefts) in [
        ("alpha = 16", "lora_alpha = 16"),
        ("dropout = 0.1", "lora_dropout = 0.1"),
        ("layers = [0]", "layers_to_transform = 0"),
        ("init = \"default\"", "init_lora_weights = \"gaussian\""),
    ] {
        let [ours_is, pefts_is] = [ours, pefts].map(|line| line.split(' ').next().expect("a key"));
        let lines = |first: &str, second: &str| message(&format!("{MINIMAL}[adapter]\n{first}\n{second}\n"), &[]);
        assert_eq!(
            lines(ours, pefts),
            format!(
                "`adapter.{pefts_is}` in configs/sst2.toml, line 7: `adapter.{ours_is}` in configs/sst2.toml, line 6 is set too\n\
                 help: keep one of the two"
            )
        );
        assert!(
            lines(pefts, ours)
                .starts_with(&format!("`adapter.{ours_is}` in configs/sst2.toml, line 7: `adapter.{pefts_is}` in"))
        );
    }
    assert_eq!(
        message_of("adapter", "lora_alpha = 0"),
        "`adapter.lora_alpha` in configs/sst2.toml, line 6: found `0`, expected a finite number greater than 0\n\
         help: the default is `alpha = 32.0`"
    );
    assert_eq!(
        message_of("train", "lora_dropout = 0"),
        "`train.lora_dropout` in configs/sst2.toml, line 6: unknown key\nhelp: `lora_dropout` belongs under [adapter]"
    );
}

#[test]
fn required_keys_come_with_the_line_to_write() {
    assert_eq!(
        message("", &[]),
        "`model.path` is missing in configs/sst2.toml\n\
         help: write under [model]: `path = \"models/bert-base-uncased\"`"
    );
    assert_eq!(
        message("", &["model.path=models/tiny"]),
        "`data.train` is missing in configs/sst2.toml\n\
         help: write under [data]: `train = \"train.jsonl\"`"
    );
}

#[test]
fn combinations_that_mean_nothing_are_refused() {
    let lora = |lines: &str| format!("{MINIMAL}[adapter]\n{lines}");
    assert_eq!(
        message(&lora("method = \"full\"\nr = 8\n"), &[]),
        "`adapter.r` in configs/sst2.toml, line 7: method `full` has no key `r`\n\
         help: remove it, or set `adapter.method = \"lora\"`"
    );
    assert_eq!(
        message(&lora("method = \"none\"\nr = 8\nalpha = 8.0\n"), &["adapter.use_dora=true"]),
        "method `none` has no such keys:\n  `adapter.r` in configs/sst2.toml, line 7\n  \
         `adapter.alpha` in configs/sst2.toml, line 8\n  `--set adapter.use_dora=true`\n\
         help: remove them, or set `adapter.method = \"lora\"`"
    );
    assert_eq!(
        message(&lora("method = \"none\"\nr = 8\nlora_alpha = 8.0\nfeedforward_modules = []\n"), &[]),
        "method `none` has no such keys:\n  `adapter.r` in configs/sst2.toml, line 7\n  \
         `adapter.lora_alpha` in configs/sst2.toml, line 8\n  `adapter.feedforward_modules` in configs/sst2.toml, line 9\n\
         help: remove `r`, `alpha`, or set `adapter.method = \"lora\"`; remove `feedforward_modules`, or set `adapter.method = \"ia3\"`"
    );
    assert_eq!(
        message(&lora("layers_pattern = [\"h\"]\n"), &[]),
        "`adapter.layers_pattern` in configs/sst2.toml, line 6: `adapter.layers` is not set\n\
         help: `layers_pattern` names the list whose indices `layers` are: set `layers`, for example `layers = [0, 1]`, or remove it"
    );
    assert_eq!(
        message(&lora("lora_plus_lr_embedding = 1e-5\n"), &[]),
        "`adapter.lora_plus_lr_embedding` in configs/sst2.toml, line 6: `adapter.lora_plus_ratio` is not set\n\
         help: `lora_plus_lr_embedding` does nothing without it: set `lora_plus_ratio`, for example `lora_plus_ratio = 16`, \
         or remove `lora_plus_lr_embedding`"
    );
    assert_eq!(
        message(&lora("layers = 0\ntarget_modules = \".*query\"\n"), &[]),
        "`adapter.layers` in configs/sst2.toml, line 6: `adapter.target_modules` is a regular expression, which chooses the layers itself\n\
         help: remove `layers`, or write `target_modules` as a list of names, for example `target_modules = [\"query\", \"value\"]`"
    );
    let train = |lines: &str| format!("{MINIMAL}[train]\n{lines}");
    assert_eq!(
        message(&train("warmup_steps = 1\nwarmup_ratio = 0.1\n"), &[]),
        "`train.warmup_ratio` in configs/sst2.toml, line 7: `train.warmup_steps` in configs/sst2.toml, line 6 is set too\n\
         help: keep one of the two"
    );
    assert_eq!(
        message(&train("epochs = 0\n"), &[]),
        "`train.epochs` in configs/sst2.toml, line 6: 0 epochs and no `train.max_steps` leave nothing to train\n\
         help: set `train.epochs` or `train.max_steps` to 1 or more"
    );
    assert_eq!(
        message(&train("early_stopping_patience = 1\n"), &[]),
        "`train.early_stopping_patience` in configs/sst2.toml, line 6: early stopping needs validation data\n\
         help: set `data.valid` or `data.valid_fraction`, or leave it 0"
    );
    assert_eq!(
        message(&format!("{MINIMAL}valid = \"valid.jsonl\"\n"), &["data.valid_fraction=0.1"]),
        "`--set data.valid_fraction=0.1`: `data.valid` in configs/sst2.toml, line 5 is set too\n\
         help: keep one of the two"
    );
}

#[test]
fn inputs_that_are_not_there_are_named_with_where_they_were_looked_for() {
    for (set, expected) in [
        ("data.train=othr.jsonl", "no file `othr.jsonl` (looked in ./othr.jsonl)\nhelp: did you mean `other.jsonl`?"),
        (
            "data.valid=elsewhere/x.csv",
            "no file `elsewhere/x.csv` (looked in ./elsewhere/x.csv)\nhelp: relative paths start at the working directory",
        ),
        ("data.valid=models", "no file `models` (looked in ./models)\nhelp: it is a directory: name the file in it"),
        (
            "data.train=-",
            "standard input can be read only once, and training reads its data again\nhelp: write the data to a file and name that",
        ),
        (
            "adapter.init_from=other.jsonl",
            "no directory `other.jsonl` (looked in ./other.jsonl)\nhelp: it is a file: name the directory it is in",
        ),
        (
            "model.path=./models/teeny",
            "no directory `./models/teeny` (looked in ./models/teeny)\nhelp: relative paths start at the working directory",
        ),
        (
            "model.path=~/tiny",
            "no directory `~/tiny` (looked in ./~/tiny)\nhelp: write the path out: `~` is not replaced",
        ),
        (
            "model.path=models/tinny",
            "no directory `models/tinny` (looked in ./models/tinny)\nhelp: did you mean `models/tiny`? a model of that name on the Hugging Face Hub is `models/tinny@main`",
        ),
    ] {
        assert_eq!(message(MINIMAL, &[set]), format!("`--set {set}`: {expected}"));
    }
    assert_eq!(
        message("data.train = 'x'\n[model]\npath = \"../models/tiny\"\n", &[]),
        "`data.train` in configs/sst2.toml, line 1: no file `x` (looked in ./configs/x)\n\
         help: relative paths start at the directory of the configuration"
    );
}

#[test]
fn a_misspelt_configuration_is_looked_for_among_its_neighbours() {
    let root = directory(MINIMAL);
    let error = load(Path::new("configs/sst3.toml"), &[], root.path()).expect_err("no such file");
    let help = error.help().map(|help| help.to_string());
    assert_eq!(error.to_string(), "no configuration `configs/sst3.toml`");
    assert_eq!(help.as_deref(), Some("did you mean `configs/sst2.toml`?"));
}

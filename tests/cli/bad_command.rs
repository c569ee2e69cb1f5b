//! Command lines with a mistake in each.

use crate::project::Project;

fn refused(arguments: &[&str], expected: &str) {
    Project::new().run(arguments).refused(expected);
}

#[test]
fn a_misspelt_command_is_named_with_its_neighbour() {
    refused(
        &["trian", "run.toml"],
        "error: unrecognized subcommand 'trian'\n\
         \n\
         \x20\x20tip: a similar subcommand exists: 'train'\n\
         \n\
         Usage: kindling [OPTIONS] [COMMAND]\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_misspelt_flag_is_named_with_its_neighbour() {
    refused(
        &["train", "run.toml", "--dry-rum"],
        "error: unexpected argument '--dry-rum' found\n\
         \n\
         \x20\x20tip: a similar argument exists: '--dry-run'\n\
         \n\
         Usage: kindling train --dry-run <CONFIG>\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_missing_argument_is_asked_for() {
    refused(
        &["train"],
        "error: the following required arguments were not provided:\n\
         \x20\x20<CONFIG>\n\
         \n\
         Usage: kindling train <CONFIG>\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_dashboard_that_is_not_built_in_is_refused_with_how_to_build_it() {
    if cfg!(feature = "dashboard") {
        return;
    }
    refused(
        &["train", "run.toml", "--dashboard"],
        "error: this binary was built without the dashboard\n\
         help: build it in with `cargo run -p train --features dashboard`, or leave out `--dashboard`",
    );
}

#[test]
fn resume_and_overwrite_exclude_each_other() {
    refused(
        &["train", "run.toml", "--resume", "--overwrite"],
        "error: the argument '--resume' cannot be used with '--overwrite'\n\
         \n\
         Usage: kindling train --resume <CONFIG>\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn no_threads_are_refused() {
    refused(
        &["devices", "--threads", "0"],
        "error: invalid value '0' for '--threads <N>': 0 is not in 1..=65535\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn eval_needs_a_model_and_data() {
    let help = "give a file of labelled data with --data; a run, named with --run, has validation data of its own";
    refused(&["eval"], &format!("error: there is nothing to score the model on\nhelp: {help}"));
    refused(
        &["eval", "--data", "train.jsonl"],
        "error: no model is named\n\
         help: name a run with --run DIR, an adapter with --adapter A, or a model with --model M",
    );
}

#[test]
fn logits_without_a_file_for_them_are_refused() {
    refused(
        &["eval", "--model", "bert", "--data", "train.jsonl", "--logits"],
        "error: the following required arguments were not provided:\n\
         \x20\x20--per-example <OUT>\n\
         \n\
         Usage: kindling eval --per-example <OUT> --model <M> --data <F> --logits\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_key_that_eval_does_not_take_is_refused() {
    refused(
        &["eval", "--model", "bert", "--data", "train.jsonl", "--set", "data.txet=sentence"],
        "error: `--set data.txet=sentence` cannot be used here\n\
         help: did you mean `data.text`?",
    );
}

#[test]
fn a_max_length_above_the_positions_is_refused_by_predict_too() {
    refused(
        &["predict", "--model", "bert", "--set", "data.max_length=100", "a fine film"],
        "error: `--set data.max_length=100` cannot be used here\n\
         help: expected a number from 1 to 80",
    );
}

#[test]
fn a_max_length_without_room_for_text_is_refused_by_predict_too() {
    refused(
        &["predict", "--model", "bert", "--set", "data.max_length=2", "a fine film"],
        "error: `data.max_length = 2` leaves no room for text: the tokenizer adds 2 special tokens\n\
         help: set `data.max_length` to more than 2",
    );
}

#[test]
fn a_misspelt_device_is_named_with_its_neighbour() {
    refused(
        &["predict", "--model", "bert", "--device", "flexx", "a fine film"],
        "error: unknown device `flexx`\n\
         help: did you mean `flex`?",
    );
}

#[test]
fn text_and_input_exclude_each_other() {
    refused(
        &["predict", "--model", "bert", "--input", "train.jsonl", "a fine film"],
        "error: the argument '--input <F>' cannot be used with '[TEXT]...'\n\
         \n\
         Usage: kindling predict --model <M> --input <F> [TEXT]...\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_run_without_validation_data_asks_for_data() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    project.run(&["eval", "--run", "run"]).refused(
        "error: run was trained without validation data\n\
         help: name a file of labelled data with --data",
    );
}

#[test]
fn a_directory_of_nothing_known_cannot_be_inspected() {
    refused(
        &["inspect", "."],
        "error: . is neither an adapter, nor a model, nor a run\n\
         help: give the directory of an adapter (adapter_config.json), of a model (config.json) or of a run (config.toml, metrics.jsonl)",
    );
}

#[test]
fn a_file_of_nothing_known_cannot_be_inspected() {
    refused(
        &["inspect", "run.toml"],
        "error: run.toml is a file, and none of an adapter, a model or a run\n\
         help: give the directory of one, or one of its files: adapter_config.json, config.json, config.toml or weights (.safetensors)",
    );
}

#[test]
fn a_size_without_a_unit_that_exists_is_refused() {
    refused(
        &["merge", "--model", "bert", "--adapter", "a", "--output", "b", "--max-shard-size", "2XB"],
        "error: invalid value '2XB' for '--max-shard-size <SIZE>': expected a size such as 500MB or 2GB, found `2XB`\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_tolerance_that_is_no_share_is_refused() {
    refused(
        &["merge", "--model", "bert", "--adapter", "a", "--output", "b", "--tolerance", "5%"],
        "error: invalid value '5%' for '--tolerance <SHARE>': expected a share of the adapter's effect such as 0.1, found `5%`\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn a_type_that_merge_does_not_write_is_refused() {
    refused(
        &["merge", "--model", "bert", "--adapter", "a", "--output", "b", "--dtype", "int8"],
        "error: invalid value 'int8' for '--dtype <DTYPE>'\n\
         \x20\x20[possible values: f32, f16, bf16]\n\
         \n\
         For more information, try '--help'.",
    );
}

#[test]
fn an_output_in_a_directory_that_is_not_there_is_refused() {
    refused(
        &["predict", "--model", "bert", "--output", "results/out.jsonl", "a fine film"],
        "error: cannot write results/out.jsonl: there is no directory results\n\
         help: create it, or name a file elsewhere",
    );
}

#[test]
fn results_do_not_replace_the_file_they_are_made_from() {
    let project = Project::with_adapter();
    let before = project.read("train.jsonl");
    let with_adapter = ["--model", "bert", "--adapter", "adapter"];
    let refusal = "error: cannot write train.jsonl: the input is read from there\nhelp: name another file";
    let predict = [&["predict", "--input", "./train.jsonl", "--output", "train.jsonl"], &with_adapter[..]].concat();
    project.run(&predict).refused(refusal);
    let eval = [&["eval", "--data", "./train.jsonl", "--per-example", "train.jsonl"], &with_adapter[..]].concat();
    project.run(&eval).refused(refusal);
    assert_eq!(project.read("train.jsonl"), before);
}

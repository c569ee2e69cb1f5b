//! Configurations with a mistake in each. Keys and values alone have their tests beside `crates/train/src/config`; here
//! stands what the binary says, and what only shows against the model, the data or an earlier run.

use serde_json::json;

use crate::project::Project;

#[test]
fn an_unknown_key_is_named_with_its_line_and_neighbour() {
    Project::new().config("learning_rat = 1e-4").train(&[]).refused(
        "error: `train.learning_rat` in run.toml, line 12: unknown key\n\
         help: did you mean `learning_rate`?",
    );
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_what_is_expected() {
    Project::new().config("shuffle = \"yes\"").train(&[]).refused(
        "error: `train.shuffle` in run.toml, line 12: found `\"yes\"`, expected true or false\n\
         help: the default is `shuffle = true`",
    );
}

#[test]
fn a_value_out_of_range_is_named_with_what_is_expected() {
    Project::new().config("[adapter]\ndropout = 1.5").train(&[]).refused(
        "error: `adapter.dropout` in run.toml, line 13: found `1.5`, expected a number of at least 0 and below 1\n\
         help: the default is `dropout = 0.1`",
    );
}

#[test]
fn nan_is_no_learning_rate() {
    Project::new().config("learning_rate = nan").train(&[]).refused("error: `train.learning_rate` in run.toml, line 12: found `nan`, expected a number greater than 0 and at most 1000\n\
         help: the default is `learning_rate = 3e-4`");
}

#[test]
fn nan_on_the_command_line_is_refused_as_in_the_file() {
    Project::new().train(&["--set", "train.weight_decay=nan"]).refused(
        "error: `--set train.weight_decay=nan`: found `nan`, expected a finite number of at least 0\n\
         help: the default is `weight_decay = 0.01`",
    );
}

#[test]
fn a_set_without_a_value_shows_how_to_write_one() {
    Project::new().train(&["--set", "train.epochs"]).refused(
        "error: `--set train.epochs`: no `=`\n\
         help: write `--set KEY=VALUE`, for example `--set train.epochs=3`",
    );
}

#[test]
fn broken_toml_is_named_with_line_and_column_and_what_to_write() {
    Project::new().config("schedule = linear").train(&[]).refused(
        "error: run.toml, line 12, column 12: string values must be quoted, expected literal string\n\
         help: put it in quotes: `schedule = \"linear\"`",
    );
}

#[test]
fn a_path_of_windows_is_shown_as_toml_reads_it_rightly() {
    Project::new().replace("run.toml", "\"train.jsonl\"", "\"C:\\Users\\ada\\train.jsonl\"").train(&[]).refused(
        "error: run.toml, line 7, column 14: too few unicode value digits, expected unicode hexadecimal value\n\
         help: in double quotes a backslash begins an escape: write `'C:\\Users\\ada\\train.jsonl'` or `\"C:/Users/ada/train.jsonl\"`",
    );
    Project::new().replace("run.toml", "\"train.jsonl\"", "\"C:\\new\\train.jsonl\"").train(&[]).refused(
        "error: `data.train` in run.toml, line 7: `C:\\new\\train.jsonl` holds control characters\n\
         help: in double quotes a backslash begins an escape, as `\\t` for a tab: write `'C:\\new\\train.jsonl'` or `\"C:/new/train.jsonl\"`",
    );
}

#[test]
fn a_configuration_that_is_not_utf_8_is_refused() {
    Project::new().file("run.toml", b"seed = 1\n# caf\xe9\n").train(&[]).refused(
        "error: run.toml, line 2, column 6: not valid UTF-8\n\
         help: save the file as UTF-8",
    );
}

#[test]
fn a_misspelt_configuration_is_looked_for_among_its_neighbours() {
    Project::new().run(&["train", "rum.toml"]).refused(
        "error: no configuration `rum.toml`\n\
         help: did you mean `run.toml`?",
    );
}

#[test]
fn a_missing_key_is_named_with_the_line_to_write() {
    Project::new().replace("run.toml", "train = \"train.jsonl\"", "").train(&[]).refused(
        "error: `data.train` is missing in run.toml\n\
         help: write under [data]: `train = \"train.jsonl\"`",
    );
}

#[test]
fn a_missing_data_file_is_named_with_where_it_was_looked_for() {
    Project::new().replace("run.toml", "train.jsonl", "trian.jsonl").train(&[]).refused(
        "error: `data.train` in run.toml, line 7: no file `trian.jsonl` (looked in [DIR]/trian.jsonl)\n\
         help: did you mean `train.jsonl`?",
    );
}

#[test]
fn a_model_with_the_name_of_a_neighbour_is_a_typing_mistake() {
    Project::new().replace("run.toml", "\"bert\"", "\"brt\"").train(&[]).refused(
        "error: `model.path` in run.toml, line 4: no directory `brt` (looked in [DIR]/brt)\n\
         help: did you mean `bert`? a model of that name on the Hugging Face Hub is `brt@main`",
    );
}

#[test]
fn an_unknown_device_is_named_with_its_neighbour() {
    Project::new().config("device = \"cuad\"").train(&[]).refused(
        "error: `train.device` in run.toml, line 12: unknown device `cuad`\n\
         help: did you mean `cuda`?",
    );
}

#[test]
fn max_length_above_the_positions_is_refused() {
    Project::new().replace("run.toml", "[train]", "max_length = 81\n[train]").train(&[]).refused("error: `data.max_length` in run.toml, line 9: 81 is more than the model has positions for (80)\n\
         help: lower `data.max_length`, or leave it out: the default is the smallest of 512, the model's positions and the tokenizer's limit");
}

#[test]
fn max_length_without_room_for_text_is_refused() {
    Project::new().replace("run.toml", "[train]", "max_length = 2\n[train]").train(&[]).refused(
        "error: `data.max_length = 2` leaves no room for text: the tokenizer adds 2 special tokens\n\
         help: set `data.max_length` to more than 2",
    );
}

#[test]
fn keys_of_another_method_are_refused() {
    Project::new().config("[adapter]\nmethod = \"none\"\nr = 4").train(&[]).refused(
        "error: `adapter.r` in run.toml, line 14: method `none` has no key `r`\n\
         help: remove it, or set `adapter.method = \"lora\"`",
    );
}

#[test]
fn a_misspelt_target_module_is_named_with_its_neighbour() {
    Project::new().config("[adapter]\ntarget_modules = [\"query\", \"vlaue\"]").train(&[]).refused(
        "error: `adapter.target_modules` in run.toml, line 13: no module is named `vlaue`\n\
         help: did you mean `value`?",
    );
}

#[test]
fn a_target_of_another_architecture_is_refused_with_the_modules_there_are() {
    Project::new().train(&["--set", "adapter.target_modules=[\"q_proj\"]"]).refused(
        "error: `--set adapter.target_modules=[\"q_proj\"]`: no module is named `q_proj`\n\
         help: known: word_embeddings, position_embeddings, token_type_embeddings, query, key, value, dense",
    );
}

#[test]
fn a_head_is_neither_a_target_nor_suggested_as_one() {
    let refused = |target: &str, problem: &str| {
        let set = format!("adapter.target_modules=[\"{target}\"]");
        Project::new().train(&["--dry-run", "--set", &set]).refused(&format!("error: `--set {set}`: {problem}"));
    };
    refused(
        "classifer",
        "no module is named `classifer`\n\
         help: `classifier` is of the classification head, which is always trained in full; known: word_embeddings, position_embeddings, token_type_embeddings, query, key, value, dense",
    );
    refused(
        "classifier",
        "no module that `classifier` stands for is adapted\n\
         help: it is the classification head, which is always trained in full and saved with the adapter: remove `classifier` from `adapter.target_modules`",
    );
}

#[test]
fn a_target_expression_that_matches_nothing_is_refused() {
    Project::new().config("[adapter]\ntarget_modules = '.*\\.qurey'").train(&[]).refused(
        "error: `adapter.target_modules` in run.toml, line 13: no module matches `.*\\.qurey`\n\
         help: it must match the whole path; known: word_embeddings, position_embeddings, token_type_embeddings, query, key, value, dense",
    );
}

#[test]
fn a_target_expression_that_is_none_is_refused() {
    Project::new().config("[adapter]\ntarget_modules = '.*(query'").train(&[]).refused("error: `adapter.target_modules` in run.toml, line 13: `.*(query` is not a regular expression: opening parenthesis without closing parenthesis\n\
         help: the dialect is that of Python's `re`");
}

#[test]
fn a_layer_that_the_model_does_not_have_is_refused() {
    Project::new().config("[adapter]\ntarget_modules = [\"query\"]\nlayers = [0, 3]").train(&[]).refused(
        "error: `adapter.layers` in run.toml, line 14: no target is in a layer 3\n\
         help: known: 0, 1, 2",
    );
}

#[test]
fn layers_of_all_linear_are_refused() {
    Project::new().config("[adapter]\nlayers = [0, 1]").train(&[]).refused("error: `adapter.layers` in run.toml, line 13: `adapter.target_modules` is \"all-linear\", which means every layer\n\
         help: remove `layers`, or write `target_modules` as a list of names, for example `target_modules = [\"query\", \"value\"]`");
}

#[test]
fn a_layers_pattern_that_matches_nothing_is_refused() {
    Project::new()
        .config("[adapter]\ntarget_modules = [\"query\"]\nlayers = [0]\nlayers_pattern = [\"layers\"]")
        .train(&[])
        .refused(
            "error: `adapter.layers_pattern` in run.toml, line 15: `layers` matches no adapted module\n\
         help: it is what stands before the layer's number, `layer` in `encoder.layer.0.`",
        );
}

#[test]
fn a_rank_pattern_that_matches_nothing_is_refused() {
    Project::new().config("[adapter]\nrank_pattern = { qeury = 4 }").train(&[]).refused(
        "error: `adapter.rank_pattern` in run.toml, line 13: `qeury` matches no adapted module\n\
         help: did you mean `query`?",
    );
}

#[test]
fn an_excluded_module_that_does_not_exist_is_refused() {
    Project::new().config("[adapter]\nexclude_modules = [\"poolr.dense\"]").train(&[]).refused(
        "error: `adapter.exclude_modules` in run.toml, line 13: no module is named `poolr.dense`\n\
         help: did you mean `pooler.dense`?",
    );
}

#[test]
fn a_module_to_save_that_does_not_exist_is_refused() {
    Project::new().config("[adapter]\nmodules_to_save = [\"bert.pooller\"]").train(&[]).refused(
        "error: `adapter.modules_to_save` in run.toml, line 13: no module is named `bert.pooller`\n\
         help: did you mean `bert.pooler`?",
    );
}

#[test]
fn a_refused_configuration_leaves_the_earlier_run_alone() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    project.train(&["--overwrite", "--set", "adapter.target_modules=[\"qurey\"]"]).refused(
        "error: `--set adapter.target_modules=[\"qurey\"]`: no module is named `qurey`\n\
         help: did you mean `query`?",
    );
    assert!(project.path("run/adapter/adapter_model.safetensors").exists());
}

#[test]
fn labels_that_do_not_fit_the_trained_head_are_refused() {
    let project = Project::new().replace("run.toml", "[data]", "labels = [\"bad\", \"good\"]\n[data]");
    project
        .file("train.jsonl", "{\"text\": \"bad\", \"label\": 0}\n{\"text\": \"good\", \"label\": 1}\n")
        .train(&[])
        .refused(
            "error: [DIR]/bert/model.safetensors: the trained head (`classifier.weight`) is for 3 classes, not for 2\n\
         help: name all its classes in `model.labels`, or start from a checkpoint without a head",
        );
}

#[test]
fn a_label_written_twice_is_refused() {
    let project = Project::new().replace("run.toml", "[data]", "labels = [\"bad\", \"good\", \"bad\"]\n[data]");
    project.train(&[]).refused("error: `model.labels` in run.toml, line 6: found `[\"bad\", \"good\", \"bad\"]`, expected a list of one string or more, none empty and none twice\n\
         help: for example `labels = [\"negative\", \"positive\"]`");
}

#[test]
fn a_key_that_disagrees_with_init_from_is_refused() {
    Project::with_adapter().config("[adapter]\ninit_from = \"adapter\"\nr = 16").train(&[]).refused(
        "error: `adapter.r` in run.toml, line 14 is 16, the adapter that `adapter.init_from` names has 4\n\
         help: remove the key: the adapter's own settings are used",
    );
}

#[test]
fn labels_that_do_not_fit_init_from_are_refused() {
    let project = Project::with_adapter()
        .tensors("bert/model.safetensors", |tensors| tensors.remove(|name| name.starts_with("classifier.")))
        .replace("run.toml", "[data]", "labels = [\"a\", \"b\", \"c\", \"d\"]\n[data]")
        .config("[adapter]\ninit_from = \"adapter\"");
    project.train(&[]).refused(
        "error: [DIR]/adapter: its head has 3 classes, the run has 4\n\
         help: start from an adapter that was trained for the same labels, or without `adapter.init_from`",
    );
}

#[test]
fn an_output_directory_that_is_a_file_is_refused() {
    Project::new().file("run", "a file").train(&[]).refused(
        "error: run is not a directory\n\
         help: choose another place for the run with `--set output_dir=DIR`",
    );
}

#[test]
fn an_output_directory_below_a_file_is_refused() {
    Project::new().file("runs", "a file").train(&["--set", "output_dir=runs/first"]).refused(
        "error: cannot use the directory runs/first: Not a directory (os error 20)\n\
         help: choose another with `--set output_dir=DIR`, or make this one writable",
    );
}

#[test]
fn a_finished_run_is_neither_resumed_nor_replaced_unasked() {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    project.train(&[]).refused(
        "error: run holds a finished run\n\
         help: `--resume` continues it, `--overwrite` replaces it, `--set output_dir=DIR` writes elsewhere",
    );
}

/// What an interrupted run leaves: a run whose metrics have no end.
fn interrupted() -> Project {
    let project = Project::new();
    project.train(&["--quiet"]).done();
    let metrics = project.read("run/metrics.jsonl");
    let cut = metrics.rfind("{\"event\":\"end\"").unwrap();
    project.file("run/metrics.jsonl", &metrics[..cut])
}

#[test]
fn an_interrupted_run_is_neither_resumed_nor_replaced_unasked() {
    interrupted().train(&[]).refused(
        "error: run holds an interrupted run\n\
         help: `--resume` continues it, `--overwrite` replaces it, `--set output_dir=DIR` writes elsewhere",
    );
}

#[test]
fn a_run_is_resumed_only_as_the_run_it_was() {
    interrupted().train(&["--resume", "--set", "train.learning_rate=1e-3"]).refused(
        "error: cannot resume: `train.learning_rate` differs from the interrupted run (0.0003, now 0.001)\n\
         help: resume with the configuration, data and base it was started with, or start again with `--overwrite`",
    );
}

#[test]
fn a_run_is_not_resumed_on_other_data() {
    let project = interrupted();
    let data = project.read("train.jsonl").replacen("\"label\": 0", "\"label\": 1", 1);
    project.file("train.jsonl", data).train(&["--resume"]).refused(
        "[DIR]/bert (BertForSequenceClassification) on flex\n\
         32 training examples, no validation data, 3 classes\n\
         error: cannot resume: the data differs from the interrupted run (0dbe5ab32596, now e1ad83ff9e2d)\n\
         help: resume with the configuration, data and base it was started with, or start again with `--overwrite`",
    );
}

#[test]
fn a_run_is_not_resumed_from_a_damaged_checkpoint() {
    let project = interrupted();
    let directory = project.path("run/checkpoints/step-2");
    for entry in std::fs::read_dir(&directory).unwrap() {
        std::fs::write(entry.unwrap().path(), json!({}).to_string()).unwrap();
    }
    project.train(&["--resume"]).refused(
        "[DIR]/bert (BertForSequenceClassification) on flex\n\
         32 training examples, no validation data, 3 classes\n\
         error: cannot resume: the checkpoint run/checkpoints/step-2 is damaged (state.json is not as a run writes it), \
         and none before it is whole\n\
         help: put its files back from a copy, or start over with `--overwrite`",
    );
}

#[test]
fn a_directory_with_other_files_is_not_replaced() {
    let project = Project::new().file("run/notes.txt", "mine");
    project.train(&["--overwrite"]).refused(
        "error: run has files that are no run's\n\
         help: a run has a directory of its own: choose an empty or a new one with `--set output_dir=DIR`",
    );
    assert_eq!(project.read("run/notes.txt"), "mine");
}

#[test]
fn a_run_does_not_replace_what_it_reads() {
    let project = Project::new();
    project.train(&[]).done();
    let adapter = project.read("run/adapter/adapter_config.json");
    project.train(&["--overwrite", "--set", "adapter.init_from=run/adapter"]).refused(
        "error: `adapter.init_from` ([DIR]/run/adapter) lies in the output directory, which this run would replace\n\
         help: write elsewhere with `--set output_dir=DIR`",
    );
    assert_eq!(project.read("run/adapter/adapter_config.json"), adapter);
}

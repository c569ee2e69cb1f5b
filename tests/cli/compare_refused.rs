//! `kindling compare`: what is refused, before the first run.

use serde_json::Value;

use super::compare::{TWO, project};
use crate::project::{Project, Ran};

#[track_caller]
fn refused(arguments: &[&str], expected: &str) {
    project().run(&[&["compare", "run.toml"], arguments].concat()).refused(expected);
}

#[test]
fn what_cannot_be_compared_is_refused_before_anything_is_read() {
    refused(
        &[],
        "error: there is nothing to compare\n\
         help: name methods, `--methods lora,full`, or values of a key, `--vary adapter.r=4,8,16`",
    );
    refused(
        &["--methods", "lora,full,lora"],
        "error: `--methods lora,full,lora`: `lora` is given twice\n\
         help: name each method once; runs with several seeds are `--seeds N`",
    );
    refused(
        &["--methods", "lora,fulll"],
        "error: `--methods lora,fulll`: unknown method `fulll`\nhelp: did you mean `full`?",
    );
    refused(
        &["--methods", "full"],
        "error: `full` is the only candidate, and a comparison needs two\n\
         help: name another method or a further value; `kindling train` is for a run alone",
    );
    refused(
        &["--vary", "adapter.r=4"],
        "error: `r 4` is the only candidate, and a comparison needs two\n\
         help: name another method or a further value; `kindling train` is for a run alone",
    );
    refused(
        &["--vary", "adapter.alpa=8,16"],
        "error: `--vary adapter.alpa=8,16`: unknown key\nhelp: did you mean `alpha`?",
    );
    refused(
        &["--vary", "adapter.r"],
        "error: `--vary adapter.r`: no `=`\n\
         help: write `--vary KEY=VALUE,VALUE`, for example `--vary adapter.r=4,8,16`",
    );
    refused(
        &["--vary", "adapter.r=4,many"],
        "error: `--vary adapter.r=4,many`: found `many`, expected an integer from 1 to 4294967295\n\
         help: the default is `r = 8`",
    );
    refused(
        &["--vary", "adapter.r=4,4"],
        "error: `--vary adapter.r=4,4`: `4` is given twice\nhelp: name each value once",
    );
    refused(
        &["--vary", "adapter.alpha=8,1e1,8.0"],
        "error: `--vary adapter.alpha=8,1e1,8.0`: `8.0` is given twice\nhelp: name each value once",
    );
    for (key, values, reason) in [
        ("data.valid", "few.jsonl,train.jsonl", "scores on different validation data cannot be compared"),
        ("data.valid_fraction", "0.05,0.2", "scores on different validation data cannot be compared"),
        ("model.task", "sequence-classification,masked-lm", "scores of different tasks cannot be compared"),
        ("model.labels", "[\"a\",\"b\"],[\"b\",\"a\"]", "scores on different classes cannot be compared"),
        ("data.label", "label,other", "it changes what is read from the validation data"),
        ("data.text_template", "{{ text }},{{ text }}!", "it changes what is read from the validation data"),
        ("data.loss_on", "completion,all", "it changes which tokens of the validation data are predicted"),
        ("data.mask_probability", "0.15,0.3", "it changes which tokens of the validation data are predicted"),
        ("train.eval_generate", "4,8", "it changes which prompts of the validation data are answered"),
    ] {
        refused(
            &["--vary", &format!("{key}={values}")],
            &format!(
                "error: `--vary {key}={values}`: {reason}\n\
                 help: train each by itself: `kindling train CONFIG --set {key}=VALUE --set output_dir=DIR`"
            ),
        );
    }
    refused(
        &["--vary", "output_dir=a,b"],
        "error: `--vary output_dir=a,b`: each run has a directory of its own\nhelp: leave it out",
    );
    refused(
        &["--vary", "seed=1,2"],
        "error: `--vary seed=1,2`: seeds are no candidates\nhelp: write `--seeds N` for runs with N seeds each",
    );
    refused(
        &["--methods", "full,none", "--vary", "adapter.r=4,8"],
        "error: `--vary adapter.r=4,8`: no method that is compared has this key\n\
         help: compare a method that has it, for example `--methods lora`",
    );
}

#[test]
fn what_people_know_as_methods_leads_to_the_key() {
    for (name, help) in [
        (
            "dora",
            "DoRA is `lora` with `adapter.use_dora = true`: write `lora` and add `--vary adapter.use_dora=true`; each of several values is a candidate",
        ),
        (
            "pissa",
            "PiSSA is `lora` with `adapter.init = \"pissa\"`: write `lora` and add `--vary adapter.init=pissa`; each of several values is a candidate",
        ),
        ("bottleneck", "a bottleneck adapter is `adapter`"),
        ("prompt-tuning", "kindling has no prompt tuning: the nearest is `ia3`"),
    ] {
        let methods = format!("lora,{name}");
        refused(
            &["--methods", &methods],
            &format!("error: `--methods {methods}`: unknown method `{name}`\nhelp: {help}"),
        );
    }
}

#[test]
fn what_is_wrong_with_a_candidate_is_said_at_the_option_that_asks_for_it() {
    refused(
        &["--quiet", "--set", "adapter.init=pissa", "--vary", "adapter.r=4,49"],
        "warning: 32 rows of the validation part of [DIR]/train.jsonl stand in the training part of [DIR]/train.jsonl too \
         (first: lines 1, 2, 3, 4, 5); validation scores will flatter: remove these rows from one of the two\n\
         error: `49` of `--vary adapter.r=4,49`: 49 is above the smaller side of `bert.encoder.layer.0.attention.self.query`, \
         which is [48, 48], and `init = \"pissa\"` takes its parts from it\n\
         help: lower it to 48 or less, or give this module a rank of its own in `adapter.rank_pattern`; \
         or leave `49` out of `--vary adapter.r`",
    );
    refused(
        &["--quiet", "--set", "model.dtype=int8", "--methods", "lora,full"],
        "error: candidate `full`: `--set model.dtype=int8`: what is kept in int8 is frozen, and `adapter.method = \"full\"` trains it\n\
         help: set `adapter.method = \"lora\"` to train an adapter on it, or `model.dtype` to a float type, or leave `model.dtype` out",
    );
    refused(
        &["--methods", "full,ia3", "--set", "adapter.r=5"],
        "error: `--set adapter.r=5`: method `full` has no key `r`\n\
         help: remove it, or set `adapter.method = \"lora\"`",
    );
    let decoder = Project::decoder("mistral-lm").replace("run.toml", "[data]\n", "[data]\nvalid = \"train.jsonl\"\n");
    decoder.run(&["compare", "run.toml", "--quiet", "--methods", "lora,bitfit"]).refused(
        "warning: 32 rows of the validation part of [DIR]/train.jsonl stand in the training part of [DIR]/train.jsonl too \
         (first: lines 1, 2, 3, 4, 5); validation scores will flatter: remove these rows from one of the two\n\
         error: `bitfit` of `--methods lora,bitfit`: BitFit trains biases, and this model (`mistral`) has none\n\
         help: leave `bitfit` out of `--methods`",
    );
    let project = project();
    let ran = project.run(&["compare", "run.toml", "--quiet", "--vary", "model.path=bert,./nope"]);
    let (message, help) = ran.stderr.trim_end().split_once("\nhelp: ").unwrap();
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    // After a warning of the validation data.
    let message = message.lines().last().unwrap();
    assert!(
        message.starts_with("error: `./nope` of `--vary model.path=bert,./nope`: no directory `./nope` (looked in "),
        "{message}"
    );
    assert_eq!(help, "relative paths start at the working directory; or leave `./nope` out of `--vary model.path`");
}

#[test]
fn rates_that_are_varied_are_not_to_be_found() {
    refused(
        &["--vary", "train.learning_rate=1e-4,1e-3", "--find-lr"],
        "error: `--find-lr`: `--vary train.learning_rate=1e-4,1e-3` says the rates already\n\
         help: leave out one of the two",
    );
    let legs = project().config("\n[[legs]]\nafter_step = 2\nmax_steps = 4");
    legs.run(&["compare", "run.toml", "--methods", "lora,full", "--find-lr"]).refused(
        "error: `--find-lr`: the run continued after step 2 with a schedule of its own\n\
         help: test the rate of a run without `[[legs]]`: take them out of the configuration",
    );
}

#[test]
fn lengths_that_are_varied_have_no_budget() {
    for key in ["train.epochs", "train.max_steps"] {
        let vary = format!("{key}=1,2");
        refused(
            &["--vary", &vary, "--budget", "6"],
            &format!(
                "error: `--budget`: `--vary {vary}` says how long each run is already\n\
                 help: leave out one of the two"
            ),
        );
    }
    let legs = project().config("\n[[legs]]\nafter_step = 2\nmax_steps = 4");
    legs.run(&["compare", "run.toml", "--methods", "lora,full", "--budget", "6"]).refused(
        "error: `--budget`: the run continued after step 2 with a length of its own\n\
         help: compare runs without `[[legs]]`: take them out of the configuration",
    );
}

#[test]
fn a_comparison_needs_validation_data_and_enough_of_it() {
    const TWO: [&str; 5] = ["compare", "run.toml", "--quiet", "--methods", "lora,full"];
    let without = project().replace("run.toml", "valid = \"train.jsonl\"\n", "");
    without.run(&TWO).refused(
        "error: candidates are compared on validation data, and there is none\n\
         help: set `data.valid` or `data.valid_fraction`",
    );
    let project = project();
    let few: String = project.read("train.jsonl").lines().take(3).map(|line| format!("{line}\n")).collect();
    let project =
        project.file("few.jsonl", few).replace("run.toml", "valid = \"train.jsonl\"", "valid = \"few.jsonl\"");
    let ran = project.run(&TWO);
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.ends_with(
            "error: 3 examples of validation data: too few to say whether a difference is more than chance\n\
             help: name a file with 20 or more as `data.valid`, or raise `data.valid_fraction`\n"
        ),
        "{}",
        ran.stderr
    );
    assert!(!project.path("run-comparison").exists());
}

#[test]
fn a_candidate_that_cannot_be_trained_is_found_before_the_first_is() {
    let project = project();
    let arguments = ["compare", "run.toml", "--quiet", "--vary", "adapter.target_modules=[\"query\"],[\"quary\"]"];
    let ran = project.run(&arguments);
    assert_eq!(ran.status, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("quary") && ran.stderr.contains("did you mean `query`?"), "{}", ran.stderr);
    assert!(!project.path("run-comparison").exists());
}

#[test]
fn what_lies_in_the_directory_is_neither_replaced_nor_mixed_with_another_comparison() {
    let project = project().file("run-comparison/notes.txt", "mine");
    let in_the_way = "error: run-comparison is in the way: it is no comparison of kindling's\n\
                      help: name another directory with `--output-dir DIR`";
    project.run(&TWO).refused(in_the_way);
    project.run(&[&TWO[..], &["--resume"]].concat()).refused(in_the_way);
    let two = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--set", "train.max_steps=2", "-o", "two", "--quiet"];
    project.run(&two).done();
    project.run(&two).refused(
        "error: two has a comparison in it\n\
         help: `--resume` goes on with it; `--output-dir DIR` makes another elsewhere",
    );
    let other =
        ["compare", "run.toml", "--vary", "adapter.r=2,8", "--set", "train.max_steps=2", "-o", "two", "--quiet"];
    let otherwise = |ran: Ran, differs: &str| {
        ran.refused(&format!(
            "error: the comparison was begun otherwise: two/comparison.json has {differs}\n\
             help: resume it with the configuration and the options it was begun with, or name another directory with \
             `--output-dir DIR`"
        ));
    };
    let resumed = |options: &[&str]| project.run(&[&two[..], &["--resume"], options].concat());
    otherwise(project.run(&[&other[..], &["--resume"]].concat()), "`r 2`, `r 4`, now it would have `r 2`, `r 8`");
    otherwise(resumed(&["--find-lr"]), "no `--find-lr`, now it would have `--find-lr`");
    otherwise(resumed(&["--budget", "90m"]), "no `--budget`, now it would have `--budget 90m`");
    otherwise(resumed(&["--set", "seed=43"]), "`seed = 42`, now it would have `seed = 43`");
    // The run of seed 42 would be among these, and what was found out before the runs would be of another seed.
    otherwise(resumed(&["--set", "seed=41", "--seeds", "2"]), "`seed = 42`, now it would have `seed = 41`");
    let ran = project.run(&[&two[..], &["--resume", "--set", "train.batch_size=2"]].concat());
    assert_eq!(ran.status, Some(2));
    assert!(
        ran.stderr.ends_with(
            "error: the comparison was begun otherwise: two/r-2/seed-42.toml has `batch_size = 4`, now it would have \
             `batch_size = 2`\nhelp: resume it with the configuration and the options it was begun with, or name another \
             directory with `--output-dir DIR`\n"
        ),
        "{}",
        ran.stderr
    );
    // One of an earlier version, which did not write the seed, nor what the data and the base are.
    let project =
        project.json("two/comparison.json", "seed", Value::Null).json("two/comparison.json", "inputs", Value::Null);
    project.run(&[&two[..], &["--resume", "--set", "seed=43"]].concat()).refused(
        "error: two has runs with the seed 42, which would be left out\n\
         help: resume it with the `seed` it was begun with; `--output-dir DIR` makes another comparison elsewhere",
    );
    project.run(&[&two[..], &["--resume"]].concat()).done();
}

#[test]
fn runs_of_other_data_or_of_another_base_are_not_mixed() {
    let project = project();
    let rows = project.read("train.jsonl");
    let project =
        project.file("valid.jsonl", &rows).replace("run.toml", "valid = \"train.jsonl\"", "valid = \"valid.jsonl\"");
    let two = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--set", "train.max_steps=2", "-o", "two", "--quiet"];
    let resumed = [&two[..], &["--resume"]].concat();
    project.run(&two).done();
    let before = project.read("two/results.jsonl");
    let changed = |project: &Project, what: &str, files: &str| {
        let ran = project.run(&resumed);
        let expected = format!(
            "error: {what} of candidate `r 2` changed since the comparison in two was begun: its runs would not compare\n\
             help: put {files} back as they were, or name another directory with `--output-dir DIR`\n"
        );
        // After a warning of rows that are in both files.
        assert!(ran.stderr.ends_with(&expected), "{}", ran.stderr);
        assert_eq!((ran.status, ran.stdout.as_str()), (Some(2), ""));
        assert_eq!(project.read("two/results.jsonl"), before);
    };
    let data = "the files of `data.train` and `data.valid` and the tokenizer";
    // As many examples, in another order: they would be paired with others.
    let reversed: String = rows.lines().rev().map(|line| format!("{line}\n")).collect();
    let project = project.file("valid.jsonl", &reversed);
    changed(&project, "the data", data);
    let fewer: String = rows.lines().take(24).map(|line| format!("{line}\n")).collect();
    let project = project.file("valid.jsonl", fewer);
    changed(&project, "the data", data);
    let project = project.file("valid.jsonl", &rows);

    let whole = std::fs::read(project.path("bert/model.safetensors")).unwrap();
    let project = project.tensors("bert/model.safetensors", |tensors| {
        tensors.fill_row("bert.embeddings.word_embeddings.weight", 0, 0.5);
    });
    changed(&project, "the base model", "the files of `model.path`");
    // As it was, it goes on.
    let project = project.file("bert/model.safetensors", whole);
    project.run(&resumed).done();
    assert_eq!(project.read("two/results.jsonl"), before);
}

#[test]
fn what_was_found_for_a_rate_or_a_budget_is_not_mixed_with_another() {
    let project = project();
    let begun = ["compare", "run.toml", "--vary", "adapter.r=2,4", "--quiet"];
    let (of_time, of_rates) = (["-o", "time", "--budget", "0.1s"], ["-o", "rates", "--find-lr"]);
    project.run(&[&begun[..], &of_time].concat()).done();
    project.run(&[&begun[..], &of_rates].concat()).done();
    for (options, differs) in [
        (
            &["-o", "time", "--budget", "0.2s"][..],
            "time/comparison.json has `--budget 0.1s`, now it would have `--budget 0.2s`",
        ),
        (&["-o", "time"][..], "time/comparison.json has `--budget 0.1s`, now it would have no `--budget`"),
        (&["-o", "rates"][..], "rates/comparison.json has `--find-lr`, now it would have no `--find-lr`"),
    ] {
        project.run(&[&begun[..], options, &["--resume"]].concat()).refused(&format!(
            "error: the comparison was begun otherwise: {differs}\n\
             help: resume it with the configuration and the options it was begun with, or name another directory with \
             `--output-dir DIR`"
        ));
    }
    project.run(&[&begun[..], &of_time, &["--resume"]].concat()).done();
    project.run(&[&begun[..], &of_rates, &["--resume"]].concat()).done();
}

#[test]
fn a_budget_is_steps_or_a_time() {
    let ran = project().run(&["compare", "run.toml", "--methods", "lora,full", "--budget", "10 days"]);
    assert_eq!(ran.status, Some(2));
    let expected = "error: invalid value '10 days' for '--budget <N>': write a number of steps, 200, or a time for each run: \
                    90s, 15m, 2h\n";
    assert!(ran.stderr.starts_with(expected), "{}", ran.stderr);
}

//! Configurations and the files of runs, changed by the mutator of `fuzz-targets`: each is read or refused. That crate cannot have
//! these targets, for what they read is the binary's. Memory is not judged here, as the binary has an allocator of its own.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fuzz_targets::{Archive, Campaign, Form, Target};

use crate::report::{self, Report};
use crate::{config, run};

/// Of a few inputs beside other tests.
const HANG: Duration = Duration::from_secs(20);

/// The same variables as in `crates/fuzz-targets/tests/mutated.rs`.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

fn check(target: &Target, inputs: u64) {
    let from = number("KINDLING_FUZZ_FROM").unwrap_or(0);
    let campaign = Campaign::new(target);
    let (inputs, campaign) = match number("KINDLING_FUZZ_INPUTS") {
        Some(inputs) => (inputs, campaign),
        None => (inputs, campaign.allowing(HANG)),
    };
    if let Err(faults) = campaign.run(from..from + inputs) {
        panic!("{faults}");
    }
}

fn repository(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn configurations() -> Vec<Vec<u8>> {
    let files = fs::read_dir(repository("configs")).expect("the examples").flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    files.sort();
    files.iter().map(|path| fs::read(path).expect("an example")).collect()
}

fn load(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = config::load_text(&text, Path::new("classify.toml"), &[], &repository("configs"));
    // As an argument of `--set`.
    let set = text.lines().find(|line| line.contains('=')).unwrap_or_default().to_owned();
    let _ = config::load_text("", Path::new("classify.toml"), &[set], &repository("configs"));
}

#[test]
fn a_configuration_is_read_or_refused() {
    check(&Target { name: "toml", form: Form::Text, seeds: configurations, run: load }, 1000);
}

const FILES: [&str; 5] = ["run.json", "config.toml", "metrics.jsonl", "report.json", "state.json"];

fn runs() -> Vec<Vec<u8>> {
    let file = |name: &str| {
        let contents = fs::read(repository("tests/fixtures/run").join(name)).expect("a file of the fixture");
        (name.to_owned(), contents)
    };
    vec![Archive(FILES.map(file).to_vec()).bytes()]
}

fn open(input: &[u8]) {
    let place = tempfile::tempdir().expect("a temporary directory");
    let place = place.path();
    let (private, checkpoint) = (place.join(".kindling"), place.join("checkpoints/step-320"));
    fs::create_dir(&private).and_then(|()| fs::create_dir_all(&checkpoint)).expect("directories of our own");
    for (name, contents) in Archive::of(input).0 {
        let directory = match name.as_str() {
            "run.json" => &private,
            "state.json" => &checkpoint,
            _ => place,
        };
        fs::write(directory.join(name), contents).expect("a file of our own");
    }
    let _ = run::check(place, run::Start::New);
    if let Ok(report) = Report::open(place) {
        let _ = (report::html(&report), report.summary());
    }
    // More epochs than it has, so that its checkpoint is looked at.
    let text = fs::read_to_string(repository("tests/fixtures/run/config.toml")).expect("a file of the fixture");
    let config = text.parse::<toml::Table>().expect("a configuration");
    let mut config: config::Config = config.try_into().expect("a configuration");
    config.train.epochs += 1;
    let _ = run::take_up(place, &mut config::Loaded::draft(config));
}

#[test]
fn the_files_of_a_run_are_read_or_refused() {
    let forms: &[(&str, Form)] = &[
        ("run.json", Form::Json),
        ("config.toml", Form::Text),
        ("metrics.jsonl", Form::Text),
        ("report.json", Form::Json),
        ("state.json", Form::Json),
    ];
    check(&Target { name: "run", form: Form::Archive(forms), seeds: runs, run: open }, 500);
}

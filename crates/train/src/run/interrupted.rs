//! A run that is interrupted while its adapter takes a start out of the base.

use std::fs;

use burn::train::Interrupter;

use super::{Directory, Options, Outcome, Start, State, run};
use crate::config;
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::workers::Workers;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parity/bert-cls");

#[test]
fn the_weights_are_decomposed_no_further() {
    let place = tempfile::tempdir().unwrap();
    let (root, file) = (place.path().join("run"), place.path().join("run.toml"));
    let text = format!(
        "output_dir = \"{}\"\n[model]\npath = \"{FIXTURE}/model\"\n[adapter]\nr = 2\nalpha = 2.0\ninit = \"pissa\"\n\
         [data]\ntrain = \"{FIXTURE}/data.jsonl\"\n[train]\nmax_steps = 2\ndevice = \"cpu\"\n",
        root.display()
    );
    fs::write(&file, text).unwrap();
    let loaded = config::load(&file, &[], place.path()).unwrap();
    let (workers, output) = (Workers::one(), Output::new(false, false));
    let plan = RunPlan::new(&loaded, None, &workers, &output).unwrap();
    let interrupter = Interrupter::new();
    interrupter.stop(Some("interrupted"));
    let options = Options { dashboard: false, watch: None, interrupter, until: None };
    let directory = Directory::open(&plan.output_dir).unwrap();
    let outcome = run(&plan, Some(directory), Start::New, options, &workers, &output).unwrap();
    assert!(matches!(outcome, Outcome::Interrupted { step: 0 }), "{outcome:?}");
    // It is written once the model is there.
    assert!(!root.join("report.json").exists());
    assert_eq!(Directory::state(&root), State::New);
}

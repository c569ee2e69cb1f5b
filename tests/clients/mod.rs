//! `kindling serve` and clients that nobody here wrote: Python's packages, by the scripts beside this file, and curl, by the
//! commands of `docs/serve.md`, whose unit systemd verifies. What a machine lacks is said on standard error, and its test is skipped.
//!
//! The Python is `KINDLING_PYTHON`, or `python3`; the packages are `openai`, `litellm`, `langchain-openai`, `huggingface_hub` and
//! `requests`.

mod curl;
mod python;
mod systemd;

use std::io::{self, Write};
use std::process::{Command, Stdio};

use crate::project::Project;

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn document() -> String {
    std::fs::read_to_string(format!("{REPOSITORY}/docs/serve.md")).unwrap()
}

/// `chat`, which is the small decoder and its chat template, and `places/adapter` that was trained on it.
fn writers() -> Project {
    let config = format!(
        "output_dir = \"places\"\n\
         [model]\n\
         path = \"chat\"\n\
         task = \"causal-lm\"\n\
         [adapter]\n\
         r = 2\n\
         [data]\n\
         train = \"{REPOSITORY}/datasets/house/valid.jsonl\"\n\
         messages = \"messages\"\n\
         max_length = 64\n\
         [train]\n\
         max_steps = 1\n\
         batch_size = 1\n"
    );
    let project = Project::new().file("places.toml", config);
    std::os::unix::fs::symlink(format!("{REPOSITORY}/models/tiny-decoder"), project.path("chat")).unwrap();
    project.run(&["train", "places.toml"]).done();
    project
}

/// Whether the command succeeds. If not, standard error says, past the test harness, what was skipped for it.
fn is_there(command: &mut Command, missing: &str) -> bool {
    let there = command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        // The line is for whoever reads it; a test does not fail for it.
        let _ = writeln!(io::stderr(), "skipped: {missing}");
    }
    there
}

//! Damage on the disk is found before a step is done: a checkpoint is named and the one before it is used, a best result that
//! is gone is told at once.

use std::fs;
use std::path::{Path, PathBuf};

use super::experiment::Experiment;

/// An interrupted run with two checkpoints, which can be put back as it was.
struct Interrupted {
    experiment: Experiment,
    saved: PathBuf,
}

impl Interrupted {
    fn new() -> Self {
        let experiment = Experiment::new(12);
        experiment.interrupt_after(9);
        let saved = experiment.run().with_file_name("saved");
        copy(&experiment.run(), &saved);
        Self { experiment, saved }
    }

    fn restore(&self) {
        fs::remove_dir_all(self.experiment.run()).unwrap();
        copy(&self.saved, &self.experiment.run());
    }

    fn newest(&self) -> PathBuf {
        let step = *self.experiment.checkpoints().last().unwrap();
        self.experiment.run().join(format!("checkpoints/step-{step}"))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    let byte = byte.min(bytes.len() - 1);
    bytes[byte] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn truncate(path: &Path, length: u64) {
    fs::File::options().write(true).open(path).unwrap().set_len(length).unwrap();
}

type Damage = fn(&Path);

#[test]
fn a_damaged_checkpoint_is_named_and_the_one_before_is_used() {
    let undisturbed = Experiment::new(12);
    undisturbed.train(&[]);
    let run = Interrupted::new();
    let damages: [(&str, Damage); 7] = [
        ("model.bpk is not as it was written", |it| flip(&it.join("model.bpk"), 40)),
        ("model.bpk is not as it was written", |it| flip(&it.join("model.bpk"), 20_102)),
        ("optimizer.bpk is not as it was written", |it| flip(&it.join("optimizer.bpk"), 63_552)),
        ("schedule.bpk is not as it was written", |it| truncate(&it.join("schedule.bpk"), 10)),
        ("optimizer.bpk is missing", |it| fs::remove_file(it.join("optimizer.bpk")).unwrap()),
        ("state.json is not as it was written", |it| {
            let text = fs::read_to_string(it.join("state.json")).unwrap();
            let found = text.find("\"without_improvement\": ").unwrap();
            flip(&it.join("state.json"), found + "\"without_improvement\": ".len());
        }),
        ("state.json is not as it was written", |it| truncate(&it.join("state.json"), 100)),
    ];
    for (reason, damage) in damages {
        run.restore();
        let newest = run.newest();
        damage(&newest);
        let output = run.experiment.output(&["--resume"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        let name = newest.file_name().unwrap().to_str().unwrap();
        let warning =
            format!("warning: the checkpoint runs/run/checkpoints/{name} is damaged ({reason}): resuming from ");
        assert!(said.contains(&warning), "{said}");
        run.experiment.assert_same_as(&undisturbed);
    }
}

/// Those of the run; its record forgets files that are gone.
fn files(experiment: &Experiment) -> Vec<(PathBuf, Vec<u8>)> {
    let is_private = |path: &Path| path.components().any(|part| part.as_os_str() == ".kindling");
    experiment.files().into_iter().filter(|(path, _)| !is_private(path)).collect()
}

#[test]
fn without_a_checkpoint_that_is_whole_nothing_is_resumed() {
    let run = Interrupted::new();
    for step in run.experiment.checkpoints() {
        let model = run.experiment.run().join(format!("checkpoints/step-{step}/model.bpk"));
        // One that was being removed when the process was killed has none.
        if model.exists() {
            flip(&model, 100);
        }
    }
    let (before, newest) = (files(&run.experiment), run.newest());
    let output = run.experiment.output(&["--resume"]);
    assert_eq!(output.status.code(), Some(2));
    let name = newest.file_name().unwrap().to_str().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let expected = format!(
        "error: cannot resume: the checkpoint runs/run/checkpoints/{name} is damaged (model.bpk is not as it was written), \
         and none before it is whole\nhelp: put its files back from a copy, or start over with `--overwrite`\n"
    );
    assert!(said.ends_with(&expected), "{said}");
    assert!(files(&run.experiment) == before, "nothing is changed");
}

#[test]
fn metrics_that_were_cut_are_not_filled_up() {
    let run = Interrupted::new();
    truncate(&run.experiment.run().join("metrics.jsonl"), 10);
    let output = run.experiment.output(&["--resume"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let state = fs::read_to_string(run.newest().join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    let (length, step) = (&state["metrics_length"], &state["step"]);
    let expected = format!(
        "error: cannot resume: runs/run/metrics.jsonl is damaged: it has 10 bytes, and had {length} at step {step}\nhelp: the \
         checkpoint of step {step} is whole: put metrics.jsonl back from a backup, or start over with `--overwrite`\n"
    );
    assert!(said.ends_with(&expected), "{said}");
    assert_eq!(fs::metadata(run.experiment.run().join("metrics.jsonl")).unwrap().len(), 10);
}

#[test]
fn a_bit_that_flipped_in_the_metrics_is_found() {
    let run = Interrupted::new();
    let path = run.experiment.run().join("metrics.jsonl");
    flip(&path, 100);
    let output = run.experiment.output(&["--resume"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let step = *run.experiment.checkpoints().last().unwrap();
    let expected = format!(
        "error: cannot resume: runs/run/metrics.jsonl is damaged: it is not as it was written up to step {step}\nhelp: the \
         checkpoint of step {step} is whole: put metrics.jsonl back from a backup, or start over with `--overwrite`\n"
    );
    assert!(said.ends_with(&expected), "{said}");
    // Put back, as the message says.
    flip(&path, 100);
    run.experiment.train(&["--resume"]);
}

#[test]
fn damage_of_the_metrics_behind_a_checkpoint_leaves_that_one() {
    let run = Interrupted::new();
    let path = run.experiment.run().join("metrics.jsonl");
    let checkpoints = run.experiment.checkpoints();
    let [.., before, newest] = checkpoints[..] else { panic!("{checkpoints:?}") };
    let state = fs::read_to_string(run.newest().join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    flip(&path, usize::try_from(state["metrics_length"].as_u64().unwrap()).unwrap() - 10);
    let output = run.experiment.output(&["--resume"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let warning = format!(
        "warning: runs/run/metrics.jsonl is damaged (it is not as it was written up to step {newest}): resuming from \
         runs/run/checkpoints/step-{before}\n"
    );
    assert!(said.contains(&warning), "{said}");
}

#[test]
fn a_best_adapter_that_is_gone_or_damaged_is_told_before_the_first_step() {
    let run = Interrupted::new();
    let tensors = "adapter/adapter_model.safetensors";
    let damages: [(&str, &str, Damage); 5] = [
        (tensors, "is missing", |run| fs::remove_dir_all(run.join("adapter")).unwrap()),
        (tensors, "is not as it was written", |run| flip(&run.join("adapter/adapter_model.safetensors"), 5_000)),
        (tensors, "is not as it was written", |run| truncate(&run.join("adapter/adapter_model.safetensors"), 5_000)),
        ("adapter/kindling.json", "is missing", |run| fs::remove_file(run.join("adapter/kindling.json")).unwrap()),
        ("adapter", "is not as it was written", |run| truncate(&run.join("adapter/adapter_config.json"), 20)),
    ];
    for (name, reason, damage) in damages {
        run.restore();
        damage(&run.experiment.run());
        let metrics = fs::read(run.experiment.run().join("metrics.jsonl")).unwrap();
        let output = run.experiment.output(&["--resume"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("cannot resume: runs/run/{}", name.split('/').next().unwrap())), "{said}");
        assert!(said.contains(reason) && said.contains("help: put it back from a copy, or start over with"), "{said}");
        assert_eq!(fs::read(run.experiment.run().join("metrics.jsonl")).unwrap(), metrics, "not a step was done");
    }
}

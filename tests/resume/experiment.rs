//! A small run with everything that could break exactness: dropout everywhere, accumulation with a smaller last window,
//! shuffling, evaluations and checkpoints that fall into the middle of epochs of six steps.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Keys of `[adapter]`.
const LORA: &str = "r = 4\ndropout = 0.2\n";

pub(super) struct Experiment {
    directory: TempDir,
}

impl Experiment {
    pub(super) fn new(epochs: usize) -> Self {
        Self::of("bert-cls", "", LORA, epochs)
    }

    /// Of a decoder with dropout that learns completions, several in a row of the batch.
    pub(super) fn of_completions(epochs: usize) -> Self {
        Self::of("gpt2-lm", "task = \"causal-lm\"\n", LORA, epochs)
    }

    pub(super) fn of_dora(epochs: usize) -> Self {
        Self::of("bert-cls", "", "use_dora = true\n", epochs)
    }

    /// DoRA on weights that lie as `Conv1D`'s do.
    pub(super) fn of_dora_completions(epochs: usize) -> Self {
        Self::of("gpt2-lm", "task = \"causal-lm\"\n", "use_dora = true\n", epochs)
    }

    /// Of a decoder with dropout that answers with sets of labels.
    pub(super) fn of_label_sets(epochs: usize) -> Self {
        Self::of("gpt2-cls", "task = \"multi-label-classification\"\n", LORA, epochs)
    }

    pub(super) fn of_ia3(epochs: usize) -> Self {
        Self::of("bert-cls", "", "method = \"ia3\"\n", epochs)
    }

    pub(super) fn of_bottlenecks(epochs: usize) -> Self {
        Self::of("bert-cls", "", "method = \"adapter\"\nplacement = \"houlsby\"\n", epochs)
    }

    /// Of a decoder, with a module beside them that is trained in full.
    pub(super) fn of_bottleneck_completions(epochs: usize) -> Self {
        Self::of("gpt2-lm", "task = \"causal-lm\"\n", "method = \"adapter\"\nmodules_to_save = [\"ln_f\"]\n", epochs)
    }

    /// A decoder whose adapter starts as a part of its base, with keys of `[adapter]` beside.
    pub(super) fn of_part_of_base(keys: &str, epochs: usize) -> Self {
        let adapter = format!("{LORA}{keys}\n");
        Self::of("gpt2-lm", "task = \"causal-lm\"\n", &adapter, epochs)
    }

    pub(super) fn of_last_layers(epochs: usize) -> Self {
        let method = "method = \"full\"\nlast_layers = 1\ntrain_embeddings = false\n";
        Self::of("gpt2-lm", "task = \"causal-lm\"\n", method, epochs)
    }

    pub(super) fn of_bitfit(epochs: usize) -> Self {
        Self::of("gpt2-lm", "task = \"causal-lm\"\n", "method = \"bitfit\"\nmodules_to_save = [\"ln_f\"]\n", epochs)
    }

    pub(super) fn of_lora_plus(epochs: usize) -> Self {
        let adapter = "r = 4\ndropout = 0.2\nbias = \"all\"\nlora_plus_ratio = 4\n\
                       target_modules = [\"query\", \"word_embeddings\"]\nlora_plus_lr_embedding = 5e-3\n";
        Self::of("bert-cls", "", adapter, epochs)
    }

    fn of(fixture: &str, task: &str, adapter: &str, epochs: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(fixture);
        let model = directory.path().join("model");
        std::fs::create_dir(&model).unwrap();
        for entry in std::fs::read_dir(fixture.join("model")).unwrap() {
            let path = entry.unwrap().path();
            std::fs::copy(&path, model.join(path.file_name().unwrap())).unwrap();
        }
        let config = std::fs::read_to_string(model.join("config.json")).unwrap();
        let config =
            config.replace("dropout_prob\": 0.0", "dropout_prob\": 0.1").replace("pdrop\": 0.0", "pdrop\": 0.1");
        std::fs::write(model.join("config.json"), config).unwrap();
        std::fs::copy(fixture.join("data.jsonl"), directory.path().join("data.jsonl")).unwrap();
        let probe: String = std::fs::read_to_string(fixture.join("data.jsonl"))
            .unwrap()
            .lines()
            .step_by(3)
            .map(|line| format!("{line}\n"))
            .collect();
        std::fs::write(directory.path().join("valid.jsonl"), probe).unwrap();
        let pack = if task.contains("causal-lm") { "pack = true\n" } else { "" };
        let text = format!(
            "[model]\npath = \"model\"\n{task}[adapter]\n{adapter}[data]\ntrain = \"data.jsonl\"\n\
             valid = \"valid.jsonl\"\n{pack}[train]\nepochs = {epochs}\nbatch_size = 3\ngrad_accumulation = 2\n\
             learning_rate = 1e-2\nwarmup_steps = 3\neval_every = 5\ncheckpoint_every = 4\ndevice = \"cpu\"\n"
        );
        std::fs::write(directory.path().join("run.toml"), text).unwrap();
        Self { directory }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kindling"));
        command.current_dir(self.directory.path()).args(["train", "run.toml"]).args(arguments);
        command
    }

    /// Trains to the end.
    pub(super) fn train(&self, arguments: &[&str]) {
        let output = self.output(arguments);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Any command in the directory of the configuration.
    pub(super) fn kindling(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kindling"));
        command.current_dir(self.directory.path()).args(arguments).output().unwrap()
    }

    /// The same after a command of the shell, such as one that sets a limit.
    pub(super) fn kindling_in_shell(&self, before: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("sh");
        let line = format!("{before}; exec {} {}", env!("CARGO_BIN_EXE_kindling"), arguments.join(" "));
        command.current_dir(self.directory.path()).args(["-c", &line]).output().unwrap()
    }

    pub(super) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub(super) fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Like `spawn`, with standard error to be read.
    pub(super) fn spawn_heard(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    pub(super) fn run(&self) -> PathBuf {
        self.directory.path().join("runs/run")
    }

    /// The directory of the base.
    pub(super) fn base(&self) -> PathBuf {
        self.directory.path().join("model")
    }

    /// The configuration that the run has recorded.
    pub(super) fn config(&self) -> String {
        std::fs::read_to_string(self.run().join("config.toml")).unwrap()
    }

    /// Waits until the run has written the line of this step.
    pub(super) fn wait_for_step(&self, step: usize) {
        self.wait_for_step_in("", step);
    }

    /// The same of a run that is written into a directory within the run's.
    pub(super) fn wait_for_step_in(&self, directory: &str, step: usize) {
        let begin = Instant::now();
        let has_step = |line: &Value| line["event"] == "step" && line["step"].as_u64().unwrap() >= step as u64;
        while step > 0 && !lines(&self.run().join(directory)).iter().any(has_step) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the run does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Trains until some checkpoint behind this step is whole, then kills the process.
    pub(super) fn interrupt_after(&self, step: usize) {
        self.interrupt_after_with(step, &[]);
    }

    pub(super) fn interrupt_after_with(&self, step: usize, arguments: &[&str]) {
        let mut process = self.spawn(arguments);
        let begin = Instant::now();
        while self.checkpoints().last().is_none_or(|last| *last <= step) {
            assert!(begin.elapsed() < Duration::from_secs(60), "the run does not start");
            std::thread::sleep(Duration::from_millis(1));
        }
        process.kill().unwrap();
        process.wait().unwrap();
    }

    pub(super) fn checkpoints(&self) -> Vec<usize> {
        let Ok(entries) = std::fs::read_dir(self.run().join("checkpoints")) else { return Vec::new() };
        let step = |name: String| name.strip_prefix("step-")?.parse().ok();
        let mut steps: Vec<usize> =
            entries.filter_map(|entry| step(entry.ok()?.file_name().into_string().ok()?)).collect();
        steps.sort_unstable();
        steps
    }

    pub(super) fn file(&self, name: &str, contents: &str) {
        std::fs::write(self.directory.path().join(name), contents).unwrap();
    }

    pub(super) fn change_data(&self) {
        let path = self.directory.path().join("data.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("rises", "falls", 1)).unwrap();
    }

    /// Lines of `metrics.jsonl` that are whole, without what a clock says.
    pub(super) fn metrics(&self) -> Vec<Value> {
        lines(&self.run())
    }

    /// Makes the run one as the version before left it, which kept no record and no hashes and did not know these keys.
    pub(super) fn make_earlier(&self, unknown: &[&str]) {
        let path = |name: &str| self.run().join(name);
        std::fs::remove_dir_all(path(".kindling")).unwrap();
        std::fs::write(path(".lock"), "").unwrap();
        let config = self.config();
        let known = |line: &&str| !unknown.iter().any(|key| line.starts_with(&format!("{key} = ")));
        let config: String = config.lines().filter(known).map(|line| format!("{line}\n")).collect();
        std::fs::write(path("config.toml"), config).unwrap();
        for step in self.checkpoints() {
            let path = path(&format!("checkpoints/step-{step}/state.json"));
            let mut state: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            for key in ["files", "sha256"] {
                state.as_object_mut().unwrap().remove(key);
            }
            std::fs::write(path, state.to_string()).unwrap();
        }
    }

    /// Every file of the run with its bytes.
    pub(super) fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut directories = vec![self.run()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => directories.push(path),
                    false => files.push((path.clone(), std::fs::read(path).unwrap())),
                }
            }
        }
        files.sort();
        files
    }

    /// Two runs in this directory that must be the same bit for bit.
    pub(super) fn assert_same_runs(&self, left: &str, right: &str) {
        let [left, right] = [left, right].map(|run| self.directory.path().join(run));
        for name in ["adapter_model.safetensors", "adapter_config.json", "kindling.json"] {
            let file = |run: &Path| std::fs::read(run.join("adapter").join(name)).unwrap();
            assert!(file(&left) == file(&right), "{name} differs");
        }
        assert_eq!(lines(&left), lines(&right));
    }

    /// What the contract promises to be the same bit for bit. The base's path is the one difference of two directories.
    pub(super) fn assert_same_as(&self, other: &Self) {
        // An adapter, in PEFT's files or in AdapterHub's, or a whole model.
        let result = if self.run().join("adapter").exists() { "adapter" } else { "model" };
        let file = |experiment: &Self, name: &str| std::fs::read(experiment.run().join(result).join(name)).unwrap();
        let is_there = |name: &&str| self.run().join(result).join(name).exists();
        let of_adapter = ["adapter_model.safetensors", "adapter.safetensors", "model_head.safetensors"];
        let tensors: Vec<&str> = of_adapter.into_iter().chain(["model.safetensors"]).filter(is_there).collect();
        assert!(!tensors.is_empty());
        for name in tensors {
            assert!(file(self, name) == file(other, name), "{name}: the tensors differ");
        }
        let config = if result == "adapter" { "adapter_config.json" } else { "config.json" };
        for name in [config, "kindling.json"] {
            let text = |experiment: &Self| {
                let directory = experiment.directory.path().canonicalize().unwrap();
                let text = String::from_utf8(file(experiment, name)).unwrap().replace(directory.to_str().unwrap(), "");
                let mut document: Value = serde_json::from_str(&text).unwrap();
                // The hashes of files that name the directory, and that of the document with them.
                if let Some(files) = document.get_mut("files").and_then(Value::as_object_mut) {
                    files.remove("adapter_config.json");
                    files.remove("head_config.json");
                }
                document.as_object_mut().unwrap().remove("sha256");
                document
            };
            assert_eq!(text(self), text(other), "{name}");
        }
        assert_eq!(self.metrics(), other.metrics());
    }
}

/// Lines of a run's `metrics.jsonl` that are whole, without what a clock says.
fn lines(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
    let mut lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    for line in &mut lines {
        for key in ["step_seconds", "seconds", "peak_memory_bytes"] {
            line.as_object_mut().unwrap().remove(key);
        }
    }
    lines
}

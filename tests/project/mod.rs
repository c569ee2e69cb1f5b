//! A directory with a tiny BERT, labelled texts and a configuration, all of them right; a test breaks one of them and
//! runs the binary there.

#[cfg(unix)]
pub(crate) mod foreign;
pub(crate) mod gguf;
#[cfg(unix)]
pub(crate) mod server;
pub(crate) mod tensors;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::device;
use tensors::Tensors;

/// The configuration of a project: a run of two steps. Its last table is `[train]`, so that keys can be appended.
const CONFIG: &str = "\
output_dir = \"run\"

[model]
path = \"bert\"

[data]
train = \"train.jsonl\"

[train]
max_steps = 2
batch_size = 4
";

pub(crate) struct Project {
    _directory: TempDir,
    /// Without links in it, as the messages write it.
    root: PathBuf,
    /// Later entries win.
    environment: Vec<(String, String)>,
}

impl Project {
    /// `bert/` (a classifier of three classes), `train.jsonl` and `run.toml`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let cache = root.join("hub").display().to_string();
        let environment = [("HF_HUB_OFFLINE", "1".to_string()), ("HF_HOME", cache), ("PATH", search_path())];
        let environment = environment.map(|(name, value)| (name.to_string(), value)).to_vec();
        Self { _directory: directory, root, environment }
            .copy("bert-cls/model", "bert")
            .copy("bert-cls/data.jsonl", "train.jsonl")
            .file("run.toml", CONFIG)
    }

    /// With `adapter/` beside it, which PEFT trained on that BERT.
    pub(crate) fn with_adapter() -> Self {
        Self::new().copy("bert-cls/adapter", "adapter")
    }

    /// With a fixture's decoder in the place of BERT, which learns the completions of its data.
    pub(crate) fn decoder(case: &str) -> Self {
        let project =
            Self::new().copy(&format!("{case}/model"), "bert").copy(&format!("{case}/data.jsonl"), "train.jsonl");
        project.replace("run.toml", "path = \"bert\"", "path = \"bert\"\ntask = \"causal-lm\"")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Sets a variable for the commands that follow.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_string(), value.to_string()));
        self
    }

    /// A file or a directory of `tests/fixtures/parity`.
    pub(crate) fn copy(self, fixture: &str, name: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/parity").join(fixture);
        let to = self.path(name);
        if from.is_file() {
            std::fs::copy(&from, &to).unwrap();
            return self;
        }
        std::fs::create_dir_all(&to).unwrap();
        for entry in std::fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        self
    }

    pub(crate) fn file(self, name: &str, contents: impl AsRef<[u8]>) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
        self
    }

    pub(crate) fn without(self, name: &str) -> Self {
        std::fs::remove_file(self.path(name)).unwrap();
        self
    }

    /// Adds lines to the configuration, whose last table is `[train]`.
    pub(crate) fn config(self, lines: &str) -> Self {
        let text = format!("{}{lines}\n", self.read("run.toml"));
        self.file("run.toml", text)
    }

    /// Changes a file of text.
    pub(crate) fn replace(self, name: &str, from: &str, to: &str) -> Self {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from}");
        let text = text.replacen(from, to, 1);
        self.file(name, text)
    }

    /// Cuts a file to its first `keep` bytes.
    pub(crate) fn truncate(self, name: &str, keep: usize) -> Self {
        let bytes = std::fs::read(self.path(name)).unwrap();
        self.file(name, &bytes[..keep])
    }

    /// Sets a key of a JSON file; null removes it.
    pub(crate) fn json(self, name: &str, key: &str, value: Value) -> Self {
        let mut document: Value = serde_json::from_str(&self.read(name)).unwrap();
        let keys = document.as_object_mut().unwrap();
        match value {
            Value::Null => drop(keys.shift_remove(key)),
            value => drop(keys.insert(key.to_string(), value)),
        }
        self.file(name, document.to_string())
    }

    /// As if nothing were known of the files beside `kindling.json`, for tests that change them.
    pub(crate) fn without_hashes(self, adapter: &str) -> Self {
        let sidecar = format!("{adapter}/kindling.json");
        self.json(&sidecar, "files", Value::Null).json(&sidecar, "sha256", Value::Null)
    }

    /// Rewrites a safetensors file.
    pub(crate) fn tensors(self, name: &str, change: impl FnOnce(&mut Tensors)) -> Self {
        let mut tensors = Tensors::read(&self.path(name));
        change(&mut tensors);
        tensors.write(&self.path(name));
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file of JSON.
    pub(crate) fn json_of(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// The names in a directory, sorted.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Runs `kindling` in the project's directory.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with_input(arguments, "")
    }

    /// The same, where no file may grow beyond so many blocks of 512 bytes, as if the disk had no more of them.
    #[cfg(unix)]
    pub(crate) fn run_short_of_space(&self, blocks: usize, arguments: &[&str]) -> Ran {
        let shell = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &shell, env!("CARGO_BIN_EXE_kindling")]).args(arguments);
        self.ran(command, "")
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: impl AsRef<[u8]>) -> Ran {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kindling"));
        command.args(on_test_device(arguments));
        self.ran(command, input)
    }

    fn ran(&self, mut command: Command, input: impl AsRef<[u8]>) -> Ran {
        let mut child = command
            .current_dir(&self.root)
            .env_remove("RUST_BACKTRACE")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that refuses its arguments ends before it has read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_ref());
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(self.root.to_str().unwrap(), "[DIR]");
        Ran { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// `kindling train run.toml` with further arguments.
    pub(crate) fn train(&self, arguments: &[&str]) -> Ran {
        self.run(&[&["train", "run.toml"], arguments].concat())
    }

    /// What `kindling eval` says of a model on this file.
    pub(crate) fn loss(&self, data: &str, model: &[&str]) -> f64 {
        let ran = self.run(&[&["eval", "--json", "--data", data], model].concat()).done();
        ran.document()["loss"].as_f64().unwrap()
    }

    /// `kindling predict` of one text with the project's adapter.
    pub(crate) fn predict_with_adapter(&self) -> Ran {
        self.run(&["predict", "--model", "bert", "--adapter", "adapter", "a fine film"])
    }
}

/// With the directory of `kindling` in front, as where it is installed: messages name the command as it was found.
fn search_path() -> String {
    let directory = Path::new(env!("CARGO_BIN_EXE_kindling")).parent().unwrap().to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(directory).chain(std::env::split_paths(&path));
    std::env::join_paths(directories).unwrap().into_string().unwrap()
}

/// With the tests' own device for a command that computes, unless it names one.
fn on_test_device(arguments: &[&str]) -> Vec<String> {
    let mut arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
    let computes =
        arguments.first().is_some_and(|command| ["train", "eval", "predict", "generate"].contains(&command.as_str()));
    if let Some(device) = device::name().filter(|_| computes && !arguments.iter().any(|it| it == "--device")) {
        arguments.splice(1..1, ["--device".to_string(), device]);
    }
    arguments
}

/// What came of a command. The project's directory reads `[DIR]`.
pub(crate) struct Ran {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The command line or an input is refused, with exactly these lines on standard error and nothing else.
    #[track_caller]
    pub(crate) fn refused(&self, expected: &str) {
        assert_eq!(self.stderr, format!("{expected}\n"), "standard error");
        assert_eq!((self.status, self.stdout.as_str()), (Some(2), ""), "exit status and standard output");
    }

    /// The run failed on its way, with exactly these lines on standard error.
    #[track_caller]
    pub(crate) fn failed(&self, expected: &str) {
        assert_eq!(self.stderr, format!("{expected}\n"), "standard error");
        assert_eq!(self.status, Some(1), "exit status");
    }

    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.status, Some(0), "exit status, with standard error:\n{}", self.stderr);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// Standard output as JSON lines.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

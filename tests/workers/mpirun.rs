//! Workers that Open MPI starts on this machine, or on what it takes for two.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::project::Project;

/// Seconds after which a job that hangs is ended.
const LIMIT: &str = "120";

pub(super) struct Mpi<'a> {
    project: &'a Project,
    /// Of `mpirun`, before the program.
    options: Vec<String>,
}

/// What came of a job, without what `mpirun` says itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) status: Option<i32>,
    pub(super) said: String,
    pub(super) seconds: f64,
}

/// A job that runs.
pub(super) struct Job<'a> {
    child: Child,
    project: &'a Project,
    said: PathBuf,
    begun: Instant,
}

/// Whether there is Open MPI's `mpirun`; a test that needs it says that it is skipped.
pub(super) fn is_here() -> bool {
    let found = Command::new("mpirun").arg("--version").output();
    let is_here = found.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains("Open MPI"));
    if !is_here {
        println!("skipped: there is no Open MPI here");
    }
    is_here
}

impl<'a> Mpi<'a> {
    pub(super) fn new(project: &'a Project) -> Self {
        Self { project, options: Vec::new() }
    }

    pub(super) fn option(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| option.to_string()));
        self
    }

    /// The same command on so many workers.
    pub(super) fn start(&self, workers: usize, arguments: &[&str]) -> Job<'a> {
        let count = workers.to_string();
        let mut words = vec!["-n", count.as_str()];
        words.extend(self.options.iter().map(String::as_str));
        words.push(env!("CARGO_BIN_EXE_kindling"));
        words.extend(with_one_thread(arguments));
        self.start_words(&words)
    }

    pub(super) fn run(&self, workers: usize, arguments: &[&str]) -> Ended {
        self.start(workers, arguments).wait()
    }

    /// A worker in each of these directories of the project.
    pub(super) fn start_in(&self, directories: &[&str], arguments: &[&str]) -> Job<'a> {
        let paths: Vec<String> = directories.iter().map(|it| self.project.path(it).display().to_string()).collect();
        let mut words: Vec<&str> = Vec::new();
        for path in &paths {
            if !words.is_empty() {
                words.push(":");
            }
            words.extend(["-n", "1"]);
            words.extend(self.options.iter().map(String::as_str));
            words.extend(["-wdir", path, env!("CARGO_BIN_EXE_kindling")]);
            words.extend(with_one_thread(arguments));
        }
        self.start_words(&words)
    }

    pub(super) fn run_in(&self, directories: &[&str], arguments: &[&str]) -> Ended {
        self.start_in(directories, arguments).wait()
    }

    pub(super) fn start_words(&self, words: &[&str]) -> Job<'a> {
        let tcp = ["--mca", "btl_tcp_if_include", "lo"];
        let mut all = vec!["-k", "5", LIMIT, "mpirun", "--oversubscribe", "--bind-to", "none"];
        all.extend(tcp);
        all.extend(words);
        self.start_command("timeout", &all)
    }

    pub(super) fn start_command(&self, program: &str, words: &[&str]) -> Job<'a> {
        // A pipe of `mpirun` may stay open after its end.
        let said =
            tempfile::Builder::new().tempfile_in(self.project.path("")).unwrap().into_temp_path().keep().unwrap();
        let file = File::create(&said).unwrap();
        let child = Command::new(program)
            .args(words)
            .current_dir(self.project.path(""))
            .envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"), ("RUST_BACKTRACE", "0")])
            .env("OMPI_MCA_mpi_yield_when_idle", "1")
            .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Job { child, project: self.project, said, begun: Instant::now() }
    }
}

/// Several workers share this machine with other tests.
fn with_one_thread<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [arguments, &["--threads", "1"]].concat()
}

impl Job<'_> {
    pub(super) fn wait(mut self) -> Ended {
        let status = self.child.wait().unwrap().code();
        Ended { status, said: self.said(), seconds: self.begun.elapsed().as_secs_f64() }
    }

    fn said(&self) -> String {
        let root = self.project.path("").display().to_string();
        let said = std::fs::read_to_string(&self.said).unwrap();
        said.replace(root.trim_end_matches('/'), "[DIR]")
    }

    pub(super) fn has_said(&self, text: &str) -> bool {
        self.said().contains(text)
    }

    /// Waits until a run has a checkpoint at this step or later.
    pub(super) fn wait_for_checkpoint(&self, run: &str, step: usize) {
        self.wait_until(|| checkpoints(self.project, run).last().copied().unwrap_or(0) >= step);
    }

    /// Waits until a run has written the line of this step.
    pub(super) fn wait_for_step(&self, run: &str, step: usize) {
        let line = format!("\"step\":{step},");
        let has_step = || {
            std::fs::read_to_string(self.project.path(run).join("metrics.jsonl")).is_ok_and(|text| text.contains(&line))
        };
        self.wait_until(has_step);
    }

    pub(super) fn wait_until(&self, is_there: impl Fn() -> bool) {
        while !is_there() {
            assert!(self.begun.elapsed() < Duration::from_secs(90), "the run does not get there: {}", self.said());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The process of a worker of this job.
    pub(super) fn worker(&self, rank: usize) -> u32 {
        self.processes(&format!("OMPI_COMM_WORLD_RANK={rank}")).next().expect("the worker runs")
    }

    /// How many of two workers run.
    pub(super) fn workers(&self) -> usize {
        self.processes("OMPI_COMM_WORLD_SIZE=2").count()
    }

    /// Those of kindling in this project whose environment has this entry.
    fn processes(&self, variable: &str) -> impl Iterator<Item = u32> {
        let root = self.project.path("").canonicalize().unwrap();
        let is_meant = move |process: &u32| {
            let path = |name: &str| PathBuf::from(format!("/proc/{process}/{name}"));
            let environment = std::fs::read(path("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes())
                && std::fs::read_link(path("cwd")).is_ok_and(|cwd| cwd.starts_with(&root))
                && std::fs::read_link(path("exe")).is_ok_and(|exe| exe.as_os_str() == env!("CARGO_BIN_EXE_kindling"))
        };
        all_processes().filter(is_meant)
    }

    pub(super) fn signal(&self, rank: usize, signal: &str) {
        send(signal, self.worker(rank));
    }

    /// To the `mpirun` that the command has started.
    pub(super) fn signal_launcher(&self, signal: &str) {
        let parent = format!("PPid:\t{}\n", self.child.id());
        let is_child = |process: &u32| {
            std::fs::read_to_string(format!("/proc/{process}/status")).is_ok_and(|status| status.contains(&parent))
        };
        send(signal, all_processes().find(is_child).expect("the launcher runs"));
    }

    /// Waits for the command, and then for its workers: how many of them are left after some seconds.
    pub(super) fn wait_and_look(mut self) -> (Ended, usize) {
        let status = self.child.wait().unwrap().code();
        let ended = Instant::now();
        while self.workers() > 0 && ended.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(20));
        }
        (Ended { status, said: self.said(), seconds: self.begun.elapsed().as_secs_f64() }, self.workers())
    }

    /// To the command that was started.
    pub(super) fn signal_itself(&self, signal: &str) {
        send(signal, self.child.id());
    }
}

fn all_processes() -> impl Iterator<Item = u32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

pub(super) fn send(signal: &str, process: u32) {
    let line = ["-c", "kill -s \"$0\" \"$1\"", signal, &process.to_string()].map(str::to_string);
    assert!(Command::new("sh").args(line).status().unwrap().success());
}

impl Ended {
    #[track_caller]
    pub(super) fn done(self) -> Self {
        assert_eq!(self.status, Some(0), "{}", self.said);
        self
    }

    /// The lines from the first error on that are kindling's.
    #[track_caller]
    pub(super) fn error(&self) -> String {
        let lines: Vec<&str> = self
            .said
            .lines()
            .skip_while(|line| !line.starts_with("error:"))
            .take_while(|line| line.starts_with("error:") || line.starts_with("help:"))
            .collect();
        lines.join("\n")
    }

    /// How often a text occurs in the output.
    pub(super) fn count(&self, text: &str) -> usize {
        self.said.matches(text).count()
    }
}

/// Steps with a whole checkpoint: of one that is being removed a kill may leave the directory.
pub(super) fn checkpoints(project: &Project, run: &str) -> Vec<usize> {
    let Ok(entries) = std::fs::read_dir(project.path(run).join("checkpoints")) else { return Vec::new() };
    let whole = entries.flatten().filter(|entry| entry.path().join("state.json").is_file());
    let step = |name: String| name.strip_prefix("step-")?.parse().ok();
    let mut steps: Vec<usize> = whole.filter_map(|entry| step(entry.file_name().into_string().ok()?)).collect();
    steps.sort_unstable();
    steps
}

/// Two runs that must be the same bit for bit: results, checkpoints, metrics and figures of the report, but for times and memory.
#[track_caller]
pub(super) fn assert_same_runs(project: &Project, left: &str, right: &str) {
    let files = |run: &str, directory: &str| {
        let names = if project.path(run).join(directory).exists() {
            project.names(&format!("{run}/{directory}"))
        } else {
            Vec::new()
        };
        // Of burn's records that of the optimiser names parameters by numbers that every process draws anew.
        // A state has its hash and times, and the card names the run's directory.
        let is_compared = |name: &String| !["optimizer.bpk", "state.json", "README.md"].contains(&name.as_str());
        let read = |name: String| (name.clone(), std::fs::read(project.path(run).join(directory).join(&name)).unwrap());
        names.into_iter().filter(is_compared).map(read).collect::<Vec<_>>()
    };
    assert_eq!(checkpoints(project, left), checkpoints(project, right));
    let steps = checkpoints(project, left).into_iter().map(|step| format!("checkpoints/step-{step}"));
    let mut compared = 0;
    for directory in steps.chain(["adapter".to_string(), "model".to_string()]) {
        let (left, right) = (files(left, &directory), files(right, &directory));
        assert_eq!(
            left.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            right.iter().map(|(name, _)| name).collect::<Vec<_>>()
        );
        for ((name, left), (_, right)) in left.iter().zip(&right) {
            assert!(left == right, "{directory}/{name} differs");
            compared += 1;
        }
    }
    assert!(compared > 2, "nothing was compared");
    assert_eq!(metrics(project, left), metrics(project, right));
    assert_eq!(report(project, left), report(project, right));
}

fn metrics(project: &Project, run: &str) -> Vec<Value> {
    let text = project.read(&format!("{run}/metrics.jsonl"));
    let lines: Vec<Value> = text.lines().map(|line| without_times(serde_json::from_str(line).unwrap())).collect();
    assert!(lines.len() > 2);
    lines
}

fn report(project: &Project, run: &str) -> Value {
    without_times(serde_json::from_str(&project.read(&format!("{run}/report.json"))).unwrap())
}

fn without_times(value: Value) -> Value {
    match value {
        Value::Object(keys) => {
            let is_time = |key: &str| ["seconds", "step_seconds", "peak_memory_bytes"].contains(&key);
            keys.into_iter().filter(|(key, _)| !is_time(key)).map(|(key, value)| (key, without_times(value))).collect()
        }
        Value::Array(values) => values.into_iter().map(without_times).collect(),
        other => other,
    }
}

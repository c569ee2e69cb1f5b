//! A run in which one operation on a file fails, leaves half of what was to be written, or is the last of its process: for each
//! operation of a whole run. Whatever happens, the next process ends with the bits of a run that nothing has happened to, from
//! the newest checkpoint that was whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::train::Interrupter;
use model::disk::{self, Operation};
use serde_json::Value;

use super::{Directory, Options, Start, check, check_plan, run, take_up};
use crate::config;
use crate::output::Output;
use crate::prepare::RunPlan;
use crate::workers::Workers;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/parity/bert-cls");

/// Six steps, three evaluations and three checkpoints, of which two are kept.
const CONFIG: &str = "output_dir = \"run\"\n[model]\npath = \"FIXTURE/model\"\n[adapter]\nr = 2\ndropout = 0.1\n\
                      [data]\ntrain = \"FIXTURE/data.jsonl\"\nvalid = \"FIXTURE/data.jsonl\"\n\
                      [train]\nepochs = 1\nbatch_size = 3\ngrad_accumulation = 2\nlearning_rate = 1e-2\neval_every = 2\n\
                      checkpoint_every = 2\ntensorboard = true\ndevice = \"cpu\"\n";

/// What a child is to do: train, with which fault at which operation.
const FAULT: &str = "KINDLING_TEST_FAULT";

/// Where it writes the names of all operations, one a line.
const OPERATIONS: &str = "operations";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The operation is an error and does nothing.
    Error,
    /// The disk is full in the middle of what is written.
    Short,
    /// The process ends, in the middle of what is written.
    Killed,
}

const KINDS: [Kind; 3] = [Kind::Error, Kind::Short, Kind::Killed];

impl Kind {
    fn of(name: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| format!("{kind:?}") == name)
    }
}

/// The fault of this process, and the file of operations.
static PLANNED: OnceLock<(Option<(usize, Kind)>, File)> = OnceLock::new();
static DONE: AtomicUsize = AtomicUsize::new(0);

fn observer(operation: &Operation<'_>) -> io::Result<()> {
    let Some((fault, operations)) = PLANNED.get() else { return Ok(()) };
    let number = DONE.fetch_add(1, Ordering::Relaxed);
    // One write, so that lines of two threads do not mix.
    let line = format!("{}\n", in_words(operation));
    { operations }.write_all(line.as_bytes())?;
    let Some((_, kind)) = fault.filter(|(at, _)| *at == number) else { return Ok(()) };
    if kind != Kind::Error {
        match operation {
            // Nothing of it, a part, or all.
            Operation::Write { file, bytes, .. } => { *file }.write_all(&bytes[..bytes.len() * (number % 5) / 4])?,
            Operation::Written(path) => {
                let file = File::options().write(true).open(path)?;
                file.set_len(file.metadata()?.len() * (number as u64 % 5) / 4)?;
            }
            _ => {}
        }
    }
    match kind {
        Kind::Killed => std::process::abort(),
        Kind::Error | Kind::Short => Err(io::ErrorKind::StorageFull.into()),
    }
}

fn in_words(operation: &Operation<'_>) -> String {
    let (verb, path) = match operation {
        Operation::Open(path) => ("open", path),
        Operation::Write { path, .. } => ("write", path),
        Operation::Written(path) => ("written", path),
        Operation::SetLength(path) => ("set length of", path),
        Operation::Sync(path) => ("sync", path),
        Operation::Rename(path) => ("rename to", path),
        Operation::Remove(path) => ("remove", path),
        Operation::Lock(path) => ("lock", path),
        Operation::CreateDirectory(path) => ("create directory", path),
    };
    format!("{verb} {}", path.display())
}

/// The process that trains, in its working directory: `Resume` or `Overwrite`, and what is to fail.
#[test]
#[ignore = "a process of the other tests of this room"]
fn child() {
    let Ok(asked) = std::env::var(FAULT) else { return };
    let mut words = asked.split(' ');
    let start = if words.next() == Some("Overwrite") { Start::Overwrite } else { Start::Resume };
    let fault = words.next().map(|number| number.parse().unwrap()).zip(words.next().and_then(Kind::of));
    PLANNED.set((fault, File::create(OPERATIONS).unwrap())).unwrap();
    disk::observe(observer);
    let output = Output::new(false, false);
    exit(match train(start, &output) {
        Ok(()) => 0,
        Err(error) => {
            output.error(&*error);
            1
        }
    })
}

fn train(start: Start, output: &Output) -> Result<(), Box<dyn miette::Diagnostic>> {
    let mut loaded = config::load(Path::new("run.toml"), &[], &std::env::current_dir().unwrap())?;
    check(Path::new("run"), start)?;
    if start == Start::Resume {
        take_up(Path::new("run"), &mut loaded)?;
    }
    let plan = RunPlan::new(&loaded, None, &Workers::one(), output)?;
    check_plan(&plan, start)?;
    let directory = Directory::open(&plan.output_dir)?;
    let options = Options { dashboard: false, watch: None, interrupter: Interrupter::new(), until: None };
    run(&plan, Some(directory), start, options, &Workers::one(), output)?;
    Ok(())
}

/// A place for runs, removed at its end.
struct Place(tempfile::TempDir);

impl Place {
    fn new(seed: u64) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.configure(seed);
        place
    }

    fn configure(&self, seed: u64) {
        let config = format!("seed = {seed}\n{}", CONFIG.replace("FIXTURE", FIXTURE));
        fs::write(self.0.path().join("run.toml"), config).unwrap();
    }

    fn run(&self) -> PathBuf {
        self.0.path().join("run")
    }

    /// Whether the process ended well, and what it said.
    fn train(&self, start: Start, fault: Option<(usize, Kind)>) -> (bool, String) {
        let fault = fault.map_or(String::new(), |(number, kind)| format!(" {number} {kind:?}"));
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["run::faults::child", "--exact", "--ignored", "--nocapture", "--quiet"])
            .current_dir(self.0.path())
            .env(FAULT, format!("{start:?}{fault}"))
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// The operations of the last process.
    fn operations(&self) -> Vec<String> {
        fs::read_to_string(self.0.path().join(OPERATIONS)).unwrap().lines().map(str::to_string).collect()
    }

    /// What must be the same bit for bit.
    fn result(&self) -> (Vec<Vec<u8>>, Vec<Value>) {
        // All runs name the same base.
        let files = ["adapter_model.safetensors", "adapter_config.json", "kindling.json", "tokenizer.json"];
        let files = files.map(|name| fs::read(self.run().join("adapter").join(name)).unwrap()).into();
        let metrics = fs::read_to_string(self.run().join("metrics.jsonl")).unwrap();
        let mut lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &mut lines {
            for key in ["step_seconds", "seconds", "peak_memory_bytes"] {
                line.as_object_mut().unwrap().remove(key);
            }
        }
        (files, lines)
    }

    fn copy(&self, to: &Self) {
        copy(&self.run(), &to.run());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// The step from which the next process goes on at least, if the operation of this number fails: that of the last
/// checkpoint which had got its name before.
fn safe_step(operations: &[String], number: usize) -> usize {
    let step = |line: &String| line.strip_prefix("rename to ")?.rsplit_once("checkpoints/step-")?.1.parse().ok();
    operations[..number].iter().filter_map(step).max().unwrap_or(0)
}

fn resumed_from(said: &str) -> usize {
    let step = said.lines().find_map(|line| line.strip_prefix("resuming after step "));
    step.map_or(0, |step| step.parse().unwrap())
}

/// The faults of a run from its beginning to its end, those with a number for which `chosen` says yes.
fn survives(chosen: impl Fn(usize, Kind) -> bool) -> usize {
    let whole = Place::new(1);
    let (ended, said) = whole.train(Start::Resume, None);
    assert!(ended, "{said}");
    let (operations, expected) = (whole.operations(), whole.result());
    let mut faults = 0;
    for (number, kind) in (0..operations.len()).flat_map(|number| KINDS.map(|kind| (number, kind))) {
        if !chosen(number, kind) {
            continue;
        }
        let what = format!("{kind:?} at operation {number}, {}", operations[number]);
        let place = Place::new(1);
        let (ended, first) = place.train(Start::Resume, Some((number, kind)));
        assert!(!(ended && kind == Kind::Killed), "{what}: it was not killed");
        assert!(ended || kind == Kind::Killed || first.contains("no storage space"), "{what}: {first}");
        let (ended, said) = place.train(Start::Resume, None);
        assert!(ended, "{what}: {said}\nafter: {first}");
        assert!(!said.contains("is damaged"), "{what}: {said}");
        let finished = said.is_empty() || said.contains("finished run");
        assert!(finished || resumed_from(&said) >= safe_step(&operations, number), "{what}: {said}");
        assert!(place.result() == expected, "{what}: it ended otherwise");
        faults += 1;
    }
    faults
}

/// The same of a run that takes the place of a finished one: that is there whole, or the new one resumes.
fn overwriting_survives(chosen: impl Fn(usize, Kind) -> bool) -> usize {
    let [old, new] = [1, 2].map(Place::new);
    for place in [&old, &new] {
        let (ended, said) = place.train(Start::Resume, None);
        assert!(ended, "{said}");
    }
    let [before, after] = [&old, &new].map(Place::result);
    let place = Place::new(2);
    old.copy(&place);
    assert!(place.train(Start::Overwrite, None).0);
    let operations = place.operations();
    let mut faults = 0;
    for (number, kind) in (0..operations.len()).flat_map(|number| KINDS.map(|kind| (number, kind))) {
        if !chosen(number, kind) {
            continue;
        }
        let what = format!("{kind:?} at operation {number}, {}", operations[number]);
        let place = Place::new(2);
        old.copy(&place);
        let (_, first) = place.train(Start::Overwrite, Some((number, kind)));
        // Which of the two runs is there, its seed tells.
        let (ended, said) = place.train(Start::Resume, None);
        if ended {
            assert!(place.result() == after, "{what}: it ended otherwise\nafter: {first}");
        } else {
            assert!(said.contains("`seed` differs") || said.contains("finished"), "{what}: {said}\nafter: {first}");
            place.configure(1);
            let (ended, said) = place.train(Start::Resume, None);
            assert!(ended, "{what}: {said}\nafter: {first}");
            assert!(place.result() == before, "{what}: the run before is not what it was");
        }
        faults += 1;
    }
    faults
}

#[test]
fn whatever_fails_on_the_disk_the_next_process_ends_with_the_same_bits() {
    let faults = survives(|number, kind| number % 23 == kind as usize * 7);
    assert!(faults >= 10, "{faults}");
}

#[test]
fn whatever_fails_while_a_run_is_replaced_one_of_the_two_is_there() {
    let faults = overwriting_survives(|number, kind| number % 47 == kind as usize * 15);
    assert!(faults >= 6, "{faults}");
}

#[test]
#[ignore = "half an hour"]
#[expect(clippy::print_stdout, reason = "the figure is what the long run is for")]
fn every_operation_may_fail_in_every_way() {
    println!("{} faults survived", survives(|_, _| true));
}

#[test]
#[ignore = "half an hour"]
#[expect(clippy::print_stdout, reason = "the figure is what the long run is for")]
fn every_operation_of_a_replacement_may_fail_in_every_way() {
    println!("{} faults survived", overwriting_survives(|_, _| true));
}

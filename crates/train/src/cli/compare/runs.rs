//! The runs of a comparison, each in a process of its own, one after another.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::Path;

use burn::train::Interrupter;
use serde_json::{Value, json};

use super::begun::{Begun, begun_otherwise};
use super::{Arguments, Failure, Planned, write};
use crate::compare::{Child, Diverged, Ended, Known, Outcome, Place, Ran, lines};
use crate::config::{self, Loaded};
use crate::output::{Output, duration};
use crate::report::{OpenError, Report};
use crate::run::RangeTest;

pub(super) struct Runner<'a> {
    pub(super) place: &'a Place,
    pub(super) begun: &'a Begun,
    pub(super) arguments: &'a Arguments,
    pub(super) interrupter: &'a Interrupter,
    pub(super) output: &'a Output,
}

/// How training ended.
#[derive(Debug)]
enum Trained {
    Interrupted,
    Finished,
    /// What became no number.
    Diverged(String),
}

impl Runner<'_> {
    /// Seed by seed, so that what is interrupted has something of each candidate. `None`: it was interrupted.
    pub(super) fn all(&mut self, planned: &[Planned], seeds: &[u64]) -> Result<Option<Vec<Vec<Ran>>>, Failure> {
        let mut all: Vec<Vec<Ran>> = planned.iter().map(|_| Vec::new()).collect();
        if !self.is_as_begun(planned, seeds)? {
            return Ok(None);
        }
        self.record(&all)?;
        self.begun.remember(self.place)?;
        for (n, seed) in seeds.iter().enumerate() {
            for (m, candidate) in planned.iter().enumerate() {
                let Some(loaded) = self.configure(candidate, *seed)? else { return Ok(None) };
                let place = (n * planned.len() + m + 1, seeds.len() * planned.len());
                let Some(ran) = self.one(candidate, &loaded, *seed, place)? else { return Ok(None) };
                all[m].push(ran);
                self.record(&all)?;
            }
        }
        Ok(Some(all))
    }

    /// Looks at what is there before any run: at configurations first, by whose keys more is told than by what came of them.
    /// `false`: it was interrupted.
    fn is_as_begun(&mut self, planned: &[Planned], seeds: &[u64]) -> Result<bool, Failure> {
        for (planned, seed) in planned.iter().flat_map(|planned| seeds.iter().map(move |seed| (planned, *seed))) {
            if self.place.config(&planned.candidate, seed).exists() && self.configure(planned, seed)?.is_none() {
                return Ok(false);
            }
        }
        self.begun.check_inputs(self.place)?;
        Ok(true)
    }

    /// Writes `results.jsonl` with what there is.
    fn record(&self, all: &[Vec<Ran>]) -> Result<(), Failure> {
        let mut text = String::new();
        for ran in all.iter().flatten() {
            text += &format!("{}\n", serde_json::to_string(ran)?);
        }
        // One that was interrupted keeps the lines it had until all of its runs have been looked at.
        match text.is_empty() && Place::is_comparison(&self.place.root) {
            true => Ok(()),
            false => write(&self.place.results(), text.as_bytes()),
        }
    }

    /// The configuration of a run, written where it is not yet: with its seed, the rate that was found and the steps that fit
    /// into the budget. `None`: it was interrupted.
    fn configure(&mut self, planned: &Planned, seed: u64) -> Result<Option<Loaded>, Failure> {
        let (directory, file) = (self.place.of(&planned.candidate), self.place.config(&planned.candidate, seed));
        std::fs::create_dir_all(&directory).map_err(|error| super::cannot_write(&directory, &error))?;
        let mut sets = vec![format!("seed={seed}")];
        if self.arguments.find_lr {
            let Some(test) = self.range_test(planned)? else { return Ok(None) };
            sets.extend(test.suggestion.map(|rate| format!("train.learning_rate={rate:e}")));
        }
        if self.arguments.budget.is_some() {
            let Some(steps) = self.steps(planned)? else { return Ok(None) };
            sets.extend(["train.epochs=0".to_string(), format!("train.max_steps={steps}")]);
        }
        let loaded = self.load(planned, &sets)?;
        let text = loaded.as_written();
        match std::fs::read_to_string(&file) {
            Ok(found) if found != text => return Err(changed(&file, &found, &text)),
            Ok(_) => {}
            Err(_) => write(&file, text.as_bytes())?,
        }
        Ok(Some(loaded))
    }

    fn load(&self, planned: &Planned, sets: &[String]) -> Result<Loaded, Failure> {
        let sets: Vec<String> = self.arguments.set.iter().chain(sets).cloned().collect();
        let (choices, methods) = (&planned.candidate.choices, &self.arguments.methods);
        Ok(config::load_candidate(&self.arguments.config, &sets, choices, methods, &std::env::current_dir()?)?)
    }

    /// Of the first seed: made once, and kept.
    fn range_test(&mut self, planned: &Planned) -> Result<Option<RangeTest>, Failure> {
        let file = self.place.range_test(&planned.candidate);
        if let Some(test) = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(Some(test));
        }
        let name = &planned.candidate.name;
        self.output.say(&format!("{}: testing learning rates", self.output.bold(name)));
        let Some(ended) = self.tried(planned, &["--find-lr"])? else { return Ok(None) };
        let test: RangeTest = serde_json::from_str(&ended.stdout)?;
        if !self.output.json() {
            crate::cli::find_lr::drawn(&test).iter().for_each(|line| self.output.say(line));
        }
        match test.suggestion {
            Some(rate) => self.output.say(&format!("{name}: trained at {rate:e}, where the loss fell fastest")),
            None => {
                let rate = planned.loaded.config.train.learning_rate;
                self.output.warn(&format!("{name}: the loss fell at no rate; trained at the configuration's {rate:e}"));
            }
        }
        if let Some(warning) = crate::cli::find_lr::unclear(&test) {
            self.output.warn(&format!("{name}: {warning}"));
        }
        write(&file, &serde_json::to_vec(&test)?)?;
        Ok(Some(test))
    }

    /// The steps of the budget: of a time those that fit into it, by a measurement that is made once and kept.
    fn steps(&mut self, planned: &Planned) -> Result<Option<usize>, Failure> {
        let Some(budget) = self.arguments.budget else { return Ok(None) };
        if let crate::compare::Budget::Steps(steps) = budget {
            return Ok(Some(steps));
        }
        let file = self.place.budget(&planned.candidate);
        let kept: Option<Value> = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        if let Some(steps) = kept.and_then(|kept| kept["steps"].as_u64()) {
            return Ok(Some(steps as usize));
        }
        let name = &planned.candidate.name;
        self.output.say(&format!("{}: measuring a step", self.output.bold(name)));
        let Some(ended) = self.tried(planned, &["--dry-run", "--time"])? else { return Ok(None) };
        let document: Value = serde_json::from_str(&ended.stdout)?;
        let step_seconds = document["time"]["step_seconds"].as_f64().unwrap_or(f64::NAN);
        let steps = budget.steps(step_seconds);
        self.output.say(&format!("{name}: {steps} steps"));
        write(&file, json!({ "steps": steps, "step_seconds": step_seconds }).to_string().as_bytes())?;
        Ok(Some(steps))
    }

    /// A look at a candidate that trains nothing, by the configuration as it is before anything was found out.
    fn tried(&mut self, planned: &Planned, options: &[&str]) -> Result<Option<Ended>, Failure> {
        let file = self.place.of(&planned.candidate).join("tried.toml");
        write(&file, self.load(planned, &[])?.as_written().as_bytes())?;
        let mut arguments = self.command(&["train"], &file);
        arguments.extend(options.iter().map(Into::into));
        arguments.extend(["--json", "--until-input-ends"].map(Into::into));
        arguments.push("--set".into());
        // No run is made there, but a dry run looks whether one could be.
        arguments.push(set("output_dir", &self.place.of(&planned.candidate).join("tried")));
        let ended = self.child(arguments, &planned.candidate.name, || ())?;
        std::fs::remove_file(&file)?;
        Ok(ended)
    }

    /// Trains, unless it was trained, and asks the trained model about each example. `None`: it was interrupted.
    fn one(
        &mut self,
        planned: &Planned,
        loaded: &Loaded,
        seed: u64,
        place: (usize, usize),
    ) -> Result<Option<Ran>, Failure> {
        let Planned { candidate, trainable_parameters, .. } = planned;
        let (run, examples) = (self.place.run(candidate, seed), self.place.examples(candidate, seed));
        let name = format!("{}, seed {seed}", candidate.name);
        let known = Known {
            candidate: &candidate.name,
            method: loaded.config.adapter.method.name(),
            seed,
            learning_rate: loaded.config.train.learning_rate,
            trainable_parameters: *trainable_parameters,
        };
        let is_finished = match Report::open(&run) {
            Ok(report) => report.finished,
            // `train --resume` would leave it as it is.
            Err(error @ OpenError::Record { .. }) => return Err(unreadable(error, &run)),
            Err(_) => false,
        };
        if !is_finished {
            match self.trained(planned, seed, &name, place)? {
                Trained::Interrupted => return Ok(None),
                Trained::Finished => {}
                Trained::Diverged(error) => {
                    self.output.warn(&format!("{name}: {error}; the candidate has no score"));
                    return Ok(Some(Ran::Diverged(Diverged::new(&run, error, known))));
                }
            }
        }
        let report = Report::open(&run).map_err(|error| unreadable(error, &run))?;
        if lines(&examples).is_none() {
            let mut arguments: Vec<OsString> = vec!["eval".into(), "--run".into(), run.clone().into()];
            arguments.extend(["--per-example".into(), examples.into(), "--quiet".into(), "--json".into()]);
            let device = self.arguments.device.as_deref().unwrap_or(&loaded.config.train.device);
            arguments.extend(["--device".into(), device.into()]);
            if self.child(arguments, &name, || ())?.is_none() {
                return Ok(None);
            }
        }
        let outcome = Outcome::of(&report, known).ok_or_else(|| {
            let lacks = match report.record.end.is_none() {
                true => "nothing about its end (report.json)",
                false => "no evaluation in its metrics",
            };
            Failure::usage(format!("{} has {lacks}", run.display()), removal(&run))
        })?;
        let score = outcome.scores.to_string();
        self.output.say(&format!("{name}: {score} ({})", duration(outcome.seconds)));
        Ok(Some(Ran::Finished(outcome)))
    }

    /// Trains or goes on; a run that diverged would come to the same again, and is left as it is while it is there.
    fn trained(
        &self,
        planned: &Planned,
        seed: u64,
        name: &str,
        (number, all): (usize, usize),
    ) -> Result<Trained, Failure> {
        let candidate = &planned.candidate;
        let (run, config) = (self.place.run(candidate, seed), self.place.config(candidate, seed));
        let kept = self.place.diverged(candidate, seed);
        if let Some(error) = error_in(&kept).filter(|_| run.exists()) {
            return Ok(Trained::Diverged(error));
        }
        // What a model answered that was there before is not what this one will.
        let examples = self.place.examples(candidate, seed);
        match std::fs::remove_file(&examples) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(super::cannot_write(&examples, &error)),
            Ok(()) | Err(_) => {}
        }
        self.output.say(&format!("{} ({number} of {all})", self.output.bold(name)));
        let mut arguments = self.command(&["train"], &config);
        arguments.extend(["--set".into(), set("output_dir", &run)]);
        arguments.extend(["--quiet", "--until-input-ends"].map(Into::into));
        if run.exists() {
            arguments.push("--resume".into());
        }
        let metrics = run.join("metrics.jsonl");
        let bar = self.output.bar(0, "{msg} step {pos} {spinner}");
        bar.set_message(name.to_owned());
        let ended = self.ended(arguments, name, || bar.set_position(steps_of(&metrics)))?;
        bar.finish_and_clear();
        let Some(ended) = ended else { return Ok(Trained::Interrupted) };
        match ended.diverged() {
            Some(error) => {
                write(&kept, json!({ "error": error }).to_string().as_bytes())?;
                Ok(Trained::Diverged(error))
            }
            None if ended.status == Some(0) => Ok(Trained::Finished),
            None => Err(of_run(failed(&ended, name), &run)),
        }
    }

    fn command(&self, command: &[&str], file: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = command.iter().map(Into::into).collect();
        arguments.push(file.into());
        if let Some(device) = &self.arguments.device {
            arguments.extend(["--device".into(), device.into()]);
        }
        arguments
    }

    /// `None`: it was interrupted.
    fn child(&self, arguments: Vec<OsString>, name: &str, tick: impl FnMut()) -> Result<Option<Ended>, Failure> {
        match self.ended(arguments, name, tick)? {
            Some(ended) if ended.status != Some(0) => Err(failed(&ended, name)),
            ended => Ok(ended),
        }
    }

    /// However it ended. `None`: it was interrupted.
    fn ended(&self, mut arguments: Vec<OsString>, name: &str, tick: impl FnMut()) -> Result<Option<Ended>, Failure> {
        arguments.extend(["--threads".into(), rayon::current_num_threads().to_string().into()]);
        let ended = Child::new(arguments).run(self.interrupter, tick).map_err(|error| {
            let help = "the system may allow no more processes or threads: raise its limit (`ulimit -u`)";
            Failure::with_help(format!("cannot start a process for {name}: {error}"), help)
        })?;
        Ok(match ended.status {
            Some(0) => Some(ended),
            Some(130) => None,
            _ if self.interrupter.should_stop() => None,
            _ => Some(ended),
        })
    }
}

fn failed(ended: &Ended, name: &str) -> Failure {
    let again = "the same command with `--resume` goes on with this run".to_string();
    match (ended.error(), ended.status) {
        (Some((error, help)), Some(2)) => Failure::usage(format!("{name}: {error}"), help.unwrap_or(again)),
        (Some((error, help)), _) => Failure::with_help(format!("{name}: {error}"), help.unwrap_or(again)),
        (None, _) => {
            Failure::with_help(format!("{name}: the process ended without a word, as where memory runs out"), again)
        }
    }
}

/// A comparison has no `--overwrite`, with which `train` starts over.
fn of_run(failure: Failure, run: &Path) -> Failure {
    match failure.help() {
        Some(help) if help.contains("`--overwrite`") => failure.advising(removal(run)),
        Some(_) | None => failure,
    }
}

/// Of a run there is more to be done about a damaged file than of one that is only shown.
fn unreadable(error: OpenError, run: &Path) -> Failure {
    match error {
        OpenError::Record { .. } | OpenError::Metrics { .. } => Failure::usage(error.to_string(), removal(run)),
        OpenError::Missing { .. } | OpenError::NotARun { .. } | OpenError::Read { .. } | OpenError::Newer { .. } => {
            Failure::input(error)
        }
    }
}

fn removal(run: &Path) -> String {
    format!("remove {}: `--resume` trains it again", run.display())
}

/// That of a run that diverged.
fn error_in(file: &Path) -> Option<String> {
    let kept: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    kept["error"].as_str().map(str::to_owned)
}

fn set(key: &str, path: &Path) -> OsString {
    let mut set = OsString::from(format!("{key}="));
    set.push(path);
    set
}

/// Of a run in progress.
fn steps_of(metrics: &Path) -> u64 {
    let text = std::fs::read_to_string(metrics).unwrap_or_default();
    text.lines().filter(|line| line.contains("\"event\":\"step\"")).count() as u64
}

/// By the first line that differs.
fn changed(file: &Path, found: &str, asked: &str) -> Failure {
    let line = |text: &str, other: &str| {
        let others: Vec<&str> = other.lines().collect();
        text.lines().find(|line| !others.contains(line)).map_or("nothing".to_string(), |line| format!("`{line}`"))
    };
    begun_otherwise(file, &line(found, asked), &line(asked, found))
}

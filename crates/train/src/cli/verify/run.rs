//! A run is done again, and compared.

use std::path::Path;
use std::process::ExitCode;

use burn::train::Interrupter;
use inference::Sidecar;
use serde_json::{Value, json};

use super::Arguments;
use super::differences::{self, Difference};
use super::lines::{self, Foreign};
use crate::cli::failure::{Failure, INTERRUPTED};
use crate::cli::signals;
use crate::config::{self, Loaded};
use crate::output::{Output, counted};
use crate::prepare::RunPlan;
use crate::run::{self, Recorded, Stretch};
use crate::workers::Workers;

pub(super) fn verify(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let place = &arguments.path;
    let of_adapters = [
        ("--data", !arguments.data.is_empty()),
        ("--base", arguments.base.is_some()),
        ("--config", arguments.config.is_some()),
    ];
    if let Some((option, _)) = of_adapters.into_iter().find(|(_, is_given)| *is_given) {
        let message = format!("`{option}` is for an adapter, and {} is a run", place.display());
        return Err(Failure::usage(message, format!("name the run's adapter, or leave out {option}")));
    }
    let recorded = Recorded::open(place)?;
    for (path, reason) in &recorded.damaged {
        output.warn(&format!("the checkpoint {} is damaged ({reason}): it is not used", path.display()));
    }
    let result = ["adapter", "model"].map(|name| place.join(name)).into_iter().find(|path| path.is_dir());
    let sidecar = result.as_deref().map(Sidecar::read).transpose()?.flatten();
    let best = recorded.best_step(sidecar.as_ref());
    let stretch = stretch(&recorded, arguments, best)?;

    let directory = tempfile::tempdir().map_err(|error| {
        let help = "free space there, or name another place with the variable `TMPDIR`";
        Failure::with_help(format!("cannot make a temporary directory: {error}"), help)
    })?;
    let plan =
        RunPlan::new(&configuration(place, directory.path())?, arguments.device.as_deref(), &Workers::one(), output)?;
    let verified = Verified { place, result: result.as_deref(), sidecar: sidecar.as_ref(), best, stretch, plan: &plan };
    if let Some(difference) = recorded.identity().and_then(|then| of_inputs(then, &plan)) {
        return verified.differs(&difference, output);
    }
    if let Some(foreign) = lines::foreign(&metrics(place)?, recorded.newest, lines::has_ended(place)) {
        return verified.has_foreign(foreign, output);
    }
    let (steps, from) = (counted(stretch.until - stretch.from, "step", "steps"), stretch.from);
    match from {
        0 => output.say(&format!("doing {steps} of {} again, from the beginning", place.display())),
        _ => output.say(&format!("doing {steps} of {} again, from the checkpoint of step {from}", place.display())),
    }
    let interrupter = Interrupter::new();
    signals::stop_instead(&interrupter);
    if !run::replay(&recorded, &plan, stretch, interrupter, output)? {
        output.say("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    match verified.difference()? {
        Some(difference) => verified.differs(&difference, output),
        None => verified.agrees(output),
    }
}

fn stretch(recorded: &Recorded, arguments: &Arguments, best: Option<usize>) -> Result<Stretch, Failure> {
    let shown = arguments.path.display();
    let Some(last) = recorded.last_step() else {
        let message = format!("{shown} has no checkpoint that is whole: there is nothing to compare with");
        return Err(Failure::usage(message, "name another run, or put its checkpoints back from a copy"));
    };
    let steps = arguments.steps.map(|steps| usize::try_from(steps).unwrap_or(usize::MAX));
    recorded.stretch(steps, best).ok_or_else(|| {
        let steps = arguments.steps.unwrap_or_default();
        let message = format!("`--steps {steps}`: {shown} has {}", counted(last, "step", "steps"));
        Failure::usage(message, format!("name at most {last}, or leave it out: then all steps are done again"))
    })
}

/// That of the run, for another directory and without what has no part in the numbers.
fn configuration(place: &Path, directory: &Path) -> Result<Loaded, Failure> {
    let (text, file) = (run::recorded_config(place)?, place.join("config.toml"));
    let mut loaded = config::load_text(&text, &file, &[], &std::env::current_dir()?)?;
    loaded.config.output_dir = Some(directory.join("run"));
    loaded.config.train.tensorboard = false;
    // Of what is done again only the end is saved. TOML has no larger number.
    loaded.config.train.checkpoint_every = i64::MAX as usize;
    Ok(loaded)
}

fn metrics(run: &Path) -> Result<String, Failure> {
    let path = run.join("metrics.jsonl");
    std::fs::read_to_string(&path)
        .map_err(|error| Failure::usage(format!("cannot read {}: {error}", path.display()), "put it back from a copy"))
}

/// What the run was trained on is no longer what its configuration leads to.
fn of_inputs(then: &run::Identity, plan: &RunPlan) -> Option<Difference> {
    let now = plan.identity();
    let pairs = [("the base model", &then.base, &now.base), ("the data", &then.data, &now.data)];
    let (what, then, now) = pairs.into_iter().find(|(_, then, now)| then != now)?;
    let hash = |hash: &str| Value::from(hash.chars().take(12).collect::<String>());
    Some(Difference { step: 0, key: what.to_string(), then: hash(then), now: hash(now) })
}

struct Verified<'a> {
    place: &'a Path,
    /// Of the run, where it has saved one.
    result: Option<&'a Path>,
    sidecar: Option<&'a Sidecar>,
    /// The step that it is of.
    best: Option<usize>,
    stretch: Stretch,
    plan: &'a RunPlan,
}

impl Verified<'_> {
    /// Whether the result is of the steps that were done again.
    fn covers_result(&self) -> bool {
        self.best.is_some_and(|best| self.stretch.from < best && best <= self.stretch.until)
    }

    fn difference(&self) -> Result<Option<Difference>, Failure> {
        let again = &self.plan.output_dir;
        if let Some(difference) = differences::of_metrics(&metrics(self.place)?, &metrics(again)?, self.stretch) {
            return Ok(Some(difference));
        }
        let Some(result) = self.result.filter(|_| self.covers_result()) else { return Ok(None) };
        let name = result.file_name().unwrap_or_default();
        Ok(differences::of_results(result, &again.join(name), self.best.unwrap_or_default()))
    }

    fn agrees(&self, output: &Output) -> Result<ExitCode, Failure> {
        if output.json() {
            return self.document(None, output, ExitCode::SUCCESS);
        }
        let Stretch { from, until } = self.stretch;
        let steps = if from + 1 == until { format!("step {until}") } else { format!("steps {} to {until}", from + 1) };
        let verb = if from + 1 == until { "repeats" } else { "repeat" };
        output.say(&match (self.covers_result(), self.best, self.result_name()) {
            (true, Some(best), Some(name)) => {
                format!("{steps} {verb} bit for bit, and so does the {name} of step {best}")
            }
            (false, Some(best), Some(name)) => {
                format!("{steps} {verb} bit for bit; the {name} is of step {best}, which is none of them")
            }
            _ => format!("{steps} {verb} bit for bit"),
        });
        Ok(ExitCode::SUCCESS)
    }

    fn differs(&self, difference: &Difference, output: &Output) -> Result<ExitCode, Failure> {
        let Difference { step, key, then, now } = difference;
        if output.json() {
            let difference = json!({ "step": step, "key": key, "then": then, "now": now });
            return self.document(Some(difference), output, ExitCode::from(1));
        }
        let shown = self.place.display();
        let message = match step {
            0 => format!("{shown} cannot be repeated: {key} is no longer what it was ({then}, now {now})"),
            step => format!("{shown} does not repeat: at step {step} `{key}` was {then}, and is {now}"),
        };
        let reasons = self.reasons();
        let help = match (step, reasons.is_empty()) {
            (0, _) => "put back what it was trained with".to_string(),
            (_, true) => {
                "the same executable computed both on the same kind of processor: a file of the run has changed, or the memory or \
                 the disk of one of the machines is at fault"
                    .to_string()
            }
            (_, false) => format!("{}: any of this may change the last bits of a number", reasons.join("; ")),
        };
        Err(Failure::with_help(message, help))
    }

    fn has_foreign(&self, foreign: Foreign, output: &Output) -> Result<ExitCode, Failure> {
        if output.json() {
            let key = format!("line {} of metrics.jsonl", foreign.line);
            let difference = json!({ "step": null, "key": key, "then": foreign.text, "now": null });
            return self.document(Some(difference), output, ExitCode::from(1));
        }
        let path = self.place.join("metrics.jsonl");
        let message = format!("{} is not as the run wrote it: {}", path.display(), foreign.words);
        Err(Failure::with_help(message, foreign.help))
    }

    fn document(&self, first: Option<Value>, output: &Output, status: ExitCode) -> Result<ExitCode, Failure> {
        let covered = self.covers_result() && self.result.is_some();
        output.result(&serde_json::to_string(&json!({
            "run": self.place, "from_step": self.stretch.from, "to_step": self.stretch.until, "agrees": first.is_none(),
            "first_difference": first, "result_step": self.best, "result_compared": covered, "reasons": self.reasons(),
        }))?)?;
        Ok(status)
    }

    fn reasons(&self) -> Vec<String> {
        differences::of_machines(self.sidecar, &self.plan.device_name.to_string())
    }

    fn result_name(&self) -> Option<String> {
        self.result.and_then(|path: &Path| Some(path.file_name()?.to_string_lossy().into_owned()))
    }
}

//! `kindling compare`: the same data and the same order for several methods or settings, and which is worth it.

mod begun;
mod page;
mod runs;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use burn::train::Interrupter;
use clap::Args;
use data::Labels;
use model::write_atomically;
use serde_json::json;
use tasks::{Judged, Task};

use super::failure::{Failure, INTERRUPTED};
use super::signals;
use crate::compare::{Budget, Candidate, Diverged, FEWEST, Place, Ran, Results, candidates, lines, markdown, text};
use crate::config::{self, Loaded, Varied};
use crate::output::{Output, counted, thousands};
use crate::prepare::RunPlan;
use crate::run::Identity;
use crate::workers::Workers;
use begun::{Begun, check_seeds};
use runs::Runner;

/// Train the same data with several methods or settings, and compare scores, memory, time and size
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling compare sst2.toml --methods lora,full
  kindling compare sst2.toml --vary adapter.r=4,8,16 --seeds 3
  kindling compare sst2.toml --methods lora,ia3,full --find-lr --budget 15m
  kindling compare sst2.toml --methods lora,full --resume

The others are compared with the first candidate. Each run is an ordinary run in the directory of the comparison.")]
pub(super) struct Arguments {
    /// The configuration, a TOML file with validation data; keys of a method are passed over for the others
    config: PathBuf,
    /// Methods to compare
    #[arg(long, value_name = "METHOD,METHOD", value_delimiter = ',')]
    methods: Vec<String>,
    /// A key with the values to compare (repeatable; with --methods or with another key every combination is a candidate)
    #[arg(long, value_name = "KEY=VALUE,VALUE")]
    vary: Vec<String>,
    /// Runs of each candidate, with the configuration's seed and those after it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    seeds: u16,
    /// First find the learning rate of each candidate, as `train --find-lr` does
    #[arg(long)]
    find_lr: bool,
    /// How long each run trains, in place of train.epochs and train.max_steps: steps, or a time such as 90s, 15m, 2h
    #[arg(long, value_name = "N")]
    budget: Option<Budget>,
    /// Override a key for all candidates: train.epochs=5 (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute; overrides train.device
    #[arg(long, value_name = "D")]
    pub(super) device: Option<String>,
    /// Go on with an interrupted comparison, or add runs to one with more --seeds: finished runs are not repeated
    #[arg(long)]
    resume: bool,
    /// The directory of the comparison; default: the configuration's output_dir with -comparison after it
    #[arg(long, short, value_name = "DIR")]
    output_dir: Option<PathBuf>,
}

/// A candidate, planned.
struct Planned {
    candidate: Candidate,
    loaded: Loaded,
    trainable_parameters: usize,
    /// With the configuration's seed, which may split the data.
    identity: Identity,
}

/// What all candidates have in common.
struct Common {
    task: Arc<dyn Task>,
    examples: usize,
    /// Prompts that are answered at each evaluation.
    prompts: usize,
    evaluated: Evaluated,
}

/// What a candidate is asked in an evaluation.
#[derive(Debug, PartialEq, Eq)]
struct Evaluated {
    labels: Option<Labels>,
    /// The tokens of a language model that are predicted.
    targets: usize,
}

impl Evaluated {
    fn of(plan: &RunPlan) -> Self {
        Self { labels: plan.task.labels().cloned(), targets: plan.valid.as_ref().map_or(0, |valid| valid.targets()) }
    }

    /// An error unless both are asked the same: keys that may be varied, such as those of the model and of lengths, can change
    /// the classes and the tokens.
    fn check(&self, first: &Self, candidate: &Candidate, other: &Candidate) -> Result<(), Failure> {
        let (name, other) = (&candidate.name, &other.name);
        if self.labels != first.labels {
            let names = |it: &Self| {
                it.labels
                    .as_ref()
                    .map_or(String::new(), |labels| suggest::list(labels.names().iter().map(String::as_str)))
            };
            return Err(Failure::usage(
                format!(
                    "candidate `{name}` has other classes than `{other}` ({}; {}), and their scores cannot be compared",
                    names(self),
                    names(first)
                ),
                "set `model.labels`: the same classes for every candidate",
            ));
        }
        if self.targets != first.targets {
            return Err(Failure::usage(
                format!(
                    "candidate `{name}` predicts {} of the validation data and `{other}` {}, and their scores cannot be compared",
                    counted(self.targets, "token", "tokens"),
                    thousands(first.targets)
                ),
                "vary keys that leave the tokens of the validation data as they are: other tokenizers and shorter lengths do not",
            ));
        }
        Ok(())
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let varied: Vec<Varied> = arguments.vary.iter().map(|vary| Varied::parse(vary)).collect::<Result<_, _>>()?;
    let here = std::env::current_dir()?;
    let load = |candidate: &Candidate, is_first: bool| -> Result<Loaded, Failure> {
        let (choices, methods) = (&candidate.choices, &arguments.methods);
        config::load_candidate(&arguments.config, &arguments.set, choices, methods, &here)
            .map_err(|error| of_candidate(Failure::from(error), candidate, is_first))
    };
    let own = config::method_of(&arguments.config, &arguments.set, &here)?;
    let found = candidates(&arguments.methods, &varied, own.name()).map_err(Failure::input)?;
    // What is asked of it here all candidates have in common.
    let first = load(&found[0], true)?;
    check_rates(arguments, &varied, &first)?;
    check_lengths(arguments, &varied, &first)?;
    check_data(&varied, &first)?;
    let place = Place { root: root(arguments, &first) };
    check_place(&place.root, arguments.resume)?;
    let begun = Begun::with(arguments, &found, first.config.seed);
    begun.check(&place)?;
    let seeds: Vec<u64> = (0..u64::from(arguments.seeds)).map(|n| first.config.seed + n).collect();
    check_seeds(&place, &found, &seeds)?;

    let loaded = |candidate: Candidate| load(&candidate, false).map(|loaded| (candidate, loaded));
    let loaded: Vec<_> = found.into_iter().map(loaded).collect::<Result<_, _>>()?;
    let (planned, common) = plan(loaded, arguments, output)?;
    let begun = begun.of(&planned);

    let interrupter = Interrupter::new();
    signals::stop_instead(&interrupter);
    std::fs::create_dir_all(&place.root).map_err(|error| cannot_write(&place.root, &error))?;
    let mut runner = Runner { place: &place, begun: &begun, arguments, interrupter: &interrupter, output };
    let Some(ran) = runner.all(&planned, &seeds)? else {
        let again = "the same command with `--resume` goes on";
        output.say(&format!("interrupted, what is done is kept in {}: {again}", place.root.display()));
        return Ok(ExitCode::from(INTERRUPTED));
    };
    let results = results(&place, &planned, &seeds, &ran, &common)?;
    if results.candidates.is_empty() {
        return Err(no_scores(&results, &place));
    }
    write(&place.table(), markdown(&results).as_bytes())?;
    write(&place.page(), page::html(&results, &planned, &place)?.as_bytes())?;
    say(&results, &ran, &place, output)?;
    Ok(ExitCode::SUCCESS)
}

fn root(arguments: &Arguments, own: &Loaded) -> PathBuf {
    arguments.output_dir.clone().unwrap_or_else(|| {
        let mut of_run = match &own.config.output_dir {
            Some(directory) => directory.clone().into_os_string(),
            None => Path::new("runs").join(&own.name).into_os_string(),
        };
        of_run.push("-comparison");
        of_run.into()
    })
}

/// A rate that is one of the things compared is not to be found first, nor is that of each leg of a run.
fn check_rates(arguments: &Arguments, varied: &[Varied], own: &Loaded) -> Result<(), Failure> {
    if !arguments.find_lr {
        return Ok(());
    }
    super::find_lr::check(&own.config)?;
    match varied.iter().find(|key| key.key() == "train.learning_rate") {
        Some(key) => Err(Failure::usage(
            format!("`--find-lr`: {} says the rates already", key.place()),
            "leave out one of the two",
        )),
        None => Ok(()),
    }
}

/// The length of runs is either one of the things compared or the same for all, and that of a run in legs is its last one's.
fn check_lengths(arguments: &Arguments, varied: &[Varied], own: &Loaded) -> Result<(), Failure> {
    if arguments.budget.is_none() {
        return Ok(());
    }
    if let Some(key) = varied.iter().find(|key| ["train.epochs", "train.max_steps"].contains(&key.key().as_str())) {
        return Err(Failure::usage(
            format!("`--budget`: {} says how long each run is already", key.place()),
            "leave out one of the two",
        ));
    }
    match own.config.legs.first() {
        Some(leg) => Err(Failure::usage(
            format!("`--budget`: the run continued after step {} with a length of its own", leg.after_step),
            "compare runs without `[[legs]]`: take them out of the configuration",
        )),
        None => Ok(()),
    }
}

/// What is split off from training data changes with it.
fn check_data(varied: &[Varied], own: &Loaded) -> Result<(), Failure> {
    match varied.iter().find(|key| key.key() == "data.train") {
        Some(key) if own.config.data.valid.is_none() => Err(Failure::usage(
            format!("{}: without `data.valid` each would have validation data of its own", key.place()),
            "set `data.valid`: the same examples for every candidate",
        )),
        Some(_) | None => Ok(()),
    }
}

/// A comparison is neither replaced nor mixed with another.
fn check_place(root: &Path, resume: bool) -> Result<(), Failure> {
    let shown = root.display();
    let is_empty = std::fs::read_dir(root).map_or(!root.exists(), |mut entries| entries.next().is_none());
    let is_comparison = Place::is_comparison(root);
    match (is_empty, resume) {
        (true, _) => Ok(()),
        (false, true) if is_comparison => Ok(()),
        (false, false) if is_comparison => Err(Failure::usage(
            format!("{shown} has a comparison in it"),
            "`--resume` goes on with it; `--output-dir DIR` makes another elsewhere",
        )),
        (false, _) => Err(Failure::usage(
            format!("{shown} is in the way: it is no comparison of kindling's"),
            "name another directory with `--output-dir DIR`",
        )),
    }
}

/// Plans every candidate before the first one is trained, so that what is wrong with the last is found now.
fn plan(
    loaded: Vec<(Candidate, Loaded)>,
    arguments: &Arguments,
    output: &Output,
) -> Result<(Vec<Planned>, Common), Failure> {
    let mut common = None;
    let mut planned = Vec::new();
    for (candidate, loaded) in loaded {
        let heard = if planned.is_empty() { output.clone() } else { output.silenced() };
        let plan = RunPlan::new(&loaded, arguments.device.as_deref(), &Workers::one(), &heard)
            .and_then(|plan| plan.shapes().map(|shapes| (plan, shapes)).map_err(|error| error.placed(&loaded)));
        let (plan, shapes) =
            plan.map_err(|error| of_candidate(Failure::from(error), &candidate, planned.is_empty()))?;
        let examples = examples(&plan)?;
        let evaluated = Evaluated::of(&plan);
        match (&common, planned.first()) {
            (Some(Common { evaluated: first, .. }), Some(Planned { candidate: other, .. })) => {
                evaluated.check(first, &candidate, other)?;
            }
            _ => {
                super::plan::say(&plan, output);
                let prompts = plan.questions.as_ref().map_or(0, |questions| questions.len());
                common = Some(Common { task: plan.task.clone(), examples, prompts, evaluated });
            }
        }
        let trainable_parameters = shapes.plan.trainable_elements();
        planned.push(Planned { candidate, loaded, trainable_parameters, identity: plan.identity() });
    }
    Ok((planned, common.expect("there are two candidates at least")))
}

/// What is wrong with a candidate names the option that asks for it, which can do without; `is_first`: it may be wrong with all of
/// them.
fn of_candidate(failure: Failure, candidate: &Candidate, is_first: bool) -> Failure {
    let message = failure.to_string();
    let choice = candidate.choices.iter().find(|choice| message.contains(&choice.place()));
    let named = match choice {
        Some(_) if candidate.choices.len() == 1 => message,
        None if is_first => return failure,
        Some(_) | None => format!("candidate `{}`: {message}", candidate.name),
    };
    let leave = choice.map(|choice| format!("leave `{}` out of `{}`", choice.value(), choice.option()));
    let own = failure.help();
    // Another method is no remedy where methods are compared.
    let own = own.filter(|_| choice.is_none_or(|choice| !choice.is_of_method()));
    match (leave, own) {
        (Some(leave), Some(own)) => Failure::usage(named, format!("{own}; or {leave}")),
        (Some(leave), None) => Failure::usage(named, leave),
        (None, _) => failure.renamed(named),
    }
}

/// The validation examples, of which a bootstrap needs some.
fn examples(plan: &RunPlan) -> Result<usize, Failure> {
    let Some(valid) = &plan.valid else {
        let help = "set `data.valid` or `data.valid_fraction`";
        return Err(Failure::usage("candidates are compared on validation data, and there is none", help));
    };
    match valid.len() {
        few if few < FEWEST => Err(Failure::usage(
            format!(
                "{} of validation data: too few to say whether a difference is more than chance",
                counted(few, "example", "examples")
            ),
            format!("name a file with {FEWEST} or more as `data.valid`, or raise `data.valid_fraction`"),
        )),
        enough => Ok(enough),
    }
}

/// What the runs answered, example by example, in the order of the candidates and the seeds.
fn results(
    place: &Place,
    planned: &[Planned],
    seeds: &[u64],
    ran: &[Vec<Ran>],
    common: &Common,
) -> Result<Results, Failure> {
    let (mut outcomes, mut diverged) = (Vec::new(), Vec::new());
    let mut judged: Vec<Vec<Judged>> = Vec::new();
    let mut examples = common.examples;
    for (Planned { candidate, .. }, ran) in planned.iter().zip(ran) {
        let without_score: Vec<Diverged> = ran.iter().filter_map(Ran::diverged).cloned().collect();
        if !without_score.is_empty() {
            diverged.push(without_score);
            continue;
        }
        outcomes.push(ran.iter().filter_map(Ran::outcome).cloned().collect());
        let mut of_seeds = Vec::new();
        for seed in seeds {
            let file = place.examples(candidate, *seed);
            let lines = lines(&file).ok_or_else(|| damaged(&file))?;
            // Where the seed also splits the data, the parts may differ by an example.
            examples = examples.min(lines.len());
            of_seeds.push(common.task.judged(&lines));
        }
        judged.push(of_seeds);
    }
    let results = Results::new(outcomes, &judged, (examples, common.prompts), common.task.as_ref());
    Ok(results.with_diverged(diverged, &planned[0].candidate.name))
}

/// Every candidate has a run that diverged.
fn no_scores(results: &Results, place: &Place) -> Failure {
    let first = results.diverged.iter().map(|runs| format!("{}: {}", runs[0].candidate, runs[0].error));
    let errors: Vec<String> = first.collect();
    Failure::with_help(
        format!("no candidate in {} has a score ({})", place.root.display(), errors.join("; ")),
        "a lower `train.learning_rate`, a warm-up or a lower `train.max_grad_norm` usually mends this: compare with it elsewhere, \
         `--output-dir DIR`",
    )
}

fn damaged(file: &Path) -> Failure {
    let message = format!("{} cannot be read: it was changed or damaged", file.display());
    Failure::usage(message, "remove it: `--resume` makes it again")
}

fn say(results: &Results, ran: &[Vec<Ran>], place: &Place, output: &Output) -> Result<(), Failure> {
    if output.json() {
        let document = json!({
            "output_dir": place.root, "score": results.score.key, "examples": results.examples,
            "prompts": results.prompts,
            "candidates": results.candidates, "differences": results.differences,
            "runs": ran.iter().flatten().collect::<Vec<_>>(),
        });
        return Ok(output.result(&serde_json::to_string(&document)?)?);
    }
    for line in text(results) {
        output.result(&line)?;
    }
    output.say(&format!("report: {}", place.page().display()));
    Ok(())
}

fn write(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    write_atomically(path, |file| file.write_all(contents)).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("cannot write {}: {}", path.display(), error.kind());
    Failure::with_help(message, "make the place writable, then the same command with `--resume` goes on")
}

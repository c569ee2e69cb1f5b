//! `kindling combine`: several adapters of one base as one, PEFT's `add_weighted_adapter`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use inference::recorded_base;
use lora::{Combination, CombineError, FactoredAdapter, MajoritySign, combined};
use serde_json::json;

use super::{DataArguments, Measured, Named, warn_of_base, write};
use crate::cli::Failure;
use crate::cli::new_directory::NewDirectory;
use crate::cli::open::kind_of_base;
use crate::output::{Output, counted};

/// Combine several LoRA adapters of one base into one
///
/// The methods are those of PEFT's add_weighted_adapter. cat and svd add the updates themselves; the others add, prune or elect the
/// entries of A and of B, and need adapters of one rank. Heads become a weighted mean.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling combine runs/a runs/b -o both
  kindling combine runs/a runs/b --method ties --weights 0.7,0.3 --density 0.5 -o both
  kindling combine runs/a runs/b --method cat --weights=1,-0.5 -o difference --data test.csv")]
pub(in crate::cli) struct Arguments {
    /// The adapters: their directories, those of their runs, or ids on the Hugging Face Hub
    #[arg(value_name = "A", required = true)]
    adapters: Vec<PathBuf>,
    /// How updates are combined
    #[arg(long, value_enum, default_value = "svd")]
    method: Method,
    /// A weight for each adapter, in their order; default: the mean
    #[arg(long, value_name = "W,..", value_delimiter = ',', allow_hyphen_values = true)]
    weights: Vec<f64>,
    /// Rank of the result, with svd; default: the highest of the adapters
    #[arg(long, value_name = "R")]
    rank: Option<usize>,
    /// Share of the entries that stay, with ties, dare_linear and dare_ties: above 0 and up to 1
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    density: Option<f64>,
    /// What elects the sign of an entry, with ties and dare_ties; default: total
    #[arg(long, value_enum)]
    majority_sign: Option<Sign>,
    /// Which entries are pruned, with dare_linear and dare_ties; default: 42
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Directory to write
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// The base of all, where it is needed and no longer where the adapters say: a directory, or an id on the Hub
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) data: DataArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Method {
    /// Weighted sums of the A and of the B
    Linear,
    /// The weighted sum of the updates, of the sum of their ranks
    Cat,
    /// The same, cut to --rank
    Svd,
    /// The largest entries, where most agree in sign
    Ties,
    /// Random entries, scaled up
    DareLinear,
    /// Random entries, scaled up, where most agree in sign
    DareTies,
}

impl Method {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
    }

    fn has_density(self) -> bool {
        matches!(self, Self::Ties | Self::DareLinear | Self::DareTies)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sign {
    /// The sum of the entries
    Total,
    /// The number of entries
    Frequency,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let weights = weights(arguments)?;
    check_options(arguments)?;
    let directory = NewDirectory::create(&arguments.output)?;
    let mut measured = Measured::new(&arguments.data);
    let model = arguments.model.as_deref();
    let open = |named: &PathBuf| Named::open(named, model, measured.is_wanted(), "combine", output);
    let named: Vec<Named> = arguments.adapters.iter().map(open).collect::<Result<_, _>>()?;
    check_bases(&named, model)?;
    check_tasks(&named)?;
    let highest = named.iter().map(|named| named.factored.highest_rank()).max().unwrap_or(0);
    let factored: Vec<FactoredAdapter> = named.iter().map(|named| named.factored.clone()).collect();
    let method = combination(arguments, highest);
    let new = combined(&factored, &weights, method).map_err(|error| cannot_combine(error, &named, arguments))?;
    for (named, shown) in named.iter().zip(&arguments.adapters) {
        if let Some(files) = &named.files {
            measured.add(&shown.display().to_string(), files, output)?;
        }
    }
    named.iter().for_each(|named| warn_of_base(named, output));
    warn_of_kinds(&named, output);
    let first = &named[0];
    let config = first.config(&new)?;
    let sidecar = first.adapter.sidecar.clone().map(|mut sidecar| {
        // It was fitted to what one of them answers.
        sidecar.fitted = tasks::Fitted::default();
        sidecar
    });
    let parameters: usize = new.tensors.iter().map(|(_, data)| data.num_elements()).sum();
    let words = format!("combined of {} ({})", counted(named.len(), "adapter", "adapters"), arguments.method.name());
    write(&directory, (config, new), sidecar, &words, &first.directory)?;
    if let Some(files) = &first.files {
        measured.add_made("combined", (&files.model, &directory), output)?;
    }
    directory.finish()?;
    if output.json() {
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "method": arguments.method.name(), "weights": weights, "parameters": parameters,
            "scores": measured.document()?,
        }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in measured.lines() {
        output.result(&line)?;
    }
    let shown: Vec<String> = weights.iter().map(ToString::to_string).collect();
    output.say(&format!(
        "written: {}, {} with the weights {}",
        output.bold(&arguments.output.display().to_string()),
        arguments.method.name(),
        shown.join(", ")
    ));
    Ok(ExitCode::SUCCESS)
}

fn weights(arguments: &Arguments) -> Result<Vec<f64>, Failure> {
    let (count, found) = (arguments.adapters.len(), &arguments.weights);
    if found.is_empty() {
        return Ok(vec![1.0 / count as f64; count]);
    }
    if found.len() != count {
        let message = format!(
            "`--weights` has {} for {}",
            counted(found.len(), "number", "numbers"),
            counted(count, "adapter", "adapters")
        );
        return Err(Failure::usage(message, "give a number for each adapter, in their order: --weights 0.7,0.3"));
    }
    if let Some(weight) = found.iter().find(|weight| !weight.is_finite()) {
        return Err(Failure::usage(
            format!("`--weights`: {weight} is no weight"),
            "give finite numbers: --weights 0.7,0.3",
        ));
    }
    match found.iter().all(|weight| *weight == 0.0) {
        true => {
            Err(Failure::usage("`--weights`: with 0 for every adapter nothing is left", "give one of them a weight"))
        }
        false => Ok(found.clone()),
    }
}

/// An option that the method does not have is no mistake to be passed over, and neither is a density that is none.
fn check_options(arguments: &Arguments) -> Result<(), Failure> {
    let method = arguments.method;
    let is_random = matches!(method, Method::DareLinear | Method::DareTies);
    let elects = matches!(method, Method::Ties | Method::DareTies);
    let unused = [
        ("--rank", arguments.rank.is_some() && method != Method::Svd, "svd has one"),
        ("--density", arguments.density.is_some() && !method.has_density(), "ties, dare_linear and dare_ties have one"),
        ("--majority-sign", arguments.majority_sign.is_some() && !elects, "ties and dare_ties have one"),
        ("--seed", arguments.seed.is_some() && !is_random, "dare_linear and dare_ties have one"),
    ];
    if let Some((option, _, which)) = unused.iter().find(|(_, is_unused, _)| *is_unused) {
        let message = format!("`--method {}` has no `{option}`", method.name());
        return Err(Failure::usage(message, format!("leave it out: {which}")));
    }
    if arguments.rank == Some(0) {
        return Err(Failure::usage("`--rank 0` would leave nothing of the adapters", "give a rank of 1 or more"));
    }
    match arguments.density {
        None if method.has_density() => Err(Failure::usage(
            format!("`--method {}` needs `--density`", method.name()),
            "give the share of the entries that stay: --density 0.5",
        )),
        Some(density) if !(density > 0.0 && density <= 1.0) => Err(Failure::usage(
            format!("`--density {density}` is no share of the entries"),
            "give a number above 0, and 1 at most: 0.5 keeps half of them",
        )),
        _ => Ok(()),
    }
}

fn combination(arguments: &Arguments, highest: usize) -> Combination {
    let density = arguments.density.unwrap_or(1.0) as f32;
    let sign = match arguments.majority_sign {
        Some(Sign::Frequency) => MajoritySign::Frequency,
        Some(Sign::Total) | None => MajoritySign::Total,
    };
    let seed = arguments.seed.unwrap_or(42);
    match arguments.method {
        // As in PEFT: of one adapter there is nothing else to make.
        _ if arguments.adapters.len() == 1 => Combination::Linear,
        Method::Linear => Combination::Linear,
        Method::Cat => Combination::Cat,
        Method::Svd => Combination::Svd { rank: arguments.rank.unwrap_or(highest) },
        Method::Ties => Combination::Ties { density, sign },
        Method::DareLinear => Combination::DareLinear { density, seed },
        Method::DareTies => Combination::DareTies { density, sign, seed },
    }
}

/// All are on one base, by the fingerprints of its weights where adapters record one, or else by its name.
fn check_bases(named: &[Named], model: Option<&Path>) -> Result<(), Failure> {
    let first = &named[0];
    for other in &named[1..] {
        let recorded = [first, other].map(|named| named.adapter.sidecar.as_ref().map(|sidecar| &sidecar.base));
        let is_same = match recorded {
            [Some(first), Some(other)] => first.fingerprint == other.fingerprint,
            _ if model.is_some() => true,
            _ => match [recorded_base(&first.directory)?, recorded_base(&other.directory)?] {
                [Some(of_first), Some(of_other)] => {
                    let place = |base: &inference::Recorded, named: &Named| {
                        base.directory(&named.directory).and_then(|place| place.canonicalize().ok())
                    };
                    let places = (place(&of_first, first), place(&of_other, other));
                    of_first == of_other || matches!(&places, (Some(left), Some(right)) if left == right)
                }
                _ => true,
            },
        };
        if !is_same {
            let [first, other] = [first, other].map(|named| named.directory.display());
            let message = format!("{first} and {other} are adapters of different bases");
            return Err(match recorded {
                // Of one of them the base that is named would be another.
                [Some(_), Some(_)] => Failure::usage(
                    format!("{message}: `base.fingerprint` in their kindling.json differs"),
                    "combine adapters that were trained on the same weights",
                ),
                _ => Failure::usage(
                    message,
                    "combine adapters that were trained on the same weights; if they were, and only the name differs, name the base with --model",
                ),
            });
        }
    }
    Ok(())
}

/// What they answer with means the same.
fn check_tasks(named: &[Named]) -> Result<(), Failure> {
    let Some(first) = &named[0].adapter.sidecar else { return Ok(()) };
    for other in &named[1..] {
        let Some(sidecar) = &other.adapter.sidecar else { continue };
        let [one, two] = [&named[0], other].map(|named| named.directory.display().to_string());
        if sidecar.task != first.task {
            let message = format!("{one} was trained for {}, {two} for {}", first.task, sidecar.task);
            return Err(Failure::usage(message, "combine adapters of one task"));
        }
        if sidecar.labels != first.labels {
            let message =
                format!("{one} has the labels {}, {two} has {}", first.labels.join(", "), sidecar.labels.join(", "));
            return Err(Failure::usage(message, "combine adapters with the same labels in the same order"));
        }
    }
    Ok(())
}

/// Says which base is recorded, as the first adapter has it, where others were trained on one of another kind.
fn warn_of_kinds(named: &[Named], output: &Output) {
    let kind = |named: &Named| Some(kind_of_base(named.adapter.sidecar.as_ref()?.base.quantised));
    let Some(recorded) = kind(&named[0]) else { return };
    for other in &named[1..] {
        if let Some(trained_on) = kind(other).filter(|kind| *kind != recorded) {
            let (first, other) = (named[0].directory.display(), other.directory.display());
            output.warn(&format!(
                "{first} was trained on a base in {recorded}, {other} on one in {trained_on}: what is written records {recorded}, as the first does"
            ));
        }
    }
}

fn cannot_combine(error: CombineError, named: &[Named], arguments: &Arguments) -> Failure {
    let of = |n: usize| named[n].directory.display();
    let method = arguments.method.name();
    match error {
        CombineError::Size { module, n, found, of: other, first } => Failure::usage(
            format!("`{module}` is {first:?} in {} and {found:?} in {}", of(other), of(n)),
            "they are adapters of different bases: combine those of one",
        ),
        CombineError::Ranks { module, n, found, of: other, first } => {
            let (one, two) = (of(other), of(n));
            let ranks = match module {
                Some(module) => format!("`{module}` has {first} in {one} and {found} in {two}"),
                None => format!("{one} has {first}, {two} has {found}"),
            };
            Failure::usage(
                format!("`--method {method}` needs one rank: {ranks}"),
                "`--method svd` and `--method cat` take any ranks, and `kindling resize` changes one",
            )
        }
        CombineError::Rank { highest } => Failure::usage(
            format!(
                "`--rank {}` is above what the adapters have together, {highest}",
                arguments.rank.unwrap_or(highest)
            ),
            format!("give a rank of {highest} at most"),
        ),
        CombineError::Tensors { tensor, with, without } => Failure::usage(
            format!("{} has `{tensor}`, {} does not", of(with), of(without)),
            "combine adapters with the same heads, biases and modules_to_save",
        ),
        CombineError::Shape { tensor, n, found, first } => Failure::usage(
            format!("`{tensor}` is {first:?} in {} and {found:?} in {}", of(0), of(n)),
            "combine adapters with the same labels",
        ),
        CombineError::Weights { tensor, sum } => Failure::usage(
            format!(
                "`--weights` sum to {sum}, and `{tensor}`, which differs between the adapters, is a value and no difference"
            ),
            "of values a mean is made: give weights that sum to 1",
        ),
        CombineError::NotFinite { module } => Failure::usage(
            format!("with these weights the update of `{module}` has values that are not finite"),
            "give smaller numbers with --weights, as in --weights 0.7,0.3",
        ),
    }
}

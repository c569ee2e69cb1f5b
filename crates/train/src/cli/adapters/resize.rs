//! `kindling resize`: an adapter cut to a rank, or to a share of its energy.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use lora::{Cut, Resized};
use serde_json::{Value, json};

use super::{DataArguments, Measured, Named, per_cent, warn_of_base, write};
use crate::cli::Failure;
use crate::cli::new_directory::NewDirectory;
use crate::output::{Output, thousands};

/// Cut a LoRA adapter to a lower rank
///
/// Each module keeps the largest singular values of its update, which is the nearest update of that rank. Heads and other
/// modules_to_save stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling resize runs/sst2 --rank 4 -o small
  kindling resize runs/sst2 --energy 0.95 -o small --data test.csv")]
pub(in crate::cli) struct Arguments {
    /// The adapter: its directory, that of its run, or an id on the Hugging Face Hub
    #[arg(value_name = "A")]
    adapter: PathBuf,
    /// Highest rank that a module keeps
    #[arg(long, value_name = "R", required_unless_present = "energy", conflicts_with = "energy")]
    rank: Option<usize>,
    /// Share of the energy (the sum of squared singular values) that each module keeps at least, above 0 and up to 1
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    energy: Option<f64>,
    /// Directory to write
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
    /// The base, where it is needed and no longer where the adapter says: a directory, or an id on the Hub
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    #[command(flatten)]
    pub(in crate::cli) data: DataArguments,
}

pub(in crate::cli) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let cut = cut(arguments)?;
    let directory = NewDirectory::create(&arguments.output)?;
    let mut measured = Measured::new(&arguments.data);
    let named = Named::open(&arguments.adapter, arguments.model.as_deref(), measured.is_wanted(), "resize", output)?;
    let shown = named.directory.display();
    let highest = named.factored.highest_rank();
    if let Some(rank) = arguments.rank.filter(|rank| *rank > highest) {
        let message = format!("`--rank {rank}`: {shown} has rank {highest}");
        return Err(Failure::usage(
            message,
            format!("choose a rank below {highest}, or `--energy 1` to leave out what is zero"),
        ));
    }
    if let Some(files) = &named.files {
        measured.add("before", files, output)?;
    }
    let Some((new, modules)) = named.factored.resized(cut) else {
        return Err(Failure::message(format!("the updates of {shown} have no singular values in f64")));
    };
    warn_of_base(&named, output);
    let config = named.config(&new)?;
    let before: usize = named.adapter.tensors.names().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    let after: usize = new.tensors.iter().map(|(_, data)| data.num_elements()).sum();
    let made = match cut {
        Cut::Rank(rank) => format!("cut to rank {rank}"),
        Cut::Energy(share) => format!("cut to {} of its energy", per_cent(share)),
    };
    write(&directory, (config, new), named.adapter.sidecar.clone(), &made, &named.directory)?;
    if let Some(files) = &named.files {
        measured.add_made("after", (&files.model, &directory), output)?;
    }
    directory.finish()?;
    let shown = arguments.output.display().to_string();
    if output.json() {
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "kept": kept(&modules), "parameters_before": before, "parameters": after,
            "modules": modules.iter().map(document).collect::<Vec<_>>(),
            "scores": measured.document()?,
        }))?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output.result("rank before and after, energy kept, module")?;
    for module in &modules {
        let kept = per_cent(module.kept);
        output.result(&format!("  {:>4} {:>4}  {kept:>6}  {}", module.rank_before, module.rank, module.module))?;
    }
    for line in measured.lines() {
        output.result(&line)?;
    }
    output.say(&format!(
        "written: {}, {} of {} parameters, {} of the energy of all updates",
        output.bold(&shown),
        thousands(after),
        thousands(before),
        per_cent(kept(&modules))
    ));
    Ok(ExitCode::SUCCESS)
}

fn cut(arguments: &Arguments) -> Result<Cut, Failure> {
    match (arguments.rank, arguments.energy) {
        (Some(0), _) => {
            Err(Failure::usage("`--rank 0` would leave nothing of the adapter", "give a rank of 1 or more"))
        }
        (Some(rank), _) => Ok(Cut::Rank(rank)),
        (None, Some(share)) if share > 0.0 && share <= 1.0 => Ok(Cut::Energy(share)),
        (None, Some(share)) => Err(Failure::usage(
            format!("`--energy {share}` is no share of the energy"),
            "give a number above 0, and 1 at most: 0.9 keeps nine tenths of each module's",
        )),
        (None, None) => unreachable!("clap requires one of them"),
    }
}

/// The share of all modules' energy.
fn kept(modules: &[Resized]) -> f64 {
    let all: f64 = modules.iter().map(|module| module.energy).sum();
    let kept: f64 = modules.iter().map(|module| module.energy * module.kept).sum();
    if all > 0.0 { kept / all } else { 1.0 }
}

fn document(module: &Resized) -> Value {
    json!({ "module": module.module, "rank_before": module.rank_before, "rank": module.rank, "kept": module.kept })
}

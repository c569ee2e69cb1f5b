//! `kindling verify`: whether a run repeats bit for bit, and whether an adapter came from what its `kindling.json` says.

mod adapter;
mod differences;
mod lines;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use inference::DirectoryKind;

use super::Failure;
use crate::output::Output;

/// Check that a run repeats bit for bit, or that an adapter came from this data and this base
///
/// Of a run all steps are done again, or with --steps some of them from a checkpoint, in a temporary directory; its metrics and its
/// adapter are compared bit for bit. Of an adapter its files, the data, the base and the settings are compared with the hashes that
/// training recorded. The exit status is 0 if everything agrees, and 1 if something differs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling verify runs/sst2
  kindling verify runs/sst2 --steps 10
  kindling verify runs/sst2/adapter --data train.csv --data valid.csv
  kindling verify adapter --data train.csv --base bert-base-uncased --config sst2.toml")]
pub(super) struct Arguments {
    /// Directory of a run, or of an adapter that kindling trained
    #[arg(value_name = "RUN|ADAPTER")]
    path: PathBuf,
    /// Of a run: do so many steps again, from a checkpoint; default: all of them, from the beginning
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["data", "base", "config"])]
    steps: Option<u64>,
    /// Of a run: where to compute; default: as in its configuration
    #[arg(long, value_name = "D", conflicts_with_all = ["data", "base", "config"])]
    pub(super) device: Option<String>,
    /// Of an adapter: a file that it is said to be trained or validated on (repeatable)
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Of an adapter: the base that it is said to be trained on; default: where it was then
    #[arg(long, value_name = "M")]
    base: Option<PathBuf>,
    /// Of an adapter: the complete configuration that it is said to be trained with, a run's config.toml; default: that of its run
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    match DirectoryKind::of(&arguments.path) {
        DirectoryKind::RunWithAdapter(_) | DirectoryKind::RunWithModel(_) | DirectoryKind::RunAlone => {
            run::verify(arguments, output)
        }
        DirectoryKind::Adapter | DirectoryKind::Model => adapter::verify(arguments, output),
        DirectoryKind::Else => {
            let shown = arguments.path.display();
            Err(match arguments.path.exists() {
                true => {
                    let help = "name a directory that `kindling train` wrote, or that of an adapter in it";
                    Failure::usage(format!("{shown} is neither a run nor an adapter"), help)
                }
                false => {
                    let help = super::source::neighbour(&arguments.path);
                    Failure::usage(format!("there is no directory {shown}"), help)
                }
            })
        }
    }
}

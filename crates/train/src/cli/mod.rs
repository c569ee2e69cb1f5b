//! The command line: what can be typed, and one room for each command.

mod adapters;
mod agree;
mod compare;
mod completions;
mod devices;
mod eval;
mod evaluations;
mod export;
mod failure;
mod find_lr;
mod finished;
mod from_data;
mod generate;
mod init;
mod input;
mod inspect;
mod man;
mod merge;
mod new_directory;
mod open;
mod plan;
mod predict;
mod quickstart;
mod report;
mod scores;
mod serve;
mod signals;
mod sink;
mod size;
mod source;
mod table;
mod tokenizer;
mod train;
mod verify;
mod workers;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use clap::{Args, Parser, Subcommand};

use crate::device::DeviceName;
use crate::output::Output;
use crate::terminal;
use crate::workers::{Launched, Workers};
use adapters::{combine, extract, resize};
use failure::Failure;
use source::ModelArguments;
use workers::WorkerArguments;

/// Fine-tunes pretrained transformers with LoRA and its relatives.
///
/// Without a command it trains the quickstart: a small model on a small data set, both in the binary.
#[derive(Debug, Parser)]
#[command(name = "kindling", version)]
#[command(after_help = "\
Examples:
  kindling
  kindling train questions.csv
  kindling train sst2.toml
  kindling predict --run runs/sst2 \"a fine film\"")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Without a command: train the quickstart again where one was trained before
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Arguments),
    Compare(compare::Arguments),
    Eval(eval::Arguments),
    Predict(predict::Arguments),
    Generate(generate::Arguments),
    Serve(serve::Arguments),
    Merge(merge::Arguments),
    Export(export::Arguments),
    Inspect(inspect::Arguments),
    Resize(resize::Arguments),
    Combine(combine::Arguments),
    Extract(extract::Arguments),
    Report(report::Arguments),
    Verify(verify::Arguments),
    Init(init::Arguments),
    Tokenizer(tokenizer::Arguments),
    Devices(devices::Arguments),
    Completions(completions::Arguments),
    Man(man::Arguments),
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
struct Common {
    /// Say nothing but warnings and errors
    #[arg(long, short, global = true, display_order = 1000)]
    quiet: bool,
    /// Print one JSON document on standard output; predict and generate print one a line
    #[arg(long, global = true, display_order = 1001)]
    json: bool,
    /// Threads to compute with; default: one for each core
    #[arg(long, global = true, display_order = 1002, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// Where to compute.
#[derive(Debug, Clone, Args)]
struct DeviceArgument {
    /// auto, cpu, or a backend with an index: cuda:1 (`kindling devices` lists them)
    #[arg(long, value_name = "D", default_value = "auto")]
    device: String,
}

pub(crate) fn main() -> ExitCode {
    #[cfg(unix)]
    signals::ignore_file_size_limit();
    let cli = Cli::try_parse().unwrap_or_else(|error| workers::exit_once(&harmless(error)));
    let output = Output::new(cli.common.quiet, cli.common.json);
    let output = workers::of_launcher(output);
    let (workers, outcome) = match join(&cli) {
        Ok(workers) => {
            if worker_arguments(cli.command.as_ref()).is_some() {
                workers::warn_of_strangers(&output);
            }
            let outcome = prepare_process(&cli, &workers).and_then(|()| dispatch(cli, &workers, &output));
            let outcome = workers::conclude(&workers, outcome);
            (workers, outcome)
        }
        Err(failure) => {
            workers::wait_for_the_first();
            (Workers::one(), Err(failure))
        }
    };
    let status = outcome.unwrap_or_else(|failure| {
        if let Some(error) = &failure.error {
            output.error(error.as_ref());
        }
        failure.status()
    });
    workers.leave();
    status
}

/// The same complaint about arguments that a terminal can be sent: clap repeats them as they were typed.
fn harmless(error: clap::Error) -> clap::Error {
    let shown = std::env::args_os().map(|argument| terminal::escaped(&argument.to_string_lossy()).into_owned());
    Cli::try_parse_from(shown).err().unwrap_or(error)
}

fn dispatch(Cli { command, overwrite, common }: Cli, workers: &Workers, output: &Output) -> Result<ExitCode, Failure> {
    if let Some((name, arguments)) = worker_arguments(command.as_ref())
        && let Some(status) = workers::started(name, arguments, common.threads)?
    {
        return Ok(status);
    }
    if overwrite && command.is_some() {
        let help = "write it after the command: `kindling train CONFIG --overwrite`";
        return Err(Failure::usage("`--overwrite` before a command is the quickstart's", help));
    }
    match command {
        None => quickstart::run(overwrite, output),
        Some(Command::Train(arguments)) => train::run(&arguments, workers, output),
        Some(Command::Compare(arguments)) => compare::run(&arguments, output),
        Some(Command::Eval(arguments)) => eval::run(&arguments, workers, output).map_err(Failure::on_command_line),
        Some(Command::Predict(arguments)) => {
            predict::run(&arguments, workers, output).map_err(Failure::on_command_line)
        }
        Some(Command::Generate(arguments)) => {
            generate::run(&arguments, workers, output).map_err(Failure::on_command_line)
        }
        Some(Command::Serve(arguments)) => serve::run(&arguments, output).map_err(Failure::on_command_line),
        Some(Command::Merge(arguments)) => merge::run(&arguments, output),
        Some(Command::Export(arguments)) => export::run(&arguments, output),
        Some(Command::Inspect(arguments)) => inspect::run(&arguments, output),
        Some(Command::Resize(arguments)) => resize::run(&arguments, output).map_err(Failure::on_command_line),
        Some(Command::Combine(arguments)) => combine::run(&arguments, output).map_err(Failure::on_command_line),
        Some(Command::Extract(arguments)) => extract::run(&arguments, output).map_err(Failure::on_command_line),
        Some(Command::Report(arguments)) => report::run(&arguments, output),
        Some(Command::Verify(arguments)) => verify::run(&arguments, output),
        Some(Command::Init(arguments)) => init::run(&arguments, output),
        Some(Command::Tokenizer(arguments)) => tokenizer::run(&arguments, output),
        Some(Command::Devices(arguments)) => devices::run(&arguments, output),
        Some(Command::Completions(arguments)) => completions::run(&arguments, output),
        Some(Command::Man(arguments)) => man::run(&arguments, output),
    }
}

/// The name of a command that several workers share, and their options.
fn worker_arguments(command: Option<&Command>) -> Option<(&'static str, &WorkerArguments)> {
    match command {
        Some(Command::Train(arguments)) => Some(("train", &arguments.workers)),
        Some(Command::Eval(arguments)) => Some(("eval", &arguments.workers)),
        Some(Command::Predict(arguments)) => Some(("predict", &arguments.workers)),
        Some(Command::Generate(arguments)) => Some(("generate", &arguments.workers)),
        None | Some(_) => None,
    }
}

/// What must be set before the first thread starts, those of MPI too.
fn join(cli: &Cli) -> Result<Workers, Failure> {
    let device = match &cli.command {
        Some(Command::Train(arguments)) => arguments.device.as_deref(),
        Some(Command::Compare(arguments)) => arguments.device.as_deref(),
        Some(Command::Verify(arguments)) => arguments.device.as_deref(),
        Some(Command::Eval(arguments)) => Some(arguments.device.device.as_str()),
        Some(Command::Predict(arguments)) => Some(arguments.device.device.as_str()),
        Some(Command::Generate(arguments)) => Some(arguments.device.device.as_str()),
        Some(Command::Serve(arguments)) => Some(arguments.device.device.as_str()),
        Some(Command::Resize(arguments)) => Some(arguments.data.device.device.as_str()),
        Some(Command::Combine(arguments)) => Some(arguments.data.device.device.as_str()),
        Some(Command::Extract(arguments)) => Some(arguments.data.device.device.as_str()),
        None
        | Some(
            Command::Merge(_)
            | Command::Export(_)
            | Command::Inspect(_)
            | Command::Report(_)
            | Command::Init(_)
            | Command::Tokenizer(_)
            | Command::Devices(_)
            | Command::Completions(_)
            | Command::Man(_),
        ) => None,
    };
    // burn opens its own default device in places, the first backend compiled in, whether it is there or not.
    let local_rank = Launched::found().and_then(|launched| launched.local_rank);
    let device = device.filter(|name| *name != "auto").unwrap_or("cpu");
    set_burn_device(&DeviceName::parse(device, local_rank).map_err(Failure::input)?);
    workers::join(worker_arguments(cli.command.as_ref()).map(|(_, arguments)| arguments))
}

/// Signals and threads.
fn prepare_process(cli: &Cli, workers: &Workers) -> Result<(), Failure> {
    crate::device::simd().map_err(Failure::input)?;
    signals::listen()?;
    // Standard input is the first worker's.
    if workers.is_first() && worker_arguments(cli.command.as_ref()).is_some_and(|(_, it)| it.until_input_ends) {
        signals::until_input_ends()?;
    }
    // Those of burn for checkpoints, metrics and the terminal, of the server, or a progress bar's.
    let others = if matches!(cli.command, None | Some(Command::Train(_) | Command::Serve(_) | Command::Verify(_))) {
        8
    } else {
        2
    };
    start_threads(cli.common.threads, others).map_err(|error| signals::no_thread(&error))
}

/// Starts the threads that compute: at their first use one that cannot be started would be a panic. So it would with those that
/// libraries start later, as many of which are tried here.
fn start_threads(wanted: Option<u16>, others: usize) -> Result<(), Box<dyn std::error::Error>> {
    // 0: one for each core.
    rayon::ThreadPoolBuilder::new().num_threads(wanted.map_or(0, usize::from)).build_global()?;
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock();
    let start = |_| {
        let gate = gate.clone();
        std::thread::Builder::new().spawn(move || drop(gate.lock()))
    };
    let threads: Vec<_> = (0..others).map(start).collect();
    drop(shut);
    for thread in threads {
        // Its one line does not panic.
        let _ = thread?.join();
    }
    Ok(())
}

#[expect(unsafe_code, reason = "setting an environment variable is unsafe; see SAFETY")]
fn set_burn_device(name: &DeviceName) {
    // SAFETY: `main` has started no thread yet, so nobody reads the environment at the same time.
    unsafe { std::env::set_var("BURN_DEVICE", name.burn_name()) };
}

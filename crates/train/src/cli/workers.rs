//! Several workers: how a command becomes one of them, how it starts them itself, and how their failures are one.

use std::ffi::OsString;
use std::io;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use burn::train::Interrupter;
use clap::Args;

use super::failure::INTERRUPTED;
use super::{Failure, signals};
use crate::output::{Output, complain};
use crate::workers::{Elsewhere, Launched, PATIENCE, Workers};

/// Of commands that several workers can share.
#[derive(Debug, Clone, Args)]
pub(super) struct WorkerArguments {
    /// Start so many processes with `mpirun` that share the work, on this machine; on several hosts `mpirun` or `srun` starts
    /// them (needs the cargo feature `mpi`)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), display_order = 900)]
    pub(super) workers: Option<u16>,
    /// Seconds for which workers wait for one that does not answer, before they name it and end
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..), default_value_t = PATIENCE.as_secs() as u32, display_order = 901)]
    pub(super) worker_timeout: u32,
    /// Stop, as at Ctrl-C, when standard input ends: for whoever starts a command and may end before it
    #[arg(long, hide = true)]
    pub(super) until_input_ends: bool,
}

/// An exit status of a panic, as Rust's own.
const PANICKED: i32 = 101;

/// How often is looked whether the workers have ended.
const PAUSE: Duration = Duration::from_millis(50);

/// This process among those that a launcher has started, which is before its first thread. `arguments` are those of a command
/// that workers share.
pub(super) fn join(arguments: Option<&WorkerArguments>) -> Result<Workers, Failure> {
    let Some(launched) = Launched::found() else { return Ok(Workers::one()) };
    let Launched { size, by, .. } = launched;
    let Some(arguments) = arguments else {
        let message = format!("{by} has started {size} processes, and this command is for one");
        let help = format!("run it without {by}; `train`, `eval`, `predict` and `generate` share their work");
        return Err(Failure::usage(message, help));
    };
    if let Some(workers) = arguments.workers.filter(|workers| usize::from(*workers) != size) {
        let message = format!("`--workers {workers}` starts {workers} processes, and {by} has started {size} already");
        return Err(Failure::usage(message, "leave `--workers` out, or start it without a launcher"));
    }
    let workers = joined(launched, Duration::from_secs(u64::from(arguments.worker_timeout)))?;
    end_all_at_a_panic(&workers);
    Ok(workers)
}

#[cfg(feature = "mpi")]
fn joined(launched: Launched, patience: Duration) -> Result<Workers, Failure> {
    Workers::of_mpi(launched, patience).map_err(Failure::running)
}

#[cfg(not(feature = "mpi"))]
fn joined(Launched { size, by, .. }: Launched, _: Duration) -> Result<Workers, Failure> {
    let message =
        format!("{by} has started {size} processes, and this binary was built without MPI: each would do all the work");
    Err(Failure::usage(message, format!("build it with `cargo build -p train --features mpi`, or run it without {by}")))
}

/// Of several processes that a launcher has started the first speaks.
pub(super) fn of_launcher(output: Output) -> Output {
    match Launched::found() {
        None => output,
        Some(Launched { rank: 0, .. }) => output.of_several(),
        Some(_) => output.of_several().mute(),
    }
}

/// What Slurm's default comes to: processes that each do all the work.
pub(super) fn warn_of_strangers(output: &Output) {
    if let Some(size) = Launched::strangers() {
        output.warn(&format!(
            "srun has started {size} processes that know nothing of each other, so that each does all the work: \
             `srun --mpi=pmix` lets them share it, `srun -n 1` starts one"
        ));
    }
}

/// Of several processes the first says what clap has to say: help, the version, or what is wrong with the arguments.
pub(super) fn exit_once(error: &clap::Error) -> ! {
    if Launched::found().is_none_or(|launched| launched.rank == 0) {
        error.exit()
    }
    wait_for_the_first();
    std::process::exit(error.exit_code())
}

/// Where nothing was joined the launcher ends all at the end of one: the first is to have said why.
pub(super) fn wait_for_the_first() {
    const LONG_ENOUGH: Duration = Duration::from_secs(2);
    if Launched::found().is_some_and(|launched| launched.rank > 0) {
        thread::sleep(LONG_ENOUGH);
    }
}

/// The others would wait for one that has panicked.
fn end_all_at_a_panic(workers: &Workers) {
    let (hook, workers) = (std::panic::take_hook(), workers.clone());
    std::panic::set_hook(Box::new(move |panic| {
        hook(panic);
        let message = format!("{} has panicked", workers.name(workers.rank()));
        complain(
            &message,
            Some("this is a fault of kindling: please report it; `--resume` goes on from the last checkpoint"),
        );
        workers.abort(PANICKED);
    }));
}

/// The end of all: with the failure of one, if there is one.
pub(super) fn conclude(workers: &Workers, outcome: Result<ExitCode, Failure>) -> Result<ExitCode, Failure> {
    if !workers.are_several() {
        return outcome;
    }
    let own: Option<Elsewhere> = outcome.as_ref().err().map(Failure::told);
    match (workers.conclude(own.as_ref()), outcome) {
        (None, outcome) => outcome,
        // This worker's own, with all that it says.
        (agreed, Err(failure)) if agreed == own => Err(failure),
        (Some(agreed), _) => Err(agreed.into()),
    }
}

/// Input that comes through a pipe comes to the first worker alone.
pub(super) fn refuse_piped_input(workers: &Workers) -> Result<(), Failure> {
    match workers.are_several() {
        true => Err(Failure::usage(
            "several workers cannot read standard input: it comes to the first of them alone",
            "name a file with `--input`",
        )),
        false => Ok(()),
    }
}

/// Starts the workers of a command that `--workers` asks for, with `mpirun`, and waits for them; `None`: they are not asked for, or this is one.
pub(super) fn started(
    name: &str,
    arguments: &WorkerArguments,
    threads: Option<u16>,
) -> Result<Option<ExitCode>, Failure> {
    let Some(size) = arguments.workers.filter(|size| *size > 1 && Launched::found().is_none()) else { return Ok(None) };
    if !cfg!(feature = "mpi") {
        let message = format!("`--workers {size}` needs MPI, and this binary was built without it");
        return Err(Failure::usage(
            message,
            "build it with `cargo build -p train --features mpi`, or leave `--workers` out",
        ));
    }
    let launcher = Launcher::found().ok_or_else(|| {
        let help = "install Open MPI (Debian, Ubuntu: `apt install openmpi-bin`; Fedora: `dnf install openmpi`; macOS: \
                    `brew install open-mpi`), or leave `--workers` out: one process uses all cores";
        Failure::usage(format!("`--workers {size}` starts them with `mpirun`, which was not found"), help)
    })?;
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut command = launcher.command(size);
    let typed: Vec<OsString> = std::env::args_os().skip(1).collect();
    // Options of ours go behind the command: what follows may be texts.
    let (before, behind) = typed.split_at(typed.iter().position(|argument| argument == name).map_or(0, |at| at + 1));
    command.arg(std::env::current_exe()?).args(before).arg("--until-input-ends");
    if threads.is_none() {
        command.arg("--threads").arg((cores / usize::from(size)).max(1).to_string());
    }
    command.args(behind);
    let failed = |error: io::Error| {
        let help = "`mpirun --version` tells whether it works; without `--workers` one process uses all cores";
        Failure::with_help(format!("cannot start `mpirun`: {error}"), help)
    };
    let interrupter = Interrupter::new();
    let status = wait(command, &interrupter).map_err(failed)?;
    match status.code() {
        Some(code) => Ok(Some(ExitCode::from(u8::try_from(code).unwrap_or(1)))),
        None if interrupter.should_stop() => Ok(Some(ExitCode::from(INTERRUPTED))),
        None => Err(killed(name, status)),
    }
}

/// A launcher that was killed has no word of its own.
fn killed(name: &str, status: ExitStatus) -> Failure {
    let again = match name {
        "train" => "add `--resume` to go on from the last checkpoint",
        _ => "run the command again",
    };
    let help = format!(
        "{again}; a system that is short of memory kills like this, and fewer workers need less: each holds the whole model"
    );
    Failure::with_help(format!("`mpirun`, which ran the workers, was killed ({status})"), help)
}

/// The workers end as a run does when standard input ends, at a signal to this process: `mpirun` would kill them.
fn wait(mut command: Command, interrupter: &Interrupter) -> io::Result<ExitStatus> {
    signals::stop_instead(interrupter);
    command.stdin(Stdio::piped());
    // Ctrl-C in a terminal would reach `mpirun` as well.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child: Child = command.spawn()?;
    let mut input = child.stdin.take();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if interrupter.should_stop() {
            drop(input.take());
        }
        thread::sleep(PAUSE);
    }
}

/// Whose `mpirun` it is: their options differ.
enum Launcher {
    OpenMpi,
    /// MPICH's and those built like it.
    Hydra,
}

impl Launcher {
    fn found() -> Option<Self> {
        let said = Command::new("mpirun").arg("--version").stdin(Stdio::null()).output().ok()?;
        let is_open_mpi = String::from_utf8_lossy(&said.stdout).contains("Open MPI");
        said.status.success().then_some(if is_open_mpi { Self::OpenMpi } else { Self::Hydra })
    }

    fn command(&self, size: u16) -> Command {
        let mut command = Command::new("mpirun");
        command.arg("-n").arg(size.to_string());
        match self {
            // Without it each of two processes is bound to one core, and so are its threads.
            Self::OpenMpi => {
                command.args(["-q", "--bind-to", "none", "--oversubscribe"]);
                // Where containers forbid it, it warns.
                command.env("OMPI_MCA_btl_vader_single_copy_mechanism", "none");
                command.env("OMPI_MCA_mpi_yield_when_idle", "1");
                // Who starts a run as root has decided that already.
                command.envs([("OMPI_ALLOW_RUN_AS_ROOT", "1"), ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")]);
            }
            Self::Hydra => drop(command.args(["-bind-to", "none"])),
        }
        command
    }
}

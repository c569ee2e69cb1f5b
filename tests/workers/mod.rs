//! Several workers: the same bits on any number of them, and one message and one exit status where they fail. Most need the
//! feature `mpi` and Open MPI's `mpirun`.

#[cfg(feature = "mpi")]
mod bits;
#[cfg(feature = "mpi")]
mod failures;
#[cfg(feature = "mpi")]
mod hosts;
#[cfg(feature = "mpi")]
mod inference;
#[cfg(feature = "mpi")]
mod mpirun;
#[cfg(feature = "mpi")]
mod tokenising;

use crate::project::Project;

/// Three micro-batches of two in a step, dropout, evaluations and checkpoints in the middle of epochs.
#[cfg(feature = "mpi")]
const TRAIN: &str = "\
batch_size = 2
grad_accumulation = 3
learning_rate = 1e-2
warmup_steps = 2
eval_every = 3
checkpoint_every = 2
device = \"cpu\"
";

/// A BERT with dropout and validation data, and keys of `[adapter]`.
#[cfg(feature = "mpi")]
fn encoder(adapter: &str) -> Project {
    with_training(Project::new(), adapter).replace(
        "bert/config.json",
        "\"attention_probs_dropout_prob\": 0.0",
        "\"attention_probs_dropout_prob\": 0.1",
    )
}

/// A decoder that learns completions, several in a row of the batch, and answers prompts at every evaluation.
#[cfg(feature = "mpi")]
fn packed_decoder(fixture: &str, adapter: &str) -> Project {
    with_training(Project::decoder(fixture), adapter).replace("run.toml", "[data]\n", "[data]\npack = true\n")
}

#[cfg(feature = "mpi")]
fn with_training(project: Project, adapter: &str) -> Project {
    let data = format!("valid_fraction = 0.3\n\n[adapter]\n{adapter}\n[train]\nepochs = 1000\nmax_steps = 8\n{TRAIN}");
    project.replace("run.toml", "\n[train]\nmax_steps = 2\nbatch_size = 4\n", &data)
}

#[cfg(not(feature = "mpi"))]
#[test]
fn without_mpi_several_processes_are_refused_by_the_first_of_them() {
    let launched = |rank: &str| {
        let project = Project::new().env("OMPI_COMM_WORLD_SIZE", "4").env("OMPI_COMM_WORLD_RANK", rank);
        let ran = project.train(&[]);
        assert!(!project.path("run").exists());
        ran
    };
    let expected = "error: mpirun has started 4 processes, and this binary was built without MPI: each would do all the work\n\
                    help: build it with `cargo build -p train --features mpi`, or run it without mpirun";
    launched("0").refused(expected);
    let other = launched("1");
    assert_eq!((other.status, other.stderr.as_str()), (Some(2), ""));
    let of_slurm = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "0"), ("PMIX_RANK", "0")];
    let project = of_slurm.into_iter().fold(Project::new(), |project, (name, value)| project.env(name, value));
    project.train(&[]).refused(&expected.replace("mpirun", "srun"));
}

#[cfg(not(feature = "mpi"))]
#[test]
fn workers_are_not_started_without_mpi() {
    Project::new().train(&["--workers", "2"]).refused(
        "error: `--workers 2` needs MPI, and this binary was built without it\n\
         help: build it with `cargo build -p train --features mpi`, or leave `--workers` out",
    );
}

#[test]
fn a_command_for_one_process_is_refused_where_several_were_started() {
    let project = Project::new().env("PMI_SIZE", "2").env("PMI_RANK", "0");
    project.run(&["inspect", "bert"]).refused(
        "error: mpirun has started 2 processes, and this command is for one\n\
         help: run it without mpirun; `train`, `eval`, `predict` and `generate` share their work",
    );
}

#[test]
fn processes_that_srun_has_started_without_pmix_are_told_that_each_does_all_the_work() {
    let project = Project::new().env("SLURM_STEP_NUM_TASKS", "2").env("SLURM_PROCID", "1");
    let expected = "warning: srun has started 2 processes that know nothing of each other, so that each does all the work: \
                    `srun --mpi=pmix` lets them share it, `srun -n 1` starts one\n";
    assert!(project.train(&[]).done().stderr.starts_with(expected));
    assert!(!project.run(&["inspect", "bert"]).done().stderr.contains("srun"));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said_once_and_so_is_help() {
    let launched =
        |rank: &str, arguments: &[&str]| Project::new().env("PMI_SIZE", "2").env("PMI_RANK", rank).run(arguments);
    let (first, other) = (launched("0", &["train", "--bogus"]), launched("1", &["train", "--bogus"]));
    assert!(first.status == Some(2) && first.stderr.contains("--bogus"), "{}", first.stderr);
    assert_eq!((other.status, other.stdout.as_str(), other.stderr.as_str()), (Some(2), "", ""));
    let (first, other) = (launched("0", &["--help"]), launched("1", &["--help"]));
    assert!(first.status == Some(0) && first.stdout.contains("Usage"), "{}", first.stdout);
    assert_eq!((other.status, other.stdout.as_str(), other.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn one_process_of_a_launcher_is_a_run_like_any_other() {
    let project = Project::new().env("OMPI_COMM_WORLD_SIZE", "1").env("OMPI_COMM_WORLD_RANK", "0");
    project.train(&[]).done();
}

//! What can end a run.

use std::io;
use std::path::PathBuf;

use data::Place;

use crate::workers::FilesError;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Error {
    #[error("cannot use the directory {}: {source}", path.display())]
    #[diagnostic(help("{}", if is_out_of_files(source) { RAISE } else { CHOOSE }))]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot use the directory {}: {source}", path.display())]
    #[diagnostic(help(
        "what the first worker sends is kept there: name another directory in the environment variable `TMPDIR`"
    ))]
    Temporary { path: PathBuf, source: io::Error },
    #[error("{} is not a directory", path.display())]
    #[diagnostic(help("choose another place for the run with `--set output_dir=DIR`"))]
    NotADirectory { path: PathBuf },
    #[error("{} has files that are no run's", path.display())]
    #[diagnostic(help("a run has a directory of its own: choose an empty or a new one with `--set output_dir=DIR`"))]
    NotARun { path: PathBuf },
    #[error("{} is in the way: the run did not write it", path.display())]
    #[diagnostic(help("move it elsewhere, or choose another directory with `--set output_dir=DIR`"))]
    InTheWay { path: PathBuf },
    #[error("{} is the configuration that was given, and the run would write its own there", path.display())]
    #[diagnostic(help(
        "copy it out of the directory and train with the copy, or choose another directory with `--set output_dir=DIR`"
    ))]
    OwnConfig { path: PathBuf },
    #[error("the record of a run {} cannot be used: {reason}", path.display())]
    #[diagnostic(help("{}", if is_out_of_files(&of_system(reason)) { RAISE } else { CHOOSE_ANOTHER }))]
    Record { path: PathBuf, reason: String },
    #[error("{key} ({}) lies in the output directory, which this run would replace", path.display())]
    #[diagnostic(help("write elsewhere with `--set output_dir=DIR`"))]
    OwnInput { key: &'static str, path: PathBuf },
    #[error("another process is training in {}", path.display())]
    #[diagnostic(help("wait for it, or choose another directory with `--set output_dir=DIR`"))]
    Locked { path: PathBuf },
    #[error("cannot lock the directory {}: {source}", path.display())]
    #[diagnostic(help(
        "without locks two processes could train in it at the same time: choose a directory on a file system that has them with \
         `--set output_dir=DIR` (over NFS the server's lock service has to run)"
    ))]
    Lock { path: PathBuf, source: io::Error },
    #[error("{} holds {what}", path.display())]
    #[diagnostic(help("`--resume` continues it, `--overwrite` replaces it, `--set output_dir=DIR` writes elsewhere"))]
    Exists { path: PathBuf, what: &'static str },
    #[error("cannot write {}: {source}", path.display())]
    #[diagnostic(help("{}", remedy(source)))]
    Write { path: PathBuf, source: io::Error },
    #[error("the checkpoint {} could not be written: {reason}", path.display())]
    #[diagnostic(help("{}", remedy(&of_system(reason))))]
    Checkpoint { path: PathBuf, reason: String },
    #[error("{} cannot be read: {reason}", path.display())]
    #[diagnostic(help("put it back from a copy, or start over with `--overwrite`"))]
    Restore { path: PathBuf, reason: String },
    #[error("cannot resume: the checkpoint {} is damaged ({reason}), and none before it is whole", path.display())]
    #[diagnostic(help("put its files back from a copy, or start over with `--overwrite`"))]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot resume: {} is damaged: {reason}", path.display())]
    #[diagnostic(help(
        "the checkpoint of step {step} is whole: put metrics.jsonl back from a backup, or start over with `--overwrite`"
    ))]
    Metrics { path: PathBuf, reason: String, step: usize },
    #[error("cannot resume: {}, the best result so far (step {step}), {reason}", path.display())]
    #[diagnostic(help("put it back from a copy, or start over with `--overwrite`: a run cannot end without it"))]
    Best { path: PathBuf, step: usize, reason: String },
    #[error("cannot resume: {what} differs from the interrupted run ({then}, now {now})")]
    #[diagnostic(help(
        "resume with the configuration, data and base it was started with, or start again with `--overwrite`"
    ))]
    Changed { what: String, then: String, now: String },
    #[error("{place}: the run's legs set `{key}` too, after step {after_step}")]
    #[diagnostic(help("change it in the configuration's `[[legs]]`, or take those out"))]
    SetInLeg { place: String, key: &'static str, after_step: usize },
    #[error("step {step}: {what} is not a number{}", examples(places))]
    #[diagnostic(help(
        "a lower `train.learning_rate`, a warm-up or a lower `train.max_grad_norm` usually mends this; the checkpoint before it is kept"
    ))]
    NotANumber {
        step: usize,
        what: &'static str,
        /// In the training data.
        places: Vec<Place>,
    },
    #[error("after {step} steps `{name}` has had no gradient: the adapter is not being trained")]
    #[diagnostic(help(
        "this is a fault of kindling or of the checkpoint's values, not of the configuration: please report it"
    ))]
    Untrained { step: usize, name: String },
    #[error("the saved {what} answers differently from the trained model: logits differ by {difference:e}")]
    #[diagnostic(help("this is a fault of kindling, not of your data: please report it with the run's directory"))]
    NotTheSame { what: &'static str, difference: f64 },
    #[error("the base model's {} was {} while the run was using it", path.display(), change.in_words())]
    #[diagnostic(help("put it back as it was, then continue with `--resume`: the last checkpoint is complete"))]
    BaseChanged { path: PathBuf, change: model::ChangeInUse },
    #[error(transparent)]
    #[diagnostic(transparent)]
    Answers(#[from] inference::GenerationError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Report(#[from] crate::report::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Page(#[from] crate::report::OpenError),
    #[error("training stopped: {0}")]
    Learner(String),
    #[error("after step {step} {worker} has other weights than worker 0")]
    #[diagnostic(help(
        "processors of several kinds compute other last bits: set KINDLING_SIMD to a SIMD instruction set that all have (`kindling \
         devices` lists them); so do GPUs of several kinds: take hosts with one kind; the checkpoint before it is kept"
    ))]
    Diverged { step: usize, worker: String },
    #[error(transparent)]
    #[diagnostic(help("{}", remedy_of_copy(_0)))]
    Sent(FilesError),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Worker(#[from] crate::workers::Elsewhere),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Adapter(#[from] inference::AdapterError),
}

/// What can be done about a file that could not be written in the middle of a run.
fn remedy(error: &io::Error) -> String {
    let first = match error.kind() {
        io::ErrorKind::NotFound => {
            return "the directory was removed or moved while the run was writing to it: put it back and go on with \
                    `--resume`, or start over"
                .to_string();
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => "make the place writable",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space",
        _ if is_out_of_files(error) => RAISE,
        _ => "free space or make the place writable",
    };
    format!("{first}, then continue with `--resume`: the last checkpoint is complete")
}

/// What can be done about a file that did not come from the first worker to another one.
fn remedy_of_copy(error: &FilesError) -> &'static str {
    match error {
        FilesError::Write { source, .. } if is_out_of_files(source) => RAISE,
        FilesError::Write { .. } => {
            "free space in the directory for temporary files (TMPDIR) of that host, or name another one"
        }
        FilesError::Read { source, .. } if is_out_of_files(source) => RAISE,
        FilesError::Read { .. } | FilesError::Elsewhere(_) => {
            "put the file back, then continue with `--resume`: the last checkpoint is complete"
        }
    }
}

const CHOOSE: &str = "choose another with `--set output_dir=DIR`, or make this one writable";
const CHOOSE_ANOTHER: &str = "choose another directory with `--set output_dir=DIR`";
const RAISE: &str = "too many files are open: raise the limit (`ulimit -n`)";

fn is_out_of_files(error: &io::Error) -> bool {
    // Of the system and of the process, on every Unix.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// The system's error that burn has put into words: `... (os error 28)`.
fn of_system(reason: &str) -> io::Error {
    let code = reason.rsplit_once("(os error ").and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    code.map_or_else(|| io::Error::other(""), io::Error::from_raw_os_error)
}

fn examples(places: &[Place]) -> String {
    let numbers = Place::numbers(places);
    match places {
        [] => String::new(),
        [_] => format!(" (the example in {numbers} of the training data)"),
        _ => format!(" (examples in {numbers} of the training data)"),
    }
}

impl Error {
    /// Whether nothing is wrong but that it was to stop while its model was loaded.
    pub(super) fn is_interruption(&self) -> bool {
        matches!(self, Self::Model(model::Error::Adapter(lora::Error::Interrupted)))
    }

    /// What other rooms could not write is a file of the run, and there is more to say of it.
    pub(super) fn of_run(self) -> Self {
        match self {
            Self::Adapter(inference::AdapterError::Write { path, source })
            | Self::Model(model::Error::Checkpoint(model::CheckpointError::Write { file: path, source })) => {
                Self::Write { path, source }
            }
            other => other,
        }
    }

    /// Of a checkpoint or a result on its way to the other workers.
    pub(super) fn of_files(error: FilesError) -> Self {
        match error {
            FilesError::Elsewhere(failure) => Self::Worker(failure),
            io => Self::Sent(io),
        }
    }

    /// Whether a message is that of [`Self::NotANumber`], as another process said it.
    pub(crate) fn says_not_a_number(message: &str) -> bool {
        let step = message.strip_prefix("step ").and_then(|rest| rest.split_once(": "));
        step.is_some_and(|(step, what)| step.parse::<usize>().is_ok() && what.contains(" is not a number"))
    }

    /// Whether what was asked for was wrong, rather than something that happened on the way.
    pub(crate) fn is_of_input(&self) -> bool {
        match self {
            Self::Directory { .. }
            | Self::Temporary { .. }
            | Self::NotADirectory { .. }
            | Self::NotARun { .. }
            | Self::InTheWay { .. }
            | Self::OwnConfig { .. }
            | Self::Record { .. }
            | Self::Damaged { .. }
            | Self::Metrics { .. }
            | Self::Best { .. }
            | Self::SetInLeg { .. }
            | Self::OwnInput { .. }
            | Self::Locked { .. }
            | Self::Lock { .. }
            | Self::Exists { .. }
            | Self::Changed { .. }
            | Self::Model(_) => true,
            Self::Adapter(error) => error.is_of_input(),
            Self::Restore { .. } => true,
            Self::Write { .. }
            | Self::Checkpoint { .. }
            | Self::NotANumber { .. }
            | Self::Untrained { .. }
            | Self::NotTheSame { .. }
            | Self::BaseChanged { .. }
            | Self::Answers(_)
            | Self::Report(_)
            | Self::Page(_)
            | Self::Learner(_)
            | Self::Diverged { .. }
            | Self::Sent(_) => false,
            Self::Worker(failure) => failure.of_input,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_the_system_refuses_is_answered_with_what_can_be_done() {
        use io::ErrorKind;

        let help = |kind: ErrorKind| {
            let error = Error::Write { path: "run/config.toml".into(), source: kind.into() };
            miette::Diagnostic::help(&error).unwrap().to_string()
        };
        let then = "then continue with `--resume`: the last checkpoint is complete";
        assert_eq!(help(ErrorKind::ReadOnlyFilesystem), format!("make the place writable, {then}"));
        assert_eq!(help(ErrorKind::PermissionDenied), format!("make the place writable, {then}"));
        assert_eq!(help(ErrorKind::StorageFull), format!("free space, {then}"));
        assert_eq!(help(ErrorKind::QuotaExceeded), format!("free space, {then}"));
        assert!(help(ErrorKind::NotFound).starts_with("the directory was removed or moved"));
        // As a file system answers that has no locks.
        let lock = Error::Lock { path: "run".into(), source: ErrorKind::Unsupported.into() };
        assert_eq!(lock.to_string(), "cannot lock the directory run: unsupported");
        assert!(miette::Diagnostic::help(&lock).unwrap().to_string().contains("over NFS"));
        assert!(lock.is_of_input());
    }

    #[test]
    fn broken_examples_are_counted_as_their_file_is() {
        let says = |file: &str, lines: &[usize]| {
            let places = lines.iter().map(|line| Place::new(Path::new(file), *line)).collect();
            Error::NotANumber { step: 5, what: "the loss", places }.to_string()
        };
        assert_eq!(says("a.csv", &[]), "step 5: the loss is not a number");
        assert!(Error::says_not_a_number(&says("a.csv", &[])) && Error::says_not_a_number(&says("a.csv", &[3, 18])));
        assert!(!Error::says_not_a_number(
            "after 5 steps `lora_A` has had no gradient: the adapter is not being trained"
        ));
        assert_eq!(
            says("a.csv", &[18]),
            "step 5: the loss is not a number (the example in line 18 of the training data)"
        );
        assert_eq!(
            says("a.parquet", &[3, 18]),
            "step 5: the loss is not a number (examples in rows 3, 18 of the training data)"
        );
    }
}

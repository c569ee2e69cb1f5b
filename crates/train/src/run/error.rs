//! What can end a run.

use std::path::PathBuf;

use data::Place;

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum Error {
    #[error("cannot use the directory {}: {source}", path.display())]
    #[diagnostic(help("choose another with `--set output_dir=DIR`, or make this one writable"))]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("{} has files that are no run's", path.display())]
    #[diagnostic(help(
        "a run replaces what lies in its directory: choose an empty or a new one with `--set output_dir=DIR`"
    ))]
    NotARun { path: PathBuf },
    #[error("{key} ({}) lies in the output directory, which this run would replace", path.display())]
    #[diagnostic(help("write elsewhere with `--set output_dir=DIR`"))]
    OwnInput { key: &'static str, path: PathBuf },
    #[error("another process is training in {}", path.display())]
    #[diagnostic(help("wait for it, or choose another directory with `--set output_dir=DIR`"))]
    Locked { path: PathBuf },
    #[error("{} holds {what}", path.display())]
    #[diagnostic(help(
        "`--resume` goes on with it, `--overwrite` replaces it, `--set output_dir=DIR` writes elsewhere"
    ))]
    Exists { path: PathBuf, what: &'static str },
    #[error("cannot write {}: {source}", path.display())]
    #[diagnostic(help(
        "free space or make the place writable, then go on with `--resume`: the last checkpoint is whole"
    ))]
    Write { path: PathBuf, source: std::io::Error },
    #[error("the checkpoint {} could not be written: {reason}", path.display())]
    #[diagnostic(help(
        "free space or make the place writable, then go on with `--resume`: the checkpoint before it is whole"
    ))]
    Checkpoint { path: PathBuf, reason: String },
    #[error("the checkpoint {} cannot be read: {reason}", path.display())]
    #[diagnostic(help("remove it to go on from the one before, or start anew with `--overwrite`"))]
    Restore { path: PathBuf, reason: String },
    #[error("cannot resume: {what} differs from the interrupted run ({then}, now {now})")]
    #[diagnostic(help(
        "resume with the configuration, data and base it was started with, or start anew with `--overwrite`"
    ))]
    Changed { what: String, then: String, now: String },
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
    #[error(transparent)]
    #[diagnostic(transparent)]
    Answers(#[from] crate::writing::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Report(#[from] crate::report::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Page(#[from] crate::report::OpenError),
    #[error("training stopped: {0}")]
    Learner(String),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Model(#[from] model::Error),
    #[error(transparent)]
    #[diagnostic(transparent)]
    Adapter(#[from] crate::adapter::Error),
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
    /// Whether what was asked for was wrong, rather than something that happened on the way.
    pub(crate) fn is_of_input(&self) -> bool {
        match self {
            Self::Directory { .. }
            | Self::NotARun { .. }
            | Self::OwnInput { .. }
            | Self::Locked { .. }
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
            | Self::Answers(_)
            | Self::Report(_)
            | Self::Page(_)
            | Self::Learner(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn broken_examples_are_counted_as_their_file_is() {
        let says = |file: &str, lines: &[usize]| {
            let places = lines.iter().map(|line| Place::new(Path::new(file), *line)).collect();
            Error::NotANumber { step: 5, what: "the loss", places }.to_string()
        };
        assert_eq!(says("a.csv", &[]), "step 5: the loss is not a number");
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

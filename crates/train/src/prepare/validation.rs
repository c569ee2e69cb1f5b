//! The validation data of a run that is there already, encoded as its model reads it: no plan of a training is made.

use data::Dataset;
use inference::Pipeline;
use tasks::check_dataset;

use super::Error;
use super::splits::{Again, Reader, split_off};
use crate::config::Config;
use crate::output::Output;
use crate::workers::Workers;

/// The data that the best model was chosen by, as the run's configuration says, which has some, and where its texts are.
pub(crate) fn validation_data(
    config: &Config,
    pipeline: &Pipeline,
    output: &Output,
) -> Result<(Dataset, Again), Error> {
    let (tokenizer, task) = (&pipeline.tokenizer, &*pipeline.task);
    // Each of several workers for itself: whether their files are the same is not known yet.
    let workers = &Workers::one();
    let reader = Reader { config, tokenizer, task: Some(task), max_length: pipeline.max_length, workers };
    let (dataset, again) = match &config.data.valid {
        Some(files) => {
            let split = reader.read(files, None, output)?;
            (split.dataset, Again { files: files.clone(), columns: split.columns, part: None })
        }
        None => {
            let files = &config.data.train;
            let mut split = reader.read(files, None, output)?;
            let (dataset, parts) = split_off(&mut split, config.data.valid_fraction, config.seed);
            (dataset, Again { files: files.clone(), columns: split.columns, part: Some(parts.valid) })
        }
    };
    check_dataset(&dataset, &pipeline.pretrained)?;
    task.check(&dataset, tokenizer)?;
    Ok((dataset, again))
}

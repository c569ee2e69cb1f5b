//! What a run optimises and reports. The learner, the commands and the files know a task through its module here.

mod sequence_classification;

pub(crate) use sequence_classification::{Classifier, MicroBatch};

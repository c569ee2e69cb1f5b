//! The classes of training data, found while it is read.

use std::fmt::Debug;
use std::path::Path;

use data::{Dataset, Labels};
use serde_json::{Map, Value};

use crate::{Encoding, Rows};

/// Reads training data whose classes are still to be found: what rows say is numbered as it comes, and settled at the end.
pub trait LabelFinder: Debug {
    /// Encodes rows of a file and adds them to a data set, with provisional targets.
    fn encode(
        &mut self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error>;

    /// The classes that the rows say; messages about all of them call the files `name`.
    fn labels(&self, name: &Path) -> Result<Labels, data::Error>;

    /// In the place of the provisional targets those of these classes.
    fn settle(&self, labels: &Labels, dataset: &mut Dataset) -> Result<(), data::Error>;

    /// Values of the task's settings that the data says.
    fn settings(&self) -> Map<String, Value> {
        Map::new()
    }
}

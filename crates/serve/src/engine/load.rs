//! An adapter opened while the server answers.

use std::path::Path;

use inference::ServedAdapter;
use tasks::Use;

use super::error::Fault;
use super::{Base, Error};

/// Errors: files that cannot be read or do not fit the base; an adapter that was trained on other weights or that cannot share
/// its base; one for a task that is not answered over HTTP.
pub(super) fn open(base: &Base, name: &str, directory: &Path) -> Result<ServedAdapter, Error> {
    let adapter = base.model.adapter(directory).map_err(|error| match error {
        // What the adapter records of its base may be a path of the machine that it was trained on.
        inference::Error::OtherBase { .. } => {
            let message = format!("the adapter `{name}` was trained on other weights than those of `{}`", base.name);
            Error::input(message)
        }
        error => {
            let mut places = base.places();
            places.push((directory, name));
            Fault::from(error).error(&places)
        }
    })?;
    let task = adapter.task.definition().id();
    if task.usage == Use::Score {
        let message = format!("the adapter `{name}` is for {task}, whose models neither write nor classify");
        return Err(Error::input(message));
    }
    Ok(adapter)
}

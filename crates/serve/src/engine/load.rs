//! An adapter opened while the server answers.

use std::path::Path;
use std::sync::Arc;

use inference::{ModelFiles, Overrides, Saved};
use tasks::Use;

use super::worker::Fault;
use super::{Base, Error, Model, Opened};
use inference::Pipeline;

/// Errors: files that cannot be read or do not fit the base; an adapter that was trained on other weights, since nobody would
/// read a warning; one for a task that is not answered over HTTP.
pub(super) fn open(base: &Base, name: &str, directory: &Path) -> Result<(Arc<Model>, Pipeline), Fault> {
    let files = ModelFiles { model: base.directory.clone(), adapter: Some(directory.to_path_buf()) };
    let saved = Saved::read(&files, None)?;
    if saved.other_base().is_some() {
        let message = format!("the adapter `{name}` was trained on other weights than those of `{}`", base.name);
        return Err(Fault::Engine(Error::input(message)));
    }
    let task = saved.task();
    if task.usage == Use::Score {
        let message = format!("the adapter `{name}` is for {task}, whose models neither write nor classify");
        return Err(Fault::Engine(Error::input(message)));
    }
    let pipeline = saved.load(&Overrides::default(), &base.device)?;
    let opened = Opened { name: name.to_string(), files, pipeline };
    let model = Model::of(&opened, &base.name).map_err(|error| {
        Fault::Engine(Error::Failed { message: format!("the files of `{name}` cannot be read: {}", error.kind()) })
    })?;
    Ok((Arc::new(model), opened.pipeline))
}

//! A trained model, put together from its files: task, labels, columns and lengths come from the adapter's `kindling.json`,
//! otherwise from the model's own files. Nothing missing is ever initialised here.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use data::{Labels, Tokenizer};
use lora::{Method, Plan};
use miette::Diagnostic;
use model::{Frozen, Loaded, Pretrained, Values};
use serde_json::{Map, Value};
use tasks::{Opening, TaskName, TrainableModel, Use};

use crate::{Adapter, AdapterError, Error, ModelFiles, Processor, QuantisedBase, Sidecar, WrittenFiles};

/// A model with its tokenizer and its task, as Transformers' `pipeline` puts them together.
#[derive(Debug)]
pub struct Pipeline {
    pub pretrained: Pretrained,
    pub model: TrainableModel,
    pub processor: Processor,
    /// How the model was put together: unused weights, notes, the plan of the adapter.
    pub loaded: Loaded,
}

/// What was trained as its files say, before any weights are read.
#[derive(Debug)]
pub struct Saved {
    pub(crate) files: ModelFiles,
    pub(crate) task: TaskName,
    pub(crate) pretrained: Pretrained,
    pub(crate) adapter: Option<Adapter>,
    sidecar: Option<Sidecar>,
}

/// What takes the place of what the files say.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// Columns and templates by their keys in `[data]`: see [`data::ColumnNames::set`].
    pub columns: Vec<(String, String)>,
    /// Of the task's own settings.
    pub settings: Map<String, Value>,
    /// In tokens.
    pub max_length: Option<usize>,
    /// How frozen weights are kept, in place of how they were in training.
    pub frozen: Option<Frozen>,
}

impl Deref for Pipeline {
    type Target = Processor;

    fn deref(&self) -> &Processor {
        &self.processor
    }
}

impl Pipeline {
    /// Reads the files and puts the model together on a device, with nothing in the place of what they say.
    pub fn open(files: &ModelFiles, device: &Device) -> Result<Self, Error> {
        Saved::read(files, None)?.load(&Overrides::default(), device)
    }
}

impl Saved {
    /// Reads all but the weights. A model for something else than `wanted` is an error.
    pub fn read(files: &ModelFiles, wanted: Option<Use>) -> Result<Self, Error> {
        if !files.model.exists() {
            return Err(Error::NoModel { path: files.model.clone() });
        }
        let task = task(files, wanted)?;
        let mut pretrained = Pretrained::open(&files.model, task.head)?;
        if let Some(problem) = task.problem {
            pretrained.check_problem(problem)?;
        }
        let adapter = match &files.adapter {
            Some(directory) => Some(Adapter::read(directory, Some(&pretrained))?),
            None => None,
        };
        if let Some(adapter) = &adapter {
            pretrained.adopt_vocabulary(&adapter.tensors);
        }
        let sidecar = match &adapter {
            Some(adapter) => adapter.sidecar.clone(),
            None => Sidecar::read(&files.model)?,
        };
        Ok(Self { files: files.clone(), task, pretrained, adapter, sidecar })
    }

    /// What it was trained for.
    pub fn task(&self) -> TaskName {
        self.task
    }

    /// What the adapter has in place of tensors of its base, heads and biases for example: names in the base, and values.
    pub fn replaced(&self) -> impl Iterator<Item = (String, &[f32])> {
        self.adapter.iter().flat_map(|adapter| adapter.tensors.replacing())
    }

    /// The base that the adapter records, where its weights are others than those of the model: it will hardly answer as it
    /// was trained to.
    pub fn other_base(&self) -> Option<&str> {
        let base = &self.trained_on()?.base;
        (base.fingerprint != self.pretrained.fingerprint()).then_some(base.path.as_str())
    }

    /// How the base's matrices were quantised when the adapter was trained, and how they will be: where these differ, it will answer
    /// somewhat otherwise than it was trained to.
    pub fn other_kind(&self, overrides: &Overrides) -> Option<[Option<QuantisedBase>; 2]> {
        let base = &self.trained_on()?.base;
        let trained = base.quantised.map(|quantised| QuantisedBase { residual: false, ..quantised });
        let kinds = [trained, QuantisedBase::of(self.frozen(overrides), self.pretrained.quantisation())];
        (kinds[0] != kinds[1]).then_some(kinds)
    }

    /// What there is to know of an adapter's base.
    pub(crate) fn trained_on(&self) -> Option<&Sidecar> {
        self.sidecar.as_ref().filter(|_| self.adapter.is_some())
    }

    /// How the base is kept: as in training, so that an adapter meets the base that it was trained on.
    pub fn frozen(&self, overrides: &Overrides) -> Frozen {
        let in_training = || self.trained_on()?.base.quantised.map(QuantisedBase::frozen);
        overrides.frozen.or_else(in_training).unwrap_or(Frozen::AsStored)
    }

    /// Puts the model together on a device, once its files are known to be as they were written.
    pub fn load(self, overrides: &Overrides, device: &Device) -> Result<Pipeline, Error> {
        let changes = WrittenFiles::check_model(&self.files.model)?;
        let processor = self.processor(overrides)?;
        let frozen = self.frozen(overrides);
        let Self { files, pretrained, adapter, .. } = self;
        let plan = match adapter {
            Some(adapter) => adapter.plan(&pretrained, frozen),
            None => Plan::new(Method::frozen(), None, 0),
        };
        let (model, mut loaded) = plan
            .map_err(model::Error::from)
            .and_then(|plan| pretrained.load(plan, processor.task.outputs(), frozen, Values::Read, device))
            .map_err(|error| of_adapter(error, files.adapter.as_deref()))?;
        loaded.notes.extend(changes);
        let model = TrainableModel::new(model, processor.task.clone());
        Ok(Pipeline { pretrained, model, processor, loaded })
    }

    /// All but the weights.
    pub(crate) fn processor(&self, overrides: &Overrides) -> Result<Processor, Error> {
        let Self { files, task, pretrained, adapter, sidecar } = self;
        let written = sidecar.as_ref().map(|sidecar| sidecar.max_length);
        let positions = pretrained.max_positions()?;
        if let Some(length) = written.filter(|length| *length > positions) {
            return Err(AdapterError::positions(files.trained(), length, positions).into());
        }
        let mut columns = sidecar.as_ref().map(|sidecar| sidecar.columns.clone()).unwrap_or_default();
        columns.check_templates()?;
        for (key, value) in &overrides.columns {
            columns.set(key, value)?;
        }
        if let Some(asked) = overrides.max_length.filter(|asked| !(1..=positions).contains(asked)) {
            return Err(Error::Length { asked, positions });
        }
        let mut settings = sidecar.as_ref().map(|sidecar| sidecar.settings.clone()).unwrap_or_default();
        settings.extend(overrides.settings.clone());
        let labels = match task.finder {
            None => None,
            Some(_) => Some(labels(files, sidecar.as_ref(), adapter.as_ref(), pretrained)?),
        };
        let fitted = sidecar.as_ref().map(|sidecar| sidecar.fitted.clone()).unwrap_or_default();
        let tokenizer = Arc::new(files.tokenizer()?);
        let task = (task.open)(Opening {
            tokenizer: &tokenizer,
            of_tokenizer: files.tokenizer_directory(),
            directory: &files.model,
            pretrained,
            labels,
            settings: &settings,
            fitted: &fitted,
            training: None,
        })?;
        let max_length = match overrides.max_length.or(written) {
            Some(length) => length,
            None => default_max_length(positions, &Tokenizer::from_dir(&files.model)?),
        };
        Ok(Processor { task, tokenizer, max_length, columns, fitted })
    }
}

/// The length where nothing says one: the smallest of 512, the model's positions and the tokenizer's limit.
pub fn default_max_length(positions: usize, tokenizer: &Tokenizer) -> usize {
    let limit = tokenizer.model_max_length().unwrap_or(positions);
    positions.min(limit).min(512)
}

/// Targets that the model does not have are named as the adapter's own file names them.
pub(crate) fn of_adapter(error: model::Error, directory: Option<&Path>) -> Error {
    match (&error, directory) {
        (model::Error::Adapter(lora::Error::Target(target)), Some(directory)) => {
            AdapterError::targets(directory, target).into()
        }
        (model::Error::Adapter(lora::Error::SharedBase(shared)), Some(directory)) => {
            let help = shared.help().map(|help| help.to_string());
            AdapterError::Unshared { path: directory.to_path_buf(), reason: shared.to_string(), help }.into()
        }
        _ => error.into(),
    }
}

/// What a model is for: as its sidecar says, else PEFT's file, else the class that its `config.json` names; of several with
/// one head that of the base's `problem_type`.
fn task(files: &ModelFiles, wanted: Option<Use>) -> Result<TaskName, Error> {
    let problem = Pretrained::problem_of(&files.model)?;
    let by_problem = |task: TaskName| problem.as_deref().map_or(task, |problem| task.of_problem(problem));
    let written = match &files.adapter {
        Some(adapter) => {
            let adapter = Adapter::read(adapter, None)?;
            let is_certain = adapter.sidecar.is_some();
            adapter.task().map(|task| if is_certain { task } else { by_problem(task) })
        }
        None => Sidecar::read(&files.model)?.map(|sidecar| sidecar.task),
    };
    let is_for = |task: &TaskName| wanted.is_none_or(|wanted| task.usage == wanted);
    match (written, wanted) {
        (Some(task), Some(wanted)) if !is_for(&task) => {
            Err(Error::OtherUse { path: files.trained().to_path_buf(), task, wanted })
        }
        (Some(written), _) => Ok(written),
        // Whether the model has the head for it shows when it is loaded.
        (None, Some(_)) => {
            let of_head = Pretrained::head_of(&files.model).ok().and_then(TaskName::of_head).filter(is_for);
            Ok(by_problem(of_head.or_else(|| TaskName::all().find(is_for)).unwrap_or_default()))
        }
        (None, None) => Ok(by_problem(TaskName::of_head(Pretrained::head_of(&files.model)?).unwrap_or_default())),
    }
}

fn labels(
    files: &ModelFiles,
    sidecar: Option<&Sidecar>,
    adapter: Option<&Adapter>,
    pretrained: &Pretrained,
) -> Result<Labels, Error> {
    let classes = match adapter {
        Some(adapter) => adapter.classes(),
        None => pretrained.head_classes(),
    };
    if let Some(sidecar) = sidecar {
        let names = sidecar.labels.len();
        return match classes {
            Some(classes) if classes != names => Err(AdapterError::labels(files.trained(), names, classes).into()),
            _ => Ok(Labels::new(sidecar.labels.clone())?),
        };
    }
    let of_config = pretrained.config_labels()?;
    let names = match (of_config, classes) {
        (Some(names), Some(classes)) if names.len() == classes => names,
        (_, Some(classes)) => (0..classes).map(|class| format!("LABEL_{class}")).collect(),
        // Without a head loading fails with the reason; the number of labels does not matter then.
        (names, None) => names.unwrap_or_else(|| vec!["LABEL_0".to_string(), "LABEL_1".to_string()]),
    };
    Ok(Labels::new(names)?)
}

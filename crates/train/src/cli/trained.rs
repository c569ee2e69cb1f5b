//! A trained model as eval, predict, generate and merge use it: task, labels, columns and lengths come from the adapter's
//! `kindling.json`, otherwise from the model's own files. Nothing missing is ever initialised here.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use data::{Labels, Template, Tokenizer, Written};
use lora::{Method, Plan};
use model::{Frozen, Pretrained, Values};

use super::Failure;
use super::source::Located;
use crate::adapter::{self, Adapter, Sidecar};
use crate::output::{Output, counted};
use crate::prepare::default_max_length;
use crate::run::tell;
use tasks::{Opening, Task, TaskName, TrainableModel, Use};

pub(super) struct Trained {
    pub(super) pretrained: Pretrained,
    pub(super) plan: Plan,
    pub(super) model: TrainableModel,
    pub(super) task: Arc<dyn Task>,
    pub(super) max_length: usize,
    pub(super) columns: ColumnNames,
}

/// Names of columns; `None` is the default, used where present.
#[derive(Debug, Clone, Default)]
pub(super) struct ColumnNames {
    pub(super) text: Option<String>,
    pub(super) text_template: Option<Template>,
    pub(super) text_pair: Option<String>,
    pub(super) label: Option<String>,
    pub(super) prompt: Option<String>,
    pub(super) prompt_template: Option<Template>,
    pub(super) completion: Option<String>,
    pub(super) completion_template: Option<Template>,
    pub(super) messages: Option<String>,
    pub(super) tokens: Option<String>,
    pub(super) tags: Option<String>,
    pub(super) entities: Option<String>,
}

impl ColumnNames {
    /// Those of an adapter's or a model's sidecar.
    fn of(columns: &adapter::Columns) -> Result<Self, data::Error> {
        Ok(Self {
            text: columns.text.clone(),
            text_template: template("data.text_template", columns.text_template.as_deref())?,
            text_pair: columns.text_pair.clone(),
            label: columns.label.clone(),
            prompt: columns.prompt.clone(),
            prompt_template: template("data.prompt_template", columns.prompt_template.as_deref())?,
            completion: columns.completion.clone(),
            completion_template: template("data.completion_template", columns.completion_template.as_deref())?,
            messages: columns.messages.clone(),
            tokens: columns.tokens.clone(),
            tags: columns.tags.clone(),
            entities: columns.entities.clone(),
        })
    }

    /// Rows are of one kind: whoever names another means those columns instead of the ones it was trained with.
    fn clear_text(&mut self) {
        (self.text, self.text_template, self.messages) = (None, None, None);
    }

    fn clear_completion(&mut self) {
        (self.prompt, self.prompt_template, self.messages) = (None, None, None);
        (self.completion, self.completion_template) = (None, None);
        (self.tokens, self.tags) = (None, None);
    }

    pub(super) fn written(&self) -> Written<'_> {
        Written {
            text: self.text.as_deref(),
            text_template: self.text_template.as_ref(),
            text_pair: self.text_pair.as_deref(),
            label: self.label.as_deref(),
            prompt: self.prompt.as_deref(),
            prompt_template: self.prompt_template.as_ref(),
            completion: self.completion.as_deref(),
            completion_template: self.completion_template.as_ref(),
            messages: self.messages.as_deref(),
            tokens: self.tokens.as_deref(),
            tags: self.tags.as_deref(),
            entities: self.entities.as_deref(),
        }
    }
}

impl Trained {
    /// `wanted` is what the command needs a model for, if it is not for all; `sets` are its `--set` arguments, of which it
    /// takes those with the `keys`.
    pub(super) fn open(
        arguments: &Located,
        wanted: Option<Use>,
        (sets, keys): (&[String], &[&str]),
        device: &Device,
        output: &Output,
    ) -> Result<Self, Failure> {
        if !arguments.model.exists() {
            let help = "a model is a directory with config.json, model.safetensors and a tokenizer, or an id on the \
                        Hugging Face Hub: org/name or org/name@revision";
            return Err(Failure::usage(format!("there is no directory {}", arguments.model.display()), help));
        }
        let task = task(arguments, wanted)?;
        let mut pretrained = Pretrained::open(&arguments.model, task.head)?;
        if let Some(problem) = task.problem {
            pretrained.check_problem(problem)?;
        }
        let adapter = match &arguments.adapter {
            Some(directory) => Some(Adapter::read(directory, Some(&pretrained))?),
            None => None,
        };
        if let Some(adapter) = &adapter {
            pretrained.adopt_vocabulary(&adapter.tensors);
        }
        let sidecar = match &adapter {
            Some(adapter) => adapter.sidecar.clone(),
            None => Sidecar::read(&arguments.model)?,
        };
        if let (Some(sidecar), Some(directory)) = (&sidecar, &arguments.adapter)
            && sidecar.base.fingerprint != pretrained.fingerprint()
        {
            let (adapter, base, model) = (directory.display(), &sidecar.base.path, arguments.model.display());
            output.warn(&match Path::new(base) == arguments.model {
                true => format!("the weights of {model} have changed since the adapter {adapter} was trained"),
                false => format!("the adapter {adapter} was trained on other weights ({base}) than those of {model}"),
            });
        }
        let mut columns = ColumnNames::default();
        let mut max_length = None;
        if let Some(sidecar) = &sidecar {
            let (length, positions) = (sidecar.max_length, pretrained.max_positions()?);
            if length > positions {
                let directory = arguments.adapter.as_ref().unwrap_or(&arguments.model);
                return Err(adapter::Error::positions(directory, length, positions).into());
            }
            max_length = Some(length);
            columns = ColumnNames::of(&sidecar.columns)?;
        }
        let positions = pretrained.max_positions()?;
        let mut settings = sidecar.as_ref().map(|sidecar| sidecar.settings.clone()).unwrap_or_default();
        apply_sets(sets, keys, &mut columns, |key, value| {
            let key = key.strip_prefix("data.").unwrap_or(key);
            if let Some(setting) = TaskName::all().flat_map(|task| task.settings).find(|setting| setting.key == key) {
                let value = (setting.parse)(value).ok_or_else(|| format!("expected {}", setting.expected))?;
                settings.insert(key.to_string(), value);
                return Ok(());
            }
            let length = value.parse().ok().filter(|length| (1..=positions).contains(length));
            max_length = Some(length.ok_or_else(|| format!("expected a number from 1 to {positions}"))?);
            Ok(())
        })?;
        let labels = match task.finder {
            None => None,
            Some(_) => Some(labels(arguments, sidecar.as_ref(), adapter.as_ref(), &pretrained)?),
        };
        let task = (task.open)(Opening {
            tokenizer: &tokenizer(arguments)?,
            of_tokenizer: tokenizer_directory(arguments),
            directory: &arguments.model,
            pretrained: &pretrained,
            labels,
            settings: &settings,
        })?;
        let (method, tensors) = match adapter {
            Some(adapter) => (adapter.method, Some(adapter.tensors)),
            None => (Method::frozen(), None),
        };
        let (model, loaded) = Plan::new(method, tensors, 0)
            .map_err(model::Error::from)
            .and_then(|plan| pretrained.load(plan, task.outputs(), Frozen::AsStored, Values::Read, device))
            .map_err(|error| of_adapter(error, arguments.adapter.as_deref()))?;
        tell(&loaded, output);
        let model = TrainableModel::new(model, task.clone());
        if let Some(directory) = &arguments.adapter {
            say_adapter(directory, &loaded.plan, &model, output);
        }
        let max_length = match max_length {
            Some(length) => length,
            None => default_max_length(pretrained.max_positions()?, &Tokenizer::from_dir(&arguments.model)?),
        };
        Ok(Self { pretrained, plan: loaded.plan, model, task, max_length, columns })
    }
}

/// What to say of numbers that are none: the weight that is to blame, which is looked for only then, or that they have become
/// too large on the way.
pub(super) fn not_finite(pretrained: &Pretrained, what: &'static str) -> Failure {
    weight_or(pretrained, Failure::running(NotFinite { what }))
}

/// The weight that is no number, or `failure` where all are.
pub(super) fn weight_or(pretrained: &Pretrained, failure: Failure) -> Failure {
    match pretrained.not_finite() {
        Ok(Some(error)) | Err(error) => error.into(),
        Ok(None) => failure,
    }
}

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("{what} are not finite numbers, though all weights are: activations overflow in the forward pass")]
#[diagnostic(help(
    "the adapter may be for another base, or its training went wrong: compare with the base model's predictions"
))]
struct NotFinite {
    what: &'static str,
}

/// The tokenizer beside the adapter is the one it was trained with; a PEFT adapter may have none.
pub(super) fn tokenizer(arguments: &Located) -> Result<Tokenizer, Failure> {
    Ok(Tokenizer::beside(tokenizer_directory(arguments), &arguments.model)?)
}

pub(super) fn tokenizer_directory(arguments: &Located) -> &Path {
    let beside = arguments.adapter.iter().find(|adapter| adapter.join("tokenizer.json").exists());
    beside.unwrap_or(&arguments.model)
}

/// Targets that the model does not have are named as the adapter's own file names them.
fn of_adapter(error: model::Error, directory: Option<&Path>) -> Failure {
    match (&error, directory) {
        (model::Error::Adapter(lora::Error::Target(target)), Some(directory)) => {
            adapter::Error::targets(directory, target).into()
        }
        _ => error.into(),
    }
}

/// What a model is for: as its sidecar says, else PEFT's file, else the class that its `config.json` names; of several with
/// one head that of the base's `problem_type`.
fn task(arguments: &Located, wanted: Option<Use>) -> Result<TaskName, Failure> {
    let directory = arguments.adapter.as_ref().unwrap_or(&arguments.model);
    let problem = Pretrained::problem_of(&arguments.model)?;
    let by_problem = |task: TaskName| problem.as_deref().map_or(task, |problem| task.of_problem(problem));
    let written = match &arguments.adapter {
        Some(adapter) => {
            let adapter = Adapter::read(adapter, None)?;
            let is_certain = adapter.sidecar.is_some();
            adapter.task().map(|task| if is_certain { task } else { by_problem(task) })
        }
        None => Sidecar::read(&arguments.model)?.map(|sidecar| sidecar.task),
    };
    let is_for = |task: &TaskName| wanted.is_none_or(|wanted| task.usage == wanted);
    match (written, wanted) {
        (Some(written), Some(_)) if !is_for(&written) => {
            let others: Vec<&str> = TaskName::all().filter(is_for).map(|task| task.name).collect();
            let (last, first) = others.split_last().map_or(("", &[][..]), |(last, first)| (*last, first));
            let others = if first.is_empty() { last.to_owned() } else { format!("{} and {last}", first.join(", ")) };
            let message = format!("{} was trained for {written}, this command is for {others}", directory.display());
            let help = match written.usage {
                Use::Predict => "`kindling predict` and `kindling eval` are for it",
                Use::Score => "`kindling eval` scores it",
                Use::Generate => "`kindling generate` and `kindling eval` are for it",
            };
            Err(Failure::usage(message, help))
        }
        (Some(written), _) => Ok(written),
        // Whether the model has the head for it shows when it is loaded.
        (None, Some(_)) => {
            let of_head = Pretrained::head_of(&arguments.model).ok().and_then(TaskName::of_head).filter(is_for);
            Ok(by_problem(of_head.or_else(|| TaskName::all().find(is_for)).unwrap_or_default()))
        }
        (None, None) => Ok(by_problem(TaskName::of_head(Pretrained::head_of(&arguments.model)?).unwrap_or_default())),
    }
}

fn labels(
    arguments: &Located,
    sidecar: Option<&Sidecar>,
    adapter: Option<&Adapter>,
    pretrained: &Pretrained,
) -> Result<Labels, Failure> {
    let classes = match adapter {
        Some(adapter) => adapter.classes(),
        None => pretrained.head_classes(),
    };
    if let Some(sidecar) = sidecar {
        let (names, directory) = (sidecar.labels.len(), arguments.adapter.as_ref().unwrap_or(&arguments.model));
        return match classes {
            Some(classes) if classes != names => Err(adapter::Error::labels(directory, names, classes).into()),
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

fn template(key: &str, source: Option<&str>) -> Result<Option<Template>, data::Error> {
    let source = source.filter(|source| !source.is_empty());
    source.map(|source| Template::new(key, source)).transpose()
}

/// All that `--set` overrides of a trained model: what `eval` takes.
pub(super) const KEYS: [&str; 15] = [
    "data.text",
    "data.text_template",
    "data.text_pair",
    "data.label",
    "data.prompt",
    "data.prompt_template",
    "data.completion",
    "data.completion_template",
    "data.messages",
    "data.tokens",
    "data.tags",
    "data.entities",
    "data.max_length",
    "data.mask_probability",
    "data.loss_on",
];

/// Applies the `--set` arguments, of which a command takes those with these `keys`. `number` is told of those that are no
/// columns, and complains in words.
pub(super) fn apply_sets(
    sets: &[String],
    keys: &[&str],
    columns: &mut ColumnNames,
    mut number: impl FnMut(&str, &str) -> Result<(), String>,
) -> Result<(), Failure> {
    for set in sets {
        let wrong = |help: String| Failure::usage(format!("`--set {set}` cannot be used here"), help);
        let Some((key, value)) = set.split_once('=') else {
            return Err(wrong("write it as KEY=VALUE, for example `--set data.text=sentence`".to_string()));
        };
        let text = value.trim().trim_matches('"').to_string();
        match key.trim() {
            key if !keys.contains(&key) => {
                return Err(wrong(suggest::suggestion(key, keys.iter().copied())));
            }
            "data.text" => {
                columns.clear_completion();
                (columns.text, columns.text_template) = (Some(text), None);
            }
            "data.text_template" => {
                columns.clear_completion();
                (columns.text, columns.text_template) = (None, template(key.trim(), Some(&text))?);
            }
            "data.prompt" => {
                columns.clear_text();
                (columns.prompt, columns.prompt_template) = (Some(text), None);
            }
            "data.prompt_template" => {
                columns.clear_text();
                (columns.prompt, columns.prompt_template) = (None, template(key.trim(), Some(&text))?);
            }
            "data.completion" => {
                columns.clear_text();
                (columns.completion, columns.completion_template) = (Some(text), None);
            }
            "data.completion_template" => {
                columns.clear_text();
                (columns.completion, columns.completion_template) = (None, template(key.trim(), Some(&text))?);
            }
            "data.messages" => {
                columns.clear_text();
                columns.clear_completion();
                columns.messages = Some(text);
            }
            "data.text_pair" => columns.text_pair = Some(text),
            "data.label" => columns.label = Some(text),
            "data.tokens" => {
                columns.clear_text();
                (columns.tokens, columns.entities) = (Some(text), None);
            }
            "data.tags" => {
                columns.clear_text();
                (columns.tags, columns.entities) = (Some(text), None);
            }
            "data.entities" => {
                (columns.tokens, columns.tags) = (None, None);
                columns.entities = Some(text);
            }
            key => number(key, &text).map_err(wrong)?,
        }
    }
    Ok(())
}

/// An adapter that has no effect is worth a word: PEFT's users meet it as a model that learned nothing.
fn say_adapter(directory: &Path, plan: &Plan, model: &TrainableModel, output: &Output) {
    let sizes = lora::update_sizes(&plan.tensors_written(model).into_iter().collect(), plan.updates());
    let total = sizes.iter().map(|size| size.norm * size.norm).sum::<f64>().sqrt();
    let tensors = counted(plan.parameters().len(), "tensor", "tensors");
    let modules = counted(sizes.len(), "module", "modules");
    output.say(&format!("adapter {}: {tensors}, {modules}, norm of the update {total:.4}", directory.display()));
    if !sizes.is_empty() && total == 0.0 {
        output.warn(&format!("{}: the model answers as its base does", plan.method().without_effect()));
    }
}

//! Commands that make an adapter of others, or of two models. What they have in common is here: opening what there is, scores before
//! and after, and writing what is made, which is read again and compared before it gets its name.

mod base;
pub(super) mod combine;
pub(super) mod extract;
pub(super) mod resize;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use inference::{Adapter, AdapterFiles, ModelFiles, Pipeline, Sidecar};
use lora::peft::PeftConfig;
use lora::{FactoredAdapter, FactorsError, Method, NewAdapter};
use serde_json::{Map, Value, json};
use tasks::metrics::Scores;

use super::new_directory::NewDirectory;
use super::open::{all_keys, load, open, read};
use super::scores::warn_of_truncated;
use super::source::{adapter_of, with_adapter};
use super::{DeviceArgument, Failure, eval};
use crate::device::DeviceName;
use crate::output::{Output, counted};

pub(super) use base::{base_of, check_base, name_in, other_base};

/// What a change costs.
#[derive(Debug, Args)]
pub(super) struct DataArguments {
    /// Labelled data to show the scores on, before and after: .jsonl .json .csv .tsv .parquet .txt, each also with .gz, or -
    #[arg(long, value_name = "F")]
    data: Option<PathBuf>,
    /// Override data.max_length or a column of --data: data.text, .label, .prompt and so on (repeatable)
    #[arg(long, value_name = "KEY=VALUE", requires = "data")]
    set: Vec<String>,
    #[command(flatten)]
    pub(super) device: DeviceArgument,
}

/// An adapter that was named.
struct Named {
    directory: PathBuf,
    /// With the base, where that is needed.
    files: Option<ModelFiles>,
    /// On its base as that is stored.
    adapter: Adapter,
    factored: FactoredAdapter,
    /// What there is to say where its base has other weights by now, unless opening both says it.
    other_base: Option<String>,
}

impl Named {
    /// `verb` is what is to be done with it, for messages. The base is looked for where `needs_base`, where it is named, and where the
    /// adapter is not what its tensors are without it.
    fn open(
        named: &Path,
        model: Option<&Path>,
        needs_base: bool,
        verb: &str,
        output: &Output,
    ) -> Result<Self, Failure> {
        let directory = adapter_of(named, output)?;
        let mut adapter = Adapter::read(&directory, None)?;
        let is_looked_at = model.is_some() || adapter.method.changes_base();
        let files = (needs_base || is_looked_at).then(|| with_adapter(directory.clone(), model, output)).transpose()?;
        let mut other = None;
        if let Some(files) = files.as_ref().filter(|_| is_looked_at) {
            let base = base_of(&adapter, files)?;
            if adapter.method.changes_base() {
                adapter = Adapter::read_plain(&directory, &base)?;
            }
            check_base(&adapter, &directory, &files.model, &base)?;
            other = other_base(&adapter, &directory, &base).filter(|_| !needs_base);
        }
        let factored = FactoredAdapter::new(&adapter.method, &adapter.tensors);
        let factored = factored.map_err(|error| not_factored(&directory, &adapter.method, error, verb))?;
        Ok(Self { directory, files, adapter, factored, other_base: other })
    }

    /// What `adapter_config.json` of another adapter on the same base says, with this method. A directory that is meant from this adapter
    /// is named by its full path.
    fn config(&self, new: &NewAdapter) -> Result<PeftConfig, Failure> {
        let mut config = PeftConfig { method: new.method.clone(), ..self.adapter.config.clone() };
        if let Some(base) = &config.base_model {
            let from_here = self.directory.join(base);
            if !Path::new(base).is_dir() && from_here.is_dir() {
                config.base_model = Some(from_here.canonicalize()?.display().to_string());
            }
        }
        Ok(config)
    }
}

pub(super) fn not_factored(directory: &Path, method: &Method, error: FactorsError, verb: &str) -> Failure {
    let shown = directory.display();
    match error {
        FactorsError::Method(what) => Failure::usage(
            format!("cannot {verb} {shown}: it is {what}"),
            match method.why_not_merged() {
                None => format!(
                    "`kindling inspect {shown}` shows what it changes, and `kindling merge` folds it into its base"
                ),
                Some(_) => format!(
                    "`kindling inspect {shown}` shows what it changes; it is used as it is, beside its base, by `kindling predict` and `eval`"
                ),
            },
        ),
        FactorsError::Alone { .. } => Failure::usage(
            format!("{}: {error}", shown),
            "a module has an A and a B: the file was cut short or renamed, copy the adapter again",
        ),
        FactorsError::Nothing => Failure::usage(
            format!("cannot {verb} {shown}: it has no update of a weight"),
            format!("`kindling inspect {shown}` shows what is in it"),
        ),
    }
}

/// Says what there is to know of its base: that it has other weights by now, and what its new factors do to an adapter that was trained
/// on what its start had left of a quantised one.
fn warn_of_base(named: &Named, output: &Output) {
    if let Some(other) = &named.other_base {
        output.warn(other);
    }
    let quantised = named.adapter.sidecar.as_ref().and_then(|sidecar| sidecar.base.quantised);
    if let Some(base) = quantised.filter(|quantised| quantised.residual) {
        output.warn(&format!(
            "{}: trained on what its start had left of the base in {base}, which cannot be told from its new factors: they stand on the whole base in {base}",
            named.directory.display()
        ));
    }
}

/// Writes an adapter, reads it again and compares.
fn write(
    directory: &NewDirectory,
    (config, new): (PeftConfig, NewAdapter),
    sidecar: Option<Sidecar>,
    made: &str,
    tokenizer: &Path,
) -> Result<(), Failure> {
    let card = card(&config, made);
    let sidecar = sidecar.map(Sidecar::with_new_factors);
    let files = AdapterFiles { config, tensors: new.tensors, sidecar, card: &card, tokenizer };
    let written = files.write(directory.path()).and_then(|()| files.verify(directory.path()));
    written.map_err(|error| directory.named(error.into()))
}

/// The model card. A directory is nobody else's and not named in it.
fn card(config: &PeftConfig, made: &str) -> String {
    let base = config.base_model.as_deref().filter(|base| !Path::new(base).is_absolute() && !Path::new(base).is_dir());
    let mut card = "---\n".to_string();
    if let Some(base) = base {
        card.push_str(&format!("base_model: {}\n", json!(base)));
    }
    card.push_str("library_name: peft\ntags:\n");
    if let Some(base) = base {
        card.push_str(&format!("- {}\n", json!(format!("base_model:adapter:{base}"))));
    }
    let of = base.map_or_else(String::new, |base| format!(" of `{base}`"));
    card.push_str(&format!(
        "- \"lora\"\n- \"transformers\"\n- \"kindling\"\n---\n\n# LoRA\n\nAn adapter{of}, {made} with kindling {}.\n",
        env!("CARGO_PKG_VERSION")
    ));
    card
}

/// Scores of several models on one file.
struct Measured<'a> {
    arguments: &'a DataArguments,
    examples: usize,
    /// The most texts that one of them had truncated.
    truncated: usize,
    of: Vec<(String, Scores)>,
}

impl<'a> Measured<'a> {
    fn new(arguments: &'a DataArguments) -> Self {
        Self { arguments, examples: 0, truncated: 0, of: Vec::new() }
    }

    fn is_wanted(&self) -> bool {
        self.arguments.data.is_some()
    }

    /// Does nothing without a file.
    fn add(&mut self, name: &str, files: &ModelFiles, output: &Output) -> Result<(), Failure> {
        if !self.is_wanted() {
            return Ok(());
        }
        let device = self.device()?;
        // What there is to say of the files was said.
        let pipeline = open(files, None, (&self.arguments.set, &all_keys()), &device, &output.silenced())?;
        self.score(name, &pipeline, output)
    }

    /// The same of an adapter on this base that has not its own name yet, by which it is called all the same. That its base has other weights
    /// by now was said of those that it was made of.
    fn add_made(
        &mut self,
        name: &str,
        (model, adapter): (&Path, &NewDirectory),
        output: &Output,
    ) -> Result<(), Failure> {
        if !self.is_wanted() {
            return Ok(());
        }
        let files = ModelFiles { model: model.to_path_buf(), adapter: Some(adapter.path().to_path_buf()) };
        let saved = read(&files, None).map_err(|failure| adapter.named(failure))?;
        let shown = ModelFiles { adapter: Some(adapter.output().to_path_buf()), ..files };
        let device = self.device()?;
        let pipeline = load(saved, &shown, (&self.arguments.set, &all_keys()), &device, &output.silenced());
        self.score(name, &pipeline.map_err(|failure| adapter.named(failure))?, output)
    }

    fn device(&self) -> Result<Device, Failure> {
        Ok(DeviceName::parse(&self.arguments.device.device, None)?.open()?)
    }

    fn score(&mut self, name: &str, pipeline: &Pipeline, output: &Output) -> Result<(), Failure> {
        let Some(file) = &self.arguments.data else { return Ok(()) };
        let (scores, examples, truncated) = eval::scores_on(file, pipeline, output)?;
        // Of models that cut texts off at one length it is said once.
        if truncated > self.truncated {
            warn_of_truncated(truncated, output);
            self.truncated = truncated;
        }
        self.examples = examples;
        self.of.push((name.to_string(), scores));
        Ok(())
    }

    /// `None` without a file.
    fn document(&self) -> Result<Option<Value>, Failure> {
        let mut of = Map::new();
        for (name, scores) in &self.of {
            of.insert(name.clone(), serde_json::to_value(scores)?);
        }
        Ok(self.is_wanted().then(|| json!({ "examples": self.examples, "of": of })))
    }

    /// A table with a column for each model.
    fn lines(&self) -> Vec<String> {
        let Some((_, first)) = self.of.first() else { return Vec::new() };
        let widths: Vec<usize> = self.of.iter().map(|(name, _)| name.chars().count().max(9)).collect();
        let heads: String = self.of.iter().zip(&widths).map(|((name, _), width)| format!("  {name:>width$}")).collect();
        let mut lines = vec![String::new(), format!("{:14}{heads}", counted(self.examples, "example", "examples"))];
        for (row, (name, _)) in first.named().iter().enumerate() {
            let cell = |((_, scores), width): (&(String, Scores), &usize)| {
                let value = scores.named().get(row).map_or(f64::NAN, |(_, value)| *value);
                format!("  {value:>width$.4}")
            };
            let cells: String = self.of.iter().zip(&widths).map(cell).collect();
            lines.push(format!("{name:14}{cells}"));
        }
        lines
    }
}

fn per_cent(share: f64) -> String {
    format!("{:.1}%", 100.0 * share)
}

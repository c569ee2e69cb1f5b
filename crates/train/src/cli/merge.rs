//! `kindling merge`: an adapter folded into its base, as a checkpoint that Transformers loads; loaded again and compared.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::{DType, Device};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use data::{Batch, Encoded};
use lora::peft::AdapterTensors;
use lora::{Method, Plan};
use model::{
    Frozen, Merge, OutputDirectory, Pretrained, Values, goes_with_weights, is_of_tokenizer, is_vocabulary,
    verify_merged, write_json,
};
use serde_json::json;

use super::open::open;
use super::{Failure, ModelArguments};
use crate::output::Output;
use crate::run::{Probe, difference, with_dtype};
use inference::{Adapter, ModelFiles, Pipeline, Sidecar, copy_beside, not_finite};
use tasks::TrainableModel;

/// A merge that loses more than this share of what the adapter does is worth a warning.
const LOSS_TO_WARN_OF: f64 = 0.05;

/// Fold an adapter into the weights of its base
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling merge --run runs/sst2 --output merged
  kindling merge --run runs/sst2 --output merged --dtype f32
  kindling merge --model bert-base-uncased --adapter someone/sst2-lora --output merged")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// Directory to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Type of the merged weights; default: the base's
    #[arg(long, value_enum)]
    dtype: Option<Type>,
    /// Largest size of one file: 500MB, 2GB; default: the files of the base
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_shard_size: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    // Not `exists`: a link to nothing is in the way as well.
    if arguments.output.symlink_metadata().is_ok() {
        let message = format!("{} already exists", arguments.output.display());
        return Err(Failure::usage(message, "name a directory that does not exist yet with --output"));
    }
    let device = Device::flex();
    let inputs = arguments.model.located(output)?;
    let Some(adapter) = inputs.adapter.as_deref() else {
        let message = format!("{} is a whole model: there is no adapter to merge", inputs.model.display());
        return Err(Failure::usage(message, "name a run of an adapter with --run, or an adapter with --adapter"));
    };
    let trained = open(&inputs, None, (&[], &[]), &device, output)?;
    let dtype = arguments.dtype.map(|dtype| match dtype {
        Type::F32 => DType::F32,
        Type::F16 => DType::F16,
        Type::Bf16 => DType::BF16,
    });
    let unfinished = create(&arguments.output)?;
    let merge = Merge::new(&trained.pretrained, &trained.loaded.plan, &trained.model.model, dtype)?;
    merge.write(&merge.layout(arguments.max_shard_size)?, unfinished.path())?;
    let mut config = trained.task.model_config(trained.pretrained.config(), trained.pretrained.class());
    if merge.unties() {
        config["tie_word_embeddings"] = json!(false);
    }
    let config = dtype.map_or(config.clone(), |dtype| with_dtype(config, dtype));
    write_json(&unfinished.path().join("config.json"), &config)?;
    copy_companions(unfinished.path(), &inputs)?;
    if let Some(sidecar) = Sidecar::read(adapter)? {
        sidecar.write(unfinished.path())?;
    }
    verify(adapter, unfinished.path(), &trained)?;
    let check = compare(adapter, unfinished.path(), &trained, &device)?;
    if !check.relative().is_finite() {
        return Err(not_finite(&trained.pretrained, "the merged model's logits").into());
    }
    unfinished.finish()?;
    if output.json() {
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "logit_difference": check.difference, "adapter_effect": check.effect,
            "relative_difference": check.relative(),
        }))?)?;
    } else {
        output.say(&format!("merged into {}", output.bold(&arguments.output.display().to_string())));
        output.say(&format!(
            "logits differ by at most {:.1e}, {:.2e} of the adapter's effect",
            check.difference,
            check.relative()
        ));
    }
    if check.relative() > LOSS_TO_WARN_OF {
        let share = 100.0 * check.relative();
        output
            .warn(&format!("rounding the weights costs {share:.0} % of the adapter's effect: `--dtype f32` keeps it"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The tokenizer that the adapter was trained with, and what goes with the base's weights. The base's vocabularies that only
/// other programs read are wanted beside an adapter's `tokenizer.json` too.
fn copy_companions(merged: &Path, inputs: &ModelFiles) -> Result<(), Failure> {
    copy_beside(merged, inputs.tokenizer_directory(), is_of_tokenizer)?;
    let missing = |file: &str| is_vocabulary(file) && !merged.join(file).exists();
    copy_beside(merged, &inputs.model, |file| goes_with_weights(file) || missing(file))?;
    Ok(())
}

/// Before the work, so that a place that cannot be written costs no more than its message.
fn create(output: &Path) -> Result<OutputDirectory, Failure> {
    OutputDirectory::create(output).map_err(|error| {
        let message = format!("cannot write {}: {error}", output.display());
        Failure::usage(message, "name a directory in a place that can be written with --output")
    })
}

struct Check {
    /// Largest difference between the logits of the merged model and of base and adapter.
    difference: f64,
    /// Largest difference that the adapter's updates make.
    effect: f64,
}

impl Check {
    fn relative(&self) -> f64 {
        if self.effect > 0.0 { self.difference / self.effect } else { self.difference }
    }
}

/// Reads base, adapter and merged checkpoint again and compares tensor by tensor.
fn verify(adapter: &Path, merged: &Path, trained: &Pipeline) -> Result<(), Failure> {
    let (_, tensors) = read(adapter, trained)?;
    let found = verify_merged(&trained.pretrained, &tensors, &trained.loaded.plan, merged);
    found.map_err(|error| match error {
        model::Error::Merge(error) => Failure::running(error),
        error => error.into(),
    })
}

/// The adapter by its files, on the base as its files have it.
fn read(adapter: &Path, trained: &Pipeline) -> Result<(Method, AdapterTensors), Failure> {
    let Adapter { method, tensors, .. } = Adapter::read(adapter, Some(&trained.pretrained))?;
    Ok(trained.loaded.plan.written(method, tensors))
}

fn compare(adapter: &Path, merged: &Path, trained: &Pipeline, device: &Device) -> Result<Check, Failure> {
    let probe = probe(trained);
    let classes = trained.task.outputs();
    let merged = Pretrained::open(merged, trained.pretrained.head())?;
    let plan = Plan::new(Method::frozen(), None, 0)?;
    let (merged, _) = merged.load(plan, classes, Frozen::AsStored, Values::Read, device)?;
    // The same head without the updates: what the adapter does is what they change.
    let (method, mut tensors) = read(adapter, trained)?;
    tensors.clear_updates();
    let plan = Plan::new(method, Some(tensors), 0)?;
    let (base, _) = trained.pretrained.load(plan, classes, Frozen::AsStored, Values::Read, device)?;
    let adapted = probe.logits(&trained.model);
    Ok(Check {
        difference: difference(&adapted, &probe.logits(&TrainableModel::new(merged, trained.task.clone()))),
        effect: difference(&adapted, &probe.logits(&TrainableModel::new(base, trained.task.clone()))),
    })
}

/// Sixteen sequences of ids spread over the vocabulary: no text is needed to compare two models.
fn probe(trained: &Pipeline) -> Probe {
    let vocabulary = trained.pretrained.vocabulary_size().unwrap_or(1000) as u64;
    let length = trained.max_length.min(24);
    let sequence = |s: u64| {
        let ids: Vec<u32> = (0..length as u64).map(|i| (kernels::mix(s << 32 | i) % vocabulary) as u32).collect();
        Encoded::from(ids)
    };
    let sequences: Vec<Encoded> = (0..16).map(sequence).collect();
    Probe::new(Batch::from_encoded(&sequences))
}

/// `500MB`, `2GB`, or a number of bytes.
fn size(text: &str) -> Result<usize, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64() as usize),
        _ => Err(format!("expected a size such as 500MB or 2GB, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_of_transformers() {
        assert_eq!((size("120KB"), size("2gb"), size("77")), (Ok(120_000), Ok(2_000_000_000), Ok(77)));
        assert!(size("2XB").is_err() && size("0GB").is_err() && size("-1MB").is_err() && size("MB").is_err());
    }
}

//! `kindling merge`: an adapter folded into its base, as a checkpoint that Transformers loads; loaded again and compared.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::{DType, Device};
use clap::{Args, ValueEnum};
use data::{Batch, Encoded};
use lora::{Method, Plan};
use model::{Frozen, Pretrained, Values, merged_tensors, write_checkpoint, write_json};
use serde_json::json;

use super::trained::{Trained, tokenizer};
use super::{Failure, ModelArguments};
use crate::adapter::{self, Adapter, Sidecar};
use crate::output::{Output, bytes};
use crate::run::{Probe, difference, with_dtype};
use crate::tasks::Trainee;

/// A merge that loses more than this share of what the adapter does is worth a warning.
const LOSS_TO_WARN_OF: f64 = 0.05;

/// Fold an adapter into the weights of its base
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kindling merge --model bert --adapter runs/sst2/adapter --output merged\n  kindling merge --model bert --adapter runs/sst2/adapter --output merged --dtype f32"
)]
pub(super) struct Arguments {
    /// The base: a directory, or an id on the Hugging Face Hub, org/name or org/name@revision
    #[arg(long, value_name = "M")]
    model: PathBuf,
    /// The adapter: a directory or an id on the Hub
    #[arg(long, value_name = "A")]
    adapter: PathBuf,
    /// Directory to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Type of the merged weights; default: the base's
    #[arg(long, value_enum)]
    dtype: Option<Type>,
    /// Largest size of one file: 500MB, 2GB
    #[arg(long, value_name = "SIZE", default_value = "5GB", value_parser = size)]
    max_shard_size: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    if arguments.output.exists() {
        let message = format!("{} exists already", arguments.output.display());
        return Err(Failure::usage(message, "name a directory that does not exist yet with --output"));
    }
    let device = Device::flex();
    let inputs = ModelArguments { model: arguments.model.clone(), adapter: Some(arguments.adapter.clone()) };
    let inputs = inputs.located(output)?;
    let adapter = inputs.adapter.as_deref().expect("it was given");
    let trained = Trained::open(&inputs, None, &[], &device, output)?;
    let dtype = arguments.dtype.map(|dtype| match dtype {
        Type::F32 => DType::F32,
        Type::F16 => DType::F16,
        Type::Bf16 => DType::BF16,
    });
    let unfinished = Unfinished::create(&arguments.output)?;
    let tensors = merged_tensors(&trained.pretrained, &trained.plan, &trained.model.model, dtype)?;
    write_checkpoint(&unfinished.path, &tensors, arguments.max_shard_size).map_err(model::Error::from)?;
    let config = trained.task.model_config(trained.pretrained.config(), trained.pretrained.class());
    let config = dtype.map_or(config.clone(), |dtype| with_dtype(config, dtype));
    write_json(&unfinished.path.join("config.json"), &config)?;
    adapter::copy_tokenizer(&unfinished.path, tokenizer(&inputs)?.files())?;
    adapter::copy_generation_config(&unfinished.path, &inputs.model)?;
    if let Some(sidecar) = Sidecar::read(adapter)? {
        sidecar.write(&unfinished.path)?;
    }
    let check = compare(adapter, &unfinished.path, &trained, &device)?;
    if !check.relative().is_finite() {
        return Err(Failure::message("the merged model's logits are no numbers: it was not kept".to_string()));
    }
    unfinished.finish(&arguments.output)?;
    if output.json() {
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "logit_difference": check.difference, "adapter_effect": check.effect,
            "relative_difference": check.relative(),
        }))?)?;
    } else {
        output.say(&format!("merged into {}", output.bold(&arguments.output.display().to_string())));
        output.say(&format!(
            "logits differ by at most {:.1e}, which is {:.2e} of what the adapter does",
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

/// The directory under another name until it is whole and was compared; removed if that does not come.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    /// Before the work, so that a place that cannot be written costs no more than its message.
    fn create(output: &Path) -> Result<Self, Failure> {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".tmp");
        let path = output.with_file_name(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).map_err(|error| {
            let message = format!("cannot write {}: {error}", output.display());
            Failure::usage(message, "name a directory in a place that can be written with --output")
        })?;
        Ok(Self { path })
    }

    fn finish(self, output: &Path) -> std::io::Result<()> {
        std::fs::rename(&self.path, output)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Nothing is there any more once it has its name.
        let _ = std::fs::remove_dir_all(&self.path);
    }
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

fn compare(adapter: &Path, merged: &Path, trained: &Trained, device: &Device) -> Result<Check, Failure> {
    let probe = probe(trained);
    let classes = trained.task.classes();
    let merged = Pretrained::open(merged, trained.pretrained.head())?;
    let plan = Plan::new(Method::Frozen, None, 0)?;
    let (merged, _) = merged.load(plan, classes, Frozen::AsStored, Values::Read, device)?;
    // The same head without the low-rank updates: what the adapter does is what they change.
    let mut without = Adapter::read(adapter, Some(&trained.pretrained))?;
    without.tensors.clear_updates();
    let plan = Plan::new(without.method, Some(without.tensors), 0)?;
    let (base, _) = trained.pretrained.load(plan, classes, Frozen::AsStored, Values::Read, device)?;
    let adapted = probe.logits(&trained.model);
    Ok(Check {
        difference: difference(&adapted, &probe.logits(&Trainee::new(merged))),
        effect: difference(&adapted, &probe.logits(&Trainee::new(base))),
    })
}

/// Sixteen sequences of ids spread over the vocabulary: no text is needed to compare two models.
fn probe(trained: &Trained) -> Probe {
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
    let upper = text.to_ascii_uppercase();
    let (number, unit) = match upper.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => upper.split_at(at),
        None => (upper.as_str(), "B"),
    };
    let unit = match unit {
        "B" => 1.0,
        "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return Err(format!("expected a size such as 500MB or 2GB, found `{text}`")),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number > 0.0 => Ok((number * unit) as usize),
        _ => Err(format!("expected a size such as 500MB or {}, found `{text}`", bytes(2_000_000_000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_units_of_transformers() {
        assert_eq!((size("120KB"), size("2gb"), size("77")), (Ok(120_000), Ok(2_000_000_000), Ok(77)));
        assert!(size("2TB").is_err() && size("-1MB").is_err() && size("MB").is_err());
    }
}

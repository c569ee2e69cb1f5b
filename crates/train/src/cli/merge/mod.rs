//! `kindling merge`: adapters folded into their base, as a checkpoint that Transformers loads. Of several each is merged into what
//! those before it made, which is kept in f32, so that values are rounded once. All that was written is read again and compared.

mod check;
mod trained;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use burn::tensor::DType;
use clap::{Args, ValueEnum};
use model::{
    Merge, Pretrained, Types, goes_with_weights, is_of_embeddings, is_of_tokenizer, is_vocabulary, write_json,
};
use serde_json::{Value, json};

use super::new_directory::{NewDirectory, unwritten};
use super::open::{check_mergeable, check_unquantised, check_unwritten};
use super::size::size;
use super::{Failure, ModelArguments};
use crate::output::Output;
use crate::run::with_dtype;
use check::{Check, Probe, check_files, verify};
use inference::{ModelFiles, Sidecar, copy_beside, not_finite};
use trained::{Trained, Unloaded};

/// A merge that loses more than this share of what the adapter does is worth a warning.
const LOSS_TO_WARN_OF: f64 = 0.05;

/// Fold adapters into the weights of their base
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling merge --run runs/sst2 --output merged
  kindling merge --run runs/sst2 --output merged --dtype f32
  kindling merge --model bert-base-uncased --adapter someone/sst2-lora --output merged
  kindling merge --adapter runs/domain --adapter runs/chat --output merged")]
pub(super) struct Arguments {
    /// The directory of a run that `kindling train` wrote: its best adapter, on the base it was trained on
    #[arg(long, value_name = "DIR", conflicts_with = "adapters")]
    run: Option<PathBuf>,
    /// The base: a directory, or an id on the Hugging Face Hub, org/name or org/name@revision; needed only where it is no
    /// longer where it was
    #[arg(long, value_name = "M")]
    model: Option<PathBuf>,
    /// An adapter, as kindling or PEFT wrote it: its directory, that of its run, or an id on the Hub. Several are merged in this
    /// order, each into what those before it made, into the base of the first
    #[arg(long = "adapter", value_name = "A")]
    adapters: Vec<PathBuf>,
    /// Directory to write
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Type of the merged weights; default: each as in the base
    #[arg(long, value_enum)]
    dtype: Option<Type>,
    /// Largest size of one file: 500MB, 2GB; default: the files of the base
    #[arg(long, value_name = "SIZE", value_parser = size)]
    max_shard_size: Option<usize>,
    /// Fail if rounding the weights changes a logit of the probe texts by more than this share of the adapter's effect
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share)]
    tolerance: f64,
    /// Merge although an adapter was trained on other weights than these, a quantised copy of them for example
    #[arg(long)]
    allow_other_base: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
}

impl Type {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    // Not `exists`: a link to nothing is in the way as well.
    if arguments.output.symlink_metadata().is_ok() {
        let message = format!("{} already exists", arguments.output.display());
        return Err(Failure::usage(message, "name a directory that does not exist yet with --output"));
    }
    let inputs = located(arguments, output)?;
    let first = read_all(&inputs, arguments, output)?;
    let unfinished = NewDirectory::create(&arguments.output)?;
    let merged = merge_in_order(first, &inputs, arguments, unfinished.path(), output);
    let check = merged.map_err(|error| unfinished.named(error))?;
    if !check.is_within(arguments.tolerance) {
        return Err(beyond(&check, arguments));
    }
    unfinished.finish()?;
    report(&check, arguments, output)
}

/// The base and the adapter of each step.
fn located(arguments: &Arguments, output: &Output) -> Result<Vec<ModelFiles>, Failure> {
    let (run, model) = (arguments.run.clone(), arguments.model.clone());
    let adapter = arguments.adapters.first().cloned();
    let first = ModelArguments { run, model, adapter }.located(output)?;
    if first.adapter.is_none() {
        let message = format!("{} is a whole model: there is no adapter to merge", first.model.display());
        return Err(Failure::usage(message, "name a run of an adapter with --run, or an adapter with --adapter"));
    }
    check_unquantised(&first)?;
    let mut inputs = vec![first];
    for adapter in arguments.adapters.iter().skip(1) {
        let (model, adapter) = (Some(inputs[0].model.clone()), Some(adapter.clone()));
        inputs.push(ModelArguments { run: None, model, adapter }.located(output)?);
    }
    Ok(inputs)
}

/// Reads all adapters before the first is merged, and says what of them does not go together. Returns the first.
fn read_all(inputs: &[ModelFiles], arguments: &Arguments, output: &Output) -> Result<Unloaded, Failure> {
    let mut all = Vec::with_capacity(inputs.len());
    for files in inputs {
        check_mergeable(files.trained(), "merged")?;
        let unloaded = Unloaded::read(files)?;
        match unloaded.other_base(files) {
            Some(other) if arguments.allow_other_base => output.warn(&other),
            Some(other) => {
                let help = match all.is_empty() {
                    true => {
                        "give the model that it was trained on with --model, or merge all the same with --allow-other-base"
                    }
                    false => {
                        "if it was trained on the others merged, merge those alone and this one into the result; or merge all the \
                         same with --allow-other-base"
                    }
                };
                return Err(Failure::usage(other, help));
            }
            None => {}
        }
        all.push((unloaded, files));
    }
    for (index, second) in all.iter().enumerate() {
        all[..index].iter().try_for_each(|first| check_pair(first, second))?;
    }
    Ok(all.swap_remove(0).0)
}

/// A merged model has one head, and each of its tensors once.
fn check_pair(
    (first, of_first): &(Unloaded, &ModelFiles),
    (second, of_second): &(Unloaded, &ModelFiles),
) -> Result<(), Failure> {
    let [one, other] = [of_first, of_second].map(|files| files.trained().display());
    if let (Some(of_one), Some(of_other)) = (first.task(), second.task())
        && of_one.head != of_other.head
    {
        let message = format!("{one} was trained for {of_one}, and {other} for {of_other}");
        let help = "a merged model has one head: merge one of them alone, and the other into the result";
        return Err(Failure::usage(message, help));
    }
    let before = first.replaced();
    for (name, values) in second.replaced() {
        if let Some((_, before)) = before.iter().find(|(before, _)| *before == name)
            && *before != values
        {
            let message =
                format!("both {one} and {other} have a `{name}` in the place of the base's, each another one");
            let help = "merge the one whose tensor is not wanted alone, and the other into the result";
            return Err(Failure::usage(message, help));
        }
    }
    Ok(())
}

/// Merges one adapter after the other, the last into `directory`.
fn merge_in_order(
    first: Unloaded,
    inputs: &[ModelFiles],
    arguments: &Arguments,
    directory: &Path,
    output: &Output,
) -> Result<Check, Failure> {
    let original = Pretrained::open(&inputs[0].model, first.head())?;
    let mut next = Some(first);
    let mut base = inputs[0].model.clone();
    let mut sidecar = None;
    let mut check = Check::default();
    for (index, files) in inputs.iter().enumerate() {
        let is_last = index + 1 == inputs.len();
        let files = ModelFiles { model: base.clone(), ..files.clone() };
        let unloaded = match next.take() {
            Some(unloaded) => unloaded,
            None => Unloaded::read(&files)?,
        };
        let trained = unloaded.load(&files, output)?;
        sidecar = Sidecar::read(files.trained())?.map(Sidecar::untrained).or(sidecar);
        let (place, types) = match is_last {
            true => {
                (directory.to_path_buf(), arguments.dtype.map_or(Types::Of(&original), |it| Types::All(it.dtype())))
            }
            false => (directory.join(format!("merged-{}", index + 1)), Types::Unrounded),
        };
        std::fs::create_dir_all(&place).map_err(|error| unwritten(&place, &error))?;
        let step = Step { files: &files, trained: &trained, sidecar: sidecar.as_ref(), directory: &place };
        check = step.merge(types, arguments, output)?.after(&check);
        if index > 0 {
            std::fs::remove_dir_all(&base).map_err(|error| unwritten(&base, &error))?;
        }
        base = place;
    }
    Ok(check)
}

/// The merge of one adapter.
struct Step<'a> {
    files: &'a ModelFiles,
    trained: &'a Trained,
    sidecar: Option<&'a Sidecar>,
    directory: &'a Path,
}

impl Step<'_> {
    fn merge(&self, types: Types<'_>, arguments: &Arguments, output: &Output) -> Result<Check, Failure> {
        let Trained { pretrained, model, loaded, .. } = self.trained;
        let merge = Merge::new(pretrained, &loaded.plan, model, types)?;
        merge.write(&merge.layout(arguments.max_shard_size)?, self.directory)?;
        let config = self.config(&merge, types);
        let path = self.directory.join("config.json");
        write_json(&path, &config).map_err(|error| unwritten(&path, &error))?;
        let copied = self.copy_companions()?;
        if let Some(sidecar) = self.sidecar {
            sidecar.write(self.directory, &[])?;
        }
        check_files(self.directory, &config, self.sidecar, &copied)?;
        verify(self.files, self.directory, self.trained)?;
        let check = Probe::new(self.trained)?.compare(self.files, self.directory, self.trained)?;
        if !check.is_finite() {
            let what = if model.has_head() { "the merged model's logits" } else { "the merged model's hidden states" };
            return Err(not_finite(pretrained, what).into());
        }
        check_unwritten(pretrained)?;
        if merge.unties() {
            let line = "the output layer is no longer tied to the word embeddings: the adapter changes one of them";
            output.say(line);
        }
        Ok(check)
    }

    fn config(&self, merge: &Merge<'_>, types: Types<'_>) -> Value {
        let pretrained = &self.trained.pretrained;
        let mut config = match &self.trained.task {
            Some(task) => task.model_config(pretrained.config(), pretrained.class()),
            None => pretrained.config().clone(),
        };
        if merge.unties() {
            config["tie_word_embeddings"] = json!(false);
        }
        match types {
            Types::All(dtype) => with_dtype(config, dtype),
            Types::Of(_) | Types::Unrounded => config,
        }
    }

    /// The tokenizer that the adapter was trained with, and what goes with the base's weights. The base's vocabularies that only
    /// other programs read are wanted beside an adapter's `tokenizer.json` too, and of a backbone what pools its embeddings. Returns where each file is from.
    fn copy_companions(&self) -> Result<Vec<(PathBuf, PathBuf)>, Failure> {
        let (merged, tokenizer, base) = (self.directory, self.files.tokenizer_directory(), &self.files.model);
        let mut copied = copy_beside(merged, tokenizer, is_of_tokenizer)?;
        let missing = |file: &str| is_vocabulary(file) && !merged.join(file).exists();
        let pools = |file: &str| self.trained.task.is_none() && is_of_embeddings(file);
        copied.extend(copy_beside(merged, base, |file| goes_with_weights(file) || missing(file) || pools(file))?);
        Ok(copied)
    }
}

fn beyond(check: &Check, arguments: &Arguments) -> Failure {
    let message = format!(
        "rounding the merged weights changes {} by {:.2} of the adapter's effect, and {} are allowed (`--tolerance`): nothing was \
         kept",
        check.compared()[0],
        check.relative(),
        arguments.tolerance
    );
    let help = match arguments.dtype {
        Some(Type::F32) => "the adapter may be for another base: compare its answers with `kindling eval`",
        None | Some(Type::F16 | Type::Bf16) => "`--dtype f32` keeps the adapter's effect",
    };
    Failure::with_help(message, help)
}

fn report(check: &Check, arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    if output.json() {
        output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "logit_difference": check.difference, "adapter_effect": check.effect,
            "relative_difference": check.relative(), "tolerance": arguments.tolerance,
        }))?)?;
    } else {
        output.say(&format!("merged into {}", output.bold(&arguments.output.display().to_string())));
        output.say(&format!(
            "{} differ by at most {:.1e}, {:.2e} of the adapter's effect",
            check.compared()[1],
            check.difference,
            check.relative()
        ));
    }
    if !check.is_within(LOSS_TO_WARN_OF) {
        let share = 100.0 * check.relative();
        output
            .warn(&format!("rounding the weights costs {share:.0} % of the adapter's effect: `--dtype f32` keeps it"));
    }
    Ok(ExitCode::SUCCESS)
}

/// `0.1`, `2`: of the adapter's effect.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share.is_finite() && share >= 0.0 => Ok(share),
        _ => Err(format!("expected a share of the adapter's effect such as 0.1, found `{text}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_that_is_not_negative() {
        assert_eq!((share("0.1"), share("2"), share("0")), (Ok(0.1), Ok(2.0), Ok(0.0)));
        assert!(share("-0.1").is_err() && share("nan").is_err() && share("inf").is_err() && share("5%").is_err());
    }
}

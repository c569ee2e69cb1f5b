//! `kindling export`: a model for llama.cpp, or an adapter for llama.cpp or mlx-lm.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use burn::tensor::{DType, Device};
use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use data::Tokenizer;
use data::language::ChatTemplate;
use gguf::TensorType;
use inference::{Backbone, LoadedBackbone, ModelFiles, Pipeline};
use lora::Plan;
use model::{
    Exported, Merge, Model, Pretrained, Types, check_encoder_gguf, export_adapter_gguf, export_adapter_mlx,
    export_encoder_gguf, export_gguf,
};
use serde_json::json;

use super::open::{check_mergeable, check_unquantised, check_unwritten, load, load_backbone, other_base, read};
use super::{Failure, ModelArguments};
use crate::output::{Output, counted};

/// Write a model for llama.cpp, or an adapter for llama.cpp or mlx-lm
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kindling export --run runs/chat --format gguf -o chat.gguf
  kindling export --run runs/chat --format gguf --dtype q8_0 -o chat-q8.gguf
  kindling export --run runs/chat --format gguf --adapter-only -o chat-lora.gguf
  kindling export --run runs/chat --format mlx -o chat-mlx")]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,
    /// gguf: a file for llama.cpp, of the model with its adapter merged; mlx: a directory for mlx-lm, of the adapter alone
    #[arg(long, value_enum)]
    format: Format,
    /// The file to write, or for mlx the directory
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Type of the weights; default: the base's, and f32 of an adapter alone
    #[arg(long, alias = "type", value_enum)]
    dtype: Option<Type>,
    /// With gguf: the adapter alone, for `llama-cli --lora` beside the base
    #[arg(long)]
    adapter_only: bool,
    /// Export although the adapter was trained on other weights than these, a quantised copy of them for example
    #[arg(long)]
    allow_other_base: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Gguf,
    Mlx,
}

impl Format {
    fn name(self) -> &'static str {
        match self {
            Self::Gguf => "gguf",
            Self::Mlx => "mlx",
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    // Not `exists`: a link to nothing is in the way as well.
    if arguments.output.symlink_metadata().is_ok() {
        let message = format!("{} already exists", arguments.output.display());
        return Err(Failure::usage(message, "name a file or directory that does not exist yet with --output"));
    }
    if arguments.format == Format::Mlx && arguments.dtype.is_some() {
        return Err(Failure::usage("an adapter for mlx-lm is written in f32", "leave out --dtype"));
    }
    let inputs = arguments.model.located(output)?;
    let is_adapter = arguments.adapter_only || arguments.format == Format::Mlx;
    if is_adapter && inputs.adapter.is_none() {
        let message = format!("{} is a whole model: there is no adapter to export", inputs.model.display());
        return Err(Failure::usage(message, "name a run of an adapter with --run, or an adapter with --adapter"));
    }
    if let Some(adapter) = &inputs.adapter {
        check_mergeable(adapter, "exported")?;
    }
    if !is_adapter {
        check_unquantised(&inputs)?;
    }
    if let Some(backbone) = Backbone::read(&inputs)? {
        let kind = kind(arguments, backbone.pretrained(), is_adapter);
        if !is_adapter {
            check_encoder_gguf(backbone.pretrained())?;
        }
        let LoadedBackbone { pretrained, model, loaded } = load_backbone(backbone, &inputs, output)?;
        let parts = (&pretrained, &loaded.plan, &model);
        let exported = match is_adapter {
            true => adapter_alone(parts, &inputs, kind, arguments)?,
            false => encoder(parts, &inputs, kind, &arguments.output)?,
        };
        tell(arguments, kind, &exported, output)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Whatever kind of base it was trained on: what is written are the values of the files.
    let as_stored = ["model.dtype=auto".to_string()];
    let saved = read(&inputs, None)?;
    match other_base(&saved, &inputs) {
        Some(other) if arguments.allow_other_base => output.warn(&other),
        Some(other) => {
            let help =
                "give the model that it was trained on with --model, or export all the same with --allow-other-base";
            return Err(Failure::usage(other, help));
        }
        None => {}
    }
    let opened = load(saved, &inputs, (&as_stored, &[]), &Device::flex(), output)?;
    let kind = kind(arguments, &opened.pretrained, is_adapter);
    let exported = match is_adapter {
        true => {
            let parts = (&opened.pretrained, &opened.loaded.plan, &opened.model.model);
            adapter_alone(parts, &inputs, kind, arguments)?
        }
        false => whole_model(&opened, &inputs, kind, &arguments.output)?,
    };
    tell(arguments, kind, &exported, output)?;
    Ok(ExitCode::SUCCESS)
}

fn adapter_alone(
    (pretrained, plan, model): (&Pretrained, &Plan, &Model),
    inputs: &ModelFiles,
    kind: TensorType,
    arguments: &Arguments,
) -> Result<Exported, Failure> {
    let parts = (plan, model);
    Ok(match arguments.format {
        Format::Gguf => export_adapter_gguf(pretrained, parts, (kind, &name(inputs.trained())), &arguments.output)?,
        Format::Mlx => export_adapter_mlx(pretrained, parts, &inputs.model.display().to_string(), &arguments.output)?,
    })
}

/// With its adapter folded in where it has one.
fn whole_model(opened: &Pipeline, inputs: &ModelFiles, kind: TensorType, path: &Path) -> Result<Exported, Failure> {
    let merge = Merge::new(&opened.pretrained, &opened.loaded.plan, &opened.model.model, Types::All(DType::F32))?;
    let vocabulary = Vocabulary::of(&opened.tokenizer, inputs)?;
    let labels = opened.task.label_names();
    let exported = export_gguf(&merge, vocabulary.parts(), (kind, &name(inputs.trained()), labels), path)?;
    check_unwritten(&opened.pretrained).inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(exported)
}

/// An encoder without a head, which no task is for: its embeddings are what it answers in llama.cpp. With its adapter folded in where it
/// has one.
fn encoder(
    (pretrained, plan, model): (&Pretrained, &Plan, &Model),
    inputs: &ModelFiles,
    kind: TensorType,
    path: &Path,
) -> Result<Exported, Failure> {
    let merge = Merge::new(pretrained, plan, model, Types::All(DType::F32))?;
    let vocabulary = Vocabulary::of(&inputs.tokenizer()?, inputs)?;
    let exported = export_encoder_gguf(&merge, vocabulary.parts(), (kind, &name(inputs.trained())), path)?;
    check_unwritten(pretrained).inspect_err(|_| drop(std::fs::remove_file(path)))?;
    Ok(exported)
}

/// What a file for llama.cpp says of the tokenizer.
struct Vocabulary {
    tokenizer: serde_json::Value,
    special: Vec<(&'static str, u32)>,
    template: Option<ChatTemplate>,
}

impl Vocabulary {
    fn of(tokenizer: &Tokenizer, inputs: &ModelFiles) -> Result<Self, Failure> {
        let directory = inputs.tokenizer_directory();
        let special = tokenizer.special_roles(directory, &inputs.model)?;
        // The date is for templates that are rendered, which this one is not.
        let template = ChatTemplate::from_dir(directory, SystemTime::UNIX_EPOCH)?;
        Ok(Self { tokenizer: tokenizer.to_json(), special, template })
    }

    fn parts(&self) -> (&serde_json::Value, &[(&str, u32)], Option<&str>) {
        (&self.tokenizer, &self.special, self.template.as_ref().map(ChatTemplate::text))
    }
}

/// What was asked for, or the type of the base; an adapter alone is small.
fn kind(arguments: &Arguments, pretrained: &Pretrained, is_adapter: bool) -> TensorType {
    match (arguments.dtype, pretrained.dtype()) {
        (Some(Type::F32), _) => TensorType::F32,
        (Some(Type::F16), _) => TensorType::F16,
        (Some(Type::Bf16), _) => TensorType::Bf16,
        (Some(Type::Q8_0), _) => TensorType::Q8_0,
        (None, DType::F16) if !is_adapter => TensorType::F16,
        (None, DType::BF16) if !is_adapter => TensorType::Bf16,
        (None, _) => TensorType::F32,
    }
}

/// What the file calls it: the directory that holds it, or of a run the run.
fn name(trained: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let own = name(trained).unwrap_or_default();
    match own.as_str() {
        "adapter" | "model" => trained.parent().and_then(name).unwrap_or(own),
        _ => own,
    }
}

fn tell(arguments: &Arguments, kind: TensorType, exported: &Exported, output: &Output) -> Result<(), Failure> {
    if output.json() {
        return Ok(output.result(&serde_json::to_string(&json!({
            "output": arguments.output, "format": arguments.format.name(), "dtype": kind.name(),
            "tensors": exported.tensors, "bytes": exported.bytes, "notes": exported.notes,
        }))?)?);
    }
    exported.notes.iter().for_each(|note| output.warn(note));
    let tensors = counted(exported.tensors, "tensor", "tensors");
    let size = ByteSize::b(exported.bytes).display().si();
    let shown = output.bold(&arguments.output.display().to_string());
    output.say(&format!("exported to {shown}: {tensors}, {}, {size}, read again and compared", kind.name()));
    Ok(())
}

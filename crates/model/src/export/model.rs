//! A whole model as a GGUF file, with an adapter folded in where there is one, or an encoder without a head.

use std::path::Path;

use gguf::{TensorInfo, TensorType, Value, Vocabulary};

use super::file::{self, Planned};
use super::pooling;
use super::{ExportError, Exported};
use crate::Error;
use crate::architectures::{GgufModel, Layout};
use crate::head::Head;
use crate::merge::Merge;
use crate::pretrained::Pretrained;

/// Tensors that llama.cpp reads in f32 alone, beside all that have one dimension.
const WIDE: [&str; 2] = ["position_embd.weight", "token_types.weight"];

/// Writes a model and its vocabulary for llama.cpp, with weights of this type; vectors stay in f32, and what a type cannot store is
/// in f16. `name` is what the file calls it, `labels` are those of a
/// classifier.
///
/// # Errors
/// llama.cpp does not have the architecture, computes something else, or has no name for a tensor or the tokenizer; a value is no
/// finite number or does not fit the type; the file cannot be written.
pub fn export_gguf(
    merge: &Merge<'_>,
    vocabulary: Written<'_>,
    named: (TensorType, &str, &[String]),
    path: &Path,
) -> Result<Exported, Error> {
    write(merge, merge.pretrained().gguf()?, vocabulary, named, path)
}

/// Writes an encoder [without a head](Pretrained::is_backbone) for llama.cpp, as [`export_gguf`] does a model with one. How the
/// vectors of its tokens become an embedding is what sentence-transformers says beside it.
///
/// # Errors
/// Those of [`export_gguf`], and a pooling that llama.cpp does not have.
pub fn export_encoder_gguf(
    merge: &Merge<'_>,
    vocabulary: Written<'_>,
    (kind, name): (TensorType, &str),
    path: &Path,
) -> Result<Exported, Error> {
    let pretrained = merge.pretrained();
    let mut model = pretrained.gguf_encoder()?;
    match pooling::read(pretrained.directory())? {
        Some(pooling) => model.settings.push(("pooling_type", Value::U32(pooling))),
        None => model.notes.push(pooling::UNSAID.to_owned()),
    }
    model.notes.extend(pooling::further(pretrained.directory()));
    write(merge, model, vocabulary, (kind, name, &[]), path)
}

/// Whether [`export_encoder_gguf`] has a form for a [backbone](Pretrained::is_backbone), before its weights are read.
///
/// # Errors
/// llama.cpp does not have the architecture, or has it with an output layer alone.
pub fn check_encoder_gguf(pretrained: &Pretrained) -> Result<(), Error> {
    pretrained.gguf_encoder().map(|_| ())
}

/// `tokenizer.json`, the ids of special tokens by their roles, and the chat template.
type Written<'a> = (&'a serde_json::Value, &'a [(&'a str, u32)], Option<&'a str>);

fn write(
    merge: &Merge<'_>,
    model: GgufModel,
    (tokenizer, special, chat_template): Written<'_>,
    (kind, name, labels): (TensorType, &str, &[String]),
    path: &Path,
) -> Result<Exported, Error> {
    let mut notes = model.notes.clone();
    let tensors = planned(merge, &model, kind, &mut notes)?;
    let rows = tensors.iter().find(|tensor| tensor.info.name == "token_embd.weight");
    let rows = rows.map_or(0, |tensor| tensor.info.shape[0]);
    let vocabulary = Vocabulary { tokenizer, special, chat_template, rows };
    let vocabulary = vocabulary.described().map_err(ExportError::from)?;
    notes.extend(vocabulary.notes);
    let mut metadata = metadata(&model, kind);
    if can_be_called(name, tokenizer) {
        metadata.push(("general.name".to_owned(), Value::from(name)));
    }
    let labels = Value::strings(labels.iter().map(String::as_str));
    metadata.push((format!("{}.classifier.output_labels", model.architecture), labels));
    metadata.extend(vocabulary.metadata);
    let mut exported = file::write(path, &metadata, &tensors, |tensor| match &tensor.source {
        Source::Merged { name, shape, layout } => Ok(layout.apply(merge.tensor(name, shape)?, shape)),
        Source::Added(values) => Ok(values.clone()),
    })?;
    exported.notes.extend(notes);
    Ok(exported)
}

enum Source {
    /// A tensor by its name and with its shape in Transformers.
    Merged {
        name: String,
        shape: Vec<usize>,
        layout: Layout,
    },
    Added(Vec<f32>),
}

fn metadata(model: &GgufModel, kind: TensorType) -> Vec<(String, Value)> {
    let architecture = model.architecture;
    let mut metadata = vec![
        ("general.architecture".to_owned(), Value::from(architecture)),
        ("general.type".to_owned(), Value::from("model")),
        ("general.file_type".to_owned(), Value::U32(kind.file_type())),
        ("general.quantization_version".to_owned(), Value::U32(2)),
    ];
    metadata.extend(model.settings.iter().map(|(key, value)| (format!("{architecture}.{key}"), value.clone())));
    metadata.extend(model.metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    metadata
}

/// llama.cpp takes what has Phi-3 in its name for a model with the special tokens of Phi-3 (`llama_vocab::impl::load`), and does not
/// load it without them.
fn can_be_called(name: &str, tokenizer: &serde_json::Value) -> bool {
    let name = name.to_lowercase();
    let has = |token: &str| {
        let added = tokenizer["added_tokens"].as_array();
        let is_added = added.is_some_and(|added| added.iter().any(|it| it["content"] == *token));
        is_added || tokenizer["model"]["vocab"].get(token).is_some()
    };
    !["phi-3", "phi3"].iter().any(|it| name.contains(it))
        || ["</s>", "<unk>", "<s>", "<|endoftext|>"].iter().all(|it| has(it))
}

fn planned(
    merge: &Merge<'_>,
    model: &GgufModel,
    kind: TensorType,
    notes: &mut Vec<String>,
) -> Result<Vec<Planned<Source>>, Error> {
    let pretrained = merge.pretrained();
    let mut tensors = Vec::new();
    let mut in_halves = 0;
    for (tensor, shape) in merge.tensors()? {
        let tied = merge.ties_word_embeddings()
            && pretrained.output().is_some_and(|it| tensor == format!("{}.weight", it.module));
        let is_left_out = model.left_out.iter().any(|start| tensor.starts_with(start));
        // A tied output layer is read from the word embeddings.
        if tied || is_left_out || pretrained.ignores(tensor) {
            continue;
        }
        let (module, part) = tensor.rsplit_once('.').unwrap_or((tensor, ""));
        let Some((name, layout)) = model.find(module).filter(|_| ["weight", "bias"].contains(&part)) else {
            let help = "llama.cpp reads language models, and BERT's classifiers of sequences: export a model with \
                        such a head, or use this one with `kindling predict`";
            return Err(
                ExportError::NoPlace { tensor: tensor.to_owned(), format: "GGUF", help: help.to_owned() }.into()
            );
        };
        let source = Source::Merged { name: tensor.to_owned(), shape: shape.clone(), layout };
        let (name, shape) = (format!("{name}.{part}"), layout.shape(&shape));
        let is_wide = shape.len() <= 1 || WIDE.contains(&name.as_str());
        let fits = kind.takes_rows_of(shape.last().copied().unwrap_or(0));
        let kind = match (is_wide, fits) {
            (true, _) => TensorType::F32,
            (false, true) => kind,
            (false, false) => {
                in_halves += 1;
                TensorType::F16
            }
        };
        tensors.push(Planned { info: TensorInfo { name, shape, kind }, source });
    }
    for (name, values) in &model.added {
        let info = TensorInfo { name: (*name).to_owned(), shape: vec![values.len()], kind: TensorType::F32 };
        tensors.push(Planned { info, source: Source::Added(values.clone()) });
    }
    if in_halves > 0 {
        notes.push(format!("{in_halves} matrices are in f16: {} takes rows of whole blocks of 32 values", kind.name()));
    }
    Ok(tensors)
}

impl Pretrained {
    /// The model as llama.cpp has it.
    pub(super) fn gguf(&self) -> Result<GgufModel, Error> {
        let Some(describe) = self.exports().gguf else {
            return Err(self.no_export("GGUF", |exports| exports.gguf.is_some()));
        };
        Ok(describe(self.parsed_config(), self.head())?)
    }

    /// The encoder without a head as llama.cpp has it.
    fn gguf_encoder(&self) -> Result<GgufModel, Error> {
        match (self.exports().encoder, self.exports().gguf) {
            (Some(describe), _) => Ok(describe(self.parsed_config())?),
            (None, Some(_)) => Err(self.no_output_layer().into()),
            (None, None) => Err(self.no_export("GGUF", |exports| exports.gguf.is_some())),
        }
    }

    /// The complaint about a backbone of an architecture that llama.cpp has as a language model alone.
    fn no_output_layer(&self) -> ExportError {
        let class = self.written_class().map_or_else(String::new, |class| format!(" (config.json: `{class}`)"));
        let whole = self.class_with(Head::CausalLm).map_or_else(String::new, |class| format!(", a `{class}`"));
        ExportError::NoOutputLayer { directory: self.directory().to_path_buf(), class, whole }
    }
}

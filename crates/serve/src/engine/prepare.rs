//! What a request is to the model: prompts as tokens, texts as questions.

use std::path::Path;

use data::language::{Conversation, OfTools};
use data::{Encoded, Record};
use indexmap::IndexMap;
use inference::{Answer, Base, GenerationError, GenerationSettings, Processor, TextGeneration, TextRequest};
use serde_json::Value;
use tasks::{Question, check_vocabulary};

use super::error::Fault;
use super::{Error, Model};

#[derive(Debug, Clone)]
pub(crate) struct Generate {
    pub(crate) prompts: Prompts,
    /// Texts for each prompt.
    pub(crate) samples: u64,
    pub(crate) settings: GenerationSettings,
    /// New tokens of a text for which the settings say no number.
    pub(crate) max_tokens: usize,
    /// With each new token its log-probability, and those of so many most probable tokens.
    pub(crate) log_probabilities: Option<usize>,
}

/// What is to be continued.
#[derive(Debug, Clone)]
pub(crate) enum Prompts {
    Texts(Vec<String>),
    Tokens(Vec<Vec<u32>>),
    Conversation(Conversation),
}

impl Prompts {
    /// Of the texts.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
            // They need no reading.
            Self::Tokens(_) => 0,
            Self::Conversation(conversation) => {
                let values = conversation.messages().iter().flat_map(|message| message.values());
                values.chain(conversation.tools()).map(bytes).sum()
            }
        }
    }

    /// The field of a request that they come from.
    fn field(&self) -> &'static str {
        match self {
            Self::Texts(_) | Self::Tokens(_) => "prompt",
            Self::Conversation(_) => "messages",
        }
    }
}

/// Of the texts in a value, names included.
fn bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(bytes).sum(),
        Value::Object(values) => values.iter().map(|(name, value)| name.len() + bytes(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

impl Inputs {
    pub(super) fn bytes(&self) -> usize {
        self.texts.iter().map(|text| text.text.len() + text.pair.as_ref().map_or(0, String::len)).sum()
    }
}

/// A text, or a pair of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) pair: Option<String>,
    /// Where it is in the request.
    pub(crate) place: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) texts: Vec<Text>,
    /// Whether texts that are too long are answered by their beginning.
    pub(crate) truncate: bool,
    /// How the request would ask for that.
    pub(crate) to_truncate: &'static str,
}

/// An answer, and the tokens that it was read from.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answer: Answer,
    pub(crate) tokens: usize,
}

/// Choices in their order.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) prompt_tokens: usize,
    pub(super) requests: Vec<TextRequest>,
}

/// The texts of a request. The cache has room for `room` tokens.
pub(super) fn texts(base: &Base, model: &Model, request: Generate, room: usize) -> Result<Texts, Fault> {
    let processor = model.processor(base)?;
    let size = processor.tokenizer.vocabulary_size();
    if let Some((token, _)) = request.settings.sampling.logit_bias.iter().find(|(token, _)| *token as usize >= size) {
        let message = format!("`logit_bias` is for token {token}: the vocabulary has {size}");
        return Err(Error::input(message).at("logit_bias").into());
    }
    let field = request.prompts.field();
    check_tokens(base, size, &request.prompts).map_err(|fault| fault.at(field))?;
    let has_number = request.settings.max_new_tokens.is_some();
    let texts = base.text_generation(model.adapter(), request.settings)?;
    let encoded = encoded(processor, &texts, &request.prompts).map_err(|fault| fault.at(field))?;
    let positions = base.pretrained.max_positions()?;
    let mut requests = Vec::new();
    for (encoded, subject) in &encoded {
        let tokens = encoded.ids.len();
        // A prompt's texts depend on nothing else that is in the request, so that each draws as it does alone.
        let prompts =
            texts.prompts(encoded, 0..request.samples, subject).map_err(|error| Fault::from(error).at(field))?;
        for mut prompt in prompts {
            if !has_number {
                prompt.max_new_tokens = positions.min(room).saturating_sub(tokens).clamp(1, request.max_tokens);
            }
            let mut text = texts.request(prompt);
            text.request.log_probabilities = request.log_probabilities;
            if text.request.rows() > room {
                let tokens = text.request.rows();
                return Err(Fault::from(GenerationError::Cache { tokens, room }).at(field));
            }
            requests.push(text);
        }
    }
    Ok(Texts { prompt_tokens: encoded.iter().map(|(encoded, _)| encoded.ids.len()).sum(), requests })
}

/// A client's own token ids; those of a tokenizer are checked with the checkpoint that it belongs to.
fn check_tokens(base: &Base, vocabulary: usize, prompts: &Prompts) -> Result<(), Fault> {
    let Prompts::Tokens(prompts) = prompts else { return Ok(()) };
    let size = base.pretrained.vocabulary_size().unwrap_or(vocabulary);
    match prompts.iter().flatten().find(|id| **id as usize >= size) {
        Some(id) => Err(Error::input(format!("`prompt` has the token id {id}: the vocabulary has {size}")).into()),
        None => Ok(()),
    }
}

/// Prompts as tokens, each with what messages call it.
fn encoded(
    processor: &Processor,
    texts: &TextGeneration<'_>,
    prompts: &Prompts,
) -> Result<Vec<(Encoded, String)>, Fault> {
    let subject = |number: usize, of: usize| match of {
        1 => "`prompt`".to_string(),
        _ => format!("prompt {}", number + 1),
    };
    match prompts {
        Prompts::Texts(prompts) => {
            let encode = |(number, text): (usize, &String)| {
                let subject = subject(number, prompts.len());
                Ok((texts.encode_text(text, &subject)?, subject))
            };
            prompts.iter().enumerate().map(encode).collect()
        }
        Prompts::Tokens(prompts) => {
            let encode = |(number, ids): (usize, &Vec<u32>)| match ids.is_empty() {
                true => Err(Error::input("`prompt` has no tokens: give one or more").into()),
                false => Ok((Encoded::from(ids.clone()), subject(number, prompts.len()))),
            };
            prompts.iter().enumerate().map(encode).collect()
        }
        Prompts::Conversation(conversation) => {
            if !texts.has_chat_template() {
                let message = "the model has no chat template: continue texts with /v1/completions";
                return Err(Error::input(message).into());
            }
            check_tools(processor, conversation)?;
            let subject = "`messages`";
            Ok(vec![(texts.encode_conversation(conversation, subject)?, subject.to_string())])
        }
    }
}

/// What the template would leave out without a word.
fn check_tools(processor: &Processor, conversation: &Conversation) -> Result<(), Error> {
    let unread = processor.task.writes().and_then(|task| task.unread_of_tools(conversation));
    let (field, message) = match unread {
        None => return Ok(()),
        Some(OfTools::Descriptions) => (
            "tools".to_string(),
            "`tools` is not supported by this model, whose chat template does not read tools: describe them in a message, and read \
             the answer yourself"
                .to_string(),
        ),
        Some(OfTools::Calls(index)) => {
            let field = format!("messages[{index}].tool_calls");
            let message = format!(
                "`{field}` is not supported by this model, whose chat template does not read calls of tools: say them in the \
                 message's `content`"
            );
            (field, message)
        }
        Some(OfTools::Result(index)) => {
            let field = format!("messages[{index}].role");
            let message = format!(
                "`{field}` is `tool`, which is not supported by this model, whose chat template leaves such messages out: say what \
                 came back in a message of the user"
            );
            (field, message)
        }
    };
    Err(Error::Unsupported { field, message })
}

/// The tokens of a text or a conversation; a classifier's are those of a single text.
pub(super) fn tokens(base: &Base, model: &Model, prompts: &Prompts, special: bool) -> Result<Vec<u32>, Fault> {
    let processor = model.processor(base)?;
    if let Prompts::Conversation(conversation) = prompts {
        check_tools(processor, conversation)?;
    }
    ids(base, model, processor, prompts, special).map_err(|fault| fault.at(prompts.field()))
}

fn ids(base: &Base, model: &Model, processor: &Processor, prompts: &Prompts, special: bool) -> Result<Vec<u32>, Fault> {
    match prompts {
        Prompts::Texts(texts) if !special => Ok(processor.tokenizer.bare(&texts.concat())?),
        Prompts::Texts(texts) if processor.task.writes().is_none() => {
            Ok(processor.tokenizer.encode(&texts.concat(), None, usize::MAX)?.ids)
        }
        _ => {
            let texts = base.text_generation(model.adapter(), GenerationSettings::default())?;
            let encoder = texts.encoder();
            let whole = usize::MAX;
            Ok(match prompts {
                Prompts::Texts(texts) => encoder.prompt_of_text(&texts.concat(), whole, "`prompt`")?.ids,
                Prompts::Tokens(tokens) => tokens.concat(),
                Prompts::Conversation(conversation) => {
                    encoder.prompt_of_conversation(conversation, whole, "`messages`")?.ids
                }
            })
        }
    }
}

/// The text of tokens.
///
/// Errors: an id that stands for none.
pub(super) fn text(base: &Base, model: &Model, tokens: &[u32]) -> Result<String, Fault> {
    let tokenizer = &model.processor(base)?.tokenizer;
    let size = tokenizer.vocabulary_size();
    match tokens.iter().find(|id| **id as usize >= size) {
        Some(id) => Err(Error::input(format!("there is no token {id}: the vocabulary has {size}")).at("tokens").into()),
        None => Ok(tokenizer.decode(tokens)),
    }
}

/// What the model is asked about the texts of a request.
pub(super) fn questions(base: &Base, model: &Model, inputs: &Inputs) -> Result<Vec<Question>, Fault> {
    let processor = model.processor(base)?;
    let ask = |text: &Text| question(processor, text).map_err(|fault| fault.at(&text.place));
    let questions: Vec<Question> = inputs.texts.iter().map(ask).collect::<Result<_, _>>()?;
    if !inputs.truncate {
        check_lengths(processor, inputs, &questions)?;
    }
    let sequences = questions.iter().flat_map(|question| &question.sequences);
    check_vocabulary(sequences.map(|sequence| &sequence.encoded), &base.pretrained)?;
    Ok(questions)
}

/// What the model is asked about a text: a row of the columns that it was trained on.
fn question(processor: &Processor, text: &Text) -> Result<Question, Fault> {
    let columns = processor.columns.of_text()?;
    let fields = match (columns.as_slice(), &text.pair) {
        ([first], None) => vec![(first.clone(), &text.text)],
        ([_], Some(_)) if processor.reads_single_texts() => {
            let message =
                format!("`{}` is a pair, and the model was trained on single texts: give each by itself", text.place);
            return Err(Error::input(message).into());
        }
        ([first], Some(pair)) => vec![(first.clone(), &text.text), ("text_pair".to_string(), pair)],
        ([first, second], Some(pair)) if processor.columns.text_template.is_none() => {
            vec![(first.clone(), &text.text), (second.clone(), pair)]
        }
        _ if processor.columns.text_template.is_none() => {
            return Err(Error::input("the model reads pairs of texts: give two for each answer").into());
        }
        _ => {
            let columns = columns.join(", ");
            let message = format!(
                "the model reads a template of several columns ({columns}), not texts: `kindling predict` answers its rows"
            );
            return Err(Error::input(message).into());
        }
    };
    let fields: IndexMap<_, _> = fields.into_iter().map(|(column, text)| (column, text.as_str().into())).collect();
    let (file, record) = (Path::new(&text.place), Record { line: 1, fields });
    let ask = || {
        let columns = processor.columns_of(file, &record)?;
        processor.question(file, &processor.row(&columns, file, &record)?)
    };
    ask().map_err(|error| of_text(error, text, &record).into())
}

/// What is wrong with a text, in the words of a request, which knows of no rows.
fn of_text(error: data::Error, text: &Text, record: &Record) -> Error {
    let place = &text.place;
    let message = match &error {
        data::Error::EmptyText { column, .. } => {
            let place = match (record.fields.get_index_of(column), &text.pair) {
                (Some(number), Some(_)) => format!("{place}[{number}]"),
                _ => place.clone(),
            };
            return Error::input(format!("`{place}` is empty: give a text")).at(&place);
        }
        error => error.to_string().replace(&format!("{place}, line 1"), &format!("`{place}`")),
    };
    Error::input(message)
}

fn check_lengths(processor: &Processor, inputs: &Inputs, questions: &[Question]) -> Result<(), Fault> {
    let Some((question, text)) = questions.iter().zip(&inputs.texts).find(|(question, _)| question.is_truncated) else {
        return Ok(());
    };
    let (place, to_truncate) = (&text.place, inputs.to_truncate);
    let (limit, encoded) = (processor.max_length, question.sequences.iter().map(|sequence| &sequence.encoded).next());
    let message = match encoded {
        Some(encoded) => {
            let (tokens, excess) = (encoded.full_length, encoded.full_length.saturating_sub(limit));
            let least = if encoded.at_least { "at least " } else { "" };
            format!(
                "`{place}` has {least}{tokens} tokens, {excess} too many: the model reads {limit}; shorten it, or add `{to_truncate}` \
                 to have its beginning answered"
            )
        }
        None => format!("`{place}` is too long: the model reads {limit} tokens"),
    };
    Err(Error::Truncated { message, field: Some(place.clone()) }.into())
}

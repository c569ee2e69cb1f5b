//! Causal language modelling: texts, completions of prompts and the assistant's turns of conversations. What a row becomes
//! is `data`'s; here is what of the checkpoint's files it takes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use data::language::{self, Bounds, ChatTemplate, Conversation, Encoder, LossOn, OfTools, Purpose, UnreadFields};
use data::{Batch, ColumnNames, Dataset, Record, Tokenizer};
use model::Head;
use serde_json::{Map, Value};

use crate::language::{SHOWN, TokenEvaluator, names_of_targets};
use crate::metrics::{BLEU, EXACT_MATCH, LOSS, PERPLEXITY, ROUGE_L, Shown, TOKEN_ACCURACY};
use crate::{Classes, Columns, Definition, Encoding, Error, Evaluator, Expected, Opening, Rows, Setting, Task, Use};

pub(crate) static DEFINITION: Definition = Definition {
    name: "causal-lm",
    words: "text generation",
    head: Head::CausalLm,
    vocabulary: true,
    classes: Classes::None,
    usage: Use::Generate,
    keys: &[
        "model.quantize_output",
        "data.text_template",
        "data.prompt",
        "data.completion",
        "data.messages",
        "data.prompt_template",
        "data.completion_template",
        "data.pack",
        "data.loss_on",
        "train.eval_generate",
    ],
    settings: &[Setting {
        key: LOSS_ON,
        parse: |typed| loss_on(typed).map(|_| Value::from(typed)),
        expected: "`completion` or `all`",
    }],
    scores: &[&PERPLEXITY, &TOKEN_ACCURACY, &EXACT_MATCH, &BLEU, &ROUGE_L],
    best: &[&LOSS],
    peft_type: Some("CAUSAL_LM"),
    problem: None,
    modules_to_save: &[],
    auto_class: "AutoModelForCausalLM",
    pipeline: "text-generation",
    columns,
    finder: None,
    open,
};

const LOSS_ON: &str = "loss_on";

fn loss_on(name: &str) -> Option<LossOn> {
    match name {
        "completion" => Some(LossOn::Completion),
        "all" => Some(LossOn::All),
        _ => None,
    }
}

fn columns(file: &Path, first: &Record, names: &ColumnNames, purpose: Purpose) -> Result<Columns, data::Error> {
    language::Columns::find(file, first, names, purpose).map(Columns::Language)
}

fn open(opening: Opening<'_>) -> Result<Arc<dyn Task>, Error> {
    let written = opening.settings.get(LOSS_ON).and_then(Value::as_str);
    Ok(Arc::new(CausalLm {
        chat: ChatTemplate::from_dir(opening.of_tokenizer, SystemTime::UNIX_EPOCH + DATE)?,
        bounds: Bounds::of(opening.directory, opening.tokenizer)?,
        loss_on: written.and_then(loss_on).unwrap_or(LossOn::Completion),
    }))
}

/// The date that a chat template is told which asks for it: 26 July 2024, which Llama 3's templates take where they are not
/// told any. Always the same, so that a run gives the same texts on every day, and generation those of training.
const DATE: Duration = Duration::from_secs(1_721_952_000);

/// How a checkpoint writes texts.
#[derive(Debug, Clone)]
pub struct CausalLm {
    chat: Option<ChatTemplate>,
    bounds: Bounds,
    loss_on: LossOn,
}

impl CausalLm {
    pub fn has_chat_template(&self) -> bool {
        self.chat.is_some()
    }

    /// The first of what a conversation says of tools that the chat template does not read.
    pub fn unread_of_tools(&self, conversation: &Conversation) -> Option<OfTools> {
        self.chat.as_ref().and_then(|chat| chat.unread_of_tools(conversation))
    }

    pub fn encoder<'a>(&'a self, tokenizer: &'a Tokenizer) -> Encoder<'a> {
        Encoder::new(tokenizer, self.chat.as_ref(), &self.bounds, self.loss_on)
    }

    /// Looks for fields of messages that have no effect.
    pub fn unread_fields(&self) -> Option<UnreadFields<'_>> {
        self.chat.as_ref().map(UnreadFields::new)
    }
}

impl Task for CausalLm {
    fn definition(&self) -> &'static Definition {
        &DEFINITION
    }

    fn settings(&self) -> Map<String, Value> {
        let loss_on = match self.loss_on {
            LossOn::Completion => "completion",
            LossOn::All => "all",
        };
        Map::from_iter([(LOSS_ON.to_string(), Value::from(loss_on))])
    }

    fn encode(
        &self,
        file: &Path,
        rows: &Rows,
        encoding: &Encoding<'_>,
        dataset: &mut Dataset,
    ) -> Result<(), data::Error> {
        let Rows::Language(rows) = rows else { unreachable!("rows are read by the columns of their task") };
        let encoder = self.encoder(encoding.tokenizer);
        dataset.add_rows(file, rows, &encoder, encoding)
    }

    fn evaluator(&self) -> Box<dyn Evaluator> {
        Box::new(TokenEvaluator::default())
    }

    fn shown(&self) -> &'static [Shown] {
        &SHOWN
    }

    fn expected(&self, batch: &Batch, tokenizer: &Tokenizer) -> Expected {
        Expected::Within(names_of_targets(batch, tokenizer))
    }

    fn writes(&self) -> Option<&CausalLm> {
        Some(self)
    }
}

//! How a request wants its texts written.

use inference::{GenerationSettings, Sampling};
use serde_json::Value;

use super::stream::StreamOptions;
use crate::fields::{Fields, kind, wrong};
use crate::problem::Problem;
use crate::{Settings, id};

/// Fields of OpenAI's that change nothing here.
pub(super) const IGNORED_IN_CHAT: [&str; 18] = [
    "frequency_penalty",
    "logit_bias",
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
];
pub(super) const IGNORED_IN_COMPLETIONS: [&str; 5] =
    ["best_of", "frequency_penalty", "logit_bias", "presence_penalty", "user"];

/// New tokens of a completion where the request says no number, as OpenAI has it.
const TOKENS_OF_COMPLETION: usize = 16;
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) settings: GenerationSettings,
    pub(super) samples: u32,
    /// `None`: the answer is whole.
    pub(super) stream: Option<StreamOptions>,
}

impl Asked {
    pub(super) fn of_chat(fields: &mut Fields, limits: &Settings) -> Result<Self, Problem> {
        let greatest = i64::from(limits.max_tokens);
        let (old, new) = ("max_tokens", "max_completion_tokens");
        let max_tokens = match (fields.integer(old, 1..=greatest)?, fields.integer(new, 1..=greatest)?) {
            (Some(of_old), Some(of_new)) if of_old != of_new => {
                let message = format!("`{old}` is {of_old} and `{new}` is {of_new}: give one of them");
                return Err(Problem::field(old, message));
            }
            (of_old, of_new) => of_new.or(of_old),
        };
        refuse_logprobs(fields, "logprobs")?;
        Self::of(fields, limits, max_tokens.map(|tokens| tokens as usize))
    }

    pub(super) fn of_completion(fields: &mut Fields, limits: &Settings) -> Result<Self, Problem> {
        let max_tokens = fields.integer("max_tokens", 1..=i64::from(limits.max_tokens))?;
        let max_tokens = max_tokens.map_or(TOKENS_OF_COMPLETION, |tokens| tokens as usize);
        refuse_logprobs(fields, "logprobs")?;
        Self::of(fields, limits, Some(max_tokens))
    }

    fn of(fields: &mut Fields, limits: &Settings, max_new_tokens: Option<usize>) -> Result<Self, Problem> {
        refuse_formats(fields)?;
        let samples = fields.integer("n", 1..=i64::from(limits.max_samples))?.unwrap_or(1) as u32;
        let settings = GenerationSettings { sampling: sampling(fields)?, stop_strings: stops(fields)?, max_new_tokens };
        Ok(Self { settings, samples, stream: StreamOptions::read(fields)? })
    }
}

/// With OpenAI's defaults.
fn sampling(fields: &mut Fields) -> Result<Sampling, Problem> {
    let is_share = |number: f64| (0.0..=1.0).contains(&number);
    let temperature = fields.number("temperature", "a number from 0 to 2", |number| (0.0..=2.0).contains(&number))?;
    let top_p = fields.number("top_p", "a number above 0, at most 1", |number| number > 0.0 && number <= 1.0)?;
    // For vLLM -1 is all tokens, and so is 0.
    let top_k = fields.integer("top_k", -1..=i64::MAX)?.filter(|top_k| *top_k > 0).map(|top_k| top_k as usize);
    let min_p = fields.number("min_p", "a number from 0 to 1", is_share)?;
    let expected = "a number above 0, at most 100";
    let penalty = fields.number("repetition_penalty", expected, |number| number > 0.0 && number <= 100.0)?;
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
    Ok(Sampling {
        temperature: temperature.unwrap_or(1.0),
        top_k,
        top_p,
        min_p,
        repetition_penalty: penalty.unwrap_or(1.0),
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        logit_bias: Vec::new(),
        seed: seed.map_or_else(id::random, |seed| seed as u64),
    })
}

/// A text or a list of texts.
fn stops(fields: &mut Fields) -> Result<Vec<String>, Problem> {
    const NAME: &str = "stop";
    let values = match fields.take(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(text @ Value::String(_)) => vec![text],
        Some(other) => return Err(wrong(NAME, "a text or a list of texts", &other)),
    };
    if values.len() > MAX_STOPS {
        return Err(Problem::field(
            NAME,
            format!("`stop` has {} texts: at most {MAX_STOPS} are looked for", values.len()),
        ));
    }
    let stop = |value: Value| match value {
        Value::String(text) if text.is_empty() => Err(Problem::field(NAME, "`stop` has an empty text: leave it out")),
        Value::String(text) if text.len() > MAX_STOP_BYTES => {
            Err(Problem::field(NAME, format!("a text of `stop` is longer than {MAX_STOP_BYTES} bytes: shorten it")))
        }
        Value::String(text) => Ok(text),
        other => Err(Problem::field(NAME, format!("`stop` should be texts, found {} among them", kind(&other)))),
    };
    values.into_iter().map(stop).collect()
}

fn refuse_formats(fields: &mut Fields) -> Result<(), Problem> {
    const NAME: &str = "response_format";
    match fields.take(NAME) {
        Some(format) if format["type"] != "text" => {
            let message = "`response_format` is not supported but for {\"type\": \"text\"}: ask for the format in a message, and \
                           check what is answered";
            Err(Problem::field(NAME, message).code("unsupported"))
        }
        Some(_) | None => Ok(()),
    }
}

fn refuse_logprobs(fields: &mut Fields, name: &'static str) -> Result<(), Problem> {
    fields.refuse(name, "leave it out, or compare texts with `kindling eval --per-example`")
}

//! How a request wants its texts written.

use inference::{GenerationSettings, Sampling};
use serde_json::Value;

use super::stream::StreamOptions;
use crate::fields::{Fields, kind, wrong};
use crate::problem::Problem;
use crate::{Settings, id};

/// Fields of OpenAI's that change nothing here.
pub(super) const IGNORED_IN_CHAT: [&str; 14] = [
    "metadata",
    "moderation",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "safety_identifier",
    "service_tier",
    "store",
    "user",
    "verbosity",
    "web_search_options",
];
pub(super) const IGNORED_IN_COMPLETIONS: [&str; 2] = ["best_of", "user"];

/// New tokens of a completion where the request says no number, as OpenAI has it.
const TOKENS_OF_COMPLETION: usize = 16;
/// Tokens whose log-probabilities may be asked for beside that of the one chosen.
const MAX_TOP: i64 = 20;
const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 1024;

#[derive(Debug)]
pub(super) struct Asked {
    pub(super) settings: GenerationSettings,
    pub(super) samples: u32,
    /// With each token its log-probability, and those of so many most probable ones.
    pub(super) log_probabilities: Option<usize>,
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
        let log_probabilities = log_probabilities_of_chat(fields)?;
        Self::of(fields, limits, max_tokens.map(|tokens| tokens as usize), log_probabilities)
    }

    pub(super) fn of_completion(fields: &mut Fields, limits: &Settings) -> Result<Self, Problem> {
        let max_tokens = fields.integer("max_tokens", 1..=i64::from(limits.max_tokens))?;
        let max_tokens = max_tokens.map_or(TOKENS_OF_COMPLETION, |tokens| tokens as usize);
        let log_probabilities = fields.integer("logprobs", 0..=MAX_TOP)?.map(|count| count as usize);
        Self::of(fields, limits, Some(max_tokens), log_probabilities)
    }

    fn of(
        fields: &mut Fields,
        limits: &Settings,
        max_new_tokens: Option<usize>,
        log_probabilities: Option<usize>,
    ) -> Result<Self, Problem> {
        refuse_formats(fields)?;
        let samples = fields.integer("n", 1..=i64::from(limits.max_samples))?.unwrap_or(1) as u32;
        let settings = GenerationSettings { sampling: sampling(fields)?, stop_strings: stops(fields)?, max_new_tokens };
        Ok(Self { settings, samples, log_probabilities, stream: StreamOptions::read(fields)? })
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
    let mut of_tokens = |name| fields.number(name, "a number from -2 to 2", |number| (-2.0..=2.0).contains(&number));
    let (frequency_penalty, presence_penalty) = (of_tokens("frequency_penalty")?, of_tokens("presence_penalty")?);
    let seed = fields.integer("seed", i64::MIN..=i64::MAX)?;
    Ok(Sampling {
        temperature: temperature.unwrap_or(1.0),
        top_k,
        top_p,
        min_p,
        repetition_penalty: penalty.unwrap_or(1.0),
        frequency_penalty: frequency_penalty.unwrap_or(0.0),
        presence_penalty: presence_penalty.unwrap_or(0.0),
        logit_bias: logit_bias(fields)?,
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

/// `logprobs` and, with it alone, `top_logprobs`.
fn log_probabilities_of_chat(fields: &mut Fields) -> Result<Option<usize>, Problem> {
    const TOP: &str = "top_logprobs";
    let (wanted, top) = (fields.flag("logprobs")?.unwrap_or(false), fields.integer(TOP, 0..=MAX_TOP)?);
    match (wanted, top) {
        (false, Some(1..)) => {
            Err(Problem::field(TOP, "`top_logprobs` needs `logprobs`: add `\"logprobs\": true`, or leave it out"))
        }
        (false, _) => Ok(None),
        (true, top) => Ok(Some(top.unwrap_or(0) as usize)),
    }
}

/// What is added to logits, by token ids.
fn logit_bias(fields: &mut Fields) -> Result<Vec<(u32, f64)>, Problem> {
    const NAME: &str = "logit_bias";
    let biases = match fields.take(NAME) {
        None => return Ok(Vec::new()),
        Some(Value::Object(biases)) => biases,
        Some(other) => return Err(wrong(NAME, "an object of token ids and numbers", &other)),
    };
    let bias = |(token, bias): (String, Value)| {
        let Ok(id) = token.parse::<u32>() else {
            return Err(Problem::field(NAME, format!("`logit_bias` has `{token}`: expected a token id")));
        };
        match bias.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)) {
            Some(bias) => Ok((id, bias)),
            None => {
                let message = format!("`logit_bias` has {bias} for token {id}: expected a number from -100 to 100");
                Err(Problem::field(NAME, message))
            }
        }
    };
    biases.into_iter().map(bias).collect()
}

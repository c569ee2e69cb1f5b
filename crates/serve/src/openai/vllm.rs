//! Fields that vLLM has beside OpenAI's. Where the value asks for what is done anyway it is taken; any other would make another
//! answer of it, and is refused.

use serde_json::Value;

use crate::fields::Fields;
use crate::problem::Problem;

/// A value that changes nothing.
#[derive(Debug, Clone, Copy)]
enum Usual {
    False,
    True,
    Zero,
    One,
    /// A list, or an object, without anything in it.
    Empty,
}

impl Usual {
    fn is(self, value: &Value) -> bool {
        match self {
            Self::False => *value == Value::Bool(false),
            Self::True => *value == Value::Bool(true),
            Self::Zero => value.as_f64() == Some(0.0),
            Self::One => value.as_f64() == Some(1.0),
            Self::Empty => {
                value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(|object| object.is_empty())
            }
        }
    }
}

/// A field, what it usually is, and what there is instead of another value.
type Field = (&'static str, Usual, &'static str);

const OF_BOTH: [Field; 14] = [
    ("ignore_eos", Usual::False, "a text ends where the model ends it"),
    ("min_tokens", Usual::Zero, "a text may end at any token; forbid the one that ends it with `logit_bias`"),
    ("stop_token_ids", Usual::Empty, "give the texts of these tokens as `stop`"),
    ("bad_words", Usual::Empty, "make their tokens improbable with `logit_bias`"),
    ("allowed_token_ids", Usual::Empty, "make the others improbable with `logit_bias`"),
    ("skip_special_tokens", Usual::True, "the special tokens are no part of a text"),
    ("spaces_between_special_tokens", Usual::True, "the special tokens are no part of a text"),
    ("include_stop_str_in_output", Usual::False, "add what stopped it yourself"),
    ("detokenize", Usual::True, "/tokenize gives the tokens of a text"),
    ("return_token_ids", Usual::False, "/tokenize gives the tokens of a text"),
    ("return_tokens_as_token_ids", Usual::False, "/tokenize gives the tokens of a text"),
    ("use_beam_search", Usual::False, "ask for several choices with `n`"),
    ("length_penalty", Usual::One, "it is for beam search"),
    ("priority", Usual::Zero, "requests take turns"),
];
const OF_CHAT: [Field; 5] = [
    ("add_special_tokens", Usual::False, "the chat template writes them"),
    ("add_generation_prompt", Usual::True, "the model answers the last message"),
    ("continue_final_message", Usual::False, "end with the message that it is to answer"),
    ("echo", Usual::False, "put the message before the text yourself"),
    ("chat_template_kwargs", Usual::Empty, "the template is rendered as in training"),
];
const OF_COMPLETIONS: [Field; 1] = [("add_special_tokens", Usual::True, "give the tokens as `prompt`")];

pub(super) fn of_chat(fields: &mut Fields) -> Result<(), Problem> {
    OF_BOTH.iter().chain(&OF_CHAT).try_for_each(|field| check(fields, *field))
}

pub(super) fn of_completion(fields: &mut Fields) -> Result<(), Problem> {
    OF_BOTH.iter().chain(&OF_COMPLETIONS).try_for_each(|field| check(fields, *field))
}

fn check(fields: &mut Fields, (name, usual, instead): Field) -> Result<(), Problem> {
    fields.expect(name, |value| usual.is(value), instead)
}

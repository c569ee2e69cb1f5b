//! Log-probabilities of tokens in OpenAI's two forms. They are the model's own, before temperature, penalties and biases.

use inference::LogProbabilities;
use serde_json::{Map, Value, json};

use crate::engine::{Engine, Model};

/// A token of an answer, and the most probable ones in its place.
#[derive(Debug)]
pub(super) struct Probable {
    token: Piece,
    top: Vec<Piece>,
}

#[derive(Debug)]
struct Piece {
    text: String,
    /// They need not be whole characters.
    bytes: Vec<u8>,
    value: f64,
}

impl Probable {
    pub(super) fn new(engine: &Engine, model: &Model, token: u32, of_token: &LogProbabilities) -> Self {
        let piece = |(token, value): (u32, f64)| {
            let bytes = engine.token_bytes(model, token);
            Piece { text: String::from_utf8_lossy(&bytes).into_owned(), bytes, value }
        };
        Self {
            token: piece((token, of_token.chosen)),
            top: of_token.top.iter().map(|(token, value)| piece((*token, *value))).collect(),
        }
    }
}

impl Piece {
    fn object(&self) -> Map<String, Value> {
        Map::from_iter([
            ("token".to_string(), self.text.as_str().into()),
            ("logprob".to_string(), self.value.into()),
            ("bytes".to_string(), json!(self.bytes)),
        ])
    }
}

/// `logprobs` of a choice of a chat.
pub(super) fn of_chat(tokens: &[Probable]) -> Value {
    let entry = |probable: &Probable| {
        let mut entry = probable.token.object();
        let top: Vec<Value> = probable.top.iter().map(|piece| piece.object().into()).collect();
        entry.insert("top_logprobs".to_string(), top.into());
        Value::from(entry)
    };
    json!({ "content": tokens.iter().map(entry).collect::<Vec<_>>(), "refusal": null })
}

/// `logprobs` of a choice of a completion, whose tokens before these have `offset` characters.
pub(super) fn of_text(tokens: &[Probable], offset: &mut usize) -> Value {
    let (mut offsets, mut tops) = (Vec::new(), Vec::new());
    for Probable { token, top } in tokens {
        offsets.push(*offset);
        *offset += token.text.chars().count();
        let top: Map<String, Value> =
            top.iter().chain([token]).map(|piece| (piece.text.clone(), piece.value.into())).collect();
        tops.push(top);
    }
    json!({
        "tokens": tokens.iter().map(|probable| probable.token.text.as_str()).collect::<Vec<_>>(),
        "token_logprobs": tokens.iter().map(|probable| probable.token.value).collect::<Vec<_>>(),
        "top_logprobs": tops,
        "text_offset": offsets,
    })
}

//! The scores of a language model over tokens.

use super::{Better, Score, Scores, Span};

/// `exp(loss)`, the loss being the mean over all targets in nats.
pub static PERPLEXITY: Score =
    Score { key: "perplexity", name: "perplexity", span: Span::Open, better: Better::Lower, hub: Some("perplexity") };
/// The share of targets whose most probable token is the right one.
pub static TOKEN_ACCURACY: Score =
    Score { key: "token_accuracy", name: "token accuracy", span: Span::Share, better: Better::Higher, hub: None };

pub fn of_tokens(loss: f64, token_accuracy: f64) -> Scores {
    Scores::new(loss, [(&PERPLEXITY, loss.exp()), (&TOKEN_ACCURACY, token_accuracy)])
}

//! SentencePiece's scores, from merges. llama.cpp joins the two neighbours whose joint piece has the best score, whichever two
//! pieces they are; the tokenizers library joins the two of the first merge. That is the same where the merges were made of scores, as
//! those of Llama's and Mistral's `tokenizer.json` were: every way to make a piece of two is a merge, one after the other.

use std::collections::{HashMap, HashSet};

use serde_json::Value as Json;

use super::{VocabularyError, no_name};

/// The score of each token; those that no merge makes have the worst.
pub(super) fn of(model: &Json, merges: &[(&str, &str)], tokens: &[String]) -> Result<Vec<f32>, VocabularyError> {
    let mut ranks: HashMap<String, usize> = HashMap::new();
    let mut last = String::new();
    for (left, right) in merges {
        let made = format!("{left}{right}");
        let next = ranks.len();
        if *ranks.entry(made.clone()).or_insert(next) != next && made != last {
            return Err(not_of_scores(&made));
        }
        last = made;
    }
    let pairs: HashSet<(&str, &str)> = merges.iter().copied().collect();
    let has = |text: &str| model["vocab"].get(text).is_some();
    for token in model["vocab"].as_object().into_iter().flat_map(|tokens| tokens.keys()) {
        let splits = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        // What no merge makes is a special token or a byte, which no text is joined to: it begins with a sign of its own.
        if ranks.contains_key(token)
            && splits.clone().any(|(left, right)| has(left) && has(right) && !pairs.contains(&(left, right)))
        {
            return Err(not_of_scores(token));
        }
    }
    let worst = ranks.len() as f32;
    Ok(tokens.iter().map(|token| -ranks.get(token).map_or(worst, |rank| *rank as f32)).collect())
}

fn not_of_scores(token: &str) -> VocabularyError {
    no_name(format!(
        "byte pairs of characters whose merges have no scores: `{token}` is not made in every way there is"
    ))
}

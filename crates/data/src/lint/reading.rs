//! What the tokenizer cannot read.

use super::{Finding, FindingKind, Look};

pub(super) fn find(look: &Look<'_>, findings: &mut Vec<Finding>) {
    for (rows, data) in look.splits() {
        let Some(reading) = rows.reading else { continue };
        // How long words are says nothing where most of them are one unknown token.
        if reading.is_unknown() {
            let (tokens, words) = (reading.tokens, reading.unknown_words.clone());
            findings.push(Finding::new(FindingKind::UnknownTokens { tokens, words }, reading.unknown, &data));
        } else if reading.is_cut_small() {
            let of_hundred_words = (100.0 * reading.tokens_of_words as f64 / reading.words).round() as usize;
            let words = reading.long_words.clone();
            let kind = FindingKind::ManyTokens { of_hundred_words, words };
            findings.push(Finding::new(kind, reading.tokens_of_words, &data));
        }
    }
}
